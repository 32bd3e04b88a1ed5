/*
 * What a worker does: batches of writes, zeroes and trims of any alignment on its own stripe, whole blocks among the
 * shared ones, its quarters of the split ones, and of half of these any quarters or the whole; reads of all of them;
 * flushes; now and then one request larger than a batch. Everything read is compared at once with what the model says
 * that a reader may see.
 *
 * Within a batch, a block that an earlier request touched is covered whole or left alone, except while the pool is
 * empty enough that no request of the batch can fail: else the later content would depend on which ones did.
 *
 * Lock: `shared` (RANK_SERVER), for the cells of the shared blocks.
 */
#include "tests/crash/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/batch.h"
#include "tests/crash/content.h"

#define PAYLOAD_BYTES     (STRIPE_BLOCKS * BLOCK + BATCH_BYTES_MAX)
#define SHARED_RUN_BLOCKS 4
#define WRITTEN_RANGES    16
#define OWNED_BLOCKS      (SPLIT_BLOCKS / 2) /* of the split ones: each quarter has one writer */
#define CROWDED_BLOCKS    2 /* of the others, where there is WORK_CROWDS */
#define APART_BLOCKS      64 /* as many as a batch may have */

struct range {
    uint64_t start, end; /* bytes */
};

struct worker {
    struct session *session;
    struct volume *volumes[VOLUMES];
    struct mutex *shared;
    unsigned index;
    struct dice dice;
    unsigned char stripes[VOLUMES][STRIPE_BLOCKS * BLOCK];
    unsigned char quarters[VOLUMES][SPLIT_BLOCKS][QUARTER];
    bool unknown[VOLUMES][STRIPE_BLOCKS], unknown_quarters[VOLUMES][SPLIT_BLOCKS]; /* after a write that failed */
    bool touched[STRIPE_BLOCKS];
    struct range written[VOLUMES][WRITTEN_RANGES]; /* of late; read before others, since it may be on its way */
    uint64_t written_count[VOLUMES];
    struct batch batch;
    uint64_t payload_used;
    unsigned char payload[PAYLOAD_BYTES];
    unsigned char read[STRIPE_BLOCKS * BLOCK];
};

struct worker *worker_create(struct session *session, struct volume *const volumes[VOLUMES], struct mutex *shared,
                             unsigned index)
{
    struct worker *worker = session_take(sizeof(*worker));
    worker->session = session;
    worker->shared = shared;
    worker->index = index;
    worker->batch.session = session;
    worker->dice.state = session->settings.seed * 1000003 + session->round * 101 + index;
    memcpy(worker->volumes, volumes, sizeof(worker->volumes));
    for (unsigned v = 0; v < VOLUMES; v++) {
        const struct volume_model *model = &session->volumes[v];
        memcpy(worker->stripes[v], model->stripe_contents[index], sizeof(worker->stripes[v]));
        for (unsigned b = 0; b < SPLIT_BLOCKS && index < QUARTERS; b++)
            memcpy(worker->quarters[v][b], model->split_contents[b] + (size_t)index * QUARTER, QUARTER);
    }
    return worker;
}

void worker_destroy(struct worker *worker)
{
    free(worker);
}

static uint64_t stripe_blocks(const struct worker *worker)
{
    return worker->session->settings.stripe_blocks;
}

static bool chance(struct worker *worker, unsigned percent)
{
    return dice_percent(&worker->dice, percent);
}

/* ---- requests -----------------------------------------------------------------------------------------------------
 */

/* With few flushes much is pending when a crash comes. */
static bool spares(struct worker *worker)
{
    unsigned percent = worker->session->settings.sparing_percent;
    return percent != 0 && chance(worker, percent);
}

/* What the request does to `target`, which holds what was there before. */
static void choose_change(struct worker *worker, struct request *request, unsigned char *target, uint64_t length)
{
    request->length = length;
    request->flags = chance(worker, 10) && !spares(worker) ? REQUEST_FUA : 0;
    if (chance(worker, 25)) {
        request->type = chance(worker, 50) ? REQUEST_ZERO : REQUEST_TRIM;
        memset(target, 0, length);
        return;
    }
    request->type = REQUEST_WRITE;
    request->data = worker->payload + worker->payload_used;
    worker->payload_used += length;
    content_fill(&worker->dice, request->data, length);
    memcpy(target, request->data, length);
}

