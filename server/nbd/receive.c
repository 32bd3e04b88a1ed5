/*
 * Receiving a batch: the first half of a request's way.
 *
 *   BATCH_RECEIVE -> batch_run -> reply_send
 *
 * The thread whose turn it is waits for one request and then takes, without waiting, whatever else has
 * arrived. A request that does not fit any more stays in the stream's buffer for the next batch. The payload of a small
 * write is copied out of the buffer; a large one is read straight to its place. A refused write's payload is dropped,
 * so that the stream stays in step.
 *
 * What a slow client can hold on to is its own: a small write is waited for before memory is taken for it, a large one
 * goes in pieces, each with memory and a deadline of its own, and may be evicted from it (payload.h).
 *
 * Two states outlive a batch, both guarded by the turn: `skip`, the payload that is still to be dropped, and
 * `rest`, the part of a large request that has not begun. A crash here loses requests that were never answered.
 */
#include "server/nbd/batch.h"

#include "base/memory.h"

void batch_init(struct batch *batch, struct connection *connection)
{
    batch->connection = connection;
    batch->awaited = 0;
    batch->count = 0;
    batch->ready_count = 0;
    batch->payload = (struct payload_lease){.place = PAYLOAD_NONE};
    batch->payload_used = 0;
    batch->data_bytes = 0;
    batch->is_durable = false;
    batch->sentences_used = 0;
}

static enum stream_wait patience(const struct batch *batch)
{
    return batch->count == 0 ? STREAM_WAIT : STREAM_POLL;
}

static struct slot *slot_fresh(struct batch *batch, const struct command *command)
{
    struct slot *slot = &batch->slots[batch->count];
    slot->command = *command;
    slot->error = ERROR_NONE;
    slot->sentence = NULL;
    slot->data = NULL;
    slot->transfer = NULL;
    slot->transfer_ended = false;
    slot->status = NULL;
    slot->status_size = 0;
    return slot;
}

/* A request that is answered by an error; the payload of a write still has to go by. */
static void add_refused(struct batch *batch, const struct command *command, struct transfer *transfer, enum error error)
    REQUIRES(batch->connection->receive)
{
    struct slot *slot = slot_fresh(batch, command);
    slot->transfer = transfer;
    batch->count++;
    batch_answer(batch, slot, error);
    if (command->type == COMMAND_WRITE)
        batch->connection->skip = command->length;
}

/* Memory for data. The first request of a batch decides what is taken: a batch never waits twice. */
static enum error data_reserve(struct batch *batch, size_t size, bool pieces)
{
    if (batch->payload.place != PAYLOAD_NONE)
        return ERROR_NONE;
    batch->payload_used = 0;
    return payload_get(&batch->connection->payload, size, pieces, &batch->payload);
}

static size_t data_room(const struct batch *batch)
{
    return batch->payload.size - batch->payload_used;
}

static uint8_t *data_place(struct batch *batch, size_t size)
{
    ASSERT(size <= data_room(batch));
    uint8_t *data = batch->payload.data + batch->payload_used;
    batch->payload_used = MIN(batch->payload_used + ROUND_UP(size, PAYLOAD_ALIGNMENT), batch->payload.size);
    batch->data_bytes += size;
    return data;
}

static enum error take_payload(struct batch *batch, struct slot *slot) REQUIRES(batch->connection->receive)
{
    payload_stall_begin(&batch->payload);
    enum error error = stream_take(&batch->connection->stream, slot->data, slot->command.length);
    payload_stall_end(&batch->payload);
    return error;
}

/* A request that will run; memory for its data is reserved. */
static enum error add(struct batch *batch, const struct command *command, struct transfer *transfer)
    REQUIRES(batch->connection->receive)
{
    struct slot *slot = slot_fresh(batch, command);
    slot->transfer = transfer;
    if (command_has_data(command))
        slot->data = data_place(batch, command->length);
    if (command->type == COMMAND_WRITE)
        TRY(take_payload(batch, slot));
    batch->is_durable |= command_is_durable(command);
    batch->count++;
    return ERROR_NONE;
}

/* ---- requests that go in pieces -------------------------------------------------------------------------------- */

static bool may_go_in_pieces(const struct connection *connection, const struct command *command)
{
    return command->type == COMMAND_WRITE || (connection->session.structured && !(command->flags & COMMAND_DF));
}

static enum error rest_begin(struct connection *connection, const struct command *command) REQUIRES(connection->receive)
{
    struct transfer *transfer = memory_zeroed(1, sizeof(*transfer));
    if (!transfer)
        return ERROR_NO_MEMORY;
    transfer->left = command->length;
    connection->rest = transfer;
    connection->rest_command = *command;
    return ERROR_NONE;
}

/* Without memory for the next piece, or behind one that failed, all that is left is refused at once. */
static void rest_refuse(struct batch *batch, enum error error) REQUIRES(batch->connection->receive)
{
    struct connection *connection = batch->connection;
    add_refused(batch, &connection->rest_command, connection->rest, error);
    connection->rest = NULL;
}

