/*
 * Durability and the threads that see to it: sync, fence, syncer, keeper.
 *
 * A flush (group_sync): close the open buffer, write, wait for all before it, flush the devices, answer. Whoever comes
 * while a flush of devices runs shares the next one: it begins after their writes are complete.
 *
 * The syncer writes and syncs what nobody asked for, and flushes the devices ahead of whoever will ask: a device that has
 * little in its cache is soon done, one with half a gigabyte answers nothing for most of a second. It rests as long
 * after each of these flushes as the flush took, so that a slow device has half of its time for others. The keeper
 * never waits for a flush: writers may be waiting for its segments.
 *
 * A crash is harmless: flushing more than was asked for changes nothing but how much survives.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/view.h"

#define WRITE_AGE CLOCK_SECOND       /* an open buffer is written after */
#define SYNC_AGE (5 * CLOCK_SECOND)  /* and synced after */
#define TICK (250 * CLOCK_MILLISECOND) /* of keeper and syncer, where nobody wakes them */
/* Measured with 1 MiB writes: 8 MiB keep 99.9 % of them below 25 ms and the longest below 0.1 to 0.4 s, 64 MiB below 66 ms
 * and 0.3 s, nothing at all below 0.2 to 0.4 s and 1.1 s; the rate was the same. */
#define FLUSH_AHEAD_BYTES (UINT64_C(8) << 20)

_Atomic uint64_t flush_ahead_bytes = FLUSH_AHEAD_BYTES;
_Atomic uint64_t write_age = WRITE_AGE;

enum error group_fence(struct group *group, enum error error)
{
    int expected = ERROR_NONE;
    if (error == ERROR_NONE)
        error = ERROR_FENCED;
    if (atomic_compare_exchange_strong(&group->fenced, &expected, (int)error))
        message(MESSAGE_ERROR, "group %s is out of service until it is opened again: %s", group_name(group),
                error_sentence(error));
    return ERROR_FENCED;
}

void group_device_written(struct group *group, uint32_t device) { atomic_store(&group->written[device], true); }

/* Signalled without the lock: a signal that comes too early is followed by that of the next append, or by the tick. */
void group_append_written(struct group *group, uint32_t device, size_t bytes)
{
    group_device_written(group, device);
    if (atomic_fetch_add(&group->unflushed, bytes) + bytes >= atomic_load(&flush_ahead_bytes))
        condition_signal(&group->syncer_wake);
}

static enum error devices_flush(struct group *group)
{
    struct device_io ios[GROUP_DEVICES];
    size_t count = 0;
    atomic_store(&group->unflushed, 0);
    for (uint32_t d = 0; d < group->device_count; d++)
        if (atomic_exchange(&group->written[d], false))
            ios[count++] = (struct device_io){.device = group->devices[d], .operation = DEVICE_FLUSH};
    if (count == 0)
        return ERROR_NONE;
    enum error error = device_run(ios, count);
    return error ? group_fence(group, error) : ERROR_NONE;
}

/* One flush at a time: whoever finds a device's mark taken away by another must wait for that one's flush. */
enum error group_flush_devices(struct group *group)
{
    enum error error = ERROR_NONE;
    mutex_lock(&group->sync_lock);
    uint64_t wanted = group->sync_started + 1;
    while (group->sync_done < wanted && !error) {
        if (group_is_fenced(group)) {
            error = ERROR_FENCED;
        } else if (group->syncing) {
            condition_wait(&group->sync_changed, &group->sync_lock);
        } else {
            group->syncing = true;
            uint64_t number = ++group->sync_started;
            mutex_unlock(&group->sync_lock);
            error = devices_flush(group);
            mutex_lock(&group->sync_lock);
            group->syncing = false;
            if (!error)
                group->sync_done = number;
            condition_broadcast(&group->sync_changed);
        }
    }
    mutex_unlock(&group->sync_lock);
    return error;
}

