/*
 * The commit of a batch. You are in the write path: split -> fingerprint -> look up -> compress -> COMMIT -> FILL.
 *
 * One entry of the pool's commit section orders the batch, asks its hits again, takes CIDs, reserves space in the log,
 * and enters the records into the recent table and the log. No I/O in it, no copying of data: the units are copied
 * into the log buffers afterwards, outside, and nothing may block in between. Waiting (for room, a latch, a buffer)
 * happens before anything was changed, with no lock and no view held.
 *
 * A snapshot moves an object's writes to a component that begins as the one before, which stays as it is from then on:
 * so the component of a batch is asked in the section. What a batch read of partial blocks before that holds all the
 * same, and its latches are of the object.
 *
 * A unit whose blocks have one in the journal's open buffer, of the same length, takes its place there (log_replace.c), its CIDs
 * and its map entries: only fingerprints change. Such units come first, for entering others may close the buffer.
 *
 * A client may give a write up that waits, send it again on another connection, and then newer data for the same blocks: so
 * a batch that waited, wherever that was, asks in the section whether it is still wanted.
 *
 * A crash before the append is durable forgets all of the batch; records and units of one append count together.
 */
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/view.h"
#include "engine/pool/batch.h"
#include "engine/pool/damage.h"

#define GIVEN_UP_AFTER (10 * CLOCK_MILLISECOND) /* since its run began: nobody sends again so soon, most are never asked */

/* What a commit that must lie in one append takes of it: of items for each of its blocks, and all that is reserved for
 * records, of which there are most where a snapshot is made of as many objects as may be. */
#define WHOLE_BLOCK_BYTES (CHUNK_SIZE + sizeof(struct item_format) + sizeof(le40) + GRAIN_SIZE)
#define WHOLE_RECORD_BYTES                                                      \
    (CATALOG_DOCUMENTS_MAX * (RECORD_WRITE_BYTES_MAX + RECORD_SMALL_BYTES_MAX) + \
     (SNAPSHOT_OBJECTS_MAX + 1) * RECORD_SMALL_BYTES_MAX)
_Static_assert(OBJECT_DOCUMENT_BYTES_MAX <= CATALOG_DOCUMENTS_MAX * CHUNK_SIZE, "a unit of each block at most");

/* ---- before anything is changed ------------------------------------------------------------------------------------------ */

/* Documents of the catalog count as well, but for those of new objects and versions: without them nothing could be
 * deleted in a full pool. */
static bool only_frees(const struct batch *batch)
{
    if (batch->component == COMPONENT_CATALOG)
        return batch->frees || batch->change_count == 0 || batch->changes[0].state == COMPONENT_DELETED;
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->blocks[i].zero)
            return false;
    return true;
}

/* Hits that are gone become new chunks; false where there were any. The others stay as they are from now on. */
static bool hits_stand(struct batch *batch)
{
    struct log *journal = &batch->pool->group->journal;
    bool all = true;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_block *block = &batch->blocks[i];
        if (!block->hit)
            continue;
        uint64_t serial = entry_serial(block->entry);
        uint32_t offset = entry_offset(block->entry);
        if (lookup_still_good(batch->pool, block->entry) &&
            !log_was_replaced(journal, &batch->unsettled, serial, offset)) {
            log_keep(journal, serial, offset);
            continue;
        }
        block->hit = false;
        block->entry = (struct map_entry){0};
        all = false;
    }
    return all;
}

static size_t unit_size(const struct batch_unit *unit)
{
    return sizeof(struct item_format) + unit->count * sizeof(le40) + unit->stored_size;
}

static uint32_t unit_grains(const struct batch_unit *unit)
{
    return (uint32_t)((unit_size(unit) + GRAIN_SIZE - 1) / GRAIN_SIZE);
}

/* The record of a unit that stands at this offset. Returns its size. */
static size_t unit_record(const struct batch *batch, const struct batch_unit *unit, uint32_t offset,
                          uint8_t bytes[RECORD_WRITE_BYTES_MAX])
{
    struct byte_writer out = {bytes, bytes + RECORD_WRITE_BYTES_MAX, false};
    struct record record = {
        .component = batch->component,
        .block = batch->blocks[batch->order[unit->first]].block,
        .mask = unit->mask,
        .flags = (unit->codec == CODEC_RAW ? RECORD_UNIT_RANDOM : 0) | (batch->key ? 0 : RECORD_UNIT_ANONYMOUS),
        .length = unit_grains(unit),
        .chunks = unit->count,
        .cid = unit->cid,
        .offset = offset,
    };
    for (unsigned i = 0; i < unit->count; i++)
        record.fingerprints[i] = batch->blocks[batch->order[unit->first + i]].fingerprint;
    record_write_encode(&out, &record);
    ASSERT(!out.overflow);
    return (size_t)(out.next - bytes);
}

