/*
 * A connection's threads: leader and followers. The thread whose turn it is drains the socket into a batch, gives the
 * turn away, runs the batch to its end and answers, then queues for the turn again.
 *
 * One thread suffices while the engine answers at once, and hand-overs cost more than they bring: measured with an
 * empty engine at depth 32, they took a third of the throughput. So the turn is handed on only where the engine has
 * been slow of late, or is about to write something durably; and another thread is started only where requests had to
 * wait for one, or for the first durable batch, so that no read ever waits for a flush.
 *
 * The first thread makes the handshake, joins the others at the end and closes the volume. `ended` only ever becomes
 * true. A crash here loses requests that were not answered.
 */
#include "server/nbd/connection.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "server/nbd/batch.h"

#define SLOW_NANOSECONDS (CLOCK_MILLISECOND / 10) /* in the engine: worth a hand-over, which costs a tenth of it */
#define AVERAGE_OF       8                        /* batches: one that was only unlucky does not count */

/* To the socket this end looks like the client's: so it is asked before. */
void connection_end(struct connection *connection)
{
    if (!stream_is_ended(&connection->stream))
        atomic_store(&connection->stopped, true);
    atomic_store(&connection->ended, true);
    shutdown(connection->socket, SHUT_RD);
}

void connection_break(struct connection *connection)
{
    atomic_store(&connection->ended, true);
    atomic_store(&connection->broken, true);
    shutdown(connection->socket, SHUT_RDWR);
}

static void connection_evict(void *context)
{
    struct connection *connection = context;
    atomic_store(&connection->evicted, true);
    connection_break(connection);
}

/* ---- transmission ---------------------------------------------------------------------------------------------- */

static bool inside_request(struct connection *connection) REQUIRES(connection->receive)
{
    return stream_buffered(&connection->stream) > 0 || connection->skip > 0 || connection->rest;
}

static void end_receiving(struct connection *connection, enum error error) REQUIRES(connection->receive)
{
    bool asked = atomic_exchange(&connection->ended, true);
    if (asked)
        return;
    if (error == ERROR_CLOSED && inside_request(connection))
        message(MESSAGE_INFO, "NBD connection %u: the client left in the middle of a request", connection->number);
    else if (error == ERROR_TIMED_OUT)
        message(MESSAGE_WARNING, "NBD connection %u: the client stopped in the middle of a request: dropped",
                connection->number);
    else if (error != ERROR_CLOSED)
        message(MESSAGE_WARNING, "NBD connection %u: %s: dropped", connection->number, error_sentence(error));
}

static void follow(void *argument);

static void grow(struct connection *connection) REQUIRES(connection->receive)
{
    struct thread *thread = &connection->threads[connection->thread_count];
    if (connection->thread_count < COUNT_OF(connection->threads) &&
        thread_start(thread, "nbd", follow, connection) == ERROR_NONE)
        connection->thread_count++;
}

static bool is_slow(const struct connection *connection)
{
    return atomic_load_explicit(&connection->engine_average, memory_order_relaxed) >= SLOW_NANOSECONDS;
}

/* Did requests wait because every thread was in the engine? */
static bool kept_waiting(struct connection *connection) REQUIRES(connection->receive)
{
    return is_slow(connection) && turn_is_unwanted(&connection->receive) &&
           stream_need(&connection->stream, 1, STREAM_POLL) == ERROR_NONE;
}

/* Takes the next batch; false when the connection has ended. */
static bool lead(struct batch *batch)
{
    turn_take(&batch->connection->receive);
    bool goes_on = !atomic_load(&batch->connection->ended);
    if (goes_on) {
        if (kept_waiting(batch->connection))
            grow(batch->connection);
        error_forget();
        enum error error = batch_receive(batch);
        if (error != ERROR_NONE)
            end_receiving(batch->connection, error);
        if (batch->is_durable && turn_is_unwanted(&batch->connection->receive))
            grow(batch->connection);
    }
    turn_give(&batch->connection->receive, !goes_on || batch->is_durable || is_slow(batch->connection));
    return goes_on;
}

