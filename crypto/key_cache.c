/*
 * The cache of a KEK: seal, look, open, drop.
 *
 * What is sealed is unsealed again before a file says it. The file is replaced as a whole, and the one of before overwritten then,
 * by the descriptor that it was opened by: a crash leaves one that opens, or a nameless one that the file system frees. What the
 * file says is checked before the TPM is asked; what depends on it alone (age, number) can only make an open refuse, and the mac
 * vouches for all of it before a key is given out. No state, no locks: two writers leave the file of the later one. Nothing of
 * the data path comes here.
 */
#include "crypto/key_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/overwrite.h"
#include "crypto/registers.h"

static struct tpm_access access_of(const struct provider_config *config)
{
    return (struct tpm_access){.tcti = config->tcti};
}

/* ---- look --------------------------------------------------------------------------------------------------------- */

enum error key_cache_look(const struct provider_config *config, struct uuid pool, struct cached_key *cached)
{
    AUTO_FREE void *text = NULL;
    size_t size = 0;
    if (config->cache == NULL)
        return error_explain(ERROR_NOT_FOUND, "provider %s caches no key", config->name);
    TRY(file_read_private(config->cache, CACHED_KEY_TEXT_MAX, &text, &size));
    enum error error = cached_key_decode(text, size, cached);
    if (error != ERROR_NONE)
        return error_prefix(error, "%s is damaged", config->cache);
    if (!uuid_equal(cached->pool, pool) || !uuid_equal(cached->provider, config->id) || strcmp(cached->name, config->name) != 0)
        return error_explain(ERROR_FOREIGN, "%s is the cached key of another pool or provider", config->cache);
    return ERROR_NONE;
}

static void age_format(uint64_t seconds, char text[32])
{
    if (seconds >= 2 * 86400)
        snprintf(text, 32, "%" PRIu64 " days", seconds / 86400);
    else if (seconds >= 2 * 3600)
        snprintf(text, 32, "%" PRIu64 " hours", seconds / 3600);
    else
        snprintf(text, 32, "%" PRIu64 " minutes", seconds / 60);
}

enum error key_cache_check_age(const struct provider_config *config, const struct cached_key *cached, uint64_t now)
{
    char age[32], most[32];
    if (now < cached->fetched)
        return error_explain(ERROR_ROLLED_BACK, "the clock stands before the time at which the key in %s was fetched",
                             config->cache);
    if (now - cached->fetched < config->cache_seconds)
        return ERROR_NONE;
    age_format(now - cached->fetched, age);
    age_format(config->cache_seconds, most);
    return error_explain(ERROR_TIMED_OUT, "the key in %s was fetched %s ago, and tpm-cache allows %s", config->cache, age, most);
}

/* ---- store -------------------------------------------------------------------------------------------------------- */

static enum error seal_and_prove(const struct provider_config *config, const uint8_t kek[KEY_SIZE], struct cached_key *cached)
{
    struct tpm_access access = access_of(config);
    uint8_t back[KEY_SIZE];
    TRY(tpm_seal(&access, 0, kek, &cached->tpm));
    TRY(cached_key_sign(cached, kek));
    enum error error = tpm_unseal(&access, &cached->tpm, back);
    if (error == ERROR_NONE)
        error = cached_key_verify(cached, back);
    memory_cleanse(back, sizeof back);
    return error;
}

/* What is no file of its own has nothing to be overwritten. */
static enum error take_away(const char *path, const struct stat *status)
{
    if (S_ISREG(status->st_mode))
        return overwrite_and_remove(path);
    return unlink(path) == 0 || errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "remove %s", path);
}

/* One that others may read would lend the new one its mode. */
static enum error wide_remove(const char *path)
{
    struct stat status;
    bool wide = lstat(path, &status) == 0 && (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0);
    return wide ? take_away(path, &status) : ERROR_NONE;
}

static enum error replace(const char *path, const struct cached_key *cached)
{
    char text[CACHED_KEY_TEXT_MAX];
    size_t size;
    int before;
    TRY(cached_key_encode(cached, text, &size));
    TRY(wide_remove(path));
    TRY(overwrite_begin(path, &before));
    enum error error = file_replace(path, text, size);
    if (before < 0)
        return error;
    if (error == ERROR_NONE)
        return overwrite_end(path, before);
    close(before);
    return error;
}

