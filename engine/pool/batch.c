/*
 * A batch of writes through its stages. You are in the write path:
 * SPLIT -> FINGERPRINT -> look up -> COMPRESS -> commit -> fill.
 *
 * Nothing here is durable or visible: a crash before the commit's append is written and flushed leaves what was there.
 */
#include "engine/pool/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/item.h"
#include "engine/group/view.h"
#include "engine/pool/damage.h"

#define LOAD_BATCHES 2 /* from so many batches at once on, `auto` compresses by LZ4 */
#define COMMIT_TRIES 8

#define WRITE_OUTPUT_BYTES  (BATCH_BLOCKS * CHUNK_SIZE)
#define WRITE_COMPARE_BYTES (BATCH_BLOCKS * CHUNK_SIZE)

/* ---- batches are lent ------------------------------------------------------------------------------------------------ */

static void batch_destroy(void *object)
{
    struct batch *batch = object;
    memory_free_cleansed(batch->compare); /* users' plaintext */
    memory_free_cleansed(batch->output);
    free(batch);
}

static struct batch *make(size_t output, size_t compare)
{
    struct batch *batch = memory_zeroed(1, sizeof *batch);
    if (!batch)
        return NULL;
    batch->output = output ? memory_aligned(output) : NULL;
    batch->compare = compare ? memory_aligned(compare) : NULL;
    if ((batch->output || output == 0) && (batch->compare || compare == 0))
        return batch;
    batch_destroy(batch);
    return NULL;
}

static void *make_for_writes(void)
{
    return make(WRITE_OUTPUT_BYTES, WRITE_COMPARE_BYTES);
}

static void *make_for_documents(void)
{
    return make(OBJECT_DOCUMENT_BYTES_MAX, 0);
}

static void *make_for_ranges(void)
{
    return make(0, 0);
}

static const struct {
    size_t count, count_small; /* where memory is small */
    size_t bytes;              /* besides the batch itself */
    void *(*make)(void);
} kinds[BATCH_KINDS] = {
    [BATCH_WRITES] = {BATCHES_LENT, BATCHES_LENT / 2, WRITE_OUTPUT_BYTES + WRITE_COMPARE_BYTES, make_for_writes},
    [BATCH_DOCUMENTS] = {1, 1, OBJECT_DOCUMENT_BYTES_MAX, make_for_documents},
    [BATCH_TRIMS] = {BATCHES_OF_TRIMS, BATCHES_OF_TRIMS, 0, make_for_ranges},
    [BATCH_REMAINS] = {1, 1, 0, make_for_ranges},
};

static size_t kind_count(enum batch_kind kind, uint64_t memory)
{
    return memory < BATCHES_SMALL_MEMORY ? kinds[kind].count_small : kinds[kind].count;
}

enum error batch_lenders_create(struct pool *pool, uint64_t memory)
{
    for (enum batch_kind kind = 0; kind < BATCH_KINDS; kind++)
        TRY(lender_create(kind_count(kind, memory), kinds[kind].make, batch_destroy, &pool->batch_lenders[kind]));
    return ERROR_NONE;
}

void batch_lenders_empty(struct pool *pool)
{
    for (enum batch_kind kind = 0; kind < BATCH_KINDS; kind++)
        lender_empty(pool->batch_lenders[kind]);
}

void batch_lenders_destroy(struct pool *pool)
{
    for (enum batch_kind kind = 0; kind < BATCH_KINDS; kind++)
        lender_destroy(pool->batch_lenders[kind]);
}

uint64_t batch_lenders_bytes(uint64_t memory)
{
    uint64_t bytes = 0;
    for (enum batch_kind kind = 0; kind < BATCH_KINDS; kind++)
        bytes += kind_count(kind, memory) * (sizeof(struct batch) + kinds[kind].bytes);
    return bytes;
}

struct batch *batch_get(struct pool *pool, enum batch_kind kind, uint64_t component, const struct fingerprint_key *key)
{
    struct batch *batch = lender_take(pool->batch_lenders[kind]);
    if (!batch)
        return NULL;
    batch->pool = pool;
    batch->kind = kind;
    batch->target = NULL;
    batch->component = component;
    batch->key = key;
    batch->count = batch->range_count = batch->partial_count = batch->unit_count = 0;
    batch->whole = batch->frees = batch->at_once = false;
    batch->reservation = NULL;
    batch->asker = NULL;
    batch->changes = NULL;
    batch->change_count = 0;
    batch->moves = NULL;
    batch->move_count = 0;
    return batch;
}

