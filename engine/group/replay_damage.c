/*
 * A journal that is damaged before what a flush covered: what can still be told of the stretch that is lost.
 *
 * Nothing behind the damage is entered, but what is authentic there speaks: the first append of each segment lists what
 * the segment before changed, and records that can be read say what they changed themselves.
 *
 * A crash is harmless: nothing is written, and the group does not open.
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/replay_chain.h"
#include "engine/group/summary.h"

#define RANGES_SAID 8 /* in the sentence, which has an end */

struct loss {
    struct summary summary; /* what was changed behind the damage, as far as it is known */
    uint64_t durable;
    bool told; /* a later segment told about the damaged one */
};

/* One authentic append behind the damage. */
static void append_gather(struct replay *replay, const struct append_format *append, void *context)
{
    struct loss *loss = context;
    const uint8_t *begin = (const uint8_t *)append + le32_get(append->records_offset);
    struct byte_reader in = {begin, begin + le32_get(append->records_size), false};
    struct record *record = &loss->summary.record;
    loss->durable = MAX(loss->durable, le64_get(append->durable));
    struct byte_reader records;
    uint64_t sequence;
    while (record_frame_next(&in, &sequence, &records) == ERROR_NONE) {
        bool behind = sequence > replay->last_sequence;
        while (record_decode(&records, record) == ERROR_NONE) {
            bool about_lost = record->type == RECORD_SUMMARY && record->serial >= replay->place.serial;
            loss->told |= about_lost && record->serial == replay->place.serial;
            if (record->type == RECORD_SUMMARY ? about_lost : behind)
                summary_add_record(&loss->summary, record);
        }
    }
}

/* What can be read of a segment, from a block on. Errors are passed over: the damage is told in any case. */
static void segment_gather(struct replay *replay, struct loss *loss, struct place place)
{
    (void)!replay_segment_walk(replay, place, append_gather, loss);
}

/* Where the header that would lead on is lost, every segment that is as young speaks for itself. */
static enum error younger_gather(struct replay *replay, uint32_t index, enum error error, const struct segment_header *header,
                                 void *context)
{
    (void)index;
    if (!error && header->segment.kind == SEGMENT_JOURNAL && header->segment.serial > replay->place.serial)
        segment_gather(replay, context, (struct place){header->segment.serial, header->device, header->slot, 1});
    return ERROR_NONE;
}

static void anywhere_gather(struct replay *replay, struct loss *loss)
{
    (void)!replay_headers_read(replay, false, younger_gather, loss);
}

static void chain_gather(struct replay *replay, struct loss *loss, struct place place)
{
    for (uint32_t n = 0; n < replay->group->segments.count && place.serial; n++) {
        struct segment_header header;
        if (replay_header_read(replay, &place, &header) != ERROR_NONE) {
            if (n == 0)
                anywhere_gather(replay, loss);
            return;
        }
        segment_gather(replay, loss, place);
        place = header.successor;
    }
}

/* From where replay ended, and from where each open went on that it did not come to. */
static void loss_gather(struct replay *replay, struct loss *loss)
{
    chain_gather(replay, loss, replay->place);
    for (unsigned i = replay->joints_met; i < replay->checkpoint->joint_count; i++)
        chain_gather(replay, loss, replay->checkpoint->joints[i].next);
}

/* " It may concern component 2, blocks 0 to 511; …" */
static void loss_say(struct loss *loss, char *text, size_t size)
{
    struct summary *summary = &loss->summary;
    size_t used = 0;
    text[0] = 0;
    summary_coalesce(summary, RANGES_SAID);
    for (size_t i = 0; i < summary->count && used < size; i++) {
        const struct summary_range *range = &summary->ranges[i];
        used += (size_t)snprintf(text + used, size - used, "%scomponent %llu", i ? "; " : " It may concern ",
                                 (unsigned long long)range->component);
        if (range->end > range->first && used < size)
            used += (size_t)snprintf(text + used, size - used, ", blocks %llu to %llu",
                                     (unsigned long long)range->first, (unsigned long long)range->end - 1);
    }
    if (used < size && summary->count)
        snprintf(text + used, size - used, "%s.", summary->incomplete || !loss->told ? "; perhaps more" : "");
}

enum error replay_damage(struct replay *replay, uint64_t durable)
{
    char known[640] = "";
    struct loss *loss = memory_zeroed(1, sizeof *loss);
    if (loss) {
        loss->durable = durable;
        loss_gather(replay, loss);
        loss_say(loss, known, sizeof known);
        durable = loss->durable;
    }
    free(loss);
    char lost[128];
    if (durable > replay->last_sequence)
        snprintf(lost, sizeof lost, "what was flushed between sequence %llx and %llx", (unsigned long long)replay->last_sequence,
                 (unsigned long long)durable);
    else
        snprintf(lost, sizeof lost, "what an earlier open found behind sequence %llx", (unsigned long long)replay->last_sequence);
    return error_explain(ERROR_CORRUPT,
                         "group %s: the journal is damaged at segment %llu, block %u: %s cannot be read.%s Nothing was changed. Try "
                         "to read the device again, or restore it from a copy, or give up what is named: `coffer check --repair` "
                         "keeps what precedes",
                         group_name(replay->group), (unsigned long long)replay->place.serial, replay->place.offset, lost, known);
}
