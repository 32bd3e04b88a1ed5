/* What a file would lie on, by a picture of /proc and /sys: the file system of this test plays the inner one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tools/cycle.h"

static char root[64], mounts[96], devices[96], target[96];
static unsigned above, below; /* numbers of the file system that the test's directory lies on */

static int set_up(void **state)
{
    struct stat status;
    (void)state;
    snprintf(root, sizeof root, "/tmp/coffer-cycle-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(mounts, sizeof mounts, "%s/mountinfo", root);
    snprintf(devices, sizeof devices, "%s/block", root);
    snprintf(target, sizeof target, "%s/pool.p12", root);
    assert_int_equal(mkdir(devices, 0700), 0);
    assert_int_equal(stat(root, &status), 0);
    above = major(status.st_dev);
    below = minor(status.st_dev);
    return 0;
}

static int forget(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, forget, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void mounted(const char *type, const char *source)
{
    char line[256];
    snprintf(line, sizeof line, "22 1 0:99 / /proc rw - proc proc rw\n23 1 %u:%u / / rw,relatime shared:1 - %s %s rw\n", above,
             below, type, source);
    put(mounts, line);
}

/* A file below the folder of a block device. */
static void attribute(unsigned of_above, unsigned of_below, const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%u:%u", devices, of_above, of_below);
    mkdir(path, 0700);
    if (folder != NULL) {
        char part[128];
        snprintf(part, sizeof part, "%s", folder);
        for (char *at = part, *slash; at != NULL; at = slash == NULL ? NULL : slash + 1) {
            slash = strchr(at, '/');
            snprintf(path + strlen(path), sizeof path - strlen(path), "/%.*s", slash == NULL ? (int)strlen(at) : (int)(slash - at), at);
            mkdir(path, 0700);
        }
    }
    snprintf(path + strlen(path), sizeof path - strlen(path), "/%s", name);
    put(path, text);
}

static enum error check(void)
{
    error_forget();
    return cycle_check_in(target, mounts, devices);
}

static void an_ordinary_disk_will_do(void **state)
{
    (void)state;
    mounted("ext4", "/dev/sda1");
    assert_int_equal(check(), ERROR_NONE);
    attribute(above, below, NULL, "uevent", "MAJOR=8\nDEVNAME=sda1\n");
    assert_int_equal(check(), ERROR_NONE);
    assert_int_equal(cycle_check_in(target, "/none", "/none"), ERROR_NONE);
    assert_int_equal(cycle_check(target, "/none"), ERROR_NONE);
}

static void expect_inside(const char *directory, const char *name, bool inside)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", root, name);
    error_forget();
    assert_int_equal(cycle_check(path, directory), inside ? ERROR_INVALID : ERROR_NONE);
    if (inside)
        assert_non_null(strstr(error_sentence(ERROR_INVALID), "lies in the pool directory"));
}

static void a_file_in_the_pool_directory_is_refused(void **state)
{
    (void)state;
    char pool[96], other[96], link[96];
    snprintf(pool, sizeof pool, "%s/pool", root);
    snprintf(other, sizeof other, "%s/pool2", root);
    snprintf(link, sizeof link, "%s/link", root);
    for (int there = 0; there < 2; there++) { /* `create` asks before it is */
        expect_inside(pool, "pool/key", true);
        expect_inside(pool, "pool2/key", false);
        expect_inside(pool, "key", false);
        expect_inside(pool, "pool", false);
        if (!there)
            assert_int_equal(mkdir(pool, 0700), 0);
    }
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(symlink(pool, link), 0);
    expect_inside(pool, "link/key", true);
    expect_inside(link, "pool/key", true);
    expect_inside(pool, "pool2/../pool/key", true);
    expect_inside(pool, "pool/../pool2/key", false);
    snprintf(other, sizeof other, "%s/pool/keys", root);
    assert_int_equal(mkdir(other, 0700), 0);
    expect_inside(pool, "pool/keys/key", true);
    assert_int_equal(chdir(pool), 0);
    assert_int_equal(cycle_check("key", "."), ERROR_INVALID);
    assert_int_equal(cycle_check("../key", "."), ERROR_NONE);
    assert_int_equal(chdir("/"), 0);
}

static void an_nbd_device_is_refused(void **state)
{
    (void)state;
    mounted("ext4", "/dev/nbd0");
    attribute(above, below, NULL, "uevent", "MAJOR=43\nMINOR=0\nDEVNAME=nbd0\nDEVTYPE=disk\n");
    assert_int_equal(check(), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "the NBD device /dev/nbd0"));
    assert_non_null(strstr(error_sentence(ERROR_INVALID), target));
}

static void a_mapping_over_an_nbd_device_is_refused(void **state)
{
    (void)state;
    mounted("ext4", "/dev/mapper/x");
    attribute(above, below, NULL, "uevent", "DEVNAME=dm-0\n");
    attribute(above, below, "slaves/nbd3", "dev", "43:48\n");
    assert_int_equal(check(), ERROR_NONE);
    attribute(43, 48, NULL, "uevent", "DEVNAME=nbd3\n");
    assert_int_equal(check(), ERROR_INVALID);
}

/* nbdfuse shows as "/dev/fuse", type fuse. A FUSE file system by itself, like sshfs, will do. */
static void a_loop_device_over_nbdfuse_is_refused(void **state)
{
    (void)state;
    mounted("fuse", "/dev/fuse");
    assert_int_equal(check(), ERROR_NONE);
    attribute(above, below, "loop", "backing_file", target);
    put(target, "");
    assert_int_equal(check(), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "nbdfuse"));
}

/* A loop device on a file whose file system is the one that is looked at: the search ends, whatever the depth. */
static void a_loop_device_is_followed_and_ends(void **state)
{
    (void)state;
    mounted("ext4", "/dev/loop0");
    attribute(above, below, "loop", "backing_file", target);
    put(target, "");
    assert_int_equal(check(), ERROR_NONE);
    attribute(above, below, "slaves/nbd1", "dev", "43:16\n");
    attribute(43, 16, NULL, "uevent", "DEVNAME=nbd1\n");
    assert_int_equal(check(), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_ordinary_disk_will_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_the_pool_directory_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_nbd_device_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mapping_over_an_nbd_device_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_loop_device_over_nbdfuse_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_loop_device_is_followed_and_ends, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
