/*
 * Opening and closing a group, and its state.
 *
 * An open goes: newest checkpoint record of all devices; segment table; replay; flush of all devices (what was read may
 * lie in a volatile cache); the newest record for the devices that lack it; a record with the same roots, new leases and
 * one more joint, durable before anything else is written; the journal's new segment; threads. A crash between any two
 * of these finds the record before.
 */
#include "engine/group/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/geometry.h"
#include "engine/group/merge.h"
#include "engine/group/replay.h"
#include "engine/group/summary.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"

#define JOURNAL_BUFFERS 5
#define JOURNAL_BUFFERS_SMALL 4
#define JOURNAL_BUFFER_BYTES (2u << 20)
#define META_BUFFERS 4
#define COLD_BUFFERS 8 /* what is moved waits for the device, its sealer for a processor */
#define COLD_BUFFERS_SMALL 3
#define META_BUFFER_BYTES (512u << 10)
#define SEGMENT_KEYS_CACHED 16384
#define CLOSE_PATIENCE (60 * CLOCK_SECOND)
#define SEGMENT_KEY_BYTES 192 /* of one in the cache */
#define SEGMENT_NODES_TOGETHER 64 /* of its table, read by an open */
#define SCRATCH_COUNT 8
#define SMALL_MEMORY (UINT64_C(128) << 20) /* below it, buffers are halved */

/* ---- small state ------------------------------------------------------------------------------------------------------ */

const char *group_name(const struct group *group) { return group->config.name; }

uint64_t group_generation(struct group *group, enum segment_kind kind)
{
    return kind == SEGMENT_JOURNAL ? group->generation : group->generation - 1;
}

static void keys_set(struct group *group, uint32_t index)
{
    const struct keyring *keyring = group_keyring(group, segment_device(&group->segments, index));
    const struct keyring_slot *dek = keyring_current(keyring, KEY_KIND_DEK);
    const struct keyring_slot *k_log = keyring_current(keyring, KEY_KIND_LOG);
    ASSERT(k_log && (dek || !keyring->encrypted));
    group->segments.table[index].key_slot = keyring->encrypted ? dek->number : 0;
    group->segments.table[index].log_key = (uint8_t)k_log->number;
}

uint32_t group_take_segment(struct group *group, enum segment_kind kind, uint64_t avoid)
{
    uint32_t index = segment_take(&group->segments, kind, SLOT_RESERVED, avoid);
    if (index != SEGMENT_NONE)
        keys_set(group, index);
    return index;
}

bool group_name_segment(struct group *group, uint32_t index, enum segment_kind kind)
{
    if (!segment_name(&group->segments, index, kind))
        return false;
    keys_set(group, index);
    return true;
}

struct place group_place(struct group *group, uint32_t segment, uint32_t block)
{
    ASSERT(segment != SEGMENT_NONE);
    return (struct place){
        .serial = group->segments.table[segment].serial,
        .device = segment_device(&group->segments, segment),
        .slot = segment_slot(&group->segments, segment),
        .offset = block,
    };
}

void group_figures(struct group *group, struct group_figures *figures)
{
    struct segments *segments = &group->segments;
    mutex_lock(&group->lock);
    *figures = (struct group_figures){
        .segment_bytes = segment_size(segments),
        .segments = segments->count,
        .segments_free = segments->free_total,
        .capacity_bytes = group_capacity(group),
        .used_bytes = group_used(group),
        .writable_bytes = group_writable(group),
        .reserved_bytes = reservations_held(group, NULL),
        .chunks_live = group->checkpoint.chunks_live,
        .blocks_mapped = group->checkpoint.blocks_mapped,
        .journal_bytes = group->journal.bytes,
        .checkpoint_time = group->checkpoint.time,
        .memory_used = group->memory_used,
        .below_full = group_is_full_below(group),
    };
    for (uint32_t i = 0; i < segments->count; i++) {
        const struct segment *segment = &segments->table[i];
        *(segment_has_units(segment) ? &figures->live_data_bytes : &figures->live_meta_bytes) += segment->live + segment->pages;
    }
    mutex_unlock(&group->lock);
}

