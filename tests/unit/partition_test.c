/* A disk and its partitions share what is written; two partitions, and two disks, do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "tools/partition.h"

static char root[64], sysfs[96];

static int remove_one(const char *name, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(name);
}

/* A folder of sysfs with its number; a partition's says that it is one. */
static void block_make(const char *name, const char *number, bool partition)
{
    char path[192], to[192];
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/%s/dev", root, name);
    assert_int_equal(file_create(path, number, strlen(number)), ERROR_NONE);
    snprintf(path, sizeof path, "%s/%s/partition", root, name);
    if (partition)
        assert_int_equal(file_create(path, "1\n", 2), ERROR_NONE);
    snprintf(to, sizeof to, "../%s", name);
    snprintf(path, sizeof path, "%s/%s", sysfs, number);
    assert_int_equal(symlink(to, path), 0);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/coffer-partition-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(sysfs, sizeof sysfs, "%s/block", root);
    assert_int_equal(mkdir(sysfs, 0700), 0);
    block_make("sda", "8:0", false);
    block_make("sda/sda1", "8:1", true);
    block_make("sda/sda2", "8:2", true);
    block_make("sdb", "8:16", false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static bool overlaps(unsigned one, unsigned other)
{
    bool found = partition_overlaps(sysfs, makedev(8, one), makedev(8, other));
    assert_true(found == partition_overlaps(sysfs, makedev(8, other), makedev(8, one)));
    return found;
}

static void a_disk_overlaps_its_partitions(void **state)
{
    (void)state;
    assert_true(overlaps(0, 0));
    assert_true(overlaps(0, 1));
    assert_true(overlaps(0, 2));
    assert_true(overlaps(2, 2));
}

static void others_do_not_overlap(void **state)
{
    (void)state;
    assert_false(overlaps(1, 2));
    assert_false(overlaps(0, 16));
    assert_false(overlaps(1, 16));
    assert_false(overlaps(1, 99));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_overlaps_its_partitions),
        cmocka_unit_test(others_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
