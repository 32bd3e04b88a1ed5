/*
 * An NBD export, as a driver of the workload: a connection for each thread, with its share of the depth always in
 * flight. Each slot holds one request and its buffer; libnbd's completion returns the slot and the loop sends the next
 * request from it. A flush goes out beside the writes in flight, as fio's does: it covers what was answered before.
 *
 * Locks: none; a connection is used by its thread alone.
 */
#include "bench/runs.h"

#include <errno.h>
#include <stdlib.h>

#include <libnbd.h>

#include "base/memory.h"
#include "base/message.h"

struct client {
    struct nbd_handle *connection; /* of the closing flush */
    const char *uri;
};

struct slot {
    struct lane *lane;
    struct operation operation;
};

struct lane {
    struct workload *workload;
    struct nbd_handle *connection;
    struct slot *slots;
    struct slot **free;
    size_t free_count, capacity;
};

static enum error nbd_failed(const char *what)
{
    const char *text = nbd_get_error();
    int number = nbd_get_errno();
    return error_explain(number == ENOSPC ? ERROR_NO_SPACE : ERROR_IO, "%s: %s", what, text ? text : "failed");
}

static enum error connection_open(const char *uri, struct nbd_handle **connection)
{
    struct nbd_handle *made = nbd_create();
    if (!made)
        return nbd_failed("libnbd");
    if (nbd_connect_uri(made, uri) == 0) {
        *connection = made;
        return ERROR_NONE;
    }
    enum error error = nbd_failed(uri);
    nbd_close(made);
    return error;
}

static void connection_close(struct nbd_handle *connection)
{
    if (!connection)
        return;
    nbd_shutdown(connection, 0);
    nbd_close(connection);
}

static int request_completed(void *context, int *error)
{
    struct slot *slot = context;
    struct lane *lane = slot->lane;
    enum error told = ERROR_NONE;
    if (*error)
        told = error_from_errno(*error, "the server answered a request at %llu",
                                (unsigned long long)slot->operation.offset);
    workload_done(lane->workload, &slot->operation, told);
    lane->free[lane->free_count++] = slot;
    return 1;
}

static enum error request_send(struct nbd_handle *connection, struct slot *slot)
{
    nbd_completion_callback completion = {.callback = request_completed, .user_data = slot};
    struct operation *operation = &slot->operation;
    int64_t cookie = -1;
    switch (operation->kind) {
    case OPERATION_READ:
        cookie = nbd_aio_pread(connection, operation->data, operation->length, operation->offset, completion, 0);
        break;
    case OPERATION_WRITE:
        cookie = nbd_aio_pwrite(connection, operation->data, operation->length, operation->offset, completion, 0);
        break;
    case OPERATION_FLUSH:
        cookie = nbd_aio_flush(connection, completion, 0);
        break;
    default:
        break;
    }
    return cookie < 0 ? nbd_failed("a request") : ERROR_NONE;
}

/* Sends from every free slot while there is work. */
static void lane_fill(struct lane *lane)
{
    while (lane->free_count) {
        struct slot *slot = lane->free[lane->free_count - 1];
        if (!workload_next(lane->workload, &slot->operation))
            return;
        lane->free_count--;
        enum error error = request_send(lane->connection, slot);
        if (error) {
            lane->free[lane->free_count++] = slot;
            workload_fail(lane->workload, error);
        }
    }
}

static enum error lane_init(struct lane *lane, struct workload *workload, uint8_t *buffers, size_t stride)
{
    struct client *client = workload->driver;
    lane->workload = workload;
    lane->slots = memory_zeroed(lane->capacity, sizeof *lane->slots);
    lane->free = memory_zeroed(lane->capacity, sizeof *lane->free);
    if (!lane->slots || !lane->free)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < lane->capacity; i++) {
        lane->slots[i].lane = lane;
        lane->slots[i].operation.data = buffers + i * stride;
        lane->free[lane->free_count++] = &lane->slots[i];
    }
    return connection_open(client->uri, &lane->connection);
}

static void nbd_loop(struct workload *workload)
{
    struct lane lane = {.capacity = options_thread_depth(workload->options)};
    size_t stride;
    AUTO_FREE uint8_t *buffers = workload_buffers(workload->options, lane.capacity, &stride);
    enum error error = buffers ? lane_init(&lane, workload, buffers, stride) : ERROR_NO_MEMORY;
    if (error)
        workload_fail(workload, error);
    else
        lane_fill(&lane);
    while (!error && lane.free_count < lane.capacity) {
        if (nbd_poll(lane.connection, -1) < 0) {
            workload_fail(workload, nbd_failed("the connection"));
            break;
        }
        lane_fill(&lane);
    }
    connection_close(lane.connection);
    free(lane.slots);
    free(lane.free);
}

static enum error nbd_flush_all(void *driver)
{
    struct client *client = driver;
    if (nbd_can_flush(client->connection) != 1)
        return ERROR_NONE;
    return nbd_flush(client->connection, 0) == 0 ? ERROR_NONE : nbd_failed("the closing flush");
}

static enum error nbd_measure(struct bench_options *options, struct client *client, struct measure *measure)
{
    static const struct driver driver = {nbd_loop, nbd_flush_all};
    int64_t size = nbd_get_size(client->connection);
    if (size < 0)
        return nbd_failed(client->uri);
    options->size = MIN(options->size, ROUND_DOWN((uint64_t)size, COFFER_BLOCK));
    if (options->size < options->threads * options->block_size)
        return error_explain(ERROR_OUT_OF_RANGE, "%s is smaller than a block for each thread", client->uri);
    bool writes = options->read_percent < 100 || options_prepare_kind(options) != PREPARE_NONE;
    if (writes && nbd_is_read_only(client->connection) == 1)
        return error_explain(ERROR_READ_ONLY, "%s is read-only: use --read", client->uri);
    if (options->threads > 1 && writes && nbd_can_multi_conn(client->connection) != 1)
        message(MESSAGE_WARNING, "the server does not promise multi-conn: the flush may not cover all connections");
    if (options_prepare_kind(options) != PREPARE_NONE) {
        struct bench_options prepare;
        struct measure ignored;
        options_prepare(options, &prepare);
        message(MESSAGE_INFO, "filling the export first");
        TRY(workload_run(&prepare, 1, &driver, client, &ignored));
    }
    return workload_run(options, 2, &driver, client, measure);
}

enum error nbd_run(struct bench_options *options, struct measure *measure)
{
    struct client client = {.uri = options->subject};
    TRY(connection_open(client.uri, &client.connection));
    enum error error = nbd_measure(options, &client, measure);
    connection_close(client.connection);
    return error;
}
