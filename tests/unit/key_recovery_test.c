/* A new recovery key ends the old one when it is out of the house, and never leaves a pool without either. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/recovery.h"
#include "tests/unit/pool_fixture.h"
#include "tools/key_recovery.h"

static struct pool_conf *conf;
static struct tool tool;
static char old[160], new[160], json[160], unfinished[176];
static const char *fails_at;    /* fsync(2) of the file of this name; NULL: of none */
static unsigned loads_that_fail;
static bool was_locked;

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    char link[32], name[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, name, sizeof name - 1);
    name[size > 0 ? size : 0] = '\0';
    if (fails_at == NULL || strcmp(name, fails_at) != 0)
        return __real_fsync(descriptor);
    errno = EIO;
    return -1;
}

enum error __real_recovery_load(const char *directory, struct recovery *recovery);
enum error __wrap_recovery_load(const char *directory, struct recovery *recovery);
enum error __wrap_recovery_load(const char *directory, struct recovery *recovery)
{
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    was_locked = flock(lock, LOCK_EX | LOCK_NB) != 0;
    close(lock);
    if (loads_that_fail == 0)
        return __real_recovery_load(directory, recovery);
    loads_that_fail--;
    return error_explain(ERROR_IO, "cannot read %s", directory);
}

static enum error make_it(const char *to)
{
    return recovery_make(&tool, conf, NULL, to);
}

static bool opens(const char *path)
{
    struct recovery recovery;
    uint8_t recovery_key[KEY_SIZE], key[KEY_SIZE];
    AUTO_FREE void *text = NULL;
    size_t size;
    assert_fine(__real_recovery_load(fixture_directory, &recovery));
    if (file_read(path, 256, &text, &size) != ERROR_NONE)
        return false;
    assert_fine(recovery_key_parse(text, size, recovery_key));
    return recovery_unwrap(&recovery, recovery_key, key) == ERROR_NONE;
}

static int set_up(void **context)
{
    int result = pool_setup(context);
    if (result != 0 || pool_conf_read(fixture_directory, &conf) != ERROR_NONE)
        return -1;
    snprintf(old, sizeof old, "%s/old.txt", fixture_root);
    snprintf(new, sizeof new, "%s/new.txt", fixture_root);
    snprintf(json, sizeof json, "%s/" RECOVERY_NAME, fixture_directory);
    snprintf(unfinished, sizeof unfinished, "%s.new", json);
    tool = (struct tool){.out = fopen("/dev/null", "we"), .err = fopen("/dev/null", "we"), .directory = fixture_directory};
    assert_fine(make_it(old));
    assert_true(opens(old));
    return 0;
}

static int tear_down(void **context)
{
    fails_at = NULL;
    loads_that_fail = 0;
    fclose(tool.out);
    fclose(tool.err);
    free(tool.self);
    pool_conf_destroy(conf);
    return pool_teardown(context);
}

static void a_key_that_nobody_could_read_ends_no_other(void **context)
{
    (void)context;
    fclose(tool.out);
    tool.out = fopen("/dev/full", "we");
    assert_refused(make_it("print"), ERROR_IO, "cannot write the output");
    assert_true(opens(old));
}

static void what_is_not_written_leaves_the_old_one(void **context)
{
    (void)context;
    fails_at = unfinished;
    assert_int_equal(make_it(new), ERROR_IO);
    assert_int_not_equal(access(new, F_OK), 0);
    assert_true(opens(old));
    assert_refused(make_it("print"), ERROR_IO, "opens nothing");
    assert_true(opens(old));
}

static void a_key_that_may_be_in_force_is_kept(void **context)
{
    (void)context;
    fails_at = fixture_directory; /* behind the rename */
    assert_refused(make_it(new), ERROR_IO, "keep");
    assert_true(opens(new));
    assert_false(opens(old));
    fails_at = NULL;
    assert_int_equal(unlink(new), 0);
    loads_that_fail = 2; /* what there is now cannot be found out, either */
    assert_refused(make_it(new), ERROR_IO, "keep");
    assert_int_equal(loads_that_fail, 0);
    assert_true(opens(new));
}

static void nobody_replaces_it_before_it_was_read_back(void **context)
{
    (void)context;
    was_locked = false;
    assert_fine(make_it(new));
    assert_true(was_locked);
    assert_true(opens(new));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_that_nobody_could_read_ends_no_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_written_leaves_the_old_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_that_may_be_in_force_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_replaces_it_before_it_was_read_back, set_up, tear_down),
    };
    if (arena_start() != ERROR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
