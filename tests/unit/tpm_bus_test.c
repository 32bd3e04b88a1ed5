/*
 * Somebody on the bus to the TPM who puts his own key into answers and leaves the Name as it was: here between the library
 * and the TCTI of swtpm. His key is the storage primary of another TPM. Or that TPM answers instead of ours, from some
 * connection on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/key_cache.h"
#include "crypto/provider_native.h"
#include "crypto/provider_tpm.h"
#include "crypto/tpm.h"
#include "crypto/tpm_link.h"
#include "tests/unit/swtpm.h"

#define CODE_AT 6 /* in a command, behind tag and size */

static struct swtpm ours, his;
static struct tpm_access access_ours;
static struct tpm_sealed sealed;
static uint8_t key[KEY_SIZE], found[KEY_SIZE];
static uint8_t his_key[TPM_PUBLIC_MAX];
static size_t his_size;

/* ---- the bus --------------------------------------------------------------------------------------------------- */

static TPM2_CC lies_about; /* the answer to which command is changed; 0: to none */
static bool breaks; /* it is cut short instead */
static TPM2_CC sent;
static unsigned sessions, lies;
static unsigned connections, ours_answers; /* so many of them */
static TSS2_TCTI_TRANSMIT_FCN transmit_really;
static TSS2_TCTI_RECEIVE_FCN receive_really;

TSS2_RC __real_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context);
TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context);

static TSS2_RC transmit(TSS2_TCTI_CONTEXT *context, size_t size, const uint8_t *command)
{
    be32 code;
    memcpy(&code, command + CODE_AT, sizeof(code));
    sent = be32_get(code);
    sessions += sent == TPM2_CC_StartAuthSession;
    return transmit_really(context, size, command);
}

/* Behind the head; that of a new object behind its handle and the size of the parameters too. */
static size_t public_at(TPM2_CC code)
{
    return code == TPM2_CC_CreatePrimary ? 18 : 10;
}

static TSS2_RC receive(TSS2_TCTI_CONTEXT *context, size_t *size, uint8_t *answer, int32_t timeout)
{
    TSS2_RC code = receive_really(context, size, answer, timeout);
    size_t at = public_at(sent);
    if (code != TSS2_RC_SUCCESS || answer == NULL || sent != lies_about || *size < at + his_size)
        return code;
    lies++;
    if (breaks) {
        memset(answer + at, 0xff, 2); /* a size that does not fit */
        return code;
    }
    assert_memory_equal(answer + at, his_key, 2); /* of the same size: all behind it stays where it is */
    memcpy(answer + at, his_key, his_size);
    return code;
}

TSS2_RC __wrap_Tss2_TctiLdr_Initialize(const char *place, TSS2_TCTI_CONTEXT **context)
{
    bool stands_in = ++connections > ours_answers;
    TSS2_RC code = __real_Tss2_TctiLdr_Initialize(stands_in ? his.tcti : place, context);
    if (code != TSS2_RC_SUCCESS)
        return code;
    transmit_really = TSS2_TCTI_TRANSMIT(*context);
    receive_really = TSS2_TCTI_RECEIVE(*context);
    TSS2_TCTI_TRANSMIT(*context) = transmit;
    TSS2_TCTI_RECEIVE(*context) = receive;
    return code;
}

static void lie_about(TPM2_CC code)
{
    lies_about = code;
    sessions = lies = connections = 0;
    ours_answers = UINT_MAX;
    breaks = false;
}

/* ---- fixture --------------------------------------------------------------------------------------------------- */

static void his_key_take(void)
{
    struct tpm_link link;
    TPM2B_PUBLIC *public;
    assert_int_equal(tpm_link_open(his.tcti, &link), ERROR_NONE);
    assert_int_equal(tpm_link_primary(&link, NULL), ERROR_NONE);
    assert_int_equal(Esys_ReadPublic(link.esys, link.primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &public, NULL,
                                     NULL),
                     0);
    his_size = 0;
    assert_int_equal(Tss2_MU_TPM2B_PUBLIC_Marshal(public, his_key, sizeof(his_key), &his_size), 0);
    Esys_Free(public);
    tpm_link_close(&link);
}

