/*
 * What a merge appends: nodes and pages to the meta log, their second copies to the twin log, what the cleaner moves to the
 * log of its kind. Both copies of a node have the same stored bytes, so one length serves both.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/merge.h"
#include "engine/group/node.h"

#define BELOW_PAUSE (100 * CLOCK_MILLISECOND)
#define SEGMENT_LOOK (CLOCK_MILLISECOND / 4) /* it may have come just before the wait */

/* Where another thread writes the header of the next segment. */
static void segment_await(struct log *log)
{
    mutex_lock(&log->group->lock);
    bool lacks = log_lacks_segment(log) && log->preparing;
    mutex_unlock(&log->group->lock);
    if (!lacks)
        return;
    mutex_lock(&log->mutex);
    condition_wait_until(&log->changed, &log->mutex, clock_monotonic() + SEGMENT_LOOK);
    mutex_unlock(&log->mutex);
}

/* A segment that is not there for want of space in the file system below comes with it. Half a merge cannot be taken back:
 * its thread waits, however long, and the group stays in service. An open does not. Where one could be taken, the keeper has
 * found space since it was asked for. */
enum error merge_prepare(struct log *log)
{
    struct group *group = log->group;
    for (;;) {
        enum error error = log_prepare(log);
        mutex_lock(&group->lock);
        bool waits = error == ERROR_NO_SPACE && (group->segments.full || segments_have_next(&group->segments));
        mutex_unlock(&group->lock);
        waits = waits && group->merge_is_patient && !group_is_stopping(group) && !group_is_fenced(group);
        atomic_store(&group->merge_waits, waits);
        if (!waits) {
            segment_await(log);
            return error;
        }
        clock_sleep(BELOW_PAUSE);
    }
}

/* Reserves in a log that only the merge writes: a segment is prepared and a buffer freed here, where needed. A merge that
 * nobody waits for any more, since a close gave it up, is dropped here: the journal has all of it. */
static enum error reserve(struct group *group, struct log *log, size_t size, struct log_item *item,
                          struct segment_identity *identity)
{
    for (;;) {
        if (group_is_fenced(group))
            return ERROR_FENCED;
        if (group_is_stopping(group))
            return ERROR_INTERRUPTED;
        mutex_lock(&group->lock);
        bool done = log_is_ready(log);
        if (done) {
            log_reserve(log, size, 0, item);
            *identity = segment_identity(&group->segments, item->buffer->segment);
        }
        mutex_unlock(&group->lock);
        if (done)
            break;
        TRY(merge_prepare(log));
        TRY(log_wait_buffer(log));
    }
    return ERROR_NONE;
}

/* An item went into another buffer than the one before: that one is closed, and to be sealed. Before there are threads it is
 * done here; else who waits for a buffer does it where the sealer has not come to it. */
static enum error seal_before(struct group *group, struct log *log, uint64_t ticket)
{
    if (log->filling == ticket)
        return ERROR_NONE;
    log->filling = ticket;
    if (!group->merge_is_patient)
        return log_advance(log);
    group_sealer_wake(group);
    return ERROR_NONE;
}

enum error merge_append(struct group *group, struct log *log, const struct item_content *content, struct written *written)
{
    struct log_item item;
    struct segment_identity identity;
    TRY(reserve(group, log, sizeof(struct item_format) + content->descriptors_size + content->stored_size, &item, &identity));
    uint64_t ticket = item.buffer->ticket;
    const struct segment_keys *keys;
    enum error error = segment_keys_get(group, &identity, &keys);
    if (!error) {
        error = log_fill(log, &item, keys, content->kind, content->codec, content->count, content->descriptors,
                         content->descriptors_size, content->stored, content->stored_size);
        segment_keys_put(group, keys);
    }
    log_filled(log, item.buffer, 1);
    if (error)
        return group_fence(group, error);
    *written = (struct written){item.serial, item.offset};
    return seal_before(group, log, ticket);
}

static enum error copy_write(struct merge *merge, struct node_identity identity, bool second, uint64_t cid, uint8_t codec,
                             const void *stored, size_t stored_size, struct written *written)
{
    struct log *log = second ? &merge->group->twin : &merge->group->meta;
    struct item_content content = {identity.kind, codec, 1, NULL, 0, stored, stored_size};
    if (identity.kind == ITEM_PAGE) {
        struct page_descriptor_format descriptor = {
            .table = (uint8_t)identity.owner,
            .level = identity.level,
            .number = le40_make(identity.number),
            .second = second,
        };
        content.descriptors = &descriptor;
        content.descriptors_size = sizeof descriptor;
        return merge_append(merge->group, log, &content, written);
    }
    struct node_descriptor_format descriptor = {
        .cid = le40_make(cid + second),
        .component = le40_make(identity.owner),
        .number = le40_make(identity.number),
        .level = identity.level,
    };
    content.descriptors = &descriptor;
    content.descriptors_size = sizeof descriptor;
    return merge_append(merge->group, log, &content, written);
}

enum error node_write(struct merge *merge, struct node_identity identity, const uint8_t *node, bool twice, uint64_t cid,
                      struct node_pointer *pointer)
{
    uint8_t stored[BLOCK_SIZE];
    size_t stored_size;
    uint8_t codec = node_store(identity, node, stored, &stored_size);
    size_t descriptor_size =
        identity.kind == ITEM_PAGE ? sizeof(struct page_descriptor_format) : sizeof(struct node_descriptor_format);
    uint32_t length = (uint32_t)((sizeof(struct item_format) + descriptor_size + stored_size + GRAIN_SIZE - 1) / GRAIN_SIZE);
    struct written first, second = {0};
    TRY(copy_write(merge, identity, false, cid, codec, stored, stored_size, &first));
    if (twice)
        TRY(copy_write(merge, identity, true, cid, codec, stored, stored_size, &second));
    *pointer = (struct node_pointer){
        .first = entry_make(cid, first.serial, first.offset, length, 0, 1),
        .second_serial = second.serial,
        .second_offset = second.offset,
        .birth = merge->birth,
    };
    cache_add(merge->group->nodes, (struct cache_key){first.serial, first.offset, 0}, node);
    return ERROR_NONE;
}
