/* The deep rekey of control_fake.h: a device of which a part is under the old key. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/unit/control_fake.h"

static enum error leave(struct pool *pool, enum error error)
{
    pthread_mutex_unlock(&pool->lock);
    return error;
}

enum error pool_deep_rekey(struct pool *pool, const struct pool_rekey_options *options, uint64_t rate)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked || (pool->passphrase != NULL && options->passphrase == NULL))
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    if (pool->deep.state == DEEP_REKEY_RUNNING || pool->deep.state == DEEP_REKEY_PAUSED)
        return leave(pool, error_explain(ERROR_BUSY, "a deep rekey is under way already"));
    if (pool->deep_refusal != NULL)
        return leave(pool, error_explain(ERROR_NO_SPACE, "%s", pool->deep_refusal));
    pool->deep = (struct deep_rekey_status){.state = DEEP_REKEY_RUNNING, .rate = rate, .bytes_left = 3u << 20, .bytes_total = 4u << 20,
                                            .bytes_moved = 1u << 20, .nanoseconds = 1000000000, .seconds_left = 3};
    return leave(pool, ERROR_NONE);
}

static enum error change(struct pool *pool, enum deep_rekey_state from, enum deep_rekey_state to)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->deep.state != from)
        return leave(pool, error_explain(ERROR_NOT_FOUND, "no deep rekey is like that"));
    pool->deep.state = to;
    return leave(pool, ERROR_NONE);
}

enum error pool_deep_rekey_pause(struct pool *pool) { return change(pool, DEEP_REKEY_RUNNING, DEEP_REKEY_PAUSED); }
enum error pool_deep_rekey_resume(struct pool *pool) { return change(pool, DEEP_REKEY_PAUSED, DEEP_REKEY_RUNNING); }

enum error pool_deep_rekey_throttle(struct pool *pool, uint64_t rate)
{
    pthread_mutex_lock(&pool->lock);
    pool->deep.rate = rate;
    return leave(pool, ERROR_NONE);
}

/* Each look brings it a step nearer to its end. */
enum error pool_deep_rekey_status(struct pool *pool, struct deep_rekey_status *status)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked)
        return leave(pool, ERROR_LOCKED);
    *status = pool->deep;
    if (pool->stopped && pool->deep.state == DEEP_REKEY_RUNNING)
        pool->deep.state = DEEP_REKEY_PAUSED;
    if (pool->deep_steps != 0 && --pool->deep_steps == 0)
        pool->deep = (struct deep_rekey_status){.state = DEEP_REKEY_COMPLETE, .bytes_total = 4u << 20, .blocks_lost = pool->deep_lost};
    return leave(pool, ERROR_NONE);
}

enum error pool_key_slots(struct pool *pool, struct key_slot_info **infos, size_t *count)
{
    pthread_mutex_lock(&pool->lock);
    bool old = pool->deep.bytes_left != 0;
    struct key_slot_info *rows = memory_zeroed(2, sizeof *rows);
    if (rows == NULL)
        return leave(pool, ERROR_NO_MEMORY);
    rows[0] = (struct key_slot_info){.device = "/dev/disk0", .slot = 1, .current = !old, .segments = 3, .segment_bytes = 3u << 20};
    rows[1] = (struct key_slot_info){.device = "/dev/disk0", .slot = 2, .current = true, .segments = 1, .segment_bytes = 1u << 20};
    *infos = rows;
    *count = old ? 2 : 1;
    return leave(pool, ERROR_NONE);
}

/* The first of them is of the time before, for good. */
enum error pool_log_keys(struct pool *pool, struct key_slot_info **infos, size_t *count)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->slots_error)
        return leave(pool, pool->slots_error);
    bool first = pool->deep.state == DEEP_REKEY_NONE;
    struct key_slot_info *rows = memory_zeroed(2, sizeof *rows);
    if (rows == NULL)
        return leave(pool, ERROR_NO_MEMORY);
    rows[0] = (struct key_slot_info){.device = "/dev/disk0", .slot = 1, .current = first, .segments = 3};
    rows[1] = (struct key_slot_info){.device = "/dev/disk0", .slot = 2, .current = true, .segments = 1};
    *infos = rows;
    *count = first ? 1 : 2;
    return leave(pool, ERROR_NONE);
}
