#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/memory.h"
#include "crypto/provider.h"

static void what_does_not_exist_is_refused_with_what_does(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"native", "TPM"}, {"kmip", "file"}, {"native", ""},     {"", "file"},
        {"native", NULL},  {NULL, "file"},   {"Native", "file"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct provider_config config = {.name = "main", .type = wrong[i][0], .seal = wrong[i][1]};
        const struct provider_ops *ops = NULL;
        assert_int_equal(provider_find(&config, &ops), ERROR_UNSUPPORTED);
        assert_null(ops);
        assert_non_null(strstr(error_sentence(ERROR_UNSUPPORTED), "seal = passphrase"));
    }
}

static void each_seal_is_found_by_its_name(void **state)
{
    (void)state;
    const struct provider_ops *ops;
    struct provider_config config = {.name = "main", .type = "native", .seal = "file"};
    assert_int_equal(provider_find(&config, &ops), ERROR_NONE);
    assert_string_equal(ops->seal, "file");
    assert_false(ops->needs_passphrase);
    assert_null(ops->open_kek); /* it has a KDK */
    config.seal = "passphrase";
    assert_int_equal(provider_find(&config, &ops), ERROR_NONE);
    assert_string_equal(ops->seal, "passphrase");
    assert_true(ops->needs_passphrase);
    config.seal = "tpm";
    assert_int_equal(provider_find(&config, &ops), ERROR_NONE);
    assert_string_equal(ops->seal, "tpm");
    assert_false(ops->needs_passphrase); /* a PIN is not of every key */
    config = (struct provider_config){.name = "main", .type = "kmip"};
    assert_int_equal(provider_find(&config, &ops), ERROR_NONE);
    assert_null(ops->open); /* it has KEKs */
    assert_non_null(ops->open_kek);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_exist_is_refused_with_what_does),
        cmocka_unit_test(each_seal_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