static void run(struct worker *worker, unsigned volume)
{
    bool room = batch_run(&worker->batch, worker->volumes[volume]);
    worker->payload_used = 0;
    if (!room)
        clock_sleep(2 * CLOCK_MILLISECOND);
}

static void flush(struct worker *worker)
{
    batch_add_flush(&worker->batch);
    run(worker, 0);
}

/* ---- the own stripe -----------------------------------------------------------------------------------------------
 */

static struct range choose_range(struct worker *worker, unsigned volume)
{
    uint64_t written = MIN(worker->written_count[volume], (uint64_t)WRITTEN_RANGES);
    if (written != 0 && session_works(worker->session, WORK_REWRITES) && chance(worker, 60))
        return worker->written[volume][dice_below(&worker->dice, written)];
    if (chance(worker, 50)) {
        uint64_t first = dice_below(&worker->dice, stripe_blocks(worker));
        uint64_t count = dice_small(&worker->dice, MIN(stripe_blocks(worker) - first, (uint64_t)64));
        return (struct range){first * BLOCK, (first + count) * BLOCK};
    }
    uint64_t start = dice_below(&worker->dice, stripe_blocks(worker) * BLOCK);
    uint64_t length = dice_small(&worker->dice, MIN(stripe_blocks(worker) * BLOCK - start, (uint64_t)20000));
    return (struct range){start, start + length};
}

/* Whether a block of the range was touched in this batch and would be covered in part. */
static bool depends_on_batch(const struct worker *worker, struct range range)
{
    bool head = range.start % BLOCK != 0 && worker->touched[range.start / BLOCK];
    bool tail = range.end % BLOCK != 0 && worker->touched[range.end / BLOCK];
    return head || tail;
}

/* Tries to learn what the worker does not know of its own block. */
static bool stripe_knows(struct worker *worker, unsigned volume, uint64_t block)
{
    bool *unknown = &worker->unknown[volume][block];
    *unknown = *unknown && !cell_learn(worker->session, worker->volumes[volume],
                                       &worker->session->volumes[volume].stripes[worker->index][block],
                                       stripe_offset(volume, worker->index) + block * BLOCK,
                                       worker->stripes[volume] + block * BLOCK, BLOCK);
    return !*unknown;
}

/* Of a range, all that must be known: to be read, or to be changed in part. */
static bool range_is_known(struct worker *worker, unsigned volume, struct range range, bool whole)
{
    bool known = true;
    for (uint64_t b = range.start / BLOCK; b < ROUND_UP(range.end, (uint64_t)BLOCK) / BLOCK; b++)
        if (whole || range.start > b * BLOCK || range.end < (b + 1) * BLOCK)
            known &= stripe_knows(worker, volume, b);
    return known;
}

/* In the spread volume, what makes holes up to the end of the stripe may go on over the gap behind it, which nobody
 * has: a range of terabytes. */
static void reach_out(struct worker *worker, unsigned volume, struct range range, struct request *request)
{
    uint64_t end = stripe_offset(volume, worker->index) + STRIPE_BLOCKS * BLOCK;
    if (volume == 0 || request->type == REQUEST_WRITE || range.end != STRIPE_BLOCKS * BLOCK || chance(worker, 50))
        return;
    request->length += 1 + dice_below(&worker->dice, stripe_offset(volume, worker->index + 1) - end);
}

