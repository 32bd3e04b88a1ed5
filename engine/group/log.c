/*
 * Buffers of an open log: reserving, sealing, writing, reaping. log.h tells states, locks and why a crash is harmless.
 */
#include "engine/group/log.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/group/section.h"
#include "engine/group/summary.h"

#define APPEND_HEADER ((uint32_t)sizeof(struct append_format))

enum error log_init(struct log *log, struct group *group, enum segment_kind kind, unsigned buffers,
                    uint32_t buffer_bytes)
{
    *log = (struct log){
        .group = group,
        .kind = kind,
        .buffer_count = buffers,
        .buffer_bytes = buffer_bytes,
        .segment = SEGMENT_NONE,
        .prepared = SEGMENT_NONE,
        .reserved = SEGMENT_NONE,
        .predecessor = SEGMENT_NONE,
    };
    mutex_init(&log->mutex, RANK_LOG);
    condition_init(&log->changed);
    if (kind == SEGMENT_JOURNAL) {
        log->summary = memory_zeroed(1, sizeof *log->summary);
        log->replaceable = memory_zeroed(LOG_REPLACEABLE_MAX, sizeof *log->replaceable);
    }
    if (kind == SEGMENT_JOURNAL && (!log->summary || !log->replaceable)) {
        log_deinit(log);
        return ERROR_NO_MEMORY;
    }
    for (unsigned i = 0; i < buffers; i++) {
        struct log_buffer *b = &log->buffers[i];
        b->plain = memory_aligned(buffer_bytes);
        b->cipher = memory_aligned(buffer_bytes);
        b->records = kind == SEGMENT_JOURNAL ? malloc(LOG_RECORDS_BYTES) : NULL;
        if (!b->plain || !b->cipher || (kind == SEGMENT_JOURNAL && !b->records)) {
            log_deinit(log);
            return ERROR_NO_MEMORY;
        }
    }
    return ERROR_NONE;
}

void log_deinit(struct log *log)
{
    for (unsigned i = 0; i < log->buffer_count; i++) {
        memory_free_cleansed(log->buffers[i].plain);
        free(log->buffers[i].cipher);
        memory_free_cleansed(log->buffers[i].records); /* fingerprints of contents */
    }
    free(log->summary);
    free(log->replaceable);
    log->summary = NULL;
    log->replaceable = NULL;
    if (log->buffer_count) {
        mutex_deinit(&log->mutex);
        condition_deinit(&log->changed);
    }
    log->buffer_count = 0;
}

/* ---- reserving (under the group's lock) ------------------------------------------------------------------------- */

static struct log_buffer *buffer_free(struct log *log)
{
    struct log_buffer *found = NULL;
    mutex_lock(&log->mutex);
    for (unsigned i = 0; i < log->buffer_count && !found; i++)
        if (log->buffers[i].state == BUFFER_FREE)
            found = &log->buffers[i];
    mutex_unlock(&log->mutex);
    return found;
}

static bool has_buffers(struct log *log)
{
    unsigned free_buffers = 0;
    mutex_lock(&log->mutex);
    for (unsigned i = 0; i < log->buffer_count; i++)
        free_buffers += log->buffers[i].state == BUFFER_FREE;
    mutex_unlock(&log->mutex);
    return free_buffers >= 2;
}

bool log_is_ready(struct log *log)
{
    return !log_lacks_segment(log) && has_buffers(log);
}

bool log_is_ready_for(struct log *log, bool little)
{
    return !log_lacks_segment_for(log, little) && has_buffers(log);
}

bool log_can_close(const struct log *log)
{
    const struct log_buffer *b = log->open;
    if (!b || log->prepared != SEGMENT_NONE)
        return true;
    uint32_t blocks = log_buffer_blocks(b);
    uint64_t left = segment_blocks(&log->group->segments) - log->block - blocks;
    return left * BLOCK_SIZE >= LOG_TAIL_BYTES;
}

static void buffer_open(struct log *log)
{
    struct segments *segments = &log->group->segments;
    struct log_buffer *b = buffer_free(log);
    ASSERT(b && log->segment != SEGMENT_NONE);
    uint64_t left = segment_size(segments) - (uint64_t)log->block * BLOCK_SIZE;
    b->serial = segments->table[log->segment].serial;
    b->segment = log->segment;
    b->block = log->block;
    b->capacity = (uint32_t)MIN(left, log->buffer_bytes);
    b->items_end = APPEND_HEADER;
    b->records_size = 0;
    b->summary_size = log->kind == SEGMENT_JOURNAL && log->block == 1 && log->predecessor != SEGMENT_NONE
                          ? (uint32_t)SUMMARY_FRAME_BYTES_MAX
                          : 0;
    b->last_sequence = log->last_sequence;
    b->opened = clock_monotonic();
    mutex_lock(&log->mutex);
    atomic_store(&b->fills, 0);
    b->reaping = false;
    b->ticket = ++log->tickets;
    b->state = BUFFER_OPEN;
    mutex_unlock(&log->mutex);
    log->open = b;
}

