/*
 * Deep rekey: new data keys for all devices, and all that is stored encrypted anew under them, while the pool is in use, and a
 * new K_log for each, under which all headers and checkpoint records are made anew (SECURITY 2 to 4, 6).
 *
 *   prove     the present KEK opens every superblock
 *   orders    the rate, for the number of the new DEK, where one is given (deep_rekey_file.c)
 *   slots     every superblock is written with a new DEK and a new K_log in new key slots, the current ones from now on, and a new
 *             K_pool, and read back; only then the group has them. Whatever begins is under them at once, and so is what K_pool
 *             seals (k_pool_change.c). Old K_logs that no segment needs go
 *   journal   it leaves the segments that have a header under the old key, and a publish moves its start behind them
 *   segments  one after the other is encrypted anew, with a new header (reencrypt.c); publishes in between, which fold nothing in,
 *             give the old slots back. What is still written, or needed by replay, gets its turn when it is not any more
 *   destroy   where nothing is under an old DEK, no segment, no reserved one and no slot that a view may read, and all checkpoint
 *             records are under the new K_log: every superblock is written without it, demands the new K_log of headers and
 *             records, and the new K_pool, and is read back; then it is wiped in memory
 *
 * An old K_log stays as long as there is a segment that was begun under it: its tags are not made anew, and they are all that it
 * is good for. So they gather, and each takes a slot of its own superblock and of all others. Where they have no room for one
 * more the job brings no new K_log, and says so.
 *
 * What is done stands in the segment table alone, segment by segment, so a crash at any moment costs the copies that were not
 * published. After the orders alone there is no job: they are of a key that does not exist, and the next job writes its own
 * before it makes that. Before the slots are in all superblocks the next open finds old ones next to new ones: that is what makes
 * it go on, and devices that lack the new slots get them first: a superblock has all that the job brings or none of it,
 * and each device is under its own keys meanwhile (deep_rekey_keys.c). In "destroy" it finds the old slot on some devices, nothing
 * under it, and removes it there.
 *
 * The KEK is kept in the arena until the old DEKs are destroyed, for nobody may be there to give a passphrase when it comes
 * to that; a change of the KEK meanwhile brings its own. It is no more than the DEKs beside it.
 *
 * Locks: deep->mutex, a leaf, for the figures and for orders from outside, which come under pool->lock. pool->changing while
 * superblocks are written: no lock, unlock or change of keys runs then. One job at a time.
 */
#include "engine/pool/deep_rekey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/size.h"
#include "crypto/arena.h"
#include "engine/pool/damage.h"
#include "engine/pool/keys.h"
#include "engine/pool/rekey.h"
#include "engine/pool/rewrap.h"

#define REST           (20 * CLOCK_MILLISECOND) /* until what is published has given its slots back */
#define END_REST       (5 * CLOCK_MILLISECOND)   /* where nothing can be moved now, at first: all segments are looked through */
#define END_REST_MAX   (100 * CLOCK_MILLISECOND)
#define HOLDUP_REST    CLOCK_SECOND
#define SLOTS_REST_MAX (3600 * CLOCK_SECOND)    /* each try takes an epoch, and writes all superblocks */
#define FOLD_PERIOD    CLOCK_SECOND             /* at the end, of publishes that fold the table in */
#define PUBLISH_READY  16u                      /* segments that are worth a publish */
#define LOAD_SHARE     4                        /* with other load, one part in so many of the time */
#define LOAD_PAUSE_MAX (CLOCK_SECOND / 2)

bool deep_rekey_is_unfinished(const struct group *group)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        if (keyring_has_old(group_keyring(group, d)))
            return true;
    return false;
}

/* ---- key slots, with pool->changing held ------------------------------------------------------------------------- */

/* Superblocks first, durable and read back; then the group. `demand`: from now on headers, records and what K_pool seals are good
 * under the newest keys alone. */
