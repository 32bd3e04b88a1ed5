/* Changes of coffer.conf by a program: comments and everything else stay, and what does not fit is refused before it is
 * written. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "engine/pool/conf.h"
#include "engine/pool/conf_edit.h"

static char directory[64], path[128];

static const char original[] = "# Of the pool.\n[pool]\nuuid = 11111111-1111-4111-8111-111111111111\n# Who keeps the key.\n"
                               "provider = native\n\n# Of the group.\n[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\n"
                               "devices = disk\ndevice-ids = 44444444-4444-4444-8444-444444444444\n\n# The first.\n"
                               "[provider native]\nid = 22222222-2222-4222-8222-222222222222\ntype = native\nseal = file\n"
                               "path = native.key\n\n# More of the pool.\n[pool]\nmemory = 1G";

static void write_conf(const char *text) { assert_int_equal(file_replace(path, text, strlen(text)), ERROR_NONE); }

static int setup(void **context)
{
    (void)context;
    snprintf(directory, sizeof directory, "/tmp/coffer-conf-edit-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/coffer.conf", directory);
    write_conf(original);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    unlink(path);
    return rmdir(directory);
}

#define TEXT_MAX 4096

static void now(char text[TEXT_MAX])
{
    void *read;
    size_t size;
    assert_int_equal(file_read(path, TEXT_MAX - 1, &read, &size), ERROR_NONE);
    memcpy(text, read, size + 1);
    free(read);
}

static struct provider_config second(void)
{
    return (struct provider_config){.name = "second",
                                    .id = uuid_random(),
                                    .type = "native",
                                    .seal = "tpm",
                                    .path = "/k/second.key",
                                    .tcti = "swtpm:",
                                    .pcrs = 1u << 7 | 1u << 11};
}

static void what_is_added_reads_back_and_what_is_removed_leaves_no_trace(void **context)
{
    (void)context;
    struct provider_config provider = second();
    struct pool_conf *conf;
    assert_int_equal(conf_edit_add(directory, &provider), ERROR_NONE);
    assert_int_equal(pool_conf_read(directory, &conf), ERROR_NONE);
    assert_int_equal(conf->provider_count, 2);
    assert_true(uuid_equal(conf->providers[1].id, provider.id));
    assert_string_equal(conf->providers[1].tcti, "swtpm:");
    assert_int_equal(conf->providers[1].pcrs, provider.pcrs);
    assert_string_equal(conf->provider->name, "native");
    pool_conf_destroy(conf);
    char with[TEXT_MAX];
    now(with);
    assert_memory_equal(with, original, strlen(original));
    assert_int_equal(conf_edit_remove(directory, "second"), ERROR_NONE);
    char without[TEXT_MAX];
    now(without);
    assert_memory_equal(without, original, strlen(original));
    assert_string_equal(without + strlen(original), "\n\n");
}

static void the_line_alone_changes(void **context)
{
    (void)context;
    struct provider_config provider = second();
    assert_int_equal(conf_edit_add(directory, &provider), ERROR_NONE);
    char before[TEXT_MAX];
    now(before);
    assert_int_equal(conf_edit_use(directory, "second"), ERROR_NONE);
    char after[TEXT_MAX];
    now(after);
    size_t head = strlen(before) - strlen(strstr(before, "provider = native\n"));
    assert_memory_equal(after, before, head);
    assert_memory_equal(after + head, "provider = second\n", strlen("provider = second\n"));
    assert_string_equal(after + head + strlen("provider = second\n"), before + head + strlen("provider = native\n"));
    assert_int_equal(conf_edit_remove(directory, "native"), ERROR_NONE); /* with the comment above it */
    char rest[TEXT_MAX];
    now(rest);
    assert_null(strstr(rest, "The first"));
    assert_non_null(strstr(rest, "# More of the pool.\n[pool]\nmemory = 1G"));
    assert_non_null(strstr(rest, "# Of the group.\n[group g1]"));
}

static void mode_and_owner_stay(void **context)
{
    (void)context;
    struct provider_config provider = second();
    struct stat status;
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(conf_edit_add(directory, &provider), ERROR_NONE);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
}

static void assert_unchanged(enum error error, enum error expected, const char *words)
{
    assert_int_equal(error, expected);
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
    char text[TEXT_MAX];
    now(text);
    assert_string_equal(text, original);
}

static void what_exists_is_refused(void **context)
{
    (void)context;
    struct provider_config provider = second();
    char own[200];
    snprintf(provider.name, sizeof provider.name, "native");
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_EXISTS, "there is a provider native");
    provider = second();
    assert_int_equal(uuid_parse("22222222-2222-4222-8222-222222222222", &provider.id), ERROR_NONE);
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_EXISTS, "id of provider native");
    provider = second();
    snprintf(own, sizeof own, "%s/native.key", directory);
    provider.path = own;
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_EXISTS, "key file of provider native");
    assert_unchanged(conf_edit_use(directory, "third"), ERROR_NOT_FOUND, "it has native");
    assert_unchanged(conf_edit_remove(directory, "third"), ERROR_NOT_FOUND, "it has native");
    assert_unchanged(conf_edit_remove(directory, "native"), ERROR_BUSY, "is the one in");
}

static void what_would_not_read_back_is_refused(void **context)
{
    (void)context;
    struct provider_config provider = second();
    provider.seal = "tpm\nid = 1";
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_INVALID, "coffer.conf");
    provider = second();
    provider.path = "/k/a\n[pool]\nprovider = second";
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_INVALID, "coffer.conf");
    provider = second();
    snprintf(provider.name, sizeof provider.name, "two]");
    assert_unchanged(conf_edit_add(directory, &provider), ERROR_INVALID, "coffer.conf");
}

static void who_else_changes_it_is_waited_for(void **context)
{
    (void)context;
    int lock, other;
    assert_int_equal(conf_edit_begin(directory, &lock), ERROR_NONE);
    other = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    conf_edit_end(lock);
    assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
    close(other);
    assert_int_equal(conf_edit_begin(directory, &lock), ERROR_NONE);
    conf_edit_end(lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_would_not_read_back_is_refused),
        TEST(what_exists_is_refused),
        TEST(who_else_changes_it_is_waited_for),
        TEST(mode_and_owner_stay),
        TEST(the_line_alone_changes),
        TEST(what_is_added_reads_back_and_what_is_removed_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
