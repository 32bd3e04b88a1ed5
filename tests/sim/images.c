/*
 * Images and pending changes of the simulated devices.
 *
 * Invariants: applying the pending changes that are complete, in order, to the durable image gives the current one. Two
 * changes that overlap are never in flight together, which the engine must not do either (asserted), so the order of
 * submission is the order of completion wherever it matters. Numbers of pending changes rise along the list.
 *
 * One thread. A life that ends between two events leaves all of this to its parent.
 */
#include "tests/sim/images.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/memory.h"
#include "engine/group/format.h"
#include "tests/crash/child.h"
#include "tests/sim/heap.h"
#include "tests/sim/files.h"
#include "tests/sim/lies.h"

#define DATA_LOOSE_MAX (UINT64_C(16) << 20) /* bytes up to here may have holes */
#define NOISE_BYTES    UINT64_C(65536)
#define LAST_CHANGES   3
#define LAST_SECTORS   16u

enum discard_result { DISCARD_OLD, DISCARD_ZEROS, DISCARD_NOISE, DISCARD_RESULTS };

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void apply_range(struct plane *plane, const struct pending *change, uint64_t start, uint64_t size)
{
    const unsigned char *data = world->data + change->data;
    uint64_t offset = change->offset + start;
    if (!change->discard)
        plane_write(plane, offset, data + start, size);
    else if (data[0] == DISCARD_ZEROS)
        plane_zero(plane, offset, size);
    else if (data[0] == DISCARD_NOISE)
        plane_fill(plane, offset, 0xdb, MIN(size, NOISE_BYTES));
}

static uint64_t data_bytes(const struct pending *change)
{
    return change->discard ? SECTOR : change->size;
}

/* Takes those without a number from the list, and moves their bytes together once there are many. */
static void compact(void)
{
    size_t kept = 0;
    uint64_t used = 0;
    bool move = world->data_used > DATA_LOOSE_MAX;
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending change = world->pending[i];
        if (change.number == 0)
            continue;
        if (move) {
            memmove(world->data + used, world->data + change.data, data_bytes(&change));
            change.data = used;
        }
        used = change.data + data_bytes(&change);
        world->pending[kept++] = change;
    }
    world->pending_count = kept;
    world->data_used = used;
}

