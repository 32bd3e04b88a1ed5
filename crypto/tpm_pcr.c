/*
 * PCRs of a TPM that answers.
 *
 * A policy is satisfied in this order: the TPM puts its PCRs into the session; what that comes to must be the policy of one
 * of the approvals; the TPM itself verifies the approval's signature and gives a ticket for it, with which PolicyAuthorize
 * turns the session's policy into the object's. A signature that is false gives no ticket: the key file is not trusted. No
 * state, nothing on disk.
 */
#include "crypto/tpm_pcr.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/tpm_policy.h"

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* A TPM gives a few at a time. Which came is taken out of `*left`. */
static enum error values_take(struct tpm_link *link, const TPML_PCR_SELECTION *which, const TPML_DIGEST *digests,
                              uint32_t *left, uint8_t values[TPM_PCRS][TPM_PCR_SIZE])
{
    uint32_t before = *left, next = 0;
    for (unsigned i = 0; i < TPM_PCRS && which->count == 1; i++) {
        bool came = which->pcrSelections[0].pcrSelect[i / 8] >> i % 8 & 1;
        if (!came || !(*left & UINT32_C(1) << i))
            continue;
        if (next == digests->count || digests->digests[next].size != TPM_PCR_SIZE)
            break;
        memcpy(values[i], digests->digests[next++].buffer, TPM_PCR_SIZE);
        *left &= ~(UINT32_C(1) << i);
    }
    return *left != before ? ERROR_NONE
                           : error_explain(ERROR_UNSUPPORTED, "the TPM at %s has no PCRs of SHA-256", link->place);
}

static enum error some_read(struct tpm_link *link, uint32_t *left, uint8_t values[TPM_PCRS][TPM_PCR_SIZE])
{
    TPML_PCR_SELECTION wanted = tpm_policy_selection(*left), *which = NULL;
    TPML_DIGEST *digests = NULL;
    TRY(tpm_link_error(link,
                       Esys_PCR_Read(link->esys, link->session, ESYS_TR_NONE, ESYS_TR_NONE, &wanted, NULL, &which, &digests),
                       "read its PCRs"));
    enum error error = values_take(link, which, digests, left, values);
    Esys_Free(which);
    Esys_Free(digests);
    return error;
}

static enum error attributes_set(struct tpm_link *link, TPMA_SESSION attributes)
{
    return tpm_link_error(link, Esys_TRSess_SetAttributes(link->esys, link->session, attributes, 0xff), "use a session");
}

enum error tpm_pcr_read(struct tpm_link *link, uint32_t pcrs, uint8_t values[TPM_PCRS][TPM_PCR_SIZE])
{
    TPMA_SESSION before;
    TRY(tpm_link_error(link, Esys_TRSess_GetAttributes(link->esys, link->session, &before), "use a session"));
    TRY(attributes_set(link, TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_AUDIT)); /* these answers cannot be encrypted */
    for (uint32_t left = pcrs; left != 0;)
        TRY(some_read(link, &left, values));
    return attributes_set(link, before);
}

/* ---- satisfying a policy ----------------------------------------------------------------------------------------- */

static void pcrs_print(uint32_t pcrs, char text[TPM_PCRS * 4])
{
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < TPM_PCRS; i++)
        if (pcrs & UINT32_C(1) << i)
            used += (size_t)snprintf(text + used, TPM_PCRS * 4 - used, "%s%u", used == 0 ? "" : ", ", i);
}

static enum error not_approved(struct tpm_link *link, const struct tpm_binding *binding)
{
    char text[TPM_PCRS * 4];
    pcrs_print(binding->pcrs, text);
    return error_explain(ERROR_UNCONFIRMED,
                         "the PCRs (%s) of the TPM at %s have values that nobody approved: firmware, its settings or what was "
                         "booted is not what it was; where you know why, `coffer key tpm approve --copy FILE`, by the copy of "
                         "the key, approves them",
                         text, link->place);
}