/* What the table says of the unit's block `i`; a hole where it says nothing. */
static struct map_entry recent_entry(const struct batch *batch, const struct batch_unit *unit, unsigned i)
{
    struct map_entry entry = {0};
    uint64_t block = batch->blocks[batch->order[unit->first + i]].block;
    return recent_find(batch->pool->group->view->active, batch->component, block, &entry) ? entry : (struct map_entry){0};
}

/* Its blocks, all of them and no others, have a unit of the same length that can be replaced, and that gives it its CIDs. */
static bool unit_replaces(const struct batch *batch, struct batch_unit *unit)
{
    uint8_t bytes[RECORD_WRITE_BYTES_MAX];
    struct map_entry first = recent_entry(batch, unit, 0);
    size_t record = log_replaceable_record(&batch->pool->group->journal, entry_serial(first), entry_offset(first));
    if (record == 0 || entry_length(first) != unit_grains(unit) || entry_count(first) != unit->count)
        return false;
    for (unsigned i = 0; i < unit->count; i++) {
        struct map_entry entry = recent_entry(batch, unit, i);
        if (!entry_same_unit(entry, first) || entry_index(entry) != i || entry_cid(entry) != entry_cid(first) + i)
            return false;
    }
    unit->cid = entry_cid(first);
    return unit_record(batch, unit, entry_offset(first), bytes) == record;
}

static void replacements_find(struct batch *batch)
{
    bool may = batch->target && !batch->whole;
    for (size_t u = 0; u < batch->unit_count; u++)
        batch->units[u].replaces = may && unit_replaces(batch, &batch->units[u]);
}

static bool cids_take(struct batch *batch)
{
    struct cids *cids = &batch->pool->group->cids;
    for (size_t u = 0; u < batch->unit_count; u++) {
        if (batch->units[u].replaces)
            continue;
        batch->units[u].cid = cids_take_run(cids, batch->units[u].count);
        if (!batch->units[u].cid)
            return false;
    }
    return true;
}

/* The reservation that the batch is within, as things are. Under the group's lock. */
static const struct reservation *own_reservation(const struct batch *batch)
{
    const struct reservation *reservation = batch->reservation;
    bool within = batch->need.class == COMMIT_OVERWRITES ? reservation_is_open(reservation)
                                                         : reservation_covers(reservation, batch->fresh);
    return within ? reservation : NULL;
}

/* In the section, under the group's lock. ERROR_AGAIN: room is to be waited for; ERROR_BUSY: hits went. */
static enum error may_enter(struct batch *batch)
{
    batch->need.own = own_reservation(batch);
    TRY(group_room(batch->pool->group, batch->need));
    if (!hits_stand(batch))
        return ERROR_BUSY;
    replacements_find(batch);
    return cids_take(batch) ? ERROR_NONE : ERROR_NO_SPACE;
}

/* ---- in the section --------------------------------------------------------------------------------------------------------- */

/* Maps its blocks, and tells the place and the fingerprints of its chunks. */
static void chunks_enter(struct batch *batch, const struct batch_unit *unit)
{
    struct recent *active = batch->pool->group->view->active;
    for (unsigned i = 0; i < unit->count; i++) {
        struct batch_block *block = &batch->blocks[batch->order[unit->first + i]];
        block->entry =
            entry_make(unit->cid + i, unit->item.serial, unit->item.offset, unit_grains(unit), i, unit->count);
        recent_enter(active, batch->component, block->block, block->entry);
        recent_enter_birth(active, block->entry, block->fingerprint);
    }
}

static void unit_enter(struct batch *batch, struct log_commit *commit, struct batch_unit *unit)
{
    struct group *group = batch->pool->group;
    uint8_t bytes[RECORD_WRITE_BYTES_MAX];
    log_reserve(&group->journal, unit_size(unit), sizeof bytes, &unit->item);
    unit->identity = segment_identity(&group->segments, unit->item.buffer->segment);
    chunks_enter(batch, unit);
    size_t size = unit_record(batch, unit, unit->item.offset, bytes);
    log_record(&group->journal, commit, bytes, size);
    log_may_replace(&group->journal, &unit->item, size);
}

