#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include "base/endian.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/tpm.h"
#include "crypto/tpm_link.h"
#include "tests/unit/swtpm.h"

/* Where their handles begin; TSS' own names for them shift beyond an int. */
#define OBJECTS         0x80000000u
#define LOADED_SESSIONS 0x02000000u
#define SAVED_SESSIONS  0x03000000u

#define PCR_7     (UINT32_C(1) << 7)
#define TRIES_MAX 3 /* before the TPM takes no more PINs */

static struct swtpm ours, other;
static struct tpm_access access_ours, access_other, access_without_pin;
static struct tpm_sealed sealed;
static uint8_t key[KEY_SIZE], found[KEY_SIZE];

/* ---- a plain connection, as anybody may make one --------------------------------------------------------------- */

static ESYS_CONTEXT *esys;
static TSS2_TCTI_CONTEXT *tcti;

static void plain_open(const struct swtpm *tpm)
{
    assert_int_equal(Tss2_TctiLdr_Initialize(tpm->tcti, &tcti), 0);
    assert_int_equal(Esys_Initialize(&esys, tcti, NULL), 0);
}

static void plain_close(void)
{
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
}

static unsigned handles(TPM2_HANDLE first)
{
    TPMS_CAPABILITY_DATA *data;
    TPMI_YES_NO more;
    assert_int_equal(Esys_GetCapability(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first, 16,
                                        &more, &data),
                     0);
    unsigned count = data->data.handles.count;
    Esys_Free(data);
    return count;
}

/* A TPM without a resource manager keeps what is not flushed. */
static void assert_nothing_left(const struct swtpm *tpm)
{
    plain_open(tpm);
    assert_int_equal(handles(OBJECTS), 0);
    assert_int_equal(handles(LOADED_SESSIONS), 0);
    assert_int_equal(handles(SAVED_SESSIONS), 0);
    plain_close();
}

static void lockout_set(const struct swtpm *tpm, unsigned tries, unsigned recovery)
{
    plain_open(tpm);
    assert_int_equal(Esys_DictionaryAttackParameters(esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                     ESYS_TR_NONE, tries, recovery, recovery),
                     0);
    plain_close();
}

static TPM2B_PUBLIC public_of(const struct tpm_sealed *from)
{
    TPM2B_PUBLIC public = {0};
    assert_int_equal(Tss2_MU_TPM2B_PUBLIC_Unmarshal(from->public, from->public_size, NULL, &public), 0);
    return public;
}

/* Unseals by an empty password, without any session. */
static TSS2_RC plain_unseal(const struct swtpm *tpm, const struct tpm_sealed *from)
{
    struct tpm_link link;
    TPM2B_PUBLIC public = public_of(from);
    TPM2B_PRIVATE private = {0};
    TPM2B_SENSITIVE_DATA *data = NULL;
    assert_int_equal(Tss2_MU_TPM2B_PRIVATE_Unmarshal(from->private, from->private_size, NULL, &private), 0);
    assert_int_equal(tpm_link_open(tpm->tcti, &link), ERROR_NONE);
    assert_int_equal(tpm_link_primary(&link, from->primary), ERROR_NONE);
    assert_int_equal(Esys_Load(link.esys, link.primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &private, &public,
                               &link.object),
                     0);
    TSS2_RC code = Esys_Unseal(link.esys, link.object, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data);
    if (code == 0)
        assert_memory_equal(data->buffer, key, KEY_SIZE);
    Esys_Free(data);
    tpm_link_close(&link);
    return code;
}

