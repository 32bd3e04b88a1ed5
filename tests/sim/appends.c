/*
 * Headers are noted where they are tagged, before they are encrypted, and found again by the serial that stands in the clear
 * in the header of their segment. An append survived a crash for sure where another one, whatever became of that,
 * states a sequence that covers it: the engine wrote it after a flush was complete.
 *
 * The notes outlive each life. One thread.
 */
#include "tests/sim/appends.h"

#include <string.h>

#include "base/memory.h"
#include "engine/group/format.h"
#include "tests/sim/plane.h"
#include "tests/sim/world.h"

#define NOTES_MAX 256
#define NEWEST    12
#define TRIES     32
#define SEGMENT   (UINT64_C(4) << 20)

struct note {
    uint64_t serial, last_sequence, durable;
    uint32_t block, blocks, records, records_size;
};

static struct notes {
    uint64_t count;
    struct note ring[NOTES_MAX];
} *notes;

void appends_begin(void)
{
    notes = world_map(sizeof(*notes));
}

void appends_note(const struct bulk_part *header)
{
    struct append_format append;
    if (header->size != sizeof(append) - sizeof(append.tag) || world->branches != 0)
        return;
    memcpy((uint8_t *)&append + sizeof(append.tag), header->data, header->size);
    if (append.kind != SEGMENT_JOURNAL)
        return;
    notes->ring[notes->count++ % NOTES_MAX] = (struct note){.serial = le40_get(append.serial),
                                                           .last_sequence = le64_get(append.last_sequence),
                                                           .durable = le64_get(append.durable),
                                                           .block = le32_get(append.offset),
                                                           .blocks = le32_get(append.blocks),
                                                           .records = le32_get(append.records_offset),
                                                           .records_size = le32_get(append.records_size)};
}

static size_t notes_count(void)
{
    return (size_t)MIN(notes->count, (uint64_t)NOTES_MAX);
}

/* By the header of its segment. */
static bool find(const struct note *note, struct appended *append)
{
    for (unsigned d = 0; d < world->images_count; d++)
        for (uint64_t at = AREA_SIZE; at + SEGMENT <= world->images[d].size - AREA_SIZE; at += SEGMENT) {
            struct segment_format header;
            memcpy(&header, world->images[d].current->bytes + at, offsetof(struct segment_format, reserved2));
            if (memcmp(header.magic, SEGMENT_MAGIC, sizeof(header.magic)) != 0 || le64_get(header.serial) != note->serial)
                continue;
            *append = (struct appended){.device = d,
                                        .offset = at + (uint64_t)note->block * BLOCK_SIZE,
                                        .blocks = note->blocks,
                                        .records = note->records,
                                        .records_size = note->records_size,
                                        .serial = note->serial,
                                        .last_sequence = note->last_sequence,
                                        .durable = note->durable};
            return true;
        }
    return false;
}

bool appends_draw(struct appended *append)
{
    uint64_t count = notes_count(), newest = world_below(2) == 0 ? MIN(count, (uint64_t)NEWEST) : count;
    return count != 0 && find(&notes->ring[(notes->count - 1 - world_below(newest)) % NOTES_MAX], append);
}

/* Which of the same segment survived for sure, and how far they say that flushes came. */
static uint64_t durable_behind(const struct note *note, uint64_t survived)
{
    uint64_t durable = 0;
    for (size_t i = 0; i < notes_count(); i++) {
        const struct note *other = &notes->ring[i];
        if (other->serial == note->serial && other->block > note->block && other->last_sequence <= survived)
            durable = MAX(durable, other->durable);
    }
    return durable;
}

bool appends_draw_covered(uint64_t sequence, struct appended *append)
{
    uint64_t survived = 0;
    for (size_t i = 0; i < notes_count(); i++)
        survived = MAX(survived, notes->ring[i].durable);
    for (unsigned tries = 0; tries < TRIES && notes->count != 0; tries++) {
        const struct note *note = &notes->ring[world_below(notes_count())];
        if (note->last_sequence > sequence && note->last_sequence <= durable_behind(note, survived) && find(note, append))
            return true;
    }
    return false;
}