static void batch_empty(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        memory_free_cleansed(batch->blocks[i].partial);
    batch->count = batch->range_count = batch->partial_count = batch->unit_count = 0;
}

void batch_put(struct batch *batch)
{
    batch_empty(batch);
    lender_give(batch->pool->batch_lenders[batch->kind], batch);
}

/* ---- split ---------------------------------------------------------------------------------------------------------------- */

bool batch_takes(const struct batch *batch, uint64_t first, uint64_t end, size_t blocks)
{
    if (batch->count + blocks > BATCH_BLOCKS || batch->range_count + 1 > BATCH_RANGES)
        return false;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->blocks[i].block >= first && batch->blocks[i].block < end)
            return false;
    for (size_t i = 0; i < batch->range_count; i++)
        if (batch->ranges[i].first < end && first < batch->ranges[i].end)
            return false;
    return true;
}

enum error batch_add_data(struct batch *batch, uint64_t offset, const uint8_t *data, size_t size)
{
    ASSERT(batch->output);
    while (size) {
        struct batch_block *block = &batch->blocks[batch->count];
        size_t begin = offset % CHUNK_SIZE, length = MIN(size, CHUNK_SIZE - begin);
        *block = (struct batch_block){.block = offset / CHUNK_SIZE, .data = data, .alias = -1, .unit = -1};
        if (length < CHUNK_SIZE) {
            block->partial = malloc(CHUNK_SIZE);
            if (!block->partial)
                return ERROR_NO_MEMORY;
            block->source = data;
            block->begin = (uint16_t)begin;
            block->end = (uint16_t)(begin + length);
            block->data = block->partial;
            batch->partial_count++;
        }
        batch->count++;
        offset += length;
        data += length;
        size -= length;
    }
    return ERROR_NONE;
}

void batch_add_hole(struct batch *batch, uint64_t first, uint64_t end)
{
    batch->ranges[batch->range_count++] = (struct block_range){first, end};
}

/* ---- partial blocks -------------------------------------------------------------------------------------------------------- */

/* Latches and takes the view in one entry of the section; then reads, and gives the view back. */
static enum error partials_latch(struct batch *batch, const uint64_t *blocks, struct map_entry *entries, bool *known,
                                 size_t count, struct view **view)
{
    struct pool *pool = batch->pool;
    mutex_lock(&pool->section.mutex);
    while (latch_conflicts(pool, batch))
        condition_wait(&pool->section.changed, &pool->section.mutex);
    latch_take(batch);
    mutex_lock(&pool->group->lock);
    *view = view_get(pool->group);
    view_find_recent(*view, batch->component, blocks, entries, known, count);
    mutex_unlock(&pool->group->lock);
    mutex_unlock(&pool->section.mutex);
    return ERROR_NONE;
}

/* What surrounds a part of a block cannot be read: such a block has to be written whole. */
static void partials_note(struct batch *batch, const uint64_t *blocks, struct map_entry *entries, const bool *known,
                          const struct chunk_read *reads, size_t count, enum error look_up)
{
    enum error errors[BATCH_BLOCKS];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool lost = look_up && !known[i];
        errors[i] = lost ? look_up : look_up || entry_is_hole(entries[i]) ? ERROR_NONE : reads[n++].error;
        if (lost)
            entries[i] = (struct map_entry){0};
    }
    damage_note_read(batch->pool, batch->component, blocks, entries, errors, count);
}

static enum error partials_read(struct batch *batch)
{
    uint64_t blocks[BATCH_BLOCKS];
    struct map_entry entries[BATCH_BLOCKS];
    bool known[BATCH_BLOCKS];
    struct batch_block *partials[BATCH_BLOCKS];
    struct chunk_read reads[BATCH_BLOCKS];
    struct view *view;
    size_t count = 0, read_count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->blocks[i].partial) {
            partials[count] = &batch->blocks[i];
            blocks[count++] = batch->blocks[i].block;
        }
    TRY(partials_latch(batch, blocks, entries, known, count, &view));
    enum error look_up = view_find(batch->pool->group, view, batch->component, blocks, entries, known, count);
    enum error error = look_up;
    for (size_t i = 0; i < count && !error; i++) {
        if (entry_is_hole(entries[i]))
            memset(partials[i]->partial, 0, CHUNK_SIZE);
        else
            reads[read_count++] = (struct chunk_read){.entry = entries[i], .out = partials[i]->partial};
    }
    if (!error)
        error = chunks_read(batch->pool->group, reads, read_count);
    view_put(batch->pool->group, view);
    if (error)
        partials_note(batch, blocks, entries, known, reads, count, look_up);
    for (size_t i = 0; i < count && !error; i++)
        memcpy(partials[i]->partial + partials[i]->begin, partials[i]->source, partials[i]->end - partials[i]->begin);
    return error;
}