/* ---- the published state ------------------------------------------------------------------------------------------------ */

static enum error checkpoint_newest(struct group *group)
{
    enum error first = ERROR_NONE;
    bool found = false, unread = false;
    uint64_t numbers[GROUP_DEVICES];
    for (uint32_t d = 0; d < group->device_count; d++) {
        struct checkpoint checkpoint = {0};
        enum error error = checkpoint_read(group->devices[d], &group->superblocks[d], group->keyrings[d], &checkpoint);
        if (error == ERROR_NO_MEMORY)
            return error;
        if (error && !first)
            first = error;
        unread |= error == ERROR_IO || checkpoint.unread;
        numbers[d] = checkpoint.number;
        if (!error && (!found || checkpoint.number > group->checkpoint.number)) {
            group->checkpoint = checkpoint;
            found = true;
        }
    }
    for (uint32_t d = 0; d < group->device_count; d++)
        group->record_lags[d] = numbers[d] < group->checkpoint.number;
    if (found && first)
        message(MESSAGE_WARNING, "group %s: %s; the record of another device is used", group_name(group),
                error_sentence(first));
    if (found && unread && group->checkpoint.number < group->config.checkpoint_seen)
        return error_explain(ERROR_IO, "group %s: the newest checkpoint record cannot be read", group_name(group));
    if (found && group->checkpoint.number < group->config.checkpoint_seen)
        return error_explain(ERROR_ROLLED_BACK, "group %s: the devices gave an older checkpoint record than a moment before",
                             group_name(group));
    return found ? ERROR_NONE : first;
}

/* Segments that hold pages of the segment table come from the record, all others from the table. */
static enum error holders_adopt(struct group *group)
{
    for (unsigned i = 0; i < group->checkpoint.table_segment_count; i++) {
        const struct segment_reference *reference = &group->checkpoint.table_segments[i];
        struct segment segment = {
            .serial = reference->serial,
            .salt = reference->salt,
            .birth_salt = reference->birth_salt,
            .key_slot = reference->key_slot,
            .log_key = reference->log_key,
            .kind = SEGMENT_META,
            .state = SLOT_SEALED,
        };
        if (segment_adopt(&group->segments, reference->device, reference->slot, &segment))
            return error_explain(ERROR_CORRUPT, "group %s: the checkpoint record names impossible segments", group_name(group));
    }
    return ERROR_NONE;
}

static enum error segment_page_load(struct group *group, uint64_t number, const uint8_t *page)
{
    const struct segment_entry_format *entries = (const struct segment_entry_format *)page;
    struct segments *segments = &group->segments;
    uint32_t device = (uint32_t)(number / segments->pages_of_device);
    uint32_t first = (uint32_t)(number % segments->pages_of_device) * 128;
    for (uint32_t i = 0; i < 128; i++) {
        struct segment segment;
        bool sound;
        if (!segment_entry_decode(&entries[i], &segment, &sound))
            continue;
        enum error error = sound ? segment_adopt(segments, device, first + i, &segment) : ERROR_CORRUPT;
        if (error)
            return error_explain(ERROR_CORRUPT, "group %s: the segment table has an impossible entry", group_name(group));
        uint32_t known = segment_find(segments, segment.serial);
        segment_live_set(segments, known, segment.live);
        segments->table[known].kind = segment.kind;
        segments->table[known].settled = segment.settled;
    }
    return ERROR_NONE;
}

/* Counts a page of the segment table in memory: the table does not count its own pages. */
static void page_count(struct group *group, const struct node_pointer *pointer)
{
    uint64_t serials[2] = {entry_serial(pointer->first), pointer->second_serial};
    for (int i = 0; i < 2; i++) {
        uint32_t index = serials[i] ? segment_find(&group->segments, serials[i]) : SEGMENT_NONE;
        if (index != SEGMENT_NONE)
            group->segments.table[index].pages += entry_length(pointer->first) * GRAIN_SIZE;
    }
}

