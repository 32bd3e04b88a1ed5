/*
 * What can be told of a provider, and done with its old keys, without the key: whether it could make one, which key its file
 * holds, and the end of one that is in force no more.
 */
#ifndef COFFER_CRYPTO_PROVIDER_LOOK_H
#define COFFER_CRYPTO_PROVIDER_LOOK_H

#include "base/error.h"
#include "crypto/hierarchy.h"
#include "crypto/provider.h"

#define KEY_FILE_DIGEST_SIZE 32

/* Whether a key could be made there: the TPM answers, each KMIP server is reached and trusted, the place of the key file may
 * be written and has no file of another provider. Changes nothing; `which` names a key that servers need not have. */
enum error provider_ready_check(const struct provider_config *config, const struct provider_kek *which) CHECKED;

/* The KCV of the KDK of KEK `number`, as its file says. ERROR_UNSUPPORTED: the provider has no file; ERROR_NOT_FOUND: it is not
 * there; else as native_key_load(). */
enum error provider_root_kcv(const struct provider_config *config, uint64_t number, uint8_t kcv[KCV_SIZE]) CHECKED;

/* What the key file at `path` says of itself: of which provider it is, how the key is sealed ("file" …) and its KCV, which is
 * made anew of a key that lies there as it is. ERROR_CORRUPT, ERROR_WRONG_KEY; and file_read_private()'s. */
enum error provider_file_look(const char *path, struct uuid *provider, const char **seal, uint8_t kcv[KCV_SIZE]) CHECKED;
/* SHA-256 over the key file at `path`: it is another one when the key was sealed anew, or values of PCRs were approved. */
enum error provider_file_digest(const char *path, uint8_t digest[KEY_FILE_DIGEST_SIZE]) CHECKED;
/* Whether the TPM would open the KDK of KEK `number`, of a provider with the seal `tpm`: provider_tpm_ready() of its file. */
enum error provider_root_tpm(const struct provider_config *config, uint64_t number, bool unseal, bool *pin) CHECKED;

/* Ends an old KEK of a provider that keeps KEKs: Revoke on each server, with `destroy` Destroy as well; where a server has it
 * no more, that is well. Of one that keeps a KDK in a file: overwrites and removes the file, and wants `destroy` for it. That
 * nothing needs the key is the caller's to know. ERROR_INVALID; and the servers'. */
enum error provider_key_end(const struct provider_config *config, const struct provider_kek *which, bool destroy) CHECKED;

#endif
