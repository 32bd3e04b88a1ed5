/*
 * The native provider's seal `tpm`: the KDK stands in an object that only the TPM which sealed it can load (tpm.c).
 *
 * What is sealed is unsealed again before a file says it. The file is replaced as a whole, when all that it says was proved: a
 * crash leaves the old key or the new one, which both open. Whoever changes it has the KDK: out of the TPM, or out of the copy.
 * No state. The pool directory is locked from the look at which key the file holds until another one has its name, as it is where
 * a new root comes into force and where it takes that name (rekey.c, provider_root.c): else a root that came in between would be
 * replaced by the one before, or what was done to that one go with it.
 */
#include "crypto/provider_tpm.h"

#include <string.h>

#include "base/directory_lock.h"
#include "base/memory.h"
#include "crypto/provider_native.h"
#include "crypto/registers.h"
#include "crypto/tpm_policy.h"

static struct tpm_access access_of(const struct provider_config *config, const struct provider_secret *secret)
{
    struct tpm_access access = {.tcti = config->tcti};
    if (secret != NULL && secret->passphrase != NULL) {
        access.pin = secret->passphrase;
        access.pin_size = secret->passphrase_size;
    }
    return access;
}

static enum error pin_check(const struct provider_secret *pin)
{
    if (pin == NULL || pin->passphrase == NULL)
        return ERROR_NONE;
    if (pin->passphrase_size == 0)
        return error_explain(ERROR_INVALID, "the PIN is empty");
    return pin->passphrase_size <= PASSPHRASE_MAX
               ? ERROR_NONE
               : error_explain(ERROR_TOO_LARGE, "the PIN is longer than %d bytes", PASSPHRASE_MAX);
}

/* ---- the table's operations -------------------------------------------------------------------------------------- */

static enum error tpm_seal_check(const struct provider_config *config)
{
    struct tpm_access access = access_of(config, NULL);
    return tpm_check(&access);
}

/* What it says of copies is not for a key that is to be sealed. */
static enum error sealed_by_another(const struct provider_config *config, enum error error)
{
    if (error != ERROR_FOREIGN)
        return error;
    return error_explain(error, "the TPM at %s is not the one that sealed %s, or was cleared since: nothing is sealed in it. "
                                "Where another one is meant, `key tpm reseal --copy`, or a new root once that file is moved "
                                "away",
                         config->tcti == NULL ? TPM_TCTI_DEFAULT : config->tcti, config->path);
}

/* In the TPM that sealed what is in `before`, whose Name is known: on the way to it anybody may answer instead. NULL: nothing
 * is sealed yet. */
static enum error seal_and_prove(const struct provider_config *config, const struct provider_secret *pin,
                                 const uint8_t kdk[KEY_SIZE], const struct sealed_key *before, struct sealed_key *sealed)
{
    struct tpm_access access = access_of(config, pin);
    uint8_t back[KEY_SIZE];
    *sealed = (struct sealed_key){.seal = SEAL_TPM, .provider = config->id};
    TRY(pin_check(pin));
    TRY(kcv_derive(kdk, config->id, sealed->kcv));
    TRY(tpm_seal(&access, config->pcrs, kdk, before == NULL ? NULL : &before->tpm, &sealed->tpm));
    enum error error = tpm_unseal(&access, &sealed->tpm, back);
    if (error == ERROR_NONE)
        error = native_key_check(config, sealed, back);
    memory_cleanse(back, sizeof(back));
    return error;
}

static enum error key_make(const struct provider_config *config, const struct provider_secret *secret,
                           const struct sealed_key *before, uint8_t kdk[KEY_SIZE])
{
    struct sealed_key sealed;
    uint8_t fresh[KEY_SIZE];
    enum error error = key_generate(fresh);
    if (error == ERROR_NONE)
        error = seal_and_prove(config, secret, fresh, before, &sealed);
    if (error == ERROR_NONE)
        error = native_key_store(config->path, &sealed);
    if (error == ERROR_NONE)
        memcpy(kdk, fresh, KEY_SIZE);
    memory_cleanse(fresh, sizeof(fresh));
    return error;
}

static enum error tpm_seal_create(const struct provider_config *config, const struct provider_secret *secret,
                                  uint8_t kdk[KEY_SIZE])
{
    return key_make(config, secret, NULL, kdk);
}

