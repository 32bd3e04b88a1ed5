/*
 * The number of the key in force rises by one with each change that was answered well; one that failed may have come
 * about, and says so; one that a kill ended may have too. A number is of one provider: the one in force, or the one to which
 * it was to go. That the key opens the pool is shown by every restart.
 *
 * Data keys change too, one deep rekey after the other: where one was begun, and a kill may have ended it at any moment, the next
 * life goes on with it. What is told of slots must fit: each device has one current key, and nothing but that once all is done.
 * That what is stored is still there, every comparison shows; that no key is used twice for a block, the simulator (uses.c).
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
#define SLOW_PERCENT     50
#define SLOW_RATE        (UINT64_C(8) << 20)
#define DEEP_LOOK        (50 * CLOCK_MILLISECOND)
#define DEEP_LOOKS       1200

static const char *const providers[] = {"native", "second"};

void rekeys_prepare(const struct session *session)
{
    char path[PATH_SIZE];
    struct provider_config second = {.name = "second", .id = uuid_random(), .type = "native", .seal = "file", .path = path};
    int lock;
    snprintf(path, sizeof(path), "%s/second.key", session->settings.directory);
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

static void deep_rekey(struct session *session, struct pool *pool, struct dice *dice)
{
    struct pool_rekey_options options = {0};
    bool under_way = slots_judge(session, pool), one_dek = session->keys.one_dek;
    session->keys.one_dek = false;
    session->keys.doing = KEYS_DEEP;
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
        if (dice_percent(&dice, DEEP_PERCENT))
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
    session_keys_judge(pool, &status, deep.state == DEEP_REKEY_NONE);
    session->keys.whole = true;
    session->keys.one_dek |= deep.state == DEEP_REKEY_NONE;
}
