/*
 * Keys that change by themselves. coffer.conf is read anew at each look, as the next start will, and time counts from the
 * date at which the key in force was first seen (key-dates): after a restart, and a change by hand, it goes on from there.
 *
 * A change is pool_rekey(), the code of `key rekey`, with the provider's own key as the proof; so a key in a file, in a TPM
 * without a PIN and on key servers changes unattended, and one under a passphrase where the daemon was given that for its
 * starts. Else a person has to type it: that is told, and not tried. What failed is tried again after a minute, then twice as
 * long each time, up to some hours. A locked pool is left alone; LOCKED tells.
 *
 * The facts stand behind a leaf lock that is held for copying only. A crash during a change is pool_rekey()'s to survive.
 */
#include "server/rekey_every.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/coffer.h"
#include "server/health_check.h"
#include "server/key_age.h"
#include "server/key_care.h"
#include "server/key_watch.h"

#define AGAIN     60u    /* seconds */
#define AGAIN_MAX 21600u
#define REASON    "rekey-every"

static struct {
    struct pool *pool;
    rekey_secret_find *find;
    void *context;
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct rekey_every_facts facts GUARDED_BY(lock);
} watch;

/* ---- one look ------------------------------------------------------------------------------------------------------- */

static void failed(struct rekey_every_facts *facts, const char *sentence, uint64_t now)
{
    char text[MOMENT_TEXT_SIZE];
    uint64_t rest = facts->failures < 16 ? (uint64_t)AGAIN << facts->failures : AGAIN_MAX;
    facts->failures++;
    facts->again = now + MIN(rest, (uint64_t)AGAIN_MAX);
    snprintf(facts->sentence, sizeof facts->sentence, "%s", sentence);
    message(MESSAGE_WARNING, "the key is older than rekey-every allows, and could not be changed: %s; tried again at %s", sentence,
            moment_minute(facts->again, text));
}

/* Keys of servers stay there until they are retired, and the witness lists so many of them: one more would push the oldest out, which
 * nobody would find again. One that was cut short may have one to list, too. */
static bool no_room_for_old_key(struct pool *pool)
{
    struct pool_key_status status;
    return pool_key_status(pool, &status) == ERROR_NONE && strcmp(status.type, "kmip") == 0 &&
           status.retained_count + 1 + status.half_done > POOL_RETAINED_MAX;
}

static bool room_check(struct pool *pool, uint64_t now, struct rekey_every_facts *facts)
{
    facts->full = no_room_for_old_key(pool);
    if (!facts->full)
        return true;
    char sentence[REKEY_EVERY_TEXT];
    snprintf(sentence, sizeof sentence,
             "its provider keeps old keys, of which at most %d are listed, and a change would push the oldest out: end old ones first, "
             "`coffer key retire`", POOL_RETAINED_MAX);
    failed(facts, sentence, now);
    return false;
}

/* With `secret`, where the provider needs one. */
static void change(struct pool *pool, const char *passphrase, size_t size, uint64_t now, struct rekey_every_facts *facts)
{
    struct pool_rekey_options options = {.passphrase = passphrase, .passphrase_size = size};
    if (!room_check(pool, now, facts))
        return;
    pool_audit_reason(REASON);
    enum error error = pool_rekey(pool, &options);
    pool_audit_reason(NULL);
    if (error != ERROR_NONE) {
        failed(facts, error_sentence(error), now);
    } else {
        message(MESSAGE_NOTICE, "the key was changed by rekey-every, as `key rekey --shallow` does");
        key_care_note_change(pool_directory(pool));
        key_watch_wake(); /* what was cached of the old key is of no use */
        key_age_note(pool);
        facts->failures = 0;
        facts->sentence[0] = '\0';
        facts->since = now;
        facts->due = now + facts->period;
    }
    pool_thread_end(); /* this thread lives on */
}

static void change_with(struct pool *pool, const struct pool_conf *conf, rekey_secret_find *find, void *context, uint64_t now,
                        struct rekey_every_facts *facts)
{
    const struct provider_ops *operations;
    char *passphrase = NULL;
    size_t size = 0;
    if (find != NULL && find(context, &passphrase, &size) != ERROR_NONE)
        error_forget();
    if (passphrase == NULL && provider_find(conf->provider, &operations) == ERROR_NONE && operations->needs_passphrase)
        failed(facts, "its passphrase has to be typed as a proof, and the daemon does not keep it", now);
    else
        change(pool, passphrase, size, now, facts);
    arena_free(passphrase);
}