static enum error segment_nodes_load(struct group *group, struct node_read *reads, size_t count);

static enum error segment_children_load(struct group *group, const struct node_read *node)
{
    const struct node_pointer_format *pointers = (const struct node_pointer_format *)cache_bytes(node->block);
    struct node_read reads[SEGMENT_NODES_TOGETHER];
    for (unsigned i = 0; i < NODE_FANOUT;) {
        size_t count = 0;
        for (; i < NODE_FANOUT && count < COUNT_OF(reads); i++) {
            struct node_identity identity = node->identity;
            identity.level--;
            identity.number = identity.number * NODE_FANOUT + i;
            struct node_pointer child = pointer_decode(&pointers[i]);
            if (!entry_is_hole(child.first))
                reads[count++] = (struct node_read){.pointer = child, .identity = identity};
        }
        TRY(segment_nodes_load(group, reads, count));
    }
    return ERROR_NONE;
}

static enum error segment_node_enter(struct group *group, const struct node_read *node)
{
    if (node->identity.level > 0)
        return segment_children_load(group, node);
    mutex_lock(&group->lock);
    enum error error = segment_page_load(group, node->identity.number, cache_bytes(node->block));
    mutex_unlock(&group->lock);
    return error;
}

/* Nodes of one level, read together: a large device has a thousand pages, and an open waits for them. */
static enum error segment_nodes_load(struct group *group, struct node_read *reads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        page_count(group, &reads[i].pointer);
    enum error error = nodes_read(group, reads, count);
    for (size_t i = 0; i < count && !error; i++)
        error = segment_node_enter(group, &reads[i]);
    nodes_put(group, reads, count);
    return error;
}

