/*
 * The segments of an open log: the next one is reserved, gets space below it, then its header, and only then is it there
 * for the log to go on in. log.h tells states and locks.
 *
 * A crash leaves a segment with a header that nothing names, or without one: free for the next open, or the journal's
 * next, as the header before it says.
 */
#include "engine/group/log.h"

#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/group/section.h"

/* Of a journal's segments prepared ahead, where space is left for commits beside them: a device that is flushed may stand still
 * for tens of milliseconds, and each segment is full after 16. */
#define JOURNAL_AHEAD_BYTES (UINT64_C(16) << 20)
#define AHEAD_BUFFERS 4u /* of a log of the merge's are left in a segment when the one after is prepared ahead of need, */
#define AHEAD_ROOM    8u /* segments being left for cleaning: it can do without this one */
/* Left in a segment behind the buffer that is open: with less nobody commits before the next one is prepared. It is what a commit
 * takes at most, of 256 blocks or, a little one, of COMMIT_BLOCKS_LITTLE: each 64 bytes of headers, 327 of records, and what is lost where a buffer
 * ends. The other logs fill a buffer. */
#define JOURNAL_COMMIT_BYTES        (5u << 18)
#define JOURNAL_COMMIT_LITTLE_BYTES (7u << 16)
_Static_assert(JOURNAL_COMMIT_LITTLE_BYTES > COMMIT_BLOCKS_LITTLE * (BLOCK_SIZE + 64 + 327) + 2 * LOG_TAIL_BYTES, "a little commit");

static bool lacks_bytes(const struct log *log, uint64_t bytes)
{
    if (log->segment == SEGMENT_NONE)
        return true;
    uint64_t left = (uint64_t)(segment_blocks(&log->group->segments) - log->block) * BLOCK_SIZE;
    return log->prepared == SEGMENT_NONE && left < bytes + LOG_TAIL_BYTES;
}

bool log_lacks_segment(const struct log *log)
{
    return log->kind == SEGMENT_JOURNAL ? log_lacks_segment_for(log, false) : lacks_bytes(log, log->buffer_bytes);
}

bool log_lacks_segment_for(const struct log *log, bool little)
{
    uint64_t open = log->open ? (uint64_t)log_buffer_blocks(log->open) * BLOCK_SIZE : 0;
    return lacks_bytes(log, open + (little ? JOURNAL_COMMIT_LITTLE_BYTES : JOURNAL_COMMIT_BYTES));
}

/* The log goes on in the prepared segment. */
void log_change_segment(struct log *log)
{
    struct group *group = log->group;
    ASSERT(log->prepared != SEGMENT_NONE);
    if (log->segment != SEGMENT_NONE) {
        struct segment *old = &group->segments.table[log->segment];
        old->state = SLOT_SEALED;
        old->generation = group_generation(group, log->kind);
        segment_dirty(&group->segments, log->segment);
    }
    log->predecessor = log->segment;
    log->segment = log->prepared;
    log->block = 1;
    log->prepared = log->further_count ? log->further[0] : SEGMENT_NONE;
    for (unsigned i = 1; i < log->further_count; i++)
        log->further[i - 1] = log->further[i];
    log->further_count -= log->further_count > 0;
    group_keeper_wake(group);
}

bool log_has_prepared(const struct log *log, uint32_t index)
{
    bool has = log->prepared == index;
    for (unsigned i = 0; i < log->further_count; i++)
        has = has || log->further[i] == index;
    return has;
}

/* The last one that is there for the log; SEGMENT_NONE. */
static uint32_t last_of(const struct log *log)
{
    if (log->further_count)
        return log->further[log->further_count - 1];
    return log->prepared != SEGMENT_NONE ? log->prepared : log->segment;
}

static void prepared_add(struct log *log, uint32_t index)
{
    ASSERT(log->further_count < LOG_FURTHER_MAX);
    if (log->prepared == SEGMENT_NONE)
        log->prepared = index;
    else
        log->further[log->further_count++] = index;
}

static bool is_outdated(const struct group *group, uint32_t index)
{
    if (index == SEGMENT_NONE)
        return false;
    const struct keyring *keyring = group_keyring(group, segment_device(&group->segments, index));
    const struct keyring_slot *dek = keyring_current(keyring, KEY_KIND_DEK);
    return keyring->encrypted && group->segments.table[index].key_slot != dek->number;
}

bool log_is_outdated(const struct log *log)
{
    bool outdated = is_outdated(log->group, log->segment) || is_outdated(log->group, log->prepared);
    for (unsigned i = 0; i < log->further_count; i++)
        outdated = outdated || is_outdated(log->group, log->further[i]);
    return outdated;
}

static void leave(struct log *log, uint32_t index)
{
    struct group *group = log->group;
    if (index == SEGMENT_NONE)
        return;
    group->segments.table[index].state = SLOT_SEALED;
    group->segments.table[index].generation = group_generation(group, log->kind);
    segment_dirty(&group->segments, index);
}

