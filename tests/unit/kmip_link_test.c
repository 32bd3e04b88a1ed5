#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/kmip/link.h"

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",       ":5696",    "host:",      "host:0",     "host:65536", "host:5x",  "host:-1",
                                        "host:005696", "a b",  "a\tb",       "[::1",       "[]",         "[::1]x",   "[::1]:",
                                        "::1",    "h,i",      "kmip://host", "h/x",       "h;x",        "\"h\"",    "h\x7f"};
    char longest[KMIP_HOST_MAX + 2];
    struct kmip_server server = {.host = "old"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(kmip_server_parse(wrong[i], &server), ERROR_INVALID);
    memset(longest, 'h', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(kmip_server_parse(longest, &server), ERROR_INVALID);
    assert_string_equal(server.host, "old");
}

static void addresses_have_a_host_and_a_port(void **state)
{
    (void)state;
    static const char *const right[][3] = {
        {"kms1.example", "kms1.example", "5696"},   {"kms1:1", "kms1", "1"},
        {"10.0.0.1:65535", "10.0.0.1", "65535"},    {"[fe80::1]", "fe80::1", "5696"},
        {"[::1]:5697", "::1", "5697"},
    };
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        struct kmip_server server;
        assert_int_equal(kmip_server_parse(right[i][0], &server), ERROR_NONE);
        assert_string_equal(server.host, right[i][1]);
        assert_string_equal(server.port, right[i][2]);
    }
}

static void files_that_are_not_there_or_nonsense_are_named(void **state)
{
    (void)state;
    char path[] = "/tmp/coffer-kmip-link-XXXXXX";
    int descriptor = mkstemp(path);
    struct kmip_tls *tls = NULL;
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, "nonsense\n", 9), 9);
    close(descriptor);
    assert_int_equal(kmip_tls_create("/nowhere/ca.pem", path, path, &tls), ERROR_NOT_FOUND);
    assert_non_null(strstr(error_sentence(ERROR_NOT_FOUND), "/nowhere/ca.pem"));
    assert_int_equal(kmip_tls_create(path, path, path, &tls), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), path));
    assert_null(tls);
    kmip_tls_destroy(NULL);
    kmip_link_close(NULL);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(addresses_have_a_host_and_a_port),
        cmocka_unit_test(files_that_are_not_there_or_nonsense_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