/* ---- fixture --------------------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    swtpm_make(&ours, 0);
    swtpm_make(&other, 1);
    swtpm_start(&ours);
    swtpm_start(&other);
    access_ours = (struct tpm_access){.tcti = ours.tcti};
    access_other = (struct tpm_access){.tcti = other.tcti};
    access_without_pin = access_ours;
    assert_int_equal(key_generate(key), ERROR_NONE);
    memset(found, 0, sizeof(found));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    swtpm_remove(&ours);
    swtpm_remove(&other);
    return 0;
}

static void seal_with(const char *pin)
{
    access_ours.pin = pin;
    access_ours.pin_size = pin == NULL ? 0 : strlen(pin);
    assert_int_equal(tpm_seal(&access_ours, 0, key, NULL, &sealed), ERROR_NONE);
}

static enum error unseal_with(const char *pin)
{
    access_ours.pin = pin;
    access_ours.pin_size = pin == NULL ? 0 : strlen(pin);
    return tpm_unseal(&access_ours, &sealed, found);
}

static void assert_told(enum error error, enum error expected, const char *words)
{
    static const uint8_t nothing[KEY_SIZE];
    if (error != expected || strstr(error_sentence(error), words) == NULL)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
    assert_memory_equal(found, nothing, KEY_SIZE);
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void what_was_sealed_is_unsealed_after_a_restart_too(void **state)
{
    (void)state;
    seal_with(NULL);
    assert_int_equal(unseal_with(NULL), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
    swtpm_kill(&ours);
    swtpm_start(&ours);
    memset(found, 0, sizeof(found));
    assert_int_equal(unseal_with(NULL), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
}

static void the_object_is_bound_to_its_tpm_and_parent(void **state)
{
    (void)state;
    seal_with(NULL);
    assert_int_equal(public_of(&sealed).publicArea.objectAttributes,
                     TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA | TPMA_OBJECT_USERWITHAUTH);
    seal_with("1234");
    assert_int_equal(public_of(&sealed).publicArea.objectAttributes,
                     TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_USERWITHAUTH);
}

static void nothing_is_left_in_the_tpm_whatever_happens(void **state)
{
    (void)state;
    struct tpm_sealed spoilt;
    assert_int_equal(tpm_check(&access_ours), ERROR_NONE);
    seal_with("1234");
    assert_nothing_left(&ours);
    assert_int_equal(unseal_with("1234"), ERROR_NONE);
    assert_int_equal(unseal_with("4321"), ERROR_WRONG_KEY);
    assert_int_equal(tpm_unseal(&access_other, &sealed, found), ERROR_LOCKED);
    access_other.pin = "1234";
    access_other.pin_size = 4;
    assert_int_equal(tpm_unseal(&access_other, &sealed, found), ERROR_FOREIGN);
    spoilt = sealed;
    spoilt.private[spoilt.private_size - 1] ^= 1;
    access_ours.pin = "1234";
    assert_int_equal(tpm_unseal(&access_ours, &spoilt, found), ERROR_CORRUPT);
    assert_nothing_left(&ours);
    assert_nothing_left(&other);
    for (int i = 0; i < 20; i++) /* more than there are slots */
        assert_int_equal(unseal_with("1234"), ERROR_NONE);
    assert_nothing_left(&ours);
}

static void a_tpm_whose_slots_others_fill_is_busy(void **state)
{
    (void)state;
    static const TPM2B_SENSITIVE_CREATE sensitive;
    static const TPM2B_DATA outside;
    static const TPML_PCR_SELECTION pcrs;
    struct tpm_link link;
    seal_with(NULL);
    assert_int_equal(tpm_link_open(ours.tcti, &link), ERROR_NONE);
    assert_int_equal(tpm_link_primary(&link, NULL), ERROR_NONE);
    TPM2B_PUBLIC *public;
    assert_int_equal(Esys_ReadPublic(link.esys, link.primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL,
                                     NULL),
                     0);
    ESYS_TR more[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(Esys_CreatePrimary(link.esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                            &sensitive, public, &outside, &pcrs, &more[i], NULL, NULL, NULL, NULL),
                         0);
    Esys_Finalize(&link.esys); /* the connection goes, what it filled stays */
    tpm_link_close(&link);
    assert_told(unseal_with(NULL), ERROR_BUSY, TPM_TCTI_DEFAULT);
    Esys_Free(public);
}

static void another_tpm_is_told_from_one_that_was_cleared(void **state)
{
    (void)state;
    seal_with(NULL);
    assert_told(tpm_unseal(&access_other, &sealed, found), ERROR_FOREIGN, "is not the TPM that sealed");
    assert_null(strstr(error_sentence(ERROR_FOREIGN), "cleared"));
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "seal = passphrase"));
    plain_open(&ours);
    assert_int_equal(Esys_Clear(esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE), 0);
    plain_close();
    assert_told(unseal_with(NULL), ERROR_FOREIGN, "was cleared since");
    memset(sealed.endorsement, 0, sizeof(sealed.endorsement));
    assert_told(unseal_with(NULL), ERROR_FOREIGN, "is not the TPM that sealed the key of this pool, or was cleared since");
}

