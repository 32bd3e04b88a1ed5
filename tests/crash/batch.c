/*
 * Batches of the crash tests.
 *
 * A request that found no space may have been done in part where it was larger than a commit: its owner reads it again,
 * and what was not done leaves the model. Nobody owns the shared blocks, but those requests are too small to be parted.
 *
 * One batch a thread; the model's own rules make a kill at any point harmless.
 */
#include "tests/crash/batch.h"

#include <string.h>

#include "tests/crash/content.h"

struct operation *batch_add(struct batch *batch, uint64_t bytes)
{
    if (batch->count == BATCH_REQUESTS_MAX || (batch->count > 0 && batch->bytes + bytes > BATCH_BYTES_MAX))
        return NULL;
    struct operation *operation = &batch->operations[batch->count];
    *operation = (struct operation){.request = &batch->requests[batch->count]};
    *operation->request = (struct request){.context = operation};
    batch->count++;
    batch->bytes += bytes;
    return operation;
}

bool operation_has_room(const struct operation *operation, struct session *session)
{
    bool room = true;
    for (size_t i = 0; i < operation->count; i++)
        room &= cell_has_room(&operation->cells[i], &session->clock);
    return room;
}

void operation_begin(struct operation *operation, struct session *session, const void *contents)
{
    for (size_t i = 0; i < operation->count; i++) {
        uint64_t hash = content_hash((const char *)contents + i * operation->grain, operation->grain);
        operation->versions[i] = cell_begin(&operation->cells[i], &session->clock, hash);
    }
}

void batch_add_flush(struct batch *batch)
{
    struct operation *operation = batch_add(batch, 0);
    if (operation == NULL)
        return;
    operation->request->type = REQUEST_FLUSH;
    if (batch->session->settings.plant == PLANT_EARLY_ANSWER)
        *operation->request = (struct request){.type = REQUEST_CACHE, .length = BLOCK, .context = operation};
    operation->began = flush_begin(&batch->session->clock);
}

/* ---- answers ------------------------------------------------------------------------------------------------------
 */

static void take_success(struct session *session, struct operation *operation)
{
    uint64_t answered = clock_tick(&session->clock);
    for (size_t i = 0; i < operation->count; i++)
        version_answer(operation->versions[i], answered, operation->request->flags & REQUEST_FUA);
    if (operation->began != 0 || (operation->request->flags & REQUEST_FUA))
        atomic_fetch_add(&session->promises, 1);
    if (operation->began != 0) {
        flush_answer(&session->clock, operation->began);
        atomic_fetch_add(&session->flushes, 1);
    }
    atomic_fetch_add(&session->requests, 1);
}

static void take_answer(struct request *request, void *context)
{
    struct batch *batch = context;
    struct operation *operation = request->context;
    if (operation->answers++ != 0)
        fail("a request of type %d was answered twice", request->type);
    if (request->error == ERROR_NONE) {
        take_success(batch->session, operation);
        return;
    }
    if (request->error == ERROR_NO_SPACE && operation->began == 0)
        return;
    session_error(request->error);
    fail("a request of type %d, %llu bytes at %llu: %s", request->type, (unsigned long long)request->length,
         (unsigned long long)request->offset, error_name(request->error));
}

/* ---- what had no space ------------------------------------------------------------------------------------------ */

static void drop(struct operation *operation)
{
    for (size_t i = 0; i < operation->count; i++)
        version_drop(operation->versions[i]);
}

static void learn_cell(struct session *session, struct operation *operation, struct volume *volume, size_t index)
{
    unsigned char *content = operation->contents + index * operation->grain;
    uint64_t offset = operation->offset + index * operation->grain, began = clock_tick(&session->clock);
    read_all(volume, offset, content, operation->grain);
    uint64_t hash = content_hash(content, operation->grain);
    if (!cell_reads(&operation->cells[index], began, hash)) {
        cell_print(&operation->cells[index], &session->clock);
        fail("after a write without space, %llu holds what was never there: %016llx", (unsigned long long)offset,
             (unsigned long long)hash);
    }
    if (operation->versions[index]->hash == hash)
        version_answer(operation->versions[index], clock_tick(&session->clock), false);
    else
        version_drop(operation->versions[index]);
}

static void learn(struct session *session, struct operation *operation, struct volume *volume)
{
    atomic_fetch_add(&session->full, 1);
    if (operation->contents == NULL) {
        drop(operation);
        return;
    }
    for (size_t i = 0; i < operation->count; i++)
        learn_cell(session, operation, volume, i);
}

bool batch_run(struct batch *batch, struct volume *volume)
{
    bool room = true;
    if (batch->count == 0)
        return true;
    volume_execute(volume, batch->requests, batch->count, take_answer, batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct operation *operation = &batch->operations[i];
        if (operation->answers != 1)
            fail("request %zu of a batch was never answered", i);
        if (operation->request->error == ERROR_NONE)
            continue;
        room = false;
        learn(batch->session, operation, volume);
    }
    batch->count = 0;
    batch->bytes = 0;
    return room;
}
