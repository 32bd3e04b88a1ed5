/*
 * The native provider's seals, but for that of a TPM (provider_tpm.c), and its file.
 *
 *   file         the KDK stands in the file, whose mode is its only protection
 *   passphrase   wrapped = KWP(scrypt(passphrase, salt, N, r, p), KDK)
 *
 * The file is input like any other: owner, mode, format, id, seal and costs are checked before scrypt runs, since costs
 * decide how much memory and time are spent. What comes out counts only when the KCV fits. The file is created whole
 * or not at all, and where it is replaced, it is by another whole one: a crash leaves the old or the new. No locks, no state.
 */
#include "crypto/provider_native.h"

#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include "crypto/arena.h"
#include "crypto/openssl_error.h"
#include "crypto/overwrite.h"
#include "crypto/sealed_key.h"

static enum error passphrase_check(const struct provider_config *config, const struct provider_secret *secret,
                                   enum error missing)
{
    if (secret == NULL || secret->passphrase == NULL)
        return error_explain(missing, "provider %s needs a passphrase", config->name);
    if (secret->passphrase_size == 0)
        return error_explain(ERROR_INVALID, "the passphrase is empty");
    if (secret->passphrase_size > PASSPHRASE_MAX)
        return error_explain(ERROR_TOO_LARGE, "the passphrase is longer than %d bytes", PASSPHRASE_MAX);
    return ERROR_NONE;
}

static enum error costs_check(const struct provider_config *config, const struct sealed_key *sealed)
{
    if (sealed->scrypt_log2_n < SCRYPT_LOG2_N_FLOOR || sealed->scrypt_log2_n > SCRYPT_LOG2_N_CEILING ||
        sealed->scrypt_r != SCRYPT_R || sealed->scrypt_p != SCRYPT_P)
        return error_explain(ERROR_UNSUPPORTED,
                             "%s: scrypt costs N = 2^%u, r = %u, p = %u are refused (2^%d to 2^%d, %d, %d)",
                             config->path, sealed->scrypt_log2_n, sealed->scrypt_r, sealed->scrypt_p,
                             SCRYPT_LOG2_N_FLOOR, SCRYPT_LOG2_N_CEILING, SCRYPT_R, SCRYPT_P);
    return ERROR_NONE;
}

static enum error passphrase_stretch(const struct sealed_key *sealed, const struct provider_secret *secret,
                                     uint8_t wrap_key[KEY_SIZE])
{
    return scrypt_derive(secret->passphrase, secret->passphrase_size, sealed->salt, sizeof(sealed->salt),
                         sealed->scrypt_log2_n, wrap_key);
}

enum error native_key_check(const struct provider_config *config, const struct sealed_key *sealed,
                            const uint8_t kdk[KEY_SIZE])
{
    uint8_t kcv[KCV_SIZE];
    TRY(kcv_derive(kdk, sealed->provider, kcv));
    if (memory_compare_constant_time(kcv, sealed->kcv, KCV_SIZE) != 0)
        return error_explain(ERROR_CORRUPT, "%s is damaged: the key does not fit its check value", config->path);
    return ERROR_NONE;
}

static enum error text_make(const struct sealed_key *sealed, char **text, size_t *size)
{
    char *made = arena_allocate(SEALED_KEY_TEXT_MAX);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    enum error error = sealed_key_encode(sealed, made, size);
    if (error != ERROR_NONE)
        arena_free(made);
    else
        *text = made;
    return error;
}

enum error native_key_store(const char *path, const struct sealed_key *sealed)
{
    char *text;
    size_t size;
    TRY(text_make(sealed, &text, &size));
    enum error error = file_create(path, text, size);
    arena_free(text);
    return error;
}

enum error native_key_replace(const char *path, const struct sealed_key *sealed)
{
    char *text;
    size_t size;
    TRY(text_make(sealed, &text, &size));
    enum error error = overwrite_replace(path, text, size);
    arena_free(text);
    return error;
}

enum error native_key_read(const char *path, struct sealed_key *sealed)
{
    void *text = NULL;
    size_t size = 0;
    TRY(file_read_private(path, SEALED_KEY_TEXT_MAX, &text, &size));
    enum error error = sealed_key_decode(text, size, sealed);
    memory_free_cleansed(text);
    if (error == ERROR_CORRUPT)
        return error_prefix(error, "the key file %s is damaged: put its copy back", path);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", path);
}

enum error native_key_load(const struct provider_config *config, enum seal seal, struct sealed_key *sealed)
{
    TRY(native_key_read(config->path, sealed));
    if (!uuid_equal(sealed->provider, config->id))
        return error_explain(ERROR_FOREIGN,
                             "%s is the key of another pool: put this pool's key there (a backup of it), or name the "
                             "right file in coffer.conf, [provider %s] path",
                             config->path, config->name);
    if (sealed->seal != seal)
        return error_explain(ERROR_INVALID, "%s is sealed by %s, but the conf says seal = %s", config->path,
                             seal_name(sealed->seal), seal_name(seal));
    return ERROR_NONE;
}