static void a_primary_of_another_name_is_never_used(void **state)
{
    (void)state;
    seal_with(NULL);
    sealed.primary[TPM_NAME_SIZE - 1] ^= 1;
    assert_told(unseal_with(NULL), ERROR_FOREIGN, "TPM");
    assert_nothing_left(&ours);
}

static void an_absent_tpm_is_told_and_tried_again(void **state)
{
    (void)state;
    seal_with(NULL);
    swtpm_kill(&ours);
    assert_told(unseal_with(NULL), ERROR_KEY_ABSENT, "no TPM answers");
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "tcti"));
    assert_int_equal(tpm_check(&access_ours), ERROR_KEY_ABSENT);
    access_ours.tcti = "device:/dev/no-such-tpm";
    assert_told(unseal_with(NULL), ERROR_KEY_ABSENT, "/dev/no-such-tpm");
}

static void a_pin_is_needed_where_one_was_given(void **state)
{
    (void)state;
    lockout_set(&ours, 100, 3600);
    seal_with("correct horse");
    assert_told(unseal_with(NULL), ERROR_LOCKED, "PIN");
    assert_told(unseal_with("correct horsf"), ERROR_WRONG_KEY, "wrong PIN");
    assert_int_not_equal(plain_unseal(&ours, &sealed), 0);
    sealed.flags = 0;
    assert_told(unseal_with(NULL), ERROR_CORRUPT, "PIN");
    sealed.flags = TPM_FLAG_PIN;
    assert_int_equal(unseal_with("correct horse"), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
}

static void too_many_wrong_pins_lock_the_tpm_until_somebody_frees_it(void **state)
{
    (void)state;
    seal_with("1234");
    lockout_set(&ours, TRIES_MAX, 3600);
    for (int i = 0; i < TRIES_MAX; i++)
        assert_told(unseal_with("4321"), ERROR_WRONG_KEY, "wrong PIN");
    assert_told(unseal_with("1234"), ERROR_BUSY, "tpm2_dictionarylockout --clear-lockout");
    plain_open(&ours);
    assert_int_equal(Esys_DictionaryAttackLockReset(esys, ESYS_TR_RH_LOCKOUT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                    ESYS_TR_NONE),
                     0);
    plain_close();
    assert_int_equal(unseal_with("1234"), ERROR_NONE);
}

/* A look tries no PIN: the TPM counts none, at an unclean end either. */
static void a_look_says_whether_pins_are_taken_and_counts_as_no_try(void **state)
{
    (void)state;
    seal_with("1234");
    lockout_set(&ours, TRIES_MAX, 3600);
    for (int i = 0; i < 2 * TRIES_MAX; i++) {
        assert_int_equal(tpm_look(&access_without_pin, &sealed), ERROR_NONE);
        swtpm_kill(&ours);
        swtpm_start(&ours);
    }
    assert_int_equal(unseal_with("1234"), ERROR_NONE);
    memset(found, 0, sizeof(found));
    for (int i = 0; i < TRIES_MAX; i++)
        assert_told(unseal_with("4321"), ERROR_WRONG_KEY, "wrong PIN");
    assert_told(tpm_look(&access_without_pin, &sealed), ERROR_BUSY, "tpm2_dictionarylockout --clear-lockout");
    assert_nothing_left(&ours);
}

static void a_look_finds_what_an_unlock_would(void **state)
{
    (void)state;
    assert_int_equal(tpm_seal(&access_ours, PCR_7, key, NULL, &sealed), ERROR_NONE);
    assert_int_equal(tpm_look(&access_ours, &sealed), ERROR_NONE);
    assert_nothing_left(&ours);
    assert_told(tpm_look(&access_other, &sealed), ERROR_FOREIGN, "is not the TPM that sealed");
    assert_nothing_left(&other);
    struct tpm_sealed damaged = sealed;
    damaged.private[damaged.private_size / 2] ^= 1;
    assert_told(tpm_look(&access_ours, &damaged), ERROR_CORRUPT, "damaged");
    damaged = sealed;
    damaged.flags |= 8;
    assert_told(tpm_look(&access_ours, &damaged), ERROR_NEWER_FORMAT, "flags");
    assert_nothing_left(&ours);
    swtpm_kill(&ours);
    assert_told(tpm_look(&access_ours, &sealed), ERROR_KEY_ABSENT, "no TPM answers");
}

/* With an object that counts, the TPM reckons each unclean end as a try: what has no PIN must not suffer from it. */
static void unclean_ends_lock_nothing_that_has_no_pin(void **state)
{
    (void)state;
    lockout_set(&ours, TRIES_MAX, 3600);
    seal_with("1234");
    struct tpm_sealed with_pin = sealed;
    seal_with(NULL);
    for (int i = 0; i < 2 * TRIES_MAX; i++) {
        struct tpm_sealed without = sealed;
        sealed = with_pin;
        (void)unseal_with("1234");
        sealed = without;
        memset(found, 0, sizeof(found));
        swtpm_kill(&ours);
        swtpm_start(&ours);
        assert_int_equal(unseal_with(NULL), ERROR_NONE);
    }
    sealed = with_pin;
    memset(found, 0, sizeof(found));
    assert_told(unseal_with("1234"), ERROR_BUSY, "unclean ends"); /* the test would have seen it */
}

static void an_empty_password_opens_nothing_that_a_policy_guards(void **state)
{
    (void)state;
    seal_with(NULL);
    assert_int_equal(plain_unseal(&ours, &sealed), 0); /* without one it does: so this sees it */
    assert_int_equal(tpm_seal(&access_ours, PCR_7, key, NULL, &sealed), ERROR_NONE);
    TPM2B_PUBLIC public = public_of(&sealed);
    assert_int_equal(public.publicArea.objectAttributes & TPMA_OBJECT_USERWITHAUTH, 0);
    assert_int_equal(public.publicArea.authPolicy.size, TPM_POLICY_SIZE);
    assert_int_not_equal(plain_unseal(&ours, &sealed), 0);
    sealed.flags = 0; /* in a session of HMAC neither */
    assert_int_not_equal(unseal_with(NULL), ERROR_NONE);
    assert_nothing_left(&ours);
    public.publicArea.objectAttributes |= TPMA_OBJECT_USERWITHAUTH; /* and it cannot be set afterwards */
    size_t size = 0;
    assert_int_equal(Tss2_MU_TPM2B_PUBLIC_Marshal(&public, sealed.public, TPM_PUBLIC_MAX, &size), 0);
    assert_told(unseal_with(NULL), ERROR_CORRUPT, "damaged");
}

static void every_damage_of_what_was_sealed_is_damage(void **state)
{
    (void)state;
    seal_with(NULL);
    for (uint32_t at = 0; at < sealed.private_size; at += 7) {
        struct tpm_sealed spoilt = sealed;
        spoilt.private[at] ^= 0x40;
        assert_told(tpm_unseal(&access_ours, &spoilt, found), ERROR_CORRUPT, "damaged");
    }
    for (uint32_t at = 0; at < sealed.public_size; at++) {
        struct tpm_sealed spoilt = sealed;
        spoilt.public[at] ^= 0x01;
        assert_told(tpm_unseal(&access_ours, &spoilt, found), ERROR_CORRUPT, "damaged");
    }
    sealed.private_size--;
    assert_told(unseal_with(NULL), ERROR_CORRUPT, "damaged");
    assert_nothing_left(&ours);
}

static void unknown_flags_are_of_a_newer_version(void **state)
{
    (void)state;
    seal_with(NULL);
    sealed.flags = 4;
    assert_told(unseal_with(NULL), ERROR_NEWER_FORMAT, "flags 4");
}

/* An owner with a password makes the storage key persistent, once; it is then found there, and no other is. */
static void a_persistent_storage_key_needs_no_password_of_the_owner(void **state)
{
    (void)state;
    const TPM2B_AUTH password = {.size = 4, .buffer = "own"};
    struct tpm_link link;
    ESYS_TR persistent;
    seal_with(NULL);
    struct tpm_sealed before = sealed;
    assert_int_equal(tpm_link_open(ours.tcti, &link), ERROR_NONE);
    assert_int_equal(tpm_link_primary(&link, NULL), ERROR_NONE);
    assert_false(link.primary_persists);
    assert_int_equal(Esys_EvictControl(link.esys, ESYS_TR_RH_OWNER, link.primary, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                       ESYS_TR_NONE, 0x81000001, &persistent),
                     0);
    assert_int_equal(Esys_HierarchyChangeAuth(link.esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                              ESYS_TR_NONE, &password),
                     0);
    tpm_link_close(&link);
    assert_int_equal(unseal_with(NULL), ERROR_NONE);
    seal_with(NULL);
    assert_memory_equal(sealed.primary, before.primary, TPM_NAME_SIZE);
    assert_int_equal(unseal_with(NULL), ERROR_NONE);
    assert_nothing_left(&ours);
    memset(found, 0, sizeof(found));
    sealed.primary[5] ^= 1;
    assert_told(unseal_with(NULL), ERROR_ACCESS, "tpm2_changeauth -c owner");
}

static void only_transports_are_taken_as_a_tcti(void **state)
{
    (void)state;
    static const char *const good[] = {"device", "device:/dev/tpm0", "swtpm:host=127.0.0.1,port=2321", "mssim",
                                       "tabrmd:bus_name=com.intel.tss2.Tabrmd"};
    static const char *const bad[] = {"", ":", "cmd:sh", "pcap:swtpm", "./evil.so", "/tmp/evil.so", "libtss2-tcti-cmd.so.0",
                                      "device2:/dev/tpm0", "Device:/dev/tpm0", "device:/dev/tpm 0", "swtpm:\n", "dev"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(tpm_tcti_check(good[i]), ERROR_NONE);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(tpm_tcti_check(bad[i]), ERROR_INVALID);
        access_ours.tcti = bad[i];
        assert_int_equal(tpm_check(&access_ours), ERROR_INVALID);
    }
    char longest[TPM_TCTI_SIZE_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "device:", 7);
    longest[TPM_TCTI_SIZE_MAX + 1] = 0;
    assert_int_equal(tpm_tcti_check(longest), ERROR_INVALID);
    longest[TPM_TCTI_SIZE_MAX] = 0;
    assert_int_equal(tpm_tcti_check(longest), ERROR_NONE);
}

/* ---- what is left in memory ------------------------------------------------------------------------------------ */

#define PIECES (KEY_SIZE / 8)
#define ODD    UINT64_C(0x9e3779b97f4a7c15) /* so that what is looked for stands nowhere as it is */

static uint64_t products[PIECES];

static uint64_t product_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value * ODD;
}

