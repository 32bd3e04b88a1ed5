#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/kmip/link.h"
#include "tests/unit/silent_resolver.h"

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

/* ---- names, by a resolver that says nothing until it is told to --------------------------------------------------------- */

static void a_resolver_that_is_silent_is_waited_for_as_long_as_a_step(void **state)
{
    (void)state;
    const struct kmip_server server = {"kms.example", "5696"}, number = {"127.0.0.1", "1"};
    struct kmip_link *link = NULL;
    pthread_mutex_lock(&resolver);
    assert_int_equal(kmip_link_open(NULL, &server, 20, &link), ERROR_KEY_ABSENT);
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "the resolver did not answer in time"));
    assert_int_equal(atomic_load(&asked), 1);
    assert_int_equal(atomic_load(&answered), 0);
    assert_int_equal(kmip_link_open(NULL, &number, 1000, &link), ERROR_KEY_ABSENT); /* an address needs none */
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "cannot connect"));
    for (int i = 1; i < 64; i++)
        assert_int_equal(kmip_link_open(NULL, &server, 1, &link), ERROR_KEY_ABSENT);
    assert_int_equal(kmip_link_open(NULL, &server, 1, &link), ERROR_KEY_ABSENT); /* no thread for ever and ever */
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "did not answer for others yet"));
    assert_int_equal(atomic_load(&answered), 0);
    pthread_mutex_unlock(&resolver);
    do {
        assert_int_equal(kmip_link_open(NULL, &server, 10000, &link), ERROR_KEY_ABSENT);
    } while (strstr(error_sentence(ERROR_KEY_ABSENT), "for others") != NULL);
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), gai_strerror(EAI_NONAME)));
    assert_null(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(addresses_have_a_host_and_a_port),
        cmocka_unit_test(a_resolver_that_is_silent_is_waited_for_as_long_as_a_step),
        cmocka_unit_test(files_that_are_not_there_or_nonsense_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
