/* Files that hold keys, as they go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/overwrite.h"

static unsigned directories_synced;

int __real_fsync(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_fsync(int descriptor)
{
    struct stat status;
    assert_int_equal(fstat(descriptor, &status), 0);
    directories_synced += S_ISDIR(status.st_mode) != 0;
    return __real_fsync(descriptor);
}

/* Else a power loss brings the name back, with zeros behind it. */
static void a_name_that_goes_is_gone_for_good(void **state)
{
    (void)state;
    char directory[64], path[96];
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/key", directory);
    assert_int_equal(file_create(path, "key", 3), ERROR_NONE);
    directories_synced = 0;
    assert_int_equal(overwrite_and_remove(path), ERROR_NONE);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(directories_synced, 1);
    assert_int_equal(overwrite_and_remove(path), ERROR_NONE);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(overwrite_and_remove(path), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_that_goes_is_gone_for_good)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
