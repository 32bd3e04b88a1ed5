/* What is done with a key that a TPM sealed, beside opening it: offline, on its file, which is replaced as a whole.
 * A daemon that changes the key meanwhile is kept away from the file by the pool directory's lock (base/directory_lock.h). */
#ifndef COFFER_CRYPTO_PROVIDER_TPM_H
#define COFFER_CRYPTO_PROVIDER_TPM_H

#include "crypto/provider.h"
#include "crypto/tpm.h"

/* How the KDK is had for it. */
struct tpm_way {
    struct provider_secret pin;         /* for the TPM, where `copy` is NULL */
    const char *copy;                   /* a file of provider_copy_create() */
    struct provider_secret copy_secret; /* its passphrase */
    const char *directory;              /* of the pool, which is locked while the file is replaced */
    /* Under that lock: whether the file is the one of the key in force still; ERROR_AGAIN. NULL: nobody else changes it. */
    enum error (*counts)(const void *context);
    const void *context;
};

/* What the file says, without asking the TPM. */
enum error provider_tpm_look(const struct provider_config *config, uint32_t *flags, struct tpm_binding *binding) CHECKED;

/* Whether the TPM would open the key that is in the file. Where that has no PIN, and `unseal`, the key is taken out and compared
 * with the file's check value, then wiped; else all but that is asked. *pin: it has one, which was not tried. Errors as those of
 * tpm_unseal() and native_key_load(). */
enum error provider_tpm_ready(const struct provider_config *config, bool unseal, bool *pin) CHECKED;

/* SHA-256 over the PCRs that the key is bound to, as they are now, but where bit n of `next_pcrs` is set, PCR n is next[n]. */
enum error provider_tpm_digest(const struct provider_config *config, uint32_t next_pcrs,
                               const uint8_t next[TPM_PCRS][TPM_PCR_SIZE], uint8_t digest[TPM_PCR_SIZE]) CHECKED;

/* Approves values of the PCRs by that digest. */
enum error provider_tpm_approve(const struct provider_config *config, const struct tpm_way *way,
                                const uint8_t digest[TPM_PCR_SIZE]) CHECKED;

/* Writes the KDK, out of the TPM, to the new file `path`, sealed by the passphrase of `copy`. ERROR_EXISTS. */
enum error provider_tpm_copy(const struct provider_config *config, const struct provider_secret *pin, const char *path,
                             const struct provider_secret *copy) CHECKED;

/* Seals the KDK anew in the TPM that answers: with this PIN or, where it has no passphrase, none; bound to config->pcrs.
 * What was approved before is worth nothing for it. */
enum error provider_tpm_reseal(const struct provider_config *config, const struct tpm_way *way,
                               const struct provider_secret *pin) CHECKED;

#endif
