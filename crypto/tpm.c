/*
 * Sealing a key in a TPM and taking it out again.
 *
 * Where the recorded Name of the storage primary is not that of the TPM that answers, nothing is sent to it: another
 * TPM, or one that was cleared, which the endorsement key tells apart, as it outlives a clearing. What comes out of the
 * TPM is not trusted to be the key: whoever asked compares its check value. No state, nothing on disk.
 */
#include "crypto/tpm.h"

#include <openssl/evp.h>
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "base/memory.h"
#include "crypto/openssl_error.h"
#include "crypto/tpm_link.h"
#include "crypto/tpm_pcr.h"
#include "crypto/tpm_policy.h"

#define PIN_AUTH_SIZE 32
#define COPY_IS_USED  "(in coffer.conf, [provider]: seal = passphrase and path = FILE, then `coffer unlock`)"

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

/* A TPM takes no more than a digest's size, and drops zeros at the end. */
static enum error pin_auth(const struct tpm_access *access, TPM2B_AUTH *auth)
{
    static const char label[] = "coffer1/tpm-pin";
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned size = PIN_AUTH_SIZE;
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(context, label, sizeof label) == 1 &&
                EVP_DigestUpdate(context, access->pin, access->pin_size) == 1 &&
                EVP_DigestFinal_ex(context, auth->buffer, &size) == 1;
    EVP_MD_CTX_free(context);
    if (!done)
        return error_from_openssl("digest a PIN");
    auth->buffer[PIN_AUTH_SIZE - 1] |= 1;
    auth->size = PIN_AUTH_SIZE;
    return ERROR_NONE;
}

/* The library keeps a copy, which a second one of the same size overwrites. */
static void auth_forget(struct tpm_link *link)
{
    static const TPM2B_AUTH zeros = {.size = PIN_AUTH_SIZE};
    if (link->esys != NULL && link->object != ESYS_TR_NONE)
        (void)Esys_TR_SetAuth(link->esys, link->object, &zeros);
}

static TPM2B_PUBLIC object_template(bool pin, const uint8_t *policy)
{
    TPM2B_PUBLIC template = {.publicArea = {.type = TPM2_ALG_KEYEDHASH, .nameAlg = TPM2_ALG_SHA256}};
    TPMT_PUBLIC *area = &template.publicArea;
    area->objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT;
    if (!pin)
        area->objectAttributes |= TPMA_OBJECT_NODA;
    area->parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
    if (policy == NULL) {
        area->objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
    } else {
        area->authPolicy.size = TPM_POLICY_SIZE;
        memcpy(area->authPolicy.buffer, policy, TPM_POLICY_SIZE);
    }
    return template;
}

static enum error marshalled(struct tpm_link *link, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private,
                             struct tpm_sealed *sealed)
{
    size_t public_size = 0, private_size = 0;
    TRY(tpm_link_error(link, Tss2_MU_TPM2B_PUBLIC_Marshal(public, sealed->public, TPM_PUBLIC_MAX, &public_size),
                       "seal a key"));
    TRY(tpm_link_error(link, Tss2_MU_TPM2B_PRIVATE_Marshal(private, sealed->private, TPM_PRIVATE_MAX, &private_size),
                       "seal a key"));
    sealed->public_size = (uint32_t)public_size;
    sealed->private_size = (uint32_t)private_size;
    return ERROR_NONE;
}

static enum error unmarshalled(const struct tpm_sealed *sealed, TPM2B_PUBLIC *public, TPM2B_PRIVATE *private)
{
    size_t public_size = 0, private_size = 0;
    bool whole = !Tss2_MU_TPM2B_PUBLIC_Unmarshal(sealed->public, sealed->public_size, &public_size, public) &&
                 !Tss2_MU_TPM2B_PRIVATE_Unmarshal(sealed->private, sealed->private_size, &private_size, private) &&
                 public_size == sealed->public_size && private_size == sealed->private_size;
    return whole ? ERROR_NONE : error_explain(ERROR_CORRUPT, "what the TPM sealed is damaged");
}

