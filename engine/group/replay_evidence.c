/*
 * Where what follows the cut of a damaged journal lies: the segment of the cut, whole; every segment of the journal that is
 * younger, as its header or the table says; and the places that their headers name as predecessor and successor, where a
 * header may be lost. The table calls most of these slots free, and the next writes take them.
 *
 * Too much is no harm: slots that were prepared ahead and hold nothing, or were named and hold something else, are among it.
 * Serials rise along the chain, so what older lives left is not. Only read: a crash is harmless.
 *
 * The repair's look and the repair itself each replay, and what a disk gives may change between them. What was kept belongs to
 * the look's end alone, so the repair goes on from no other.
 */
#include "engine/group/evidence.h"
#include "engine/group/replay_chain.h"

#define WHAT "journal behind the cut"

static void slot_add(struct replay *replay, uint32_t device, uint32_t slot)
{
    struct segments *segments = &replay->group->segments;
    if (device < segments->device_count && slot < segments->slot_count[device])
        evidence_add(replay->group->config.evidence, device, segment_offset(segments, segments->slot_first[device] + slot),
                     segment_size(segments), WHAT);
}

static void named_add(struct replay *replay, const struct place *place)
{
    if (place->serial >= replay->place.serial)
        slot_add(replay, place->device, place->slot);
}

enum error replay_end_agree(const struct replay *replay, bool cut)
{
    const struct group *group = replay->group;
    const struct evidence_end *look = group->config.journal_end;
    struct evidence_end end = {true, cut, replay->place.offset, replay->place.serial, replay->last_sequence};
    if (group->config.evidence)
        group->config.evidence->end = end;
    if (!look || (look->known && look->cut == end.cut && look->block == end.block && look->serial == end.serial &&
                  look->last_sequence == end.last_sequence))
        return ERROR_NONE;
    return error_explain(ERROR_CORRUPT,
                         "group %s: the journal ends at segment %llu, block %u, and a moment ago it did not: a disk gives other "
                         "bytes than before, or somebody writes to it. The journal was not cut; find out which, then type it "
                         "again",
                         group_name(group), (unsigned long long)end.serial, end.block);
}

static enum error younger_add(struct replay *replay, uint32_t index, enum error error, const struct segment_header *header,
                              void *context)
{
    const struct segments *segments = &replay->group->segments;
    const struct segment *known = &segments->table[index];
    uint32_t device = segment_device(segments, index), slot = segment_slot(segments, index);
    (void)context;
    if (known->state != SLOT_FREE && known->kind == SEGMENT_JOURNAL && known->serial >= replay->place.serial)
        slot_add(replay, device, slot);
    if (error || header->segment.kind != SEGMENT_JOURNAL || header->segment.serial < replay->place.serial)
        return ERROR_NONE;
    slot_add(replay, device, slot);
    named_add(replay, &header->predecessor);
    named_add(replay, &header->successor);
    return ERROR_NONE;
}

void replay_evidence(struct replay *replay)
{
    if (!replay->group->config.evidence)
        return;
    slot_add(replay, replay->place.device, replay->place.slot);
    if (replay_headers_read(replay, false, younger_add, NULL) != ERROR_NONE)
        replay->group->config.evidence->incomplete = true;
}