static void buffer_close(struct log *log, bool leave_segment)
{
    struct log_buffer *b = log->open;
    struct segments *segments = &log->group->segments;
    b->blocks = log_buffer_blocks(b);
    ASSERT(b->blocks * BLOCK_SIZE <= b->capacity);
    log->block += b->blocks;
    log->bytes += (uint64_t)b->blocks * BLOCK_SIZE;
    log->last_sequence = b->last_sequence;
    log->open = NULL;
    log->replaceable_count = 0;
    if (leave_segment || (uint64_t)(segment_blocks(segments) - log->block) * BLOCK_SIZE < LOG_TAIL_BYTES)
        log_change_segment(log);
    b->next = (struct place){
        .serial = segments->table[log->segment].serial,
        .device = segment_device(segments, log->segment),
        .slot = segment_slot(segments, log->segment),
        .offset = log->block,
    };
    mutex_lock(&log->mutex);
    b->state = BUFFER_CLOSED;
    mutex_unlock(&log->mutex);
}

static bool fits(const struct log_buffer *b, size_t size, size_t record_size)
{
    size_t records = b->records_size + (record_size ? record_size + sizeof(struct frame_format) : 0);
    return b->items_end + size + b->summary_size + records <= b->capacity && records <= LOG_RECORDS_BYTES;
}

void log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item)
{
    size = ROUND_UP(size, GRAIN_SIZE);
    ASSERT(size <= LOG_ITEM_BYTES_MAX && record_size <= LOG_TAIL_BYTES / 4);
    if (log->open && !fits(log->open, size, record_size))
        buffer_close(log, false);
    if (!log->open)
        buffer_open(log);
    struct log_buffer *b = log->open;
    *item = (struct log_item){
        .buffer = b,
        .at = b->plain + b->items_end,
        .serial = b->serial,
        .offset = b->block * BLOCK_GRAINS + b->items_end / GRAIN_SIZE,
        .size = (uint32_t)size,
    };
    if (size == 0)
        return;
    b->items_end += (uint32_t)size;
    item->at[offsetof(struct item_format, kind)] = ITEM_NONE; /* what readers wait on: the buffer had another life */
    atomic_fetch_add(&b->fills, 1);
}

void log_require_whole(struct log *log, size_t item_bytes, size_t record_bytes)
{
    if (log->open && !fits(log->open, item_bytes, record_bytes))
        buffer_close(log, false);
    if (!log->open)
        buffer_open(log);
    if (!fits(log->open, item_bytes, record_bytes)) {
        buffer_close(log, true);
        buffer_open(log);
    }
    ASSERT(fits(log->open, item_bytes, record_bytes));
}

void log_record(struct log *log, struct log_commit *commit, const void *record, size_t size)
{
    struct log_buffer *b = log->open;
    if (commit->ticket != b->ticket) {
        commit->ticket = b->ticket;
        commit->sequence = ++commit->section->sequence;
        b->frame = b->records_size;
        b->last_sequence = commit->sequence;
        struct frame_format frame = {.sequence = le64_make(commit->sequence)};
        memcpy(b->records + b->records_size, &frame, sizeof frame);
        b->records_size += sizeof frame;
    }
    memcpy(b->records + b->records_size, record, size);
    b->records_size += (uint32_t)size;
    struct frame_format frame;
    memcpy(&frame, b->records + b->frame, sizeof frame);
    frame.size = le32_make(b->records_size - b->frame - (uint32_t)sizeof frame);
    memcpy(b->records + b->frame, &frame, sizeof frame);
}

uint64_t log_sequence(const struct log *log, const struct log_commit *commit)
{
    return commit->ticket == log->open->ticket ? commit->sequence : commit->section->sequence + 1;
}

uint64_t log_close(struct log *log, bool even_empty)
{
    if (!log->open && even_empty)
        buffer_open(log);
    if (log->open && (even_empty || log->open->items_end > APPEND_HEADER || log->open->records_size))
        buffer_close(log, false);
    return log->open ? log->tickets - 1 : log->tickets;
}

