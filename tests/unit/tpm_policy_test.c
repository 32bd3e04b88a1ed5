/* PCRs and approvals: what is computed here is what a TPM computes, and only what was approved opens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_native.h"
#include "crypto/provider_tpm.h"
#include "crypto/tpm_policy.h"
#include "tests/unit/swtpm.h"

#define BIT(pcr) (UINT32_C(1) << (pcr))
#define EXTENDED "extended by a test, of any length"

static struct swtpm tpm, other;
static char directory[64], path[96], copy[96];
static struct provider_config config;
static const struct provider_secret pin = {"2580", 4}, passphrase = {"correct horse", 13}, none = {NULL, 0};
static struct tpm_way by_tpm, by_copy;
static uint8_t kdk[KEY_SIZE], again[KEY_SIZE], digest[TPM_PCR_SIZE], next[TPM_PCRS][TPM_PCR_SIZE];

/* ---- fixture --------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    swtpm_make(&tpm, 0);
    swtpm_start(&tpm);
    swtpm_make(&other, 1);
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/native.key", directory);
    snprintf(copy, sizeof(copy), "%s/copy.key", directory);
    config = (struct provider_config){.name = "main", .type = "native", .seal = "tpm", .path = path, .tcti = tpm.tcti,
                                      .id = {{7, 7}}, .pcrs = BIT(7)};
    by_tpm = (struct tpm_way){.pin = none, .directory = directory};
    by_copy = (struct tpm_way){.copy = copy, .copy_secret = passphrase, .directory = directory};
    memset(again, 0, sizeof(again));
    memset(next, 0, sizeof(next));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(tpm.pid == 0 ? 0 : swtpm_slots_filled(&tpm), 0);
    assert_int_equal(other.pid == 0 ? 0 : swtpm_slots_filled(&other), 0);
    swtpm_remove(&tpm);
    swtpm_remove(&other);
    unlink(path);
    unlink(copy);
    return rmdir(directory);
}

/* What firmware does. */
static void extend(unsigned pcr)
{
    ESYS_CONTEXT *esys;
    TSS2_TCTI_CONTEXT *tcti;
    TPML_DIGEST_VALUES digests = {.count = 1, .digests = {{.hashAlg = TPM2_ALG_SHA256}}};
    memcpy(digests.digests[0].digest.sha256, EXTENDED, 32);
    assert_int_equal(Tss2_TctiLdr_Initialize(tpm.tcti, &tcti), 0);
    assert_int_equal(Esys_Initialize(&esys, tcti, NULL), 0);
    assert_int_equal(Esys_PCR_Extend(esys, ESYS_TR_PCR0 + pcr, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &digests), 0);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

static void make(const struct provider_secret *secret)
{
    assert_int_equal(provider_native_tpm.create(&config, secret, kdk), ERROR_NONE);
    assert_int_equal(provider_copy_create(&config, copy, &passphrase, kdk), ERROR_NONE);
}

static void assert_opens(const struct provider_secret *secret)
{
    memset(again, 0, sizeof(again));
    enum error error = provider_native_tpm.open(&config, secret, again);
    if (error != ERROR_NONE)
        fail_msg("%s", error_sentence(error));
    assert_memory_equal(again, kdk, KEY_SIZE);
}

static void assert_told(enum error error, enum error expected, const char *words)
{
    if (error != expected || strstr(error_sentence(error), words) == NULL)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
}

static void approve_now(const struct tpm_way *way)
{
    assert_int_equal(provider_tpm_digest(&config, 0, (const uint8_t(*)[TPM_PCR_SIZE])next, digest), ERROR_NONE);
    assert_int_equal(provider_tpm_approve(&config, way, digest), ERROR_NONE);
}

static void file_change(void (*change)(struct sealed_key *sealed))
{
    struct sealed_key sealed;
    assert_int_equal(native_key_load(&config, SEAL_TPM, &sealed), ERROR_NONE);
    change(&sealed);
    assert_int_equal(native_key_replace(path, &sealed), ERROR_NONE);
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void what_is_bound_opens_until_its_pcrs_change(void **state)
{
    (void)state;
    make(NULL);
    assert_opens(NULL);
    extend(4); /* another one */
    assert_opens(NULL);
    extend(7);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_UNCONFIRMED, "coffer key tpm approve --copy");
    swtpm_kill(&tpm); /* and back again */
    swtpm_start(&tpm);
    assert_opens(NULL);
}

static void the_copy_approves_what_the_pcrs_are_now(void **state)
{
    (void)state;
    make(NULL);
    extend(7);
    assert_told(provider_tpm_approve(&config, &by_tpm, digest), ERROR_UNCONFIRMED, "nobody approved");
    approve_now(&by_copy);
    assert_opens(NULL);
    swtpm_kill(&tpm);
    swtpm_start(&tpm);
    assert_opens(NULL); /* what was approved before stays so */
}

/* Before an update of the firmware, by what its maker tells. */
static void values_of_the_next_start_are_approved_by_the_tpm_alone(void **state)
{
    (void)state;
    config.pcrs = BIT(0) | BIT(7) | BIT(14);
    make(NULL);
    extend(7);
    struct tpm_access access = {.tcti = tpm.tcti};
    assert_int_equal(tpm_pcrs_read(&access, NULL, BIT(7), next), ERROR_NONE); /* so it will be */
    swtpm_kill(&tpm);
    swtpm_start(&tpm);
    assert_int_equal(provider_tpm_digest(&config, BIT(7), (const uint8_t(*)[TPM_PCR_SIZE])next, digest), ERROR_NONE);
    assert_int_equal(provider_tpm_approve(&config, &by_tpm, digest), ERROR_NONE);
    assert_opens(NULL);
    extend(7);
    assert_opens(NULL);
    extend(14);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_UNCONFIRMED, "(0, 7, 14)");
    assert_told(provider_tpm_digest(&config, BIT(3), (const uint8_t(*)[TPM_PCR_SIZE])next, digest), ERROR_INVALID, "PCR 3");
}

