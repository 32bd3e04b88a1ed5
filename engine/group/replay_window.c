/*
 * A ring of windows between the reader, which fills them in order, and replay, which takes them in order.
 *
 *   reader: take a turn -> READ -> header, keys -> submit the next (the header's successor) -> decrypt
 *           -> submit the next (as the appends name it) -> verify -> give the turn
 *   replay: release the window before -> wait for the next -> it is not what is wanted: redirect the reader, wait
 *
 * Invariants: windows `consumed` to `produced` are replay's (the first is the one it holds, where it holds one), the
 * others the reader's. A redirection empties the ring: the reader waits for what it has submitted and begins anew.
 *
 * Locks: `mutex` guards the counters and flags; no I/O and no cryptography under it.
 */
#include "engine/group/replay_window.h"

#include <string.h>

#include "base/memory.h"
#include "base/thread.h"

/* A stretch that is to be read. */
struct target {
    uint32_t device, slot, first;
    uint64_t serial;
    bool known; /* the identity is, else the header tells it */
    struct segment_identity identity;
};

struct replay_windows {
    struct group *group;
    const struct checkpoint *checkpoint;
    uint8_t *memory;
    struct replay_window ring[WINDOWS];
    struct thread thread;
    /* the reader's */
    struct target next;
    bool has_next;
    /* replay's */
    bool held;
    bool outdated; /* what is in the ring */
    uint64_t bytes;

    struct mutex mutex;
    struct condition changed;
    uint64_t produced GUARDED_BY(mutex), consumed GUARDED_BY(mutex);
    bool idle GUARDED_BY(mutex); /* the reader has no guess left */
    bool stopping GUARDED_BY(mutex);
    bool redirected GUARDED_BY(mutex); /* to: */
    struct target wanted GUARDED_BY(mutex);
};

/* ---- the reader: what comes next ------------------------------------------------------------------------------- */

static bool target_equal(const struct target *a, const struct target *b)
{
    return a->device == b->device && a->slot == b->slot && a->first == b->first && a->serial == b->serial;
}

static bool target_is_possible(const struct replay_windows *windows, const struct target *target)
{
    const struct segments *segments = &windows->group->segments;
    return target->serial != 0 && target->device < segments->device_count &&
           target->slot < segments->slot_count[target->device] && target->first < segment_blocks(segments);
}

static void window_submit(struct replay_windows *windows, struct replay_window *window, const struct target *target)
{
    struct group *group = windows->group;
    uint32_t blocks = MIN(segment_blocks(&group->segments) - target->first, WINDOW_BLOCKS);
    window->slot = target->slot;
    window->first = target->first;
    window->blocks = blocks;
    window->io = (struct device_io){
        .device = group->devices[target->device],
        .operation = DEVICE_READ,
        .offset = AREA_SIZE + ((uint64_t)target->slot << group->segments.segment_shift) +
                  (uint64_t)target->first * BLOCK_SIZE,
        .size = (size_t)blocks * BLOCK_SIZE,
        .buffer = window->bytes,
    };
    window->submitted = true;
    device_submit(&(struct device_io *){&window->io}, 1);
}

static void window_drain(struct replay_window *window)
{
    if (window->submitted)
        (void)!device_wait(&window->io);
    window->submitted = false;
}

/* The next target; submitted at once where a window is free for it. A guess made before is given up. */
static void next_set(struct replay_windows *windows, const struct target *target)
{
    if (!target_is_possible(windows, target) || (windows->has_next && target_equal(target, &windows->next)))
        return;
    struct replay_window *window = &windows->ring[(windows->produced + 1) % WINDOWS];
    windows->next = *target;
    windows->has_next = true;
    mutex_lock(&windows->mutex);
    bool room = windows->produced + 1 - windows->consumed < WINDOWS && !windows->redirected && !windows->stopping;
    mutex_unlock(&windows->mutex);
    if (!room)
        return;
    window_drain(window);
    window_submit(windows, window, target);
}

static struct target target_of(const struct place *place)
{
    return (struct target){.device = place->device, .slot = place->slot, .serial = place->serial};
}

/* Where the appends of a window lead: the place in another segment that its last one, or a joint, names, or the first
 * one that does not lie whole in the window. Their tags were not compared yet. */
static void next_by_appends(struct replay_windows *windows, const struct replay_window *window)
{
    uint32_t segment_end = segment_blocks(&windows->group->segments), end = window->first + window->blocks;
    uint32_t block = MAX(window->first, 1u);
    const struct append_format *last = NULL;
    bool cut = false;
    while (block < end) {
        const struct append_format *append = window_append(window, block);
        if (!append_is_possible(append, SEGMENT_JOURNAL, window->identity.serial, block, segment_end))
            break;
        cut = block + le32_get(append->blocks) > end;
        if (cut)
            break;
        last = append;
        block += le32_get(append->blocks);
    }
    if ((cut || block == end) && end < segment_end) {
        struct target rest = {window->identity.device, window->slot, block,
                              window->identity.serial, true,         window->identity};
        next_set(windows, &rest);
    } else if (last) {
        const struct place *joint = checkpoint_joint(windows->checkpoint, last->tag);
        struct place place = joint ? *joint : place_decode(&last->next);
        struct target target = target_of(&place);
        if (target.serial != window->identity.serial)
            next_set(windows, &target);
    }
}