void log_leave_segment(struct log *log)
{
    if (log->prepared == SEGMENT_NONE || !log_is_ready(log))
        return;
    if (!log->open)
        buffer_open(log);
    buffer_close(log, true);
}

/* ---- filling (under no lock) ------------------------------------------------------------------------------------- */

void log_nonce(uint64_t offset, enum item_kind kind, uint8_t nonce[TAG_NONCE_SIZE])
{
    struct tag_nonce_format format = {.offset = le64_make(offset), .kind = (uint8_t)kind};
    memcpy(nonce, &format, TAG_NONCE_SIZE);
}

enum error log_fill(struct log *log, const struct log_item *item, const struct segment_keys *keys, enum item_kind kind,
                    uint8_t codec, uint8_t count, const void *descriptors, size_t descriptors_size, const void *stored,
                    size_t stored_size)
{
    (void)log;
    struct item_format header = {
        .serial = le40_make(item->serial),
        .offset = le32_make(item->offset),
        .kind = (uint8_t)kind,
        .codec = codec,
        .count = count,
        .stored_size = le32_make((uint32_t)stored_size),
    };
    ASSERT(ROUND_UP(sizeof header + descriptors_size + stored_size, GRAIN_SIZE) == item->size);
    uint8_t nonce[TAG_NONCE_SIZE];
    log_nonce(item->offset, kind, nonce);
    size_t body = descriptors_size + stored_size;
    memcpy(item->at + sizeof header, descriptors, descriptors_size);
    memcpy(item->at + sizeof header + descriptors_size, stored, stored_size);
    memset(item->at + sizeof header + body, 0, item->size - sizeof header - body);
    struct bulk_part parts[] = {
        {(uint8_t *)&header + TAG_SIZE, sizeof header - TAG_SIZE},
        {item->at + sizeof header, body},
    };
    TRY(bulk_tag(keys, nonce, parts, COUNT_OF(parts), header.tag));
    size_t before = offsetof(struct item_format, kind), behind = before + sizeof header.kind;
    memcpy(item->at, &header, before);
    memcpy(item->at + behind, (uint8_t *)&header + behind, sizeof header - behind);
    __atomic_store_n(item->at + before, (uint8_t)kind, __ATOMIC_RELEASE);
    return ERROR_NONE;
}

void log_filled(struct log *log, struct log_buffer *buffer, unsigned count)
{
    mutex_lock(&log->mutex);
    unsigned before = atomic_fetch_sub(&buffer->fills, count);
    ASSERT(before >= count);
    condition_broadcast(&log->changed);
    mutex_unlock(&log->mutex);
}

/* ---- sealing and writing ----------------------------------------------------------------------------------------- */

/* The records behind the items, those of a segment's first append behind the summary of the segment before. Returns
 * their size. */
static uint32_t records_seal(struct log *log, struct log_buffer *b)
{
    struct summary *summary = log->summary;
    struct byte_writer out = {b->plain + b->items_end, b->plain + (size_t)b->blocks * BLOCK_SIZE, false};
    uint8_t *begin = out.next;
    if (!summary)
        return 0;
    if (b->summary_size)
        summary_encode(summary, &out);
    ASSERT(!out.overflow && out.next <= begin + b->summary_size);
    write_bytes(&out, b->records, b->records_size);
    ASSERT(!out.overflow);
    if (b->serial != summary->serial)
        summary_begin(summary, b->serial);
    summary_add_frames(summary, b->records, b->records_size);
    summary->last_sequence = b->last_sequence;
    return (uint32_t)(out.next - begin);
}

