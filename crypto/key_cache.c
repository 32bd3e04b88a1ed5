/*
 * The cache of a KEK: seal, look, open, drop.
 *
 * What is sealed is unsealed again before a file says it. The file is replaced as a whole, and the one of before overwritten then,
 * by the descriptor that it was opened by: a crash leaves one that opens, or a nameless one that the file system frees. What the
 * file says is checked before the TPM is asked; what depends on it alone (age, number) can only make an open refuse, and the mac
 * vouches for all of it before a key is given out. What has the file's name and is no cache of this pool is neither overwritten nor
 * removed, nor are links followed: it may be a key, or a disk. No state, no locks: two writers leave the file of the later one. Nothing of
 * the data path comes here.
 */
#include "crypto/key_cache.h"

#include <errno.h>
#include <fcntl.h>
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

/* ---- whose it is -------------------------------------------------------------------------------------------------- */

static enum error left_alone(const char *path, const char *why)
{
    return error_explain(ERROR_FOREIGN, "%s is left alone: %s", path, why);
}

/* What a crash left of one that was being overwritten. */
static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != 0)
            return false;
    return true;
}

static enum error text_check(const char *path, const char *text, size_t size, struct uuid pool)
{
    struct cached_key cached;
    enum error error = cached_key_decode(text, size, &cached);
    if (error == ERROR_NONE && !uuid_equal(cached.pool, pool))
        return left_alone(path, "it is the cached key of another pool");
    if (error != ERROR_NONE && !cached_key_begins(text, size, pool) && !is_blank(text, size))
        return left_alone(path, "it is no cached key of this pool");
    error_forget();
    return ERROR_NONE;
}

/* Root's is what others made as well, where it says what it is. */
static enum error open_check(int descriptor, const char *path, struct uuid pool, struct stat *status)
{
    char text[CACHED_KEY_TEXT_MAX + 1];
    size_t size = 0;
    if (fstat(descriptor, status) != 0)
        return error_from_errno(errno, "look at %s", path);
    if (!S_ISREG(status->st_mode))
        return left_alone(path, "it is not a regular file");
    if (status->st_uid != geteuid() && geteuid() != 0)
        return left_alone(path, "it belongs to another user");
    enum error error = file_read_up_to(descriptor, path, text, sizeof text, &size);
    if (error == ERROR_NONE)
        error = size == sizeof text ? left_alone(path, "it is larger than a cached key can be")
                                    : text_check(path, text, size, pool);
    memory_cleanse(text, sizeof text); /* it may be anything, a key too */
    return error;
}

/* Whether there is one that may be overwritten and removed. ERROR_FOREIGN: what has its name is not this pool's cache. */
static enum error own_look(const char *path, struct uuid pool, struct stat *status, bool *there)
{
    *there = false;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0 && errno == ENOENT)
        return ERROR_NONE;
    if (descriptor < 0 && (errno == ELOOP || errno == ENXIO))
        return left_alone(path, "it is not a regular file");
    if (descriptor < 0)
        return error_from_errno(errno, "look at %s", path);
    enum error error = open_check(descriptor, path, pool, status);
    close(descriptor);
    *there = error == ERROR_NONE;
    return error;
}

/* As overwrite_begin(), of the file that was looked at. */
static enum error own_begin(const char *path, const struct stat *looked_at, int *descriptor)
{
    struct stat now;
    TRY(overwrite_begin(path, descriptor));
    if (*descriptor < 0 ||
        (fstat(*descriptor, &now) == 0 && now.st_dev == looked_at->st_dev && now.st_ino == looked_at->st_ino))
        return ERROR_NONE;
    close(*descriptor);
    return error_explain(ERROR_AGAIN, "%s became another file just now", path);
}

static enum error take_away(const char *path, struct uuid pool, bool *was)
{
    struct stat status;
    int descriptor;
    TRY(own_look(path, pool, &status, was));
    if (!*was)
        return ERROR_NONE;
    TRY(own_begin(path, &status, &descriptor));
    if (descriptor >= 0)
        TRY(overwrite_end(path, descriptor));
    return unlink(path) == 0 || errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "remove %s", path);
}

