/*
 * Policies, computed as a TPM computes them, and the approver's signatures.
 *
 * Nothing here is secret but the scalar, which lives in OpenSSL's numbers, and so in the arena. No state, no locks, nothing on
 * disk.
 */
#include "crypto/tpm_policy.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>
#include <tss2/tss2_mu.h>

#include "base/memory.h"
#include "base/random.h"
#include "crypto/openssl_error.h"

#define COORDINATE   32
#define SCALAR_BYTES 48 /* 128 bits more than the order has: no bias */
#define POINT_BYTES  (1 + TPM_APPROVER_SIZE)

/* ---- digests ----------------------------------------------------------------------------------------------------- */

struct piece {
    const void *data;
    size_t size;
};

static enum error digest_of(const struct piece *pieces, size_t count, uint8_t digest[TPM_PCR_SIZE])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; i < count && done; i++)
        done = EVP_DigestUpdate(context, pieces[i].data, pieces[i].size) == 1;
    done = done && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done ? ERROR_NONE : error_from_openssl("compute a policy");
}

/* policy = SHA-256(policy | command | rest), as the policy commands of a TPM do. */
static enum error policy_extend(uint8_t policy[TPM_POLICY_SIZE], uint32_t command, const struct piece *rest, size_t count)
{
    const uint8_t code[4] = {(uint8_t)(command >> 24), (uint8_t)(command >> 16), (uint8_t)(command >> 8), (uint8_t)command};
    struct piece pieces[4] = {{policy, TPM_POLICY_SIZE}, {code, sizeof code}};
    ASSERT(count <= 2);
    memcpy(pieces + 2, rest, count * sizeof *rest);
    return digest_of(pieces, 2 + count, policy);
}

TPML_PCR_SELECTION tpm_policy_selection(uint32_t pcrs)
{
    TPML_PCR_SELECTION selection = {.count = 1, .pcrSelections = {{.hash = TPM2_ALG_SHA256, .sizeofSelect = TPM_PCRS / 8}}};
    for (unsigned i = 0; i < TPM_PCRS / 8; i++)
        selection.pcrSelections[0].pcrSelect[i] = (BYTE)(pcrs >> (8 * i));
    return selection;
}

enum error tpm_policy_digest(uint32_t pcrs, const uint8_t values[TPM_PCRS][TPM_PCR_SIZE], uint8_t digest[TPM_PCR_SIZE])
{
    struct piece pieces[TPM_PCRS];
    size_t count = 0;
    for (unsigned i = 0; i < TPM_PCRS; i++)
        if (pcrs & UINT32_C(1) << i)
            pieces[count++] = (struct piece){values[i], TPM_PCR_SIZE};
    return digest_of(pieces, count, digest);
}

enum error tpm_policy_approved(uint32_t pcrs, const uint8_t digest[TPM_PCR_SIZE], uint8_t policy[TPM_POLICY_SIZE])
{
    TPML_PCR_SELECTION selection = tpm_policy_selection(pcrs);
    uint8_t marshalled[sizeof selection];
    size_t size = 0;
    if (Tss2_MU_TPML_PCR_SELECTION_Marshal(&selection, marshalled, sizeof marshalled, &size) != TSS2_RC_SUCCESS)
        return ERROR_BUG;
    const struct piece rest[] = {{marshalled, size}, {digest, TPM_PCR_SIZE}};
    memset(policy, 0, TPM_POLICY_SIZE);
    return policy_extend(policy, TPM2_CC_PolicyPCR, rest, COUNT_OF(rest));
}

TPM2B_PUBLIC tpm_policy_approver(const struct tpm_binding *binding)
{
    TPM2B_PUBLIC public = {.publicArea = {.type = TPM2_ALG_ECC,
                                          .nameAlg = TPM2_ALG_SHA256,
                                          .objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT}};
    TPMS_ECC_PARMS *ecc = &public.publicArea.parameters.eccDetail;
    TPMS_ECC_POINT *point = &public.publicArea.unique.ecc;
    ecc->symmetric.algorithm = TPM2_ALG_NULL;
    ecc->scheme.scheme = TPM2_ALG_ECDSA;
    ecc->scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    ecc->curveID = TPM2_ECC_NIST_P256;
    ecc->kdf.scheme = TPM2_ALG_NULL;
    point->x.size = point->y.size = COORDINATE;
    memcpy(point->x.buffer, binding->approver, COORDINATE);
    memcpy(point->y.buffer, binding->approver + COORDINATE, COORDINATE);
    return public;
}