static enum error buffer_seal(struct log *log, struct log_buffer *b)
{
    struct group *group = log->group;
    uint32_t records_size = records_seal(log, b);
    uint64_t durable = group_durable(group);
    struct append_format header = {
        .serial = le40_make(b->serial),
        .offset = le32_make(b->block),
        .blocks = le32_make(b->blocks),
        .records_offset = le32_make(b->items_end),
        .records_size = le32_make(records_size),
        .items_size = le32_make(b->items_end - APPEND_HEADER),
        .kind = (uint8_t)log->kind,
        .agreed = le64_make(log->kind == SEGMENT_JOURNAL ? durable : 0),
        .durable = le64_make(log->kind == SEGMENT_JOURNAL ? durable : 0),
        .last_sequence = le64_make(b->last_sequence),
    };
    memcpy(header.previous, log->previous, TAG_SIZE);
    place_encode(&b->next, &header.next);
    uint32_t end = b->items_end + records_size;
    memset(b->plain + end, 0, (size_t)b->blocks * BLOCK_SIZE - end);
    const struct segment_keys *keys;
    mutex_lock(&group->lock);
    struct segment_identity identity = segment_identity(&group->segments, b->segment);
    uint64_t offset = segment_offset(&group->segments, b->segment);
    mutex_unlock(&group->lock);
    TRY(segment_keys_get(group, &identity, &keys));
    uint8_t nonce[TAG_NONCE_SIZE];
    log_nonce((uint64_t)b->block * BLOCK_GRAINS, ITEM_APPEND, nonce);
    struct bulk_part parts[] = {
        {(uint8_t *)&header + TAG_SIZE, sizeof header - TAG_SIZE},
        {b->plain + b->items_end, records_size},
    };
    enum error error = bulk_tag(keys, nonce, parts, COUNT_OF(parts), header.tag);
    memcpy(b->plain, &header, sizeof header);
    memcpy(log->previous, header.tag, TAG_SIZE);
    atomic_store(&log->durable_stated, durable);
    if (!error)
        error = bulk_encrypt(keys, b->block, b->plain, b->cipher, (size_t)b->blocks * BLOCK_SIZE);
    segment_keys_put(group, keys);
    if (error)
        return error;
    b->io = (struct device_io){
        .device = group->devices[identity.device],
        .operation = DEVICE_WRITE,
        .offset = offset + (uint64_t)b->block * BLOCK_SIZE,
        .size = (size_t)b->blocks * BLOCK_SIZE,
        .buffer = b->cipher,
    };
    device_submit(&(struct device_io *){&b->io}, 1);
    return ERROR_NONE;
}

static struct log_buffer *buffer_of(struct log *log, uint64_t ticket)
{
    for (unsigned i = 0; i < log->buffer_count; i++)
        if (log->buffers[i].state != BUFFER_FREE && log->buffers[i].ticket == ticket)
            return &log->buffers[i];
    return NULL;
}

bool log_is_sealable(struct log *log)
{
    mutex_lock(&log->mutex);
    const struct log_buffer *b = log->sealing ? NULL : buffer_of(log, log->sealed + 1);
    bool is = b && b->state == BUFFER_CLOSED && b->fills == 0;
    mutex_unlock(&log->mutex);
    return is;
}

enum error log_advance(struct log *log)
{
    enum error error = ERROR_NONE;
    mutex_lock(&log->mutex);
    while (!error && !log->sealing) {
        struct log_buffer *b = buffer_of(log, log->sealed + 1);
        if (!b || b->state != BUFFER_CLOSED || b->fills)
            break;
        /* It may have a hole where a fill failed, or have failed here half way: its tag is never made twice. */
        error = group_is_fenced(log->group) ? ERROR_FENCED : ERROR_NONE;
        if (error)
            break;
        log->sealing = true;
        mutex_unlock(&log->mutex);
        error = buffer_seal(log, b);
        if (error)
            error = group_fence(log->group, error); /* before another thread may come to this buffer */
        mutex_lock(&log->mutex);
        log->sealing = false;
        if (!error) {
            log->sealed++;
            b->state = BUFFER_WRITING;
            if (log->sealed == log->mark)
                memcpy(log->marked_tag, log->previous, TAG_SIZE);
        }
        condition_broadcast(&log->changed);
    }
    mutex_unlock(&log->mutex);
    return error ? group_fence(log->group, error) : ERROR_NONE;
}

/* Waits for the write of the oldest buffer in flight. */
static enum error reap(struct log *log, struct log_buffer *b) REQUIRES(log->mutex)
{
    struct group_totals *totals = &log->group->totals;
    bool data = log->kind == SEGMENT_JOURNAL || log->kind == SEGMENT_COLD;
    b->reaping = true;
    mutex_unlock(&log->mutex);
    atomic_fetch_add(data ? &totals->data_written : &totals->meta_written, b->io.size);
    enum error error = device_wait(&b->io);
    /* Only now: a flush that began while the write was in flight does not cover it. */
    group_append_written(log->group, segment_device(&log->group->segments, b->segment), b->io.size);
    mutex_lock(&log->mutex);
    if (!error) {
        log->written = b->ticket;
        log->written_sequence = b->last_sequence;
        b->state = BUFFER_FREE; /* nobody reads from it any more */
    }
    b->reaping = false;
    condition_broadcast(&log->changed);
    return error;
}