static void products_take(void)
{
    for (size_t i = 0; i < PIECES; i++)
        products[i] = product_at(key + 8 * i);
}

static unsigned pieces_between(const uint8_t *start, const uint8_t *end)
{
    unsigned count = 0;
    for (const uint8_t *at = start; at + 8 <= end; at++) {
        uint64_t product = product_at(at);
        for (size_t i = 0; i < PIECES; i++)
            count += product == products[i];
    }
    return count;
}

/* Pieces of the key in all memory of this process that can be written, freed and below the stack's end too. */
static unsigned pieces_in_memory(void)
{
    char line[512];
    unsigned count = 0;
    unsigned long start, end;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        if (sscanf(line, "%lx-%lx rw", &start, &end) == 2 && strstr(line, " rw") != NULL && strstr(line, "[v") == NULL)
            count += pieces_between((const uint8_t *)start, (const uint8_t *)end);
    fclose(maps);
    return count;
}

/* ---- the same where the bus spoils what the TPM answers to a sealing */

static bool spoils, to_a_sealing;
static unsigned spoilt;
static TSS2_TCTI_TRANSMIT_FCN transmit_really;
static TSS2_TCTI_RECEIVE_FCN receive_really;

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    be32 code;
    memcpy(&code, command + 6, sizeof(code)); /* behind tag and size */
    to_a_sealing = be32_get(code) == TPM2_CC_Create;
    return transmit_really(context, size, command);
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *answer, int32_t timeout)
{
    TSS2_RC code = receive_really(context, size, answer, timeout);
    if (code == TSS2_RC_SUCCESS && answer != NULL && spoils && to_a_sealing) {
        answer[*size - 1] ^= 1; /* its authentication */
        spoilt++;
    }
    return code;
}