static enum error keyrings_write(struct pool *pool, struct keyring **keyrings, bool demand, const uint8_t kek[KEY_SIZE])
{
    struct group *group = pool->group;
    struct wrapping present = group->superblocks[0].wrapping;
    struct rewrap rewrap = {.pool = pool, .group = group, .keyrings = keyrings, .demands_newest = demand};
    enum error error = rewrap_under_one(&rewrap, &present, kek);
    if (!error)
        error = group_keyrings_exchange(group, keyrings);
    if (error)
        deep_rekey_keys_drop(group, keyrings);
    return error;
}

/* A K_log beside the DEK where there is room for one. A DEK that no device has yet brings a new K_pool, too. */
static enum error slots_add(struct pool *pool, const struct keyring_new *numbers, const uint8_t kek[KEY_SIZE])
{
    struct keyring *keyrings[GROUP_DEVICES];
    struct k_pools *k_pools;
    TRY(k_pool_next(pool, numbers->data_key > deep_rekey_number(pool->group, KEY_KIND_DEK), &k_pools));
    enum error error = deep_rekey_keys_with(pool->group, numbers, k_pools, keyrings);
    if (!error)
        error = keyrings_write(pool, keyrings, false, kek);
    if (!error)
        k_pool_use(pool, k_pools);
    arena_free(k_pools);
    return error;
}

static enum error slots_remove(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    struct keyring *keyrings[GROUP_DEVICES];
    TRY(deep_rekey_keys_without(pool->group, keyrings));
    TRY(keyrings_write(pool, keyrings, true, kek));
    k_pool_demanded(pool);
    return ERROR_NONE;
}

/* To keys that all devices have, where a crash left some without the newest. */
static enum error slots_level(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    const struct group *group = pool->group;
    return slots_add(pool, &(struct keyring_new){.data_key = deep_rekey_number(group, KEY_KIND_DEK),
                                                 .log_key = deep_rekey_number(group, KEY_KIND_LOG)}, kek);
}

/* An open, a lock or another change of keys is at work: ERROR_AGAIN. */
static enum error changing_take(struct pool *pool)
{
    mutex_lock(&pool->lock);
    enum error error = pool->changing ? ERROR_AGAIN : ERROR_NONE;
    pool->changing = true;
    mutex_unlock(&pool->lock);
    return error;
}

static void changing_give(struct pool *pool)
{
    mutex_lock(&pool->lock);
    pool->changing = false;
    mutex_unlock(&pool->lock);
}

static enum error kek_prove(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    struct rewrap rewrap = {.pool = pool, .group = pool->group};
    return rewrap_open_all(&rewrap, kek, false);
}

/* The one that is kept; where another came into force unheard, what the provider gives without a person. */
static enum error kek_take(struct deep_rekey *deep, uint8_t kek[KEY_SIZE])
{
    struct pool *pool = deep->pool;
    enum kek_state state;
    memcpy(kek, deep->kek, KEY_SIZE);
    if (kek_prove(pool, kek) != ERROR_WRONG_KEY)
        return ERROR_NONE; /* other errors are met by who writes */
    error_forget();
    return pool_keys_open(pool->providers, pool->witness, &pool->group->superblocks[0], NULL, kek, &state);
}

static enum error slots_write(struct deep_rekey *deep, bool remove)
{
    struct pool *pool = deep->pool;
    uint8_t *kek = arena_allocate(KEY_SIZE);
    if (!kek)
        return ERROR_NO_MEMORY;
    enum error error = kek_take(deep, kek);
    if (!error)
        error = remove ? slots_remove(pool, kek) : slots_level(pool, kek);
    arena_free(kek);
    return error;
}

static enum error kek_judge(const struct pool *pool)
{
    int state = atomic_load(&pool->kek_state);
    if (state == KEK_CACHED)
        return error_explain(ERROR_ACCESS, "the key of provider %s came from the cache in the TPM: it goes on when a server gives it",
                             pool->provider->name);
    if (state != KEK_ACTIVE)
        return error_explain(ERROR_ACCESS,
                             "the key of provider %s is no longer active: make another one first, `%s key rekey --shallow`",
                             pool->provider->name, pool->command);
    return ERROR_NONE;
}