static void all_pcrs_can_be_bound(void **state)
{
    (void)state;
    config.pcrs = BIT(TPM_PCRS) - 1;
    make(NULL);
    assert_opens(NULL);
    extend(23);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_UNCONFIRMED, "22, 23)");
}

static void a_pin_is_needed_as_well(void **state)
{
    (void)state;
    static const struct provider_secret wrong = {"2581", 4};
    make(&pin);
    assert_int_equal(provider_native_tpm.open(&config, NULL, again), ERROR_LOCKED);
    assert_told(provider_native_tpm.open(&config, &wrong, again), ERROR_WRONG_KEY, "wrong PIN");
    assert_opens(&pin);
    extend(7);
    assert_told(provider_native_tpm.open(&config, &pin, again), ERROR_UNCONFIRMED, "PCRs");
    approve_now(&by_copy);
    assert_opens(&pin);
}

static void signature_spoil(struct sealed_key *sealed)
{
    struct tpm_binding *binding = &sealed->tpm.binding;
    binding->approvals[binding->approval_count - 1].signature[63] ^= 1;
}

static void approver_replace(struct sealed_key *sealed)
{
    struct tpm_binding forged;
    static const uint8_t own[KEY_SIZE] = {1};
    uint8_t approved[TPM_PCR_SIZE];
    memcpy(approved, sealed->tpm.binding.approvals[sealed->tpm.binding.approval_count - 1].digest, TPM_PCR_SIZE);
    assert_int_equal(tpm_policy_begin(BIT(7), own, &forged), ERROR_NONE);
    assert_int_equal(tpm_policy_approve(own, approved, &forged), ERROR_NONE);
    sealed->tpm.binding = forged;
}

static void flag_clear(struct sealed_key *sealed)
{
    sealed->tpm.flags = 0;
    memset(&sealed->tpm.binding, 0, sizeof(sealed->tpm.binding));
}

/* The file is anybody's who has the disk and the machine: the TPM asks for the approver's word. */
static void who_edits_the_file_approves_nothing(void **state)
{
    (void)state;
    make(NULL);
    extend(7);
    approve_now(&by_copy);
    assert_opens(NULL);
    file_change(signature_spoil);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_FORGED, "not of the key that approves");
    file_change(signature_spoil);
    assert_opens(NULL);
    struct sealed_key kept;
    assert_int_equal(native_key_load(&config, SEAL_TPM, &kept), ERROR_NONE);
    file_change(approver_replace);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_CORRUPT, "another policy");
    assert_told(provider_tpm_approve(&config, &by_copy, digest), ERROR_FOREIGN, "not the one that the TPM sealed");
    file_change(flag_clear);
    assert_int_not_equal(provider_native_tpm.open(&config, NULL, again), ERROR_NONE);
    assert_int_equal(native_key_replace(path, &kept), ERROR_NONE);
    assert_opens(NULL);
}