/* Of two flushes of one device at a time, one that fails may take the other's error with it, and what both were to make
 * durable (the kernel tells an error once): so whoever flushes a device by himself keeps the group from it. */
void group_flush_hold(struct group *group)
{
    mutex_lock(&group->sync_lock);
    while (group->syncing)
        condition_wait(&group->sync_changed, &group->sync_lock);
    group->syncing = true;
    mutex_unlock(&group->sync_lock);
}

void group_flush_release(struct group *group)
{
    mutex_lock(&group->sync_lock);
    group->syncing = false;
    condition_broadcast(&group->sync_changed);
    mutex_unlock(&group->sync_lock);
}

static void durable_raise(struct group *group, uint64_t sequence)
{
    uint64_t now = atomic_load(&group->durable);
    while (now < sequence && !atomic_compare_exchange_weak(&group->durable, &now, sequence))
        ;
}

/* Closes the journal's open buffer, as soon as that is possible; ERROR_AGAIN where an empty append would have to wait: it
 * states `durable` and no more, which is not worth waiting for a segment that may never come (a close waits for the syncer). */
static enum error journal_close(struct group *group, bool even_empty, uint64_t *ticket, uint64_t *sequence)
{
    for (;;) {
        if (group_is_fenced(group))
            return ERROR_FENCED;
        mutex_lock(&group->lock);
        bool ready = even_empty ? log_is_ready(&group->journal) : log_can_close(&group->journal);
        if (ready) {
            *ticket = log_close(&group->journal, even_empty);
            *sequence = group->journal.last_sequence;
        }
        mutex_unlock(&group->lock);
        if (ready)
            return ERROR_NONE;
        if (even_empty)
            return ERROR_AGAIN;
        TRY(group_wait_room(group));
    }
}

static enum error sync_journal(struct group *group, bool even_empty)
{
    uint64_t ticket, sequence;
    TRY(journal_close(group, even_empty, &ticket, &sequence));
    TRY(log_advance(&group->journal));
    TRY(log_wait(&group->journal, ticket));
    TRY(group_flush_devices(group));
    durable_raise(group, sequence);
    mutex_lock(&group->lock);
    group->synced_at = clock_monotonic();
    mutex_unlock(&group->lock);
    return group_is_fenced(group) ? ERROR_FENCED : ERROR_NONE;
}

enum error group_sync(struct group *group) { return sync_journal(group, false); }

/* ---- the syncer ---------------------------------------------------------------------------------------------------- */

/* An open buffer does not stay in memory for long; and what `durable` says gets onto the disk after some idle time. */
static void journal_age(struct group *group)
{
    uint64_t now = clock_monotonic();
    mutex_lock(&group->lock);
    struct log *journal = &group->journal;
    bool write = journal->open && now - journal->open->opened > atomic_load(&write_age);
    bool idle = now > group->synced_at + SYNC_AGE;
    bool unsynced = journal->last_sequence > group_durable(group) || (journal->open && idle);
    bool unstated = group_durable(group) > journal->durable_stated;
    uint64_t ticket = 0;
    if (write && log_is_ready(journal))
        ticket = log_close(journal, false);
    mutex_unlock(&group->lock);
    enum error error = ticket ? log_advance(journal) : write ? log_wait_buffer(journal) : ERROR_NONE;
    if (!error && idle && (unsynced || unstated))
        error = sync_journal(group, !unsynced);
    if (error && error != ERROR_AGAIN && !group_is_fenced(group))
        message(MESSAGE_WARNING, "group %s: %s", group_name(group), error_sentence(error));
}

/* Returns the time before which the next one is not wanted. */
static uint64_t flush_ahead(struct group *group)
{
    uint64_t sequence = log_written_sequence(&group->journal), begin = clock_monotonic();
    if (group_flush_devices(group) == ERROR_NONE) /* an error has fenced the group */
        durable_raise(group, sequence);
    uint64_t end = clock_monotonic();
    return end + (end - begin);
}