/* What fails is tried again ever less often. The provider is another one's to change but for who changes keys. */
static enum error slots_change(struct deep_rekey *deep, bool remove)
{
    struct pool *pool = deep->pool;
    TRY(changing_take(pool));
    enum error error = kek_judge(pool);
    if (!error) {
        error = slots_write(deep, remove);
        if (!error && remove) {
            pool_audit(pool, "key.destroy-data-keys", ERROR_NONE);
            pool_audit_anchor(pool);
        }
        deep->slots_pause = error ? MIN(MAX(2 * deep->slots_pause, HOLDUP_REST), SLOTS_REST_MAX) : 0;
        deep->holdup_rest = MAX(deep->slots_pause, HOLDUP_REST);
    }
    changing_give(pool);
    return error;
}

/* ---- the throttle ------------------------------------------------------------------------------------------------ */

static bool goes_on(const struct deep_rekey *deep)
{
    return !deep->stopping && deep->armed && deep->state == DEEP_REKEY_RUNNING;
}

static bool others_work(struct deep_rekey *deep)
{
    struct pool_totals *totals = &deep->pool->totals;
    uint64_t requests = atomic_load(&totals->user_reads) + atomic_load(&totals->user_writes);
    bool busy = requests != deep->user_requests || atomic_load(&deep->pool->batches) != 0;
    deep->user_requests = requests;
    return busy;
}

static uint64_t pause_after(struct deep_rekey *deep, uint64_t rate, uint64_t bytes, uint64_t elapsed)
{
    uint64_t fair = rate ? (uint64_t)((double)bytes * (double)CLOCK_SECOND / (double)rate) : 0;
    uint64_t pause = fair > elapsed ? fair - elapsed : 0;
    deep->reencrypt.gently = others_work(deep);
    if (deep->reencrypt.gently)
        pause = MAX(pause, MIN((LOAD_SHARE - 1) * elapsed, LOAD_PAUSE_MAX));
    return pause;
}

static enum error breathe(void *context, uint64_t bytes, uint64_t since)
{
    struct deep_rekey *deep = context;
    mutex_lock(&deep->mutex);
    uint64_t rate = deep->rate, now = clock_monotonic(), deadline = now + pause_after(deep, rate, bytes, now - since);
    while (goes_on(deep) && deep->rate == rate && clock_monotonic() < deadline)
        condition_wait_until(&deep->wake, &deep->mutex, deadline);
    deep->bytes += bytes;
    deep->nanoseconds += clock_monotonic() - since;
    bool on = goes_on(deep);
    mutex_unlock(&deep->mutex);
    return on ? ERROR_NONE : ERROR_INTERRUPTED;
}

/* What lay there is known as lost, also after a restart, until a scrub has looked whose it is. The header of a segment is made
 * anew. */
