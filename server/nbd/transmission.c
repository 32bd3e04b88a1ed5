/*
 * Running a batch: the second half of a request's way.
 *
 *   batch_receive -> BATCH_RUN -> reply_send
 *
 * What need not be durable runs first and is answered first; what must reach the disk before its answer (FUA, flush)
 * follows in a second run, flushes at its end, so that no read waits for somebody's flush; what is only read ahead
 * comes last. The protocol gives requests in flight no order, so this changes nothing that a client may rely on; and a
 * flush still covers all that its own batch answered before it.
 *
 * A request is a few bytes, and what it asks for may be gigabytes: what a client can make the engine do is bounded for
 * each batch, and looked at again between the steps of it, for a client may have left meanwhile.
 *
 * A write that waits is not wanted any more once its client has left: the client may have sent it again on another
 * connection, and newer data behind it, which the older must not overwrite. It may wait in the engine, which asks, for
 * a merge or for space; but also in the socket while all threads are in the engine, or here, for what runs before it.
 * So each run asks first, where the client was not known to be there a moment ago. On a Unix socket the end is seen at
 * once; over TCP only when word of it has come.
 *
 * No locks are held while the engine works. What was answered and not flushed may be lost by a crash, as the export's
 * flags say.
 */
#include "server/nbd/batch.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/nbd/block_status.h"
#include "server/nbd/no_space.h"

#define CACHE_BYTES_MAX (32u << 20) /* read ahead for one batch: as much as a read may ask for */
#define AWAITED_FOR     (10 * CLOCK_MILLISECOND) /* without being asked: no client gives up so soon, and most never are */

static void keep_sentence(struct batch *batch, struct slot *slot)
{
    const char *sentence = error_sentence(slot->error);
    size_t size = strlen(sentence) + 1;
    if (size > sizeof(batch->sentences) - batch->sentences_used)
        return;
    slot->sentence = memcpy(batch->sentences + batch->sentences_used, sentence, size);
    batch->sentences_used += size;
}

void batch_answer(struct batch *batch, struct slot *slot, enum error error)
{
    slot->error = error;
    if (error != ERROR_NONE)
        keep_sentence(batch, slot);
    batch->ready[batch->ready_count++] = slot;
}

/* ---- the engine ------------------------------------------------------------------------------------------------ */

static enum request_type request_type(uint16_t command)
{
    switch (command) {
    case COMMAND_READ:
        return REQUEST_READ;
    case COMMAND_WRITE:
        return REQUEST_WRITE;
    case COMMAND_TRIM:
        return REQUEST_TRIM;
    case COMMAND_CACHE:
        return REQUEST_CACHE;
    case COMMAND_WRITE_ZEROES:
        return REQUEST_ZERO;
    default:
        ASSERT(command == COMMAND_FLUSH);
        return REQUEST_FLUSH;
    }
}

static struct request request_of(struct slot *slot)
{
    const struct command *command = &slot->command;
    return (struct request){
        .type = request_type(command->type),
        .flags = command_is_fua(command) ? REQUEST_FUA : 0,
        .offset = command->offset,
        .length = command->length,
        .data = slot->data,
        .context = slot,
    };
}

static void answered(struct request *request, void *context)
{
    if (error_class(request->error) == ERROR_CLASS_NO_SPACE)
        no_space_tell(clock_monotonic());
    batch_answer(context, request->context, request->error);
}

static bool is_wanted(void *context)
{
    const struct batch *batch = context;
    return connection_awaits(batch->connection);
}

/* Asked once for both runs where the first is quick. */
static bool may_run(struct batch *batch, uint64_t now)
{
    if (atomic_load(&batch->connection->broken))
        return false;
    if (now - batch->awaited < AWAITED_FOR)
        return true;
    if (!connection_awaits(batch->connection))
        return false;
    batch->awaited = now;
    return true;
}

