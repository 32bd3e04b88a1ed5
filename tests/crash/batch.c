/*
 * Batches of the crash tests.
 *
 * A request that found no space may have been done in part where it was larger than a commit: its owner reads it again,
 * and what was not done leaves the model. Nobody owns the shared blocks, but those requests are too small to be parted.
 * The same for one that failed by a fault; what cannot be read then its owner does not know, until it is written whole.
 *
 * One batch a thread; the model's own rules make a kill at any point harmless.
 */
#include "tests/crash/batch.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/crash/content.h"

#define LEARN_TRIES 4
#define EARLY_ANSWERS 4

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

void operation_prepare(struct operation *operation, struct session *session, const void *contents)
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

/* A lie is found out by a crash before anybody's true flush: waiting for one by chance takes dozens of rounds. */
static void crash_after_early_answer(const struct session *session)
{
    if (session->settings.plant == PLANT_EARLY_ANSWER && atomic_load(&session->flushes) % EARLY_ANSWERS == 0)
        raise(SIGKILL);
}

static void take_success(struct session *session, struct operation *operation)
{
    uint64_t answered = clock_tick(&session->clock);
    for (size_t i = 0; i < operation->count; i++)
        version_answer(operation->versions[i], answered, operation->request->flags & REQUEST_FUA);
    if (operation->unknown != NULL)
        memset(operation->unknown, false, operation->count * sizeof(bool));
    if (operation->began != 0 || (operation->request->flags & REQUEST_FUA))
        atomic_fetch_add(&session->promises, 1);
    if (operation->began != 0) {
        flush_answer(&session->clock, operation->began);
        atomic_fetch_add(&session->flushes, 1);
        crash_after_early_answer(session);
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
    char what[96];
    snprintf(what, sizeof(what), "a request of type %d, %llu bytes at %llu", request->type,
             (unsigned long long)request->length, (unsigned long long)request->offset);
    if (operation->began == 0 && request->type != REQUEST_READ && session_is_full(batch->session, request->error, what))
        return;
    succeeds_since(batch->session, request->error, batch->moment, what);
}

/* ---- what was not done ------------------------------------------------------------------------------------------ */

static void drop(struct operation *operation)
{
    for (size_t i = 0; i < operation->count; i++)
        version_drop(operation->versions[i]);
}

bool cell_learn(struct session *session, struct volume *volume, const struct cell *cell, uint64_t offset,
                unsigned char *content, uint64_t grain)
{
    uint64_t began = clock_tick(&session->clock);
    bool read = false;
    for (unsigned tries = 0; tries < LEARN_TRIES && !read && !atomic_load(&session->over); tries++)
        read = read_all(session, volume, offset, content, grain);
    if (!read)
        return false;
    uint64_t hash = content_hash(content, grain);
    if (!cell_reads(cell, began, hash)) {
        cell_print(cell, &session->clock);
        fail("after a write that failed, %llu holds what was never there: %016llx", (unsigned long long)offset,
             (unsigned long long)hash);
    }
    return true;
}

static void learn_cell(struct session *session, struct operation *operation, struct volume *volume, size_t index)
{
    unsigned char *content = operation->contents + index * operation->grain;
    struct version *version = operation->versions[index];
    if (!cell_learn(session, volume, &operation->cells[index], operation->offset + index * operation->grain, content,
                    operation->grain)) {
        version_fail(version, clock_tick(&session->clock));
        operation->unknown[index] = true;
        return;
    }
    operation->unknown[index] = false;
    if (version->hash == content_hash(content, operation->grain))
        version_answer(version, clock_tick(&session->clock), false);
    else
        version_drop(version);
}

static void learn(struct session *session, struct operation *operation, struct volume *volume)
{
    bool full = operation->request->error == ERROR_NO_SPACE;
    atomic_fetch_add(&session->full, full);
    if (operation->contents == NULL && full) {
        drop(operation);
        return;
    }
    for (size_t i = 0; i < operation->count && operation->contents == NULL; i++)
        version_fail(operation->versions[i], clock_tick(&session->clock));
    for (size_t i = 0; i < operation->count && operation->contents != NULL; i++)
        learn_cell(session, operation, volume, i);
}

bool batch_run(struct batch *batch, struct volume *volume)
{
    bool done = true;
    if (batch->count == 0)
        return true;
    batch->moment = session_moment();
    volume_execute(volume, batch->requests, batch->count, take_answer, batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct operation *operation = &batch->operations[i];
        if (operation->answers != 1)
            fail("request %zu of a batch was never answered", i);
        if (operation->request->error == ERROR_NONE)
            continue;
        done = false;
        learn(batch->session, operation, volume);
    }
    batch->count = 0;
    batch->bytes = 0;
    return done;
}
