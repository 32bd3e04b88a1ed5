/* A command that seals the key in the TPM anew, while a daemon brings a new root into its place: neither the new root is lost, nor
 * what the command said that it did. */
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
#include "base/directory_lock.h"
#include "base/file.h"
#include "base/memory.h"
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

static unsigned loads, change_behind; /* that look at the file; 0: none */
static bool settles; /* else it ends between the two */
static bool in_force; /* the new root is, by the witness */
static enum error changed;
static uint64_t hours; /* who waits for a lock waits no real time */

uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + 3600 * CLOCK_SECOND * (change_behind == 0 ? hours : hours++);
}

static enum error root_change(void)
{
    int lock;
    TRY(directory_lock(directory, &lock));
    in_force = true;
    directory_unlock(lock);
    return settles ? provider_root_settle(&config, 2, directory) : ERROR_NONE;
}

/* What the command finds in the witness. */
static enum error old_root_counts(const void *context)
{
    (void)context;
    return in_force ? error_explain(ERROR_AGAIN, "the new root is in force") : ERROR_NONE;
}

enum error __real_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed);
enum error __wrap_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed);
enum error __wrap_native_key_load(const struct provider_config *provider, enum seal seal, struct sealed_key *sealed)
{
    enum error error = __real_native_key_load(provider, seal, sealed);
    if (change_behind != 0 && ++loads == change_behind) {
        changed = root_change();
        error_forget();
        change_behind = 0;
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
    way = (struct tpm_way){.pin = none, .directory = directory, .counts = old_root_counts};
    assert_int_equal(provider_native_tpm.create(&config, NULL, old_root), ERROR_NONE);
    assert_int_equal(provider_root_new(&config, 2, &root), ERROR_NONE);
    assert_int_equal(provider_native_tpm.create(&root.config, NULL, new_root), ERROR_NONE);
    loads = 0;
    settles = in_force = false;
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

static enum error reseal(void) { return provider_tpm_reseal(&config, &way, &none); }

static enum error approve(void)
{
    static const uint8_t digest[TPM_PCR_SIZE] = {1};
    return provider_tpm_approve(&config, &way, digest);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* The look under the lock is the third: what there is, the key out of it, whether it is that still. */
static void a_change_waits_for(enum error (*replace)(void))
{
    change_behind = 3;
    assert_int_equal(replace(), ERROR_NONE);
    assert_int_equal(change_behind, 0);
    assert_int_equal(changed, ERROR_BUSY);
    assert_root(old_root);
}

static void a_change_of_keys_waits_for_who_seals_the_old_root_anew(void **state)
{
    (void)state;
    a_change_waits_for(reseal);
}

static void a_change_of_keys_waits_for_who_approves(void **state)
{
    (void)state;
    a_change_waits_for(approve);
}

/* What would be done to the old root would go with it. */
static void nothing_is_done_to_a_root_behind(enum error (*replace)(void))
{
    AUTO_FREE void *before = NULL, *now = NULL;
    size_t size, size_now;
    assert_int_equal(file_read(path, SEALED_KEY_TEXT_MAX, &before, &size), ERROR_NONE);
    change_behind = 2;
    assert_int_equal(replace(), ERROR_AGAIN);
    assert_int_equal(changed, ERROR_NONE);
    assert_int_equal(file_read(path, SEALED_KEY_TEXT_MAX, &now, &size_now), ERROR_NONE);
    assert_int_equal(size_now, size);
    assert_memory_equal(now, before, size);
    assert_int_equal(provider_root_settle(&config, 2, directory), ERROR_NONE);
    assert_root(new_root);
}

static void the_old_root_is_not_sealed_anew_once_another_one_is_in_force(void **state)
{
    (void)state;
    nothing_is_done_to_a_root_behind(reseal);
}

static void nothing_is_approved_for_the_old_root_once_another_one_is_in_force(void **state)
{
    (void)state;
    nothing_is_done_to_a_root_behind(approve);
}

static void who_comes_behind_the_new_root_changes_nothing(void **state)
{
    (void)state;
    change_behind = 2;
    settles = true;
    way.counts = NULL;
    assert_int_equal(reseal(), ERROR_AGAIN);
    assert_int_equal(changed, ERROR_NONE);
    assert_root(new_root);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_of_keys_waits_for_who_seals_the_old_root_anew),
        TEST(a_change_of_keys_waits_for_who_approves),
        TEST(the_old_root_is_not_sealed_anew_once_another_one_is_in_force),
        TEST(nothing_is_approved_for_the_old_root_once_another_one_is_in_force),
        TEST(who_comes_behind_the_new_root_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
