/* The daemon's command line and conf: wrong ones first. */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "server/settings.h"

#define MINIMAL                                                                                                        \
    "[pool]\nuuid = 6ba7b810-9dad-41d1-80b4-00c04fd430c8\nencryption = off\n"                                          \
    "[group g1]\nuuid = 6ba7b811-9dad-41d1-80b4-00c04fd430c8\ndevices = disk\n"                                        \
    "device-ids = 6ba7b812-9dad-41d1-80b4-00c04fd430c8\n"

static char directory[64], conf_path[96];

static int pool_make(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/settings_test.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(conf_path, sizeof(conf_path), "%s/coffer.conf", directory);
    return 0;
}

static int pool_remove(void **state)
{
    (void)state;
    unlink(conf_path);
    return rmdir(directory);
}

static enum settings_outcome parse(struct settings *settings, const char *const *arguments)
{
    int count = 0;
    while (arguments[count])
        count++;
    optind = 0;
    return settings_parse(count, (char *const *)(uintptr_t)arguments, settings);
}
#define PARSE(settings, ...) parse(settings, (const char *const[]){"cofferd", __VA_ARGS__, NULL})

static void write_conf(const char *text)
{
    assert_int_equal(file_replace(conf_path, text, strlen(text)), ERROR_NONE);
}

static void wrong_usage_is_complained_about(void **state)
{
    (void)state;
    struct settings settings;
    assert_int_equal(parse(&settings, (const char *const[]){"cofferd", NULL}), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "b"), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "--no-such-option"), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "--nbd"), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "--memory", "lots"), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "--memory", "256"), SETTINGS_USAGE); /* bytes: the unit was forgotten */
    assert_int_equal(PARSE(&settings, "a", "--memory", "63M"), SETTINGS_USAGE);
    assert_int_equal(PARSE(&settings, "a", "--memory", "1000T"), SETTINGS_USAGE);
}

static void more_addresses_than_can_be_served_are_refused(void **state)
{
    (void)state;
    const char *arguments[2 * SETTINGS_ADDRESSES_MAX + 5] = {"cofferd", "pool"};
    struct settings settings;
    for (size_t i = 0; i <= SETTINGS_ADDRESSES_MAX; i++) {
        arguments[2 + 2 * i] = "--nbd";
        arguments[3 + 2 * i] = "unix:x";
    }
    assert_int_equal(parse(&settings, arguments), SETTINGS_USAGE);
    settings_deinit(&settings);
}

static void a_pool_without_conf_is_an_error(void **state)
{
    (void)state;
    struct settings settings;
    assert_int_equal(PARSE(&settings, directory), SETTINGS_RUN);
    assert_int_not_equal(settings_complete(&settings, false), ERROR_NONE);
    settings_deinit(&settings);
}

static void an_unknown_key_in_the_conf_is_an_error(void **state)
{
    (void)state;
    struct settings settings;
    write_conf(MINIMAL "[server]\nndb = unix:/x\n");
    assert_int_equal(PARSE(&settings, directory), SETTINGS_RUN);
    assert_int_equal(settings_complete(&settings, false), ERROR_INVALID);
    settings_deinit(&settings);
}

static void without_anything_said_the_sockets_are_in_the_pool_directory(void **state)
{
    (void)state;
    struct settings settings;
    char address[128], control[128];
    snprintf(address, sizeof(address), "unix:%s/nbd.sock", directory);
    snprintf(control, sizeof(control), "%s/control.sock", directory);
    write_conf(MINIMAL);
    assert_int_equal(PARSE(&settings, directory), SETTINGS_RUN);
    assert_int_equal(settings_complete(&settings, false), ERROR_NONE);
    assert_int_equal(settings.address_count, 1);
    assert_string_equal(settings.addresses[0], address);
    assert_string_equal(settings.control, control);
    assert_false(settings.insecure);
    assert_true(settings.memory > 0);
    settings_deinit(&settings);
}

static void sockets_of_systemd_take_the_place_of_the_default(void **state)
{
    (void)state;
    struct settings settings;
    write_conf(MINIMAL);
    assert_int_equal(PARSE(&settings, directory), SETTINGS_RUN);
    assert_int_equal(settings_complete(&settings, true), ERROR_NONE);
    assert_int_equal(settings.address_count, 0);
    settings_deinit(&settings);
}

static void the_conf_says_where_to_listen_and_how_much_memory_to_use(void **state)
{
    (void)state;
    struct settings settings;
    write_conf(MINIMAL
               "[pool]\nmemory = 512M\n[server]\nnbd = unix:/a\nnbd = tcp:127.0.0.1:1\ncontrol = /c\ninsecure = yes\n");
    assert_int_equal(PARSE(&settings, directory), SETTINGS_RUN);
    assert_int_equal(settings_complete(&settings, false), ERROR_NONE);
    assert_int_equal(settings.address_count, 2);
    assert_string_equal(settings.addresses[1], "tcp:127.0.0.1:1");
    assert_string_equal(settings.control, "/c");
    assert_true(settings.insecure);
    assert_int_equal(settings.memory, 512 << 20);
    settings_deinit(&settings);
}

static void the_command_line_goes_over_the_conf(void **state)
{
    (void)state;
    struct settings settings;
    write_conf(MINIMAL "[pool]\nmemory = 512M\n[server]\nnbd = unix:/a\ncontrol = /c\n");
    assert_int_equal(PARSE(&settings, "--nbd", "unix:/b", directory, "--control", "/d", "--memory", "1G",
                           "--passphrase-file", "/p", "--accept-rollback"),
                     SETTINGS_RUN);
    assert_int_equal(settings_complete(&settings, false), ERROR_NONE);
    assert_int_equal(settings.address_count, 1);
    assert_string_equal(settings.addresses[0], "unix:/b");
    assert_string_equal(settings.control, "/d");
    assert_int_equal(settings.memory, 1 << 30);
    assert_string_equal(settings.passphrase_file, "/p");
    assert_true(settings.accept_rollback);
    settings_deinit(&settings);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_make, pool_remove)
    const struct CMUnitTest tests[] = {
        TEST(wrong_usage_is_complained_about),
        TEST(more_addresses_than_can_be_served_are_refused),
        TEST(a_pool_without_conf_is_an_error),
        TEST(an_unknown_key_in_the_conf_is_an_error),
        TEST(without_anything_said_the_sockets_are_in_the_pool_directory),
        TEST(sockets_of_systemd_take_the_place_of_the_default),
        TEST(the_conf_says_where_to_listen_and_how_much_memory_to_use),
        TEST(the_command_line_goes_over_the_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