static struct pending *pending_find(uint64_t number)
{
    size_t low = 0, high = world->pending_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (world->pending[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    ASSERT(low < world->pending_count && world->pending[low].number == number);
    return &world->pending[low];
}

static uint64_t hash_part(uint64_t hash, const struct pending *change, uint64_t start, uint64_t size)
{
    return hash_mix(hash_mix(hash_mix(hash, change->hash), start), size);
}

static bool covers(const struct pending *change, unsigned device, uint64_t before)
{
    return change->device == device && change->completed != 0 && change->completed <= before && !change->doomed;
}

void image_flush(unsigned device, uint64_t before)
{
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        if (!covers(change, device, before))
            continue;
        if (!world->images_united)
            apply_range(world->images[device].durable, change, 0, change->size);
        world->images_hash = hash_part(world->images_hash, change, 0, change->size);
        change->number = 0;
    }
    compact();
}

/* As a kernel that drops dirty pages whose write-back failed (https://wiki.postgresql.org/wiki/Fsync_Errors). */
void image_flush_fails(unsigned device, uint64_t before)
{
    for (size_t i = 0; i < world->pending_count; i++)
        if (covers(&world->pending[i], device, before))
            world->pending[i].doomed = world_below(2) == 0;
}

static void assert_alone(const struct pending *change)
{
    for (size_t i = 0; i < world->pending_count; i++) {
        const struct pending *other = &world->pending[i];
        if (other->completed != 0 || other->device != change->device ||
            other->offset >= change->offset + change->size || change->offset >= other->offset + other->size)
            continue;
        fail("device %u: %s of %llu bytes at %llu while a %s of %llu at %llu is in flight", change->device,
             change->discard ? "discard" : "write", (unsigned long long)change->size,
             (unsigned long long)change->offset, other->discard ? "discard" : "write", (unsigned long long)other->size,
             (unsigned long long)other->offset);
    }
}

/* A disk writes back whenever it likes; this one when it is full. */
static void make_room(uint64_t bytes)
{
    if (world->pending_count < PENDING_MAX && world->data_used + bytes <= PENDING_BYTES)
        return;
    for (unsigned d = 0; d < world->images_count; d++)
        image_flush(d, UINT64_MAX);
    if (world->pending_count == PENDING_MAX || world->data_used + bytes > PENDING_BYTES)
        fail("too much is in flight");
}

uint64_t image_change_begin(const struct device_io *io, unsigned device, uint64_t offset)
{
    struct pending change = {.number = ++world->pending_number,
                             .offset = offset,
                             .size = io->size,
                             .device = device,
                             .discard = io->operation == DEVICE_DISCARD,
                             .durable = (io->flags & DEVICE_DURABLE) != 0};
    make_room(data_bytes(&change));
    change.data = world->data_used;
    assert_alone(&change);
    if (change.discard)
        memset(world->data + change.data, (int)world_below(DISCARD_RESULTS), SECTOR);
    else
        memcpy(world->data + change.data, io->buffer, io->size);
    change.hash = XXH3_64bits(world->data + change.data, data_bytes(&change));
    change.hash = hash_mix(hash_mix(change.hash, offset), device);
    if (change.offset >= AREA_SIZE && change.offset < world->images[device].size - AREA_SIZE)
        trace(change.hash); /* elsewhere are superblocks, which name the run's own directory */
    world->data_used += data_bytes(&change);
    world->pending[world->pending_count++] = change;
    return change.number;
}

void image_change_end(uint64_t number, bool happened)
{
    struct pending *change = pending_find(number);
    change->completed = world->events;
    if (happened) {
        apply_range(world->images[change->device].current, change, 0, change->size);
        return;
    }
    change->number = 0;
    compact();
}

/* ---- crashes ----------------------------------------------------------------------------------------------------- */

/* A disk writes sectors in any order: what is missing is the end, the beginning or a part between. */
static void tear(struct pending *change)
{
    uint64_t sectors = change->size / SECTOR, cut = world_below(sectors + 1);
    switch (world_below(4)) {
    case 0:
        change->keep_size = cut * SECTOR;
        break;
    case 1:
        change->keep_start = cut * SECTOR;
        change->keep_size -= cut * SECTOR;
        break;
    case 2:
        change->gap_start = cut * SECTOR;
        change->gap_size = world_below(sectors - cut + 1) * SECTOR;
        break;
    default: /* one sector of the end, where an append has its records */
        change->gap_start = (sectors - 1 - world_below(MIN(sectors, LAST_SECTORS))) * SECTOR;
        change->gap_size = SECTOR;
    }
}

static bool is_torn(const struct pending *change)
{
    return change->keep_size != 0 && (change->keep_size != change->size || change->gap_size != 0);
}

/* The two parts that a crash keeps, each of which may be empty. */
static void parts_kept(const struct pending *change, uint64_t start[2], uint64_t size[2])
{
    uint64_t end = change->keep_start + change->keep_size, gap_end = change->gap_start + change->gap_size;
    bool whole = change->gap_size == 0;
    start[0] = change->keep_start;
    size[0] = whole ? change->keep_size : change->gap_start - change->keep_start;
    start[1] = whole ? end : gap_end;
    size[1] = end - start[1];
}

static void choose(struct pending *change, struct crash_odds odds)
{
    bool must = change->durable && change->completed != 0;
    change->keep_start = 0;
    change->keep_size = change->size;
    change->gap_start = change->size;
    change->gap_size = 0;
    if (must)
        return;
    if (change->doomed || world_percent(odds.lose_percent)) {
        change->keep_size = 0;
        return;
    }
    if (!world_percent(odds.tear_percent))
        return;
    tear(change);
}

/* What is newest is what replay must judge. */
static size_t draw_one(void)
{
    size_t count = world->pending_count, back = world_below(2) == 0 ? LAST_CHANGES : count;
    bool journal = world_below(2) == 0;
    for (size_t i = count; i-- > 0 && journal;)
        if (!world->pending[i].discard &&
            lies_segment(world->pending[i].device, world->pending[i].offset) == SEGMENT_JOURNAL)
            return i;
    return count == 0 ? 0 : count - 1 - world_below(MIN(MAX(back, 1u), count));
}

uint64_t images_choose(struct crash_odds odds)
{
    uint64_t hash = hash_mix(world->images_hash, files_choose(odds));
    size_t one = odds.one ? draw_one() : 0;
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        uint64_t start[2], size[2];
        choose(change, odds.one && i != one ? (struct crash_odds){0} : odds);
        parts_kept(change, start, size);
        for (size_t part = 0; part < 2; part++)
            if (size[part] != 0)
                hash = hash_part(hash, change, start[part], size[part]);
    }
    return hash;
}

static void keep_chosen(const struct pending *change)
{
    uint64_t start[2], size[2];
    world->lost += change->keep_size == 0;
    world->torn += is_torn(change);
    parts_kept(change, start, size);
    for (size_t part = 0; part < 2; part++) {
        if (size[part] == 0)
            continue;
        apply_range(world->images[change->device].durable, change, start[part], size[part]);
        world->images_hash = hash_part(world->images_hash, change, start[part], size[part]);
    }
}

/* After a crash, where the change was. */
static void show_durable(const struct pending *change)
{
    const struct image *image = &world->images[change->device];
    int result = change->discard ? world->data[change->data] : -1;
    if (result == DISCARD_OLD)
        return;
    plane_take(image->current, image->durable, change->offset,
               result == DISCARD_NOISE ? MIN(change->size, NOISE_BYTES) : change->size);
}