/* The next piece. It counts as begun only when its payload is here: what never begins is freed with the connection. */
static enum error rest_continue(struct batch *batch) REQUIRES(batch->connection->receive)
{
    struct connection *connection = batch->connection;
    struct command piece = connection->rest_command;
    enum error error = atomic_load(&connection->rest->error);
    if (error == ERROR_NONE)
        error = data_reserve(batch, piece.length, true);
    if (error != ERROR_NONE) {
        rest_refuse(batch, error);
        return ERROR_NONE;
    }
    piece.length = (uint32_t)MIN(piece.length, MIN(data_room(batch), BATCH_BYTES_MAX));
    TRY(add(batch, &piece, connection->rest));
    connection->rest_command.offset += piece.length;
    connection->rest_command.length -= piece.length;
    if (connection->rest_command.length == 0)
        connection->rest = NULL;
    return ERROR_NONE;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

/* A client may be silent for as long as it likes, but not inside a request. */
static enum error need_header(struct batch *batch) REQUIRES(batch->connection->receive)
{
    struct connection *connection = batch->connection;
    enum error error;
    do
        error = stream_need(&connection->stream, sizeof(struct wire_request), patience(batch));
    while (error == ERROR_TIMED_OUT && stream_buffered(&connection->stream) == 0 &&
           !atomic_load_explicit(&connection->ended, memory_order_relaxed));
    return error;
}

/* Is there room for the request in this batch, and its payload at hand? ERROR_AGAIN leaves it to the next batch. A
 * small payload is waited for before memory is taken for it: a client that stops inside one holds nothing but its own.
 */
static enum error need_room(struct batch *batch, const struct command *command) REQUIRES(batch->connection->receive)
{
    if (!command_has_data(command))
        return ERROR_NONE;
    if (batch->count > 0 && batch->data_bytes + command->length > BATCH_BYTES_MAX)
        return ERROR_AGAIN;
    if (batch->payload.place != PAYLOAD_NONE && command->length > data_room(batch))
        return ERROR_AGAIN;
    if (command->type != COMMAND_WRITE)
        return ERROR_NONE;
    size_t size = sizeof(struct wire_request) + command->length;
    if (size > STREAM_BUFFER_SIZE)
        return batch->count > 0 ? ERROR_AGAIN : ERROR_NONE;
    return stream_need(&batch->connection->stream, size, patience(batch));
}

static void consume_header(struct batch *batch) REQUIRES(batch->connection->receive)
{
    batch->connection->stream.start += sizeof(struct wire_request);
}

static enum error begin_with_data(struct batch *batch, const struct command *command)
    REQUIRES(batch->connection->receive)
{
    bool pieces = may_go_in_pieces(batch->connection, command);
    enum error error = data_reserve(batch, command->length, pieces);
    if (error == ERROR_NONE && (!pieces || command->length <= MIN(data_room(batch), BATCH_BYTES_MAX)))
        return add(batch, command, NULL);
    if (error == ERROR_NONE)
        error = rest_begin(batch->connection, command);
    if (error == ERROR_NONE)
        return rest_continue(batch);
    add_refused(batch, command, NULL, error);
    return ERROR_NONE;
}

static enum error take_request(struct batch *batch) REQUIRES(batch->connection->receive)
{
    struct connection *connection = batch->connection;
    struct command command;
    TRY(need_header(batch));
    TRY(command_decode(connection->stream.data + connection->stream.start, &command));
    if (command.type == COMMAND_DISCONNECT) {
        consume_header(batch);
        return ERROR_CLOSED;
    }
    enum error error = command_check(&command, &connection->session, volume_size(connection->session.volume));
    if (error != ERROR_NONE) {
        consume_header(batch);
        add_refused(batch, &command, NULL, error);
        return ERROR_NONE;
    }
    TRY(need_room(batch, &command));
    consume_header(batch);
    return command_has_data(&command) ? begin_with_data(batch, &command) : add(batch, &command, NULL);
}

static enum error take_next(struct batch *batch) REQUIRES(batch->connection->receive)
{
    struct connection *connection = batch->connection;
    if (connection->skip > 0)
        TRY(stream_skip(&connection->stream, &connection->skip, patience(batch)));
    if (connection->rest && batch->count > 0)
        return ERROR_AGAIN;
    return connection->rest ? rest_continue(batch) : take_request(batch);
}

enum error batch_receive(struct batch *batch)
{
    enum error error = ERROR_NONE;
    batch->awaited = batch->connection->stream.emptied;
    while (error == ERROR_NONE && batch->count < BATCH_REQUESTS_MAX && batch->data_bytes < BATCH_BYTES_MAX)
        error = take_next(batch);
    return error == ERROR_AGAIN ? ERROR_NONE : error;
}