/* ---- which TPM --------------------------------------------------------------------------------------------------- */

static enum error another_tpm(struct tpm_link *link, const struct tpm_sealed *sealed)
{
    uint8_t endorsement[TPM_NAME_SIZE];
    tpm_link_endorsement(link, endorsement);
    bool known = !memory_is_zero(sealed->endorsement, TPM_NAME_SIZE) && !memory_is_zero(endorsement, TPM_NAME_SIZE);
    bool cleared = known && memcmp(endorsement, sealed->endorsement, TPM_NAME_SIZE) == 0;
    return error_explain(ERROR_FOREIGN, "the TPM at %s %s; or open the pool by the copy of its key " COPY_IS_USED, link->place,
                         cleared ? "was cleared since it sealed the key of this pool, which is gone for good: restore a "
                                   "backup of the data"
                         : known ? "is not the TPM that sealed the key of this pool: move the disks back to the machine "
                                   "of that one"
                                 : "is not the TPM that sealed the key of this pool, or was cleared since: move the disks "
                                   "back to the machine of that one");
}

/* Link to the TPM that sealed, and to no other; NULL: to whichever answers. */
static enum error link_to(struct tpm_link *link, const struct tpm_sealed *sealed)
{
    enum error error = tpm_link_primary(link, sealed == NULL ? NULL : sealed->primary);
    if (error == ERROR_NOT_FOUND)
        return another_tpm(link, sealed);
    TRY(error);
    return tpm_link_session(link);
}

/* ---- sealing ----------------------------------------------------------------------------------------------------- */

enum error tpm_check(const struct tpm_access *access)
{
    struct tpm_link link;
    enum error error = tpm_link_open(access->tcti, &link);
    if (error == ERROR_NONE)
        error = link_to(&link, NULL);
    tpm_link_close(&link);
    return error;
}

static enum error object_create(struct tpm_link *link, const struct tpm_access *access, const uint8_t *policy,
                                const TPM2B_SENSITIVE_CREATE *sensitive, struct tpm_sealed *sealed)
{
    static const TPM2B_DATA outside;
    static const TPML_PCR_SELECTION pcrs;
    TPM2B_PUBLIC template = object_template(access->pin != NULL, policy), *public = NULL;
    TPM2B_PRIVATE *private = NULL;
    TSS2_RC code;
    do
        code = Esys_Create(link->esys, link->primary, link->session, ESYS_TR_NONE, ESYS_TR_NONE, sensitive, &template, &outside,
                           &pcrs, &private, &public, NULL, NULL, NULL);
    while (tpm_link_again(link, code));
    TRY(tpm_link_error(link, code, "seal a key"));
    enum error error = marshalled(link, public, private, sealed);
    Esys_Free(public);
    Esys_Free(private);
    return error;
}

static enum error seal(struct tpm_link *link, const struct tpm_access *access, const uint8_t *policy,
                       const uint8_t key[KEY_SIZE], struct tpm_sealed *sealed)
{
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive = {.data = {.size = KEY_SIZE}}};
    enum error error = access->pin == NULL ? ERROR_NONE : pin_auth(access, &sensitive.sensitive.userAuth);
    memcpy(sensitive.sensitive.data.buffer, key, KEY_SIZE);
    if (error == ERROR_NONE)
        error = object_create(link, access, policy, &sensitive, sealed);
    tpm_link_forget(link, sensitive.sensitive.data.buffer, KEY_SIZE);
    if (access->pin != NULL)
        tpm_link_forget(link, sensitive.sensitive.userAuth.buffer, PIN_AUTH_SIZE);
    memory_cleanse(&sensitive, sizeof sensitive);
    return error;
}