static void stripe_change(struct worker *worker, unsigned volume, struct range range)
{
    struct session *session = worker->session;
    uint64_t first = range.start / BLOCK, end = ROUND_UP(range.end, (uint64_t)BLOCK) / BLOCK;
    struct cell *cells = &session->volumes[volume].stripes[worker->index][first];
    struct operation probe = {.cells = cells, .count = end - first};
    if (depends_on_batch(worker, range) && (session->faulty || !atomic_load(&session->ample)))
        return;
    if (!range_is_known(worker, volume, range, false))
        return;
    if (!operation_has_room(&probe, session)) {
        run(worker, volume);
        memset(worker->touched, 0, sizeof(worker->touched));
        flush(worker);
        return;
    }
    struct operation *operation = batch_add(&worker->batch, range.end - range.start);
    if (operation == NULL)
        return;
    unsigned char *contents = worker->stripes[volume];
    operation->cells = cells;
    operation->count = end - first;
    operation->grain = BLOCK;
    operation->offset = stripe_offset(volume, worker->index) + first * BLOCK;
    operation->contents = contents + first * BLOCK;
    operation->unknown = &worker->unknown[volume][first];
    operation->request->offset = stripe_offset(volume, worker->index) + range.start;
    choose_change(worker, operation->request, contents + range.start, range.end - range.start);
    reach_out(worker, volume, range, operation->request);
    operation_prepare(operation, session, operation->contents);
    memset(worker->touched + first, true, end - first);
    worker->written[volume][worker->written_count[volume]++ % WRITTEN_RANGES] = range;
}

/* What was read of the own stripe, from byte `start` on. */
static void judge_stripe(const struct worker *worker, unsigned volume, const unsigned char *read, uint64_t start,
                         uint64_t length)
{
    uint64_t offset = stripe_offset(volume, worker->index) + start;
    for (uint64_t i = 0; i < length; i++)
        if (read[i] != worker->stripes[volume][start + i])
            fail("%s: byte %llu read by its only writer is %02x, not %02x (read of %llu at %llu)", volume_names[volume],
                 (unsigned long long)(offset + i), read[i], worker->stripes[volume][start + i],
                 (unsigned long long)length, (unsigned long long)offset);
}

/* Of blocks that the batch does not touch, as a client's reads are that come together with its writes. NULL: not this time. */
static const struct request *stripe_read_beside(struct worker *worker, unsigned volume, struct range range)
{
    for (uint64_t b = range.start / BLOCK; b < ROUND_UP(range.end, (uint64_t)BLOCK) / BLOCK; b++)
        if (worker->touched[b])
            return NULL;
    struct operation *operation = range_is_known(worker, volume, range, true) ? batch_add(&worker->batch, 0) : NULL;
    if (operation == NULL)
        return NULL;
    operation->request->type = REQUEST_READ;
    operation->request->offset = stripe_offset(volume, worker->index) + range.start;
    operation->request->length = range.end - range.start;
    operation->request->data = worker->read;
    return operation->request;
}

static void stripe_batch(struct worker *worker, unsigned volume)
{
    uint64_t count = dice_small(&worker->dice, 16);
    struct range range = {0};
    const struct request *reading = NULL;
    memset(worker->touched, 0, sizeof(worker->touched));
    for (uint64_t i = 0; i < count; i++)
        stripe_change(worker, volume, choose_range(worker, volume));
    if (session_works(worker->session, WORK_GROWS)) {
        range = choose_range(worker, volume);
        reading = stripe_read_beside(worker, volume, range);
    }
    if (chance(worker, 15) && !spares(worker))
        batch_add_flush(&worker->batch);
    run(worker, volume);
    if (reading != NULL && reading->error == ERROR_NONE)
        judge_stripe(worker, volume, worker->read, range.start, range.end - range.start);
}

static void stripe_whole(struct worker *worker, unsigned volume)
{
    uint64_t start = dice_below(&worker->dice, 3 * BLOCK);
    uint64_t cut = chance(worker, 50) ? 0 : dice_below(&worker->dice, 3 * BLOCK);
    memset(worker->touched, 0, sizeof(worker->touched));
    stripe_change(worker, volume, (struct range){start, stripe_blocks(worker) * BLOCK - cut});
    run(worker, volume);
}

static struct range choose_read(struct worker *worker, unsigned volume)
{
    uint64_t count = MIN(worker->written_count[volume], (uint64_t)WRITTEN_RANGES);
    if (chance(worker, 5))
        return (struct range){0, stripe_blocks(worker) * BLOCK};
    if (count != 0 && chance(worker, 60))
        return worker->written[volume][dice_below(&worker->dice, count)];
    return choose_range(worker, volume);
}

static void ignore_answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

