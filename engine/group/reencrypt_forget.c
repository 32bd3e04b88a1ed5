/*
 * Headers that outlive what they were written for. A slot that is free again keeps its header, and what is behind it, until
 * somebody writes there: some keep their space for the journal and the cleaner, and many devices know no discards. Such a header
 * tells serial and salt, by which an old DEK opens what the slot still holds: before the old DEK goes each is overwritten. Nothing
 * else tells the salt: records and segment tables that did are under the old K_log, or in such slots themselves.
 *
 * Three kinds of slots have one. A free one is taken meanwhile, so that no log gets it, and discarded behind the write. One that a
 * log goes on in, and has no header for yet, is borrowed of the log. A segment that nothing was written to, whose header
 * a crash took or is on its way, is waited for: a merge that folds frees it. No other segment has a header but its own, and
 * before the old DEK goes all that was seen is flushed, else a crash brings back what such headers were written over.
 *
 * A crash is harmless: the header of a slot that nothing names is nobody's, and until the last one is overwritten, durably, the old
 * DEK is there. What lies behind them stays where nothing discards it: the key of that is not to be derived any more.
 *
 * One thread, that of reencrypt.c; the group's lock around each look at the table, none across I/O.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/group.h"

#define READINGS 2u

static bool is_header(const struct segment_format *block)
{
    return memcmp(block->magic, SEGMENT_MAGIC, sizeof block->magic) == 0;
}

static bool names_current_key(const struct group *group, uint32_t device, const struct segment_format *header)
{
    return le32_get(header->key_slot) == keyring_current(group_keyring(group, device), KEY_KIND_DEK)->number;
}

/* Into the window; NULL where it cannot be read. */
static enum error header_look(struct reencrypt *r, uint32_t index, const struct segment_format **header)
{
    const struct segments *segments = &r->group->segments;
    struct device *device = r->group->devices[segment_device(segments, index)];
    enum error error = device_read(device, segment_offset(segments, index), r->windows[0].bytes, BLOCK_SIZE);
    *header = error ? NULL : (const struct segment_format *)r->windows[0].bytes;
    return error == ERROR_IO ? ERROR_NONE : error;
}

static bool is_harmless(const struct group *group, uint32_t index, const struct segment_format *header)
{
    uint32_t d = segment_device(&group->segments, index);
    bool own = is_header(header) && header->device_index == d &&
               le32_get(header->slot) == segment_slot(&group->segments, index);
    return own ? names_current_key(group, d, header) : memory_is_zero(header, BLOCK_SIZE);
}

/* Whether the header of a slot may tell how to derive a key from an old DEK. A read may give something else than what is
 * there, and zeros are nobody's: only what is harmless twice is. What cannot be read, a write may mend. */
static enum error may_name_old_key(struct reencrypt *r, uint32_t index, bool *may)
{
    *may = false;
    for (unsigned i = 0; i < READINGS && !*may; i++) {
        const struct segment_format *header;
        TRY(header_look(r, index, &header));
        *may = !header || !is_harmless(r->group, index, header);
    }
    return ERROR_NONE;
}

/* The slot is ours. */
static enum error header_overwrite(struct reencrypt *r, uint32_t index)
{
    struct group *group = r->group;
    uint32_t d = segment_device(&group->segments, index);
    mutex_lock(&group->lock);
    bool allocated = group->segments.table[index].allocated;
    mutex_unlock(&group->lock);
    enum error space = allocated ? ERROR_NONE
                                 : group_allocate(group, group->devices[d], segment_offset(&group->segments, index), index, 1);
    if (space)
        return space == ERROR_NO_SPACE ? ERROR_AGAIN : space;
    memset(r->windows[0].bytes, 0, BLOCK_SIZE);
    enum error error = device_write(group->devices[d], segment_offset(&group->segments, index), r->windows[0].bytes, BLOCK_SIZE,
                                    DEVICE_DURABLE);
    group_device_written(group, d);
    return error ? group_fence(group, error) : ERROR_NONE;
}