static enum error approver_name(const struct tpm_binding *binding, uint8_t name[TPM_NAME_SIZE])
{
    TPM2B_PUBLIC public = tpm_policy_approver(binding);
    uint8_t marshalled[TPM_PUBLIC_MAX];
    size_t size = 0;
    if (Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, marshalled, sizeof marshalled, &size) != TSS2_RC_SUCCESS)
        return ERROR_BUG;
    const struct piece piece = {marshalled, size};
    name[0] = TPM2_ALG_SHA256 >> 8;
    name[1] = TPM2_ALG_SHA256 & 0xff;
    return digest_of(&piece, 1, name + 2);
}

enum error tpm_policy_object(const struct tpm_binding *binding, bool pin, uint8_t policy[TPM_POLICY_SIZE])
{
    uint8_t name[TPM_NAME_SIZE];
    TRY(approver_name(binding, name));
    const struct piece rest = {name, sizeof name};
    const struct piece with_reference[] = {{policy, TPM_POLICY_SIZE}, {binding->reference, TPM_REFERENCE_SIZE}};
    memset(policy, 0, TPM_POLICY_SIZE);
    TRY(policy_extend(policy, TPM2_CC_PolicyAuthorize, &rest, 1));
    TRY(digest_of(with_reference, COUNT_OF(with_reference), policy));
    return pin ? policy_extend(policy, TPM2_CC_PolicyAuthValue, &rest, 0) : ERROR_NONE;
}

enum error tpm_policy_message(const struct tpm_binding *binding, const uint8_t digest[TPM_PCR_SIZE],
                              uint8_t message[TPM_PCR_SIZE])
{
    uint8_t policy[TPM_POLICY_SIZE];
    TRY(tpm_policy_approved(binding->pcrs, digest, policy));
    const struct piece pieces[] = {{policy, sizeof policy}, {binding->reference, TPM_REFERENCE_SIZE}};
    return digest_of(pieces, COUNT_OF(pieces), message);
}

/* ---- the approver ------------------------------------------------------------------------------------------------ */

struct approver {
    EC_GROUP *group;
    BIGNUM *scalar;
    EC_POINT *point;
    EVP_PKEY *key;
    uint8_t public[POINT_BYTES]; /* uncompressed */
};

static void approver_forget(struct approver *approver)
{
    EVP_PKEY_free(approver->key);
    EC_POINT_free(approver->point);
    BN_clear_free(approver->scalar);
    EC_GROUP_free(approver->group);
}

static bool scalar_make(struct approver *approver, const uint8_t bytes[SCALAR_BYTES], BN_CTX *context)
{
    BIGNUM *limit = BN_dup(EC_GROUP_get0_order(approver->group));
    approver->scalar = BN_secure_new();
    bool made = limit != NULL && approver->scalar != NULL && BN_sub_word(limit, 1) == 1 &&
                BN_bin2bn(bytes, SCALAR_BYTES, approver->scalar) != NULL &&
                BN_mod(approver->scalar, approver->scalar, limit, context) == 1 && BN_add_word(approver->scalar, 1) == 1;
    BN_free(limit);
    return made;
}

static bool point_make(struct approver *approver, BN_CTX *context)
{
    approver->point = EC_POINT_new(approver->group);
    return approver->point != NULL &&
           EC_POINT_mul(approver->group, approver->point, approver->scalar, NULL, NULL, context) == 1 &&
           EC_POINT_point2oct(approver->group, approver->point, POINT_CONVERSION_UNCOMPRESSED, approver->public,
                              POINT_BYTES, context) == POINT_BYTES;
}

static bool key_make(struct approver *approver)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM *parameters = NULL;
    bool made = build != NULL && context != NULL &&
                OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
                OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, approver->scalar) == 1 &&
                OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, approver->public, POINT_BYTES) == 1 &&
                (parameters = OSSL_PARAM_BLD_to_param(build)) != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
                EVP_PKEY_fromdata(context, &approver->key, EVP_PKEY_KEYPAIR, parameters) == 1;
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    return made;
}

