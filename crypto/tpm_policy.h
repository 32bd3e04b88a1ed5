/*
 * Which values of its PCRs a sealed object accepts (TCG TPM 2.0 Library, parts 1 and 3), as far as that is computed here.
 *
 *   approver         scalar = KBKDF(KDK, "coffer1/tpm-approver", reference), 48 bytes, mod (n - 1) + 1; ECDSA on P-256
 *   approved policy  SHA-256(zero 32 | TPM_CC_PolicyPCR | selection | SHA-256(the PCRs' values))
 *   approval         ECDSA-SHA-256(approver, approved policy | reference)
 *   object's policy  PolicyAuthorize(Name of the approver, reference), with a PIN then PolicyAuthValue
 *
 * Who has the KDK can approve, and nobody else: the scalar is derived where it is used and lies nowhere. A new object has a new
 * reference, so that what was approved for the old one is worth nothing for it.
 */
#ifndef COFFER_CRYPTO_TPM_POLICY_H
#define COFFER_CRYPTO_TPM_POLICY_H

#include <tss2/tss2_tpm2_types.h>

#include "base/error.h"
#include "crypto/tpm.h"

TPML_PCR_SELECTION tpm_policy_selection(uint32_t pcrs);
/* The approver as an object that a TPM loads, to verify by it. */
TPM2B_PUBLIC tpm_policy_approver(const struct tpm_binding *binding);

/* SHA-256 over the values of the PCRs of the mask, rising. */
enum error tpm_policy_digest(uint32_t pcrs, const uint8_t values[TPM_PCRS][TPM_PCR_SIZE],
                             uint8_t digest[TPM_PCR_SIZE]) CHECKED;
enum error tpm_policy_approved(uint32_t pcrs, const uint8_t digest[TPM_PCR_SIZE], uint8_t policy[TPM_POLICY_SIZE]) CHECKED;
enum error tpm_policy_object(const struct tpm_binding *binding, bool pin, uint8_t policy[TPM_POLICY_SIZE]) CHECKED;
/* What the approver signs, digested. */
enum error tpm_policy_message(const struct tpm_binding *binding, const uint8_t digest[TPM_PCR_SIZE],
                              uint8_t message[TPM_PCR_SIZE]) CHECKED;

/* A binding without approvals. */
enum error tpm_policy_begin(uint32_t pcrs, const uint8_t key[KEY_SIZE], struct tpm_binding *binding) CHECKED;
/* Adds an approval, or makes one that is there the newest; where there is no room the oldest goes. ERROR_FOREIGN: the key
 * is not the one of the binding. */
enum error tpm_policy_approve(const uint8_t key[KEY_SIZE], const uint8_t digest[TPM_PCR_SIZE],
                              struct tpm_binding *binding) CHECKED;

#endif