static int set_up(void **state)
{
    (void)state;
    lie_about(0);
    swtpm_make(&ours, 0);
    swtpm_make(&his, 1);
    swtpm_start(&ours);
    swtpm_start(&his);
    access_ours = (struct tpm_access){.tcti = ours.tcti};
    assert_int_equal(key_generate(key), ERROR_NONE);
    memset(found, 0, sizeof(found));
    his_key_take();
    assert_int_equal(tpm_seal(&access_ours, 0, key, NULL, &sealed), ERROR_NONE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(swtpm_slots_filled(&ours), 0);
    assert_int_equal(swtpm_slots_filled(&his), 0);
    swtpm_remove(&ours);
    swtpm_remove(&his);
    return 0;
}

static void primary_persist(void)
{
    struct tpm_link link;
    ESYS_TR persistent;
    assert_int_equal(tpm_link_open(ours.tcti, &link), ERROR_NONE);
    assert_int_equal(tpm_link_primary(&link, NULL), ERROR_NONE);
    assert_int_equal(Esys_EvictControl(link.esys, ESYS_TR_RH_OWNER, link.primary, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                       ESYS_TR_NONE, 0x81000001, &persistent),
                     0);
    tpm_link_close(&link);
}

/* He is told from a TPM that fails, and no salt was encrypted to his key. */
static void assert_lie_is_seen(enum error error)
{
    static const uint8_t nothing[KEY_SIZE];
    assert_int_equal(lies, 1);
    assert_int_equal(sessions, 0);
    if (error != ERROR_FORGED || strstr(error_sentence(error), "stands in its place") == NULL)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
    assert_memory_equal(found, nothing, KEY_SIZE);
}

static void assert_unseals(void)
{
    lie_about(0);
    assert_int_equal(tpm_unseal(&access_ours, &sealed, found), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
    assert_int_equal(sessions, 1); /* they are counted */
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void a_key_that_does_not_fit_the_name_of_the_persistent_one_gets_no_salt(void **state)
{
    struct tpm_sealed other;
    (void)state;
    primary_persist();
    lie_about(TPM2_CC_ReadPublic);
    assert_lie_is_seen(tpm_unseal(&access_ours, &sealed, found));
    lie_about(TPM2_CC_ReadPublic);
    assert_lie_is_seen(tpm_seal(&access_ours, 0, key, NULL, &other));
    assert_unseals();
}

static void a_key_that_does_not_fit_the_name_of_the_made_one_gets_no_salt(void **state)
{
    (void)state;
    lie_about(TPM2_CC_CreatePrimary);
    assert_lie_is_seen(tpm_unseal(&access_ours, &sealed, found));
    assert_unseals();
}

/* The TPM made or loaded the object all the same; tear_down() counts. */
static void an_answer_that_makes_no_sense_leaves_nothing_in_the_tpm(void **state)
{
    static const TPM2_CC commands[] = {TPM2_CC_CreatePrimary, TPM2_CC_Load};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        lie_about(commands[i]);
        breaks = true;
        assert_int_not_equal(tpm_unseal(&access_ours, &sealed, found), ERROR_NONE);
        assert_int_equal(lies, 1);
        assert_int_equal(swtpm_slots_filled(&ours), 0);
    }
    assert_unseals();
}

/* ---- a TPM of his that answers in whole ------------------------------------------------------------------------ */

static char directory[64], path[96], path_2[112];
static struct provider_config config;

static void files_make(void)
{
    snprintf(directory, sizeof(directory), "%.40s/coffer-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
    snprintf(path_2, sizeof(path_2), "%s.2", path);
    config = (struct provider_config){.name = "main", .type = "native", .seal = "tpm", .path = path, .tcti = ours.tcti,
                                      .id = {{7}}, .cache = path, .cache_seconds = 86400};
}

static void files_remove(void)
{
    unlink(path);
    unlink(path_2);
    assert_int_equal(rmdir(directory), 0);
}

static void he_answers_behind(unsigned connections_of_ours)
{
    lie_about(0);
    ours_answers = connections_of_ours;
}

static void assert_foreign(enum error error, const char *words)
{
    assert_int_equal(sessions, ours_answers);
    if (error != ERROR_FOREIGN || strstr(error_sentence(error), words) == NULL)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
}

static void a_cached_key_is_renewed_in_its_own_tpm_only(void **state)
{
    (void)state;
    struct provider_kek which = {.pool = {{1}}, .number = 1};
    struct cached_key cached;
    files_make();
    assert_int_equal(key_cache_store(&config, &which, "17", 1000, key), ERROR_NONE);
    he_answers_behind(0);
    assert_foreign(key_cache_store(&config, &which, "17", 2000, key), path);
    which.number = 2; /* another key is in force now */
    he_answers_behind(0);
    assert_foreign(key_cache_store(&config, &which, "18", 2000, key), path);
    which.number = 1;
    lie_about(0);
    assert_int_equal(key_cache_open(&config, &which, 2000, found, &cached), ERROR_NONE);
    assert_int_equal(cached.fetched, 1000);
    assert_int_equal(unlink(path), 0); /* who gives the machine another TPM says so */
    he_answers_behind(0);
    assert_int_equal(key_cache_store(&config, &which, "17", 2000, key), ERROR_NONE);
    files_remove();
}

static void a_key_is_sealed_anew_in_its_own_tpm_only(void **state)
{
    static const struct provider_secret none = {NULL, 0}, passphrase = {"correct horse", 13};
    (void)state;
    uint8_t kdk[KEY_SIZE];
    struct tpm_way way = {.pin = none, .directory = directory};
    struct provider_config next;
    files_make();
    next = config;
    next.path = path_2;
    assert_int_equal(provider_native_tpm.create(&config, NULL, kdk), ERROR_NONE);
    assert_int_equal(provider_copy_create(&config, path_2, &passphrase, kdk), ERROR_NONE);
    he_answers_behind(1); /* as soon as ours gave the key */
    assert_foreign(provider_tpm_reseal(&config, &way, &none), path);
    lie_about(0);
    assert_int_equal(provider_native_tpm.open(&config, NULL, found), ERROR_NONE);
    way = (struct tpm_way){.copy = path_2, .copy_secret = passphrase, .directory = directory};
    he_answers_behind(0); /* with the copy a person may mean another one */
    assert_int_equal(provider_tpm_reseal(&config, &way, &none), ERROR_NONE);
    assert_int_equal(unlink(path_2), 0);
    he_answers_behind(0);
    assert_int_equal(provider_native_tpm.create_like(&next, &config, NULL, false, found), ERROR_NONE);
    assert_int_equal(unlink(path_2), 0);
    lie_about(0); /* now ours is the other one */
    assert_int_equal(provider_native_tpm.create_like(&next, &config, NULL, false, found), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), path));
    assert_int_equal(sessions, 0);
    assert_int_not_equal(access(path_2, F_OK), 0);
    files_remove();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_that_does_not_fit_the_name_of_the_persistent_one_gets_no_salt),
        TEST(a_key_that_does_not_fit_the_name_of_the_made_one_gets_no_salt),
        TEST(an_answer_that_makes_no_sense_leaves_nothing_in_the_tpm),
        TEST(a_cached_key_is_renewed_in_its_own_tpm_only),
        TEST(a_key_is_sealed_anew_in_its_own_tpm_only),
    };
    if (arena_start() != ERROR_NONE)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
