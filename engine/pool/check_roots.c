/*
 * What stands in the clear and begins every open: superblock copies, checkpoint records, headers of segments. An open
 * is content with one good copy; here each is looked at.
 *
 * A crash may leave things that an open rightly passes over, and they are messages, not findings: a record that no
 * witness has seen as durable and that may be torn, and the header of a segment that was about to be begun.
 */
#include "engine/pool/check.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "engine/group/superblock_image.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/keys.h"

/* ---- superblocks ---------------------------------------------------------------------------------------------- */

static const char *copy_fault(struct check *check, uint32_t d, uint32_t copy, const uint8_t *kek, uint8_t *image)
{
    struct device *device = check->group->devices[d];
    const struct superblock *known = &check->group->superblocks[d];
    struct superblock found;
    unsigned wrapping;
    uint64_t offset = superblock_offset(known->device_size, copy);
    enum error error = device_read(device, offset, image, SUPERBLOCK_SIZE);
    if (error)
        return error_sentence(error);
    if (superblock_fixed_decode((const struct superblock_format *)image, copy, offset, &found))
        return "it is damaged";
    if (superblock_image_verify(image, &found, kek, &wrapping))
        return "it is not as it was written";
    return found.epoch == known->epoch ? NULL : "it is older than the others";
}

static enum error kek_open(struct check *check, const struct pool_open_options *options, uint32_t d, uint8_t *kek)
{
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    enum kek_state state;
    return pool_keys_open_or_cached(check->pool->conf, check->pool->witness, &check->group->superblocks[d],
                                    options->passphrase ? &secret : NULL, kek, &state);
}

static bool same_kek(const struct superblock *a, const struct superblock *b)
{
    return uuid_equal(a->wrapping.provider, b->wrapping.provider) && a->wrapping.kek_number == b->wrapping.kek_number &&
           a->wrapping.kek_salt == b->wrapping.kek_salt;
}

/* Under two keys, as a change of them that did not come to its end leaves it, whose superblocks may all be whole and known to
 * the witness by then: the next start writes them under one. */
static bool is_half_done(const struct superblock *superblock)
{
    return !uuid_is_zero(superblock->other.provider);
}

/* A start of the daemon writes them right; where another device lost its superblocks first, they could not help it. */
static enum error peers_check(struct check *check, uint32_t d, const uint8_t *kek)
{
    const struct group *group = check->group;
    bool equal;
    TRY(superblock_peers_verify(group->superblocks, group->keyrings, group->device_count, d, kek, &equal));
    if (!equal)
        check_find(check, "%s: its superblock does not hold the key slots of the other devices as they are",
                   group->devices[d]->path);
    return ERROR_NONE;
}

enum error check_superblocks(struct check *check, const struct pool_open_options *options)
{
    const struct group *group = check->group;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    uint8_t *kek = arena_allocate(KEY_SIZE);
    enum error error = image && kek ? ERROR_NONE : ERROR_NO_MEMORY;
    for (uint32_t d = 0; d < group->device_count && !error; d++) {
        bool rewriting = witness_is_rewriting(check->pool->witness, group->superblocks[d].device);
        if (rewriting)
            message(MESSAGE_NOTICE, "%s: its superblock was being written when a crash came: the next start ends that",
                    group->devices[d]->path);
        if (d == 0 || !same_kek(&group->superblocks[d], &group->superblocks[d - 1]))
            error = kek_open(check, options, d, kek);
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES && !error; copy++) {
            const char *fault = copy_fault(check, d, copy, kek, image);
            if (fault && !rewriting)
                check_find(check, "%s: superblock copy %" PRIu32 " of %d: %s", group->devices[d]->path, copy + 1,
                           SUPERBLOCK_COPIES, fault);
        }
        if (!error && !rewriting && !is_half_done(&group->superblocks[d]))
            error = peers_check(check, d, kek);
    }
    arena_free(kek);
    return error;
}

/* ---- checkpoint records --------------------------------------------------------------------------------------- */

/* By device and position; number 0: none that is whole. */
struct record {
    uint64_t number;
    enum error error;
};

struct records {
    struct record at[GROUP_DEVICES][CHECKPOINT_COPIES];
    uint64_t newest;
};

