/*
 * A lie is a block that reads as something else. They are few at a time and belong to the life. One thread.
 */
#include "tests/sim/lies.h"

#include <stddef.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/format.h"
#include "tests/sim/faults.h"
#include "tests/sim/plane.h"

#define LIES_MAX    96
#define LOST_BLOCKS 8 /* of one write, at most */
#define FLIPS_MAX   8
#define SEGMENT     (UINT64_C(4) << 20)

static struct lie {
    unsigned device;
    enum fault fault;
    uint64_t offset;
    unsigned char bytes[DEVICE_BLOCK];
} lies[LIES_MAX];
static size_t lies_count;

void lies_forget(void)
{
    lies_count = 0;
}

static const unsigned char *held(unsigned device, uint64_t offset)
{
    return world->images[device].current->bytes + offset;
}

int lies_segment(unsigned device, uint64_t offset)
{
    uint64_t size = world->images[device].size;
    if (offset < AREA_SIZE || offset >= size - AREA_SIZE || (offset - AREA_SIZE) % SEGMENT == 0)
        return 0;
    const unsigned char *header = held(device, AREA_SIZE + (offset - AREA_SIZE) / SEGMENT * SEGMENT);
    return header[offsetof(struct segment_format, kind)];
}

bool lies_may_stand(unsigned device, uint64_t offset)
{
    int kind = lies_segment(device, offset);
    if (session_works(world->session, WORK_REKEYS)) /* what is copied as it is stays so */
        return false;
    return kind == SEGMENT_JOURNAL || kind == SEGMENT_TWIN;
}

static void lie_add(enum fault fault, unsigned device, uint64_t offset, const unsigned char *bytes)
{
    if (lies_count == LIES_MAX)
        return;
    struct lie *lie = &lies[lies_count++];
    *lie = (struct lie){.device = device, .fault = fault, .offset = offset};
    memcpy(lie->bytes, bytes, DEVICE_BLOCK);
}

static void flip(unsigned char *block)
{
    for (uint64_t count = 1 + world_below(FLIPS_MAX); count > 0; count--)
        block[world_below(DEVICE_BLOCK)] ^= (unsigned char)(1u << world_below(8));
}

static uint64_t draw_block(const struct device_io *io)
{
    return io->offset + world_below(io->size / DEVICE_BLOCK) * DEVICE_BLOCK;
}

/* Another one of the same segment, not its header. */
static uint64_t draw_other(uint64_t offset)
{
    uint64_t segment = AREA_SIZE + (offset - AREA_SIZE) / SEGMENT * SEGMENT;
    return segment + (1 + world_below(SEGMENT / DEVICE_BLOCK - 1)) * DEVICE_BLOCK;
}

/* ---- writes ------------------------------------------------------------------------------------------------------ */

static bool covers(const struct device_io *io, unsigned device, const struct lie *lie)
{
    return lie->device == device && lie->offset >= io->offset && lie->offset < io->offset + io->size;
}

static void lose(const struct device_io *io, unsigned device, uint64_t first)
{
    uint64_t end = MIN(first + (1 + world_below(LOST_BLOCKS)) * DEVICE_BLOCK, io->offset + io->size);
    for (uint64_t at = first; at < end; at += DEVICE_BLOCK)
        lie_add(FAULT_LOST, device, at, held(device, at));
}

static void stray(const struct device_io *io, unsigned device, uint64_t from)
{
    uint64_t to = draw_other(from);
    lie_add(FAULT_ASTRAY, device, from, held(device, from));
    if (to < io->offset || to >= io->offset + io->size)
        lie_add(FAULT_ASTRAY, device, to, (const unsigned char *)io->buffer + (from - io->offset));
}

void lies_write(const struct device_io *io, unsigned device)
{
    for (size_t i = 0; i < lies_count; i++)
        if (covers(io, device, &lies[i]))
            lies[i--] = lies[--lies_count], fault_cured();
    if (io->operation != DEVICE_WRITE || atomic_load(&world->session->phase) != PHASE_WORKING)
        return;
    uint64_t block = draw_block(io);
    if (!lies_may_stand(device, block))
        return;
    if (fault_hits(FAULT_LOST))
        lose(io, device, block);
    else if (fault_hits(FAULT_ASTRAY))
        stray(io, device, block);
}

/* ---- reads ------------------------------------------------------------------------------------------------------- */

static void rot(const struct device_io *io, unsigned device)
{
    uint64_t block = draw_block(io);
    unsigned char rotten[DEVICE_BLOCK];
    if (!lies_may_stand(device, block) || !fault_hits(FAULT_ROT))
        return;
    memcpy(rotten, held(device, block), DEVICE_BLOCK);
    flip(rotten);
    lie_add(FAULT_ROT, device, block, rotten);
}

/* Once: changed on its way, or another place's. */
static void misread(const struct device_io *io, unsigned device)
{
    uint64_t block = draw_block(io);
    unsigned char *out = (unsigned char *)io->buffer + (block - io->offset);
    bool inside = block >= AREA_SIZE && block < world->images[device].size - AREA_SIZE;
    if (!inside || !fault_hits(FAULT_MISREAD) || !fault_may_repeat(device, io->offset))
        return;
    fault_of_read(device, block);
    if (world_below(2) == 0)
        flip(out);
    else
        memcpy(out, held(device, draw_other(block)), DEVICE_BLOCK);
}

/* While the pool is opened nothing that stays is changed: noise over the newest append is beyond detection (docs/design.md, 8). */
void lies_read(const struct device_io *io, unsigned device)
{
    int phase = atomic_load(&world->session->phase);
    if (!world->faults.at_work || (phase != PHASE_WORKING && phase != PHASE_COMPARING && phase != PHASE_OPENING))
        return;
    misread(io, device);
    if (phase != PHASE_WORKING)
        return;
    rot(io, device);
    for (size_t i = 0; i < lies_count; i++) {
        if (!covers(io, device, &lies[i]))
            continue;
        memcpy((unsigned char *)io->buffer + (lies[i].offset - io->offset), lies[i].bytes, DEVICE_BLOCK);
        fault_happens(lies[i].fault);
    }
}