static void lost_enter(void *context, uint64_t serial, uint32_t first, uint32_t end)
{
    struct pool *pool = ((struct deep_rekey *)context)->pool;
    first = MAX(first, 1);
    if (first >= end)
        return;
    struct damage damage = {
        .kind = DAMAGE_STORED,
        .fault = DAMAGE_UNREADABLE,
        .lost = true,
        .owner = serial,
        .first = (uint64_t)first * BLOCK_GRAINS,
        .end = (uint64_t)end * BLOCK_GRAINS,
        .serial = serial,
        .offset = first * BLOCK_GRAINS,
    };
    damage_place(pool->group, &damage);
    damages_add(pool->damages, &damage);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* A merge that folds the table in: what was sealed before replay need not read any more, and the logs of merges begin anew. It
 * may take a second; what needs it not is moved meanwhile. */
static void fold_begin(struct deep_rekey *deep)
{
    deep->folded_at = clock_monotonic();
    deep->fold = reencrypt_fold_begin(deep->pool->group);
}

static bool fold_is_under_way(struct deep_rekey *deep)
{
    if (deep->fold && reencrypt_fold_is_over(deep->pool->group, deep->fold))
        deep->fold = 0;
    return deep->fold != 0;
}

/* Where no segment is prepared for it, it comes with a later turn. */
static enum error journal_leave(struct deep_rekey *deep)
{
    TRY(group_leave_journal(deep->pool->group, &deep->journal_left));
    if (deep->journal_left)
        fold_begin(deep);
    return ERROR_NONE;
}

static enum error destroy(struct deep_rekey *deep)
{
    struct pool *pool = deep->pool;
    char bytes[32];
    TRY(k_pool_settle(pool));
    TRY(slots_change(deep, true));
    deep_rekey_orders_forget(pool->directory);
    mutex_lock(&deep->mutex);
    deep->state = DEEP_REKEY_COMPLETE;
    uint64_t moved = deep->bytes, lost = deep->blocks_lost;
    mutex_unlock(&deep->mutex);
    message(lost ? MESSAGE_ERROR : MESSAGE_NOTICE,
            "pool %s: all that is stored is under the new data keys, all headers and records are under tag key %" PRIu32 ", and "
            "the old data keys are destroyed; %s were encrypted anew, %" PRIu64
            " blocks could not be read since the last start and are lost",
            pool->directory, deep_rekey_number(pool->group, KEY_KIND_LOG), size_format(moved, bytes, sizeof bytes), lost);
    return ERROR_NONE;
}

static void rest(struct deep_rekey *deep, uint64_t time)
{
    uint64_t deadline = clock_monotonic() + time;
    mutex_lock(&deep->mutex);
    if (!deep->stopping)
        condition_wait_until(&deep->wake, &deep->mutex, deadline);
    mutex_unlock(&deep->mutex);
}

/* Nothing can be moved now: what is left is on its way, still written, needed by replay, or could not be read. */
static enum error end_reach(struct deep_rekey *deep)
{
    struct group *group = deep->pool->group;
    reencrypt_publish(group);
    bool none = group_has_no_old_share(group);
    enum error error = none ? reencrypt_forget(&deep->reencrypt) : ERROR_AGAIN;
    if (error != ERROR_AGAIN)
        return error ? error : destroy(deep);
    if (!none)
        reencrypt_forget_anew(&deep->reencrypt);
    if (deep->journal_left && !fold_is_under_way(deep) && clock_monotonic() - deep->folded_at >= FOLD_PERIOD &&
        (none || reencrypt_needs_fold(group)))
        fold_begin(deep);
    deep->end_rest = MIN(MAX(2 * deep->end_rest, END_REST), END_REST_MAX);
    return ERROR_AGAIN;
}

static enum error turn(struct deep_rekey *deep)
{
    struct group *group = deep->pool->group;
    if (!deep_rekey_keys_are_level(group))
        TRY(slots_change(deep, false));
    if (!deep->journal_left)
        TRY(journal_leave(deep));
    enum error error = reencrypt_segment(&deep->reencrypt);
    mutex_lock(&deep->mutex);
    deep->blocks_lost = deep->reencrypt.blocks_lost;
    mutex_unlock(&deep->mutex);
    if (error == ERROR_NOT_FOUND)
        return end_reach(deep);
    deep->end_rest = 0;
    if (error == ERROR_AGAIN || (!error && reencrypt_ready(group) >= PUBLISH_READY))
        reencrypt_publish(group);
    return error;
}

static bool may_work(struct deep_rekey *deep)
{
    mutex_lock(&deep->mutex);
    bool may = goes_on(deep);
    mutex_unlock(&deep->mutex);
    return may && !atomic_load(&deep->pool->locked) && !group_is_fenced(deep->pool->group);
}

static bool has_ended(struct deep_rekey *deep)
{
    mutex_lock(&deep->mutex);
    bool ended = deep->stopping || deep->state == DEEP_REKEY_COMPLETE;
    mutex_unlock(&deep->mutex);
    return ended;
}

/* It goes on with others meanwhile, but cannot come to its end. */
static bool is_unread(struct deep_rekey *deep)
{
    size_t unread = reencrypt_unread(&deep->reencrypt);
    if (unread && !deep->told_unread)
        message(MESSAGE_WARNING, "pool %s: the deep rekey could not read a segment, and tries again every other second; "
                                 "`%s key status` shows how much is left",
                deep->pool->directory, deep->pool->command);
    deep->told_unread = unread != 0;
    return unread != 0;
}

/* What holds it up is told once, not at each try. */
static bool is_holdup(struct deep_rekey *deep, enum error error)
{
    bool holds_up = error && error != ERROR_AGAIN && error != ERROR_INTERRUPTED && error != ERROR_TIMED_OUT;
    if (holds_up && error != deep->told)
        message(MESSAGE_ERROR,
                "pool %s: the deep rekey cannot go on: %s; it tries again, in the end once an hour, and at once after `%s key pause` "
                "and `key resume`",
                deep->pool->directory, error_sentence(error), deep->pool->command);
    deep->told = holds_up ? error : ERROR_NONE;
    bool unread = is_unread(deep);
    mutex_lock(&deep->mutex);
    deep->holdup = !holds_up && unread ? ERROR_IO : deep->told;
    mutex_unlock(&deep->mutex);
    return holds_up;
}

static void deep_rekey_run(void *argument)
{
    struct deep_rekey *deep = argument;
    thread_lower_priority();
    while (!has_ended(deep)) {
        (void)fold_is_under_way(deep);
        if (!may_work(deep)) {
            deep->slots_pause = 0;
            rest(deep, HOLDUP_REST);
            continue;
        }
        error_forget();
        deep->holdup_rest = HOLDUP_REST;
        enum error error = turn(deep);
        bool holds_up = is_holdup(deep, error);
        if (error && error != ERROR_INTERRUPTED)
            rest(deep, holds_up ? deep->holdup_rest : deep->end_rest ? deep->end_rest : REST);
    }
}

/* ---- begin and end ----------------------------------------------------------------------------------------------- */

static void deep_rekey_free(struct deep_rekey *deep)
{
    reencrypt_deinit(&deep->reencrypt);
    mutex_deinit(&deep->mutex);
    condition_deinit(&deep->wake);
    arena_free(deep->kek);
    free(deep);
}

static struct deep_rekey *taken(struct pool *pool, struct deep_rekey *next)
{
    mutex_lock(&pool->lock);
    struct deep_rekey *before = pool->deep_rekey;
    pool->deep_rekey = next;
    mutex_unlock(&pool->lock);
    return before;
}

static void end(struct deep_rekey *deep)
{
    if (!deep)
        return;
    mutex_lock(&deep->mutex);
    deep->stopping = true;
    condition_broadcast(&deep->wake);
    mutex_unlock(&deep->mutex);
    thread_join(&deep->thread);
    deep_rekey_free(deep);
}

static enum error prepare(struct deep_rekey *deep)
{
    TRY(reencrypt_init(&deep->reencrypt, deep->pool->group));
    deep->reencrypt.breathe = breathe;
    deep->reencrypt.lost = lost_enter;
    deep->reencrypt.context = deep;
    deep->kek = arena_allocate(KEY_SIZE);
    if (!deep->kek)
        return ERROR_NO_MEMORY;
    return thread_start(&deep->thread, "deep-rekey", deep_rekey_run, deep);
}

/* With all that it needs, but for the word to begin. */
static enum error deep_rekey_create(struct pool *pool, uint64_t rate)
{
    struct deep_rekey *deep = memory_zeroed(1, sizeof *deep);
    if (!deep)
        return ERROR_NO_MEMORY;
    deep->pool = pool;
    deep->state = DEEP_REKEY_RUNNING;
    deep->rate = rate;
    deep->started = clock_realtime() / CLOCK_SECOND;
    mutex_init(&deep->mutex, RANK_LEAF);
    condition_init(&deep->wake);
    enum error error = prepare(deep);
    if (error) {
        deep_rekey_free(deep);
        return error;
    }
    end(taken(pool, deep)); /* one that was complete */
    return ERROR_NONE;
}

static void arm(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    mutex_lock(&pool->lock);
    struct deep_rekey *deep = pool->deep_rekey;
    memcpy(deep->kek, kek, KEY_SIZE);
    mutex_lock(&deep->mutex);
    deep->log_key_stays = deep_rekey_log_key_stays(pool->group);
    deep->armed = true;
    condition_broadcast(&deep->wake);
    mutex_unlock(&deep->mutex);
    mutex_unlock(&pool->lock);
}

/* What was said to it before. */
static void orders_take(struct pool *pool)
{
    struct deep_rekey *deep = pool->deep_rekey;
    struct deep_rekey_orders orders;
    if (!deep_rekey_orders_load(pool->directory, deep_rekey_number(pool->group, KEY_KIND_DEK), &orders))
        return;
    mutex_lock(&deep->mutex);
    deep->rate = orders.rate;
    deep->state = orders.paused ? DEEP_REKEY_PAUSED : DEEP_REKEY_RUNNING;
    mutex_unlock(&deep->mutex);
    if (orders.paused)
        message(MESSAGE_NOTICE, "pool %s: the deep rekey is paused, as it was; `%s key resume` lets it go on", pool->directory,
                pool->command);
}

enum error deep_rekey_start(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    TRY(deep_rekey_create(pool, 0));
    orders_take(pool);
    arm(pool, kek);
    return ERROR_NONE;
}

void deep_rekey_stop(struct pool *pool)
{
    end(taken(pool, NULL));
}

void deep_rekey_kek_changed(struct pool *pool, const uint8_t kek[KEY_SIZE])
{
    mutex_lock(&pool->lock);
    struct deep_rekey *deep = pool->deep_rekey;
    if (deep) {
        memcpy(deep->kek, kek, KEY_SIZE);
        mutex_lock(&deep->mutex);
        condition_broadcast(&deep->wake); /* it may have waited for that */
        mutex_unlock(&deep->mutex);
    }
    mutex_unlock(&pool->lock);
}

static enum error begin(struct pool *pool, uint64_t rate) REQUIRES(pool->lock)
{
    TRY(pool_check_usable(pool));
    if (pool->read_only)
        return error_explain(ERROR_READ_ONLY, "pool %s is open for reading only", pool->directory);
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key to change", pool->directory);
    if (rate != 0 && rate < DEEP_REKEY_RATE_MIN)
        return error_explain(ERROR_INVALID, "a deep rekey at %" PRIu64 " bytes a second would hardly end: say 64K or more", rate);
    if (pool->changing)
        return error_explain(ERROR_BUSY, "pool %s is being locked, or its keys are being changed, right now", pool->directory);
    if (pool->keys_half_written) /* a K_pool of the same number and other bytes would come beside that one */
        return error_explain(ERROR_BUSY, "a deep rekey failed in its middle, and some devices may have its keys: `%s lock` and `%s unlock` "
                                         "(or a restart) find out, and go on with it", pool->command, pool->command);
    if (deep_rekey_is_unfinished(pool->group))
        return error_explain(ERROR_BUSY, "a deep rekey is under way already: `%s key status` shows it", pool->command);
    pool->changing = true;
    return ERROR_NONE;
}

/* Before a superblock names the new key: a crash finds its orders, or no such job. Without a rate only where orders are left
 * over, of a job that did not come to its superblocks and would have brought this very key. Who lost the rate at a restart would
 * be told so. */
static void orders_begin(struct pool *pool, uint32_t data_key, uint64_t rate)
{
    enum error error = deep_rekey_orders_begin(pool->directory, &(struct deep_rekey_orders){data_key, rate, false});
    if (error)
        message(MESSAGE_WARNING, "pool %s: the rate of the deep rekey holds until the next start: %s", pool->directory,
                error_sentence(error));
    error_forget();
}

static enum error run(struct pool *pool, const struct provider_secret *secret, uint64_t rate, uint8_t kek[KEY_SIZE])
{
    struct group *group = pool->group;
    struct rewrap rewrap = {.pool = pool, .group = group};
    struct wrapping present = group->superblocks[0].wrapping;
    enum kek_state state;
    TRY(pool_keys_open(pool->providers, pool->witness, &group->superblocks[0], secret, kek, &state));
    if (state != KEK_ACTIVE)
        return error_explain(ERROR_ACCESS,
                             "the key of provider %s is no longer active: nothing is wrapped under it any more; make another one "
                             "first, `%s key rekey --shallow`",
                             pool->provider->name, pool->command);
    TRY(rewrap_open_all(&rewrap, kek, false));
    if (rewrap_is_half_done(group))
        TRY(rewrap_under_one(&rewrap, &present, kek));
    const struct keyring_new numbers = {.data_key = deep_rekey_number(group, KEY_KIND_DEK) + 1,
                                        .log_key = deep_rekey_number(group, KEY_KIND_LOG) + 1};
    orders_begin(pool, numbers.data_key, rate);
    enum error error = slots_add(pool, &numbers, kek);
    if (!error)
        return ERROR_NONE;
    error = error_prefix(error, "no data key was changed");
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    /* Some superblocks may have the new slot, of which the group knows nothing: they are written as they were. */
    pool->keys_half_written = rewrap_under_one(&rewrap, &present, kek) != ERROR_NONE;
    if (pool->keys_half_written)
        message(MESSAGE_WARNING, "pool %s: some devices may have got new keys, to which the next start moves all", pool->directory);
    else
        deep_rekey_orders_forget(pool->directory);
    return sentence ? error_explain(error, "%s", sentence) : error;
}

static void begun_tell(struct pool *pool)
{
    const struct group *group = pool->group;
    message(MESSAGE_NOTICE, "pool %s: data key %" PRIu32 " and tag key %" PRIu32 " are in use for all that is written; what is "
                            "stored is encrypted anew from now on, `%s key status` shows how far it is",
            pool->directory, deep_rekey_number(group, KEY_KIND_DEK), deep_rekey_number(group, KEY_KIND_LOG), pool->command);
    if (deep_rekey_log_key_stays(group))
        message(MESSAGE_WARNING, "pool %s: this deep rekey brings no new tag key, for there is no room beside the old ones, "
                                 "which segments of their times need; they go as the cleaner empties those",
                pool->directory);
}

static enum error deep_rekey_in_use(struct pool *pool, const struct pool_rekey_options *options, uint64_t rate)
{
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    uint8_t *kek = arena_allocate(KEY_SIZE);
    if (!kek)
        return ERROR_NO_MEMORY;
    enum error error = deep_rekey_create(pool, rate); /* first: with two keys there has to be somebody who goes on */
    if (!error) {
        error = run(pool, options->passphrase ? &secret : NULL, rate, kek);
        if (error)
            deep_rekey_stop(pool);
        else if (!rate)
            deep_rekey_orders_forget(pool->directory);
        if (!error)
            arm(pool, kek);
    }
    arena_free(kek);
    if (!error)
        begun_tell(pool);
    return error;
}

enum error pool_deep_rekey(struct pool *pool, const struct pool_rekey_options *options, uint64_t rate)
{
    mutex_lock(&pool->lock);
    enum error error = begin(pool, rate);
    if (error) {
        mutex_unlock(&pool->lock);
        return error;
    }
    pool_group_use(pool);
    error = deep_rekey_in_use(pool, options, rate);
    pool_audit_by(pool, "key.rekey-deep", key_proof_name(options), error);
    pool_audit_anchor(pool);
    pool_group_leave(pool);
    pool->changing = false;
    mutex_unlock(&pool->lock);
    return error;
}