static enum error segments_load(struct group *group)
{
    const struct root *root = &group->checkpoint.roots[TABLE_SEGMENTS - 1];
    TRY(holders_adopt(group));
    struct node_read top = {.pointer = root->pointer, .identity = {ITEM_PAGE, TABLE_SEGMENTS, 0, (uint8_t)root->height}};
    if (!entry_is_hole(root->pointer.first))
        TRY(segment_nodes_load(group, &top, 1));
    group->second_live = segments_live(&group->segments, SEGMENT_TWIN);
    memset(group->segments.dirty, 0, (size_t)group->segments.device_count * group->segments.pages_of_device);
    return ERROR_NONE;
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

/* What the parts of a group take of `memory`; what is left goes to the caches. */
struct shares {
    unsigned journal_buffers, cold_buffers, scratch_count;
    uint32_t journal_buffer_bytes;
    uint32_t meta_buffer_bytes;
    size_t keys_cached;
    uint64_t tables, fixed;
};

static struct shares shares_of(const struct group_config *config, uint32_t segments)
{
    bool small = config->memory < SMALL_MEMORY;
    struct shares shares = {
        .journal_buffers = small ? JOURNAL_BUFFERS_SMALL : JOURNAL_BUFFERS,
        .journal_buffer_bytes = small ? JOURNAL_BUFFER_BYTES / 2 : JOURNAL_BUFFER_BYTES,
        .cold_buffers = small ? COLD_BUFFERS_SMALL : COLD_BUFFERS,
        .scratch_count = small ? SCRATCH_COUNT / 2 : SCRATCH_COUNT,
        .meta_buffer_bytes = small ? META_BUFFER_BYTES / 2 : META_BUFFER_BYTES,
        .keys_cached = small ? SEGMENT_KEYS_CACHED / 4 : SEGMENT_KEYS_CACHED,
        .tables = config->memory / 8,
    };
    uint64_t buffers = shares.journal_buffers * (2ull * shares.journal_buffer_bytes + LOG_RECORDS_BYTES) +
                       2ull * (2 * META_BUFFERS + shares.cold_buffers) * shares.meta_buffer_bytes +
                       (uint64_t)shares.scratch_count * SCRATCH_BYTES;
    shares.fixed = buffers + 2 * shares.tables + config->index_memory + segments * sizeof(struct segment) +
                   CHANGES_BYTES + shares.keys_cached * SEGMENT_KEY_BYTES + sizeof(struct summary);
    return shares;
}

static uint64_t setting_for(const struct group_config *config, uint64_t memory)
{
    return config->memory_setting ? config->memory_setting(memory) : memory;
}

/* Shares grow with the setting, and so does the index's, as long as it is not at its own setting. */
uint64_t group_memory_needed(const struct group_config *config, uint32_t segments)
{
    struct group_config tried = *config;
    const uint64_t floor = 2ull * CACHE_BLOCKS_MIN * BLOCK_SIZE;
    if (shares_of(&tried, segments).fixed + floor <= tried.memory)
        return 0;
    while (shares_of(&tried, segments).fixed + floor > tried.memory) {
        tried.memory += UINT64_C(1) << 20;
        uint64_t grown = config->index_memory * (tried.memory >> 12) / MAX(config->memory >> 12, UINT64_C(1));
        tried.index_memory = MIN(grown, MAX(config->index_memory, tried.memory / 4));
    }
    return ((setting_for(config, tried.memory) >> 20) + 1) << 20;
}

enum error group_memory_check(const struct group_config *config, uint32_t segments)
{
    uint64_t needed = group_memory_needed(config, segments);
    if (needed == 0)
        return ERROR_NONE;
    return error_explain(ERROR_NO_MEMORY, "`memory` is too small for this pool: it needs %llu MiB (see coffer.conf)",
                         (unsigned long long)needed >> 20);
}

uint64_t group_memory_for_tables(const struct group *group, uint64_t bytes)
{
    struct group_config tried = group->config;
    while (2 * (uint64_t)recent_usable(shares_of(&tried, group->segments.count).tables, RECENT_RECORD_ROOM) < bytes)
        tried.memory += UINT64_C(1) << 20;
    return setting_for(&group->config, tried.memory);
}

static void *scratch_make(void) { return memory_aligned(SCRATCH_BYTES); }

/* An eighth of `memory` for each recent table, the index as configured, the buffers, the rest for caches. */
static enum error memory_take(struct group *group)
{
    const struct group_config *config = &group->config;
    uint32_t slots[GROUP_DEVICES], shift = group->superblocks[0].segment_shift;
    for (uint32_t d = 0; d < group->device_count; d++)
        slots[d] = geometry_slots_used(&group->superblocks[d], shift);
    TRY(segments_init(&group->segments, group->device_count, slots, shift));
    TRY(group_memory_check(config, group->segments.count));
    struct shares shares = shares_of(config, group->segments.count);
    uint64_t caches = config->memory - shares.fixed;
    TRY(cache_create(caches * 5 / 8, &group->nodes));
    TRY(cache_create(caches * 3 / 8, &group->chunks));
    TRY(recent_create(shares.tables, &group->tables[0]));
    TRY(recent_create(shares.tables, &group->tables[1]));
    TRY(index_create(MAX(config->index_memory, INDEX_BYTES_MIN), &group->index));
    TRY(segment_key_cache_create(shares.keys_cached, &group->segment_keys));
    TRY(lender_create(shares.scratch_count, scratch_make, memory_free_cleansed, &group->scratch));
    TRY(log_init(&group->journal, group, SEGMENT_JOURNAL, shares.journal_buffers, shares.journal_buffer_bytes));
    TRY(log_init(&group->meta, group, SEGMENT_META, META_BUFFERS, shares.meta_buffer_bytes));
    TRY(log_init(&group->twin, group, SEGMENT_TWIN, META_BUFFERS, shares.meta_buffer_bytes));
    TRY(log_init(&group->cold, group, SEGMENT_COLD, shares.cold_buffers, shares.meta_buffer_bytes));
    group->memory_used = shares.fixed + caches;
    return ERROR_NONE;
}

static enum error view_first(struct group *group)
{
    struct view *view = memory_zeroed(1, sizeof *view);
    if (!view)
        return ERROR_NO_MEMORY;
    view->active = group->tables[0];
    memcpy(view->roots, group->checkpoint.roots, sizeof view->roots);
    mutex_lock(&group->lock);
    view_exchange(group, view);
    mutex_unlock(&group->lock);
    group->table_ready = true;
    return ERROR_NONE;
}

static enum error flush_all(struct group *group)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        group_device_written(group, d);
    return group_flush_devices(group);
}