/* Approves what the PCRs hold now. */
static enum error bind(struct tpm_link *link, uint32_t pcrs, const uint8_t key[KEY_SIZE], struct tpm_binding *binding)
{
    uint8_t values[TPM_PCRS][TPM_PCR_SIZE], digest[TPM_PCR_SIZE];
    TRY(tpm_pcr_read(link, pcrs, values));
    TRY(tpm_policy_digest(pcrs, (const uint8_t(*)[TPM_PCR_SIZE])values, digest));
    TRY(tpm_policy_begin(pcrs, key, binding));
    return tpm_policy_approve(key, digest, binding);
}

static enum error bind_and_seal(struct tpm_link *link, const struct tpm_access *access, uint32_t pcrs,
                                const uint8_t key[KEY_SIZE], struct tpm_sealed *sealed)
{
    uint8_t policy[TPM_POLICY_SIZE];
    if (pcrs == 0)
        return seal(link, access, NULL, key, sealed);
    sealed->flags |= TPM_FLAG_PCRS;
    TRY(bind(link, pcrs, key, &sealed->binding));
    TRY(tpm_policy_object(&sealed->binding, access->pin != NULL, policy));
    return seal(link, access, policy, key, sealed);
}

enum error tpm_seal(const struct tpm_access *access, uint32_t pcrs, const uint8_t key[KEY_SIZE],
                    const struct tpm_sealed *before, struct tpm_sealed *sealed)
{
    struct tpm_link link;
    struct tpm_sealed made = {.flags = access->pin != NULL ? TPM_FLAG_PIN : 0};
    enum error error = tpm_link_open(access->tcti, &link);
    if (error == ERROR_NONE)
        tpm_link_endorsement(&link, made.endorsement);
    if (error == ERROR_NONE)
        error = link_to(&link, before);
    if (error == ERROR_NONE)
        error = bind_and_seal(&link, access, pcrs, key, &made);
    memcpy(made.primary, link.primary_name, TPM_NAME_SIZE);
    tpm_link_close(&link);
    if (error == ERROR_NONE)
        *sealed = made;
    return error;
}

/* ---- unsealing --------------------------------------------------------------------------------------------------- */

static enum error flags_check(const struct tpm_sealed *sealed)
{
    if (sealed->flags & ~(TPM_FLAG_PIN | TPM_FLAG_PCRS))
        return error_explain(ERROR_NEWER_FORMAT, "sealed in a way (flags %u) that this version does not know",
                             sealed->flags);
    return ERROR_NONE;
}

static enum error pin_check(const struct tpm_access *access, const struct tpm_sealed *sealed)
{
    TRY(flags_check(sealed));
    if (sealed->flags & TPM_FLAG_PIN && access->pin == NULL)
        return error_explain(ERROR_LOCKED, "the key is sealed in the TPM and needs its PIN");
    return ERROR_NONE;
}

static enum error object_load(struct tpm_link *link, const struct tpm_sealed *sealed)
{
    TPM2B_PUBLIC public = {0};
    TPM2B_PRIVATE private = {0};
    TRY(unmarshalled(sealed, &public, &private));
    TSS2_RC code;
    do
        code = Esys_Load(link->esys, link->primary, link->session, ESYS_TR_NONE, ESYS_TR_NONE, &private, &public, &link->object);
    while (tpm_link_again(link, code));
    if (tpm_faults_parameter(code))
        return error_explain(ERROR_CORRUPT, "what the TPM sealed is damaged: the TPM does not take it back (%s)",
                             Tss2_RC_Decode(code));
    return tpm_link_error(link, code, "load the sealed key");
}

static enum error data_take(TPM2B_SENSITIVE_DATA *data, uint8_t key[KEY_SIZE])
{
    bool fits = data->size == KEY_SIZE;
    if (fits)
        memcpy(key, data->buffer, KEY_SIZE);
    memory_cleanse(data, sizeof *data);
    Esys_Free(data);
    return fits ? ERROR_NONE : error_explain(ERROR_CORRUPT, "what the TPM sealed is no key");
}

