#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static char directory[64];
static char path[96], new_path[100];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(new_path, sizeof new_path, "%s.new", path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(new_path);
    return rmdir(directory);
}

static void expect_content(const char *expected)
{
    AUTO_FREE void *data = NULL;
    size_t size = 0;
    assert_int_equal(file_read(path, 100, &data, &size), ERROR_NONE);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(data, expected);
}

static enum error read_private(void)
{
    AUTO_FREE void *data = NULL;
    size_t size;
    return file_read_private(path, 100, &data, &size);
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    void *data = NULL;
    size_t size;
    assert_int_equal(file_read(path, 100, &data, &size), ERROR_NOT_FOUND);
    assert_null(data);
    assert_int_equal(file_read_private(path, 100, &data, &size), ERROR_NOT_FOUND);
}

static void a_directory_and_a_pipe_are_no_files(void **state)
{
    (void)state;
    void *data;
    size_t size;
    assert_int_equal(file_read(directory, 100, &data, &size), ERROR_INVALID);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read(path, 100, &data, &size), ERROR_INVALID);
}

static void a_file_of_the_limit_is_read_and_one_byte_more_refused(void **state)
{
    (void)state;
    AUTO_FREE void *data = NULL;
    void *untouched = NULL;
    size_t size;
    assert_int_equal(file_replace(path, "12345", 5), ERROR_NONE);
    assert_int_equal(file_read(path, 5, &data, &size), ERROR_NONE);
    assert_int_equal(size, 5);
    assert_int_equal(file_read(path, 4, &untouched, &size), ERROR_TOO_LARGE);
    assert_null(untouched);
}

static void a_pipe_is_read_to_the_size_asked_or_to_its_end(void **state)
{
    (void)state;
    int ends[2];
    char data[8] = "";
    size_t got = 77;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(file_read_up_to(ends[1], "its end for writing", data, 3, &got), ERROR_IO);
    assert_int_equal(got, 77);
    assert_int_equal(write(ends[1], "ab", 2), 2);
    assert_int_equal(write(ends[1], "cde", 3), 3);
    close(ends[1]);
    assert_int_equal(file_read_up_to(ends[0], "pipe", data, 3, &got), ERROR_NONE);
    assert_true(got == 3 && strcmp(data, "abc") == 0);
    assert_int_equal(file_read_up_to(ends[0], "pipe", data, sizeof data, &got), ERROR_NONE);
    assert_true(got == 2 && memcmp(data, "de", 2) == 0);
    assert_int_equal(file_read_up_to(ends[0], "pipe", data, sizeof data, &got), ERROR_NONE);
    assert_int_equal(got, 0);
    close(ends[0]);
}

static void an_empty_file_is_read(void **state)
{
    (void)state;
    assert_int_equal(file_replace(path, "", 0), ERROR_NONE);
    expect_content("");
}

static void replacing_changes_the_whole_content_and_leaves_no_new_file(void **state)
{
    (void)state;
    assert_int_equal(file_replace(path, "a longer content", 16), ERROR_NONE);
    assert_int_equal(file_replace(path, "short", 5), ERROR_NONE);
    expect_content("short");
    assert_int_equal(access(new_path, F_OK), -1);
}

static void a_replaced_file_is_private_even_after_a_crash_left_an_open_one(void **state)
{
    (void)state;
    FILE *left = fopen(new_path, "w");
    assert_non_null(left);
    fclose(left);
    assert_int_equal(chmod(new_path, 0666), 0);
    assert_int_equal(file_replace(path, "key", 3), ERROR_NONE);
    assert_int_equal(read_private(), ERROR_NONE);
}

static void a_replaced_file_keeps_its_mode(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(file_create(path, "old", 3), ERROR_NONE);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(file_replace(path, "new", 3), ERROR_NONE);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
}

