/*
 * One segment under another key: read, decrypted, verified, encrypted, written. reencrypt.c tells the whole.
 *
 * Windows of at most REENCRYPT_WINDOW, each beginning with an append, of the usual segment one with its header. Pieces of it are
 * read ahead of the one that is decrypted, the first of the next segment too, into another window; the writes of a segment's last
 * window are left in flight meanwhile, in a third one. Where others work all of it goes piece by piece, with a pause behind each.
 *
 * Whatever is there is copied as it is, damaged or not. But a read may give something else than what the device holds,
 * once, and a copy would make that last for ever. So appends and what is in them are held against their tags, and what does not
 * fit is read again: where that gives the same it is so on the device, and stays so; else what was read last is looked
 * at. Where no append begins the segment ends, or the begin of one is damaged: all that is behind it is read twice.
 *
 * A crash is harmless: nothing names the slot that is written. No locks.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/append.h"
#include "engine/group/group.h"
#include "engine/group/superblock_image.h"

#define READS_AGAIN_MAX 16u /* of one window */
#define PIECES_AHEAD    8u  /* that are read, where nobody else works */

/* What is at work. */
struct work {
    struct reencrypt *r;
    const struct reencrypt_copy *copy;
    const struct segment_keys *old, *new;
    struct reencrypt_window *window;
    uint32_t block, blocks, segment_blocks; /* of the window; of the segment */
};

static uint8_t *bytes_at(const struct work *work, uint32_t block)
{
    return work->window->bytes + (size_t)(block - work->block) * BLOCK_SIZE;
}

/* The header is not encrypted. */
static enum error decrypt(const struct work *work, uint32_t block, uint8_t *bytes, size_t size)
{
    size_t plain = block == 0 ? BLOCK_SIZE : 0;
    return plain == size ? ERROR_NONE
                         : bulk_decrypt(work->old, block + plain / BLOCK_SIZE, bytes + plain, bytes + plain, size - plain);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void piece_begin(const struct work *work, size_t piece)
{
    uint64_t at = (uint64_t)piece * REENCRYPT_PIECE, size = (uint64_t)work->blocks * BLOCK_SIZE;
    struct device_io *io = &work->window->reads[piece];
    *io = (struct device_io){
        .device = work->copy->device,
        .operation = DEVICE_READ,
        .offset = work->copy->from + (uint64_t)work->block * BLOCK_SIZE + at,
        .size = (size_t)MIN(size - at, (uint64_t)REENCRYPT_PIECE),
        .buffer = work->window->bytes + at,
    };
    device_submit(&(struct device_io *){io}, 1);
}

/* Zeros stand for what is given up. Who knows what lies there hears of each run. */
static void bad_lose(const struct work *work, const struct device_io *piece, const bool *bad, size_t count)
{
    struct reencrypt *r = work->r;
    uint32_t block = (uint32_t)((piece->offset - work->copy->from) / BLOCK_SIZE);
    for (size_t i = 0, end; i < count; i = end) {
        end = i + 1;
        if (!bad[i])
            continue;
        while (end < count && bad[end])
            end++;
        if (r->segment_lost == 0)
            r->first_lost = block + (uint32_t)i;
        r->segment_lost += (uint32_t)(end - i);
        memset((uint8_t *)piece->buffer + i * BLOCK_SIZE, 0, (end - i) * BLOCK_SIZE);
        r->lost(r->context, work->copy->move.serial, block + (uint32_t)i, block + (uint32_t)end);
    }
}

/* Whether the device reads anywhere else, at one of its superblocks. Where it does not, nothing is known of a block. */
static bool device_answers(const struct work *work)
{
    struct device *device = work->copy->device;
    enum error error = ERROR_IO;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES && error; copy++)
        error = device_read(device, superblock_offset(device->size, copy), work->r->again, BLOCK_SIZE);
    work->r->silent = error != ERROR_NONE;
    return error == ERROR_NONE;
}

static enum error block_read(const struct work *work, const struct device_io *piece, size_t i, bool *bad)
{
    enum error error = device_read(work->copy->device, piece->offset + i * BLOCK_SIZE, (uint8_t *)piece->buffer + i * BLOCK_SIZE,
                                   BLOCK_SIZE);
    *bad = error == ERROR_IO;
    return *bad ? ERROR_NONE : error;
}

/* The device may have come back in the midst of the first look, so what is given up fails once more, and other places do not
 * before and behind it. */