/* ---- the reader: one window ------------------------------------------------------------------------------------ */

static enum error window_identify(struct replay_windows *windows, struct replay_window *window,
                                  const struct target *target)
{
    struct group *group = windows->group;
    window->has_header = false;
    if (target->first == 0) {
        enum error error =
            segment_header_decode(group, target->device, target->slot, target->serial, window->bytes, &window->header);
        window->has_header = !error && window->header.segment.kind == SEGMENT_JOURNAL;
    }
    if (!target->known && !window->has_header)
        return ERROR_NOT_FOUND;
    const struct segment *segment = &window->header.segment;
    window->identity = target->known ? target->identity
                                     : (struct segment_identity){
                                           .device = target->device,
                                           .serial = segment->serial,
                                           .salt = segment->salt,
                                           .birth_salt = segment->birth_salt,
                                           .key_slot = segment->key_slot,
                                           .log_key = segment->log_key,
                                       };
    return segment_keys_get(group, &window->identity, &window->keys);
}

static enum error window_decrypt(struct replay_window *window)
{
    uint32_t header = window->first == 0 ? 1 : 0;
    uint8_t *bytes = window->bytes + header * BLOCK_SIZE;
    return bulk_decrypt(window->keys, window->first + header, bytes, bytes,
                        (size_t)(window->blocks - header) * BLOCK_SIZE);
}

static void window_verify(struct replay_windows *windows, struct replay_window *window)
{
    uint32_t segment_end = segment_blocks(&windows->group->segments), end = window->first + window->blocks;
    memset(window->sound, 0, sizeof window->sound);
    for (uint32_t block = MAX(window->first, 1u); block < end;) {
        const struct append_format *append = window_append(window, block);
        if (!append_is_possible(append, SEGMENT_JOURNAL, window->identity.serial, block, segment_end) ||
            block + le32_get(append->blocks) > end || append_check(append, window->keys) != ERROR_NONE)
            return;
        if (append_units_are_sound(append, window->keys))
            window->sound[(block - window->first) / 64] |= UINT64_C(1) << (block - window->first) % 64;
        block += le32_get(append->blocks);
    }
}

static enum error window_read(struct replay_windows *windows, struct replay_window *window, const struct target *target)
{
    enum error error = device_wait(&window->io);
    window->submitted = false;
    TRY(error);
    TRY(window_identify(windows, window, target));
    if (window->has_header && window->blocks == segment_blocks(&windows->group->segments)) {
        struct target successor = target_of(&window->header.successor);
        next_set(windows, &successor);
    }
    TRY(window_decrypt(window));
    next_by_appends(windows, window);
    window_verify(windows, window);
    return ERROR_NONE;
}

static void window_forget(struct replay_windows *windows, struct replay_window *window)
{
    if (window->keys)
        segment_keys_put(windows->group, window->keys);
    window->keys = NULL;
    window->has_header = false;
}

static void windows_drain(struct replay_windows *windows)
{
    for (unsigned i = 0; i < WINDOWS; i++) {
        window_drain(&windows->ring[i]);
        window_forget(windows, &windows->ring[i]);
    }
}

/* Waits until there is a window to fill and something to fill it with; false at the end. */
static bool turn_take(struct replay_windows *windows)
{
    mutex_lock(&windows->mutex);
    while (!windows->stopping) {
        if (windows->redirected) {
            mutex_unlock(&windows->mutex);
            windows_drain(windows);
            mutex_lock(&windows->mutex);
            windows->next = windows->wanted;
            windows->produced = windows->consumed = 0;
            windows->redirected = windows->idle = false;
            condition_broadcast(&windows->changed);
        }
        if (!windows->idle && windows->produced - windows->consumed < WINDOWS)
            break;
        condition_wait(&windows->changed, &windows->mutex);
    }
    bool taken = !windows->stopping;
    mutex_unlock(&windows->mutex);
    return taken;
}

static void turn_give(struct replay_windows *windows)
{
    mutex_lock(&windows->mutex);
    windows->produced++;
    windows->idle = !windows->has_next;
    condition_broadcast(&windows->changed);
    mutex_unlock(&windows->mutex);
}

static void reader_run(void *argument)
{
    struct replay_windows *windows = argument;
    while (turn_take(windows)) {
        struct replay_window *window = &windows->ring[windows->produced % WINDOWS];
        struct target target = windows->next;
        window_forget(windows, window);
        windows->has_next = false;
        if (!window->submitted)
            window_submit(windows, window, &target);
        window->error = window_read(windows, window, &target);
        if (window->error)
            window_forget(windows, window);
        turn_give(windows);
    }
    windows_drain(windows);
}

/* ---- replay's side --------------------------------------------------------------------------------------------- */