static void a_link_in_the_way_is_not_followed(void **state)
{
    (void)state;
    char victim[100];
    snprintf(victim, sizeof victim, "%s/victim", directory);
    assert_int_equal(symlink(victim, new_path), 0);
    assert_int_equal(file_replace(path, "key", 3), ERROR_NONE);
    assert_int_equal(access(victim, F_OK), -1);
    expect_content("key");
}

static void replacing_in_a_missing_directory_fails(void **state)
{
    (void)state;
    char missing[100];
    snprintf(missing, sizeof missing, "%s/none/file", directory);
    assert_int_equal(file_replace(missing, "x", 1), ERROR_NOT_FOUND);
}

static void creating_does_not_touch_what_exists(void **state)
{
    (void)state;
    assert_int_equal(file_create(path, "first", 5), ERROR_NONE);
    assert_int_equal(file_create(path, "second", 6), ERROR_EXISTS);
    expect_content("first");
    assert_int_equal(access(new_path, F_OK), -1);
}

static enum error fill_or_fail(int descriptor, const char *name, void *context)
{
    assert_string_equal(name, path);
    assert_int_equal(write(descriptor, "filled", 6), 6);
    return *(enum error *)context;
}

static void what_cannot_be_filled_is_not_there(void **state)
{
    enum error error = ERROR_NO_SPACE;
    (void)state;
    assert_int_equal(file_create_filled(path, fill_or_fail, &error, false), ERROR_NO_SPACE);
    assert_int_equal(access(path, F_OK), -1);
    error = ERROR_NONE;
    assert_int_equal(file_create_filled(path, fill_or_fail, &error, false), ERROR_NONE);
    expect_content("filled");
    assert_int_equal(file_create_filled(path, fill_or_fail, &error, false), ERROR_EXISTS);
}

/* Somebody's own file may have the name that a replacement would be written under. */
static void creating_leaves_a_file_new_beside_it_alone(void **state)
{
    (void)state;
    FILE *own = fopen(new_path, "w");
    assert_non_null(own);
    assert_true(fputs("precious", own) >= 0);
    assert_int_equal(fclose(own), 0);
    assert_int_equal(file_create(path, "first", 5), ERROR_NONE);
    expect_content("first");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(file_create_own(path, "second", 6), ERROR_NONE);
    expect_content("second");
    assert_int_equal(read_private(), ERROR_NONE);
    AUTO_FREE void *data = NULL;
    size_t size = 0;
    assert_int_equal(file_read(new_path, 100, &data, &size), ERROR_NONE);
    assert_string_equal(data, "precious");
}

static void what_cannot_be_created_is_named_as_it_was_typed(void **state)
{
    (void)state;
    assert_int_equal(file_create(path, "first", 5), ERROR_NONE);
    assert_int_equal(file_create_own(path, "second", 6), ERROR_EXISTS);
    assert_non_null(strstr(error_sentence(ERROR_EXISTS), path));
    assert_null(strstr(error_sentence(ERROR_EXISTS), ".new"));
}

static void what_an_open_directory_has_is_made_and_read_in_it_by_no_link(void **state)
{
    (void)state;
    char moved[100], below[120];
    struct stat status;
    void *untouched = NULL;
    AUTO_FREE void *data = NULL;
    size_t size = 0;
    snprintf(moved, sizeof moved, "%s/moved", directory);
    snprintf(below, sizeof below, "%s/key", moved);
    assert_int_equal(mkdir(path, 0700), 0);
    int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), above = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(opened >= 0 && above >= 0);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* another one, of the same name */
    assert_int_equal(file_create_in(opened, "key", "typed", "key", 3), ERROR_NONE);
    assert_int_equal(file_create_in(opened, "key", "typed", "key", 3), ERROR_EXISTS);
    assert_int_equal(access(below, F_OK), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(file_read_below(above, "moved/key", "typed", 100, &status, &data, &size), ERROR_NONE);
    assert_true(size == 3 && status.st_nlink == 1);
    assert_int_equal(symlink("moved", path), 0);
    assert_int_not_equal(file_read_below(above, "file/key", "typed", 100, &status, &untouched, &size), ERROR_NONE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("moved/key", path), 0);
    assert_int_equal(file_read_below(above, "file", "typed", 100, &status, &untouched, &size), ERROR_INVALID);
    assert_null(untouched);
    int descriptor = -1;
    assert_int_equal(file_open_below(above, "file", "typed", &status, &descriptor), ERROR_INVALID);
    assert_int_equal(file_open_below(above, "moved", "typed", &status, &descriptor), ERROR_INVALID); /* a directory */
    assert_int_equal(file_open_below(above, "moved/none", "typed", &status, &descriptor), ERROR_NOT_FOUND);
    assert_int_equal(descriptor, -1);
    assert_int_equal(file_open_below(above, "moved/key", "typed", &status, &descriptor), ERROR_NONE);
    assert_int_equal(status.st_size, 3);
    close(descriptor);
    close(opened);
    close(above);
    assert_int_equal(unlink(below) | rmdir(moved), 0);
}

