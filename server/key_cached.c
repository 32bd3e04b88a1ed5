/*
 * Only the watch's thread writes and destroys caches here: it may wait for servers and for the TPM, and nobody waits for it. An
 * open of the pool destroys one as well, of which a server says so (crypto/provider_kmip.c). What the TPM fails for is a message and tried again minutes later. A cached key is renewed once a day, or four times in its life where that is
 * shorter. Health and `key status` read the file themselves. No locks; what a crash leaves is crypto/key_cache.c's.
 */
#include "server/key_cached.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "crypto/key_cache.h"
#include "engine/coffer.h"
#include "engine/pool/keys.h"
#include "server/health_check.h"

#define RENEW_SECONDS 86400u
#define RETRY_PAUSE   (300 * CLOCK_SECOND)

/* ---- what there is ------------------------------------------------------------------------------------------------ */

static enum error look(const struct kek_expected *expected, struct uuid pool, struct cached_key *cached)
{
    TRY(key_cache_look(expected->provider, pool, cached));
    if (cached->kek_number != expected->number)
        return error_explain(ERROR_KEY_ABSENT, "%s holds an older key than the one in force", expected->provider->cache);
    return key_cache_check_age(expected->provider, cached, clock_seconds());
}

void key_cached_look(const struct pool_conf *conf, struct key_cached_facts *facts)
{
    struct kek_expected expected = {0};
    struct cached_key cached;
    *facts = (struct key_cached_facts){.now = clock_seconds()};
    if (conf->provider == NULL || kek_expect(conf, NULL, &expected) != ERROR_NONE || expected.provider == NULL ||
        expected.provider->cache_seconds == 0) {
        error_forget();
        return;
    }
    facts->on = true;
    enum error error = look(&expected, conf->pool, &cached);
    facts->present = error == ERROR_NONE;
    if (error == ERROR_NONE) {
        facts->fetched = cached.fetched;
        facts->until = cached.fetched + expected.provider->cache_seconds;
    } else if (error == ERROR_NOT_FOUND) {
        snprintf(facts->why_not, sizeof facts->why_not,
                 "no server gave the key since tpm-cache was set, or it was destroyed since, which the messages say");
    } else {
        snprintf(facts->why_not, sizeof facts->why_not, "%s", error_sentence(error));
    }
    error_forget();
}

static bool is_from_cache(struct pool *pool)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    return status != NULL && pool_status(pool, status) == ERROR_NONE && !status->locked && status->key_state != NULL &&
           strcmp(status->key_state, "cached") == 0;
}

void key_cached_tell(struct pool *pool, json_t *json)
{
    struct key_cached_facts facts = {0};
    struct pool_conf *conf;
    if (pool_conf_read(pool_directory(pool), &conf) == ERROR_NONE) {
        key_cached_look(conf, &facts);
        pool_conf_destroy(conf);
    }
    error_forget();
    json_object_set_new(json, "cache",
                        facts.on ? json_pack("{s:b, s:I, s:I, s:b, s:s}", "present", facts.present, "fetched",
                                             (json_int_t)facts.fetched, "until", (json_int_t)facts.until, "in_use",
                                             is_from_cache(pool), "why_not", facts.why_not)
                                 : json_null());
}

/* ---- the watch's part --------------------------------------------------------------------------------------------- */

bool key_cached_wants(const struct key_cached *cached, const struct kek_expected *expected, const struct provider_kek *which)
{
    struct cached_key found;
    uint64_t life = expected->provider->cache_seconds;
    if (life == 0 || !expected->in_force || !expected->kek_kcv.known || clock_monotonic() < cached->retry)
        return false;
    if (cached->ended_number == expected->number && uuid_equal(cached->ended_provider, expected->provider->id))
        return false; /* its cache is gone, and stays so; the watch fetches it as ever */
    bool wants = look(expected, which->pool, &found) != ERROR_NONE ||
                 clock_seconds() - found.fetched >= MIN((uint64_t)RENEW_SECONDS, life / 4);
    error_forget();
    return wants;
}

/* Of reports: one that calls the key something that ends it; or, where no server would give it, one that has it no more. */
static const struct kmip_report *ending(const struct kmip_report *reports, size_t count)
{
    const struct kmip_report *absent = NULL;
    bool ready = false;
    for (size_t i = 0; i < count; i++) {
        if (reports[i].ended && reports[i].state != NULL)
            return &reports[i];
        if (reports[i].ended)
            absent = &reports[i];
        ready = ready || reports[i].error == ERROR_NONE;
    }
    return ready ? NULL : absent;
}