static uint64_t execute(struct batch *batch, struct request *requests, size_t count)
{
    if (count == 0)
        return 0;
    uint64_t start = clock_monotonic();
    if (!may_run(batch, start)) {
        for (size_t i = 0; i < count; i++)
            batch_answer(batch, requests[i].context, ERROR_CLOSED);
        return 0;
    }
    size_t ready_before = batch->ready_count;
    volume_execute_while(batch->connection->session.volume, requests, count, answered, is_wanted, batch);
    ASSERT(batch->ready_count - ready_before == count);
    return clock_monotonic() - start;
}

/* By one of the two runs; block status and reading ahead have their own. */
static bool is_executed(const struct slot *slot)
{
    return slot->error == ERROR_NONE && slot->command.type != COMMAND_BLOCK_STATUS &&
           slot->command.type != COMMAND_CACHE;
}

static void run_status(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct slot *slot = &batch->slots[i];
        if (slot->error == ERROR_NONE && slot->command.type == COMMAND_BLOCK_STATUS)
            batch_answer(batch, slot, block_status_read(batch->connection, slot));
    }
}

static uint64_t run_plain(struct batch *batch)
{
    struct request requests[BATCH_REQUESTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (is_executed(&batch->slots[i]) && !command_is_durable(&batch->slots[i].command))
            requests[count++] = request_of(&batch->slots[i]);
    return execute(batch, requests, count);
}

static size_t durable_collect(struct batch *batch, bool flushes, struct request *requests)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct slot *slot = &batch->slots[i];
        if (is_executed(slot) && command_is_durable(&slot->command) &&
            (slot->command.type == COMMAND_FLUSH) == flushes)
            requests[count++] = request_of(slot);
    }
    return count;
}

/* ---- reading ahead --------------------------------------------------------------------------------------------- */

static void piece_answered(struct request *request, void *context)
{
    (void)request;
    (void)context;
}

/* In pieces of a batch, taken off the batch's `budget`; what is beyond it is left alone. */
static enum error cache_run(struct connection *connection, const struct command *command, uint64_t *budget)
{
    uint64_t wanted = MIN(command->length, *budget);
    *budget -= wanted;
    for (uint64_t done = 0; done < wanted && !connection_is_leaving(connection);) {
        struct request piece = {
            .type = REQUEST_CACHE,
            .offset = command->offset + done,
            .length = MIN(wanted - done, BATCH_BYTES_MAX),
        };
        volume_execute(connection->session.volume, &piece, 1, piece_answered, NULL);
        TRY(piece.error);
        done += piece.length;
    }
    return ERROR_NONE;
}

static uint64_t run_cache(struct batch *batch)
{
    uint64_t budget = CACHE_BYTES_MAX, start = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct slot *slot = &batch->slots[i];
        if (slot->error != ERROR_NONE || slot->command.type != COMMAND_CACHE)
            continue;
        if (start == 0)
            start = clock_monotonic();
        batch_answer(batch, slot, cache_run(batch->connection, &slot->command, &budget));
    }
    return start == 0 ? 0 : clock_monotonic() - start;
}

/* ---- the batch ------------------------------------------------------------------------------------------------- */

static void batch_release(struct batch *batch)
{
    payload_put(&batch->payload);
    batch_init(batch, batch->connection);
}

uint64_t batch_run(struct batch *batch)
{
    /* Collected before anything runs: a slot that failed in the first run is not to run again in the second. */
    struct request durable[BATCH_REQUESTS_MAX];
    size_t durable_count = durable_collect(batch, false, durable);
    durable_count += durable_collect(batch, true, durable + durable_count);
    error_forget();
    run_status(batch);
    uint64_t nanoseconds = run_plain(batch);
    reply_send(batch);
    nanoseconds += execute(batch, durable, durable_count);
    reply_send(batch);
    nanoseconds += run_cache(batch);
    reply_send(batch);
    batch_release(batch);
    return nanoseconds;
}
