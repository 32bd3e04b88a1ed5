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

struct tpm_sealed {
    uint32_t flags; /* as the file says */
    uint8_t primary[TPM_NAME_SIZE];
    uint8_t endorsement[TPM_NAME_SIZE]; /* all zero: not known */
    uint32_t public_size, private_size; /* 1 to TPM_PUBLIC_MAX, TPM_PRIVATE_MAX */
    uint8_t public[TPM_PUBLIC_MAX];     /* TPM2B_PUBLIC as the TPM writes it */
    uint8_t private[TPM_PRIVATE_MAX];   /* TPM2B_PRIVATE */
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

/* Seals `key`. `policy`, TPM_POLICY_SIZE bytes: only a session with this policy opens it; NULL: whoever has this TPM (and the
 * PIN) does. Errors as those of tpm_unseal(). */
enum error tpm_seal(const struct tpm_access *access, const uint8_t *policy, const uint8_t key[KEY_SIZE],
                    struct tpm_sealed *sealed) CHECKED;

/* ERROR_KEY_ABSENT: no TPM answers; ERROR_ACCESS: not allowed to use it; ERROR_BUSY: it is in use, or locked out after wrong
 * PINs; ERROR_FOREIGN: it is not the one that sealed, or was cleared; ERROR_WRONG_KEY: wrong PIN; ERROR_LOCKED: a PIN is
 * needed; ERROR_CORRUPT: what is sealed is damaged; ERROR_FORGED: something between here and the TPM changes messages;
 * ERROR_IO: whatever else the TPM refuses. Each sentence says what to type. */
enum error tpm_unseal(const struct tpm_access *access, const struct tpm_sealed *sealed, uint8_t key[KEY_SIZE]) CHECKED;

#endif
