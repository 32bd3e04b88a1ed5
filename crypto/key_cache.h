/*
 * A KEK of key servers, kept for a while where only this machine's TPM gives it back, so that a pool opens while no server can be
 * reached (coffer.conf: [provider NAME] tpm-cache = 7d). One file a provider, that of its key in force.
 */
#ifndef COFFER_CRYPTO_KEY_CACHE_H
#define COFFER_CRYPTO_KEY_CACHE_H

#include "crypto/cached_key.h"

#define KEY_CACHE_SECONDS_MIN UINT64_C(3600)
#define KEY_CACHE_SECONDS_MAX (UINT64_C(366) * 86400)

/* Seals a key that a server gave at `now` (seconds since 1970), has the TPM give it back, and replaces the file, whose bytes of
 * before are overwritten. In no other TPM than the one that sealed the file of before (ERROR_FOREIGN). Errors as tpm_seal()'s
 * and file_replace()'s; ERROR_FOREIGN also as key_cache_destroy()'s. */
enum error key_cache_store(const struct provider_config *config, const struct provider_kek *which, const char *key_id, uint64_t now,
                           const uint8_t kek[KEY_SIZE]) CHECKED;

/* What the file says; nothing vouches for it. ERROR_NOT_FOUND: there is none; ERROR_CORRUPT, ERROR_NEWER_FORMAT, ERROR_ACCESS:
 * others may read it; ERROR_FOREIGN: of another pool or provider. */
enum error key_cache_look(const struct provider_config *config, struct uuid pool, struct cached_key *cached) CHECKED;

/* Whether it still opens the pool. ERROR_TIMED_OUT: it is older than the conf allows; ERROR_ROLLED_BACK: the clock stands before
 * the time at which the key was fetched. */
enum error key_cache_check_age(const struct provider_config *config, const struct cached_key *cached, uint64_t now) CHECKED;

/* The key. ERROR_KEY_ABSENT: another KEK is cached; ERROR_FORGED: the file was changed; else as the two before, and
 * tpm_unseal()'s. `*cached` is what it says. */
enum error key_cache_open(const struct provider_config *config, const struct provider_kek *which, uint64_t now,
                          uint8_t kek[KEY_SIZE], struct cached_key *cached) CHECKED;

/* Overwrites and removes the file, also what damage or a crash left of it; `*was`, which may be NULL: there was one.
 * ERROR_FOREIGN: what has its name is something else than a cache of this pool, and stays. */
enum error key_cache_destroy(const struct provider_config *config, struct uuid pool, bool *was) CHECKED;
/* The same, and tells that and why where there was one. */
enum error key_cache_drop(const struct provider_config *config, struct uuid pool, const char *why) CHECKED;
/* The same where it holds this KEK; tells what failed. */
void key_cache_end(const struct provider_config *config, const struct provider_kek *which, const char *why);

#endif