void images_crash(void)
{
    for (size_t i = 0; i < world->pending_count; i++)
        keep_chosen(&world->pending[i]);
    for (size_t i = 0; i < world->pending_count && !world->images_united; i++)
        show_durable(&world->pending[i]);
    world->pending_count = 0;
    world->data_used = 0;
}

void images_settle_failed(void)
{
    bool doomed = false;
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        uint64_t part = change->size / SECTOR;
        if (change->doomed) {
            change->keep_size = 0;
            show_durable(change);
            change->number = 0;
            doomed = true;
        } else if (change->completed == 0 && !change->discard && world_below(3) == 0) {
            change->size = world_below(part + 1) * SECTOR;
        }
        if (change->completed == 0 && world_below(3) == 0)
            change->size = 0;
        if (change->size == 0)
            change->number = 0;
    }
    compact();
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        if (doomed || change->completed == 0)
            apply_range(world->images[change->device].current, change, 0, change->size);
        if (change->completed == 0)
            change->completed = world->events;
    }
}

void image_device_lost(unsigned device)
{
    for (size_t i = 0; i < world->pending_count; i++)
        if (world->pending[i].device == device)
            choose(&world->pending[i], (struct crash_odds){.lose_percent = 50, .tear_percent = 30});
    for (size_t i = 0; i < world->pending_count; i++) {
        const struct pending *change = &world->pending[i];
        if (change->device == device)
            keep_chosen(change);
    }
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        if (change->device != device)
            continue;
        show_durable(change);
        change->number = 0;
    }
    compact();
}

void images_outlive(void)
{
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        if (change->completed != 0)
            continue;
        bool happens = world_below(2) == 0;
        if (happens)
            apply_range(world->images[change->device].current, change, 0, change->size);
        else
            change->number = 0;
    }
    compact();
    for (size_t i = 0; i < world->pending_count; i++)
        world->pending[i].completed = 1; /* before any event of the next life */
}

/* ---- space ------------------------------------------------------------------------------------------------------- */

bool image_has_space(const struct image *image, uint64_t offset, uint64_t size)
{
    for (uint64_t grain = offset / SPACE_GRAIN; grain <= (offset + size - 1) / SPACE_GRAIN; grain++)
        if ((image->space[grain / 64] >> grain % 64 & 1) == 0)
            return false;
    return true;
}

void image_take_space(struct image *image, uint64_t offset, uint64_t size)
{
    for (uint64_t grain = offset / SPACE_GRAIN; grain <= (offset + size - 1) / SPACE_GRAIN; grain++)
        image->space[grain / 64] |= UINT64_C(1) << grain % 64;
}

void image_give_space(struct image *image, uint64_t offset, uint64_t size)
{
    for (uint64_t grain = ROUND_UP(offset, SPACE_GRAIN) / SPACE_GRAIN; grain < (offset + size) / SPACE_GRAIN; grain++)
        image->space[grain / 64] &= ~(UINT64_C(1) << grain % 64);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

/* Only what is there. */
static void file_take(int file, struct image *image)
{
    unsigned char block[BLOCK];
    for (off_t at = 0; (at = lseek(file, at, SEEK_DATA)) >= 0;)
        for (off_t end = lseek(file, at, SEEK_HOLE); at < end; at += BLOCK) {
            if (pread(file, block, BLOCK, at) != BLOCK)
                fail("a device cannot be read");
            plane_write(image->durable, (uint64_t)at, block, BLOCK);
            image_take_space(image, (uint64_t)at, BLOCK);
        }
}

/* Of branches, so many deep; each made after what is durable on the one before. */
static struct images_level {
    struct plane *durable[DEVICES_MAX], *current[DEVICES_MAX];
} *levels;

void images_map(void)
{
    const struct session *session = world->session;
    char path[PATH_SIZE];
    levels = world_map(HEAP_LEVELS * sizeof(*levels));
    world->images_count = session->settings.devices;
    for (unsigned i = 0; i < world->images_count; i++) {
        struct image *image = &world->images[i];
        image->size = session_device_bytes(session, i);
        ASSERT(image->size <= SPACE_BITS * SPACE_GRAIN);
        session_device_path(session, i, path);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            fail("%s cannot be opened", path);
        image->durable = plane_create(image->size);
        image->current = plane_create(image->size);
        file_take(file, image);
        plane_copy(image->current, image->durable);
        close(file);
    }
}

static struct plane *follow(struct plane **heir, struct plane *origin)
{
    if (*heir == NULL)
        *heir = plane_heir(origin);
    plane_follow(*heir, origin);
    return *heir;
}

void images_branch(bool last)
{
    struct images_level *level = &levels[world->branches++];
    ASSERT(world->branches < HEAP_LEVELS);
    for (unsigned i = 0; i < world->images_count; i++) {
        struct image *image = &world->images[i];
        struct plane *origin = image->durable;
        image->durable = follow(&level->durable[i], origin);
        image->current = last ? image->durable : follow(&level->current[i], origin);
    }
    world->images_united = last;
}