/* A record goes to where the one before the newest is. On a device that a crash left without the newest that would be
 * the newest that it has, which the witness may have seen: so it gets the one that counts first, as it is. */
static enum error records_level(struct group *group)
{
    bool any = false;
    for (uint32_t d = 0; d < group->device_count; d++) {
        if (!group->record_lags[d])
            continue;
        TRY(checkpoint_write(group->devices[d], &group->superblocks[d], group->keyrings[d], &group->checkpoint));
        any = true;
    }
    return any ? flush_all(group) : ERROR_NONE;
}

/* Nobody knows yet which free slots have space below. Where the file system is full, all are asked: those that were written
 * before still have theirs, and few of them are enough to read what there is. */
static void space_find(struct group *group)
{
    group_allocate_ahead(group);
    group_allocate_ahead(group);
    mutex_lock(&group->lock);
    bool full = group_is_full_below(group);
    mutex_unlock(&group->lock);
    if (full)
        group_find_allocated(group);
}

/* The record with the joint; no slot or serial is used before it is durable. The slot that it names has space: the log
 * could not go on elsewhere, for nobody would look there. */
static enum error joint_record(struct group *group, const struct replay_end *end)
{
    struct checkpoint *checkpoint = &group->checkpoint;
    TRY(segments_order(&group->segments));
    group->segments.serial_next = checkpoint->serial_lease;
    group->segments.serial_lease = checkpoint->serial_lease + SERIAL_LEASE;
    group->component_lease = MAX(group->component_next, checkpoint->component_lease) + SERIAL_LEASE;
    group->component_next = MAX(group->component_next, checkpoint->component_lease);
    enum error error = log_reserve_slot(&group->journal);
    if (error == ERROR_NO_SPACE)
        return error_explain(ERROR_NO_SPACE, "group %s: no segment is free, and has space below, for the journal",
                             group_name(group));
    TRY(error);
    memcpy(group->journal.previous, end->tag, sizeof group->journal.previous);
    checkpoint->number++;
    checkpoint->epoch = group->config.epoch;
    checkpoint->time = clock_seconds();
    checkpoint->serial_lease = group->segments.serial_lease;
    checkpoint->component_lease = group->component_lease;
    if (checkpoint->joint_count < JOINTS_MAX) {
        struct joint *joint = &checkpoint->joints[checkpoint->joint_count++];
        memcpy(joint->tag, end->tag, sizeof joint->tag);
        joint->next = group_place(group, group->journal.reserved, 1);
    }
    return checkpoint_record(group, checkpoint);
}

/* What is to be published before the journal begins: nothing where `joints` (recorded before this open) are none or few
 * and there is space. After crashes each open leaves a journal segment behind that only a publish lets go of; the second
 * one frees what the first found dead. Where the file system below is full, that has to wait for better times. */
static unsigned publishes_first(struct group *group, unsigned joints)
{
    mutex_lock(&group->lock);
    bool short_of_space = !group_is_full_below(group) && !group_has_space(group, (struct commit_need){COMMIT_GROWS, NULL});
    mutex_unlock(&group->lock);
    if (joints && short_of_space)
        return 2;
    return joints == JOINTS_MAX;
}

/* The one after the current one. Where the file system below is full the keeper goes on asking for it, and nobody commits
 * before (lacks_below()), but all can be read. */
static enum error journal_prepare_next(struct group *group)
{
    enum error error = log_prepare(&group->journal);
    mutex_lock(&group->lock);
    bool comes = error == ERROR_NO_SPACE && group->segments.full;
    mutex_unlock(&group->lock);
    return comes ? ERROR_NONE : error;
}

