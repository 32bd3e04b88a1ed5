/*
 * The number of the key in force rises by one with each change that was answered well; one that failed may have come
 * about, and says so; one that a kill ended may have too. A number is of one provider: the one in force, or the one to which
 * it was to go. That the key opens the pool is shown by every restart.
 *
 * Data keys change too, one deep rekey after the other: where one was begun, and a kill may have ended it at any moment, the next
 * life goes on with it. What is told of slots must fit: each device has one current key, and nothing but that once all is done.
 * That what is stored is still there, every comparison shows; that no key is used twice for a block, the simulator (uses.c).
 * One that was told to wait waits behind a restart too, since orders are kept before they are answered; where it is to be
 * awaited it is told to go on at once. Old keys are retired; that nothing needed them, every restart shows.
 *
 * One thread. The bounds are set before a call, so a kill at any point is harmless.
 */
#include "tests/crash/rekeys.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/conf_edit.h"
#include "tests/crash/random.h"

#define PAUSE_MAX        CLOCK_SECOND
#define NEW_ROOT_PERCENT 25
#define SWAP_PERCENT     40
#define DEEP_PERCENT     50
#define ORDER_PERCENT    35 /* of what is done: a deep rekey is told to wait, or to go on */
#define RETIRE_PERCENT   15
#define DESTROY_PERCENT  70
#define SLOW_PERCENT     50
#define SLOW_RATE        (UINT64_C(8) << 20)
#define DEEP_LOOK        (50 * CLOCK_MILLISECOND)
#define DEEP_LOOKS       1200

static const char *const providers[] = {"native", "second"};

void rekeys_prepare(const struct session *session)
{
    char path[PATH_SIZE + 16];
    struct provider_config second = {.name = "second", .id = uuid_random(), .type = "native", .seal = "file", .path = path};
    int lock;
    snprintf(path, sizeof(path), "%s/second.key", session->pool); /* the conf says it as one of this directory */
    succeed(conf_edit_begin(session->pool, &lock), "lock the conf");
    succeed(conf_edit_add(session->pool, &second), "add a provider");
    conf_edit_end(lock);
}

/* The key in force must be the one of the bounds that its number says, and of its provider. */
static uint64_t in_force(const struct key_model *keys, struct pool *pool, const char *when)
{
    struct pool_key_status status;
    succeed(pool_key_status(pool, &status), "status of keys");
    if (keys->most == 0)
        return status.kek_number;
    if (status.kek_number < keys->least || status.kek_number > keys->most)
        fail("key %llu is in force %s, and it must be one of %llu to %llu", (unsigned long long)status.kek_number, when,
             (unsigned long long)keys->least, (unsigned long long)keys->most);
    unsigned provider = status.kek_number == keys->least ? keys->provider_of_least : keys->provider_of_most;
    if (strcmp(status.provider, providers[provider]) != 0)
        fail("key %llu is in force %s, of provider %s and not of %s", (unsigned long long)status.kek_number, when,
             status.provider, providers[provider]);
    return status.kek_number;
}

static void settle(struct key_model *keys, uint64_t now)
{
    keys->provider_of_least = now == keys->least ? keys->provider_of_least : keys->provider_of_most;
    keys->provider_of_most = keys->provider_of_least;
    keys->least = keys->most = now;
}

static void rekey(struct session *session, struct pool *pool, struct pool_rekey_options options, bool swaps)
{
    struct key_model *keys = &session->keys;
    keys->provider_of_most = swaps ? !keys->provider_of_least : keys->provider_of_least;
    keys->most = keys->least + 1;
    if (swaps)
        options.provider = providers[keys->provider_of_most];
    bool whole = keys->whole;
    keys->whole = false;
    keys->doing = swaps ? KEYS_SWAP : options.new_root ? KEYS_ROOT : KEYS_SHALLOW;
    enum error error = pool_rekey(pool, &options);
    keys->doing = KEYS_STAND;
    keys->whole = error == ERROR_NONE || (error == ERROR_BUSY && whole);
    uint64_t now = in_force(keys, pool, "after a change");
    if (error == ERROR_NONE && now != keys->most)
        fail("key %llu is in force after a change that was answered well", (unsigned long long)now);
    if (error != ERROR_BUSY) /* a deep rekey writes superblocks at its begin and end */
        (void)!succeeds(session, error, "change of keys");
    settle(keys, now);
}

