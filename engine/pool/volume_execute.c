/*
 * Requests of one batch: validated, then writes, then reads, then what must be durable. What is done is answered before
 * a stage waits for a device; flushes last.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/view.h"
#include "engine/pool/pool.h"

static enum error request_check(const struct volume *volume, const struct request *request)
{
    uint64_t size = atomic_load(&volume->object->size);
    if (request->type == REQUEST_FLUSH)
        return ERROR_NONE;
    if (request->length == 0 || request->type > REQUEST_CACHE)
        return ERROR_INVALID;
    if (request->offset > size || request->length > size - request->offset)
        return ERROR_OUT_OF_RANGE;
    bool transfers = request->type == REQUEST_READ || request->type == REQUEST_WRITE;
    if (transfers && (request->length > REQUEST_BYTES_MAX || !request->data))
        return ERROR_INVALID;
    bool changes = request->type == REQUEST_WRITE || request->type == REQUEST_ZERO || request->type == REQUEST_TRIM;
    return changes && (volume->read_only || volume->pool->read_only) ? ERROR_READ_ONLY : ERROR_NONE;
}

struct sorted {
    struct request *writes[BATCH_REQUESTS_MAX], *reads[BATCH_REQUESTS_MAX], *durable[BATCH_REQUESTS_MAX];
    size_t write_count, read_count, durable_count;
};

static void totals_add(struct pool *pool, const struct request *request)
{
    if (request->type == REQUEST_READ) {
        atomic_fetch_add(&pool->totals.user_reads, 1);
        atomic_fetch_add(&pool->totals.user_read_bytes, request->length);
    } else if (request->type == REQUEST_WRITE) {
        atomic_fetch_add(&pool->totals.user_writes, 1);
        atomic_fetch_add(&pool->totals.user_write_bytes, request->length);
    } else if (request->type == REQUEST_FLUSH) {
        atomic_fetch_add(&pool->totals.user_flushes, 1);
    }
}

static void sort(struct volume *volume, struct request *requests, size_t count, struct sorted *sorted,
                 request_answer *answer, void *context)
{
    sorted->write_count = sorted->read_count = sorted->durable_count = 0;
    enum error unusable = pool_check_usable(volume->pool);
    for (size_t i = 0; i < count; i++) {
        struct request *request = &requests[i];
        request->error = unusable ? unusable : request_check(volume, request);
        if (request->error) {
            answer(request, context);
            continue;
        }
        totals_add(volume->pool, request);
        if (request->type == REQUEST_READ || request->type == REQUEST_CACHE)
            sorted->reads[sorted->read_count++] = request;
        else if (request->type == REQUEST_FLUSH)
            sorted->durable[sorted->durable_count++] = request;
        else
            sorted->writes[sorted->write_count++] = request;
    }
}

/* Answers what need not be durable, or failed; the rest joins those that wait for the sync. */
static void writes_answer(struct sorted *sorted, request_answer *answer, void *context)
{
    for (size_t i = 0; i < sorted->write_count; i++) {
        struct request *request = sorted->writes[i];
        if ((request->flags & REQUEST_FUA) && !request->error)
            sorted->durable[sorted->durable_count++] = request;
        else
            answer(request, context);
    }
}

static void execute_some(struct volume *volume, struct request *requests, size_t count, request_answer *answer,
                         const struct asker *asker)
{
    void *context = asker->context;
    struct sorted sorted;
    sort(volume, requests, count, &sorted, answer, context);
    if (sorted.write_count) {
        write_execute(volume, sorted.writes, sorted.write_count, asker);
        writes_answer(&sorted, answer, context);
    }
    if (sorted.read_count) {
        read_execute(volume, sorted.reads, sorted.read_count);
        for (size_t i = 0; i < sorted.read_count; i++)
            answer(sorted.reads[i], context);
    }
    if (sorted.durable_count) {
        enum error error = group_sync(volume->pool->group);
        for (size_t i = 0; i < sorted.durable_count; i++) {
            sorted.durable[i]->error = error;
            answer(sorted.durable[i], context);
        }
    }
}

void volume_execute_while(struct volume *volume, struct request *requests, size_t count, request_answer *answer,
                          request_wanted *wanted, void *context)
{
    struct asker asker = {wanted, context, wanted ? clock_monotonic() : 0};
    for (size_t done = 0; done < count; done += BATCH_REQUESTS_MAX)
        execute_some(volume, requests + done, MIN(count - done, BATCH_REQUESTS_MAX), answer, &asker);
}

