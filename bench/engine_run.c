/*
 * The engine in this process, as a driver of the workload.
 *
 * A thread hands volume_execute() a batch, waits for its end and makes the next: what a connection's thread does with
 * the requests that it finds in its socket. A flush ends its batch. Latency is told by the answer, not by the end of
 * the batch.
 *
 * Where there is something to prepare, the pool is closed and opened afterwards: no cache holds what the measured reads
 * ask for, and the maps are in the trees.
 */
#include "bench/runs.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "bench/opened.h"

struct engine {
    struct opened opened;
    struct volume *volume;
};

struct batch {
    struct workload *workload;
    struct operation operations[BATCH_REQUESTS_MAX];
    struct request requests[BATCH_REQUESTS_MAX];
};

static void request_prepare(struct request *request, struct operation *operation)
{
    static const enum request_type types[] = {
        [OPERATION_READ] = REQUEST_READ, [OPERATION_WRITE] = REQUEST_WRITE, [OPERATION_FLUSH] = REQUEST_FLUSH};
    *request = (struct request){.type = types[operation->kind],
                                .offset = operation->offset,
                                .length = operation->length,
                                .data = operation->data,
                                .context = operation};
}

static void request_answered(struct request *request, void *context)
{
    struct batch *batch = context;
    workload_done(batch->workload, request->context, request->error);
}

static size_t batch_gather(struct batch *batch, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && workload_next(batch->workload, &batch->operations[count])) {
        request_prepare(&batch->requests[count], &batch->operations[count]);
        if (batch->operations[count++].kind == OPERATION_FLUSH)
            break;
    }
    return count;
}

static void engine_loop(struct workload *workload)
{
    struct engine *engine = workload->driver;
    size_t capacity = options_batch_requests(workload->options), stride, count;
    AUTO_FREE uint8_t *buffers = workload_buffers(workload->options, capacity, &stride);
    AUTO_FREE struct batch *batch = memory_zeroed(1, sizeof *batch);
    if (!buffers || !batch) {
        workload_fail(workload, ERROR_NO_MEMORY);
        return;
    }
    batch->workload = workload;
    for (size_t i = 0; i < capacity; i++)
        batch->operations[i].data = buffers + i * stride;
    while ((count = batch_gather(batch, capacity)) > 0)
        volume_execute(engine->volume, batch->requests, count, request_answered, batch);
}

static void flush_answered(struct request *request, void *context)
{
    (void)request;
    (void)context;
}

static enum error engine_flush(void *driver)
{
    struct engine *engine = driver;
    struct request request = {.type = REQUEST_FLUSH};
    volume_execute(engine->volume, &request, 1, flush_answered, NULL);
    return request.error;
}

static const struct driver engine_driver = {engine_loop, engine_flush};

static enum error engine_close(struct engine *engine)
{
    if (engine->volume)
        volume_close(engine->volume);
    engine->volume = NULL;
    return opened_close(&engine->opened);
}

static enum error object_prepare(const struct bench_options *options, struct engine *engine, bool *created)
{
    struct object_info info;
    struct uuid uuid;
    enum error error = object_find(engine->opened.pool, options->object, &info);
    bool freed = error == ERROR_NONE && info.deleting; /* what an earlier run left; its name is free again */
    if (error == ERROR_NOT_FOUND || freed) {
        TRY(object_create(engine->opened.pool, options->object, options->size, &uuid));
        *created = true;
        return ERROR_NONE;
    }
    TRY(error);
    if (info.size < options->size)
        return error_explain(ERROR_EXISTS,
                             "the object %s is there, but smaller than --size: name another with --object",
                             options->object);
    return ERROR_NONE;
}

static enum error engine_fill(const struct bench_options *options, const char *directory, struct engine *engine)
{
    struct bench_options prepare;
    struct measure ignored;
    options_prepare(options, &prepare);
    message(MESSAGE_INFO, "filling the object first");
    TRY(workload_run(&prepare, 1, &engine_driver, engine, &ignored));
    TRY(engine_close(engine));
    TRY(opened_open(options, directory, &engine->opened));
    return volume_open(engine->opened.pool, options->object, false, &engine->volume);
}

static enum error engine_measure(const struct bench_options *options, const char *directory, struct engine *engine,
                                 bool *created, struct engine_result *result)
{
    TRY(opened_open(options, directory, &engine->opened));
    TRY(object_prepare(options, engine, created));
    TRY(volume_open(engine->opened.pool, options->object, false, &engine->volume));
    if (*created && options_prepare_kind(options) != PREPARE_NONE)
        TRY(engine_fill(options, directory, engine));
    TRY(pool_status(engine->opened.pool, &result->before));
    timed_forget();
    TRY(workload_run(options, WORKLOAD_MEASURED, &engine_driver, engine, &result->measure));
    result->longest = timed_longest();
    return pool_status(engine->opened.pool, &result->after);
}

enum error engine_run(const struct bench_options *options, const char *directory, struct engine_result *result)
{
    struct engine engine = {0};
    bool created = false;
    enum error error = engine_measure(options, directory, &engine, &created, result);
    if (engine.volume)
        volume_close(engine.volume);
    engine.volume = NULL;
    if (created && engine.opened.pool && options->directory) {
        enum error deleted = object_delete(engine.opened.pool, options->object, true);
        error = error ? error : deleted;
    }
    enum error closed = engine_close(&engine);
    return error ? error : closed;
}
