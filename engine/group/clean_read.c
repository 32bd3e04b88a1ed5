/*
 * The cleaner's reader: a thread that reads and decrypts victims while those before are emptied, and while what was
 * emptied is published.
 *
 *   cleaner: aim -> get (waits) -> empties the segment -> aim at the ones after …
 *   reader:  submit all that is asked for -> wait for the oldest -> decrypt -> ready
 *
 * Invariants: a window is found by slot and serial, so that what was read of a segment that is gone is never taken for
 * another's. Victims are covered by a checkpoint, nothing is written to them: what was read stays true as long as the
 * segment table has that serial there. A window is the thread's from ASKED to READY, else the cleaner's.
 *
 * Sentences of errors belong to threads: what failed here is done again by who asks (a device keeps its answer).
 *
 * Locks: `mutex` guards the states; no I/O and no cryptography under it. Only reads: a crash is harmless.
 */
#include "engine/group/clean_read.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "engine/group/segment_walk.h"

enum window_state {
    WINDOW_FREE,
    WINDOW_ASKED, /* for, not submitted yet */
    WINDOW_BUSY,  /* submitted */
    WINDOW_READY,
    WINDOW_TAKEN, /* what was read is used once, and what is in it then is the cleaner's affair */
};

struct clean_window {
    enum window_state state; /* under the reader's mutex, as */
    uint64_t order;          /* of those that are asked for */
    uint32_t segment;
    struct segment_identity identity;
    uint8_t *bytes;
    struct device_io io;
    enum error error;
};

struct clean_reader {
    struct group *group;
    uint8_t *memory;
    size_t window_bytes;
    uint64_t used;
    struct clean_window windows[CLEAN_WINDOWS];
    struct thread thread;
    struct mutex mutex;
    struct condition asked, ready;
    uint64_t order_next GUARDED_BY(mutex);
    bool stopping GUARDED_BY(mutex);
};

/* ---- the reader -------------------------------------------------------------------------------------------------------- */

/* The oldest in this state; NULL. */
static struct clean_window *window_oldest(struct clean_reader *reader, enum window_state state) REQUIRES(reader->mutex)
{
    struct clean_window *found = NULL;
    for (unsigned i = 0; i < CLEAN_WINDOWS; i++) {
        struct clean_window *window = &reader->windows[i];
        if (window->state == state && (!found || window->order < found->order))
            found = window;
    }
    return found;
}

static void window_submit(struct clean_reader *reader, struct clean_window *window)
{
    window->io = segment_window(reader->group, window->segment, 1, window->bytes);
    device_submit(&(struct device_io *){&window->io}, 1);
}

static enum error window_decrypt(struct clean_reader *reader, struct clean_window *window)
{
    const struct segment_keys *keys;
    TRY(device_wait(&window->io));
    TRY(segment_keys_get(reader->group, &window->identity, &keys));
    enum error error = bulk_decrypt(keys, 1, window->bytes, window->bytes, window->io.size);
    segment_keys_put(reader->group, keys);
    return error;
}

static void reader_run(void *argument)
{
    struct clean_reader *reader = argument;
    struct clean_window *window;
    thread_give_way();
    mutex_lock(&reader->mutex);
    while (!reader->stopping) {
        if ((window = window_oldest(reader, WINDOW_ASKED))) {
            window->state = WINDOW_BUSY;
            mutex_unlock(&reader->mutex);
            window_submit(reader, window);
            mutex_lock(&reader->mutex);
        } else if ((window = window_oldest(reader, WINDOW_BUSY))) {
            mutex_unlock(&reader->mutex);
            window->error = window_decrypt(reader, window);
            mutex_lock(&reader->mutex);
            window->state = WINDOW_READY;
            condition_broadcast(&reader->ready);
        } else {
            condition_wait(&reader->asked, &reader->mutex);
        }
    }
    while ((window = window_oldest(reader, WINDOW_BUSY))) {
        window->state = WINDOW_READY;
        mutex_unlock(&reader->mutex);
        if (device_wait(&window->io))
            error_forget(); /* nobody wants it */
        mutex_lock(&reader->mutex);
    }
    mutex_unlock(&reader->mutex);
}

/* ---- the cleaner's side -------------------------------------------------------------------------------------------------- */

static struct segment_identity identity_now(struct group *group, uint32_t segment)
{
    mutex_lock(&group->lock);
    struct segment_identity identity = segment_identity(&group->segments, segment);
    mutex_unlock(&group->lock);
    return identity;
}

static struct clean_window *window_find(struct clean_reader *reader, uint32_t segment, const struct segment_identity *identity)
    REQUIRES(reader->mutex)
{
    for (unsigned i = 0; i < CLEAN_WINDOWS; i++) {
        struct clean_window *window = &reader->windows[i];
        bool asked = window->state != WINDOW_FREE && window->state != WINDOW_TAKEN;
        if (asked && window->segment == segment && segment_identity_equal(&window->identity, identity))
            return window;
    }
    return NULL;
}

