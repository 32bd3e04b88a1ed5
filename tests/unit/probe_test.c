/* What is found on a path before it becomes a device, and how it is wiped. */
#include "tests/unit/device_fixture.h"

#include <inttypes.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const char *disk;

static int set_up(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    static char path[128];
    snprintf(path, sizeof(path), "%s", path_of("disk"));
    disk = path;
    make_file(disk, 64 << 20);
    return 0;
}

static void put_swap_signature(void)
{
    put_bytes(disk, BLOCK - 10, "SWAPSPACE2", 10);
}

static void put_partition_table(void)
{
    const unsigned char entry[16] = {[4] = 0x83, [9] = 8, [13] = 64};
    put_bytes(disk, 446, entry, sizeof(entry));
    put_bytes(disk, 510, "\x55\xaa", 2);
}

static void put_ext_signature(void)
{
    const char *const arguments[] = {"mkfs.ext4", "-q", "-F", "-L", "treasure", disk, NULL};
    if (run_program(arguments) != 0)
        skip();
}

static void expect_found(const char *part)
{
    assert_int_equal(device_probe_empty(disk), ERROR_NOT_EMPTY);
    expect_sentence(ERROR_NOT_EMPTY, disk);
    expect_sentence(ERROR_NOT_EMPTY, part);
    expect_sentence(ERROR_NOT_EMPTY, "--overwrite");
}

static void a_missing_path_is_not_found(void **state)
{
    (void)state;
    assert_int_equal(device_probe_empty(path_of("nothing")), ERROR_NOT_FOUND);
    assert_int_equal(device_wipe_signatures(path_of("nothing")), ERROR_NOT_FOUND);
    assert_false(device_is_coffer(path_of("nothing")));
}

static void what_is_no_storage_is_refused(void **state)
{
    (void)state;
    assert_int_equal(device_probe_empty(folder), ERROR_INVALID);
    assert_int_equal(device_probe_empty("/dev/null"), ERROR_INVALID);
    assert_false(device_is_coffer(folder));
}

static void an_empty_file_is_empty(void **state)
{
    (void)state;
    make_file(disk, 0);
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
    assert_false(device_is_coffer(disk));
    make_file(disk, 100);
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
}

static void a_file_of_zeros_is_empty(void **state)
{
    (void)state;
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
}

static void a_file_system_is_found_with_its_label(void **state)
{
    (void)state;
    put_ext_signature();
    expect_found("ext4");
    expect_found("treasure");
}

static void a_partition_table_is_found(void **state)
{
    (void)state;
    put_partition_table();
    expect_found("partition table (dos)");
}

static void a_coffer_device_is_found(void **state)
{
    (void)state;
    put_bytes(disk, 0, DEVICE_COFFER_MAGIC, 8);
    assert_true(device_is_coffer(disk));
    expect_found("Coffer");
}

/* Disk images, archives, databases: libblkid has no name for them. */
static void data_without_a_name_is_found_at_both_ends(void **state)
{
    (void)state;
    const uint64_t places[] = {0, (16 << 20) - 1, 48 << 20, (64 << 20) - 1};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        char part[32];
        snprintf(part, sizeof(part), "at byte %" PRIu64 ":", places[i]);
        put_bytes(disk, places[i], "Q", 1);
        expect_found(part);
        assert_int_equal(device_wipe_signatures(disk), ERROR_NONE);
        assert_int_equal(device_probe_empty(disk), ERROR_NONE);
    }
    put_bytes(disk, 16 << 20, "between them", 12);
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
}

static void data_in_a_small_file_is_found(void **state)
{
    (void)state;
    make_file(disk, 100);
    put_bytes(disk, 99, "x", 1);
    expect_found("at byte 99");
}

static void a_file_whose_blocks_are_allocated_is_empty(void **state)
{
    (void)state;
    int file = open(disk, O_RDWR | O_CLOEXEC);
    assert_int_equal(posix_fallocate(file, 0, 64 << 20), 0);
    close(file);
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
}

static void what_is_open_is_looked_at_as_well(void **state)
{
    (void)state;
    struct device *device;
    assert_int_equal(device_open_file(disk, 0, &device), ERROR_NONE);
    assert_int_equal(device_check_empty(device), ERROR_NONE);
    put_bytes(disk, (64 << 20) - 1, "x", 1);
    assert_int_equal(device_check_signatures(device), ERROR_NONE);
    assert_int_equal(device_check_empty(device), ERROR_NOT_EMPTY);
    expect_sentence(ERROR_NOT_EMPTY, disk);
    device_close(device);
}

static void a_magic_that_is_cut_off_is_none(void **state)
{
    (void)state;
    make_file(disk, 7);
    put_bytes(disk, 0, DEVICE_COFFER_MAGIC, 7);
    assert_false(device_is_coffer(disk));
}

