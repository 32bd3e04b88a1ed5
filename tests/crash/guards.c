/*
 * Guards of snapshots. A pool goes back with a clock that is set back, but believes one that is set forward only a day later
 * (no life is as long), or with the next open where what is stored says the same. So its time is not beyond what it was at
 * the open and what passed since, and not before the earliest that the clock ever said and what passed since. The test
 * judges a call where both of them agree.
 *
 * One thread, that of families; nothing of it needs to survive a kill but what the pool itself keeps.
 */
#include "tests/crash/guards.h"

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/lives.h"
#include "tests/crash/versions.h"

#define GUARD_PERCENT  12
#define CLOCK_PERCENT  25
#define CLOCK_SET_MAX  86400 /* seconds, either way: no trash is emptied in less than days (lives.c sets it by weeks) */
#define LOCK_SHORT_MAX 40
#define LOCK_SOON      2 /* what is locked for less may be refused */

/* By how many seconds the clock that is set is ahead of the other one. */
static void note_ahead(struct session *session)
{
    struct opening_time *opened = &session->opened;
    int64_t ahead = (int64_t)clock_seconds() - (int64_t)(clock_monotonic() / CLOCK_SECOND) - 1;
    opened->ahead_least = opened->noted ? MIN(opened->ahead_least, ahead) : ahead;
    opened->noted = true;
}

void guards_opening(struct session *session)
{
    if (!session_works(session, WORK_GUARDS))
        return;
    note_ahead(session);
    session->opened.begin = clock_monotonic();
}

void guards_opened(struct session *session)
{
    if (!session_works(session, WORK_GUARDS))
        return;
    session->opened.wall_most = clock_seconds();
}

void guards_set_clock(struct session *session, int64_t seconds)
{
    lives_note_time(session);
    session_clock_set(seconds);
    lives_note_time(session);
    note_ahead(session);
}

static uint64_t time_least(const struct session *session)
{
    return (uint64_t)(session->opened.ahead_least + (int64_t)(clock_monotonic() / CLOCK_SECOND));
}

static uint64_t time_most(const struct session *session)
{
    return session->opened.wall_most + (clock_monotonic() - session->opened.begin) / CLOCK_SECOND;
}

/* A time to come: soon, or in days. */
static uint64_t lock_draw(const struct session *session, struct dice *dice)
{
    return time_most(session) + LOCK_SOON + dice_below(dice, dice_percent(dice, 60) ? LOCK_SHORT_MAX : 2 * CLOCK_SET_MAX);
}

struct guard guard_draw(struct session *session, struct dice *dice)
{
    struct guard guard = {0};
    if (!session_works(session, WORK_GUARDS))
        return guard;
    guard.hold = dice_percent(dice, GUARD_PERCENT);
    guard.locked_until = dice_percent(dice, GUARD_PERCENT) ? lock_draw(session, dice) : 0;
    return guard;
}

bool guard_refuses(struct session *session, const struct guard *guard, enum error error)
{
    return error == ERROR_INVALID && guard->locked_until != 0 && guard->locked_until <= time_most(session);
}

/* ---- deleting ----------------------------------------------------------------------------------------------------- */

struct guarded guarded_begin(struct session *session)
{
    bool works = session_works(session, WORK_GUARDS);
    return (struct guarded){.session = session, .least = works ? time_least(session) : 0};
}

void guarded_add(struct guarded *guarded, const struct version_state *version)
{
    if (!version->exists)
        return;
    guarded->held |= version->hold;
    guarded->last = MAX(guarded->last, version->locked_until);
}

void guarded_end(const struct guarded *guarded, enum error error, const char *name)
{
    if (!session_works(guarded->session, WORK_GUARDS))
        return;
    uint64_t most = time_most(guarded->session);
    if (error == ERROR_NONE && (guarded->held || guarded->last > most))
        fail("%s was deleted though a snapshot is %s: until %llu, and it is %llu at most", name,
             guarded->held ? "held" : "locked", (unsigned long long)guarded->last, (unsigned long long)most);
    if (error == ERROR_BUSY && !guarded->held && guarded->last <= guarded->least)
        fail("%s cannot be deleted though nothing guards it: %s", name, error_sentence(error));
}

/* ---- changing them ------------------------------------------------------------------------------------------------ */

/* What the engine must say of a lock; ERROR_AGAIN: either way, since its time may have come. */
static enum error judge_lock(const struct version_state *snapshot, uint64_t until, uint64_t least, uint64_t most)
{
    if (until == 0)
        return ERROR_NONE;
    if (until <= least)
        return ERROR_INVALID;
    if (until <= most)
        return ERROR_AGAIN;
    return until < snapshot->locked_until ? ERROR_ACCESS : ERROR_NONE;
}

/* Sometimes what must be refused. */
static uint64_t lock_draw_any(const struct session *session, const struct version_state *snapshot, struct dice *dice)
{
    uint64_t choice = dice_below(dice, 4);
    if (choice == 0)
        return 0;
    if (choice == 1)
        return 1 + dice_below(dice, MAX(snapshot->locked_until, time_least(session)));
    return lock_draw(session, dice);
}

static void protect(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0, version = draw_snapshot(session, family, dice);
    if (version == 0)
        return;
    const struct version_state *snapshot = version_of(session, family, version);
    enum snapshot_hold hold = (enum snapshot_hold)dice_below(dice, 3);
    uint64_t until = lock_draw_any(session, snapshot, dice), least = time_least(session);
    struct version_state *next = family_change_add(session, &count, family, version);
    *next = *snapshot;
    next->hold = hold == SNAPSHOT_HOLD_KEEP ? snapshot->hold : hold == SNAPSHOT_HOLD_SET;
    next->locked_until = MAX(snapshot->locked_until, until);
    version_name(family, version, name);
    family_changes_begin(session, count);
    enum error error = snapshot_protect(pool, name, hold, until);
    enum error wanted = judge_lock(snapshot, until, least, time_most(session));
    bool refused = error == ERROR_INVALID || error == ERROR_ACCESS;
    if (wanted != ERROR_AGAIN && (refused || error == ERROR_NONE) && error != wanted)
        fail("%s, locked until %llu, is to be until %llu, and it is %llu: %s (%s), not %s", name,
             (unsigned long long)snapshot->locked_until, (unsigned long long)until, (unsigned long long)least,
             error_name(error), error ? error_sentence(error) : "", error_name(wanted));
    family_changes_end(session, count, refused ? ERROR_BUSY : error, "protection of a snapshot");
}

void guard_change(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    if (session_clock_set != NULL && dice_percent(dice, CLOCK_PERCENT))
        guards_set_clock(session, (int64_t)dice_below(dice, 2 * CLOCK_SET_MAX) - CLOCK_SET_MAX);
    else
        protect(session, pool, family, dice);
}