/* Waits for whatever the oldest buffer that is not written waits for. A buffer that is closed and filled is sealed
 * here, so that nobody depends on another thread's good will. */
static enum error step(struct log *log) REQUIRES(log->mutex)
{
    struct log_buffer *b = buffer_of(log, log->written + 1);
    if (b && b->state == BUFFER_WRITING && !b->reaping)
        return reap(log, b);
    struct log_buffer *next = buffer_of(log, log->sealed + 1);
    if (!log->sealing && next && next->state == BUFFER_CLOSED && next->fills == 0) {
        mutex_unlock(&log->mutex);
        enum error error = log_advance(log);
        mutex_lock(&log->mutex);
        return error;
    }
    condition_wait(&log->changed, &log->mutex);
    return ERROR_NONE;
}

static unsigned buffers_free(struct log *log) REQUIRES(log->mutex)
{
    unsigned count = 0;
    for (unsigned i = 0; i < log->buffer_count; i++)
        count += log->buffers[i].state == BUFFER_FREE;
    return count;
}

/* Until all up to `ticket` is written and so many buffers are free. */
static enum error wait_for(struct log *log, uint64_t ticket, unsigned buffers)
{
    enum error error = ERROR_NONE;
    mutex_lock(&log->mutex);
    while (!error && (log->written < ticket || buffers_free(log) < buffers))
        error = group_is_fenced(log->group) ? ERROR_FENCED : step(log);
    mutex_unlock(&log->mutex);
    return error ? group_fence(log->group, error) : ERROR_NONE;
}

enum error log_wait(struct log *log, uint64_t ticket)
{
    return wait_for(log, ticket, 0);
}

enum error log_wait_buffer(struct log *log)
{
    return wait_for(log, 0, 2);
}

uint64_t log_written_sequence(struct log *log)
{
    mutex_lock(&log->mutex);
    uint64_t sequence = log->written_sequence;
    mutex_unlock(&log->mutex);
    return sequence;
}

void log_drain_writes(struct log *log)
{
    for (unsigned i = 0; i < log->buffer_count; i++)
        if (log->buffers[i].state == BUFFER_WRITING && device_wait(&log->buffers[i].io) == ERROR_NONE)
            log->buffers[i].state = BUFFER_FREE;
}

void log_mark(struct log *log, uint64_t ticket)
{
    mutex_lock(&log->mutex);
    log->mark = ticket;
    if (log->sealed == ticket)
        memcpy(log->marked_tag, log->previous, TAG_SIZE);
    mutex_unlock(&log->mutex);
}

void log_marked_tag(struct log *log, uint8_t tag[16])
{
    mutex_lock(&log->mutex);
    ASSERT(log->sealed >= log->mark);
    memcpy(tag, log->marked_tag, TAG_SIZE);
    mutex_unlock(&log->mutex);
}

bool log_has_buffer_of(struct log *log, uint64_t serial)
{
    bool found = false;
    mutex_lock(&log->mutex);
    for (unsigned i = 0; i < log->buffer_count && !found; i++)
        found = log->buffers[i].state != BUFFER_FREE && log->buffers[i].serial == serial;
    mutex_unlock(&log->mutex);
    return found;
}

bool log_read(struct log *log, uint64_t serial, uint32_t offset, size_t size, void *out, bool *settled)
{
    bool found = false;
    mutex_lock(&log->mutex);
again:
    for (unsigned i = 0; i < log->buffer_count && !found; i++) {
        struct log_buffer *b = &log->buffers[i];
        if (b->state == BUFFER_FREE || b->serial != serial) /* who opens a free one writes its place under another lock */
            continue;
        uint64_t begin = (uint64_t)b->block * BLOCK_GRAINS;
        uint64_t bytes = b->state == BUFFER_OPEN ? b->capacity : (uint64_t)b->blocks * BLOCK_SIZE;
        if (offset < begin || (offset - begin) * GRAIN_SIZE + size > bytes)
            continue;
        uint8_t *at = b->plain + (offset - begin) * GRAIN_SIZE;
        if (__atomic_load_n(at + offsetof(struct item_format, kind), __ATOMIC_ACQUIRE) == ITEM_NONE) {
            if (b->fills == 0)
                break; /* nobody fills anything: no item begins there */
            condition_wait(&log->changed, &log->mutex);
            goto again;
        }
        memcpy(out, at, size);
        *settled = b->state != BUFFER_OPEN || !log->replaceable;
        found = true;
    }
    mutex_unlock(&log->mutex);
    return found;
}