static enum error bad_read_again(const struct work *work, const struct device_io *piece, bool *bad, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!bad[i])
            continue;
        TRY(block_read(work, piece, i, &bad[i]));
        if (bad[i] && !device_answers(work))
            return ERROR_IO;
    }
    return ERROR_NONE;
}

/* Block by block, where the whole could not be read. */
static enum error blocks_read(const struct work *work, const struct device_io *piece)
{
    size_t lost = 0, count = piece->size / BLOCK_SIZE;
    AUTO_FREE bool *bad = memory_zeroed(count, sizeof *bad);
    if (!bad)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        TRY(block_read(work, piece, i, &bad[i]));
        lost += bad[i];
    }
    if (lost && (!device_answers(work) || !work->copy->last_try))
        return ERROR_IO;
    TRY(bad_read_again(work, piece, bad, count));
    uint32_t block = (uint32_t)((piece->offset - work->copy->from) / BLOCK_SIZE);
    TRY(decrypt(work, block, piece->buffer, piece->size));
    bad_lose(work, piece, bad, count);
    return ERROR_NONE;
}

static enum error piece_take(const struct work *work, size_t piece)
{
    struct device_io *io = &work->window->reads[piece];
    enum error error = device_wait(io);
    if (error == ERROR_IO)
        return blocks_read(work, io);
    return error ? error : decrypt(work, (uint32_t)((io->offset - work->copy->from) / BLOCK_SIZE), io->buffer, io->size);
}

static size_t pieces_of(const struct work *work)
{
    return ((size_t)work->blocks * BLOCK_SIZE + REENCRYPT_PIECE - 1) / REENCRYPT_PIECE;
}

static enum error pieces_read(const struct work *work)
{
    struct reencrypt *r = work->r;
    size_t count = pieces_of(work), begun = work->window->read_count, taken = 0;
    enum error error = ERROR_NONE;
    work->window->read_count = 0;
    while (taken < count && !error) {
        uint64_t since = clock_monotonic();
        while (begun < count && begun < taken + (r->gently ? 1 : PIECES_AHEAD))
            piece_begin(work, begun++);
        error = piece_take(work, taken);
        size_t size = work->window->reads[taken++].size;
        if (!error)
            error = r->breathe(r->context, size, since);
    }
    for (; taken < begun; taken++)
        if (device_wait(&work->window->reads[taken]))
            error_forget(); /* nobody wants it any more */
    return error;
}

/* ---- verifying --------------------------------------------------------------------------------------------------- */

/* *same is left where the device gives what is there already; else that is there now. */
static enum error piece_read_again(const struct work *work, uint32_t block, uint32_t blocks, bool *same)
{
    size_t size = (size_t)blocks * BLOCK_SIZE;
    TRY(device_read(work->copy->device, work->copy->from + (uint64_t)block * BLOCK_SIZE, work->r->again, size));
    TRY(decrypt(work, block, work->r->again, size));
    if (memcmp(bytes_at(work, block), work->r->again, size) == 0)
        return ERROR_NONE;
    memcpy(bytes_at(work, block), work->r->again, size);
    *same = false;
    return ERROR_NONE;
}

/* *same: the device gives what is there already; else it is there now. What cannot be read now is as it was. */
static enum error read_again(const struct work *work, uint32_t block, uint32_t blocks, bool *same)
{
    *same = true;
    for (uint32_t n; blocks > 0; block += n, blocks -= n) {
        n = MIN(blocks, REENCRYPT_PIECE / BLOCK_SIZE);
        enum error error = piece_read_again(work, block, n, same);
        for (uint32_t i = 0; i < n && error == ERROR_IO; i++) {
            enum error one = piece_read_again(work, block + i, 1, same);
            if (one != ERROR_IO)
                TRY(one);
        }
        if (error != ERROR_IO)
            TRY(error);
    }
    return ERROR_NONE;
}

/* Where an append should begin none does, so where the next would cannot be told. Whatever comes behind it is held against
 * nothing but what the device gives another time. */
static enum error rest_verify(const struct work *work, uint32_t block)
{
    struct reencrypt *r = work->r;
    for (uint32_t end = work->block + work->blocks, blocks; block < end; block += blocks) {
        uint64_t since = clock_monotonic();
        bool same = false;
        blocks = MIN(end - block, REENCRYPT_PIECE / BLOCK_SIZE);
        for (unsigned n = 0; n < READS_AGAIN_MAX && !same; n++)
            TRY(read_again(work, block, blocks, &same));
        TRY(r->breathe(r->context, 0, since));
    }
    error_forget();
    return ERROR_NONE;
}