/* ---- fingerprints and duplicates ------------------------------------------------------------------------------------------- */

static void zeroes_find(struct batch *batch)
{
    uint64_t zeroes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        batch->blocks[i].zero = chunk_is_zero(batch->blocks[i].data);
        zeroes += batch->blocks[i].zero;
    }
    atomic_fetch_add(&batch->pool->group->totals.chunks_zero, zeroes);
}

static enum error fingerprints_make(struct batch *batch)
{
    const void *chunks[BATCH_BLOCKS] = {NULL};
    struct fingerprint fingerprints[BATCH_BLOCKS];
    uint16_t which[BATCH_BLOCKS];
    size_t count = 0;
    if (!batch->key)
        return ERROR_NONE;
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->blocks[i].zero) {
            chunks[count] = batch->blocks[i].data;
            which[count++] = (uint16_t)i;
        }
    TRY(fingerprint_compute(batch->key, chunks, count, fingerprints));
    for (size_t i = 0; i < count; i++)
        batch->blocks[which[i]].fingerprint = fingerprints[i];
    return ERROR_NONE;
}

/* Equal chunks within the batch: later ones refer to the first. */
static void aliases_find(struct batch *batch)
{
    int16_t heads[512];
    int16_t next[BATCH_BLOCKS];
    memset(heads, -1, sizeof heads);
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_block *block = &batch->blocks[i];
        if (block->zero)
            continue;
        uint16_t hash;
        memcpy(&hash, block->fingerprint.bytes, sizeof hash);
        int16_t *head = &heads[hash % COUNT_OF(heads)];
        int16_t j = *head;
        while (j >= 0 && !fingerprint_equal(batch->blocks[j].fingerprint, block->fingerprint))
            j = next[j];
        if (j >= 0 && memcmp(batch->blocks[j].data, block->data, CHUNK_SIZE) == 0) {
            block->alias = j;
            continue;
        }
        next[i] = *head;
        *head = (int16_t)i;
    }
}

static void duplicates_find(struct batch *batch)
{
    struct chunk_lookup chunks[BATCH_BLOCKS];
    uint16_t which[BATCH_BLOCKS];
    size_t count = 0;
    if (!batch->key || batch->pool->no_index)
        return;
    aliases_find(batch);
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->blocks[i].zero && batch->blocks[i].alias < 0) {
            chunks[count] = (struct chunk_lookup){.data = batch->blocks[i].data, .fingerprint = batch->blocks[i].fingerprint};
            which[count++] = (uint16_t)i;
        }
    lookup_chunks(batch->pool, batch->key, chunks, count, batch->compare, &batch->unsettled);
    for (size_t i = 0; i < count; i++) {
        batch->blocks[which[i]].entry = chunks[i].hit;
        batch->blocks[which[i]].hit = !entry_is_hole(chunks[i].hit);
    }
}

/* ---- units ------------------------------------------------------------------------------------------------------------------- */

static int block_order(const void *a, const void *b, void *context)
{
    const struct batch *batch = context;
    uint64_t x = batch->blocks[*(const uint16_t *)a].block, y = batch->blocks[*(const uint16_t *)b].block;
    return order_of(x, y);
}

/* New chunks of one aligned group of four blocks form a unit. */
static void units_form(struct batch *batch)
{
    size_t count = 0;
    bool sorted = true; /* as sequential writes are */
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_block *block = &batch->blocks[i];
        if (block->zero || block->hit || block->alias >= 0)
            continue;
        sorted &= count == 0 || batch->blocks[batch->order[count - 1]].block < block->block;
        batch->order[count++] = (uint16_t)i;
    }
    if (!sorted)
        qsort_r(batch->order, count, sizeof batch->order[0], block_order, batch);
    batch->unit_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct batch_block *block = &batch->blocks[batch->order[i]];
        struct batch_unit *unit = batch->unit_count ? &batch->units[batch->unit_count - 1] : NULL;
        const struct batch_block *first = unit ? &batch->blocks[batch->order[unit->first]] : NULL;
        if (!unit || first->block / UNIT_CHUNKS != block->block / UNIT_CHUNKS) {
            unit = &batch->units[batch->unit_count++];
            *unit = (struct batch_unit){.first = (uint16_t)i};
            first = block;
        }
        block->unit = (int16_t)(unit - batch->units);
        unit->mask |= 1u << (block->block - first->block);
        unit->count++;
    }
}

