/*
 * Blocks that are written again while what they had waits in the journal's open buffer: the item is filled again with the new
 * content, under the same address and chunk numbers, and the record beside it gets the new fingerprints. So what a program writes
 * over and over between two flushes costs the device one write, and leaves nothing for the cleaner.
 *
 * Whatever was known of the item is then of the new content, so nobody else may know it:
 * - no other block, snapshot or object refers to it: who refers to an item keeps it (log_keep), a commit that makes or ends
 *   components keeps them all, and a freeze closes the buffer;
 * - a commit that found it by its old fingerprint asks log_was_replaced() before it refers to it;
 * - no cache takes what was read from an open buffer (item_read.settled).
 * A reader that looked the block up before gets the new content, as if it had come a moment later; while the item is filled it
 * waits, for the kind of the item says ITEM_NONE.
 *
 * The tag of the old content was made with the nonce of the new one. It never leaves this process's memory: both come to a device
 * with the append, which is sealed once.
 *
 * A crash loses an append as a whole or leaves it: that the new content stands where the old one did in the order of records cannot
 * be seen, since whatever came in between for these blocks would have made their map entries another's.
 */
#include "engine/group/log.h"

#include <string.h>

#include "base/memory.h"
#include "engine/group/group.h"

static struct log_replaceable *find(const struct log *log, uint64_t serial, uint32_t offset)
{
    unsigned low = 0, high = log->replaceable_count;
    if (high == 0 || log->open->serial != serial)
        return NULL;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (log->replaceable[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    struct log_replaceable *found = &log->replaceable[low];
    return low < log->replaceable_count && found->offset == offset ? found : NULL;
}

static uint8_t *item_at(const struct log_buffer *b, uint32_t offset)
{
    return b->plain + ((size_t)offset - (size_t)b->block * BLOCK_GRAINS) * GRAIN_SIZE;
}

void log_may_replace(struct log *log, const struct log_item *item, size_t record_size)
{
    const struct log_buffer *b = log->open;
    ASSERT(item->buffer == b && record_size <= b->records_size);
    if (log->replaceable_count < LOG_REPLACEABLE_MAX)
        log->replaceable[log->replaceable_count++] =
            (struct log_replaceable){.offset = item->offset,
                                     .record = b->records_size - (uint32_t)record_size,
                                     .size = (uint32_t)record_size};
}

void log_keep(struct log *log, uint64_t serial, uint32_t offset)
{
    struct log_replaceable *found = find(log, serial, offset);
    if (found)
        found->kept = true;
}

void log_keep_all(struct log *log)
{
    log->replaceable_count = 0;
}

size_t log_replaceable_record(const struct log *log, uint64_t serial, uint32_t offset)
{
    const struct log_replaceable *found = find(log, serial, offset);
    if (!found || found->kept)
        return 0;
    const uint8_t *kind = item_at(log->open, offset) + offsetof(struct item_format, kind);
    return __atomic_load_n(kind, __ATOMIC_ACQUIRE) != ITEM_NONE ? found->size : 0;
}

void log_replace(struct log *log, uint64_t serial, uint32_t offset, size_t size, const void *record, size_t record_size,
                 struct log_item *item)
{
    const struct log_replaceable *found = find(log, serial, offset);
    struct log_buffer *b = log->open;
    ASSERT(found && !found->kept && found->size == record_size);
    *item = (struct log_item){
        .buffer = b,
        .at = item_at(b, offset),
        .serial = serial,
        .offset = offset,
        .size = (uint32_t)ROUND_UP(size, GRAIN_SIZE),
    };
    memcpy(b->records + found->record, record, record_size);
    mutex_lock(&log->mutex); /* no reader is in the midst of copying it */
    item->at[offsetof(struct item_format, kind)] = ITEM_NONE;
    atomic_fetch_add(&b->fills, 1);
    mutex_unlock(&log->mutex);
    log->replaced++;
}

struct log_unsettled log_unsettled(const struct log *log)
{
    struct log_unsettled unsettled = {.replaced = log->replaced};
    if (log->open) {
        unsettled.serial = log->open->serial;
        unsettled.offset = log->open->block * BLOCK_GRAINS;
    }
    return unsettled;
}

bool log_was_replaced(const struct log *log, const struct log_unsettled *then, uint64_t serial, uint32_t offset)
{
    return log->replaced != then->replaced && serial == then->serial && offset >= then->offset;
}
