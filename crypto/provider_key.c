/*
 * From a provider to its key, and back to a key file. Whoever asks has the secret that opens it, as an open of the pool
 * has. Keys are the caller's to wipe. A key file is made whole or not at all; no locks, no state.
 */
#include "crypto/provider_key.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "crypto/provider_native.h"
#include "crypto/provider_root.h"
#include "crypto/registers.h"

enum error provider_keeps_keks(const struct provider_config *config, bool *keeps)
{
    const struct provider_ops *operations;
    TRY(provider_find(config, &operations));
    *keeps = operations->open_kek != NULL;
    return ERROR_NONE;
}

enum error provider_key_open(const struct provider_config *config, const struct provider_secret *secret,
                             const struct provider_kek *which, uint8_t key[KEY_SIZE])
{
    const struct provider_ops *operations;
    struct provider_root root;
    enum kek_state state;
    TRY(provider_find(config, &operations));
    if (operations->open_kek != NULL)
        return operations->open_kek(config, which, key, &state);
    TRY(provider_root_choose(config, which->number, &root));
    enum error error = operations->open(&root.config, secret, key);
    if (error == ERROR_NOT_FOUND)
        return error_explain(ERROR_KEY_ABSENT, "the key of provider %s is not there: there is no %s", config->name,
                             config->path);
    return error;
}

enum error provider_key_kek(const uint8_t key[KEY_SIZE], bool is_kek, const struct provider_kek *which, uint8_t kek[KEY_SIZE])
{
    if (!is_kek)
        return kek_derive(key, which->pool, which->number, which->salt, kek);
    memcpy(kek, key, KEY_SIZE);
    registers_cleanse();
    return ERROR_NONE;
}

static enum error file_store(const struct provider_config *config, const uint8_t kdk[KEY_SIZE])
{
    struct sealed_key sealed = {.seal = SEAL_FILE, .provider = config->id};
    memcpy(sealed.kdk, kdk, KEY_SIZE);
    enum error error = kcv_derive(kdk, config->id, sealed.kcv);
    if (error == ERROR_NONE)
        error = native_key_store(config->path, &sealed);
    memory_cleanse(&sealed, sizeof sealed);
    return error;
}

enum error provider_key_store(const struct provider_config *config, const struct provider_secret *secret,
                              const uint8_t kdk[KEY_SIZE])
{
    if (strcmp(config->seal, seal_name(SEAL_FILE)) == 0)
        return file_store(config, kdk);
    if (strcmp(config->seal, seal_name(SEAL_PASSPHRASE)) == 0)
        return provider_copy_create(config, config->path, secret, kdk);
    return error_explain(ERROR_UNSUPPORTED, "a key file cannot be made with the seal %s: say file or passphrase", config->seal);
}