/* Whether data is under more than one key of a device. */
static bool slots_judge(struct session *session, struct pool *pool)
{
    AUTO_FREE struct key_slot_info *slots = NULL;
    size_t count, current = 0;
    struct deep_rekey_status before, after;
    if (!succeeds(session, pool_deep_rekey_status(pool, &before), "status of a deep rekey") ||
        !succeeds(session, pool_key_slots(pool, &slots, &count), "slots of keys") ||
        !succeeds(session, pool_deep_rekey_status(pool, &after), "status of a deep rekey"))
        return false;
    for (size_t i = 0; i < count; i++)
        current += slots[i].current;
    if (current == 0 || (after.state == DEEP_REKEY_NONE && count != current) ||
        (before.state == DEEP_REKEY_COMPLETE && count != current))
        fail("%zu data keys are told, %zu of them in use, and the deep rekey is in state %d", count, current, (int)after.state);
    if (before.state == DEEP_REKEY_COMPLETE && !session->keys.one_dek) {
        session->keys.one_dek = true;
        session->keys.deep_ends++;
    }
    return count != current;
}

static void deep_await(struct session *session, struct pool *pool)
{
    for (unsigned n = 0; n < DEEP_LOOKS && !atomic_load(&session->over) && slots_judge(session, pool); n++)
        clock_sleep(DEEP_LOOK);
}

static void possible_add(struct session *session, enum deep_rekey_state state)
{
    session->keys.deep_possible |= 1u << state;
    if (state == DEEP_REKEY_RUNNING || state == DEEP_REKEY_COMPLETE)
        session->keys.deep_possible |= 1u << DEEP_REKEY_COMPLETE | 1u << DEEP_REKEY_NONE;
}

static bool had_moved_all(struct pool *pool)
{
    struct deep_rekey_status now;
    return pool_deep_rekey_status(pool, &now) != ERROR_NONE || now.bytes_left == 0;
}

/* An order that fits must be obeyed, and one that does not refused; meanwhile it may have come to its end. */
static void deep_order(struct session *session, struct pool *pool, bool pauses)
{
    struct deep_rekey_status before;
    if (!succeeds(session, pool_deep_rekey_status(pool, &before), "status of a deep rekey"))
        return;
    enum deep_rekey_state from = pauses ? DEEP_REKEY_RUNNING : DEEP_REKEY_PAUSED;
    possible_add(session, pauses ? DEEP_REKEY_PAUSED : DEEP_REKEY_RUNNING);
    enum error error = pauses ? pool_deep_rekey_pause(pool) : pool_deep_rekey_resume(pool);
    if (error != ERROR_NOT_FOUND && !succeeds(session, error, pauses ? "pause of a deep rekey" : "resume of a deep rekey"))
        return;
    if ((error == ERROR_NONE && before.state != from) || (error == ERROR_NOT_FOUND && before.state == from && !pauses))
        fail("a deep rekey in state %d is told to %s: %s", (int)before.state, pauses ? "wait" : "go on", error_name(error));
    if (error != ERROR_NONE)
        return;
    atomic_fetch_add(&session->done[DONE_ORDERS], 1);
    session->keys.deep_possible = 0;
    possible_add(session, pauses ? DEEP_REKEY_PAUSED : DEEP_REKEY_RUNNING);
    if (pauses && had_moved_all(pool)) /* its last step may have failed behind the superblocks that say so */
        session->keys.deep_possible |= 1u << DEEP_REKEY_NONE;
}

static void deep_orders(struct session *session, struct pool *pool, struct dice *dice)
{
    bool pauses = dice_percent(dice, 50);
    deep_order(session, pool, pauses);
    if (pauses && session->settings.awaits_deep && !atomic_load(&session->over)) {
        deep_order(session, pool, false);
        deep_await(session, pool);
    }
}

