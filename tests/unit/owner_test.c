/* What root makes in somebody's directory is his; needs root, and says nothing without. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/owner.h"

#define SOMEBODY 54321

static char directory[64], path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/coffer-owner-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
    if (geteuid() == 0)
        assert_int_equal(chown(directory, SOMEBODY, SOMEBODY), 0);
    return 0;
}

static int remove_entry(const char *entry, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(entry);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(directory, remove_entry, 4, FTW_DEPTH | FTW_PHYS);
}

static void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

static void assert_owner(const char *file, uid_t user, mode_t mode)
{
    struct stat status;
    assert_int_equal(lstat(file, &status), 0);
    assert_int_equal(status.st_uid, user);
    assert_int_equal(status.st_gid, user);
    assert_int_equal(status.st_mode & 07777, mode);
}

static void what_root_makes_belongs_to_the_owner_of_the_directory(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(file_create(path, "new", 3), ERROR_NONE);
    assert_owner(path, SOMEBODY, 0600);
}

static void what_root_replaces_keeps_its_owner_and_mode(void **state)
{
    (void)state;
    need_root();
    assert_int_equal(file_create(path, "old", 3), ERROR_NONE);
    assert_int_equal(chown(path, SOMEBODY + 1, SOMEBODY + 1), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(file_replace(path, "new", 3), ERROR_NONE);
    assert_owner(path, SOMEBODY + 1, 0640);
}

static void the_owner_of_a_link_is_not_taken(void **state)
{
    (void)state;
    need_root();
    char other[112];
    snprintf(other, sizeof(other), "%s.other", path);
    assert_int_equal(file_create(other, "old", 3), ERROR_NONE);
    assert_int_equal(chown(other, SOMEBODY + 1, SOMEBODY + 1), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(file_replace(path, "new", 3), ERROR_NONE);
    assert_owner(path, SOMEBODY, 0600);
}

static void a_socket_of_root_belongs_to_the_owner_of_the_directory(void **state)
{
    (void)state;
    need_root();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(owner_bind(descriptor, (struct sockaddr *)&address, sizeof(address), path), 0);
    close(descriptor);
    assert_owner(path, SOMEBODY, 0600);
    assert_int_equal(setfsuid((uid_t)-1), 0); /* tells the identity, and changes nothing: root again */
    assert_int_equal(setfsgid((gid_t)-1), 0);
}

/* fs.suid_dumpable is one of both on most machines, so that the other one shows it. */
static void a_bind_leaves_the_process_as_dumpable_as_it_was(void **state)
{
    (void)state;
    need_root();
    int before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    for (int dumpable = 0; dumpable < 2; dumpable++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path, sizeof(address.sun_path), "%s%d", path, dumpable);
        assert_int_equal(prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0), 0);
        int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(owner_bind(descriptor, (struct sockaddr *)&address, sizeof(address), address.sun_path), 0);
        close(descriptor);
        assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), dumpable);
    }
    prctl(PR_SET_DUMPABLE, before == 1, 0, 0, 0);
}

static void a_socket_is_for_its_owner_only_whatever_the_umask(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    mode_t before = umask(0);
    assert_int_equal(owner_bind(descriptor, (struct sockaddr *)&address, sizeof(address), path), 0);
    umask(before);
    close(descriptor);
    assert_int_equal(lstat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void a_failed_bind_is_told(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_int_equal(file_create(path, "in the way", 10), ERROR_NONE);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(owner_bind(descriptor, (struct sockaddr *)&address, sizeof(address), path), EADDRINUSE);
    close(descriptor);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_root_makes_belongs_to_the_owner_of_the_directory),
        TEST(what_root_replaces_keeps_its_owner_and_mode),
        TEST(the_owner_of_a_link_is_not_taken),
        TEST(a_socket_of_root_belongs_to_the_owner_of_the_directory),
        TEST(a_socket_is_for_its_owner_only_whatever_the_umask),
        TEST(a_bind_leaves_the_process_as_dumpable_as_it_was),
        TEST(a_failed_bind_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