/* The new one gets no PIN that the present one has not, unless it is a fresh one, and is let off neither PIN nor PCRs: approved
 * is what they are now. */
static enum error tpm_seal_create_like(const struct provider_config *config, const struct provider_config *present,
                                       const struct provider_secret *secret, bool fresh, uint8_t kdk[KEY_SIZE])
{
    struct provider_config like = *config;
    struct sealed_key before;
    TRY(native_key_load(present, SEAL_TPM, &before));
    like.pcrs = before.tpm.flags & TPM_FLAG_PCRS ? before.tpm.binding.pcrs : 0;
    bool pinned = before.tpm.flags & TPM_FLAG_PIN;
    if (pinned && (secret == NULL || secret->passphrase == NULL))
        return error_explain(ERROR_LOCKED, "the key of provider %s has a PIN, and the new one needs one too: "
                                           "--new-passphrase-file FILE (-: standard input) gives it", config->name);
    return sealed_by_another(present, key_make(&like, pinned || fresh ? secret : NULL, &before, kdk));
}

/* Who gives a passphrase where no PIN is needed gets the key all the same: coffer unlock asks when in doubt. */
static enum error tpm_seal_open(const struct provider_config *config, const struct provider_secret *secret,
                                uint8_t kdk[KEY_SIZE])
{
    struct tpm_access access = access_of(config, secret);
    struct sealed_key sealed;
    uint8_t found[KEY_SIZE];
    TRY(native_key_load(config, SEAL_TPM, &sealed));
    enum error error = tpm_unseal(&access, &sealed.tpm, found);
    if (error == ERROR_NONE)
        error = native_key_check(config, &sealed, found);
    if (error == ERROR_NONE)
        memcpy(kdk, found, KEY_SIZE);
    memory_cleanse(found, sizeof(found));
    return error;
}

const struct provider_ops provider_native_tpm = {.type = "native",
                                                 .seal = "tpm",
                                                 .needs_passphrase = false,
                                                 .check = tpm_seal_check,
                                                 .create = tpm_seal_create,
                                                 .create_like = tpm_seal_create_like,
                                                 .open = tpm_seal_open};

/* ---- what else is done with it ----------------------------------------------------------------------------------- */

/* The key of `sealed`, which was loaded. A copy may be one of before `coffer key rekey --new-root`. */
static enum error kdk_get(const struct provider_config *config, const struct sealed_key *sealed, const struct tpm_way *way,
                          uint8_t kdk[KEY_SIZE])
{
    if (way->copy == NULL)
        return tpm_seal_open(config, &way->pin, kdk);
    struct provider_config copy = *config;
    copy.path = way->copy;
    copy.seal = seal_name(SEAL_PASSPHRASE);
    TRY(provider_native_passphrase.open(&copy, &way->copy_secret, kdk));
    if (native_key_check(config, sealed, kdk) == ERROR_NONE)
        return ERROR_NONE;
    memory_cleanse(kdk, KEY_SIZE);
    return error_explain(ERROR_FOREIGN, "%s is no copy of the key that is in %s: that one is a newer one (`coffer key rekey "
                                        "--new-root`), or damaged", way->copy, config->path);
}

/* A change of keys by a daemon may have put a new key there, while this one asked and the TPM worked; it puts none there under
 * the lock. */
static enum error replace_locked(const struct provider_config *config, const struct sealed_key *sealed)
{
    struct sealed_key now;
    enum error error = native_key_load(config, SEAL_TPM, &now);
    if (error == ERROR_NOT_FOUND)
        return error_explain(ERROR_AGAIN, "%s took the place of the old root meanwhile: nothing was changed, try again",
                             config->path);
    TRY(error);
    if (memcmp(now.kcv, sealed->kcv, KCV_SIZE) != 0)
        return error_explain(ERROR_AGAIN, "%s became another key meanwhile: nothing was changed, try again", config->path);
    return native_key_replace(config->path, sealed);
}

static enum error replace(const struct provider_config *config, const struct tpm_way *way, const struct sealed_key *sealed)
{
    int lock;
    TRY(directory_lock(way->directory, &lock));
    enum error error = way->counts == NULL ? ERROR_NONE : way->counts(way->context);
    if (error == ERROR_NONE)
        error = replace_locked(config, sealed);
    directory_unlock(lock);
    return error;
}