/* What cannot be destroyed is told once a provider, and tried again at each look. */
static void drop(struct key_cached *cached, const struct provider_config *provider, struct uuid pool, const char *why)
{
    char reason[KEY_CACHED_TEXT]; /* it may be the sentence of an error, which what follows replaces */
    size_t i = 0;
    snprintf(reason, sizeof reason, "%s", why);
    enum error error = key_cache_drop(provider, pool, reason);
    while (i < cached->left_count && !uuid_equal(cached->left[i], provider->id))
        i++;
    if (error == ERROR_NONE && i < cached->left_count)
        cached->left[i] = cached->left[--cached->left_count];
    if (error == ERROR_NONE || i < cached->left_count)
        return;
    cached->left[i % COUNT_OF(cached->left)] = provider->id;
    cached->left_count = i % COUNT_OF(cached->left) + 1;
    message(MESSAGE_WARNING, "provider %s: what is cached in the TPM is to go, since %s: %s", provider->name, reason,
            error_sentence(error));
}

static void end(struct key_cached *cached, struct pool *pool, const struct provider_config *provider, struct uuid id,
                const struct kmip_report *report)
{
    char why[KEY_CACHED_TEXT];
    if (report->state == NULL)
        snprintf(why, sizeof why, "%s has it no more", report->server);
    else
        snprintf(why, sizeof why, "%s calls it %s", report->server, report->state);
    drop(cached, provider, id, why);
    if (report->error == ERROR_NONE)
        pool_kek_answered(pool, strcmp(report->state, kmip_state_name(KMIP_COMPROMISED)) == 0 ? KEK_COMPROMISED : KEK_DEACTIVATED);
}

static const struct kmip_report *kept_one(const struct kmip_report *reports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (reports[i].kept && reports[i].error == ERROR_NONE)
            return &reports[i];
    return NULL;
}

static bool store(struct key_cached *cached, const struct provider_config *provider, const struct provider_kek *which,
                  const char *id, const uint8_t kek[KEY_SIZE])
{
    enum error error = key_cache_store(provider, which, id, clock_seconds(), kek);
    if (error == ERROR_NONE) {
        if (cached->failure[0] != '\0')
            message(MESSAGE_NOTICE, "provider %s: the key is cached in the TPM again", provider->name);
        cached->retry = 0;
        cached->failure[0] = '\0';
        return true;
    }
    cached->retry = clock_monotonic() + RETRY_PAUSE;
    if (strcmp(cached->failure, error_sentence(error)) != 0)
        message(MESSAGE_WARNING, "provider %s: the key cannot be cached in the TPM: %s; it is tried again", provider->name,
                error_sentence(error));
    snprintf(cached->failure, sizeof cached->failure, "%s", error_sentence(error));
    return false;
}

static bool one_answered(const struct kmip_report *reports, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (reports[i].error == ERROR_NONE)
            return true;
    return false;
}

/* Nothing was fetched; what there is may be of no use any more. While no server answers it is all that there is, and the clock may be
 * wrong: then its age destroys nothing. */
static void age(struct key_cached *cached, const struct kek_expected *expected, struct uuid pool, bool answered)
{
    struct cached_key found;
    enum error error = look(expected, pool, &found);
    if (answered && (error == ERROR_TIMED_OUT || error == ERROR_ROLLED_BACK))
        drop(cached, expected->provider, pool, error_sentence(error));
    else if (error == ERROR_KEY_ABSENT && found.kek_number < expected->number)
        drop(cached, expected->provider, pool, "another one is in force");
    error_forget();
}