/* ERROR_NOT_FOUND: it is not free any more. */
static enum error free_take(struct group *group, uint32_t index)
{
    mutex_lock(&group->lock);
    bool free = group->segments.table[index].state == SLOT_FREE, room = reencrypt_has_room(group);
    if (free && room)
        segment_take_free(&group->segments, index);
    mutex_unlock(&group->lock);
    return !free ? ERROR_NOT_FOUND : room ? ERROR_NONE : ERROR_AGAIN;
}

/* What is behind the header may stay, where the file system below is full, or the device knows no discards: nothing derives
 * its key any more. */
static void free_give_back(struct group *group, uint32_t index)
{
    struct segments *segments = &group->segments;
    mutex_lock(&group->lock);
    bool kept = segments->full != 0 && segments->table[index].allocated;
    mutex_unlock(&group->lock);
    if (!kept && device_discard(group->devices[segment_device(segments, index)], segment_offset(segments, index),
                                segment_size(segments)))
        error_forget();
    mutex_lock(&group->lock);
    segment_free(segments, index, kept);
    mutex_unlock(&group->lock);
    group_room_changed(group);
}

static enum error free_forget(struct reencrypt *r, uint32_t index)
{
    bool left;
    TRY(may_name_old_key(r, index, &left));
    enum error error = left ? free_take(r->group, index) : ERROR_NONE;
    if (error == ERROR_NOT_FOUND)
        r->waits = true; /* a log took it since the look, and may leave it without a header for long */
    if (!left || error)
        return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
    error = header_overwrite(r, index);
    free_give_back(r->group, index);
    return error;
}

/* A segment that nothing was written to yet: its header may be on its way, or a crash may have lost it, and below is what the slot
 * had before. It has one soon, or is free soon, by a merge that folds. */
static bool holds_nothing(const struct segment *segment)
{
    return !segment->stuck && segment->live == 0 && segment->pages == 0;
}

static enum error slot_forget(struct reencrypt *r, uint32_t index)
{
    struct group *group = r->group;
    const struct segment *segment = &group->segments.table[index];
    bool left = false;
    mutex_lock(&group->lock);
    bool free = segment->state == SLOT_FREE, nothing = holds_nothing(segment);
    mutex_unlock(&group->lock);
    if (free)
        return free_forget(r, index);
    if (nothing)
        TRY(may_name_old_key(r, index, &left));
    r->waits |= left;
    return ERROR_NONE;
}

/* One that a log goes on in, and has no header for yet. */
static enum error reserved_forget(struct reencrypt *r, struct log *log)
{
    bool left = false;
    uint32_t index;
    TRY(log_reserved_borrow(log, &index));
    enum error error = index == SEGMENT_NONE ? ERROR_NONE : may_name_old_key(r, index, &left);
    if (!error && left)
        error = header_overwrite(r, index);
    log_reserved_return(log);
    return error;
}

enum error reencrypt_forget(struct reencrypt *r)
{
    struct group *group = r->group;
    struct log *const logs[] = {&group->journal, &group->meta, &group->twin, &group->cold};
    ASSERT(!r->in_flight && !r->has_next); /* the window is free */
    for (size_t i = 0; i < COUNT_OF(logs) && r->forgotten == 0; i++)
        TRY(reserved_forget(r, logs[i]));
    for (; r->forgotten < group->segments.count; r->forgotten++) {
        TRY(slot_forget(r, r->forgotten));
        TRY(r->breathe(r->context, 0, clock_monotonic()));
    }
    bool waits = r->waits;
    if (waits)
        reencrypt_forget_anew(r);
    return waits ? ERROR_AGAIN : group_flush_devices(group);
}

void reencrypt_forget_anew(struct reencrypt *r)
{
    r->forgotten = 0;
    r->waits = false;
}