enum error provider_tpm_look(const struct provider_config *config, uint32_t *flags, struct tpm_binding *binding)
{
    struct sealed_key sealed;
    TRY(native_key_load(config, SEAL_TPM, &sealed));
    *flags = sealed.tpm.flags;
    *binding = sealed.tpm.binding;
    return ERROR_NONE;
}

enum error provider_tpm_ready(const struct provider_config *config, bool unseal, bool *pin)
{
    struct tpm_access access = access_of(config, NULL);
    struct sealed_key sealed;
    uint8_t kdk[KEY_SIZE];
    TRY(native_key_load(config, SEAL_TPM, &sealed));
    *pin = sealed.tpm.flags & TPM_FLAG_PIN;
    if (*pin || !unseal)
        return tpm_look(&access, &sealed.tpm);
    enum error error = tpm_unseal(&access, &sealed.tpm, kdk);
    if (error == ERROR_NONE)
        error = native_key_check(config, &sealed, kdk);
    memory_cleanse(kdk, sizeof(kdk));
    registers_cleanse();
    return error;
}

static enum error bound_load(const struct provider_config *config, struct sealed_key *sealed)
{
    TRY(native_key_load(config, SEAL_TPM, sealed));
    return sealed->tpm.flags & TPM_FLAG_PCRS
               ? ERROR_NONE
               : error_explain(ERROR_INVALID, "the key of provider %s is bound to no PCRs: there is nothing to approve",
                               config->name);
}

enum error provider_tpm_digest(const struct provider_config *config, uint32_t next_pcrs,
                               const uint8_t next[TPM_PCRS][TPM_PCR_SIZE], uint8_t digest[TPM_PCR_SIZE])
{
    struct tpm_access access = access_of(config, NULL);
    struct sealed_key sealed;
    uint8_t values[TPM_PCRS][TPM_PCR_SIZE];
    TRY(bound_load(config, &sealed));
    uint32_t pcrs = sealed.tpm.binding.pcrs;
    if (next_pcrs & ~pcrs)
        return error_explain(ERROR_INVALID, "the key of provider %s is not bound to PCR %d", config->name,
                             __builtin_ctz(next_pcrs & ~pcrs));
    memcpy(values, next, sizeof(values));
    TRY(tpm_pcrs_read(&access, &sealed.tpm, pcrs & ~next_pcrs, values));
    return tpm_policy_digest(pcrs, (const uint8_t(*)[TPM_PCR_SIZE])values, digest);
}

enum error provider_tpm_approve(const struct provider_config *config, const struct tpm_way *way,
                                const uint8_t digest[TPM_PCR_SIZE])
{
    struct sealed_key sealed;
    uint8_t kdk[KEY_SIZE];
    TRY(bound_load(config, &sealed));
    TRY(kdk_get(config, &sealed, way, kdk));
    enum error error = tpm_policy_approve(kdk, digest, &sealed.tpm.binding);
    memory_cleanse(kdk, sizeof(kdk));
    return error == ERROR_NONE ? replace(config, way, &sealed) : error;
}

enum error provider_tpm_reseal(const struct provider_config *config, const struct tpm_way *way,
                               const struct provider_secret *pin)
{
    struct sealed_key before, sealed;
    uint8_t kdk[KEY_SIZE];
    TRY(native_key_load(config, SEAL_TPM, &before));
    TRY(kdk_get(config, &before, way, kdk));
    enum error error = native_key_check(config, &before, kdk);
    if (error == ERROR_NONE)
        error = sealed_by_another(config,
                                  seal_and_prove(config, pin, kdk, way->copy == NULL ? &before : NULL, &sealed));
    memory_cleanse(kdk, sizeof(kdk));
    return error == ERROR_NONE ? replace(config, way, &sealed) : error;
}

enum error provider_tpm_copy(const struct provider_config *config, const struct provider_secret *pin, const char *path,
                             const struct provider_secret *copy)
{
    uint8_t kdk[KEY_SIZE];
    TRY(tpm_seal_open(config, pin, kdk));
    enum error error = provider_copy_create(config, path, copy, kdk);
    memory_cleanse(kdk, sizeof(kdk));
    return error;
}