static void note_engine_time(struct connection *connection, uint64_t nanoseconds)
{
    uint64_t average = atomic_load_explicit(&connection->engine_average, memory_order_relaxed);
    average = average - average / AVERAGE_OF + nanoseconds / AVERAGE_OF;
    atomic_store_explicit(&connection->engine_average, average, memory_order_relaxed);
}

static void follow(void *argument)
{
    struct connection *connection = argument;
    struct batch batch;
    batch_init(&batch, connection);
    while (lead(&batch))
        note_engine_time(connection, batch_run(&batch));
}

/* No thread is started any more: `ended` was seen by who had the turn. */
static void join_followers(struct connection *connection)
{
    turn_take(&connection->receive);
    unsigned count = connection->thread_count;
    turn_give(&connection->receive, true);
    for (unsigned i = 0; i < count; i++)
        thread_join(&connection->threads[i]);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void complain_handshake(const struct connection *connection, enum error error)
{
    if (error == ERROR_TIMED_OUT)
        message(MESSAGE_WARNING, "NBD connection %u: the handshake took too long: dropped", connection->number);
    else if (error != ERROR_CLOSED)
        message(MESSAGE_WARNING, "NBD connection %u: %s: dropped", connection->number, error_sentence(error));
}

/* The volume is closed last: once all are, the pool can be locked, and no buffer may hold contents of it then. */
static void transmit(struct connection *connection)
{
    payload_join(connection->terms->payload, &connection->payload, connection_evict, connection);
    follow(connection);
    join_followers(connection);
    if (atomic_load(&connection->evicted))
        message(MESSAGE_WARNING, "NBD connection %u: the client made others wait for memory: dropped",
                connection->number);
    turn_take(&connection->receive);
    free(connection->rest);
    connection->rest = NULL;
    stream_wipe(&connection->stream);
    turn_give(&connection->receive, true);
    payload_leave(&connection->payload);
    session_close(&connection->session);
}

static void connection_run(void *argument)
{
    struct connection *connection = argument;
    struct handshake_terms terms = {
        .pool = connection->terms->pool,
        .read_only = connection->terms->read_only,
        .deadline = clock_monotonic() + connection->terms->handshake_nanoseconds,
        .refusal = connection->refusal,
    };
    enum error error = handshake_run(&terms, connection->socket, &connection->session);
    if (error == ERROR_NONE)
        transmit(connection);
    else
        complain_handshake(connection, error);
    shutdown(connection->socket, SHUT_RDWR);
    connection->finished(connection, connection->finished_context);
}

static void release(struct connection *connection)
{
    stream_deinit(&connection->stream);
    mutex_deinit(&connection->send);
    turn_deinit(&connection->receive);
    free(connection);
}

enum error connection_start(const struct connection_terms *terms, int socket, unsigned number, const char *refusal,
                            void (*finished)(struct connection *, void *), void *context,
                            struct connection **connection)
{
    struct connection *new = memory_zeroed(1, sizeof(*new));
    if (!new) {
        close(socket);
        return ERROR_NO_MEMORY;
    }
    new->terms = terms;
    new->number = number;
    new->socket = socket;
    new->refusal = refusal;
    new->finished = finished;
    new->finished_context = context;
    turn_init(&new->receive);
    mutex_init(&new->send, RANK_SERVER);
    enum error error = stream_init(&new->stream, socket, terms->idle_nanoseconds);
    if (error == ERROR_NONE)
        error = thread_start(&new->first, "nbd", connection_run, new);
    if (error != ERROR_NONE) {
        close(socket);
        release(new);
        return error;
    }
    *connection = new;
    return ERROR_NONE;
}

bool connection_is_leaving(const struct connection *connection)
{
    return atomic_load_explicit(&connection->ended, memory_order_relaxed) || stream_is_ended(&connection->stream);
}

bool connection_awaits(const struct connection *connection)
{
    bool gone = !atomic_load(&connection->stopped) && stream_is_ended(&connection->stream);
    return !gone && !atomic_load(&connection->broken);
}

void connection_destroy(struct connection *connection)
{
    thread_join(&connection->first);
    close(connection->socket);
    release(connection);
}
