/* PCRs of a TPM that answers: reading them, and satisfying a policy by them. For crypto/tpm.c only. */
#ifndef COFFER_CRYPTO_TPM_PCR_H
#define COFFER_CRYPTO_TPM_PCR_H

#include "crypto/tpm_link.h"

/* With link->session, which authenticates the answer; its attributes are those of before. */
enum error tpm_pcr_read(struct tpm_link *link, uint32_t pcrs, uint8_t values[TPM_PCRS][TPM_PCR_SIZE]) CHECKED;
/* Brings link->policy to the policy of the object. ERROR_UNCONFIRMED: the PCRs have values that were not approved. */
enum error tpm_pcr_satisfy(struct tpm_link *link, const struct tpm_binding *binding, bool pin) CHECKED;

#endif