static enum error file_seal_create(const struct provider_config *config, const struct provider_secret *secret,
                                   uint8_t kdk[KEY_SIZE])
{
    (void)secret;
    struct sealed_key sealed = {.seal = SEAL_FILE, .provider = config->id};
    enum error error = key_generate(sealed.kdk);
    if (error == ERROR_NONE)
        error = kcv_derive(sealed.kdk, config->id, sealed.kcv);
    if (error == ERROR_NONE)
        error = native_key_store(config->path, &sealed);
    if (error == ERROR_NONE)
        memcpy(kdk, sealed.kdk, KEY_SIZE);
    memory_cleanse(&sealed, sizeof(sealed));
    return error;
}

static enum error file_seal_open(const struct provider_config *config, const struct provider_secret *secret,
                                 uint8_t kdk[KEY_SIZE])
{
    (void)secret;
    struct sealed_key sealed;
    enum error error = native_key_load(config, SEAL_FILE, &sealed);
    if (error == ERROR_NONE)
        error = native_key_check(config, &sealed, sealed.kdk);
    if (error == ERROR_NONE)
        memcpy(kdk, sealed.kdk, KEY_SIZE);
    memory_cleanse(&sealed, sizeof(sealed));
    return error;
}

static enum error passphrase_wrap(struct sealed_key *sealed, const struct provider_secret *secret,
                                  const uint8_t kdk[KEY_SIZE])
{
    uint8_t wrap_key[KEY_SIZE];
    random_bytes(sealed->salt, sizeof(sealed->salt));
    enum error error = passphrase_stretch(sealed, secret, wrap_key);
    if (error == ERROR_NONE)
        error = bytes_wrap(wrap_key, kdk, KEY_SIZE, sealed->wrapped);
    memory_cleanse(wrap_key, sizeof(wrap_key));
    return error;
}

static enum error passphrase_unwrap(const struct sealed_key *sealed, const struct provider_secret *secret,
                                    uint8_t kdk[KEY_SIZE])
{
    uint8_t wrap_key[KEY_SIZE];
    enum error error = passphrase_stretch(sealed, secret, wrap_key);
    if (error == ERROR_NONE)
        error = bytes_unwrap(wrap_key, sealed->wrapped, sizeof(sealed->wrapped), kdk);
    memory_cleanse(wrap_key, sizeof(wrap_key));
    return error;
}

static enum error passphrase_store(const struct provider_config *config, const char *path,
                                   const struct provider_secret *secret, const uint8_t kdk[KEY_SIZE])
{
    struct sealed_key sealed = {.seal = SEAL_PASSPHRASE,
                                .provider = config->id,
                                .scrypt_log2_n = SCRYPT_LOG2_N_DEFAULT,
                                .scrypt_r = SCRYPT_R,
                                .scrypt_p = SCRYPT_P};
    TRY(kcv_derive(kdk, config->id, sealed.kcv));
    TRY(passphrase_wrap(&sealed, secret, kdk));
    return native_key_store(path, &sealed);
}

static enum error passphrase_seal_create(const struct provider_config *config, const struct provider_secret *secret,
                                         uint8_t kdk[KEY_SIZE])
{
    TRY(passphrase_check(config, secret, ERROR_INVALID));
    uint8_t fresh[KEY_SIZE];
    enum error error = key_generate(fresh);
    if (error == ERROR_NONE)
        error = passphrase_store(config, config->path, secret, fresh);
    if (error == ERROR_NONE)
        memcpy(kdk, fresh, KEY_SIZE);
    memory_cleanse(fresh, sizeof(fresh));
    return error;
}

enum error provider_copy_create(const struct provider_config *config, const char *path,
                                const struct provider_secret *secret, const uint8_t kdk[KEY_SIZE])
{
    TRY(passphrase_check(config, secret, ERROR_INVALID));
    return passphrase_store(config, path, secret, kdk);
}

static enum error passphrase_seal_open(const struct provider_config *config, const struct provider_secret *secret,
                                       uint8_t kdk[KEY_SIZE])
{
    TRY(passphrase_check(config, secret, ERROR_LOCKED));
    struct sealed_key sealed;
    TRY(native_key_load(config, SEAL_PASSPHRASE, &sealed));
    uint8_t found[KEY_SIZE];
    enum error error = costs_check(config, &sealed);
    if (error == ERROR_NONE)
        error = passphrase_unwrap(&sealed, secret, found);
    if (error == ERROR_NONE)
        error = native_key_check(config, &sealed, found);
    if (error == ERROR_NONE)
        memcpy(kdk, found, KEY_SIZE);
    memory_cleanse(found, sizeof(found));
    return error == ERROR_WRONG_KEY ? error_explain(error, "wrong passphrase for %s", config->path) : error;
}

const struct provider_ops provider_native_file = {
    .type = "native", .seal = "file", .needs_passphrase = false, .create = file_seal_create, .open = file_seal_open};

const struct provider_ops provider_native_passphrase = {.type = "native",
                                                        .seal = "passphrase",
                                                        .needs_passphrase = true,
                                                        .create = passphrase_seal_create,
                                                        .open = passphrase_seal_open};