/* Each by a request of its own, all in one batch; what came to each. */
static void read_together(struct worker *worker, unsigned volume, uint64_t first, uint64_t count, enum error errors[])
{
    struct request requests[APART_BLOCKS];
    uint64_t moment = session_moment();
    for (uint64_t b = 0; b < count; b++)
        requests[b] = (struct request){.type = REQUEST_READ,
                                       .offset = stripe_offset(volume, worker->index) + (first + b) * BLOCK,
                                       .length = BLOCK,
                                       .data = worker->read + b * BLOCK};
    volume_execute(worker->volumes[volume], requests, count, ignore_answer, NULL);
    for (uint64_t b = 0; b < count; b++) {
        errors[b] = requests[b].error;
        if (succeeds_since(worker->session, errors[b], moment, "read of one block of many"))
            judge_stripe(worker, volume, worker->read + b * BLOCK, (first + b) * BLOCK, BLOCK);
    }
}

/* Of blocks that cannot be read others do not suffer. One that fails with others, and not alone, and with others again, fails
 * for their sake, if in the meantime all that failed was of the kind that lasts; with some luck it is healed, but once only. */
static void stripe_read_apart(struct worker *worker, unsigned volume, struct range range)
{
    struct session *session = worker->session;
    enum error together[APART_BLOCKS], again[APART_BLOCKS];
    bool alone[APART_BLOCKS];
    uint64_t first = range.start / BLOCK, end = ROUND_UP(range.end, (uint64_t)BLOCK) / BLOCK;
    uint64_t count = MIN(end - first, (uint64_t)APART_BLOCKS), moment = session_moment();
    read_together(worker, volume, first, count, together);
    for (uint64_t b = 0; b < count; b++) {
        alone[b] = read_all(session, worker->volumes[volume], stripe_offset(volume, worker->index) + (first + b) * BLOCK,
                            worker->read, BLOCK);
        if (alone[b])
            judge_stripe(worker, volume, worker->read, (first + b) * BLOCK, BLOCK);
    }
    read_together(worker, volume, first, count, again);
    for (uint64_t b = 0; b < count && session_lasts_since(moment) && !atomic_load(&session->over); b++)
        if (together[b] != ERROR_NONE && alone[b] && again[b] != ERROR_NONE)
            fail("%s: block %llu of a stripe can be read alone, and not beside others: %s", volume_names[volume],
                 (unsigned long long)(first + b), error_name(again[b]));
}

static void stripe_read(struct worker *worker, unsigned volume)
{
    struct range range = choose_read(worker, volume);
    uint64_t length = range.end - range.start, offset = stripe_offset(volume, worker->index) + range.start;
    if (!range_is_known(worker, volume, range, true))
        return;
    if (read_all(worker->session, worker->volumes[volume], offset, worker->read, length))
        judge_stripe(worker, volume, worker->read, range.start, length);
    else if (!atomic_load(&worker->session->over))
        stripe_read_apart(worker, volume, range);
}

/* A hole reads as zeros. */
static void stripe_extents(struct worker *worker, unsigned volume)
{
    static const unsigned char zeros[BLOCK];
    struct extent extents[STRIPE_BLOCKS];
    size_t count;
    uint64_t offset = stripe_offset(volume, worker->index), at = 0;
    enum error error = volume_extents(worker->volumes[volume], offset, stripe_blocks(worker) * BLOCK, extents,
                                      stripe_blocks(worker), &count);
    if (!succeeds(worker->session, error, "block status"))
        return;
    for (size_t i = 0; i < count; at += extents[i++].length) {
        if (extents[i].length == 0 || at + extents[i].length > stripe_blocks(worker) * BLOCK)
            fail("%s: block status of %llu bytes at %llu", volume_names[volume], (unsigned long long)extents[i].length,
                 (unsigned long long)(offset + at));
        for (uint64_t b = at; extents[i].hole && b < at + extents[i].length; b += BLOCK)
            if (!worker->unknown[volume][b / BLOCK] && memcmp(worker->stripes[volume] + b, zeros, BLOCK) != 0)
                fail("%s: the block at %llu is told to be a hole", volume_names[volume],
                     (unsigned long long)(offset + b));
    }
}