static void at_most_eight_are_kept_and_each_once(void **state)
{
    (void)state;
    make(NULL);
    struct sealed_key sealed;
    struct tpm_binding *binding = &sealed.tpm.binding;
    assert_int_equal(native_key_load(&config, SEAL_TPM, &sealed), ERROR_NONE);
    assert_int_equal(sealed.tpm.flags, TPM_FLAG_PCRS);
    for (int i = 0; i < 2 * TPM_APPROVALS_MAX; i++) {
        memset(digest, i / 2, sizeof(digest)); /* each twice */
        assert_int_equal(tpm_policy_approve(kdk, digest, binding), ERROR_NONE);
    }
    assert_int_equal(binding->approval_count, TPM_APPROVALS_MAX);
    for (int i = 0; i < TPM_APPROVALS_MAX; i++)
        assert_int_equal(binding->approvals[i].digest[0], i);
    memset(digest, 3, sizeof(digest));
    assert_int_equal(tpm_policy_approve(kdk, digest, binding), ERROR_NONE); /* becomes the newest */
    assert_int_equal(binding->approval_count, TPM_APPROVALS_MAX);
    assert_int_equal(binding->approvals[TPM_APPROVALS_MAX - 1].digest[0], 3);
    assert_int_equal(binding->approvals[3].digest[0], 4);
    assert_int_equal(native_key_replace(path, &sealed), ERROR_NONE);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_UNCONFIRMED, "PCRs"); /* the first went */
    approve_now(&by_copy);
    assert_opens(NULL);
}

/* An object's approvals are worth nothing for the next one. */
static void sealed_anew_what_was_approved_is_revoked(void **state)
{
    (void)state;
    uint32_t flags;
    struct tpm_binding before, after;
    make(NULL);
    extend(7);
    approve_now(&by_copy);
    assert_int_equal(provider_tpm_look(&config, &flags, &before), ERROR_NONE);
    assert_int_equal(provider_tpm_reseal(&config, &by_tpm, &none), ERROR_NONE);
    assert_int_equal(provider_tpm_look(&config, &flags, &after), ERROR_NONE);
    assert_int_equal(after.approval_count, 1);
    assert_memory_not_equal(after.approver, before.approver, TPM_APPROVER_SIZE);
    assert_opens(NULL);
    swtpm_kill(&tpm);
    swtpm_start(&tpm);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_UNCONFIRMED, "PCRs");
    struct sealed_key sealed;
    assert_int_equal(native_key_load(&config, SEAL_TPM, &sealed), ERROR_NONE);
    sealed.tpm.binding.approvals[sealed.tpm.binding.approval_count++] = before.approvals[0];
    assert_int_equal(native_key_replace(path, &sealed), ERROR_NONE);
    assert_told(provider_native_tpm.open(&config, NULL, again), ERROR_FORGED, "not of the key that approves");
}

/* An old object without PIN, or bound to other PCRs, opens in this TPM as it did. */
static void what_was_sealed_before_is_overwritten(void **state)
{
    (void)state;
    char found[2 * SEALED_KEY_TEXT_MAX];
    make(NULL);
    for (unsigned approves = 0; approves < 2; approves++) {
        int old = open(path, O_RDONLY | O_CLOEXEC);
        if (approves)
            approve_now(&by_tpm);
        else
            assert_int_equal(provider_tpm_reseal(&config, &by_tpm, &none), ERROR_NONE);
        ssize_t size = read(old, found, sizeof found);
        close(old);
        assert_true(size > 0 && memory_is_zero(found, (size_t)size));
        assert_opens(NULL);
    }
}

static void another_tpm_takes_the_key_over_by_its_copy(void **state)
{
    (void)state;
    make(&pin);
    swtpm_start(&other);
    config.tcti = other.tcti;
    assert_int_equal(provider_native_tpm.open(&config, &pin, again), ERROR_FOREIGN);
    assert_int_equal(provider_tpm_reseal(&config, &by_tpm, &none), ERROR_LOCKED);
    by_copy.copy_secret = none;
    assert_int_equal(provider_tpm_reseal(&config, &by_copy, &none), ERROR_LOCKED);
    by_copy.copy_secret = pin;
    assert_int_equal(provider_tpm_reseal(&config, &by_copy, &none), ERROR_WRONG_KEY);
    by_copy.copy_secret = passphrase;
    config.pcrs = 0;
    assert_int_equal(provider_tpm_reseal(&config, &by_copy, &none), ERROR_NONE);
    assert_opens(NULL);
    config.tcti = tpm.tcti;
    assert_int_equal(provider_native_tpm.open(&config, NULL, again), ERROR_FOREIGN);
}