static enum error refused(struct tpm_link *link, const struct tpm_sealed *sealed, TSS2_RC code)
{
    TSS2_RC plain = tpm_code(code);
    if (plain == TPM2_RC_POLICY_FAIL)
        return error_explain(ERROR_CORRUPT, "what the TPM sealed has another policy than the key file: put its copy back");
    if (plain != TPM2_RC_AUTH_FAIL && plain != TPM2_RC_BAD_AUTH)
        return tpm_link_error(link, code, "unseal the key");
    if (!(sealed->flags & TPM_FLAG_PIN))
        return error_explain(ERROR_CORRUPT, "what the TPM sealed needs a PIN, but the key file says none");
    return error_explain(ERROR_WRONG_KEY,
                         "wrong PIN: the TPM at %s counts them, and takes none for a while after too many", link->place);
}

static enum error object_unseal(struct tpm_link *link, const struct tpm_access *access,
                                const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE])
{
    TPM2B_SENSITIVE_DATA *data = NULL;
    TPM2B_AUTH auth = {0};
    if (sealed->flags & TPM_FLAG_PIN)
        TRY(pin_auth(access, &auth));
    TSS2_RC code = Esys_TR_SetAuth(link->esys, link->object, &auth);
    memory_cleanse(&auth, sizeof auth);
    TRY(tpm_link_error(link, code, "take the PIN"));
    code = Esys_Unseal(link->esys, link->object, sealed->flags & TPM_FLAG_PCRS ? link->policy : link->session, ESYS_TR_NONE,
                       ESYS_TR_NONE, &data);
    if (code != TSS2_RC_SUCCESS)
        return refused(link, sealed, code);
    return data_take(data, key);
}

static enum error policy_satisfy(struct tpm_link *link, const struct tpm_sealed *sealed)
{
    if (!(sealed->flags & TPM_FLAG_PCRS))
        return ERROR_NONE;
    TRY(tpm_link_policy_session(link));
    return tpm_pcr_satisfy(link, &sealed->binding, sealed->flags & TPM_FLAG_PIN);
}

static enum error object_ready(struct tpm_link *link, const struct tpm_sealed *sealed)
{
    TRY(link_to(link, sealed));
    TRY(policy_satisfy(link, sealed));
    return object_load(link, sealed);
}

static enum error unseal(struct tpm_link *link, const struct tpm_access *access, const struct tpm_sealed *sealed,
                         uint8_t key[KEY_SIZE])
{
    TRY(object_ready(link, sealed));
    enum error error = object_unseal(link, access, sealed, key);
    auth_forget(link);
    return error;
}

enum error tpm_unseal(const struct tpm_access *access, const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE])
{
    struct tpm_link link;
    uint8_t found[KEY_SIZE];
    TRY(pin_check(access, sealed));
    enum error error = tpm_link_open(access->tcti, &link);
    if (error == ERROR_NONE)
        error = unseal(&link, access, sealed, found);
    tpm_link_close(&link);
    if (error == ERROR_NONE)
        memcpy(key, found, KEY_SIZE);
    memory_cleanse(found, sizeof found);
    return error;
}

enum error tpm_look(const struct tpm_access *access, const struct tpm_sealed *sealed)
{
    struct tpm_link link;
    TRY(flags_check(sealed));
    enum error error = tpm_link_open(access->tcti, &link);
    if (error == ERROR_NONE)
        error = object_ready(&link, sealed);
    if (error == ERROR_NONE && sealed->flags & TPM_FLAG_PIN)
        error = tpm_link_takes_pins(&link);
    tpm_link_close(&link);
    return error;
}

enum error tpm_pcrs_read(const struct tpm_access *access, const struct tpm_sealed *sealed, uint32_t pcrs,
                         uint8_t values[TPM_PCRS][TPM_PCR_SIZE])
{
    struct tpm_link link;
    enum error error = tpm_link_open(access->tcti, &link);
    if (error == ERROR_NONE)
        error = link_to(&link, sealed);
    if (error == ERROR_NONE)
        error = tpm_pcr_read(&link, pcrs, values);
    tpm_link_close(&link);
    return error;
}
