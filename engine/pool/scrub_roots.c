/*
 * Steps of the scrub: superblock copies, checkpoint records, headers of segments.
 *
 * Superblocks are compared with the marks that were taken when they were verified or written: the KEK that verifies
 * them is not kept. Only a change of keys writes them while a pool is open.
 *
 * Of checkpoint records only the newest counts. Its positions are written again two records later; so one that fails
 * while its number is still the newest is damaged, and else it is asked for again.
 *
 * A header is judged where its segment is one that a log writes now, or has anything in it: one that was prepared
 * before a crash may never have got its header, and nobody needs it. Of a segment that is being prepared the header may
 * not be there yet; it is left out.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/scrub.h"

#define SLICE_HEADERS 64
#define RECORD_TRIES  16 /* publishes that may come in between */

/* ---- superblocks ---------------------------------------------------------------------------------------------- */

static enum error root_note(struct scrub *scrub, enum damage_kind kind, uint32_t device, uint32_t copy, enum error error)
{
    struct damages *damages = scrub->pool->damages;
    if (scrub_learns_nothing(error))
        return error;
    if (!error) {
        damages_cut(damages, kind, device, 0, copy, copy + 1);
        return ERROR_NONE;
    }
    damages_add(damages, &(struct damage){
                             .kind = (uint8_t)kind,
                             .fault = (uint8_t)damage_fault_of(error),
                             .by_scrub = true,
                             .owner = device,
                             .first = copy,
                             .end = copy + 1,
                             .device = device,
                         });
    return ERROR_NONE;
}

static enum error superblock_judge(struct scrub *scrub, uint32_t d, uint32_t copy)
{
    struct group *group = scrub->pool->group;
    mutex_lock(&scrub->pool->superblocks_lock);
    enum error error = superblock_copy_check(group->devices[d], &group->superblocks[d], copy);
    mutex_unlock(&scrub->pool->superblocks_lock);
    return root_note(scrub, DAMAGE_SUPERBLOCK, d, copy, error);
}

static uint64_t newest_number(struct group *group)
{
    mutex_lock(&group->lock);
    uint64_t number = group->checkpoint.number;
    mutex_unlock(&group->lock);
    return number;
}

/* ERROR_AGAIN where it was no longer the newest. */
static enum error record_judge(struct scrub *scrub, uint32_t d, unsigned end, void *block)
{
    struct group *group = scrub->pool->group;
    uint64_t number = newest_number(group);
    uint32_t copy = checkpoint_copy(number, end);
    struct checkpoint found;
    enum error error =
        device_read(group->devices[d], checkpoint_offset(&group->superblocks[d], copy), block, BLOCK_SIZE);
    if (!error)
        error = checkpoint_decode(block, &group->superblocks[d], group_keyring(group, d), copy, &found);
    if (!error && found.number < number)
        error = ERROR_CORRUPT;
    if (error && newest_number(group) != number)
        return ERROR_AGAIN;
    if (error != ERROR_IO && error != ERROR_NONE && !scrub_learns_nothing(error))
        error = ERROR_CORRUPT;
    return root_note(scrub, DAMAGE_RECORD, d, copy, error);
}

static enum error record_scrub(struct scrub *scrub, uint32_t d, unsigned end, void *block)
{
    enum error error = ERROR_AGAIN;
    for (unsigned tries = 0; tries < RECORD_TRIES && error == ERROR_AGAIN; tries++)
        error = record_judge(scrub, d, end, block);
    return error == ERROR_AGAIN ? ERROR_NONE : error;
}

