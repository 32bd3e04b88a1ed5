/*
 * The table of key providers. It is constant and closed: what a conf may name is what was compiled in, and nothing
 * read from a disk reaches it. Where a provider keeps a KDK, the KEK is derived from it here, and the KDK wiped. No
 * locks, no state, nothing on disk.
 */
#include "crypto/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "base/random.h"
#include "crypto/hierarchy.h"
#include "crypto/key_cache.h"
#include "crypto/overwrite.h"
#include "crypto/provider_key.h"
#include "crypto/provider_kmip.h"
#include "crypto/provider_native.h"
#include "crypto/provider_root.h"
#include "crypto/registers.h"

static const struct provider_ops *const providers[] = {&provider_native_file, &provider_native_passphrase,
                                                       &provider_native_tpm, &provider_kmip};

static bool text_equal(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

enum error provider_find(const struct provider_config *config, const struct provider_ops **ops)
{
    for (size_t i = 0; i < COUNT_OF(providers); i++)
        if (text_equal(config->type, providers[i]->type) && text_equal(config->seal, providers[i]->seal)) {
            *ops = providers[i];
            return ERROR_NONE;
        }
    return error_explain(
        ERROR_UNSUPPORTED,
        "provider %s: there is no type = %s with seal = %s; there are native with seal = file, native "
        "with seal = passphrase, native with seal = tpm, and kmip without one",
        config->name, config->type == NULL ? "(none)" : config->type, config->seal == NULL ? "(none)" : config->seal);
}

static enum error derive(uint8_t kdk[KEY_SIZE], const struct provider_kek *which, uint8_t kek[KEY_SIZE])
{
    enum error error = kek_derive(kdk, which->pool, which->number, which->salt, kek);
    memory_cleanse(kdk, KEY_SIZE);
    registers_cleanse();
    return error;
}

enum error provider_kek_create(const struct provider_config *config, const struct provider_secret *secret,
                               struct provider_kek *which, uint8_t kek[KEY_SIZE])
{
    const struct provider_ops *operations;
    uint8_t kdk[KEY_SIZE];
    TRY(provider_find(config, &operations));
    which->salt = operations->create_kek != NULL ? 0 : random_u64();
    if (operations->create_kek != NULL)
        return operations->create_kek(config, which, kek);
    TRY(operations->create(config, secret, kdk));
    return derive(kdk, which, kek);
}

void provider_kek_withdraw(const struct provider_config *config, const struct provider_kek *which, const uint8_t kek[KEY_SIZE])
{
    const struct provider_ops *operations;
    if (provider_find(config, &operations) != ERROR_NONE)
        return;
    if (operations->withdraw_kek != NULL) {
        operations->withdraw_kek(config, which, kek);
        return;
    }
    enum error error = overwrite_and_remove(config->path);
    if (error != ERROR_NONE)
        message(MESSAGE_WARNING, "provider %s: a key that nothing needs stays where it is: %s", config->name, error_sentence(error));
}

enum error provider_kek_open(const struct provider_config *config, const struct provider_secret *secret,
                             const struct provider_kek *which, uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    const struct provider_ops *operations;
    uint8_t kdk[KEY_SIZE];
    TRY(provider_find(config, &operations));
    *state = KEK_ACTIVE;
    if (secret != NULL && secret->key != NULL) {
        *state = operations->open_kek != NULL ? KEK_UNASKED : KEK_ACTIVE;
        return provider_key_kek(secret->key, operations->open_kek != NULL, which, kek);
    }
    if (operations->open_kek != NULL)
        return operations->open_kek(config, which, kek, state);
    struct provider_root root;
    TRY(provider_root_choose(config, which->number, &root));
    enum error error = operations->open(&root.config, secret, kdk);
    if (error == ERROR_NOT_FOUND)
        return error_explain(ERROR_KEY_ABSENT, "the key of provider %s is not there: there is no %s", config->name,
                             config->path);
    TRY(error);
    return derive(kdk, which, kek);
}

/* What was wrong with the cache is told beside what was wrong with the servers, whose error it stays: they are waited for. It stays
 * as well where it is too old: by a clock that may be wrong at a start, and right at the next attempt. */
static enum error cache_failed(enum error servers, const char *sentence, enum error cache)
{
    AUTO_FREE char *why = strdup(error_sentence(cache));
    if (cache == ERROR_NOT_FOUND)
        return error_explain(servers, "%s; and no key is cached in the TPM", sentence);
    return error_explain(servers, "%s; and the key that is cached in the TPM does not open it: %s", sentence, why);
}

static void cached_tell(const struct provider_config *config, const struct cached_key *cached, const char *sentence)
{
    char until[MOMENT_TEXT_SIZE];
    message(MESSAGE_WARNING, "%s; the key is the one that is cached in the TPM, which opens the pool until %s", sentence,
            moment_minute(cached->fetched + config->cache_seconds, until));
}

enum error provider_kek_open_or_cached(const struct provider_config *config, const struct provider_secret *secret,
                                       const struct provider_kek *which, uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    const struct provider_ops *operations;
    struct cached_key cached;
    bool away;
    TRY(provider_find(config, &operations));
    if (operations != &provider_kmip || (secret != NULL && secret->key != NULL))
        return provider_kek_open(config, secret, which, kek, state);
    enum error error = provider_kmip_open(config, which, kek, state, &away);
    if (error == ERROR_NONE || !away || config->cache_seconds == 0)
        return error;
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    if (sentence == NULL)
        return ERROR_NO_MEMORY;
    enum error failed = key_cache_open(config, which, clock_seconds(), kek, &cached);
    if (failed != ERROR_NONE)
        return cache_failed(error, sentence, failed);
    *state = KEK_CACHED;
    cached_tell(config, &cached, sentence);
    error_forget();
    return ERROR_NONE;
}
