/*
 * A checkpoint record that brings nothing but the audit's anchor: number and time are new, roots, start, sequence, joints and
 * leases those of the record before. All that it names was durable before that one was written, so nothing is flushed first, and no
 * segment changes. Who knows the record may ask the witness to know its number, as behind any publish.
 *
 * The merge's thread alone writes records, between two merges, since it alone changes group->checkpoint. A crash leaves the record
 * before on some devices and this one on others: the newest counts, and says the same of the tables.
 *
 * `audit` and `audit_wanted` under the group's lock; what waits polls, since the lock of merge_done takes nothing inside.
 */
#include "engine/group/anchor.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"

#define LOOK (20 * CLOCK_MILLISECOND)

void group_anchor_set(struct group *group, const struct audit_anchor *anchor)
{
    mutex_lock(&group->lock);
    if (anchor->count > group->audit.count)
        group->audit = *anchor;
    mutex_unlock(&group->lock);
}

bool anchor_is_due(struct group *group)
{
    mutex_lock(&group->lock);
    bool due = group->audit_wanted > group->checkpoint.audit.count;
    mutex_unlock(&group->lock);
    return due;
}

enum error anchor_write(struct group *group)
{
    struct checkpoint checkpoint = group->checkpoint;
    mutex_lock(&group->lock);
    checkpoint.audit = group->audit;
    mutex_unlock(&group->lock);
    checkpoint.number++;
    checkpoint.time = clock_seconds();
    enum error error = checkpoint_record(group, &checkpoint);
    if (error)
        return group_fence(group, error_prefix(error, "group %s: the anchor of the audit", group_name(group)));
    mutex_lock(&group->lock);
    group->checkpoint = checkpoint;
    mutex_unlock(&group->lock);
    atomic_fetch_add(&group->totals.checkpoints, 1);
    if (group->config.published)
        group->config.published(group->config.context, checkpoint.number, checkpoint.sequence);
    return ERROR_NONE;
}

/* Whether there is somebody to do it. */
static bool is_served(struct group *group)
{
    mutex_lock(&group->thread_lock);
    bool served = group->threads_running > 0 && !group->stopping;
    mutex_unlock(&group->thread_lock);
    return served && !group_is_fenced(group);
}

void group_anchor_publish(struct group *group, uint64_t patience)
{
    uint64_t until = clock_monotonic() + patience;
    mutex_lock(&group->lock);
    group->audit_wanted = group->audit.count;
    mutex_unlock(&group->lock);
    while (anchor_is_due(group) && is_served(group) && clock_monotonic() < until) {
        mutex_lock(&group->thread_lock);
        condition_signal(&group->merge_wake);
        condition_wait_until(&group->merge_done, &group->thread_lock, MIN(until, clock_monotonic() + LOOK));
        mutex_unlock(&group->thread_lock);
    }
}