/* The window `n` places behind the oldest; NULL where the reader has nothing more to give. */
static const struct replay_window *window_wait(struct replay_windows *windows, unsigned n) REQUIRES(windows->mutex)
{
    while (windows->redirected || (windows->produced - windows->consumed <= n && !windows->idle))
        condition_wait(&windows->changed, &windows->mutex);
    return windows->produced - windows->consumed > n ? &windows->ring[(windows->consumed + n) % WINDOWS] : NULL;
}

static bool window_holds(const struct replay_window *window, const struct target *wanted, uint32_t blocks)
{
    return window && window->keys && segment_identity_equal(&window->identity, &wanted->identity) &&
           window->slot == wanted->slot && wanted->first >= MAX(window->first, 1u) &&
           wanted->first + blocks <= window->first + window->blocks;
}

/* The window that begins with what is wanted, whatever became of it. */
static const struct replay_window *redirect(struct replay_windows *windows, const struct target *wanted)
    REQUIRES(windows->mutex)
{
    windows->wanted = *wanted;
    windows->redirected = true;
    condition_broadcast(&windows->changed);
    return window_wait(windows, 0);
}

/* Sentences belong to threads: this one's are made here. */
static enum error window_explain(struct replay_windows *windows, struct replay_window *window,
                                 const struct target *wanted)
{
    struct group *group = windows->group;
    const struct segment_keys *keys;
    enum error error = device_wait(&window->io);
    if (error)
        return error_prefix(error, "group %s: the journal cannot be read at segment %llu of %s", group_name(group),
                            (unsigned long long)wanted->serial, group->devices[wanted->device]->path);
    TRY(segment_keys_get(group, &wanted->identity, &keys));
    segment_keys_put(group, keys);
    return window->error;
}

enum error replay_windows_get(struct replay_windows *windows, const struct segment_identity *identity, uint32_t slot,
                              uint32_t block, uint32_t blocks, const struct replay_window **out)
{
    struct target wanted = {identity->device, slot, block, identity->serial, true, *identity};
    mutex_lock(&windows->mutex);
    const struct replay_window *window = windows->held && !windows->outdated ? window_wait(windows, 0) : NULL;
    if (!window_holds(window, &wanted, blocks)) {
        windows->consumed += windows->held;
        condition_broadcast(&windows->changed);
        window = windows->outdated ? NULL : window_wait(windows, 0);
        if (!window_holds(window, &wanted, blocks))
            window = redirect(windows, &wanted);
        ASSERT(window && (window->error || window_holds(window, &wanted, blocks)));
        windows->held = true;
        windows->outdated = false;
        windows->bytes += (uint64_t)window->blocks * BLOCK_SIZE;
    }
    mutex_unlock(&windows->mutex);
    if (window->error)
        return window_explain(windows, &windows->ring[window - windows->ring], &wanted);
    *out = window;
    return ERROR_NONE;
}

void replay_windows_renew(struct replay_windows *windows)
{
    windows->outdated = true;
}

bool replay_windows_header(struct replay_windows *windows, const struct place *place, struct segment_header *header)
{
    if (windows->outdated)
        return false;
    mutex_lock(&windows->mutex);
    const struct replay_window *window = window_wait(windows, windows->held);
    mutex_unlock(&windows->mutex);
    bool found = window && window->has_header && window->header.device == place->device &&
                 window->header.slot == place->slot && window->header.segment.serial == place->serial;
    if (found)
        *header = window->header;
    return found;
}

uint64_t replay_windows_bytes(const struct replay_windows *windows)
{
    return windows->bytes;
}

enum error replay_windows_open(struct group *group, const struct checkpoint *checkpoint, struct replay_windows **out)
{
    struct replay_windows *windows = memory_zeroed(1, sizeof *windows);
    if (!windows)
        return ERROR_NO_MEMORY;
    windows->group = group;
    windows->checkpoint = checkpoint;
    windows->idle = true;
    windows->memory = memory_map_unset(WINDOWS_BYTES);
    for (unsigned i = 0; i < WINDOWS; i++)
        windows->ring[i].bytes = windows->memory + (size_t)i * WINDOW_BLOCKS * BLOCK_SIZE;
    mutex_init(&windows->mutex, RANK_LEAF);
    condition_init(&windows->changed);
    enum error error =
        windows->memory ? thread_start(&windows->thread, "replay", reader_run, windows) : ERROR_NO_MEMORY;
    if (error) {
        memory_unmap(windows->memory, WINDOWS_BYTES);
        mutex_deinit(&windows->mutex);
        condition_deinit(&windows->changed);
        free(windows);
        return error;
    }
    *out = windows;
    return ERROR_NONE;
}

void replay_windows_close(struct replay_windows *windows)
{
    if (!windows)
        return;
    mutex_lock(&windows->mutex);
    windows->stopping = true;
    condition_broadcast(&windows->changed);
    mutex_unlock(&windows->mutex);
    thread_join(&windows->thread);
    memory_cleanse(windows->memory, WINDOWS_BYTES); /* it held users' plaintext */
    memory_unmap(windows->memory, WINDOWS_BYTES);
    mutex_deinit(&windows->mutex);
    condition_deinit(&windows->changed);
    free(windows);
}
