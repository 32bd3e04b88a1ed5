/*
 * The server's payload memory. Blocks are not given back to the kernel while there are clients: fresh pages cost more
 * than the copying of what they hold, and the bound counts them anyway. The block used last is used next, while it is
 * in the processor's cache. What they held is contents of disks: it is wiped when the last client leaves, which is
 * before a pool can be locked, since its volume closes after that.
 *
 * `lock` guards everything but `stalled` and is a leaf; it is not held while memory is allocated or wiped, and evict()
 * takes no lock inside of it. Nothing on disk.
 */
#include "server/nbd/payload.h"

#include "base/clock.h"
#include "base/memory.h"

#define PIECES_WAIT (CLOCK_SECOND / 10) /* for a block rather than a dozen small pieces: many batches' time */

struct payload_block {
    struct payload_block *next;
};

void payload_init(struct payload_pool *pool, size_t bytes_max, uint64_t wait_max, uint64_t patience)
{
    *pool = (struct payload_pool){
        .blocks_max = MAX(bytes_max / PAYLOAD_BLOCK_SIZE, PAYLOAD_BLOCKS_MIN),
        .wait_max = wait_max,
        .patience = patience,
    };
    mutex_init(&pool->lock, RANK_LEAF);
    condition_init(&pool->returned);
}

void payload_deinit(struct payload_pool *pool)
{
    mutex_lock(&pool->lock);
    ASSERT(pool->users == 0 && !pool->free && pool->taken == 0 && !pool->large_taken);
    mutex_unlock(&pool->lock);
    condition_deinit(&pool->returned);
    mutex_deinit(&pool->lock);
}

/* ---- users ----------------------------------------------------------------------------------------------------- */

void payload_join(struct payload_pool *pool, struct payload_user *user, void (*evict)(void *), void *context)
{
    *user = (struct payload_user){.pool = pool, .evict = evict, .context = context};
    mutex_lock(&pool->lock);
    pool->users++;
    mutex_unlock(&pool->lock);
}

static void blocks_wipe(struct payload_block *blocks)
{
    while (blocks) {
        struct payload_block *next = blocks->next;
        memory_free_cleansed(blocks);
        blocks = next;
    }
}

void payload_leave(struct payload_user *user)
{
    struct payload_pool *pool = user->pool;
    struct payload_block *unused = NULL;
    mutex_lock(&pool->lock);
    ASSERT(user->held == 0 && !user->own_taken);
    if (--pool->users == 0) {
        unused = pool->free;
        pool->free = NULL;
    }
    mutex_unlock(&pool->lock);
    blocks_wipe(unused);
    memory_free_cleansed(user->own);
    user->own = NULL;
}

/* ---- taking ---------------------------------------------------------------------------------------------------- */

static void lease_link(struct payload_pool *pool, struct payload_lease *lease) REQUIRES(pool->lock)
{
    lease->previous = NULL;
    lease->next = pool->leases;
    if (lease->next)
        lease->next->previous = lease;
    pool->leases = lease;
}

static void lease_unlink(struct payload_pool *pool, struct payload_lease *lease) REQUIRES(pool->lock)
{
    if (lease->previous)
        lease->previous->next = lease->next;
    else
        pool->leases = lease->next;
    if (lease->next)
        lease->next->previous = lease->previous;
}

static void lease_fill(struct payload_lease *lease, struct payload_user *user, enum payload_place place, void *data,
                       size_t size)
{
    lease->place = place;
    lease->user = user;
    lease->data = data;
    lease->size = size;
    atomic_store_explicit(&lease->stalled, 0, memory_order_relaxed);
}

/* These three take what is free at once; memory that was not allocated yet comes as NULL. */
static bool block_take(struct payload_pool *pool, struct payload_user *user, struct payload_lease *lease)
    REQUIRES(pool->lock)
{
    size_t left = pool->blocks_max - pool->taken;
    if (left <= (user->held > 0 ? pool->blocks_max / 2 : 0))
        return false;
    struct payload_block *block = pool->free;
    if (block)
        pool->free = block->next;
    pool->taken++;
    user->held++;
    user->went_without = false;
    lease_fill(lease, user, PAYLOAD_BLOCK, block, PAYLOAD_BLOCK_SIZE);
    lease_link(pool, lease);
    return true;
}

static bool own_take(struct payload_user *user, struct payload_lease *lease)
{
    if (user->own_taken)
        return false;
    user->own_taken = true;
    lease_fill(lease, user, PAYLOAD_OWN, user->own, PAYLOAD_OWN_SIZE);
    return true;
}

