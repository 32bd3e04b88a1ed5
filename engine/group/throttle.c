/*
 * Throttle: who commits waits a little each time, so that nobody waits long at once.
 *
 * Two things can run out. The active table, while the frozen one is merged: a batch waits in proportion to the fill of its
 * second half beyond what the merge has done of its part. And free segments, while the cleaner makes some: what it makes
 * comes all at once, with the publish. So what is left until then, less what the cleaner itself will yet write to, is
 * spread over the time until then: commits are let in at that rate. The time is what the last merge that cleaned took, or
 * what follows from the progress of the one that runs. Each batch pays with what it stored, and the next ones wait until
 * that is paid; so it does not matter how many connections there are, nor how well the data compresses.
 *
 * The rate is asked anew for each batch, so an estimate that is wrong is wrong for a moment. Where space runs out
 * nevertheless, admission has the last word (group_wait_space).
 *
 * All under the group's lock; who waits holds nothing.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

#define TABLE_WAIT    4000u                    /* nanoseconds, for each permille of pressure: at most 4 ms a batch */
#define RATE_LEAST    (UINT64_C(1) << 20)      /* bytes a second */
#define PACE_WAIT_MAX (50 * CLOCK_MILLISECOND) /* of one batch */
#define TIME_LEFT_LEAST 8u                     /* this part of the usual time: flushes come after the last progress */

/* How much of the second half of the active table is used beyond what the merge has done of its part, of 1000. */
static uint64_t table_pressure(const struct group *group)
{
    const struct view *view = group->view;
    uint64_t capacity = recent_capacity(view->active), room = recent_room(view->active);
    bool merging = view->frozen || !group->table_ready;
    uint64_t permille = capacity ? (capacity - MIN(room, capacity)) * 1000 / capacity : 0;
    if (!merging || permille < 500)
        return 0;
    uint64_t work = atomic_load(&group->merge_work), progress = MIN(atomic_load(&group->merge_progress), work);
    uint64_t done = work ? progress * 1000 / work : 1000, fill = (permille - 500) * 2;
    return fill > done ? fill - done : 0;
}

/* Until the next publish that frees segments. */
static uint64_t time_left(const struct group *group, uint64_t now)
{
    uint64_t usual = group->clean_time, passed = now - group->active_since;
    if (!group->view->frozen)
        return usual;
    uint64_t work = atomic_load(&group->merge_work), progress = MIN(atomic_load(&group->merge_progress), work);
    uint64_t left = progress >= work / 4 && progress ? (uint64_t)((double)passed * (double)(work - progress) / (double)progress)
                                                     : usual - MIN(passed, usual);
    return MAX(left, usual / TIME_LEFT_LEAST);
}

/* Bytes a second that may be committed now; UINT64_MAX: as many as anybody likes. */
static uint64_t rate_now(const struct group *group, uint64_t now)
{
    uint64_t size = segment_size(&group->segments), left = group_commit_room(group);
    if (group->clean_time == 0 || left >= 2 * group_clean_ahead(group))
        return UINT64_MAX;
    uint64_t bytes = left * size - MIN(group->clean_owed, left * size);
    return MAX((uint64_t)((double)bytes * CLOCK_SECOND / (double)time_left(group, now)), RATE_LEAST);
}

void group_throttle(struct group *group)
{
    uint64_t now = clock_monotonic();
    mutex_lock(&group->lock);
    uint64_t wait = table_pressure(group) * TABLE_WAIT;
    if (group->paced_until > now)
        wait += MIN(group->paced_until - now, PACE_WAIT_MAX);
    mutex_unlock(&group->lock);
    if (wait)
        clock_sleep(wait);
}

void group_throttle_pay(struct group *group, uint64_t bytes)
{
    mutex_lock(&group->lock);
    uint64_t now = clock_monotonic(); /* not before a freeze that is known */
    uint64_t rate = rate_now(group, now);
    if (rate == UINT64_MAX)
        group->paced_until = 0;
    else
        group->paced_until = MIN(MAX(group->paced_until, now) + bytes * CLOCK_SECOND / rate, now + CLOCK_SECOND);
    mutex_unlock(&group->lock);
}