/* What is being read now is forgotten by a later aim. */
static void windows_forget(struct clean_reader *reader, struct clean_window *const *kept, size_t count)
    REQUIRES(reader->mutex)
{
    for (unsigned i = 0; i < CLEAN_WINDOWS; i++) {
        bool keep = reader->windows[i].state == WINDOW_BUSY;
        for (size_t k = 0; k < count; k++)
            keep = keep || kept[k] == &reader->windows[i];
        if (!keep)
            reader->windows[i].state = WINDOW_FREE;
    }
}

void clean_reader_aim(struct clean_reader *reader, const uint32_t *segments, size_t count)
{
    struct segment_identity identities[CLEAN_WINDOWS];
    struct clean_window *windows[CLEAN_WINDOWS], *window;
    count = MIN(count, CLEAN_WINDOWS);
    for (size_t i = 0; i < count; i++)
        identities[i] = identity_now(reader->group, segments[i]);
    reader->used = clock_monotonic();
    mutex_lock(&reader->mutex);
    for (size_t i = 0; i < count; i++)
        windows[i] = window_find(reader, segments[i], &identities[i]);
    windows_forget(reader, windows, count);
    for (size_t i = 0; i < count; i++) {
        if (windows[i] || !(window = window_oldest(reader, WINDOW_FREE)))
            continue;
        window->segment = segments[i];
        window->identity = identities[i];
        window->order = reader->order_next++;
        window->state = WINDOW_ASKED;
    }
    condition_signal(&reader->asked);
    mutex_unlock(&reader->mutex);
}

/* By who asked, so that the sentence is there. */
static enum error window_explain(struct clean_reader *reader, struct clean_window *window)
{
    const struct segment_keys *keys;
    TRY(device_wait(&window->io));
    TRY(segment_keys_get(reader->group, &window->identity, &keys));
    segment_keys_put(reader->group, keys);
    return window->error;
}

enum error clean_reader_get(struct clean_reader *reader, uint32_t segment, uint8_t **bytes, size_t *size)
{
    struct segment_identity identity = identity_now(reader->group, segment);
    struct clean_window *window;
    mutex_lock(&reader->mutex);
    while (!(window = window_find(reader, segment, &identity)) || window->state != WINDOW_READY) {
        if (window || window_oldest(reader, WINDOW_BUSY)) {
            condition_wait(&reader->ready, &reader->mutex);
            continue;
        }
        /* All windows were being read for others when it was aimed at. */
        mutex_unlock(&reader->mutex);
        clean_reader_aim(reader, &segment, 1);
        mutex_lock(&reader->mutex);
    }
    window->state = WINDOW_TAKEN;
    mutex_unlock(&reader->mutex);
    if (window->error)
        return window_explain(reader, window);
    *bytes = window->bytes;
    *size = window->io.size;
    return ERROR_NONE;
}

uint64_t clean_reader_used(const struct clean_reader *reader) { return reader->used; }

/* ---- its life -------------------------------------------------------------------------------------------------------------- */

enum error clean_reader_open(struct group *group, struct clean_reader **out)
{
    struct clean_reader *reader = memory_zeroed(1, sizeof *reader);
    if (!reader)
        return ERROR_NO_MEMORY;
    reader->group = group;
    reader->window_bytes = (size_t)MIN(segment_size(&group->segments), SEGMENT_WINDOW);
    reader->memory = memory_map_unset(CLEAN_WINDOWS * reader->window_bytes);
    for (unsigned i = 0; i < CLEAN_WINDOWS; i++)
        reader->windows[i].bytes = reader->memory + i * reader->window_bytes;
    mutex_init(&reader->mutex, RANK_LEAF);
    condition_init(&reader->asked);
    condition_init(&reader->ready);
    enum error error = reader->memory ? thread_start(&reader->thread, "clean", reader_run, reader) : ERROR_NO_MEMORY;
    if (error) {
        memory_unmap(reader->memory, CLEAN_WINDOWS * reader->window_bytes);
        mutex_deinit(&reader->mutex);
        condition_deinit(&reader->asked);
        condition_deinit(&reader->ready);
        free(reader);
        return error;
    }
    *out = reader;
    return ERROR_NONE;
}

void clean_reader_close(struct clean_reader *reader)
{
    if (!reader)
        return;
    mutex_lock(&reader->mutex);
    reader->stopping = true;
    condition_signal(&reader->asked);
    mutex_unlock(&reader->mutex);
    thread_join(&reader->thread);
    memory_cleanse(reader->memory, CLEAN_WINDOWS * reader->window_bytes); /* it held users' plaintext */
    memory_unmap(reader->memory, CLEAN_WINDOWS * reader->window_bytes);
    mutex_deinit(&reader->mutex);
    condition_deinit(&reader->asked);
    condition_deinit(&reader->ready);
    free(reader);
}