static void two_things_at_once_are_something(void **state)
{
    (void)state;
    put_ext_signature();
    put_bytes(disk, 0, "XFSB", 4);
    assert_int_equal(device_probe_empty(disk), ERROR_NOT_EMPTY);
}

static void a_file_that_another_process_locks_is_in_use(void **state)
{
    (void)state;
    int file = open(disk, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(file, LOCK_EX), 0);
    assert_int_equal(device_probe_empty(disk), ERROR_IN_USE);
    expect_sentence(ERROR_IN_USE, disk);
    close(file);
    assert_int_equal(device_probe_empty(disk), ERROR_NONE);
}

static void a_file_behind_a_loop_device_is_in_use(void **state)
{
    (void)state;
    char loop[64];
    if (!loop_attach(disk, loop, sizeof(loop)))
        skip();
    enum error error = device_probe_empty(disk), wiped = device_wipe_signatures(disk);
    loop_detach(loop);
    assert_int_equal(error, ERROR_IN_USE);
    assert_int_equal(wiped, ERROR_IN_USE);
    expect_sentence(ERROR_IN_USE, loop);
}

static void a_mounted_device_is_in_use(void **state)
{
    (void)state;
    char loop[64];
    put_ext_signature();
    if (!loop_attach(disk, loop, sizeof(loop)))
        skip();
    assert_int_equal(mkdir(path_of("mount"), 0700), 0);
    bool mounted = mount(loop, path_of("mount"), "ext4", 0, NULL) == 0;
    enum error error = ERROR_NONE, wiped = ERROR_NONE;
    struct device *device;
    if (mounted) {
        error = device_probe_empty(loop);
        expect_sentence(ERROR_IN_USE, "is mounted on");
        wiped = device_wipe_signatures(loop);
        assert_int_equal(device_open_file(loop, 0, &device), ERROR_IN_USE);
        expect_sentence(ERROR_IN_USE, path_of("mount"));
        umount2(path_of("mount"), 0);
    }
    loop_detach(loop);
    rmdir(path_of("mount"));
    if (!mounted)
        skip();
    assert_int_equal(error, ERROR_IN_USE);
    assert_int_equal(wiped, ERROR_IN_USE);
}

static void wiping_leaves_nothing_to_be_found(void **state)
{
    (void)state;
    void (*const carriers[])(void) = {put_ext_signature, put_partition_table, put_swap_signature};
    for (size_t i = 0; i < COUNT_OF(carriers); i++) {
        carriers[i]();
        assert_int_equal(device_wipe_signatures(disk), ERROR_NONE);
        assert_int_equal(device_probe_empty(disk), ERROR_NONE);
    }
    put_bytes(disk, 0, DEVICE_COFFER_MAGIC, 8);
    assert_int_equal(device_wipe_signatures(disk), ERROR_NONE);
    assert_false(device_is_coffer(disk));
}

static void wiping_clears_both_ends_and_keeps_the_size(void **state)
{
    (void)state;
    unsigned char *junk = blocks_filled(1, 'j');
    put_bytes(disk, 1 << 20, junk, BLOCK);
    put_bytes(disk, (64 << 20) - BLOCK, junk, BLOCK);
    assert_int_equal(device_wipe_signatures(disk), ERROR_NONE);
    int file = open(disk, O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(file, 0, SEEK_END), 64 << 20);
    assert_int_equal(pread(file, junk, BLOCK, 1 << 20), BLOCK);
    expect_filled(junk, BLOCK, 0);
    assert_int_equal(pread(file, junk, BLOCK, (64 << 20) - BLOCK), BLOCK);
    expect_filled(junk, BLOCK, 0);
    close(file);
    free(junk);
}

static void a_tiny_file_can_be_wiped(void **state)
{
    (void)state;
    make_file(disk, 5000);
    put_bytes(disk, 0, DEVICE_COFFER_MAGIC, 8);
    assert_int_equal(device_wipe_signatures(disk), ERROR_NONE);
    assert_false(device_is_coffer(disk));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(a_missing_path_is_not_found),
        TEST(what_is_no_storage_is_refused),
        TEST(an_empty_file_is_empty),
        TEST(a_file_of_zeros_is_empty),
        TEST(a_file_system_is_found_with_its_label),
        TEST(a_partition_table_is_found),
        TEST(a_coffer_device_is_found),
        TEST(data_without_a_name_is_found_at_both_ends),
        TEST(data_in_a_small_file_is_found),
        TEST(a_file_whose_blocks_are_allocated_is_empty),
        TEST(what_is_open_is_looked_at_as_well),
        TEST(a_magic_that_is_cut_off_is_none),
        TEST(two_things_at_once_are_something),
        TEST(a_file_that_another_process_locks_is_in_use),
        TEST(a_file_behind_a_loop_device_is_in_use),
        TEST(a_mounted_device_is_in_use),
        TEST(wiping_leaves_nothing_to_be_found),
        TEST(wiping_clears_both_ends_and_keeps_the_size),
        TEST(a_tiny_file_can_be_wiped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