/* The map entries are what they were; they are entered again all the same, for the table finds them in one step. */
static void unit_replace(struct batch *batch, struct batch_unit *unit)
{
    struct group *group = batch->pool->group;
    uint8_t bytes[RECORD_WRITE_BYTES_MAX];
    struct map_entry old = recent_entry(batch, unit, 0);
    size_t size = unit_record(batch, unit, entry_offset(old), bytes);
    log_replace(&group->journal, entry_serial(old), entry_offset(old), unit_size(unit), bytes, size, &unit->item);
    unit->identity = segment_identity(&group->segments, unit->item.buffer->segment);
    chunks_enter(batch, unit);
    atomic_fetch_add(&group->totals.chunks_replaced, unit->count);
}

/* Those that replace come first: nothing that they ask for changes until another one is entered. */
static void units_enter(struct batch *batch, struct log_commit *commit)
{
    for (size_t u = 0; u < batch->unit_count; u++)
        if (batch->units[u].replaces)
            unit_replace(batch, &batch->units[u]);
    for (size_t u = 0; u < batch->unit_count; u++)
        if (!batch->units[u].replaces)
            unit_enter(batch, commit, &batch->units[u]);
}

static void references_flush(struct batch *batch, struct log_commit *commit, uint64_t first, const struct map_entry *entries,
                             size_t count)
{
    struct group *group = batch->pool->group;
    uint8_t bytes[RECORD_REFERENCE_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    struct log_item none;
    if (count == 0)
        return;
    record_reference_encode(&out, batch->component, first, entries, count);
    ASSERT(!out.overflow);
    log_reserve(&group->journal, 0, (size_t)(out.next - bytes), &none);
    log_record(&group->journal, commit, bytes, (size_t)(out.next - bytes));
    for (size_t i = 0; i < count; i++)
        recent_enter(group->view->active, batch->component, first + i, entries[i]);
}

/* Blocks that refer to what was there, to an equal block of the batch, or to nothing (zeros), in runs. */
static void references_enter(struct batch *batch, struct log_commit *commit)
{
    struct map_entry entries[BATCH_BLOCKS];
    uint64_t first = 0;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_block *block = &batch->blocks[i];
        if (!block->hit && !block->zero && block->alias < 0)
            continue; /* a new chunk, entered with its unit */
        if (block->alias >= 0) {
            block->entry = batch->blocks[block->alias].entry;
            log_keep(&batch->pool->group->journal, entry_serial(block->entry), entry_offset(block->entry));
        }
        if (count && block->block != first + count) {
            references_flush(batch, commit, first, entries, count);
            count = 0;
        }
        if (count == 0)
            first = block->block;
        entries[count++] = block->entry;
    }
    references_flush(batch, commit, first, entries, count);
}

static void small_record(struct batch *batch, struct log_commit *commit, const uint8_t *bytes, const struct byte_writer *out)
{
    struct log_item none;
    ASSERT(!out->overflow);
    log_reserve(&batch->pool->group->journal, 0, (size_t)(out->next - bytes), &none);
    log_record(&batch->pool->group->journal, commit, bytes, (size_t)(out->next - bytes));
}

