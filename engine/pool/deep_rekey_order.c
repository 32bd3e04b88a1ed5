/*
 * What a person says to a deep rekey, and what it says of itself. All calls come from outside, under pool->lock, which keeps
 * the job there. Orders are kept in a file (deep_rekey_file.c), so that a restart obeys them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/deep_rekey.h"

struct order {
    enum deep_rekey_state from, to;
    uint64_t rate;
    bool throttles;
    const char *complaint;
};

enum error deep_rekey_orders_keep(struct pool *pool)
{
    struct deep_rekey *deep = pool->deep_rekey;
    mutex_lock(&deep->mutex);
    struct deep_rekey_orders orders = {deep_rekey_number(pool->group, KEY_KIND_DEK), deep->rate, deep->state == DEEP_REKEY_PAUSED};
    mutex_unlock(&deep->mutex);
    return deep_rekey_orders_save(pool->directory, &orders);
}

/* It obeys at once; what cannot be kept is said. */
static enum error obey(struct pool *pool, const struct order *order) REQUIRES(pool->lock)
{
    struct deep_rekey *deep = pool->deep_rekey;
    TRY(pool_check_unlocked(pool));
    if (!deep)
        return error_explain(ERROR_NOT_FOUND, "%s", order->complaint);
    mutex_lock(&deep->mutex);
    bool under_way = deep->state == DEEP_REKEY_RUNNING || deep->state == DEEP_REKEY_PAUSED;
    bool fits = order->throttles ? under_way : deep->state == order->from;
    if (fits && order->throttles)
        deep->rate = order->rate;
    else if (fits)
        deep->state = order->to;
    condition_broadcast(&deep->wake);
    mutex_unlock(&deep->mutex);
    if (!fits)
        return error_explain(ERROR_NOT_FOUND, "%s", order->complaint);
    enum error error = deep_rekey_orders_keep(pool);
    return error ? error_prefix(error, "the deep rekey obeys, but only until the next start") : ERROR_NONE;
}

static enum error order_give(struct pool *pool, struct order order)
{
    mutex_lock(&pool->lock);
    enum error error = obey(pool, &order);
    mutex_unlock(&pool->lock);
    return error;
}

enum error pool_deep_rekey_pause(struct pool *pool)
{
    return order_give(pool, (struct order){.from = DEEP_REKEY_RUNNING,
                                           .to = DEEP_REKEY_PAUSED,
                                           .complaint = "no deep rekey runs that could be paused"});
}

enum error pool_deep_rekey_resume(struct pool *pool)
{
    return order_give(pool, (struct order){.from = DEEP_REKEY_PAUSED,
                                           .to = DEEP_REKEY_RUNNING,
                                           .complaint = "no deep rekey is paused"});
}

enum error pool_deep_rekey_throttle(struct pool *pool, uint64_t rate)
{
    if (rate != 0 && rate < DEEP_REKEY_RATE_MIN)
        return error_explain(ERROR_INVALID, "a deep rekey at %" PRIu64 " bytes a second would hardly end: say 64K or more", rate);
    return order_give(pool, (struct order){.rate = rate, .throttles = true, .complaint = "no deep rekey is under way"});
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

static void figures_take(struct deep_rekey *deep, struct deep_rekey_status *status)
{
    mutex_lock(&deep->mutex);
    status->state = deep->state;
    status->rate = deep->rate;
    status->started = deep->started;
    status->bytes_moved = deep->bytes;
    status->nanoseconds = deep->nanoseconds;
    status->blocks_lost = deep->blocks_lost;
    status->waits = deep->holdup;
    status->log_key_stays = deep->log_key_stays;
    mutex_unlock(&deep->mutex);
}

static enum error shares_take(struct pool *pool, enum key_kind kind, struct key_share **shares, size_t *count) REQUIRES(pool->lock)
{
    TRY(pool_check_unlocked(pool));
    size_t capacity = (size_t)pool->group->device_count * KEY_SLOTS_MAX;
    *shares = malloc(capacity * sizeof **shares);
    if (!*shares)
        return ERROR_NO_MEMORY;
    *count = group_key_shares(pool->group, kind, *shares, capacity);
    return ERROR_NONE;
}

enum error pool_deep_rekey_status(struct pool *pool, struct deep_rekey_status *status)
{
    AUTO_FREE struct key_share *shares = NULL;
    size_t count = 0;
    *status = (struct deep_rekey_status){.state = DEEP_REKEY_NONE};
    mutex_lock(&pool->lock);
    enum error error = shares_take(pool, KEY_KIND_DEK, &shares, &count);
    if (!error) {
        uint64_t size = segment_size(&pool->group->segments);
        for (size_t i = 0; i < count; i++) {
            status->bytes_total += shares[i].segments * size;
            status->bytes_left += shares[i].current ? 0 : shares[i].segments * size;
        }
        if (pool->deep_rekey)
            figures_take(pool->deep_rekey, status);
        if (group_is_fenced(pool->group) && status->state == DEEP_REKEY_RUNNING)
            status->waits = ERROR_FENCED;
    }
    mutex_unlock(&pool->lock);
    if (!error && status->state == DEEP_REKEY_RUNNING && status->bytes_moved)
        status->seconds_left = (uint64_t)((double)status->bytes_left * (double)status->nanoseconds / (double)CLOCK_SECOND /
                                          (double)status->bytes_moved) + 1;
    return error;
}

static enum error keys_tell(struct pool *pool, enum key_kind kind, struct key_slot_info **infos, size_t *count)
{
    AUTO_FREE struct key_share *shares = NULL;
    struct key_slot_info *found = NULL;
    mutex_lock(&pool->lock);
    enum error error = shares_take(pool, kind, &shares, count);
    if (!error && !(found = memory_zeroed(*count + 1, sizeof *found)))
        error = ERROR_NO_MEMORY;
    for (size_t i = 0; i < *count && !error; i++) {
        strncpy(found[i].device, pool->group->devices[shares[i].device]->path, sizeof found[i].device - 1);
        found[i].slot = shares[i].number;
        found[i].current = shares[i].current;
        found[i].segments = shares[i].segments;
        found[i].segment_bytes = shares[i].segments * segment_size(&pool->group->segments);
        found[i].live_bytes = shares[i].bytes;
    }
    mutex_unlock(&pool->lock);
    if (!error)
        *infos = found;
    return error;
}

enum error pool_key_slots(struct pool *pool, struct key_slot_info **infos, size_t *count)
{
    return keys_tell(pool, KEY_KIND_DEK, infos, count);
}

enum error pool_log_keys(struct pool *pool, struct key_slot_info **infos, size_t *count)
{
    return keys_tell(pool, KEY_KIND_LOG, infos, count);
}
