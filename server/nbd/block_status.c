/*
 * Block status, a step on the way of a batch:
 *
 *   batch_receive -> batch_run (BLOCK_STATUS_READ) -> reply_send
 *
 * Each context answers in a chunk of its own, which may end where it likes: base:allocation with what is mapped,
 * coffer:changed with what is not as it was in a snapshot. All chunks of an answer are one piece of memory, made here.
 * What one answer looks at is bounded, in steps between which a client that left is noticed.
 *
 * No locks are held while the engine works; nothing is changed.
 */
#include "server/nbd/block_status.h"

#include <string.h>

#include "base/memory.h"

#define EXTENTS_MAX      512 /* of one context's answer; the client asks on from its end */
#define STATUS_STEPS_MAX 16 /* of EXTENT_DATA_MAX or CHANGES_LEAVES_MAX, for one: a fraction of a second's work */

/* One more than is answered, in which a step may begin with what goes on. */
struct runs {
    size_t count, capacity;
    struct run { uint64_t length; uint32_t state; } runs[EXTENTS_MAX + 1];
};

/* ---- what the engine says ---------------------------------------------------------------------------------------- */

/* A run may go on where the one before ended: they become one. */
static void run_add(struct runs *runs, uint64_t length, uint32_t state)
{
    if (runs->count > 0 && runs->runs[runs->count - 1].state == state)
        runs->runs[runs->count - 1].length += length;
    else
        runs->runs[runs->count++] = (struct run){length, state};
}

static enum error allocation_ask(struct session *session, uint64_t at, uint64_t length, struct runs *runs)
{
    struct extent extents[EXTENTS_MAX + 1];
    size_t found;
    TRY(volume_extents(session->volume, at, length, extents, runs->capacity - runs->count, &found));
    for (size_t i = 0; i < found; i++)
        run_add(runs, extents[i].length, extents[i].hole ? STATE_HOLE | STATE_ZERO : 0);
    return ERROR_NONE;
}

static enum error changes_ask(struct session *session, struct volume *base, uint64_t at, uint64_t length,
                              struct runs *runs)
{
    static const uint32_t states[] = {
        [CHANGE_NONE] = 0, [CHANGE_DATA] = STATE_CHANGED, [CHANGE_ZERO] = STATE_CHANGED | STATE_CHANGED_ZERO};
    struct change_extent extents[EXTENTS_MAX + 1];
    size_t found;
    TRY(volume_changes(session->volume, base, at, length, extents, runs->capacity - runs->count, &found));
    for (size_t i = 0; i < found; i++)
        run_add(runs, extents[i].length, states[extents[i].kind]);
    return ERROR_NONE;
}

static uint64_t runs_length(const struct runs *runs)
{
    uint64_t length = 0;
    for (size_t i = 0; i < runs->count; i++)
        length += runs->runs[i].length;
    return length;
}

/* Step by step, so that a client that left is not worked for. `base` NULL: base:allocation. */
static enum error runs_read(struct connection *connection, struct volume *base, const struct command *command,
                            struct runs *runs)
{
    uint64_t begin = ROUND_DOWN(command->offset, COFFER_BLOCK), at = begin, end = command->offset + command->length;
    for (unsigned step = 0; step < STATUS_STEPS_MAX && at < end && runs->count < runs->capacity; step++) {
        if (step > 0 && connection_is_leaving(connection))
            break;
        TRY(base == NULL ? allocation_ask(&connection->session, at, end - at, runs)
                         : changes_ask(&connection->session, base, at, end - at, runs));
        at = begin + runs_length(runs);
    }
    return ERROR_NONE;
}

/* ---- what the client is told -------------------------------------------------------------------------------------- */

/* The engine's runs begin at a block; the client's answer begins and ends where it asked. Equal neighbours join. */
static size_t runs_clip(const struct command *command, const struct runs *runs, struct wire_extent *extents)
{
    uint64_t before = command->offset % COFFER_BLOCK, left = command->length;
    size_t count = 0, used = MIN(runs->count, runs->capacity - 1);
    for (size_t i = 0; i < used && left > 0; i++) {
        uint64_t length = runs->runs[i].length;
        uint64_t cut = MIN(length, before);
        before -= cut;
        length = MIN(length - cut, left);
        if (length == 0)
            continue;
        left -= length;
        extents[count++] = (struct wire_extent){be32_make((uint32_t)length), be32_make(runs->runs[i].state)};
    }
    return count;
}

/* Appends the chunk of one context; `last` ends the answer. */
static enum error chunk_add(struct connection *connection, struct slot *slot, struct volume *base, uint32_t id,
                            bool last)
{
    struct runs runs;
    struct wire_extent extents[EXTENTS_MAX];
    runs.count = 0;
    runs.capacity = (slot->command.flags & COMMAND_REQ_ONE ? 1 : EXTENTS_MAX) + 1;
    TRY(runs_read(connection, base, &slot->command, &runs));
    size_t count = runs_clip(&slot->command, &runs, extents), size = count * sizeof(*extents);
    if (count == 0)
        return error_explain(ERROR_BUG, "block status found nothing in a range");
    struct wire_chunk_status head = {
        .chunk = {.magic = be32_make(STRUCTURED_REPLY_MAGIC),
                  .flags = be16_make(last ? CHUNK_DONE : 0),
                  .type = be16_make(CHUNK_BLOCK_STATUS),
                  .cookie = slot->command.cookie,
                  .length = be32_make((uint32_t)(sizeof(be32) + size))},
        .context = be32_make(id),
    };
    uint8_t *grown = realloc(slot->status, slot->status_size + sizeof(head) + size);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    memcpy(grown + slot->status_size, &head, sizeof(head));
    memcpy(grown + slot->status_size + sizeof(head), extents, size);
    slot->status = grown;
    slot->status_size += sizeof(head) + size;
    return ERROR_NONE;
}

static enum error chunks_add(struct connection *connection, struct slot *slot)
{
    const struct session *session = &connection->session;
    if (session->allocation)
        TRY(chunk_add(connection, slot, NULL, ALLOCATION_CONTEXT_ID, session->base_count == 0));
    for (unsigned i = 0; i < session->base_count; i++)
        TRY(chunk_add(connection, slot, session->bases[i], CHANGED_CONTEXT_ID + i, i + 1 == session->base_count));
    return ERROR_NONE;
}

enum error block_status_read(struct connection *connection, struct slot *slot)
{
    enum error error = chunks_add(connection, slot);
    if (error != ERROR_NONE) {
        free(slot->status);
        slot->status = NULL;
        slot->status_size = 0;
    }
    return error;
}
