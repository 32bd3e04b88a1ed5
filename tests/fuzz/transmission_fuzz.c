/*
 * The transmission phase alone, without threads and sockets (wire.h): requests of a client, received, run and answered
 * batch by batch. The first byte says how: bit 0: structured replies; bit 1: base:allocation and coffer:changed; bit 2: read-only; the
 * rest: in pieces of so many times 7 bytes. Magics are given (each request of 28 bytes has one that is good, unless its
 * first byte is 0xff), since without one nothing behind it is looked at. With structured replies what the server says
 * is whole replies. Sentences of refusals, a third of an execution, are left out (--wrap): handshake_fuzz has them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "server/nbd/batch.h"
#include "server/nbd/nbd.h"
#include "tests/fuzz/wire.h"
#include "tests/unit/nbd_engine.h"

#define DISK_SIZE (BATCH_BYTES_MAX + (64u << 10)) /* room for a request that goes in pieces */

static struct pool *pool;
static struct payload_pool payload;
static struct payload_user other; /* while somebody uses it, the pool keeps its blocks, which are large */
static struct connection_terms terms;
static struct connection connection;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_error_explain(enum error error, const char *format, ...) PRINTF(2, 3);
enum error __wrap_error_prefix(enum error error, const char *format, ...) PRINTF(2, 3);

enum error __wrap_error_explain(enum error error, const char *format, ...)
{
    (void)format;
    return error;
}

enum error __wrap_error_prefix(enum error error, const char *format, ...)
{
    (void)format;
    return error;
}

static void evict(void *context)
{
    (void)context;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    message_level_set(MESSAGE_ERROR);
    pool = nbd_engine_create();
    nbd_engine_add(pool, "disk", DISK_SIZE, false);
    nbd_engine_add(pool, "disk@s1", DISK_SIZE, false);
    nbd_engine_empty(pool, true);
    payload_init(&payload, NBD_PAYLOAD_BYTES_DEFAULT, 1, 1);
    payload_join(&payload, &other, evict, NULL);
    terms = (struct connection_terms){.pool = pool, .payload = &payload};
    connection.terms = &terms;
    connection.socket = -1;
    turn_init(&connection.receive);
    mutex_init(&connection.send, RANK_SERVER);
    connection.stream =
        (struct stream){.socket = -1, .idle = UINT64_C(1) << 60, .data = memory_aligned(STREAM_BUFFER_SIZE)};
    ASSERT(connection.stream.data != NULL);
    return 0;
}

static void check_said(void)
{
    size_t size;
    const uint8_t *said = wire_said(&size);
    for (size_t at = 0; at < size && size < WIRE_SAID_MAX;) {
        struct wire_chunk chunk;
        be32 magic;
        ASSERT(size - at >= sizeof(struct wire_simple_reply));
        memcpy(&magic, said + at, sizeof magic);
        if (be32_get(magic) == SIMPLE_REPLY_MAGIC) {
            at += sizeof(struct wire_simple_reply);
            continue;
        }
        ASSERT(be32_get(magic) == STRUCTURED_REPLY_MAGIC && size - at >= sizeof chunk);
        memcpy(&chunk, said + at, sizeof chunk);
        ASSERT(be32_get(chunk.length) <= size - at - sizeof chunk);
        at += sizeof chunk + be32_get(chunk.length);
    }
}

/* As a connection's only thread does it. */
static void follow(void)
{
    static struct batch batch;
    enum error error;
    batch_init(&batch, &connection);
    do {
        turn_take(&batch.connection->receive);
        error_forget();
        error = batch_receive(&batch);
        turn_give(&batch.connection->receive, true);
        (void)batch_run(&batch);
    } while (error == ERROR_NONE);
}

static void converse(uint8_t how, const uint8_t *said, size_t size)
{
    connection.session = (struct session){.read_only = how & 4, .structured = how & 1, .allocation = (how & 3) == 3};
    ASSERT(volume_open(pool, "disk", how & 4, &connection.session.volume) == ERROR_NONE);
    if (connection.session.allocation)
        ASSERT(volume_open(pool, "disk@s1", true, &connection.session.bases[connection.session.base_count++]) == ERROR_NONE);
    atomic_store(&connection.ended, false);
    atomic_store(&connection.broken, false);
    payload_join(&payload, &connection.payload, evict, NULL);
    wire_begin(said, size, (size_t)(how >> 3) * 7);
    follow();
    turn_take(&connection.receive);
    free(connection.rest);
    connection.rest = NULL;
    connection.skip = 0;
    connection.stream.start = connection.stream.end = 0;
    turn_give(&connection.receive, true);
    payload_leave(&connection.payload);
    session_close(&connection.session);
    if (how & 1)
        check_said();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    be32 magic = be32_make(REQUEST_MAGIC);
    uint8_t *said = size > 0 ? malloc(size) : NULL;
    if (said == NULL)
        return 0;
    memcpy(said, data + 1, size - 1);
    for (size_t at = 0; at + sizeof(struct wire_request) < size;) {
        struct wire_request request;
        if (said[at] != 0xff)
            memcpy(said + at, &magic, sizeof magic);
        memcpy(&request, said + at, sizeof request);
        at += sizeof request;
        if (be16_get(request.type) == COMMAND_WRITE)
            at += MIN(be32_get(request.length), (uint32_t)size);
    }
    converse(data[0], said, size - 1);
    free(said);
    return 0;
}
