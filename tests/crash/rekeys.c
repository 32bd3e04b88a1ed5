/*
 * The number of the key in force rises by one with each change that was answered well; one that failed may have come
 * about, and says so; one that a kill ended may have too. That the key opens the pool is shown by every restart.
 *
 * One thread. The bounds are set before a call, so a kill at any point is harmless.
 */
#include "tests/crash/rekeys.h"

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/random.h"

#define PAUSE_MAX        CLOCK_SECOND
#define NEW_ROOT_PERCENT 40

static uint64_t number_in_force(struct pool *pool)
{
    struct pool_key_status status;
    succeed(pool_key_status(pool, &status), "status of keys");
    return status.kek_number;
}

static void rekey(struct session *session, struct pool *pool, bool new_root)
{
    struct key_model *keys = &session->keys;
    keys->most = keys->least + 1;
    enum error error = pool_rekey(pool, &(struct pool_rekey_options){.new_root = new_root});
    uint64_t now = number_in_force(pool);
    if (now < keys->least || now > keys->most || (error == ERROR_NONE && now != keys->most))
        fail("key %llu is in force after a change of key %llu: %s", (unsigned long long)now, (unsigned long long)keys->least,
             error_name(error));
    (void)!succeeds(session, error, "change of keys");
    keys->least = keys->most = now;
}

void rekeys_run(void *argument)
{
    const struct rekeys_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 86028121 + session->round + atomic_load(&session->clock.now)};
    while (!atomic_load(&session->stop) && !atomic_load(&session->over)) {
        rekey(session, run->pool, dice_percent(&dice, NEW_ROOT_PERCENT));
        atomic_fetch_add(&session->calls, 1);
        clock_sleep(dice_below(&dice, PAUSE_MAX));
    }
}

void rekeys_compare(struct session *session, struct pool *pool)
{
    struct key_model *keys = &session->keys;
    uint64_t now = number_in_force(pool);
    if (now == 0)
        fail("an open pool has no key in force");
    if (keys->most != 0 && (now < keys->least || now > keys->most))
        fail("key %llu is in force, and it must be one of %llu to %llu", (unsigned long long)now,
             (unsigned long long)keys->least, (unsigned long long)keys->most);
    keys->least = keys->most = now;
}