void group_syncer_thread(void *argument)
{
    struct group *group = argument;
    uint64_t aged = 0, rested = 0;
    mutex_lock(&group->thread_lock);
    while (!group->stopping) {
        uint64_t now = clock_monotonic(), due = aged + TICK;
        bool much = atomic_load(&group->unflushed) >= atomic_load(&flush_ahead_bytes);
        if (now < due && (!much || now < rested)) {
            condition_wait_until(&group->syncer_wake, &group->thread_lock, much ? MIN(due, rested) : due);
            continue;
        }
        mutex_unlock(&group->thread_lock);
        if (now >= due) {
            if (!group_is_fenced(group))
                journal_age(group);
            aged = now;
        }
        if (much && now >= rested)
            rested = group_is_fenced(group) ? UINT64_MAX : flush_ahead(group);
        mutex_lock(&group->thread_lock);
    }
    mutex_unlock(&group->thread_lock);
}

/* ---- the sealer ---------------------------------------------------------------------------------------------------- */

void group_sealer_wake(struct group *group)
{
    mutex_lock(&group->thread_lock);
    group->sealer_needed = true;
    condition_signal(&group->sealer_wake);
    mutex_unlock(&group->thread_lock);
}

/* Sealing is tagging, encrypting and submitting: a sixth of the work of moving a segment, and more than a millisecond of a journal's
 * buffer, which one write in thirty had to wait for. What nobody comes to here is sealed by who waits for it (log.c). The header
 * of the next cold segment is waited for here too. */
void group_sealer_thread(void *argument)
{
    struct group *group = argument;
    struct log *logs[] = {&group->journal, &group->cold, &group->meta, &group->twin};
    thread_give_way();
    mutex_lock(&group->thread_lock);
    while (!group->stopping) {
        if (!group->sealer_needed) {
            condition_wait(&group->sealer_wake, &group->thread_lock);
            continue;
        }
        group->sealer_needed = false;
        mutex_unlock(&group->thread_lock);
        for (size_t i = 0; i < COUNT_OF(logs); i++)
            if (log_advance(logs[i]))
                break; /* the group is out of service, and the merge finds it so */
        if (!group_is_fenced(group))
            log_prepare_ahead(&group->cold);
        mutex_lock(&group->thread_lock);
    }
    mutex_unlock(&group->thread_lock);
}

/* ---- the keeper ---------------------------------------------------------------------------------------------------- */

void group_keeper_wake(struct group *group)
{
    /* Called under the group's lock: only a flag and a signal, which need no lock of their own to be seen at last. */
    atomic_store(&group->keeper_needed, true);
    condition_signal(&group->keeper_wake);
}

void group_room_changed(struct group *group)
{
    mutex_lock(&group->section->mutex);
    condition_broadcast(&group->section->changed);
    mutex_unlock(&group->section->mutex);
}

void group_keeper_thread(void *argument)
{
    struct group *group = argument;
    mutex_lock(&group->thread_lock);
    while (!group->stopping) {
        if (!atomic_exchange(&group->keeper_needed, false))
            condition_wait_until(&group->keeper_wake, &group->thread_lock, clock_monotonic() + TICK);
        atomic_store(&group->keeper_needed, false);
        mutex_unlock(&group->thread_lock);
        if (!group_is_fenced(group)) {
            if (log_prepare(&group->journal) == ERROR_NONE)
                group_room_changed(group);
            group_allocate_ahead(group);
        }
        mutex_lock(&group->lock);
        bool short_of_space = segments_writable(&group->segments) < group_clean_target(group);
        mutex_unlock(&group->lock);
        mutex_lock(&group->thread_lock);
        if (short_of_space) /* a segment was taken: the cleaner does not wait for its next look */
            condition_signal(&group->merge_wake);
    }
    mutex_unlock(&group->thread_lock);
}
