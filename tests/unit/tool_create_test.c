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
    assert_int_equal(RUN("create", "/p", "--recovery", "print", "--no-recovery"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--recovery", "print", "--no-encryption"), EXIT_USAGE);
    assert_int_equal(RUN("--json", "create", "/p", "--recovery", "print"), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--provider", "kmip", "--kmip-server", "s", "--kmip-ca", "a", "--kmip-certificate", "c",
                         "--kmip-key", "k"),
                     EXIT_USAGE);
    assert_said(fixture->err, "--no-recovery says that there is to be none");
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--copy", "/p/copy"), EXIT_USAGE);
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

static void pcrs_are_numbers_of_pcrs(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"", ",", "7,", "24", "7 ", "-1", "x", "7;8", "007"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy", "--pcrs", bad[i]), EXIT_USAGE);
    assert_int_equal(RUN("create", "/p", "--pcrs", "7"), EXIT_USAGE);
    assert_int_equal(fake_offline.creates, 0);
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy", "--pcrs", "0,7,23,7"), EXIT_DONE);
    assert_int_equal(fake_offline.created.pcrs, 1 | 1 << 7 | 1 << 23);
    assert_said(fixture->out, "a change of the PCRs");
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-copy"), EXIT_DONE);
    assert_int_equal(RUN("create", "/p", "--seal", "tpm", "--no-recovery"), EXIT_DONE);
    assert_int_equal(fake_offline.created.pcrs, 0);
}

static void key_words_that_say_nothing_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("key", "tpm"), EXIT_USAGE);
    assert_int_equal(RUN("key", "tpm", "approval"), EXIT_USAGE);
    assert_said(fixture->err, "approve, approvals, copy or reseal");
    assert_int_equal(RUN("key", "tpm", "approve", "--pcrs", "7"), EXIT_USAGE);
    assert_said(fixture->err, "--pcrs is not for key tpm approve");
    assert_int_equal(RUN("key", "tpm", "approvals", "--copy", "x"), EXIT_USAGE);
    assert_int_equal(RUN("key", "tpm", "reseal", "--next", "x"), EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_that_seal_nothing_are_refused),
        TEST(pcrs_are_numbers_of_pcrs),
        TEST(key_words_that_say_nothing_are_refused),
        TEST(create_passes_what_is_for_a_tpm_on_and_says_what_may_be_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