/* What file_replace() was about to write when a crash came. */
static enum error unfinished_remove(const char *path, struct uuid pool)
{
    char unfinished[PATH_MAX];
    bool was;
    int size = snprintf(unfinished, sizeof unfinished, "%s.new", path);
    return size < 0 || (size_t)size >= sizeof unfinished ? ERROR_NONE : take_away(unfinished, pool, &was);
}

/* ---- store -------------------------------------------------------------------------------------------------------- */

/* What tpm_seal() and tpm_unseal() say of copies is not for this key. */
static enum error sealed_by_another(const struct provider_config *config, enum error error, const char *advice)
{
    if (error != ERROR_FOREIGN)
        return error;
    return error_explain(error, "the TPM at %s is not the one that sealed %s, or was cleared since%s",
                         config->tcti == NULL ? TPM_TCTI_DEFAULT : config->tcti, config->cache, advice);
}

/* Nobody is there to see who answers: it is to be the TPM that sealed the file of before, whatever key that holds. Without one,
 * or by a damaged one, nothing is expected; whoever could make it so can put what he likes there. */
static enum error seal(const struct provider_config *config, const uint8_t kek[KEY_SIZE], struct cached_key *cached)
{
    struct tpm_access access = access_of(config);
    struct cached_key before;
    bool there = key_cache_look(config, cached->pool, &before) == ERROR_NONE;
    error_forget();
    return sealed_by_another(config, tpm_seal(&access, 0, kek, there ? &before.tpm : NULL, &cached->tpm),
                             ": remove that file where another TPM is meant");
}

static enum error seal_and_prove(const struct provider_config *config, const uint8_t kek[KEY_SIZE], struct cached_key *cached)
{
    struct tpm_access access = access_of(config);
    uint8_t back[KEY_SIZE];
    TRY(seal(config, kek, cached));
    TRY(cached_key_sign(cached, kek));
    enum error error = tpm_unseal(&access, &cached->tpm, back);
    if (error == ERROR_NONE)
        error = cached_key_verify(cached, back);
    memory_cleanse(back, sizeof back);
    return error;
}

static enum error replace(const char *path, const struct cached_key *cached)
{
    char text[CACHED_KEY_TEXT_MAX];
    struct stat status;
    size_t size;
    bool there;
    int before = -1;
    TRY(cached_key_encode(cached, text, &size));
    TRY(unfinished_remove(path, cached->pool));
    TRY(own_look(path, cached->pool, &status, &there));
    if (there && (status.st_mode & 077) != 0) /* one that others may read would lend the new one its mode */
        TRY(take_away(path, cached->pool, &there));
    else if (there)
        TRY(own_begin(path, &status, &before));
    return overwrite_behind(path, before, text, size);
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
    enum error error = sealed_by_another(config, tpm_unseal(&access, &cached->tpm, found), "");
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

enum error key_cache_destroy(const struct provider_config *config, struct uuid pool, bool *was)
{
    bool there = false;
    enum error error = ERROR_NONE;
    if (config->cache != NULL) {
        error = take_away(config->cache, pool, &there);
        if (error == ERROR_NONE)
            error = unfinished_remove(config->cache, pool);
    }
    if (was != NULL)
        *was = there;
    return error;
}

enum error key_cache_drop(const struct provider_config *config, struct uuid pool, const char *why)
{
    AUTO_FREE char *reason = strdup(why); /* it may be the sentence of an error, which what follows replaces */
    bool was;
    TRY(key_cache_destroy(config, pool, &was));
    if (was)
        message(MESSAGE_WARNING, "provider %s: the key that was cached in the TPM is destroyed, since %s", config->name,
                reason == NULL ? "it is of no use" : reason);
    return ERROR_NONE;
}

void key_cache_end(const struct provider_config *config, const struct provider_kek *which, const char *why)
{
    struct cached_key cached;
    if (key_cache_look(config, which->pool, &cached) == ERROR_NONE && cached.kek_number == which->number) {
        enum error error = key_cache_drop(config, which->pool, why);
        if (error != ERROR_NONE)
            message(MESSAGE_ERROR, "provider %s: the key that is cached in the TPM is to go, since %s: %s; remove %s", config->name,
                    why, error_sentence(error), config->cache);
    }
    error_forget();
}