static enum error journal_begin(struct group *group, unsigned joints)
{
    /* Where replay filled both tables, the second is merged as well before anybody writes: only then the journal's
     * start moves, and what is written from now on fits beside what a crash would replay. */
    bool both = group->view->frozen != NULL;
    group->opening = true;
    if (both)
        TRY(group_merge_replayed(group));
    unsigned publishes = publishes_first(group, joints);
    for (unsigned i = 0; i < MAX(publishes, (unsigned)both); i++)
        TRY(group_merge_once(group));
    group->opening = false;
    TRY(log_prepare(&group->journal)); /* the reserved one becomes current */
    return journal_prepare_next(group);
}

static const struct {
    const char *name;
    void (*run)(void *group);
} threads[GROUP_THREADS] = {
    {"keeper", group_keeper_thread},
    {"syncer", group_syncer_thread},
    {"sealer", group_sealer_thread},
    {"merge", group_merge_thread},
};

static enum error threads_start(struct group *group)
{
    for (; group->threads_running < GROUP_THREADS; group->threads_running++) {
        const unsigned i = group->threads_running;
        TRY(thread_start(&group->threads[i], threads[i].name, threads[i].run, group));
    }
    if (!group->config.no_index)
        group->index_running = thread_start(&group->index_thread, "index", group_index_thread, group) == ERROR_NONE;
    return ERROR_NONE;
}

bool group_is_stopping(struct group *group)
{
    return atomic_load(&group->stopping);
}

static void threads_stop(struct group *group)
{
    mutex_lock(&group->thread_lock);
    atomic_store(&group->stopping, true);
    condition_broadcast(&group->keeper_wake);
    condition_broadcast(&group->syncer_wake);
    condition_broadcast(&group->sealer_wake);
    condition_broadcast(&group->merge_wake);
    condition_broadcast(&group->merge_done);
    mutex_unlock(&group->thread_lock);
    for (unsigned i = 0; i < group->threads_running; i++)
        thread_join(&group->threads[i]);
    clean_rest(group, 0);
    atomic_store(&group->closing, true); /* of an open that failed */
    if (group->index_running)
        thread_join(&group->index_thread);
}

/* An epoch begins above all that was given before, but where an opening gave more than the counter has: that went on into the
 * next epoch. Sequences only rise, since replay skips what is not above the checkpoint's, so this opening goes on behind it. */
static void sequence_raise(struct group *group, uint64_t last)
{
    struct section *section = group->section;
    mutex_lock(&section->mutex);
    section->sequence = MAX(section->sequence, last);
    mutex_unlock(&section->mutex);
}

static enum error open_steps(struct group *group)
{
    struct replay_end end;
    TRY(checkpoint_newest(group));
    group->checkpoint_found = group->checkpoint.time;
    TRY(memory_take(group));
    TRY(view_first(group));
    TRY(segments_load(group));
    cids_init(&group->cids, group->checkpoint.cid_end);
    group->component_next = group->checkpoint.component_lease;
    group->generation = GENERATION_REPLAYED;
    TRY(replay_run(group, &group->checkpoint, &end));
    sequence_raise(group, end.last_sequence);
    atomic_store(&group->durable, end.last_sequence);
    group->journal.last_sequence = end.last_sequence;
    group->active_since = group->synced_at = clock_monotonic();
    if (group->config.read_only)
        return ERROR_NONE;
    unsigned joints = group->checkpoint.joint_count;
    TRY(flush_all(group));
    TRY(records_level(group));
    space_find(group);
    TRY(joint_record(group, &end));
    TRY(journal_begin(group, joints));
    return threads_start(group);
}

static void group_init(struct group *group)
{
    mutex_init(&group->lock, RANK_GROUP);
    condition_init(&group->view_gone);
    mutex_init(&group->index_lock, RANK_LEAF);
    mutex_init(&group->sync_lock, RANK_LOG);
    condition_init(&group->sync_changed);
    mutex_init(&group->thread_lock, RANK_LEAF);
    condition_init(&group->keeper_wake);
    condition_init(&group->syncer_wake);
    condition_init(&group->sealer_wake);
    condition_init(&group->merge_wake);
    condition_init(&group->merge_done);
}

