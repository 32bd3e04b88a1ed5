/* `coffer create --seal tpm`: what it asks for, passes on and tells. The TPM itself is tests/system's. */
#include "tests/unit/tool_fixture.h"

static void words_that_seal_nothing_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("create", "/p", "--seal", "tpm"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--copy", "c", "--no-copy"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy", "--passphrase-file", "x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy", "--pin", "--pin-file", "x"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--no-copy"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--no-encryption", "--tcti", "device"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--seal", "passphrase", "--pin"), EXIT_USAGE);
    assert_int_equal(fake_offline.creates, 0);
}

static void create_passes_what_is_for_a_tpm_on_and_says_what_may_be_lost(void **state)
{
    struct fixture *fixture = *state;
    char pin[160];
    snprintf(pin, sizeof(pin), "%s.pin", fixture->secret);
    write_file(fixture->secret, "s3cret words\n");
    write_file(pin, "2580\n");
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--tcti", "device:/dev/tpm0", "--pin-file", pin, "--copy", "/c",
                         "--passphrase-file", fixture->secret),
                     EXIT_DONE);
    assert_string_equal(fake_offline.tcti, "device:/dev/tpm0");
    assert_string_equal(fake_offline.passphrase, "2580");
    assert_string_equal(fake_offline.copy, "/c");
    assert_string_equal(fake_offline.copy_passphrase, "s3cret words");
    assert_said(fixture->out, "somebody who knows the PIN");
    assert_said(fixture->out, "where the copy of the key");
    assert_null(strstr(fixture->out, "s3cret"));
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy"), EXIT_DONE);
    assert_string_equal(fake_offline.tcti, "");
    assert_string_equal(fake_offline.copy, "");
    assert_null(fake_offline.created.passphrase);
    assert_said(fixture->out, "opens the pool without a person");
    assert_said(fixture->out, "clearing of the TPM: without it the data is lost");
    unlink(pin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_that_seal_nothing_are_refused),
        TEST(create_passes_what_is_for_a_tpm_on_and_says_what_may_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