/* ---- quarters ------------------------------------------------------------------------------------------------------
 */

static uint64_t quarter_offset(const struct worker *worker, unsigned volume, uint64_t block)
{
    return split_offset(worker->session, volume) + block * BLOCK + (uint64_t)worker->index * QUARTER;
}

static bool quarter_is_known(struct worker *worker, unsigned volume, uint64_t block)
{
    bool *unknown = &worker->unknown_quarters[volume][block];
    *unknown = *unknown && !cell_learn(worker->session, worker->volumes[volume],
                                       &worker->session->volumes[volume].split[block][worker->index],
                                       quarter_offset(worker, volume, block), worker->quarters[volume][block], QUARTER);
    return !*unknown;
}

static void quarter_change(struct worker *worker, unsigned volume)
{
    struct session *session = worker->session;
    uint64_t block = dice_below(&worker->dice, OWNED_BLOCKS), start = dice_below(&worker->dice, QUARTER);
    if (!quarter_is_known(worker, volume, block))
        return;
    struct operation *operation = batch_add(&worker->batch, QUARTER);
    operation->cells = &session->volumes[volume].split[block][worker->index];
    operation->count = 1;
    operation->grain = QUARTER;
    operation->offset = quarter_offset(worker, volume, block);
    operation->contents = worker->quarters[volume][block];
    operation->unknown = &worker->unknown_quarters[volume][block];
    if (!operation_has_room(operation, session)) {
        worker->batch.count = 0;
        flush(worker);
        return;
    }
    operation->request->offset = operation->offset + start;
    choose_change(worker, operation->request, operation->contents + start, dice_small(&worker->dice, QUARTER - start));
    operation_prepare(operation, session, operation->contents);
    run(worker, volume);
}

static void quarter_read(struct worker *worker, unsigned volume)
{
    uint64_t block = dice_below(&worker->dice, OWNED_BLOCKS), offset = quarter_offset(worker, volume, block);
    if (!quarter_is_known(worker, volume, block) ||
        !read_all(worker->session, worker->volumes[volume], offset, worker->read, QUARTER))
        return;
    if (memcmp(worker->read, worker->quarters[volume][block], QUARTER) != 0)
        fail("%s: the quarter at %llu is not what its only writer wrote", volume_names[volume],
             (unsigned long long)offset);
}

/* ---- shared blocks -------------------------------------------------------------------------------------------------
 */

/* Hands the versions to the model under the lock, the request to the engine without it. */
static bool shared_begin(struct worker *worker, struct operation *operation, const void *contents)
{
    mutex_lock(worker->shared);
    bool room = operation_has_room(operation, worker->session);
    if (room)
        operation_prepare(operation, worker->session, contents);
    mutex_unlock(worker->shared);
    return room;
}

/* Cells that anybody may write, each of them as a whole. */
static void cells_change(struct worker *worker, unsigned volume, struct cell *cells, uint64_t count, uint64_t grain,
                         uint64_t offset)
{
    struct operation *operation = batch_add(&worker->batch, count * grain);
    operation->cells = cells;
    operation->count = count;
    operation->grain = grain;
    operation->offset = operation->request->offset = offset;
    choose_change(worker, operation->request, worker->read, count * grain);
    if (shared_begin(worker, operation, worker->read)) {
        run(worker, volume);
        return;
    }
    worker->batch.count = 0;
    worker->payload_used = 0;
    flush(worker);
}

/* Under the lock, so that no version is forgotten between the read and its judgement. */
static void cells_read(struct worker *worker, unsigned volume, const struct cell *cells, uint64_t count, uint64_t grain,
                       uint64_t offset)
{
    struct session *session = worker->session;
    mutex_lock(worker->shared);
    uint64_t began = clock_tick(&session->clock);
    if (!read_all(session, worker->volumes[volume], offset, worker->read, count * grain))
        count = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = content_hash(worker->read + i * grain, grain);
        if (cell_reads(&cells[i], began, hash))
            continue;
        cell_print(&cells[i], &session->clock);
        fail("%s: a read begun at %llu of what all write, at %llu, returned %016llx", volume_names[volume],
             (unsigned long long)began, (unsigned long long)(offset + i * grain), (unsigned long long)hash);
    }
    mutex_unlock(worker->shared);
}