bool key_cached_settle(struct key_cached *cached, struct pool *pool, const struct kek_expected *expected,
                       const struct provider_kek *which, const struct kmip_report *reports, const uint8_t kek[KEY_SIZE])
{
    const struct provider_config *provider = expected->provider;
    const struct kmip_report *ended = ending(reports, provider->server_count), *kept = kept_one(reports, provider->server_count);
    if (ended != NULL) {
        cached->ended_provider = provider->id;
        cached->ended_number = which->number;
        end(cached, pool, provider, which->pool, ended);
        return false;
    }
    if (one_answered(reports, provider->server_count))
        cached->ended_number = 0;
    if (kept != NULL && expected->kek_kcv.known && is_from_cache(pool)) {
        pool_kek_answered(pool, KEK_ACTIVE);
        message(MESSAGE_NOTICE, "provider %s: %s gives the key that was cached in the TPM, and by which the pool was opened",
                provider->name, kept->server);
    }
    if (provider->cache_seconds == 0)
        drop(cached, provider, which->pool, "tpm-cache is not set any more");
    else if (kept != NULL && expected->in_force && expected->kek_kcv.known)
        return store(cached, provider, which, kept->id, kek);
    else
        age(cached, expected, which->pool, one_answered(reports, provider->server_count));
    return false;
}

/* A change of keys after this look wakes the watch, and a key that is retired after it takes this file with it (provider_kmip.c). */
void key_cached_confirm(struct key_cached *cached, const struct pool_conf *conf, const struct kek_expected *expected)
{
    struct kek_expected now;
    if (kek_expect(conf, NULL, &now) != ERROR_NONE || !now.in_force || now.number != expected->number ||
        !uuid_equal(now.provider->id, expected->provider->id))
        drop(cached, expected->provider, conf->pool, "another one came into force just now");
    error_forget();
}

void key_cached_clear(struct key_cached *cached, const struct pool_conf *conf, const struct kek_expected *expected)
{
    for (size_t i = 0; expected->in_force && i < conf->provider_count; i++)
        if (&conf->providers[i] != expected->provider)
            drop(cached, &conf->providers[i], conf->pool, "the key of another provider is in force");
    error_forget();
}

/* ---- the check ---------------------------------------------------------------------------------------------------- */

/* What opened it last, and whether the TPM works, is not known then; what the file says is. */
static void check_while_locked(const struct key_cached_facts *cached, const char *until, struct finding *finding)
{
    finding->severity = cached->on ? "note" : "ok";
    if (cached->on && cached->present)
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the pool is locked, and no key is in use; the one that is cached in the TPM would open it until %s where no key "
                 "server can be reached", until);
    else if (cached->on)
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the pool is locked, and no key is cached in the TPM that would open it: %.*s", KEY_CACHED_TEXT, cached->why_not);
    else
        finding_good(finding, "the pool is locked, and no key of it is to be cached in the TPM");
}

void check_key_cached(const struct health_facts *facts, struct finding *finding)
{
    const struct key_cached_facts *cached = &facts->cached;
    const struct pool_status *status = facts->status;
    char fetched[MOMENT_TEXT_SIZE], until[MOMENT_TEXT_SIZE];
    moment_minute(cached->fetched, fetched);
    moment_minute(cached->until, until);
    finding_good(finding, "no key is cached in the TPM: tpm-cache is not set, or the key is not on servers");
    if (status->locked) {
        check_while_locked(cached, until, finding);
    } else if (status->key_state != NULL && strcmp(status->key_state, "cached") == 0) {
        finding->severity = "warning";
        if (cached->present)
            snprintf(finding->evidence, sizeof finding->evidence,
                     "the pool was opened by the key that is cached in the TPM, because no key server could be reached, nor was one "
                     "since; a server gave it on %s, and it opens the pool until %s", fetched, until);
        else
            snprintf(finding->evidence, sizeof finding->evidence,
                     "the pool was opened by the key that was cached in the TPM, because no key server could be reached, nor was "
                     "one since; that key is cached no more");
        snprintf(finding->command, sizeof finding->command, "%s key provider test", facts->self);
    } else if (cached->on && facts->unlock.cache_failure[0] != '\0') {
        finding->severity = "warning";
        snprintf(finding->evidence, sizeof finding->evidence, "the key cannot be cached in the TPM: %s%s%s",
                 facts->unlock.cache_failure, cached->present ? "; what is cached opens the pool until " : "",
                 cached->present ? until : "");
        snprintf(finding->command, sizeof finding->command, "%s key status", facts->self);
    } else if (cached->present) {
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the key is cached in the TPM: a server gave it on %s, and it opens the pool until %s where none can be reached",
                 fetched, until);
    } else if (cached->on) {
        finding->severity = "note";
        snprintf(finding->evidence, sizeof finding->evidence, "the key is not cached in the TPM: %.*s", KEY_CACHED_TEXT,
                 cached->why_not);
    }
}