enum error scrub_superblocks(struct scrub *scrub, const struct scrub_job *job)
{
    struct group *group = scrub->pool->group;
    uint64_t since = clock_monotonic();
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    if (!block)
        return ERROR_NO_MEMORY;
    for (uint32_t d = 0; d < group->device_count; d++) {
        for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
            TRY(superblock_judge(scrub, d, copy));
        damages_cut(scrub->pool->damages, DAMAGE_RECORD, d, 0, 0,
                    CHECKPOINT_COPIES); /* what is known is of older ones */
        for (unsigned end = 0; end < CHECKPOINT_ENDS; end++)
            TRY(record_scrub(scrub, d, end, block));
    }
    scrub_advance(scrub, job, SCRUB_HEADERS, 0, 0);
    return scrub_breathe(scrub, job, group->device_count * (4ull * SUPERBLOCK_SIZE + 2ull * BLOCK_SIZE), since);
}

/* ---- headers -------------------------------------------------------------------------------------------------- */

struct header_check {
    struct segment segment;
    uint32_t device, slot;
};

static bool is_written_now(const struct group *group, uint32_t index)
{
    const struct log *logs[] = {&group->journal, &group->meta, &group->twin, &group->cold};
    for (size_t i = 0; i < COUNT_OF(logs); i++)
        if (logs[i]->segment == index || log_has_prepared(logs[i], index))
            return true;
    return false;
}

static bool is_judged(const struct group *group, uint32_t index)
{
    const struct segment *segment = &group->segments.table[index];
    if (is_written_now(group, index))
        return true;
    return segment->state == SLOT_SEALED &&
           (segment->live || segment->pages || segment->generation == GENERATION_REPLAYED);
}

/* Takes a view as well: what is listed stays until it is given back. Returns the index to go on from. */
static uint32_t headers_list(struct group *group, uint32_t first, struct header_check *checks, size_t *count,
                             struct view **view)
{
    const struct segments *segments = &group->segments;
    uint32_t i = first;
    *count = 0;
    mutex_lock(&group->lock);
    *view = view_get(group);
    for (; i < segments->count && *count < SLICE_HEADERS; i++)
        if (is_judged(group, i))
            checks[(*count)++] = (struct header_check){
                .segment = segments->table[i],
                .device = segment_device(segments, i),
                .slot = segment_slot(segments, i),
            };
    mutex_unlock(&group->lock);
    return i;
}

static enum error header_judge(struct scrub *scrub, const struct header_check *check)
{
    struct group *group = scrub->pool->group;
    struct segment_header header;
    uint64_t serial = check->segment.serial;
    enum error error = segment_header_read(group, check->device, check->slot, serial, &header);
    if (error == ERROR_NOT_FOUND || (!error && !segment_header_fits(&check->segment, &header)))
        error = ERROR_CORRUPT;
    if (error == ERROR_NONE)
        damages_cut(scrub->pool->damages, DAMAGE_HEADER, serial, 0, 0, 1);
    if (error != ERROR_CORRUPT && error != ERROR_IO)
        return scrub_learns_nothing(error) ? error : ERROR_NONE;
    damages_add(scrub->pool->damages, &(struct damage){
                                          .kind = DAMAGE_HEADER,
                                          .fault = (uint8_t)damage_fault_of(error),
                                          .by_scrub = true,
                                          .owner = serial,
                                          .first = 0,
                                          .end = 1,
                                          .serial = serial,
                                          .device = check->device,
                                          .slot = check->slot,
                                      });
    return ERROR_NONE;
}

enum error scrub_headers(struct scrub *scrub, const struct scrub_job *job)
{
    struct group *group = scrub->pool->group;
    struct header_check checks[SLICE_HEADERS];
    struct view *view;
    uint64_t since = clock_monotonic();
    size_t count;
    uint32_t next = headers_list(group, (uint32_t)MIN(job->at, group->segments.count), checks, &count, &view);
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < count && !error; i++)
        error = header_judge(scrub, &checks[i]);
    view_put(group, view);
    TRY(error);
    bool all = next >= group->segments.count;
    scrub_advance(scrub, job, all ? SCRUB_TABLES : SCRUB_HEADERS, all ? TABLE_FINGERPRINTS : 0, all ? 0 : next);
    return scrub_breathe(scrub, job, count * BLOCK_SIZE, since);
}