static uint64_t seen_of(const struct check *check, uint32_t d)
{
    const struct witness *witness = check->pool->witness;
    for (size_t i = 0; i < witness->device_count; i++)
        if (uuid_equal(witness->devices[i].id, check->group->superblocks[d].device))
            return witness->devices[i].checkpoint;
    return 0;
}

/* The newest record may be torn where nobody saw it durable, and the one before since the next goes over it: a crash may
 * have come while that was written. */
static bool may_be_torn(const struct check *check, const struct records *records, uint32_t d, uint64_t number)
{
    return number > seen_of(check, d) || number < records->newest;
}

static void records_read(struct check *check, struct checkpoint_format *block, struct records *records)
{
    const struct group *group = check->group;
    for (uint32_t d = 0; d < group->device_count; d++)
        for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++) {
            struct record *record = &records->at[d][copy];
            struct checkpoint found = {0};
            uint64_t offset = checkpoint_offset(&group->superblocks[d], copy);
            record->error = device_read(group->devices[d], offset, block, BLOCK_SIZE);
            if (!record->error)
                record->error = checkpoint_decode(block, &group->superblocks[d], group->keyrings[d], copy, &found);
            record->number = found.number;
            records->newest = MAX(records->newest, found.number);
        }
}

static void record_judge(struct check *check, const struct records *records, uint32_t d, uint64_t number, unsigned end)
{
    uint32_t copy = checkpoint_copy(number, end);
    const struct record *record = &records->at[d][copy];
    const char *path = check->group->devices[d]->path;
    if (record->number == number)
        return;
    if (may_be_torn(check, records, d, number))
        message(MESSAGE_NOTICE,
                "%s: checkpoint record %" PRIu64 " is not there: a crash may have cut its writing short", path, number);
    else {
        evidence_add(check->pool->options.evidence, d, checkpoint_offset(&check->group->superblocks[d], copy), BLOCK_SIZE,
                     "checkpoint record");
        check_find(check, "%s: checkpoint record %" PRIu64 ", position %" PRIu32 ": %s", path, number, copy + 1,
                   record->error ? "it is damaged" : "an older one stands in its place");
    }
}

enum error check_records(struct check *check)
{
    AUTO_FREE struct checkpoint_format *block = memory_aligned(BLOCK_SIZE);
    AUTO_FREE struct records *records = memory_zeroed(1, sizeof *records);
    if (!block || !records)
        return ERROR_NO_MEMORY;
    records_read(check, block, records);
    for (uint32_t d = 0; d < check->group->device_count; d++)
        for (uint64_t number = records->newest > 1 ? records->newest - 1 : 1; number <= records->newest; number++)
            for (unsigned end = 0; end < CHECKPOINT_ENDS; end++)
                record_judge(check, records, d, number, end);
    return ERROR_NONE;
}

/* ---- headers of segments -------------------------------------------------------------------------------------- */

static void header_check(struct check *check, uint32_t index)
{
    struct group *group = check->group;
    const struct segment *segment = &group->segments.table[index];
    uint32_t device = segment_device(&group->segments, index), slot = segment_slot(&group->segments, index);
    const char *path = group->devices[device]->path;
    struct segment_header header;
    enum error error = segment_header_read(group, device, slot, segment->serial, &header);
    bool needed = segment->live || segment->pages || segment->generation == GENERATION_REPLAYED;
    if (error && !needed)
        message(MESSAGE_NOTICE, "%s: segment %" PRIu64 " was never begun: it has no header and nothing in it", path,
                segment->serial);
    else if (error)
        check_find(check, "%s: the header of segment %" PRIu64 " in slot %" PRIu32 ": %s", path, segment->serial, slot,
                   error == ERROR_NOT_FOUND ? "it is damaged" : error_sentence(error));
    else if (!segment_header_fits(segment, &header))
        check_find(check, "%s: the header of segment %" PRIu64 " in slot %" PRIu32 " contradicts the segment table",
                   path, segment->serial, slot);
}

enum error check_headers(struct check *check)
{
    const struct segments *segments = &check->group->segments;
    for (uint32_t i = 0; i < segments->count; i++) {
        if (segments->table[i].state == SLOT_FREE)
            continue;
        check->report.segments++;
        header_check(check, i);
    }
    return ERROR_NONE;
}