/* Of a date that is still to come a clock was at fault. Behind a start that may be the one of now, until it is set; where it lasts
 * it was the one of the change, and the key may be of any age. */
static uint64_t due_at(uint64_t since, uint64_t now, struct rekey_every_facts *facts)
{
    bool to_come = key_date_is_to_come(since, now);
    if (!to_come || facts->to_come == 0 || facts->to_come > now)
        facts->to_come = to_come ? now : 0;
    return to_come ? facts->to_come + KEY_CLOCK_BELIEVED : since + facts->period;
}

static void look_at(struct pool *pool, const struct pool_conf *conf, rekey_secret_find *find, void *context, uint64_t now,
                    struct rekey_every_facts *facts)
{
    struct key_care_facts care;
    key_care_look(conf, &care);
    const struct key_date *since = &care.dates.change;
    bool same = care.known && since->seconds != 0 && uuid_equal(since->key.provider, care.present.key.provider) &&
                since->key.number == care.present.key.number;
    if (!same) {
        key_care_note_change(pool_directory(pool));
        facts->since = facts->due = 0;
        return;
    }
    if (facts->since != since->seconds) { /* somebody changed it */
        facts->failures = 0;
        facts->full = false;
        facts->sentence[0] = '\0';
    }
    facts->since = since->seconds;
    facts->due = due_at(since->seconds, now, facts);
    if (now >= facts->due && (facts->failures == 0 || now >= facts->again))
        change_with(pool, conf, find, context, now, facts);
}

static bool is_open(struct pool *pool)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    return status != NULL && pool_status(pool, status) == ERROR_NONE && !status->locked && !status->read_only && status->encryption;
}

void rekey_every_step(struct pool *pool, rekey_secret_find *find, void *context, uint64_t now, struct rekey_every_facts *facts)
{
    struct pool_conf *conf;
    error_forget();
    if (!is_open(pool) || pool_conf_read(pool_directory(pool), &conf) != ERROR_NONE)
        return;
    if (conf->rekey_every != facts->period)
        *facts = (struct rekey_every_facts){.period = conf->rekey_every};
    facts->looked = true;
    if (conf->rekey_every != 0 && conf->provider != NULL)
        look_at(pool, conf, find, context, now, facts);
    pool_conf_destroy(conf);
}

/* ---- the process's -------------------------------------------------------------------------------------------------- */

void rekey_every_init(struct pool *pool, rekey_secret_find *find, void *context)
{
    watch.pool = pool;
    watch.find = find;
    watch.context = context;
    mutex_init(&watch.lock, RANK_LEAF);
}

void rekey_every_run(void)
{
    struct rekey_every_facts facts;
    rekey_every_look(&facts);
    rekey_every_step(watch.pool, watch.find, watch.context, clock_seconds(), &facts);
    mutex_lock(&watch.lock);
    watch.facts = facts;
    mutex_unlock(&watch.lock);
}

void rekey_every_look(struct rekey_every_facts *facts)
{
    *facts = (struct rekey_every_facts){0};
    if (watch.pool == NULL)
        return;
    mutex_lock(&watch.lock);
    *facts = watch.facts;
    mutex_unlock(&watch.lock);
}

/* ---- health --------------------------------------------------------------------------------------------------------- */

void check_rekey_due(const struct health_facts *facts, struct finding *finding)
{
    const struct rekey_every_facts *every = &facts->every;
    char due[MOMENT_TEXT_SIZE], again[MOMENT_TEXT_SIZE];
    finding_good(finding, "the key is not changed by itself: rekey-every is not set");
    if (!facts->status->encryption)
        finding_good(finding, "there is no key: the pool is not encrypted");
    else if (every->period != 0 && !every->looked)
        finding_good(finding, "rekey-every is set; when the key is to be changed is not looked at yet");
    else if (every->period != 0 && every->due == 0)
        finding_good(finding, "rekey-every is set, and counts from now");
    else if (every->period != 0)
        snprintf(finding->evidence, sizeof finding->evidence, "the key is changed by itself (rekey-every) at %s",
                 moment_minute(every->due, due));
    if (every->failures == 0 || facts->status->locked || !facts->status->encryption)
        return;
    finding->severity = "warning";
    snprintf(finding->evidence, sizeof finding->evidence,
             "the key was to be changed by itself (rekey-every) at %s, and that failed %u time%s: %s; tried again at %s",
             moment_minute(every->due, due), every->failures, every->failures == 1 ? "" : "s", every->sentence,
             moment_minute(every->again, again));
    snprintf(finding->command, sizeof finding->command, every->full ? "%s key retire" : "%s key rekey --shallow", facts->self);
}
