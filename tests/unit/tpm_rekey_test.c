/* A new root of a key in a TPM is sealed as the one in force is: also where that one is sealed anew meanwhile. */
#include <unistd.h>

#include "crypto/provider_tpm.h"
#include "engine/pool/conf_edit.h"
#include "tests/unit/pool_fixture.h"
#include "tests/unit/swtpm.h"

static struct swtpm tpm;
static char next_path[300];

/* ---- who seals the key in force anew ---------------------------------------------------------------------------------- */

static const struct provider_secret pin = {"correct horse", 13}, none = {NULL, 0};
static bool reseals; /* once, before the new root comes into force */

enum error __real_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock);
enum error __wrap_conf_edit_begin(const char *directory, int *lock)
{
    struct tpm_way way = {.pin = none, .directory = directory};
    if (reseals)
        assert_fine(provider_tpm_reseal(pool->provider, &way, &pin));
    reseals = false;
    return __real_conf_edit_begin(directory, lock);
}

/* ---- fixture ----------------------------------------------------------------------------------------------------------- */

static int setup(void **context)
{
    const char *parent = getenv("TMPDIR");
    (void)context;
    swtpm_make(&tpm, 0);
    swtpm_start(&tpm);
    snprintf(fixture_root, sizeof fixture_root, "%.40s/coffer-XXXXXX", parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(fixture_root));
    snprintf(fixture_directory, sizeof fixture_directory, "%s/pool", fixture_root);
    assert_fine(pool_create(&(struct pool_create_options){.directory = fixture_directory,
                                                          .size = FIXTURE_SIZE,
                                                          .encryption = true,
                                                          .fingerprint = POOL_FINGERPRINT_XXH3,
                                                          .seal = "tpm",
                                                          .tcti = tpm.tcti}));
    assert_fine(pool_open(fixture_directory, &(struct pool_open_options){.memory = FIXTURE_MEMORY}, &pool));
    snprintf(next_path, sizeof next_path, "%s.next-2", pool->provider->path);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    assert_fine(pool_close(pool));
    swtpm_remove(&tpm);
    return nftw(fixture_root, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void assert_key(uint64_t number, uint32_t flags)
{
    struct pool_key_status status;
    struct tpm_binding binding;
    uint32_t found;
    assert_fine(pool_key_status(pool, &status));
    assert_int_equal(status.kek_number, number);
    assert_fine(provider_tpm_look(pool->provider, &found, &binding));
    assert_int_equal(found, flags);
    assert_int_equal(access(next_path, F_OK), -1);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------------- */

static void a_key_that_is_sealed_anew_while_its_root_changes_keeps_what_it_got(void **context)
{
    (void)context;
    reseals = true;
    assert_refused(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true}), ERROR_AGAIN, "was sealed anew meanwhile");
    assert_false(reseals);
    assert_key(1, TPM_FLAG_PIN);
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){.new_root = true, .passphrase = pin.passphrase,
                                                              .passphrase_size = pin.passphrase_size}));
    assert_key(2, TPM_FLAG_PIN);
}

static void a_key_of_the_same_root_takes_nothing_from_who_seals_that_anew(void **context)
{
    (void)context;
    reseals = true;
    assert_fine(pool_rekey(pool, &(struct pool_rekey_options){0}));
    assert_key(2, TPM_FLAG_PIN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_that_is_sealed_anew_while_its_root_changes_keeps_what_it_got),
        TEST(a_key_of_the_same_root_takes_nothing_from_who_seals_that_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