static void codec_choose(const struct batch *batch, enum codec *codec, int *level)
{
    const struct pool_conf *conf = batch->pool->conf;
    *level = 1;
    *codec = CODEC_RAW;
    switch (conf->codec) {
    case POOL_CODEC_NONE:
        break;
    case POOL_CODEC_LZ4:
        *codec = CODEC_LZ4;
        break;
    case POOL_CODEC_ZSTD:
        *codec = CODEC_ZSTD;
        *level = conf->zstd_level;
        break;
    case POOL_CODEC_AUTO:
        *codec = atomic_load(&batch->pool->batches) >= LOAD_BATCHES || batch->count >= 32 ? CODEC_LZ4 : CODEC_ZSTD;
        break;
    }
}

static enum error units_compress(struct batch *batch)
{
    enum codec codec;
    int level;
    uint64_t in = 0, out = 0, random = 0;
    uint8_t *output = batch->output;
    codec_choose(batch, &codec, &level);
    for (size_t u = 0; u < batch->unit_count; u++) {
        struct batch_unit *unit = &batch->units[u];
        const void *chunks[UNIT_CHUNKS];
        size_t size;
        for (unsigned i = 0; i < unit->count; i++)
            chunks[i] = batch->blocks[batch->order[unit->first + i]].data;
        TRY(unit_compress(codec, level, chunks, unit->count, output, unit->count * CHUNK_SIZE, &size, &unit->codec));
        unit->stored = output;
        unit->stored_size = (uint32_t)size;
        output += size;
        in += unit->count;
        out += size;
        random += codec != CODEC_RAW && unit->codec == CODEC_RAW ? unit->count : 0;
    }
    struct group_totals *totals = &batch->pool->group->totals;
    atomic_fetch_add(&totals->unit_bytes_in, in * CHUNK_SIZE);
    atomic_fetch_add(&totals->unit_bytes_out, out);
    atomic_fetch_add(&totals->chunks_random, random);
    return ERROR_NONE;
}

/* ---- all stages ---------------------------------------------------------------------------------------------------------------- */

/* What was found is stored once more. */
static void hits_forget(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->blocks[i].hit) {
            batch->blocks[i].hit = false;
            batch->blocks[i].entry = (struct map_entry){0};
        }
}

static enum error stages_run(struct batch *batch)
{
    if (batch->partial_count)
        TRY(partials_read(batch));
    zeroes_find(batch);
    TRY(fingerprints_make(batch));
    duplicates_find(batch);
    /* A hit that is gone at the commit makes its chunk a new one, and the batch comes again; the last time it has none. */
    for (unsigned tries = 1;; tries++) {
        if (tries == COMMIT_TRIES)
            hits_forget(batch);
        units_form(batch);
        TRY(units_compress(batch));
        enum error error = commit_run(batch);
        if (error != ERROR_AGAIN || tries == COMMIT_TRIES)
            return error;
    }
}

/* What is to be paid for before it is known what is stored; documents, which are small and hold locks, wait for nobody. */
static uint64_t stored_bytes_max(const struct batch *batch)
{
    return batch->component == COMPONENT_CATALOG ? 0 : (uint64_t)batch->count * CHUNK_SIZE;
}

static uint64_t stored_bytes(const struct batch *batch)
{
    uint64_t bytes = 0;
    for (size_t u = 0; u < batch->unit_count; u++)
        bytes += batch->units[u].replaces ? 0 : batch->units[u].stored_size;
    return bytes;
}

enum error batch_commit(struct batch *batch)
{
    if (batch->count == 0 && batch->range_count == 0 && batch->change_count == 0)
        return ERROR_NONE;
    struct pool *pool = batch->pool;
    uint64_t paid = stored_bytes_max(batch);
    group_throttle(pool->group, paid);
    atomic_fetch_add(&pool->batches, 1);
    enum error error = stages_run(batch);
    atomic_fetch_sub(&pool->batches, 1);
    group_throttle_return(pool->group, paid - MIN(error ? 0 : stored_bytes(batch), paid));
    mutex_lock(&pool->section.mutex);
    latch_release(batch);
    mutex_unlock(&pool->section.mutex);
    batch_empty(batch);
    return error;
}