static void views_free(struct group *group)
{
    while (group->view_oldest) {
        struct view *view = group->view_oldest;
        group->view_oldest = view->newer;
        free(view->freed);
        free(view);
    }
}

static void group_free(struct group *group)
{
    views_free(group);
    log_deinit(&group->journal);
    log_deinit(&group->meta);
    log_deinit(&group->twin);
    log_deinit(&group->cold);
    segment_key_cache_destroy(group->segment_keys);
    lender_destroy(group->scratch);
    index_destroy(group->index);
    recent_destroy(group->tables[0]);
    recent_destroy(group->tables[1]);
    cache_destroy(group->nodes);
    cache_destroy(group->chunks);
    segments_deinit(&group->segments);
    for (size_t i = 0; i < group->keyrings_left_count; i++)
        keyring_destroy(group->keyrings_left[i].keyring);
    free(group->keyrings_left);
    for (uint32_t d = 0; d < group->device_count; d++) {
        device_close(group->devices[d]);
        keyring_destroy(group->keyrings[d]);
        superblock_forget(&group->superblocks[d]);
    }
    mutex_deinit(&group->lock);
    condition_deinit(&group->view_gone);
    mutex_deinit(&group->index_lock);
    mutex_deinit(&group->sync_lock);
    condition_deinit(&group->sync_changed);
    mutex_deinit(&group->thread_lock);
    condition_deinit(&group->keeper_wake);
    condition_deinit(&group->syncer_wake);
    condition_deinit(&group->sealer_wake);
    condition_deinit(&group->merge_wake);
    condition_deinit(&group->merge_done);
    free(group->clean_left);
    free(group);
}

enum error group_open(struct device **devices, struct superblock *superblocks, struct keyring **keyrings,
                      uint32_t device_count, const struct group_config *config, struct group **out)
{
    struct group *group = memory_zeroed(1, sizeof *group);
    ASSERT(device_count > 0 && device_count <= GROUP_DEVICES);
    if (!group) {
        for (uint32_t d = 0; d < device_count; d++) {
            device_close(devices[d]);
            keyring_destroy(keyrings[d]);
            superblock_forget(&superblocks[d]);
        }
        return ERROR_NO_MEMORY;
    }
    group_init(group);
    group->config = *config;
    group->section = config->section;
    group->device_count = device_count;
    memcpy(group->devices, devices, device_count * sizeof *devices);
    memcpy(group->superblocks, superblocks, device_count * sizeof *superblocks);
    memcpy(group->keyrings, keyrings, device_count * sizeof *keyrings);
    enum error error = open_steps(group);
    if (error) {
        threads_stop(group);
        group_drain(group);
        group_free(group);
        return error;
    }
    *out = group;
    return ERROR_NONE;
}

/* Writes in flight use the buffers until the kernel gave them back. */
void group_drain(struct group *group)
{
    struct log *logs[] = {&group->journal, &group->meta, &group->twin, &group->cold};
    for (size_t i = 0; i < COUNT_OF(logs); i++)
        log_drain_writes(logs[i]);
}

enum error group_close(struct group *group, bool crash)
{
    enum error error = ERROR_NONE;
    atomic_store(&group->closing, true);
    if (!crash && !group->config.read_only) {
        error = group_sync(group);
        /* Everything is durable; what follows spares the next open a replay. The second publish frees what the first
         * found dead. */
        for (int i = 0; i < 2 && !error; i++) {
            error = group_publish_within(group, CLOSE_PATIENCE);
            if (error == ERROR_TIMED_OUT) {
                message(MESSAGE_WARNING, "group %s: closed without a checkpoint; the next start replays the journal",
                        group_name(group));
                error = ERROR_NONE;
                break;
            }
        }
    }
    threads_stop(group);
    group_drain(group);
    group_free(group);
    return error;
}