static void a_copy_of_another_pool_is_refused(void **state)
{
    (void)state;
    struct provider_config foreign = config;
    make(NULL);
    assert_int_equal(unlink(copy), 0);
    foreign.id.bytes[0] ^= 1;
    assert_int_equal(provider_copy_create(&foreign, copy, &passphrase, kdk), ERROR_NONE);
    assert_int_equal(provider_tpm_reseal(&config, &by_copy, &none), ERROR_FOREIGN);
    assert_int_equal(unlink(copy), 0);
    kdk[0] ^= 1; /* of the same provider, but another key */
    assert_int_equal(provider_copy_create(&config, copy, &passphrase, kdk), ERROR_NONE);
    kdk[0] ^= 1;
    assert_told(provider_tpm_reseal(&config, &by_copy, &none), ERROR_FOREIGN, "that one is a newer one");
    assert_int_equal(provider_tpm_approve(&config, &by_copy, digest), ERROR_FOREIGN);
    assert_opens(NULL);
}

/* Of a change of keys: the new one is guarded by whatever guards the one before. */
static void another_key_is_sealed_alike(void **state)
{
    (void)state;
    char path_2[128];
    uint32_t flags;
    struct tpm_binding binding;
    struct provider_config second = config;
    snprintf(path_2, sizeof path_2, "%s.2", path);
    second.path = path_2;
    second.pcrs = 0; /* as a conf has it */
    for (unsigned pinned = 0; pinned < 2; pinned++) {
        make(pinned ? &pin : NULL);
        assert_int_equal(provider_native_tpm.create_like(&second, &config, &pin, false, again), ERROR_NONE);
        assert_memory_not_equal(again, kdk, KEY_SIZE);
        assert_int_equal(provider_tpm_look(&second, &flags, &binding), ERROR_NONE);
        assert_int_equal(flags, TPM_FLAG_PCRS | (pinned ? TPM_FLAG_PIN : 0));
        assert_int_equal(binding.pcrs, config.pcrs);
        assert_int_equal(binding.approval_count, 1);
        assert_int_equal(unlink(path_2) | unlink(path) | unlink(copy), 0);
    }
    config.pcrs = 0;
    make(NULL);
    assert_int_equal(provider_native_tpm.create_like(&second, &config, NULL, false, again), ERROR_NONE);
    assert_int_equal(provider_tpm_look(&second, &flags, &binding), ERROR_NONE);
    assert_int_equal(flags, 0);
    assert_int_equal(unlink(path_2), 0);
}

/* Where a backup or the recovery key is the proof, nobody gave the present PIN. */
static void another_key_loses_no_pin_that_nobody_gave(void **state)
{
    (void)state;
    static const struct provider_secret new_pin = {"1379", 4};
    char path_2[128];
    uint32_t flags;
    struct tpm_binding binding;
    struct provider_config second = config;
    snprintf(path_2, sizeof path_2, "%s.2", path);
    second.path = path_2;
    make(&pin);
    assert_told(provider_native_tpm.create_like(&second, &config, NULL, false, again), ERROR_LOCKED, "a PIN");
    assert_int_not_equal(access(path_2, F_OK), 0);
    for (unsigned before = 0; before < 2; before++) { /* with a PIN, and then without one: a new one is had */
        assert_int_equal(provider_native_tpm.create_like(&second, &config, &new_pin, true, again), ERROR_NONE);
        assert_int_equal(provider_tpm_look(&second, &flags, &binding), ERROR_NONE);
        assert_int_equal(flags, TPM_FLAG_PCRS | TPM_FLAG_PIN);
        assert_int_equal(provider_native_tpm.open(&second, &new_pin, again), ERROR_NONE);
        assert_int_equal(unlink(path_2) | unlink(path) | unlink(copy), 0);
        make(NULL);
    }
}

static void what_is_not_bound_has_nothing_to_approve(void **state)
{
    (void)state;
    config.pcrs = 0;
    make(NULL);
    assert_told(provider_tpm_approve(&config, &by_copy, digest), ERROR_INVALID, "bound to no PCRs");
    assert_told(provider_tpm_digest(&config, 0, (const uint8_t(*)[TPM_PCR_SIZE])next, digest), ERROR_INVALID, "no PCRs");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_bound_opens_until_its_pcrs_change),
        TEST(the_copy_approves_what_the_pcrs_are_now),
        TEST(values_of_the_next_start_are_approved_by_the_tpm_alone),
        TEST(all_pcrs_can_be_bound),
        TEST(a_pin_is_needed_as_well),
        TEST(who_edits_the_file_approves_nothing),
        TEST(at_most_eight_are_kept_and_each_once),
        TEST(sealed_anew_what_was_approved_is_revoked),
        TEST(what_was_sealed_before_is_overwritten),
        TEST(another_tpm_takes_the_key_over_by_its_copy),
        TEST(a_copy_of_another_pool_is_refused),
        TEST(another_key_is_sealed_alike),
        TEST(another_key_loses_no_pin_that_nobody_gave),
        TEST(what_is_not_bound_has_nothing_to_approve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