void volume_execute(struct volume *volume, struct request *requests, size_t count, request_answer *answer, void *context)
{
    volume_execute_while(volume, requests, count, answer, NULL, context);
}

/* ---- block status ------------------------------------------------------------------------------------------------------ */

#define EXTENT_LEAVES_MAX (EXTENT_DATA_MAX / COFFER_BLOCK / MAP_LEAF_ENTRIES)

struct runs {
    struct extent *extents;
    size_t count, capacity;
};

/* False where there is no room. */
static bool run_add(struct runs *runs, bool hole, uint64_t blocks)
{
    struct extent *last = runs->count ? &runs->extents[runs->count - 1] : NULL;
    if (last && last->hole == hole)
        last->length += blocks * COFFER_BLOCK;
    else if (runs->count < runs->capacity)
        runs->extents[runs->count++] = (struct extent){blocks * COFFER_BLOCK, hole};
    else
        return false;
    return true;
}

/* Blocks of one leaf. *whole_hole is kept where all of them are holes. */
static enum error leaf_runs(struct volume *volume, uint64_t block, size_t count, struct runs *runs, bool *full,
                            bool *whole_hole)
{
    uint64_t blocks[MAP_LEAF_ENTRIES];
    struct map_entry entries[MAP_LEAF_ENTRIES];
    struct view *view;
    uint64_t component;
    for (size_t i = 0; i < count; i++)
        blocks[i] = block + i;
    TRY(view_lookup_target(volume->pool->group, &volume->object->component, &component, blocks, entries, count, &view));
    view_put(volume->pool->group, view);
    for (size_t i = 0; i < count && !*full; i++) {
        bool hole = entry_is_hole(entries[i]);
        *whole_hole &= hole;
        *full = !run_add(runs, hole, 1);
    }
    return ERROR_NONE;
}

/* Passes over leaves in which nothing is mapped. */
static enum error holes_pass(struct volume *volume, uint64_t *block, uint64_t end, struct runs *runs, bool *full)
{
    uint64_t leaf = *block / MAP_LEAF_ENTRIES;
    TRY(view_leaf_next(volume->pool->group, &volume->object->component, &leaf,
                       (end + MAP_LEAF_ENTRIES - 1) / MAP_LEAF_ENTRIES));
    uint64_t next = MIN(MAX(leaf * MAP_LEAF_ENTRIES, *block), end);
    if (next > *block)
        *full = !run_add(runs, true, next - *block);
    *block = next;
    return ERROR_NONE;
}

/* From the second leaf on: who asks for one extent, of a place that is not in memory, waits for one. */
static void leaves_read_ahead(struct volume *volume, uint64_t block, uint64_t end, uint64_t looked, uint64_t *ahead)
{
    uint64_t leaf = block / MAP_LEAF_ENTRIES, left = EXTENT_LEAVES_MAX - looked / MAP_LEAF_ENTRIES;
    if (looked == 0 || leaf < *ahead)
        return;
    *ahead = leaf;
    view_read_ahead(volume->pool->group, &volume->object->component, ahead,
                    (end + MAP_LEAF_ENTRIES - 1) / MAP_LEAF_ENTRIES, left);
}

/* Leaves that are mapped are looked at one by one; the tree is asked for the next of them where a hole begins. */
enum error volume_extents(struct volume *volume, uint64_t offset, uint64_t length, struct extent *extents, size_t capacity,
                          size_t *count)
{
    struct runs runs = {extents, 0, capacity};
    uint64_t size = atomic_load(&volume->object->size);
    TRY(pool_check_usable(volume->pool));
    if (capacity == 0 || length == 0 || offset > size || length > size - offset)
        return ERROR_OUT_OF_RANGE;
    uint64_t block = offset / COFFER_BLOCK, end = (offset + length + COFFER_BLOCK - 1) / COFFER_BLOCK, looked = 0;
    uint64_t ahead = 0;
    bool hole = true, full = false;
    while (block < end && !full && looked < EXTENT_DATA_MAX / COFFER_BLOCK) {
        leaves_read_ahead(volume, block, end, looked, &ahead);
        if (hole)
            TRY(holes_pass(volume, &block, end, &runs, &full));
        size_t round = (size_t)MIN(end - block, MAP_LEAF_ENTRIES - block % MAP_LEAF_ENTRIES);
        if (round == 0 || full)
            break;
        hole = true;
        TRY(leaf_runs(volume, block, round, &runs, &full, &hole));
        block += round;
        looked += round;
    }
    *count = runs.count;
    return ERROR_NONE;
}
