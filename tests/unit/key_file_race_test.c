/* A command that seals the key in the TPM anew, while a daemon brings a new root into its place: the new root is not lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/provider_native.h"
#include "crypto/provider_root.h"
#include "crypto/provider_tpm.h"
#include "tests/unit/swtpm.h"

static struct swtpm tpm;
static char directory[64], path[96];
static struct provider_config config;
static struct provider_root root;
static const struct provider_secret none = {NULL, 0};
static struct tpm_way way;
static uint8_t old_root[KEY_SIZE], new_root[KEY_SIZE];

/* ---- the daemon, in between -------------------------------------------------------------------------------------- */

static unsigned loads, settle_behind; /* that look at the file; 0: none */
static enum error settled;
static uint64_t hours; /* who waits for a lock waits no real time */

uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + 3600 * CLOCK_SECOND * (settle_behind == 0 ? hours : hours++);
}

enum error __real_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed);
enum error __wrap_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed);
enum error __wrap_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed)
{
    enum error error = __real_native_key_load(provider, seal, sealed);
    if (settle_behind != 0 && ++loads == settle_behind) {
        settled = provider_root_settle(&config, 2, directory);
        error_forget();
        settle_behind = 0;
    }
    return error;
}

/* ---- fixture ----------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    swtpm_make(&tpm, 0);
    swtpm_start(&tpm);
    snprintf(directory, sizeof directory, "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/native.key", directory);
    config = (struct provider_config){.name = "main", .type = "native", .seal = "tpm", .path = path, .tcti = tpm.tcti,
                                      .id = {{7, 7}}, .pcrs = UINT32_C(1) << 7};
    way = (struct tpm_way){.pin = none, .directory = directory};
    assert_int_equal(provider_native_tpm.create(&config, NULL, old_root), ERROR_NONE);
    assert_int_equal(provider_root_new(&config, 2, &root), ERROR_NONE);
    assert_int_equal(provider_native_tpm.create(&root.config, NULL, new_root), ERROR_NONE);
    loads = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    swtpm_remove(&tpm);
    unlink(path);
    unlink(root.path);
    return rmdir(directory);
}

static void assert_root(const uint8_t expected[KEY_SIZE])
{
    uint8_t found[KEY_SIZE];
    assert_int_equal(provider_native_tpm.open(&config, NULL, found), ERROR_NONE);
    assert_memory_equal(found, expected, KEY_SIZE);
}

/* The look that decides is `looks` behind the first. */
static void settles_between_look_and_replacement(unsigned looks, enum error (*change)(void))
{
    settle_behind = looks;
    assert_int_equal(change(), ERROR_NONE);
    assert_int_equal(settle_behind, 0);
    assert_int_equal(settled, ERROR_BUSY);
    assert_root(old_root);
    assert_int_equal(provider_root_settle(&config, 2, directory), ERROR_NONE);
    assert_root(new_root);
}

static enum error reseal(void) { return provider_tpm_reseal(&config, &way, &none); }

static enum error approve(void)
{
    static const uint8_t digest[TPM_PCR_SIZE] = {1};
    return provider_tpm_approve(&config, &way, digest);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void a_new_root_waits_for_who_seals_the_old_one_anew(void **state)
{
    (void)state;
    settles_between_look_and_replacement(3, reseal); /* what there is, the key out of it, whether it is that still */
}

static void a_new_root_waits_for_who_approves(void **state)
{
    (void)state;
    settles_between_look_and_replacement(3, approve);
}

static void who_comes_behind_the_new_root_changes_nothing(void **state)
{
    (void)state;
    settle_behind = 2;
    assert_int_equal(reseal(), ERROR_AGAIN);
    assert_int_equal(settled, ERROR_NONE);
    assert_root(new_root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_root_waits_for_who_seals_the_old_one_anew),
        TEST(a_new_root_waits_for_who_approves),
        TEST(who_comes_behind_the_new_root_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
