/* The place of a lost pool directory: that it outlives a power loss once it was made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/lost_directory.h"

static char root[64], pool[80];
static ino_t synced; /* the last that was */
static bool fails;

int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    struct stat status;
    assert_int_equal(fstat(descriptor, &status), 0);
    synced = status.st_ino;
    return fails ? -1 : 0;
}

static int set_up(void **state)
{
    (void)state;
    synced = 0;
    fails = false;
    snprintf(root, sizeof root, "/tmp/coffer-lost-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(pool, sizeof pool, "%s/pool/", root); /* as a shell completes it */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rmdir(pool);
    return rmdir(root);
}

static bool nothing_may_lie_there(const void *context, const struct stat *entry, const char *name)
{
    (void)context, (void)entry, (void)name;
    return false;
}

static const struct lost_directory lost = {pool, nothing_may_lie_there, NULL, "nothing"};

static void one_that_was_made_is_synced_by_its_name(void **state)
{
    (void)state;
    struct stat status;
    bool made = false;
    int directory;
    assert_int_equal(lost_directory_make(&lost, &made, &directory), ERROR_NONE);
    close(directory);
    assert_true(made);
    assert_int_equal(stat(root, &status), 0);
    assert_int_equal(synced, status.st_ino);
}

static void one_whose_name_cannot_be_synced_is_told(void **state)
{
    (void)state;
    bool made = false;
    int directory = -1;
    fails = true;
    assert_int_not_equal(lost_directory_make(&lost, &made, &directory), ERROR_NONE);
    assert_true(made);
    lost_directory_remove(&lost, directory);
    close(directory);
    assert_int_not_equal(access(pool, F_OK), 0);
}

static void one_that_was_there_is_taken(void **state)
{
    (void)state;
    bool made = false;
    int directory;
    assert_int_equal(mkdir(pool, 0755), 0);
    assert_int_equal(lost_directory_make(&lost, &made, &directory), ERROR_NONE);
    close(directory);
    assert_false(made);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_that_was_made_is_synced_by_its_name),
        TEST(one_whose_name_cannot_be_synced_is_told),
        TEST(one_that_was_there_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
