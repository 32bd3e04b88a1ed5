/* `coffer erase` before and behind the engine: what must be said first, and where the certificate goes. */
#include "tests/unit/tool_fixture.h"

static char certificate[128];

static int setup_erase(void **state)
{
    int result = set_up(state);
    struct fixture *fixture = *state;
    snprintf(certificate, sizeof(certificate), "%s/certificate.json", fixture->directory);
    write_file(fixture->conf, "[pool]\n");
    write_file(fixture->secret, "any\n");
    return result;
}

static int teardown_erase(void **state)
{
    unlink(certificate);
    return tear_down(state);
}

static void what_is_lost_must_be_said(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("erase", fixture->directory, "--certificate", certificate), EXIT_REFUSED);
    assert_said(fixture->err, "--accept-data-loss");
    assert_int_equal(RUN("erase", fixture->directory, "--accept-data-loss"), EXIT_USAGE);
    assert_said(fixture->err, "--certificate FILE");
    assert_int_equal(RUN("erase", "--accept-data-loss", "--certificate", certificate), EXIT_USAGE);
    assert_int_equal(access(certificate, F_OK), -1);
}

static void a_group_is_removed_by_its_name(void **state)
{
    struct fixture *fixture = *state;
    unsigned erases = fake_offline.erases;
    write_file(fixture->conf, "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nencryption = off\n"
                              "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"
                              "device-ids = 44444444-4444-4444-8444-444444444444\n");
    assert_int_equal(RUN("-C", fixture->directory, "group", "remove", "g2", "--accept-data-loss", "--certificate", certificate),
                     EXIT_FAILED);
    assert_said(fixture->err, "has no group 'g2': it has 'g1'");
    assert_int_equal(RUN("-C", fixture->directory, "group", "remove", "g1", "--certificate", certificate), EXIT_REFUSED);
    assert_said(fixture->err, "which has no other");
    assert_int_equal(fake_offline.erases, erases);
    assert_int_equal(RUN("-C", fixture->directory, "group", "remove", "g1", "--without-key", "--accept-data-loss", "--certificate",
                         certificate),
                     EXIT_DONE);
    assert_int_equal(fake_offline.erases, erases + 1);
}

static void a_certificate_never_replaces_a_file(void **state)
{
    struct fixture *fixture = *state;
    write_file(certificate, "another\n");
    assert_int_equal(RUN("erase", fixture->directory, "--without-key", "--accept-data-loss", "--certificate", certificate),
                     EXIT_FAILED);
    assert_said(fixture->err, "exists");
    assert_int_equal(RUN("erase", fixture->directory, "--without-key", "--accept-data-loss", "--certificate",
                         "/nowhere/at/all.json"),
                     EXIT_FAILED);
}

static void what_was_done_stands_in_the_certificate(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("erase", fixture->directory, "--accept-data-loss", "--certificate", certificate, "--passphrase-file",
                         fixture->secret),
                     EXIT_DONE);
    assert_said(fixture->out, certificate);
    FILE *file = fopen(certificate, "re");
    char text[64] = "";
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "{\"found\":\"key\"}");
    struct stat status;
    assert_int_equal(stat(certificate, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void without_a_key_none_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(RUN("erase", fixture->directory, "--without-key", "--accept-data-loss", "--certificate", certificate,
                         "--passphrase-file", fixture->secret),
                     EXIT_USAGE);
    assert_int_equal(RUN("--json", "erase", fixture->directory, "--without-key", "--accept-data-loss", "--certificate",
                         certificate),
                     EXIT_DONE);
    assert_said(fixture->out, "ids");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_lost_must_be_said, setup_erase, teardown_erase),
        cmocka_unit_test_setup_teardown(a_group_is_removed_by_its_name, setup_erase, teardown_erase),
        cmocka_unit_test_setup_teardown(a_certificate_never_replaces_a_file, setup_erase, teardown_erase),
        cmocka_unit_test_setup_teardown(what_was_done_stands_in_the_certificate, setup_erase, teardown_erase),
        cmocka_unit_test_setup_teardown(without_a_key_none_is_asked_for, setup_erase, teardown_erase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