static void a_file_open_to_others_is_not_private(void **state)
{
    (void)state;
    assert_int_equal(file_create(path, "key", 3), ERROR_NONE);
    static const mode_t open_modes[] = {0640, 0620, 0610, 0604, 0602, 0601};
    for (size_t i = 0; i < COUNT_OF(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(read_private(), ERROR_ACCESS);
    }
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(read_private(), ERROR_NONE);
}

static void a_file_of_another_user_is_not_private(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(file_create(path, "key", 3), ERROR_NONE);
    assert_int_equal(chown(path, 65534, (gid_t)-1), 0);
    assert_int_equal(read_private(), ERROR_ACCESS);
    assert_non_null(strstr(error_sentence(ERROR_ACCESS), "`sudo -u '#65534' "));
    assert_non_null(strstr(error_sentence(ERROR_ACCESS), "file_test`"));
    assert_null(strstr(error_sentence(ERROR_ACCESS), "chown")); /* its user could not start then */
}

/* A link whose target is exchanged between a look and the reading would deceive a check of the path. */
static void what_is_checked_is_what_a_link_leads_to(void **state)
{
    (void)state;
    char open_file[100];
    snprintf(open_file, sizeof open_file, "%s/open", directory);
    assert_int_equal(file_create(open_file, "key", 3), ERROR_NONE);
    assert_int_equal(chmod(open_file, 0644), 0);
    assert_int_equal(symlink(open_file, path), 0);
    assert_int_equal(read_private(), ERROR_ACCESS);
    assert_int_equal(unlink(open_file), 0);
}

static void joining_puts_one_slash_between(void **state)
{
    (void)state;
    AUTO_FREE char *plain = file_join("a/b", "c");
    AUTO_FREE char *slashed = file_join("/", "c");
    assert_string_equal(plain, "a/b/c");
    assert_string_equal(slashed, "/c");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_missing_file_is_not_found),
        TEST(a_directory_and_a_pipe_are_no_files),
        TEST(a_file_of_the_limit_is_read_and_one_byte_more_refused),
        TEST(a_pipe_is_read_to_the_size_asked_or_to_its_end),
        TEST(an_empty_file_is_read),
        TEST(replacing_changes_the_whole_content_and_leaves_no_new_file),
        TEST(a_replaced_file_is_private_even_after_a_crash_left_an_open_one),
        TEST(a_replaced_file_keeps_its_mode),
        TEST(a_link_in_the_way_is_not_followed),
        TEST(replacing_in_a_missing_directory_fails),
        TEST(creating_does_not_touch_what_exists),
        TEST(what_cannot_be_filled_is_not_there),
        TEST(creating_leaves_a_file_new_beside_it_alone),
        TEST(what_cannot_be_created_is_named_as_it_was_typed),
        TEST(what_an_open_directory_has_is_made_and_read_in_it_by_no_link),
        TEST(a_file_open_to_others_is_not_private),
        TEST(a_file_of_another_user_is_not_private),
        TEST(what_is_checked_is_what_a_link_leads_to),
        TEST(joining_puts_one_slash_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