/* A component is born in the commit that creates it: its birth is that frame's sequence. */
static void change_enter(struct batch *batch, struct log_commit *commit, struct component_change change)
{
    struct log *journal = &batch->pool->group->journal;
    uint8_t bytes[RECORD_SMALL_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    struct log_item none;
    log_reserve(journal, 0, sizeof bytes, &none);
    if (change.state == COMPONENT_LIVE)
        change.birth = log_sequence(journal, commit);
    record_component_encode(&out, &change);
    ASSERT(!out.overflow);
    log_record(journal, commit, bytes, (size_t)(out.next - bytes));
    recent_enter_component(batch->pool->group->view->active, &change);
}

static void holes_and_changes_enter(struct batch *batch, struct log_commit *commit)
{
    struct recent *active = batch->pool->group->view->active;
    if (batch->range_count)
        batch->pool->group->hopeless_since = 0; /* what is freed here may be waited for */
    for (size_t i = 0; i < batch->range_count; i++) {
        uint8_t bytes[RECORD_SMALL_BYTES_MAX];
        struct byte_writer out = {bytes, bytes + sizeof bytes, false};
        record_holes_encode(&out, batch->component, batch->ranges[i].first, batch->ranges[i].end - batch->ranges[i].first);
        small_record(batch, commit, bytes, &out);
        recent_enter_holes(active, batch->component, batch->ranges[i].first, batch->ranges[i].end);
    }
    if (batch->change_count)
        log_keep_all(&batch->pool->group->journal);
    for (size_t i = 0; i < batch->change_count; i++)
        change_enter(batch, commit, batch->changes[i]);
}

/* With the new mappings, under the same hold of the group's lock: what was known of these blocks is of the past, and
 * what is entered from now on is of the new ones. */
static void damage_forget(const struct batch *batch)
{
    if (atomic_load(&batch->pool->damages->count) == 0)
        return;
    for (size_t i = 0; i < batch->count; i++)
        damage_overwritten(batch->pool, batch->component, batch->blocks[i].block, batch->blocks[i].block + 1);
    for (size_t i = 0; i < batch->range_count; i++)
        damage_overwritten(batch->pool, batch->component, batch->ranges[i].first, batch->ranges[i].end);
}

static bool makes_holes(const struct batch *batch)
{
    bool makes = batch->range_count > 0;
    for (size_t i = 0; i < batch->count && !makes; i++)
        makes = batch->blocks[i].zero;
    return makes;
}

static void records_enter(struct batch *batch)
{
    struct log_commit commit = {.section = &batch->pool->section};
    if (batch->whole)
        log_require_whole(&batch->pool->group->journal, batch->count * WHOLE_BLOCK_BYTES, WHOLE_RECORD_BYTES);
    units_enter(batch, &commit);
    references_enter(batch, &commit);
    holes_and_changes_enter(batch, &commit);
    damage_forget(batch);
    if (batch->pool->group->reservations.first && makes_holes(batch))
        reservations_trim(batch->pool->group, batch->component);
    for (size_t i = 0; i < batch->move_count; i++) {
        atomic_store(batch->moves[i].target, batch->moves[i].component);
        reservations_move(batch->pool->group, batch->moves[i].target);
    }
    if (batch->reservation && batch->need.class != COMMIT_OVERWRITES)
        batch->reservation->written += batch->count;
}

/* ---- after the section -------------------------------------------------------------------------------------------------------- */

static enum error unit_fill(struct batch *batch, struct batch_unit *unit)
{
    struct group *group = batch->pool->group;
    const struct segment_keys *keys;
    le40 cids[UNIT_CHUNKS];
    for (unsigned i = 0; i < unit->count; i++)
        cids[i] = le40_make(unit->cid + i);
    TRY(segment_keys_get(group, &unit->identity, &keys));
    enum error error = log_fill(&group->journal, &unit->item, keys, ITEM_UNIT, (uint8_t)unit->codec, (uint8_t)unit->count,
                                cids, unit->count * sizeof cids[0], unit->stored, unit->stored_size);
    segment_keys_put(group, keys);
    return error;
}

/* A fill that fails leaves a hole in an append that others share: the group goes out of service. */
static enum error fill(struct batch *batch)
{
    struct group *group = batch->pool->group;
    enum error error = ERROR_NONE;
    for (size_t first = 0, end; first < batch->unit_count; first = end) {
        struct log_buffer *buffer = batch->units[first].item.buffer;
        for (end = first; end < batch->unit_count && batch->units[end].item.buffer == buffer; end++)
            if (!error)
                error = unit_fill(batch, &batch->units[end]);
        if (error)
            error = group_fence(group, error);
        log_filled(&group->journal, buffer, (unsigned)(end - first));
    }
    if (!error && log_is_sealable(&group->journal))
        group_sealer_wake(group);
    return error;
}

static void index_enter(struct batch *batch)
{
    struct group *group = batch->pool->group;
    uint64_t written = 0, hits = 0;
    for (size_t i = 0; i < batch->count; i++)
        hits += batch->blocks[i].hit || batch->blocks[i].alias >= 0;
    for (size_t i = 0; i < batch->count && batch->key && !batch->pool->no_index; i++)
        if (batch->blocks[i].unit >= 0)
            index_prefetch(group->index, batch->blocks[i].fingerprint);
    mutex_lock(&group->index_lock);
    for (size_t u = 0; u < batch->unit_count; u++) {
        const struct batch_unit *unit = &batch->units[u];
        written += unit->count;
        for (unsigned i = 0; i < unit->count && batch->key && !batch->pool->no_index; i++)
            index_insert(group->index, batch->blocks[batch->order[unit->first + i]].fingerprint, unit->cid + i,
                         unit->cid + i);
    }
    mutex_unlock(&group->index_lock);
    atomic_fetch_add(&group->totals.chunks_written, written);
    atomic_fetch_add(&group->totals.chunks_hit, hits);
}

/* In the section, so that what the same client sent again, or later, is entered behind it or finds it given up. */
static bool is_wanted(const struct batch *batch)
{
    const struct asker *asker = batch->asker;
    bool waited = asker && asker->wanted && clock_monotonic() - asker->since >= GIVEN_UP_AFTER;
    return !waited || asker->wanted(asker->context);
}

/* One try: enters everything, or says what is missing. */
static enum error enter(struct batch *batch)
{
    struct pool *pool = batch->pool;
    mutex_lock(&pool->section.mutex);
    while (latch_conflicts(pool, batch))
        condition_wait(&pool->section.changed, &pool->section.mutex);
    enum error error = is_wanted(batch) ? ERROR_NONE : ERROR_CLOSED;
    mutex_lock(&pool->group->lock);
    batch_aim(batch);
    if (!error)
        error = may_enter(batch);
    if (!error)
        records_enter(batch);
    mutex_unlock(&pool->group->lock);
    mutex_unlock(&pool->section.mutex);
    return error;
}

/* Only who finds the pool full asks which blocks are mapped already. Another batch may unmap them meanwhile: the capacity,
 * or a promise, is then exceeded by a batch. */
static enum error fresh_ask(struct batch *batch)
{
    uint64_t blocks[BATCH_BLOCKS];
    struct map_entry entries[BATCH_BLOCKS];
    struct view *view;
    const _Atomic uint64_t fixed = batch->component;
    uint64_t component;
    if (batch->component == COMPONENT_CATALOG || batch->change_count)
        return ERROR_NONE;
    for (size_t i = 0; i < batch->count; i++)
        blocks[i] = batch->blocks[i].block;
    TRY(view_lookup_target(batch->pool->group, batch->target ? batch->target : &fixed, &component, blocks, entries,
                           batch->count, &view));
    view_put(batch->pool->group, view);
    batch->fresh = 0;
    for (size_t i = 0; i < batch->count; i++)
        batch->fresh += !batch->blocks[i].zero && entry_is_hole(entries[i]);
    return ERROR_NONE;
}

/* What was committed since the last publish counts in full against a reservation, also what it only overwrote, and what was
 * trimmed since counts still: once it is merged, the batch may turn out to be within. */
static enum error reservation_ask(struct batch *batch, bool *within)
{
    struct group *group = batch->pool->group;
    mutex_lock(&group->lock);
    bool may = !batch->need.own && batch->need.class != COMMIT_FREES &&
               (batch->need.class == COMMIT_OVERWRITES ? reservation_may_be_open(batch->reservation)
                                                       : reservation_may_cover(batch->reservation, batch->fresh));
    mutex_unlock(&group->lock);
    *within = false;
    if (!may)
        return ERROR_NONE;
    TRY(group_publish_needed(group));
    mutex_lock(&group->lock);
    *within = own_reservation(batch) != NULL;
    mutex_unlock(&group->lock);
    return ERROR_NONE;
}

static enum error space_get(struct batch *batch)
{
    bool within;
    if (batch->need.class == COMMIT_GROWS) {
        TRY(fresh_ask(batch));
        if (batch->fresh == 0) {
            batch->need.class = COMMIT_OVERWRITES;
            return ERROR_NONE;
        }
    }
    TRY(reservation_ask(batch, &within));
    return within ? ERROR_NONE : group_wait_space(batch->pool->group, batch->need);
}

static bool is_little(const struct batch *batch)
{
    return batch->count <= COMMIT_BLOCKS_LITTLE && batch->range_count == 0 && batch->change_count == 0 &&
           batch->component != COMPONENT_CATALOG;
}

enum error commit_run(struct batch *batch)
{
    enum error error;
    batch->need.little = is_little(batch);
    batch->need.class = only_frees(batch) ? COMMIT_FREES : COMMIT_GROWS;
    batch->fresh = MAX(batch->count, (size_t)1);
    while ((error = enter(batch)) != ERROR_NONE) {
        if (error == ERROR_BUSY)
            return ERROR_AGAIN;
        if (error == ERROR_AGAIN)
            TRY(group_wait_room(batch->pool->group));
        else if (error == ERROR_NO_SPACE && !batch->at_once)
            TRY(space_get(batch));
        else
            return error;
    }
    TRY(fill(batch));
    index_enter(batch);
    return ERROR_NONE;
}
