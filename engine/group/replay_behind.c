/*
 * What lies behind the end of the chain: whether an append there says that a flush covered more than replay found.
 *
 * A crash is harmless: nothing is written.
 */
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/evidence.h"
#include "engine/group/replay_chain.h"

struct behind {
    uint64_t *durable;
    unsigned appends; /* that stand there */
};

static void durable_take(struct replay *replay, const struct append_format *append, void *context)
{
    struct behind *behind = context;
    (void)replay;
    *behind->durable = MAX(*behind->durable, le64_get(append->durable));
    behind->appends++;
}

static enum error segment_ask(struct replay *replay, struct place place, uint64_t *durable, unsigned *appends)
{
    struct behind behind = {.durable = durable};
    enum error error = replay_segment_walk(replay, place, durable_take, &behind);
    if (appends)
        *appends = behind.appends;
    return error;
}

/* What the table calls a segment of the journal was prepared ahead before a publish, or written since: it has its keys, whether
 * its header can be read or not. */
static enum error durable_in_table(struct replay *replay, uint64_t named, uint64_t *durable)
{
    struct segments *segments = &replay->group->segments;
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->table[i];
        if (segment->state == SLOT_FREE || segment->kind != SEGMENT_JOURNAL || segment->serial < named)
            continue;
        struct place place = {segment->serial, segment_device(segments, i), segment_slot(segments, i), 1};
        TRY(segment_ask(replay, place, durable, NULL));
    }
    return ERROR_NONE;
}

/* A free slot that cannot be read may be where the journal goes on, and keeps the group closed: a repair passes over it, since
 * nothing else would ever bring what stands there back, and the journal begins elsewhere after that. */
static enum error slot_pass(struct replay *replay, uint32_t index)
{
    struct group *group = replay->group;
    struct segments *segments = &group->segments;
    uint32_t device = segment_device(segments, index), slot = segment_slot(segments, index);
    uint32_t order = slot * group->device_count + device; /* in which they are asked */
    if (!group->config.cut_journal)
        return error_explain(ERROR_IO,
                             "group %s: slot %u of %s cannot be read at byte %llu. It is free, but the newest of the journal may "
                             "stand there. Nothing was changed. Try to read the device again, or copy it to another one, or give "
                             "up what may stand there: `coffer check --repair` passes over it",
                             group_name(group), slot, group->devices[device]->path,
                             (unsigned long long)segment_offset(segments, index));
    if (order >= replay->passed && group->config.read_only) /* the repair's look, which comes first */
        message(MESSAGE_ERROR, "group %s: slot %u of %s, which is free, cannot be read: it is passed over (--repair)",
                group_name(group), slot, group->devices[device]->path);
    replay->passed = MAX(replay->passed, order + 1);
    evidence_add(group->config.evidence, device, segment_offset(segments, index), segment_size(segments), "slot passed over");
    return ERROR_NONE;
}

struct anywhere {
    uint64_t named;
    uint64_t *durable;
};

static enum error free_slot_ask(struct replay *replay, uint32_t index, enum error error, const struct segment_header *header,
                                void *context)
{
    const struct anywhere *anywhere = context;
    if (error == ERROR_IO)
        return slot_pass(replay, index);
    if (error)
        return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
    if (header->segment.kind != SEGMENT_JOURNAL || header->segment.serial <= anywhere->named)
        return ERROR_NONE;
    struct place place = {header->segment.serial, header->device, header->slot, 1};
    return segment_ask(replay, place, anywhere->durable, NULL);
}

/* The header of a named segment is unreadable, or not the one named: that one and all younger ones that the table knows are asked,
 * and every slot that it calls free whether it holds a journal segment younger than that. (Serials rise along the chain, so what is
 * left of older lives is passed over.) */
static enum error durable_anywhere(struct replay *replay, uint64_t named, uint64_t *durable)
{
    struct group *group = replay->group;
    TRY(durable_in_table(replay, named, durable));
    message(MESSAGE_INFO, "group %s: segment %llu, which the journal names, is not there (a crash may have come first); the "
                          "headers of %u free segments are asked for anything younger",
            group_name(group), (unsigned long long)named, group->segments.free_total);
    return replay_headers_read(replay, true, free_slot_ask, &(struct anywhere){named, durable});
}

/* A flush takes long, and meanwhile appends fill many segments that state nothing of it: as long as there are any, the next
 * segment is asked. One without an append was prepared ahead, and none behind it was used; those that a publish stored are asked
 * all the same, since they are in the table. */
enum error replay_durable_behind(struct replay *replay, uint64_t *durable)
{
    const struct segments *segments = &replay->group->segments;
    struct place place = replay->place;
    unsigned empty = 0; /* in a row */
    for (uint32_t n = 0; n < segments->count && empty < 2 + LOG_FURTHER_MAX && place.serial; n++) {
        struct segment_header header;
        unsigned appends;
        if (n >= 2 && empty && segment_find(segments, place.serial) == SEGMENT_NONE)
            return ERROR_NONE; /* it has to be taken to be looked at */
        enum error error = segment_header_read(replay->group, place.device, place.slot, place.serial, &header);
        if (error == ERROR_NOT_FOUND)
            return durable_anywhere(replay, place.serial, durable);
        if (error)
            return error;
        TRY(segment_ask(replay, place, durable, &appends));
        empty = appends ? 0 : empty + 1;
        place = header.successor;
    }
    return ERROR_NONE;
}
