/*
 * The watch over key servers, key files and the TPM that sealed one.
 *
 * It reads coffer.conf anew at each look, because the next start will, and asks each server as an unlock would. Without
 * the key, as a rule: a server's own audit should not fill with fetches of it. While the pool is locked nothing is asked
 * here: key_wait.c does, and LOCKED tells. A server that fails, or comes back, is a message, once.
 *
 * The facts stand behind a leaf lock that is held for copying only. A look may take as long as the time limits of all
 * servers, so the thread (chores.h) does nothing else; where the process ends, kmip_links_abandon() cuts it short. Nothing is
 * stored: a crash loses facts that the next look finds again.
 */
#include "server/key_watch.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/random.h"
#include "crypto/arena.h"
#include "crypto/provider_kmip.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "engine/pool/kek_number.h"
#include "server/chores.h"
#include "server/key_cached.h"
#include "server/key_sealed.h"

#define PAUSE         (30 * CLOCK_SECOND) /* up to a quarter less: not all machines ask together */
#define FETCH_SECONDS 86400u

static struct watch {
    struct pool *pool;
    struct chores chores;
    char told[KEY_WATCH_TEXT]; /* the thread's: the sentences of the last message */
    bool from_cache;           /* the thread's: the pool was opened by the cache, and no server gave the key since */
    struct key_cached cached;  /* the thread's */
    struct key_sealed sealed;  /* the thread's */
    struct mutex lock;         /* RANK_LEAF; guards what follows */
    struct key_watch_facts facts GUARDED_BY(lock);
    bool woken GUARDED_BY(lock); /* since the last look, or none was yet */
} watch;

/* ---- a look ------------------------------------------------------------------------------------------------------- */

static void sentence_add(struct key_watch_facts *facts, const struct kmip_report *report, const char *sentence)
{
    size_t used = strlen(facts->sentences);
    snprintf(facts->sentences + used, sizeof(facts->sentences) - used, "%s%s: %.300s", used == 0 ? "" : "; ",
             report->server, sentence);
}

static bool is_inactive(const struct kmip_report *report)
{
    return report->error == ERROR_NONE && report->state != NULL &&
           strcmp(report->state, kmip_state_name(KMIP_ACTIVE)) != 0;
}

static void reports_take(const struct pool_conf *conf, const struct kmip_report *reports, size_t count, bool fetch,
                         struct key_watch_facts *facts)
{
    facts->looked = true;
    facts->servers = (unsigned)count;
    facts->time = clock_seconds();
    facts->ready = 0;
    facts->inactive = false;
    facts->sentences[0] = '\0';
    facts->devices[0] = '\0';
    bool gone = count > 0;
    for (size_t i = 0; i < count; i++) {
        facts->ready += reports[i].error == ERROR_NONE;
        if (reports[i].error != ERROR_NONE)
            sentence_add(facts, &reports[i], reports[i].sentence);
        gone = gone && reports[i].error != ERROR_NONE && reports[i].gone;
        if (!is_inactive(&reports[i]))
            continue;
        facts->inactive = true;
        sentence_add(facts, &reports[i], strcmp(reports[i].state, kmip_state_name(KMIP_COMPROMISED)) == 0
                                             ? "the key is Compromised there"
                                             : "the key is Deactivated there");
    }
    if (gone) /* while the pool is open all devices are under the one key in force */
        key_needs_name(&conf->groups[0], NULL, facts->devices);
    if (fetch && facts->ready == facts->servers)
        facts->time_fetched = facts->time;
}

/* Where nobody can be asked at all, that is what every server failed for. */
static enum error servers_ask(const struct pool_conf *conf, const struct kek_expected *expected, struct key_watch_facts *facts)
{
    struct provider_kek which = {.pool = conf->pool, .number = expected->number};
    const struct provider_config *provider = expected->provider;
    bool keep = watch.from_cache || key_cached_wants(&watch.cached, expected, &which);
    bool fetch = keep || facts->time_fetched == 0 || clock_seconds() - facts->time_fetched >= FETCH_SECONDS;
    AUTO_FREE struct kmip_report *reports = memory_zeroed(PROVIDER_SERVERS_MAX, sizeof(*reports));
    uint8_t *kek = keep ? arena_allocate(KEY_SIZE) : NULL;
    if (reports == NULL || (keep && kek == NULL)) {
        arena_free(kek);
        return ERROR_NO_MEMORY;
    }
    enum error error = keep ? provider_kmip_test_keep(provider, &which, reports, kek)
                            : provider_kmip_test(provider, &which, fetch, reports);
    if (error == ERROR_NONE) {
        kek_compare(expected, reports);
        if (key_cached_settle(&watch.cached, watch.pool, expected, &which, reports, kek))
            key_cached_confirm(&watch.cached, conf, expected);
        reports_take(conf, reports, provider->server_count, fetch, facts);
    }
    arena_free(kek);
    if (error == ERROR_NONE)
        return ERROR_NONE;
    *facts = (struct key_watch_facts){.looked = true, .servers = (unsigned)provider->server_count,
                                      .time = clock_seconds(), .time_fetched = facts->time_fetched};
    snprintf(facts->sentences, sizeof(facts->sentences), "%s", error_sentence(error));
    return ERROR_NONE;
}