static bool header_is_sound(const struct work *work, struct segment_header *header)
{
    struct group *group = work->r->group;
    uint32_t device = work->copy->old.device;
    return segment_header_decode(group, device, work->copy->move.from - group->segments.slot_first[device],
                                 work->copy->move.serial, work->window->bytes, header) == ERROR_NONE;
}

/* The append at a block: how many blocks of it there are, of those that have to be good; and whether they are. 0: none begins
 * there, or not all of it is in the window. */
static uint32_t append_judge(const struct work *work, uint32_t block, bool *sound)
{
    const struct append_format *append = (const struct append_format *)bytes_at(work, block);
    *sound = append_is_possible(append, (enum segment_kind)work->copy->kind, work->copy->move.serial, block, work->segment_blocks);
    if (!*sound)
        return 1;
    uint32_t blocks = le32_get(append->blocks);
    if (blocks > work->block + work->blocks - block)
        return 0;
    *sound = append_check(append, work->old) == ERROR_NONE && append_units_are_sound(append, work->old);
    return blocks;
}

/* Where the next window has to begin: behind the last append that is here as a whole, or behind this one. */
static enum error window_verify(const struct work *work, uint32_t *end)
{
    struct segment_header header;
    unsigned again = 0;
    bool same;
    *end = work->block + work->blocks;
    while (work->block == 0 && !header_is_sound(work, &header) && again++ < READS_AGAIN_MAX) {
        TRY(read_again(work, 0, 1, &same));
        if (same)
            break;
    }
    for (uint32_t block = MAX(work->block, 1); block < work->block + work->blocks;) {
        bool sound;
        uint32_t blocks = append_judge(work, block, &sound);
        if (blocks == 0) {
            *end = block;
            break;
        }
        if (!sound && again++ < READS_AGAIN_MAX) {
            TRY(read_again(work, block, blocks, &same));
            if (!same)
                continue;
        }
        if (!sound && (blocks == 1 || again > READS_AGAIN_MAX))
            return rest_verify(work, block);
        block += blocks;
    }
    error_forget();
    return ERROR_NONE;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Its neighbours in the journal are told as they were; where the header is damaged nobody knows them, nor needs them. */
static enum error header_make(const struct work *work)
{
    struct group *group = work->r->group;
    const struct segment_identity *new = &work->copy->new;
    struct segment_header header;
    if (!header_is_sound(work, &header))
        header = (struct segment_header){0};
    header.segment = (struct segment){
        .serial = new->serial,
        .salt = new->salt,
        .birth_salt = new->birth_salt,
        .key_slot = new->key_slot,
        .log_key = new->log_key,
        .kind = work->copy->kind,
    };
    header.device = new->device;
    header.slot = work->copy->move.to - group->segments.slot_first[new->device];
    error_forget();
    return segment_header_encode(group, &header, (struct segment_format *)work->window->bytes);
}

/* A header is there before what follows it, as everywhere. */
static enum error header_write(const struct work *work)
{
    if (work->block != 0)
        return ERROR_NONE;
    TRY(header_make(work));
    enum error error = device_write(work->copy->device, work->copy->to, work->window->bytes, BLOCK_SIZE, 0);
    group_device_written(work->r->group, work->copy->new.device);
    return error ? group_fence(work->r->group, error) : ERROR_NONE;
}

static enum error write_end(struct reencrypt *r, const struct reencrypt_copy *copy, struct device_io *io)
{
    enum error error = device_wait(io);
    group_append_written(r->group, copy->new.device, io->size);
    return error;
}

/* Blocks from `first` on, into the next piece that is written. */
static enum error piece_write(const struct work *work, uint32_t first, uint32_t blocks)
{
    struct reencrypt_window *window = work->window;
    struct device_io *io = &window->writes[window->write_count];
    uint8_t *bytes = bytes_at(work, first);
    TRY(bulk_encrypt(work->new, first, bytes, bytes, (size_t)blocks * BLOCK_SIZE));
    *io = (struct device_io){
        .device = work->copy->device,
        .operation = DEVICE_WRITE,
        .offset = work->copy->to + (uint64_t)first * BLOCK_SIZE,
        .size = (size_t)blocks * BLOCK_SIZE,
        .buffer = bytes,
    };
    device_submit(&io, 1);
    if (!work->r->gently) {
        window->write_count++;
        return ERROR_NONE;
    }
    enum error error = write_end(work->r, work->copy, io);
    return error ? group_fence(work->r->group, error) : ERROR_NONE;
}

static enum error window_write(const struct work *work)
{
    struct reencrypt *r = work->r;
    uint32_t end = work->block + work->blocks;
    TRY(header_write(work));
    for (uint32_t block = MAX(work->block, 1), blocks; block < end; block += blocks) {
        uint64_t since = clock_monotonic();
        blocks = MIN(end - block, REENCRYPT_PIECE / BLOCK_SIZE);
        TRY(piece_write(work, block, blocks));
        TRY(r->breathe(r->context, 0, since));
    }
    return ERROR_NONE;
}

static enum error writes_end(struct reencrypt *r, const struct reencrypt_copy *copy, struct reencrypt_window *window)
{
    enum error first = ERROR_NONE;
    for (size_t i = 0; i < window->write_count; i++) {
        enum error error = write_end(r, copy, &window->writes[i]);
        if (!first)
            first = error;
    }
    window->write_count = 0;
    return first ? group_fence(r->group, first) : ERROR_NONE;
}

enum error reencrypt_writes_end(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    return writes_end(r, copy, &r->windows[copy->window]);
}

/* ---- a segment --------------------------------------------------------------------------------------------------- */

static enum error keys_get(struct work *work)
{
    struct group *group = work->r->group;
    TRY(segment_keys_get(group, &work->copy->old, &work->old));
    enum error error = segment_keys_get(group, &work->copy->new, &work->new);
    if (error)
        segment_keys_put(group, work->old);
    return error;
}

static void keys_put(const struct work *work)
{
    segment_keys_put(work->r->group, work->old);
    segment_keys_put(work->r->group, work->new);
}

static enum error windows_run(struct work *work)
{
    for (uint32_t end;; work->block = end) {
        work->blocks = MIN(work->segment_blocks - work->block, REENCRYPT_WINDOW / BLOCK_SIZE);
        TRY(pieces_read(work));
        TRY(window_verify(work, &end));
        if (end > work->block)
            work->blocks = end - work->block;
        end = work->block + work->blocks;
        if (end == work->segment_blocks)
            return ERROR_NONE;
        enum error error = window_write(work), ended = writes_end(work->r, work->copy, work->window);
        TRY(error);
        TRY(ended);
    }
}

void reencrypt_read_ahead(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    struct work work = {.r = r, .copy = copy, .window = &r->windows[copy->window]};
    work.segment_blocks = segment_blocks(&r->group->segments);
    work.blocks = MIN(work.segment_blocks, REENCRYPT_WINDOW / BLOCK_SIZE);
    ASSERT(work.window->read_count == 0);
    for (size_t count = MIN(pieces_of(&work), (size_t)PIECES_AHEAD); work.window->read_count < count;)
        piece_begin(&work, work.window->read_count++);
}

void reencrypt_read_forget(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    struct reencrypt_window *window = &r->windows[copy->window];
    for (size_t i = 0; i < window->read_count; i++)
        if (device_wait(&window->reads[i]))
            error_forget(); /* it is not asked for */
    window->read_count = 0;
}

enum error reencrypt_read(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    struct work work = {.r = r, .copy = copy, .window = &r->windows[copy->window],
                        .segment_blocks = segment_blocks(&r->group->segments)};
    r->silent = false;
    r->segment_lost = 0;
    enum error error = keys_get(&work);
    if (error) {
        reencrypt_read_forget(r, copy);
        return error;
    }
    error = windows_run(&work);
    r->last_block = work.block;
    keys_put(&work);
    return error;
}

enum error reencrypt_write(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    struct work work = {.r = r, .copy = copy, .window = &r->windows[copy->window], .block = r->last_block};
    work.segment_blocks = segment_blocks(&r->group->segments);
    work.blocks = work.segment_blocks - work.block;
    TRY(keys_get(&work));
    enum error error = window_write(&work);
    keys_put(&work);
    if (error) {
        enum error ended = writes_end(r, copy, work.window);
        return ended ? ended : error;
    }
    return ERROR_NONE;
}
