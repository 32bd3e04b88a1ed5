/* Erasing one device: what was locked and asked about is what is erased, and nothing else, whatever has its path by then. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/pool/superblock_copy.h"
#include "tests/unit/devices_fixture.h"

static char link_path[160];

static int setup(void **state)
{
    (void)state;
    devices_setup(NULL, NULL);
    snprintf(link_path, sizeof link_path, "%s/link", fixture_root);
    return symlink(paths[0], link_path);
}

static bool carries_superblock(const char *path)
{
    struct superblock_copy copy;
    if (superblock_copy_read(path, &copy) != ERROR_NONE) {
        error_forget();
        return false;
    }
    free(copy.bytes);
    return true;
}

struct answer {
    enum error error;
    bool flip; /* the link leads to the other device by the time of the answer */
    bool known;
    struct uuid pool, device;
    unsigned asked;
};

static enum error answer(void *context, const struct stat *status, const struct uuid *pool_id, const struct uuid *device)
{
    struct answer *told = context;
    struct stat first;
    assert_int_equal(stat(paths[0], &first), 0);
    assert_true(first.st_dev == status->st_dev && first.st_ino == status->st_ino);
    assert_true(carries_superblock(paths[0]));
    told->asked++;
    told->known = pool_id != NULL && device != NULL;
    if (told->known) {
        told->pool = *pool_id;
        told->device = *device;
    }
    if (told->flip) {
        assert_int_equal(unlink(link_path), 0);
        assert_int_equal(symlink(paths[1], link_path), 0);
    }
    return told->error;
}

static void what_was_asked_about_is_erased(void **state)
{
    struct answer told = {.flip = true};
    struct superblock_copy copy;
    char *certificate = NULL;
    (void)state;
    assert_fine(superblock_copy_read(paths[0], &copy));
    free(copy.bytes);
    assert_fine(pool_device_erase(link_path, answer, &told, &certificate));
    assert_int_equal(told.asked, 1);
    assert_true(told.known && uuid_equal(told.pool, copy.pool) && uuid_equal(told.device, copy.device));
    assert_false(carries_superblock(paths[0]));
    assert_true(carries_superblock(paths[1]));
    assert_non_null(certificate);
    free(certificate);
}

static void a_refusal_changes_nothing(void **state)
{
    struct answer told = {.error = ERROR_BUSY};
    char *certificate = NULL;
    (void)state;
    assert_int_equal(pool_device_erase(paths[0], answer, &told, &certificate), ERROR_BUSY);
    assert_true(carries_superblock(paths[0]));
    assert_null(certificate);
}

/* Zeros at both ends are no proof that it ever was Coffer's. */
static void what_has_no_superblock_left_is_left_alone(void **state)
{
    struct answer told = {0};
    char *certificate = NULL, data[16] = "";
    (void)state;
    assert_int_equal(unlink(paths[0]), 0);
    assert_fine(device_create_file(paths[0], FIXTURE_SIZE));
    int file = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(file, "another's", 9, FIXTURE_SIZE / 2), 9);
    assert_int_equal(pool_device_erase(paths[0], answer, &told, &certificate), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "was it erased before?"));
    assert_int_equal(pread(file, data, 9, FIXTURE_SIZE / 2), 9);
    assert_string_equal(data, "another's");
    close(file);
    assert_null(certificate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_asked_about_is_erased, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_changes_nothing, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_has_no_superblock_left_is_left_alone, setup, devices_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