static bool woken_take(void)
{
    mutex_lock(&watch.lock);
    bool woken = watch.woken;
    watch.woken = false;
    mutex_unlock(&watch.lock);
    return woken;
}

static enum error key_check(const struct kek_expected *expected, bool now)
{
    TRY(root_check(expected));
    return key_sealed_is(expected) ? key_sealed_look(&watch.sealed, expected, now) : ERROR_NONE;
}

/* A change of keys may come between witness and file; then they agree at the second look. */
static enum error file_look(const struct pool_conf *conf, struct kek_expected *expected, struct key_watch_facts *facts)
{
    bool now = woken_take();
    enum error error = key_check(expected, now);
    if (error != ERROR_NONE)
        TRY(kek_expect(conf, NULL, expected));
    if (error != ERROR_NONE)
        error = key_check(expected, now);
    *facts = (struct key_watch_facts){.looked = true, .file = true, .time = clock_seconds()};
    facts->tpm = key_sealed_is(expected);
    facts->pin = facts->tpm && watch.sealed.pin;
    facts->time_taken = facts->tpm ? watch.sealed.time_taken : 0;
    if (error != ERROR_NONE)
        snprintf(facts->sentences, sizeof(facts->sentences), "%s", error_sentence(error));
    return ERROR_NONE;
}

static bool is_open(struct pool *pool)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof(*status));
    if (status == NULL || pool_status(pool, status) != ERROR_NONE || status->locked)
        return false;
    watch.from_cache = status->key_state != NULL && strcmp(status->key_state, "cached") == 0;
    return true;
}

static void facts_put(const struct key_watch_facts *facts)
{
    mutex_lock(&watch.lock);
    watch.facts = *facts;
    mutex_unlock(&watch.lock);
}

static void tell(const struct key_watch_facts *facts)
{
    if (strcmp(facts->sentences, watch.told) == 0)
        return;
    if (facts->file && facts->sentences[0] == '\0')
        message(MESSAGE_NOTICE, "the key file would open the pool again");
    else if (facts->tpm)
        message(MESSAGE_WARNING, "the pool is open, but the key that its TPM sealed would not open it again: %s", facts->sentences);
    else if (facts->file)
        message(MESSAGE_WARNING, "the pool is open, but its key file would not open it again: %s", facts->sentences);
    else if (facts->sentences[0] == '\0')
        message(MESSAGE_NOTICE, "all key servers would give the key again");
    else
        message(MESSAGE_WARNING, "%u of %u key servers would give the key now: %s", facts->ready, facts->servers,
                facts->sentences);
    memcpy(watch.told, facts->sentences, sizeof(watch.told));
}

static enum error look_at(const struct pool_conf *conf, struct key_watch_facts *facts)
{
    struct kek_expected expected;
    facts->looked = false;
    if (conf->provider == NULL)
        return ERROR_NONE;
    TRY(kek_expect(conf, NULL, &expected));
    key_cached_clear(&watch.cached, conf, &expected);
    TRY(expected.provider->server_count > 0 ? servers_ask(conf, &expected, facts) : file_look(conf, &expected, facts));
    memcpy(facts->cache_failure, watch.cached.failure, sizeof(facts->cache_failure));
    return ERROR_NONE;
}

static void look(void)
{
    struct pool_conf *conf;
    struct key_watch_facts facts;
    error_forget();
    key_watch_look(&facts);
    if (!is_open(watch.pool) || pool_conf_read(pool_directory(watch.pool), &conf) != ERROR_NONE)
        return;
    if (look_at(conf, &facts) == ERROR_NONE && facts.looked) {
        facts_put(&facts);
        tell(&facts);
    }
    pool_conf_destroy(conf);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static uint64_t run(void *context)
{
    (void)context;
    look();
    return PAUSE - random_u64() % (PAUSE / 4);
}

enum error key_watch_start(struct pool *pool)
{
    const struct chore chore = {run, 0};
    ASSERT(!watch.chores.running);
    watch = (struct watch){.pool = pool, .woken = true};
    mutex_init(&watch.lock, RANK_LEAF);
    return chores_start(&watch.chores, "key-watch", &chore, 1, NULL);
}

void key_watch_stop(void)
{
    chores_stop(&watch.chores);
}

void key_watch_wake(void)
{
    if (watch.pool == NULL)
        return;
    mutex_lock(&watch.lock);
    watch.woken = true;
    mutex_unlock(&watch.lock);
    chores_wake(&watch.chores);
}

void key_watch_look(struct key_watch_facts *facts)
{
    *facts = (struct key_watch_facts){0};
    if (watch.pool == NULL)
        return;
    mutex_lock(&watch.lock);
    *facts = watch.facts;
    mutex_unlock(&watch.lock);
}