/* What follows in it was never written, as where a crash ended it. A prepared one has nothing but its header. */
void log_leave_outdated(struct log *log)
{
    mutex_lock(&log->group->lock);
    if (log_is_outdated(log) && !log->open && !log->preparing) {
        leave(log, log->segment);
        leave(log, log->prepared);
        ASSERT(log->further_count == 0);
        log->segment = log->prepared = SEGMENT_NONE;
    }
    mutex_unlock(&log->group->lock);
}

/* Second copies stand on another device than the first: each of the two logs keeps off every device that the other
 * writes or is about to write. */
static uint64_t devices_to_avoid(const struct log *log)
{
    const struct group *group = log->group;
    const struct log *other = log->kind == SEGMENT_META   ? &group->twin
                              : log->kind == SEGMENT_TWIN ? &group->meta
                                                          : NULL;
    uint64_t mask = 0;
    if (!other)
        return 0;
    const uint32_t segments[] = {other->segment, other->prepared, other->reserved};
    for (size_t i = 0; i < COUNT_OF(segments); i++)
        if (segments[i] != SEGMENT_NONE)
            mask |= UINT64_C(1) << segment_device(&group->segments, segments[i]);
    return mask;
}

static bool has_free_outside(const struct segments *segments, uint64_t devices)
{
    for (uint32_t d = 0; d < segments->device_count; d++)
        if (!(devices >> d & 1) && segments->free_count[d])
            return true;
    return false;
}

/* Reserves a slot that is not on the devices of `full` and, where others have one, not on those that the log keeps off;
 * SEGMENT_NONE. It gets its serial with its space: a merge may ask for hours, and serials come by its publish only.
 * *device: NULL where it has space below already. */
static uint32_t slot_reserve(struct log *log, uint64_t full, struct device **device, uint64_t *offset)
{
    struct group *group = log->group;
    struct segments *segments = &group->segments;
    mutex_lock(&group->lock);
    uint64_t avoid = full | devices_to_avoid(log);
    if (log->reserved == SEGMENT_NONE)
        log->reserved = segment_take_unnamed(segments, has_free_outside(segments, avoid) ? avoid : full);
    uint32_t index = log->reserved;
    bool allocated = index == SEGMENT_NONE || segments->table[index].allocated;
    *device = allocated ? NULL : group->devices[segment_device(segments, index)];
    *offset = allocated ? 0 : segment_offset(segments, index);
    mutex_unlock(&group->lock);
    return index;
}

/* Gives the reserved slot back; returns its device as a bit. (A journal header may have named it as the successor: the
 * appends say where the log really went on.) */
static uint64_t slot_give_back(struct log *log)
{
    struct group *group = log->group;
    mutex_lock(&group->lock);
    uint64_t device = UINT64_C(1) << segment_device(&group->segments, log->reserved);
    segment_free(&group->segments, log->reserved, group->segments.table[log->reserved].allocated);
    log->reserved = SEGMENT_NONE;
    mutex_unlock(&group->lock);
    return device;
}

/* The journal's may have its serial since its predecessor was begun, whose header names it. */
static enum error slot_name(struct log *log)
{
    struct group *group = log->group;
    mutex_lock(&group->lock);
    bool named = group->segments.table[log->reserved].serial || group_name_segment(group, log->reserved, log->kind);
    mutex_unlock(&group->lock);
    if (named)
        return ERROR_NONE;
    (void)slot_give_back(log);
    return ERROR_NO_SPACE;
}

/* The slot that the log goes on in, with space below it: where the file system of one device is full, of another. */
static enum error slot_get(struct log *log, uint32_t *index)
{
    uint64_t full = 0;
    for (;;) {
        struct device *device;
        uint64_t offset;
        *index = slot_reserve(log, full, &device, &offset);
        if (*index == SEGMENT_NONE)
            return ERROR_NO_SPACE;
        enum error error = device ? group_allocate(log->group, device, offset, *index, 1) : ERROR_NONE;
        if (!error)
            return slot_name(log);
        if (error != ERROR_NO_SPACE)
            return error;
        uint64_t bit = slot_give_back(log);
        if (full & bit)
            return ERROR_NO_SPACE;
        full |= bit;
    }
}

enum error log_reserve_slot(struct log *log)
{
    uint32_t index;
    return slot_get(log, &index);
}

/* Without its header it is no segment: as the reserved one it is tried again, and a journal's header before names it still.
 * It keeps its salts, since a publish may have stored them meanwhile, and replay believes the segment table. */
