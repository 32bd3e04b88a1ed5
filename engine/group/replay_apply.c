/*
 * Entering what the records of an append say, in order, into the recent tables: first one, then the other; and counting its
 * bytes as journal that belongs to them.
 *
 * A crash is harmless: the next open enters the same.
 */
#include <string.h>

#include "base/memory.h"
#include "engine/group/replay_chain.h"
#include "engine/group/view.h"

_Atomic uint64_t replay_table_bytes = UINT64_MAX;

static bool takes_record(const struct view *view)
{
    bool first = !view->frozen && recent_used(view->active) >= atomic_load(&replay_table_bytes);
    return !first && recent_takes_record(view->active);
}

/* One table is filled, then the other. What fits into neither is entered for its size alone, over and over into the second,
 * so that the end of the journal tells how much is needed. What was
 * committed fits: a commit was let in where the table had room for a whole one, and a table is full here only where not
 * one record more would fit. */
static void table_ready(struct replay *replay)
{
    struct group *group = replay->group;
    struct view *view = group->view;
    if (takes_record(view))
        return;
    if (view->frozen) {
        replay->overflow += recent_used(view->active);
        recent_clear(view->active);
        return;
    }
    view->frozen = view->active;
    view->active = group->tables[1];
    group->table_ready = false;
    group->frozen_bytes = group->journal.bytes;
    group->journal.bytes = 0;
}

enum error replay_room_check(const struct replay *replay)
{
    const struct group *group = replay->group;
    if (!replay->overflow)
        return ERROR_NONE;
    /* An eighth more: points of one leaf that were counted in two fills take a little more in one. */
    uint64_t used = recent_used(group->view->frozen) + replay->overflow + recent_used(group->view->active);
    uint64_t setting = group_memory_for_tables(group, used + used / 8);
    return error_explain(ERROR_NO_MEMORY,
                         "group %s: the journal does not fit into the recent tables: this open needs `memory = %lluM` in "
                         "coffer.conf, afterwards less will do again. Nothing was changed",
                         group_name(group), (unsigned long long)((setting >> 20) + 1));
}

static void index_enter_first(struct replay *replay)
{
    const struct index_entry *entry = &replay->delayed[replay->delayed_first++ % INDEX_DELAY];
    index_insert(replay->group->index, entry->fingerprint, entry->cid, entry->cid);
}

void replay_index_finish(struct replay *replay)
{
    while (replay->delayed_first < replay->delayed_end)
        index_enter_first(replay);
}

static void index_enter(struct replay *replay, struct fingerprint fingerprint, uint64_t cid)
{
    if (replay->delayed_end - replay->delayed_first == INDEX_DELAY)
        index_enter_first(replay);
    index_prefetch(replay->group->index, fingerprint);
    replay->delayed[replay->delayed_end++ % INDEX_DELAY] = (struct index_entry){fingerprint, cid};
}

static void write_apply(struct replay *replay, uint64_t serial, const struct record *r)
{
    struct group *group = replay->group;
    unsigned index = 0;
    for (unsigned bit = 0; bit < UNIT_CHUNKS_MAX; bit++) {
        if (!(r->mask >> bit & 1))
            continue;
        struct map_entry entry = entry_make(r->cid + index, serial, r->offset, r->length, index, r->chunks);
        recent_enter(group->view->active, r->component, r->block + bit, entry);
        recent_enter_birth(group->view->active, entry, r->fingerprints[index]);
        cids_saw(&group->cids, r->cid + index);
        if (!(r->flags & RECORD_UNIT_ANONYMOUS) && !group->config.no_index)
            index_enter(replay, r->fingerprints[index], r->cid + index);
        index++;
    }
}

/* Where replay filled two tables the older is merged first, and replayed again after a crash: what it created is in the
 * trees by then, and does not fall back to its base any more. */
static enum error component_apply(struct group *group, struct component_change change)
{
    struct component_format known;
    if (change.state == COMPONENT_LIVE && change.base) {
        enum error error = view_component(group, group->view, change.id, &known);
        if (error && error != ERROR_NOT_FOUND)
            return error;
        change.published = !error;
    }
    recent_enter_component(group->view->active, &change);
    group->component_next = MAX(group->component_next, change.id + 1);
    return ERROR_NONE;
}

static enum error record_apply(struct replay *replay, uint64_t serial, const struct record *r)
{
    struct group *group = replay->group;
    struct recent *active = group->view->active;
    switch (r->type) {
    case RECORD_WRITE:
        write_apply(replay, serial, r);
        break;
    case RECORD_REFERENCE:
        for (uint64_t i = 0; i < r->count; i++)
            recent_enter(active, r->component, r->block + i, r->entries[i]);
        break;
    case RECORD_HOLES:
        recent_enter_holes(active, r->component, r->block, r->block + r->count);
        break;
    case RECORD_COMPONENT:
        return component_apply(group, r->change);
    case RECORD_SUMMARY:
        break;
    }
    return ERROR_NONE;
}

static enum error frame_apply(struct replay *replay, uint64_t serial, struct byte_reader *frame)
{
    for (;;) {
        table_ready(replay);
        enum error error = record_decode(frame, replay->record);
        if (error == ERROR_NOT_FOUND)
            return ERROR_NONE;
        if (error)
            return error_explain(ERROR_CORRUPT, "group %s: an authentic append of segment %llu has a malformed record",
                                 group_name(replay->group), (unsigned long long)serial);
        TRY(record_apply(replay, serial, replay->record));
    }
}

/* What the checkpoint has not counted is used until a merge counts it, as when it was written. An append whose frames stand in both
 * tables belongs to the second. */
static void append_count(struct replay *replay, const struct append_format *append)
{
    if (le64_get(append->last_sequence) > replay->checkpoint->sequence)
        replay->group->journal.bytes += (uint64_t)le32_get(append->blocks) * BLOCK_SIZE;
}

enum error replay_append_apply(struct replay *replay, const struct append_format *append)
{
    const uint8_t *begin = (const uint8_t *)append + le32_get(append->records_offset);
    struct byte_reader in = {begin, begin + le32_get(append->records_size), false};
    uint64_t serial = le40_get(append->serial);
    struct byte_reader records;
    uint64_t sequence;
    enum error error;
    while (!(error = record_frame_next(&in, &sequence, &records))) {
        if (sequence <= replay->checkpoint->sequence)
            continue;
        TRY(frame_apply(replay, serial, &records));
        replay->last_sequence = MAX(replay->last_sequence, sequence);
    }
    if (error != ERROR_NOT_FOUND)
        return error_explain(ERROR_CORRUPT, "group %s: an authentic append of segment %llu has a malformed frame",
                             group_name(replay->group), (unsigned long long)serial);
    append_count(replay, append);
    return ERROR_NONE;
}
