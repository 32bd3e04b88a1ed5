/*
 * A batch: the requests that one thread took from a socket together, carried to their answers.
 *
 *   batch_receive()   drains the socket, checks, brings payloads to their place     in the thread's turn
 *   batch_run()       runs what may run, durable requests last                       under no lock
 *   reply_send()      gathers the answers into one write                             under the send lock
 *
 * A batch belongs to one thread.
 */
#ifndef COFFER_SERVER_NBD_BATCH_H
#define COFFER_SERVER_NBD_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/coffer.h"
#include "server/nbd/command.h"
#include "server/nbd/connection.h"
#include "server/nbd/protocol.h"

#define BATCH_SENTENCES_SIZE 2048 /* of a batch's errors; further ones go without a sentence */

/* One request of a batch, and its answer. */
struct slot {
    struct command command;
    enum error error;
    const char *sentence;        /* NULL: none */
    uint8_t *data;               /* read and write: in the batch's payload */
    struct transfer *transfer;   /* NULL, or the request of which this is a piece */
    bool transfer_ended;         /* it was the last one */
    uint8_t *status; /* the whole answer to a block status; of the heap */
    size_t status_size;
    union {
        struct wire_simple_reply simple;
        struct wire_chunk_data data;
        struct wire_chunk_error error;
    } wire;
};

struct batch {
    struct connection *connection;
    uint64_t awaited; /* by clock_monotonic(): when the client was last known to wait for all of it, or had not sent it yet */
    size_t count;
    struct slot slots[BATCH_REQUESTS_MAX];
    size_t ready_count; /* complete, not yet sent */
    struct slot *ready[BATCH_REQUESTS_MAX];
    struct payload_lease payload; /* none until a request has data */
    size_t payload_used;
    size_t data_bytes; /* of reads and writes */
    bool is_durable;   /* some request reaches the disk before its answer */
    size_t sentences_used;
    char sentences[BATCH_SENTENCES_SIZE];
};

void batch_init(struct batch *batch, struct connection *connection);

/* Takes what has arrived, up to the limits of a batch; waits only for the first request. With an error no more
 * requests will come, and what was taken before (batch->count) is still to be run. */
enum error batch_receive(struct batch *batch) REQUIRES(batch->connection->receive) CHECKED;

/* Runs and answers; the batch is empty again afterwards. Returns the nanoseconds spent in the engine. Of a connection
 * that is broken nothing runs any more; of one whose client has left nothing that had to wait. */
uint64_t batch_run(struct batch *batch);

/* Notes that a slot is complete, with its error and the sentence that this thread kept for it. */
void batch_answer(struct batch *batch, struct slot *slot, enum error error);

/* Sends what is ready. A client that does not take it breaks its connection. */
void reply_send(struct batch *batch);

#endif
