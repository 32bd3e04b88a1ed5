/*
 * Throttle: who commits waits a little each time, so that nobody waits long at once.
 *
 * Three things can run out. The active table, while the frozen one is merged, and bytes, until that merge counts what died: a
 * batch waits in proportion to the fill of the table's second half, or of what is below and above the capacity, beyond what
 * the merge has done of its part. And free segments, while the cleaner makes some: commits are then
 * let in at a rate, that of the cleaner, more where more than the usual is free and less where less is. So the
 * free space finds the level at which commits take what the cleaner makes. What a merge emptied counts as free from then
 * on, though it comes with the publish: the level, and with it the rate, knows nothing of pieces. Only the last few segments
 * before a publish are given out more slowly, so that nobody stops for want of one.
 *
 * The rate is a line of bytes: each batch takes the place behind the one before, as long as what it may store, and waits
 * until the line has come to its place. So it does not matter how many connections there are, and they do not come all at
 * once. What it did not store in the end (duplicates, what compresses) it gives back. Nobody gains a place by not having
 * come before. The rate is asked anew while one waits, so an estimate that is wrong is wrong for a moment. Where space runs
 * out nevertheless, admission has the last word (group_wait_space).
 *
 * All under the group's lock; who waits holds nothing.
 */
#include <math.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

#define MERGE_WAIT    4000u                  /* nanoseconds, for each permille of pressure: at most 4 ms a batch */
#define RATE_LEAST    (UINT64_C(1) << 20)    /* bytes a second */
#define RATE_UNKNOWN  (UINT64_C(256) << 20)  /* where the cleaner never had to free anything, */
#define RATE_FIRST    (UINT64_C(64) << 20)   /* and where it begins to */
#define RATE_STEP     1.5  /* of what is to be free ahead: so much more, and the rate is four times as high */
#define RATE_USUAL    1.25 /* of what is to be free ahead: there commits get the rate of the cleaner. What is above the low
                            * segments lasts while a table is folded in, which gains nothing */
#define ROOM_LOW      5u   /* segments, below which the rate falls, so that it is not ended by the last of them */
#define RATE_PART     4u   /* of the usual rate that the last round is */
#define PACE_LOOK     CLOCK_MILLISECOND       /* who waits by a rate that has risen since waits too long by that at most */
#define PACE_WAIT_MAX CLOCK_SECOND           /* of one batch */

/* How much of the second half of the active table is used, of 1000. */
static uint64_t table_fill(const struct view *view)
{
    uint64_t capacity = recent_capacity(view->active), room = recent_room(view->active);
    uint64_t permille = capacity ? (capacity - MIN(room, capacity)) * 1000 / capacity : 0;
    return permille > 500 ? (permille - 500) * 2 : 0;
}

/* … beyond what the merge has done of its part; or of what may be committed before a merge counts what died. */
static uint64_t merge_pressure(const struct group *group)
{
    const struct view *view = group->view;
    if (!view->frozen && group->table_ready)
        return 0;
    uint64_t work = atomic_load(&group->merge_work), progress = MIN(atomic_load(&group->merge_progress), work);
    uint64_t done = work ? progress * 1000 / work : 1000, fill = MAX(table_fill(view), group_over_capacity(group));
    return fill > done ? fill - done : 0;
}

/* ---- the rate -------------------------------------------------------------------------------------------------------- */

/* Free segments that commits may take, with those that the next publish frees, of those that are to be free ahead. */
static double level_now(const struct group *group)
{
    double segments = (double)segments_writable(&group->segments) + group->pace.emptied + group->pace.freeing;
    return (segments - (double)group_commit_least(group)) / (double)group_clean_ahead(group);
}

/* Bytes a second that may be committed now; UINT64_MAX: as many as anybody likes. */
static uint64_t rate_now(const struct group *group)
{
    double level = level_now(group);
    if (level >= CLEAN_BEGIN)
        return UINT64_MAX;
    uint64_t usual = group->pace.clean_rate ? group->pace.clean_rate : RATE_UNKNOWN;
    uint64_t room = MIN(group_commit_room(group), ROOM_LOW);
    double rate = (double)usual * exp2((level - RATE_USUAL) * 2 / RATE_STEP) * (double)room / ROOM_LOW;
    return MAX((uint64_t)rate, RATE_LEAST);
}

void group_pace_begin(struct group *group, bool cleans)
{
    struct pace *pace = &group->pace;
    if (pace->gained) {
        uint64_t rate = (uint64_t)((double)pace->gained * CLOCK_SECOND / (double)MAX(pace->time, 1));
        pace->clean_rate = MAX((pace->clean_rate * (RATE_PART - 1) + rate) / RATE_PART, RATE_LEAST);
    } else if (cleans && pace->clean_rate == 0) {
        pace->clean_rate = RATE_FIRST;
    }
    pace->gained = pace->time = 0;
}

/* ---- the line -------------------------------------------------------------------------------------------------------- */

/* The line goes on to where it is now. Returns the rate. */
static uint64_t line_advance(struct group *group)
{
    struct pace *pace = &group->pace;
    uint64_t now = clock_monotonic(), rate = rate_now(group);
    if (rate == UINT64_MAX)
        pace->reached = MAX(pace->reached, pace->taken);
    else if (now > pace->since)
        pace->reached += (uint64_t)((double)(now - pace->since) * (double)rate / CLOCK_SECOND);
    pace->since = now;
    return rate;
}

/* Nanoseconds until the line comes to a place that is ahead, at this rate. */
static uint64_t line_wait(const struct group *group, uint64_t place, uint64_t rate)
{
    return MAX((uint64_t)((double)(place - group->pace.reached) * CLOCK_SECOND / (double)rate), 1);
}

/* Behind the last place in the line, or where it will be in the time that anybody waits at most: what many took beyond that is
 * not for those to pay who come later. */
static uint64_t place_last(const struct group *group, uint64_t rate)
{
    uint64_t taken = group->pace.taken;
    return rate == UINT64_MAX ? taken : MIN(taken, group->pace.reached + rate * (PACE_WAIT_MAX / CLOCK_SECOND));
}

static void place_await(struct group *group, uint64_t bytes)
{
    const struct pace *pace = &group->pace;
    mutex_lock(&group->lock);
    uint64_t rate = line_advance(group), place = MAX(place_last(group, rate), pace->reached), begin = pace->since;
    group->pace.taken = place + bytes;
    while (pace->reached < place && pace->since - begin < PACE_WAIT_MAX && !group_is_fenced(group)) {
        uint64_t wait = line_wait(group, place, rate);
        mutex_unlock(&group->lock);
        clock_sleep(MIN(wait, PACE_LOOK));
        mutex_lock(&group->lock);
        rate = line_advance(group);
    }
    mutex_unlock(&group->lock);
}

void group_throttle(struct group *group, uint64_t bytes)
{
    mutex_lock(&group->lock);
    uint64_t wait = merge_pressure(group) * MERGE_WAIT;
    mutex_unlock(&group->lock);
    if (wait)
        clock_sleep(wait);
    if (bytes)
        place_await(group, bytes);
}

void group_throttle_return(struct group *group, uint64_t bytes)
{
    mutex_lock(&group->lock);
    group->pace.taken -= MIN(group->pace.taken, bytes);
    mutex_unlock(&group->lock);
}