/* approver_forget() is due also where it failed. */
static enum error approver_derive(const uint8_t key[KEY_SIZE], const uint8_t reference[TPM_REFERENCE_SIZE],
                                  struct approver *approver)
{
    uint8_t bytes[SCALAR_BYTES];
    *approver = (struct approver){0};
    TRY(kdf_derive(key, "coffer1/tpm-approver", reference, TPM_REFERENCE_SIZE, bytes, sizeof bytes));
    BN_CTX *context = BN_CTX_secure_new();
    approver->group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    bool made = context != NULL && approver->group != NULL && scalar_make(approver, bytes, context) &&
                point_make(approver, context) && key_make(approver);
    memory_cleanse(bytes, sizeof bytes);
    BN_CTX_free(context);
    return made ? ERROR_NONE : error_from_openssl("make the key that approves");
}

static bool signature_split(const uint8_t *der, size_t size, uint8_t signature[TPM_APPROVER_SIZE])
{
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &der, (long)size);
    bool split = parsed != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(parsed), signature, COORDINATE) == COORDINATE &&
                 BN_bn2binpad(ECDSA_SIG_get0_s(parsed), signature + COORDINATE, COORDINATE) == COORDINATE;
    ECDSA_SIG_free(parsed);
    return split;
}

static enum error sign(const struct approver *approver, const uint8_t message[TPM_PCR_SIZE],
                       uint8_t signature[TPM_APPROVER_SIZE])
{
    uint8_t der[80];
    size_t size = sizeof der;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(approver->key, NULL);
    bool done = context != NULL && EVP_PKEY_sign_init(context) == 1 &&
                EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1 &&
                EVP_PKEY_sign(context, der, &size, message, TPM_PCR_SIZE) == 1 && signature_split(der, size, signature);
    EVP_PKEY_CTX_free(context);
    return done ? ERROR_NONE : error_from_openssl("sign an approval");
}

/* ---- bindings ---------------------------------------------------------------------------------------------------- */

enum error tpm_policy_begin(uint32_t pcrs, const uint8_t key[KEY_SIZE], struct tpm_binding *binding)
{
    struct approver approver;
    *binding = (struct tpm_binding){.pcrs = pcrs};
    random_bytes(binding->reference, sizeof binding->reference);
    enum error error = approver_derive(key, binding->reference, &approver);
    if (error == ERROR_NONE)
        memcpy(binding->approver, approver.public + 1, TPM_APPROVER_SIZE);
    approver_forget(&approver);
    return error;
}

static void approval_put(struct tpm_binding *binding, const struct tpm_approval *approval)
{
    uint32_t at = 0;
    while (at < binding->approval_count && memcmp(binding->approvals[at].digest, approval->digest, TPM_PCR_SIZE) != 0)
        at++;
    if (at == TPM_APPROVALS_MAX)
        at = 0;
    if (at < binding->approval_count) {
        binding->approval_count--;
        memmove(&binding->approvals[at], &binding->approvals[at + 1], (binding->approval_count - at) * sizeof *approval);
    }
    binding->approvals[binding->approval_count++] = *approval;
}

enum error tpm_policy_approve(const uint8_t key[KEY_SIZE], const uint8_t digest[TPM_PCR_SIZE], struct tpm_binding *binding)
{
    struct approver approver;
    struct tpm_approval approval;
    uint8_t message[TPM_PCR_SIZE];
    memcpy(approval.digest, digest, TPM_PCR_SIZE);
    TRY(tpm_policy_message(binding, digest, message));
    enum error error = approver_derive(key, binding->reference, &approver);
    if (error == ERROR_NONE && memcmp(approver.public + 1, binding->approver, TPM_APPROVER_SIZE) != 0)
        error = error_explain(ERROR_FOREIGN, "this key is not the one that the TPM sealed");
    if (error == ERROR_NONE)
        error = sign(&approver, message, approval.signature);
    approver_forget(&approver);
    if (error == ERROR_NONE)
        approval_put(binding, &approval);
    return error;
}