static void shared_use(struct worker *worker, unsigned volume, bool change)
{
    struct cell *cells = worker->session->volumes[volume].shared;
    uint64_t first = dice_below(&worker->dice, SHARED_BLOCKS - SHARED_RUN_BLOCKS);
    uint64_t offset = shared_offset(worker->session, volume) + first * BLOCK;
    if (change)
        cells_change(worker, volume, cells + first, dice_small(&worker->dice, SHARED_RUN_BLOCKS), BLOCK, offset);
    else
        cells_read(worker, volume, cells + first, 1, BLOCK, offset);
}

/* The split blocks that nobody owns: some quarters of one, or the block as a whole, which no latch of the writer guards
 * but those of the others. */
static void mixed_use(struct worker *worker, unsigned volume, bool change)
{
    bool crowded = session_works(worker->session, WORK_CROWDS);
    uint64_t blocks = crowded ? CROWDED_BLOCKS : SPLIT_BLOCKS - OWNED_BLOCKS;
    uint64_t block = OWNED_BLOCKS + dice_below(&worker->dice, blocks);
    struct cell *cells = worker->session->volumes[volume].split[block];
    uint64_t offset = split_offset(worker->session, volume) + block * BLOCK;
    uint64_t first = change && chance(worker, 60) ? dice_below(&worker->dice, QUARTERS) : 0;
    uint64_t count = first > 0 || (change && chance(worker, 30)) ? 1 : QUARTERS;
    if (change)
        cells_change(worker, volume, cells + first, count, QUARTER, offset + first * QUARTER);
    else
        cells_read(worker, volume, cells, QUARTERS, QUARTER, offset);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------
 */

static void split_or_shared(struct worker *worker, unsigned volume)
{
    bool change = chance(worker, 70);
    uint64_t choice = dice_below(&worker->dice, 3);
    if (choice == 0 && worker->index < QUARTERS)
        change ? quarter_change(worker, volume) : quarter_read(worker, volume);
    else if (choice == 1)
        mixed_use(worker, volume, change);
    else
        shared_use(worker, volume, change);
}

/* Gives space back, which a pool without a cleaner gets only from segments that died altogether. */
static void make_space(struct worker *worker)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        struct operation probe = {.cells = worker->session->volumes[v].stripes[worker->index],
                                  .count = stripe_blocks(worker)};
        if (operation_has_room(&probe, worker->session))
            stripe_whole(worker, v);
    }
    flush(worker);
    clock_sleep(5 * CLOCK_MILLISECOND);
}

/* Where time costs nothing, what is done by age gets its turn: appends are written that nobody flushed. */
static void rest(struct worker *worker)
{
    if (worker->session->settings.open_device != NULL && chance(worker, 4))
        clock_sleep(dice_below(&worker->dice, 3 * CLOCK_SECOND));
}

static void step(struct worker *worker)
{
    unsigned volume = (unsigned)dice_below(&worker->dice, VOLUMES);
    uint64_t choice = dice_below(&worker->dice, 100);
    if (session_works(worker->session, WORK_CROWDS) && chance(worker, 60))
        mixed_use(worker, volume, chance(worker, 70));
    else if (choice < 50)
        stripe_batch(worker, volume);
    else if (choice < 65)
        stripe_read(worker, volume);
    else if (choice < 92)
        split_or_shared(worker, volume);
    else if (choice < 96 && !spares(worker))
        flush(worker);
    else if (choice < 98)
        stripe_extents(worker, volume);
    else
        stripe_whole(worker, volume);
}

void worker_run(void *argument)
{
    struct worker *worker = argument;
    uint64_t full = atomic_load(&worker->session->full);
    while (!atomic_load(&worker->session->stop) && !atomic_load(&worker->session->over)) {
        rest(worker);
        step(worker);
        if (atomic_load(&worker->session->full) > full && chance(worker, 5))
            make_space(worker);
        full = atomic_load(&worker->session->full);
    }
}
