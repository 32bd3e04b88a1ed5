/*
 * A key sealed in a TPM 2.0 (TCG TPM 2.0 Library, by tpm2-tss' ESAPI): what of it lies in a file, sealing and unsealing.
 *
 * The sealed object has fixedTPM and fixedParent: no other TPM, and no other parent, can load it. Without a PIN it has
 * noDA, so that unclean ends of the machine, which a TPM counts as attempts, never lock it; with one it has not, so that
 * the TPM limits who tries PINs. Where a policy guards it, userWithAuth is clear: else an empty password would open it.
 */
#ifndef COFFER_CRYPTO_TPM_H
#define COFFER_CRYPTO_TPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/kdf.h"

#define TPM_TCTI_DEFAULT  "device:/dev/tpmrm0"
#define TPM_TCTI_SIZE_MAX 255
#define TPM_NAME_SIZE     34 /* algorithm 2, SHA-256 32 */
#define TPM_POLICY_SIZE   32
#define TPM_PUBLIC_MAX    256
#define TPM_PRIVATE_MAX   512
#define TPM_FLAG_PIN      1u
#define TPM_FLAG_PCRS     2u
#define TPM_PCRS          24 /* of the SHA-256 bank */
#define TPM_PCR_SIZE      32
#define TPM_APPROVER_SIZE 64 /* x and y on P-256 */
#define TPM_REFERENCE_SIZE 16
#define TPM_APPROVALS_MAX 8

/* That the object may be opened where the PCRs digest to this; signed by the approver (tpm_policy.h). */
struct tpm_approval {
    uint8_t digest[TPM_PCR_SIZE];
    uint8_t signature[TPM_APPROVER_SIZE]; /* r and s */
};

/* With TPM_FLAG_PCRS: to which PCRs the object is bound, and what their values may be. Without, all is zero. */
struct tpm_binding {
    uint32_t pcrs;                         /* bit n: PCR n; not 0 */
    uint32_t approval_count;               /* 1 to TPM_APPROVALS_MAX, oldest first */
    uint8_t approver[TPM_APPROVER_SIZE];
    uint8_t reference[TPM_REFERENCE_SIZE]; /* random, of this object: no approval fits another */
    struct tpm_approval approvals[TPM_APPROVALS_MAX];
};

struct tpm_sealed {
    uint32_t flags; /* as the file says */
    uint8_t primary[TPM_NAME_SIZE];
    uint8_t endorsement[TPM_NAME_SIZE]; /* all zero: not known */
    uint32_t public_size, private_size; /* 1 to TPM_PUBLIC_MAX, TPM_PRIVATE_MAX */
    uint8_t public[TPM_PUBLIC_MAX];     /* TPM2B_PUBLIC as the TPM writes it */
    uint8_t private[TPM_PRIVATE_MAX];   /* TPM2B_PRIVATE */
    struct tpm_binding binding;
};

struct tpm_access {
    const char *tcti; /* NULL: TPM_TCTI_DEFAULT */
    const char *pin;  /* NULL: none */
    size_t pin_size;
};

/* Whether a conf may name it: one of the transports device, swtpm, mssim and tabrmd with its settings. What else a TCTI
 * could be loads a library, or runs a command, of whoever wrote the conf. ERROR_INVALID. */
enum error tpm_tcti_check(const char *tcti) CHECKED;

/* Whether a key can be sealed there: a TPM answers, and has a storage primary. Changes nothing in it. */
enum error tpm_check(const struct tpm_access *access) CHECKED;

/* What the PCRs of `pcrs` hold; the others' values stay as they are. Authenticated where `sealed`, which may be NULL,
 * names the TPM. Errors as those of tpm_unseal(). */
enum error tpm_pcrs_read(const struct tpm_access *access, const struct tpm_sealed *sealed, uint32_t pcrs,
                         uint8_t values[TPM_PCRS][TPM_PCR_SIZE]) CHECKED;

/* Seals `key`. `pcrs` 0: whoever has this TPM (and the PIN) opens it; else only where the PCRs of this mask have values that
 * somebody who has the key approved, and first those of now. In no other TPM than the one that sealed `before` (ERROR_FOREIGN);
 * NULL: in whichever answers, which may be anybody's. Errors as those of tpm_unseal(). */
enum error tpm_seal(const struct tpm_access *access, uint32_t pcrs, const uint8_t key[KEY_SIZE],
                    const struct tpm_sealed *before, struct tpm_sealed *sealed) CHECKED;

/* ERROR_KEY_ABSENT: no TPM answers; ERROR_ACCESS: not allowed to use it; ERROR_BUSY: it is in use, or locked out after
 * wrong PINs; ERROR_FOREIGN: it is not the one that sealed, or was cleared; ERROR_WRONG_KEY: wrong PIN; ERROR_LOCKED: a PIN
 * is needed; ERROR_UNCONFIRMED: its PCRs have values that nobody approved; ERROR_CORRUPT: what is sealed is damaged;
 * ERROR_FORGED: something between here and the TPM changes messages, or an approval is false; ERROR_IO: whatever else the
 * TPM refuses. Each sentence says what to type. */
enum error tpm_unseal(const struct tpm_access *access, const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE]) CHECKED;

/* All of tpm_unseal() that needs no PIN and takes no key out: the TPM answers, is the one that sealed, takes the object back, its
 * PCRs have values that were approved, and where the key has a PIN it takes PINs now. Counts as no attempt. Errors as those of
 * tpm_unseal(), but ERROR_LOCKED and ERROR_WRONG_KEY. */
enum error tpm_look(const struct tpm_access *access, const struct tpm_sealed *sealed) CHECKED;

#endif