/* The approval of what the session's PCRs came to. */
static enum error approval_find(struct tpm_link *link, const struct tpm_binding *binding,
                                const struct tpm_approval **approval, uint8_t policy[TPM_POLICY_SIZE])
{
    TPM2B_DIGEST *found;
    TRY(tpm_link_error(link, Esys_PolicyGetDigest(link->esys, link->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &found),
                       "tell a policy"));
    enum error error = ERROR_NONE;
    *approval = NULL;
    for (uint32_t i = 0; i < binding->approval_count && *approval == NULL && error == ERROR_NONE; i++) {
        error = tpm_policy_approved(binding->pcrs, binding->approvals[i].digest, policy);
        if (error == ERROR_NONE && found->size == TPM_POLICY_SIZE && memcmp(found->buffer, policy, TPM_POLICY_SIZE) == 0)
            *approval = &binding->approvals[i];
    }
    Esys_Free(found);
    TRY(error);
    return *approval != NULL ? ERROR_NONE : not_approved(link, binding);
}

/* The TPM's word that the approver signed it. */
static enum error ticket_get(struct tpm_link *link, const struct tpm_binding *binding, const struct tpm_approval *approval,
                             TPMT_TK_VERIFIED **ticket, TPM2B_NAME **name)
{
    TPM2B_PUBLIC public = tpm_policy_approver(binding);
    TPM2B_DIGEST message = {.size = TPM_PCR_SIZE};
    TPMT_SIGNATURE signature = {.sigAlg = TPM2_ALG_ECDSA, .signature.ecdsa = {.hash = TPM2_ALG_SHA256}};
    TPMS_SIGNATURE_ECC *ecdsa = &signature.signature.ecdsa;
    ecdsa->signatureR.size = ecdsa->signatureS.size = TPM_APPROVER_SIZE / 2;
    memcpy(ecdsa->signatureR.buffer, approval->signature, TPM_APPROVER_SIZE / 2);
    memcpy(ecdsa->signatureS.buffer, approval->signature + TPM_APPROVER_SIZE / 2, TPM_APPROVER_SIZE / 2);
    TRY(tpm_policy_message(binding, approval->digest, message.buffer));
    TSS2_RC code;
    do
        code = Esys_LoadExternal(link->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL, &public, ESYS_TR_RH_OWNER,
                                 &link->object);
    while (tpm_link_again(link, code));
    if (code == TSS2_RC_SUCCESS)
        code = Esys_TR_GetName(link->esys, link->object, name);
    if (code == TSS2_RC_SUCCESS)
        code = Esys_VerifySignature(link->esys, link->object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &message, &signature,
                                    ticket);
    tpm_link_flush(link, &link->object);
    if (tpm_faults_parameter(code))
        return error_explain(ERROR_FORGED, "an approval of the PCRs' values in the key file is not of the key that approves: "
                                           "put the file's copy back");
    return tpm_link_error(link, code, "verify an approval");
}

static enum error authorize(struct tpm_link *link, const struct tpm_binding *binding, const struct tpm_approval *approval,
                            const uint8_t policy[TPM_POLICY_SIZE])
{
    TPMT_TK_VERIFIED *ticket = NULL;
    TPM2B_NAME *name = NULL;
    TPM2B_DIGEST approved = {.size = TPM_POLICY_SIZE};
    TPM2B_NONCE reference = {.size = TPM_REFERENCE_SIZE};
    memcpy(approved.buffer, policy, TPM_POLICY_SIZE);
    memcpy(reference.buffer, binding->reference, TPM_REFERENCE_SIZE);
    enum error error = ticket_get(link, binding, approval, &ticket, &name);
    if (error == ERROR_NONE)
        error = tpm_link_error(link,
                               Esys_PolicyAuthorize(link->esys, link->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                    &approved, &reference, name, ticket),
                               "take an approval");
    Esys_Free(ticket);
    Esys_Free(name);
    return error;
}

enum error tpm_pcr_satisfy(struct tpm_link *link, const struct tpm_binding *binding, bool pin)
{
    static const TPM2B_DIGEST of_now;
    const TPML_PCR_SELECTION selection = tpm_policy_selection(binding->pcrs);
    const struct tpm_approval *approval;
    uint8_t policy[TPM_POLICY_SIZE];
    TRY(tpm_link_error(link,
                       Esys_PolicyPCR(link->esys, link->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &of_now, &selection),
                       "look at its PCRs"));
    TRY(approval_find(link, binding, &approval, policy));
    TRY(authorize(link, binding, approval, policy));
    if (!pin)
        return ERROR_NONE;
    return tpm_link_error(link, Esys_PolicyAuthValue(link->esys, link->policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE),
                          "take the PIN");
}