static bool large_take(struct payload_pool *pool, struct payload_user *user, size_t size, struct payload_lease *lease)
    REQUIRES(pool->lock)
{
    if (pool->large_taken)
        return false;
    pool->large_taken = true;
    lease_fill(lease, user, PAYLOAD_LARGE, NULL, ROUND_UP(size, COFFER_BLOCK));
    lease_link(pool, lease);
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

/* Somebody goes without: whose client has been waited for too long? */
static void evict_stalled(struct payload_pool *pool, uint64_t now) REQUIRES(pool->lock)
{
    for (struct payload_lease *lease = pool->leases; lease; lease = lease->next) {
        uint64_t since = atomic_load_explicit(&lease->stalled, memory_order_relaxed);
        if (since != 0 && since + pool->patience <= now)
            lease->user->evict(lease->user->context);
    }
}

struct want {
    size_t size;
    bool pieces;
    uint64_t prefer_until; /* a block is waited for before the own memory is taken */
};

static bool take(struct payload_pool *pool, struct payload_user *user, const struct want *want, uint64_t now,
                 struct payload_lease *lease) REQUIRES(pool->lock)
{
    if (want->size > PAYLOAD_BLOCK_SIZE && !want->pieces)
        return large_take(pool, user, want->size, lease);
    if (block_take(pool, user, lease))
        return true;
    evict_stalled(pool, now);
    if (want->size <= PAYLOAD_OWN_SIZE)
        return own_take(user, lease);
    user->went_without |= now >= want->prefer_until;
    return want->pieces && user->went_without && own_take(user, lease);
}

/* A stall becomes too long without an event, so whoever waits looks again from time to time. */
static void wait_returned(struct payload_pool *pool, const struct want *want, uint64_t now, uint64_t deadline)
    REQUIRES(pool->lock)
{
    uint64_t until = MIN(deadline, now + MAX(pool->patience / 4, CLOCK_MILLISECOND));
    if (now < want->prefer_until)
        until = MIN(until, want->prefer_until);
    evict_stalled(pool, now);
    condition_wait_until(&pool->returned, &pool->lock, until);
}

static enum error wait_and_take(struct payload_pool *pool, struct payload_user *user, struct want *want,
                                struct payload_lease *lease) REQUIRES(pool->lock)
{
    uint64_t now = clock_monotonic(), deadline = now + pool->wait_max;
    want->prefer_until = user->went_without ? now : now + PIECES_WAIT;
    while (!take(pool, user, want, now, lease)) {
        if (now >= deadline)
            return error_explain(ERROR_NO_MEMORY, "other clients held the memory for requests for too long: try again");
        wait_returned(pool, want, now, deadline);
        now = clock_monotonic();
    }
    return ERROR_NONE;
}

static bool lease_allocate(struct payload_lease *lease)
{
    if (!lease->data)
        lease->data = memory_aligned(lease->size);
    if (lease->data && lease->place == PAYLOAD_OWN)
        lease->user->own = lease->data; /* whoever took it is the only one to touch it */
    return lease->data;
}

enum error payload_get(struct payload_user *user, size_t size, bool pieces, struct payload_lease *lease)
{
    struct payload_pool *pool = user->pool;
    struct want want = {.size = size, .pieces = pieces};
    ASSERT(lease->place == PAYLOAD_NONE && size <= REQUEST_BYTES_MAX);
    mutex_lock(&pool->lock);
    bool taken = (size <= PAYLOAD_BLOCK_SIZE || pieces) && block_take(pool, user, lease);
    enum error error = taken ? ERROR_NONE : wait_and_take(pool, user, &want, lease);
    mutex_unlock(&pool->lock);
    if (error == ERROR_NONE && !lease_allocate(lease)) {
        payload_put(lease);
        return ERROR_NO_MEMORY;
    }
    return error;
}

/* ---- giving back ----------------------------------------------------------------------------------------------- */

static void block_put(struct payload_pool *pool, struct payload_lease *lease) REQUIRES(pool->lock)
{
    struct payload_block *block = (struct payload_block *)lease->data;
    pool->taken--;
    lease->user->held--;
    if (block) {
        block->next = pool->free;
        pool->free = block;
    }
}

/* A block that could not be allocated is none: only its count comes back. */
static void returned(struct payload_pool *pool, struct payload_lease *lease) REQUIRES(pool->lock)
{
    if (lease->place == PAYLOAD_OWN)
        lease->user->own_taken = false;
    else
        lease_unlink(pool, lease);
    if (lease->place == PAYLOAD_BLOCK)
        block_put(pool, lease);
    if (lease->place == PAYLOAD_LARGE)
        pool->large_taken = false;
    condition_broadcast(&pool->returned);
}

void payload_put(struct payload_lease *lease)
{
    if (lease->place == PAYLOAD_NONE)
        return;
    struct payload_pool *pool = lease->user->pool;
    if (lease->place == PAYLOAD_LARGE)
        memory_free_cleansed(lease->data);
    mutex_lock(&pool->lock);
    returned(pool, lease);
    mutex_unlock(&pool->lock);
    lease->place = PAYLOAD_NONE;
    lease->data = NULL;
    lease->size = 0;
}

void payload_stall_begin(struct payload_lease *lease)
{
    if (lease->place == PAYLOAD_BLOCK || lease->place == PAYLOAD_LARGE)
        atomic_store_explicit(&lease->stalled, clock_monotonic(), memory_order_relaxed);
}

void payload_stall_end(struct payload_lease *lease)
{
    atomic_store_explicit(&lease->stalled, 0, memory_order_relaxed);
}