/* What is in force is never among them. A file can only be destroyed. */
static void retire(struct session *session, struct pool *pool, struct dice *dice)
{
    struct pool_retire_options options = {.destroy = dice_percent(dice, DESTROY_PERCENT)};
    struct pool_key_status status;
    uint64_t retired = 0;
    enum error error = pool_key_retire(pool, &options, &retired);
    bool refused = error == ERROR_BUSY || error == ERROR_NOT_FOUND || (error == ERROR_INVALID && !options.destroy);
    if (!refused && !succeeds(session, error, "end of old keys"))
        return;
    succeed(pool_key_status(pool, &status), "status of keys");
    if (error == ERROR_NONE && (retired == 0 || (options.destroy && status.retained_count > POOL_RETAINED_MAX - 1)))
        fail("%llu old keys were ended, and %zu are left", (unsigned long long)retired, status.retained_count);
    atomic_fetch_add(&session->done[DONE_RETIRED], retired);
    (void)in_force(&session->keys, pool, "after the end of old ones");
}

static void deep_rekey(struct session *session, struct pool *pool, struct dice *dice)
{
    struct pool_rekey_options options = {0};
    bool under_way = slots_judge(session, pool), one_dek = session->keys.one_dek;
    session->keys.one_dek = false;
    session->keys.doing = KEYS_DEEP;
    possible_add(session, DEEP_REKEY_RUNNING);
    enum error error = pool_deep_rekey(pool, &options, dice_percent(dice, session->settings.awaits_deep ? 0 : SLOW_PERCENT) ? SLOW_RATE : 0);
    session->keys.doing = KEYS_STAND;
    session->keys.one_dek = error == ERROR_BUSY && one_dek;
    if (error == ERROR_BUSY && under_way) /* it is about time that it came to its end */
        error = pool_deep_rekey_throttle(pool, 0);
    if (error == ERROR_NOT_FOUND || error == ERROR_BUSY) /* it did meanwhile; or it is just about to */
        error = ERROR_NONE;
    (void)!succeeds(session, error, "deep rekey");
    if (session->settings.awaits_deep)
        deep_await(session, pool);
}

void rekeys_run(void *argument)
{
    const struct rekeys_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 86028121 + session->round + atomic_load(&session->clock.now)};
    while (!atomic_load(&session->stop) && !atomic_load(&session->over)) {
        bool swaps = dice_percent(&dice, SWAP_PERCENT);
        if (dice_percent(&dice, ORDER_PERCENT))
            deep_orders(session, run->pool, &dice);
        else if (dice_percent(&dice, RETIRE_PERCENT))
            retire(session, run->pool, &dice);
        else if (dice_percent(&dice, DEEP_PERCENT))
            deep_rekey(session, run->pool, &dice);
        else
            rekey(session, run->pool, (struct pool_rekey_options){.new_root = dice_percent(&dice, NEW_ROOT_PERCENT)}, swaps);
        atomic_fetch_add(&session->calls, 1);
        clock_sleep(dice_below(&dice, PAUSE_MAX));
    }
}

void rekeys_compare(struct session *session, struct pool *pool)
{
    struct pool_key_status status;
    struct deep_rekey_status deep;
    uint64_t now = in_force(&session->keys, pool, "after a start");
    if (now == 0)
        fail("an open pool has no key in force");
    settle(&session->keys, now);
    (void)slots_judge(session, pool);
    succeed(pool_key_status(pool, &status), "status of keys");
    if (!succeeds(session, pool_deep_rekey_status(pool, &deep), "status of a deep rekey"))
        return;
    unsigned possible = session->keys.deep_possible;
    bool forgets = deep.state == DEEP_REKEY_RUNNING && session_met(TROUBLE_MEMORY); /* orders that it could not read */
    if (possible != 0 && (possible >> deep.state & 1) == 0 && !forgets)
        fail("a deep rekey is in state %d, and must not be (%x)", (int)deep.state, possible);
    session->keys.deep_possible = 0;
    possible_add(session, deep.state);
    session_keys_judge(pool, &status, deep.state == DEEP_REKEY_NONE);
    session->keys.whole = true;
    session->keys.one_dek |= deep.state == DEEP_REKEY_NONE;
}
