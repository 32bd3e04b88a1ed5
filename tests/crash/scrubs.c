/*
 * The state of a scrub changes by orders, or by itself to complete. An order is saved a moment later, so a restart may find
 * the state of any order since the last one. What it finds must be there: where nothing was misread since the pool
 * was opened, there is no damage that was not known.
 *
 * One thread.
 */
#include "tests/crash/scrubs.h"

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/random.h"

#define PAUSE_MAX (4 * CLOCK_SECOND)
#define STATES    (SCRUB_COMPLETE + 1)

static const char *const state_names[STATES] = {"never", "running", "paused", "cancelled", "complete"};

static void possible_add(struct session *session, enum scrub_state state)
{
    session->scrub.possible |= 1u << state;
    if (state == SCRUB_RUNNING)
        session->scrub.possible |= 1u << SCRUB_COMPLETE;
}

/* Known damage may become more in number by itself: what it means for objects is found out later, and ranges are cut. */
static void judge_status(const struct session *session, const struct scrub_status *status)
{
    if (status->damages != 0 && session->scrub.damages == 0 && !session_met(TROUBLE_READS))
        fail("a scrub knows of %llu damages; when the pool was opened there were none, and nothing was misread since",
             (unsigned long long)status->damages);
}

/* Of an order; the state may have become complete, or the group gone out of service, before it was heard. */
static void judge_order(struct session *session, enum scrub_state before, enum error error, bool fits, enum error refusal,
                        const char *order)
{
    bool moved = before == SCRUB_RUNNING;
    if (error == ERROR_FENCED && !succeeds(session, error, "order to a scrub"))
        return;
    if (error == (fits ? ERROR_NONE : refusal) || (moved && (error == ERROR_NONE || error == refusal)))
        return;
    fail("the order to %s a scrub that is %s: %s", order, state_names[before], error_name(error));
}

static uint64_t rate_draw(struct dice *dice)
{
    static const uint64_t rates[] = {0, SCRUB_RATE_KEEP, SCRUB_RATE_DEFAULT, UINT64_C(4) << 20, SCRUB_RATE_MIN};
    return rates[dice_below(dice, COUNT_OF(rates))];
}

static void order(struct session *session, struct pool *pool, enum scrub_state now, struct dice *dice)
{
    bool begun = now == SCRUB_RUNNING || now == SCRUB_PAUSED;
    switch (dice_below(dice, 6)) {
    case 0:
        possible_add(session, SCRUB_PAUSED);
        judge_order(session, now, pool_scrub_pause(pool), now == SCRUB_RUNNING, ERROR_NOT_FOUND, "pause");
        break;
    case 1:
        possible_add(session, SCRUB_CANCELLED);
        judge_order(session, now, pool_scrub_cancel(pool), begun, ERROR_NOT_FOUND, "cancel");
        break;
    case 2:
        succeed(pool_scrub_throttle(pool, rate_draw(dice)), "throttle of a scrub");
        break;
    case 3:
        possible_add(session, SCRUB_RUNNING);
        judge_order(session, now, pool_scrub_resume(pool), now == SCRUB_PAUSED, ERROR_NOT_FOUND, "resume");
        break;
    default:
        possible_add(session, SCRUB_RUNNING);
        judge_order(session, now, pool_scrub_start(pool, rate_draw(dice)), !begun, ERROR_BUSY, "start");
    }
}

void scrubs_run(void *argument)
{
    const struct scrubs_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 32452843 + session->round + atomic_load(&session->clock.now)};
    while (!atomic_load(&session->stop) && !atomic_load(&session->over)) {
        struct scrub_status status;
        bool told = succeeds(session, pool_scrub_status(run->pool, &status), "status of a scrub");
        if (told)
            judge_status(session, &status);
        if (told && !atomic_load(&session->over) && !status.fenced)
            order(session, run->pool, status.state, &dice);
        atomic_fetch_add(&session->calls, 1);
        clock_sleep(dice_below(&dice, PAUSE_MAX));
    }
}

bool scrubs_compare(struct session *session, struct pool *pool)
{
    struct scrub_status status;
    enum error error;
    do
        error = pool_scrub_status(pool, &status);
    while (session_again(session, error, "status of a scrub"));
    if (error != ERROR_NONE)
        return false;
    if (session->scrub.possible != 0 && (session->scrub.possible >> status.state & 1) == 0)
        fail("a scrub is %s, and must not be", state_names[status.state]);
    session->scrub.possible = 0;
    possible_add(session, status.state);
    session->scrub.damages = status.damages;
    return true;
}