TSS2_RC __real_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context);
TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context);
TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context)
{
    TSS2_RC code = __real_Tss2_TctiLdr_Initialize(place, context);
    if (code != TSS2_RC_SUCCESS)
        return code;
    transmit_really = TSS2_TCTI_TRANSMIT(*context);
    receive_really = TSS2_TCTI_RECEIVE(*context);
    TSS2_TCTI_TRANSMIT(*context) = transmit;
    TSS2_TCTI_RECEIVE(*context) = receive;
    return code;
}

static void nothing_of_a_key_is_left_in_memory_by_a_false_answer(void **state)
{
    (void)state;
    products_take();
    spoils = true;
    assert_int_equal(tpm_seal(&access_ours, 0, key, NULL, &sealed), ERROR_FORGED);
    spoils = false;
    assert_int_equal(spoilt, 1);
    memory_cleanse(key, sizeof(key));
    assert_int_equal(pieces_in_memory(), 0);
}

static void nothing_of_a_key_is_left_in_memory(void **state)
{
    (void)state;
    products_take();
    uint8_t *planted = malloc(KEY_SIZE);
    memcpy(planted, key, KEY_SIZE);
    assert_true(pieces_in_memory() >= 2 * PIECES);
    memory_cleanse(planted, KEY_SIZE);
    free(planted);
    for (uint32_t pcrs = 0; pcrs <= PCR_7; pcrs += PCR_7) {
        assert_int_equal(tpm_seal(&access_ours, pcrs, key, NULL, &sealed), ERROR_NONE);
        memory_cleanse(key, sizeof(key));
        assert_int_equal(pieces_in_memory(), 0);
        assert_int_equal(unseal_with(NULL), ERROR_NONE);
        assert_true(pieces_between(found, found + KEY_SIZE) == PIECES);
        memcpy(key, found, sizeof(key));
        memory_cleanse(found, sizeof(found));
        assert_int_equal(pieces_in_memory(), PIECES); /* that one */
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* A sanitizer keeps terabytes of memory of its own, and what was freed. */
#if !defined(__has_feature)
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||                \
    __has_feature(thread_sanitizer)
#define SANITIZED true
#else
#define SANITIZED false
#endif

int main(void)
{
    const struct CMUnitTest memory[] = {TEST(nothing_of_a_key_is_left_in_memory),
                                        TEST(nothing_of_a_key_is_left_in_memory_by_a_false_answer)};
    const struct CMUnitTest tests[] = {
        TEST(what_was_sealed_is_unsealed_after_a_restart_too),
        TEST(the_object_is_bound_to_its_tpm_and_parent),
        TEST(nothing_is_left_in_the_tpm_whatever_happens),
        TEST(a_tpm_whose_slots_others_fill_is_busy),
        TEST(another_tpm_is_told_from_one_that_was_cleared),
        TEST(a_primary_of_another_name_is_never_used),
        TEST(an_absent_tpm_is_told_and_tried_again),
        TEST(a_pin_is_needed_where_one_was_given),
        TEST(too_many_wrong_pins_lock_the_tpm_until_somebody_frees_it),
        TEST(a_look_says_whether_pins_are_taken_and_counts_as_no_try),
        TEST(a_look_finds_what_an_unlock_would),
        TEST(unclean_ends_lock_nothing_that_has_no_pin),
        TEST(an_empty_password_opens_nothing_that_a_policy_guards),
        TEST(every_damage_of_what_was_sealed_is_damage),
        TEST(unknown_flags_are_of_a_newer_version),
        TEST(a_persistent_storage_key_needs_no_password_of_the_owner),
        TEST(only_transports_are_taken_as_a_tcti),
    };
    if (arena_start() != ERROR_NONE)
        return 1;
    int failed = SANITIZED ? 0 : cmocka_run_group_tests(memory, NULL, NULL);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