enum error key_cache_store(const struct provider_config *config, const struct provider_kek *which, const char *key_id, uint64_t now,
                           const uint8_t kek[KEY_SIZE])
{
    struct cached_key cached = {
        .pool = which->pool, .provider = config->id, .kek_number = which->number, .fetched = now};
    if (config->cache == NULL || key_id[0] == '\0' || strlen(key_id) > KMIP_ID_MAX)
        return error_explain(ERROR_INVALID, "provider %s has nothing to cache", config->name);
    snprintf(cached.name, sizeof cached.name, "%s", config->name);
    snprintf(cached.key_id, sizeof cached.key_id, "%s", key_id);
    enum error error = seal_and_prove(config, kek, &cached);
    registers_cleanse();
    TRY(error);
    return replace(config->cache, &cached);
}

/* ---- open --------------------------------------------------------------------------------------------------------- */

static enum error unseal(const struct provider_config *config, const struct cached_key *cached, uint8_t kek[KEY_SIZE])
{
    struct tpm_access access = access_of(config);
    uint8_t found[KEY_SIZE];
    enum error error = tpm_unseal(&access, &cached->tpm, found);
    if (error == ERROR_FOREIGN) /* what it says of copies is not for this key */
        error = error_explain(error, "the TPM at %s is not the one that sealed %s, or was cleared since",
                              config->tcti == NULL ? TPM_TCTI_DEFAULT : config->tcti, config->cache);
    if (error == ERROR_NONE) {
        error = cached_key_verify(cached, found);
        if (error != ERROR_NONE)
            error = error_prefix(error, "%s", config->cache);
    }
    if (error == ERROR_NONE)
        memcpy(kek, found, KEY_SIZE);
    memory_cleanse(found, sizeof found);
    registers_cleanse();
    return error;
}

enum error key_cache_open(const struct provider_config *config, const struct provider_kek *which, uint64_t now,
                          uint8_t kek[KEY_SIZE], struct cached_key *cached)
{
    TRY(key_cache_look(config, which->pool, cached));
    if (cached->kek_number != which->number)
        return error_explain(ERROR_KEY_ABSENT, "%s holds key %" PRIu64 ", and key %" PRIu64 " is wanted", config->cache,
                             cached->kek_number, which->number);
    TRY(key_cache_check_age(config, cached, now));
    return unseal(config, cached, kek);
}

/* ---- drop --------------------------------------------------------------------------------------------------------- */

/* What file_replace() was about to write when a crash came. */
static enum error unfinished_remove(const char *path)
{
    char unfinished[PATH_MAX];
    int size = snprintf(unfinished, sizeof unfinished, "%s.new", path);
    return size < 0 || (size_t)size >= sizeof unfinished ? ERROR_NONE : overwrite_and_remove(unfinished);
}

enum error key_cache_destroy(const struct provider_config *config, bool *was)
{
    struct stat status;
    bool there = config->cache != NULL && lstat(config->cache, &status) == 0;
    if (was != NULL)
        *was = there;
    if (config->cache == NULL)
        return ERROR_NONE;
    TRY(unfinished_remove(config->cache));
    return there ? take_away(config->cache, &status) : ERROR_NONE;
}

void key_cache_drop(const struct provider_config *config, const char *why)
{
    AUTO_FREE char *reason = strdup(why); /* it may be the sentence of an error, which what follows replaces */
    bool was;
    enum error error = key_cache_destroy(config, &was);
    if (error != ERROR_NONE)
        message(MESSAGE_ERROR, "provider %s: the key that is cached in the TPM is to go, since %s: %s; remove %s", config->name,
                reason == NULL ? "it is of no use" : reason, error_sentence(error), config->cache);
    else if (was)
        message(MESSAGE_WARNING, "provider %s: the key that was cached in the TPM is destroyed, since %s", config->name,
                reason == NULL ? "it is of no use" : reason);
}

void key_cache_end(const struct provider_config *config, const struct provider_kek *which, const char *why)
{
    struct cached_key cached;
    if (key_cache_look(config, which->pool, &cached) == ERROR_NONE && cached.kek_number == which->number)
        key_cache_drop(config, why);
    error_forget();
}