static void slot_take_back(struct log *log, uint32_t index)
{
    struct segments *segments = &log->group->segments;
    mutex_lock(&log->group->lock);
    if (log->reserved != SEGMENT_NONE)
        segment_free(segments, log->reserved, segments->table[log->reserved].allocated);
    segments->table[index].state = SLOT_RESERVED;
    log->reserved = index;
    mutex_unlock(&log->group->lock);
}

/* The segment that follows is taken (journal: it was reserved with the one before), its header is written, and only
 * then is it there for the log. */
static enum error prepare(struct log *log)
{
    struct group *group = log->group;
    struct segments *segments = &group->segments;
    bool journal = log->kind == SEGMENT_JOURNAL;
    struct segment_header header = {0};
    uint32_t index, successor = SEGMENT_NONE;
    TRY(slot_get(log, &index));
    mutex_lock(&group->lock);
    if (journal)
        successor = group_take_segment(group, log->kind, segments_turn(segments, segment_device(segments, index)));
    bool taken = !journal || successor != SEGMENT_NONE;
    if (taken) {
        log->reserved = successor;
        segments->table[index].state = SLOT_OPEN;
        if (segments->table[index].salt == 0)
            segment_salts_draw(segments, index);
        header.segment = segments->table[index];
        header.device = segment_device(segments, index);
        header.slot = segment_slot(segments, index);
        if (journal && last_of(log) != SEGMENT_NONE)
            header.predecessor = group_place(group, last_of(log), 0);
        if (journal)
            header.successor = group_place(group, successor, 1);
    }
    mutex_unlock(&group->lock);
    if (!taken)
        return ERROR_NO_SPACE;
    enum error error = segment_header_write(group, &header);
    if (error) {
        slot_take_back(log, index);
        return error;
    }
    mutex_lock(&group->lock);
    prepared_add(log, index);
    if (log->segment == SEGMENT_NONE)
        log_change_segment(log);
    mutex_unlock(&group->lock);
    mutex_lock(&log->mutex);
    condition_broadcast(&log->changed);
    mutex_unlock(&log->mutex);
    return ERROR_NONE;
}

/* Whether one more is worth its slot. Where commits may soon lack space they have those that are there first. */
static bool wants_further(const struct log *log)
{
    const struct group *group = log->group;
    uint64_t ahead = (1 + (uint64_t)log->further_count) * segment_size(&group->segments);
    return log->kind == SEGMENT_JOURNAL && log->further_count < LOG_FURTHER_MAX && ahead < JOURNAL_AHEAD_BYTES &&
           group_clean_room(group) >= 2 * AHEAD_ROOM; /* of it one is what commits leave to the cleaner */
}

/* One thread at a time. Under the group's lock. */
static bool preparing_take(struct log *log, bool wants)
{
    bool mine = wants && (log->prepared == SEGMENT_NONE || wants_further(log)) && !log->preparing;
    log->preparing = log->preparing || mine;
    return mine;
}

static enum error preparing_run(struct log *log)
{
    struct group *group = log->group;
    enum error error = prepare(log);
    mutex_lock(&group->lock);
    log->preparing = false;
    if (!error && wants_further(log))
        group_keeper_wake(group);
    mutex_unlock(&group->lock);
    return error;
}

enum error log_prepare(struct log *log)
{
    mutex_lock(&log->group->lock);
    /* Only the journal keeps one ahead at all times. What others keep would be left behind by every restart. */
    bool mine = preparing_take(log, log->kind == SEGMENT_JOURNAL || log_lacks_segment(log));
    mutex_unlock(&log->group->lock);
    return mine ? preparing_run(log) : ERROR_NONE;
}

enum error log_reserved_borrow(struct log *log, uint32_t *index)
{
    struct group *group = log->group;
    mutex_lock(&group->lock);
    bool mine = !log->preparing;
    log->preparing = true; /* as long as it is ours */
    bool has = mine && log->reserved != SEGMENT_NONE && group->segments.table[log->reserved].salt == 0;
    *index = has ? log->reserved : SEGMENT_NONE;
    mutex_unlock(&group->lock);
    return mine ? ERROR_NONE : ERROR_AGAIN;
}

void log_reserved_return(struct log *log)
{
    mutex_lock(&log->group->lock);
    log->preparing = false;
    group_keeper_wake(log->group); /* somebody may have wanted one meanwhile */
    mutex_unlock(&log->group->lock);
}

void log_prepare_ahead(struct log *log)
{
    struct group *group = log->group;
    mutex_lock(&group->lock);
    bool soon = log->segment != SEGMENT_NONE && group_clean_room(group) >= AHEAD_ROOM &&
                (uint64_t)(segment_blocks(&group->segments) - log->block) * BLOCK_SIZE <
                    AHEAD_BUFFERS * log->buffer_bytes + LOG_TAIL_BYTES;
    bool mine = preparing_take(log, soon);
    mutex_unlock(&group->lock);
    if (mine && preparing_run(log))
        error_forget();
}
