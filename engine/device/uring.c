/*
 * Rings: each thread submits to an io_uring of its own; any thread may wait for what another submitted.
 *
 * The submission queue belongs to the thread of the ring and needs no lock. The completion queue belongs to the
 * *reaper*: whoever waits and finds the ring without one. The reaper sleeps in the kernel, takes what has completed,
 * completes the operations and gives the role back; the others sleep on a condition meanwhile and look again. The
 * common case, a thread that runs a batch on its own ring, is one system call: submit and reap in one.
 *
 * Invariants:
 *  - in_flight counts operations submitted and not yet completed; it never exceeds the completion queue, which so
 *    cannot overflow.
 *  - an operation is pending only while its ring has an io_uring. A ring's thread cannot end before all it submitted
 *    is complete (the kernel cancels the work of a thread that is gone, and a cancelled write is a failed one).
 *  - the memory of a ring is never freed, only reused by a later thread: who waits for an operation of another thread
 *    may look at its ring even just after that thread ended.
 *
 * Locks: ring->lock (RANK_DEVICE) guards the role and the count, parked_lock (RANK_LEAF) the rings without a thread.
 * Neither is held across a system call of io_uring. The order "operation written, state stored (device.c), submitted"
 * against "reaped, state loaded" makes the operation visible to a reaper that never met the submitter.
 *
 * A crash is harmless: nothing is kept here, and the kernel ends or finishes what is in flight.
 */
#include "engine/device/uring.h"

#include <errno.h>
#include <liburing.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "engine/device/kind.h"
#include "engine/device/transfer.h"

enum {
    RING_ENTRIES = 128,   /* a batch of requests fits, with room for its metadata */
    RING_IN_FLIGHT = 512, /* log buffers and discards that nobody waits for yet come on top */
    RING_REAPED = 64,     /* completions taken at once: what lies on the stack */
};

struct ring {
    struct io_uring uring;
    struct mutex lock;
    struct condition changed; /* an operation completed, or the role is free */
    bool reaping GUARDED_BY(&lock);
    unsigned in_flight GUARDED_BY(&lock);
    struct ring *parked_next;
    bool made; /* `uring` is set up; kept while parked, for the next thread */
};

static _Thread_local struct ring *thread_ring;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;
static struct mutex parked_lock;
static struct ring *parked GUARDED_BY(&parked_lock);
static atomic_bool unavailable_told;

/* ---- reaping -------------------------------------------------------------------------------------------------- */

/* Completes what the kernel has completed, and returns how many. Only for the reaper. */
static unsigned ring_collect(struct ring *ring)
{
    unsigned total = 0;
    struct io_uring_cqe *entries[RING_REAPED];
    for (;;) {
        unsigned count = io_uring_peek_batch_cqe(&ring->uring, entries, RING_REAPED);
        if (count == 0)
            return total;
        for (unsigned i = 0; i < count; i++) {
            struct device_io *io = io_uring_cqe_get_data(entries[i]);
            ASSERT(io_state(io) == IO_PENDING);
            transfer_finish(io, entries[i]->res);
        }
        io_uring_cq_advance(&ring->uring, count);
        total += count;
    }
}

/* Sleeps until at least one operation is complete. Only for the reaper. */
static void ring_sleep(struct ring *ring)
{
    if (io_uring_cq_ready(&ring->uring) > 0)
        return;
    int result = io_uring_enter((unsigned)ring->uring.ring_fd, 0, 1, IORING_ENTER_GETEVENTS, NULL);
    ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY);
}

static void ring_leave_role(struct ring *ring, unsigned completed)
{
    mutex_lock(&ring->lock);
    ASSERT(completed <= ring->in_flight);
    ring->in_flight -= completed;
    ring->reaping = false;
    condition_broadcast(&ring->changed);
    mutex_unlock(&ring->lock);
}

/* Reaps, or waits for the reaper to get on. The lock is given up meanwhile. */
static void ring_progress(struct ring *ring) REQUIRES(&ring->lock);
static void ring_progress(struct ring *ring)
{
    if (ring->reaping) {
        condition_wait(&ring->changed, &ring->lock);
        return;
    }
    ring->reaping = true;
    mutex_unlock(&ring->lock);
    ring_sleep(ring);
    ring_leave_role(ring, ring_collect(ring));
    mutex_lock(&ring->lock);
}

void uring_wait(struct device_io *io)
{
    struct ring *ring = io->context;
    mutex_lock(&ring->lock);
    while (!io_is_complete(io))
        ring_progress(ring);
    mutex_unlock(&ring->lock);
}

/* ---- the life of a ring --------------------------------------------------------------------------------------- */

static struct ring *ring_unpark(void)
{
    mutex_lock(&parked_lock);
    struct ring *ring = parked;
    if (ring != NULL)
        parked = ring->parked_next;
    mutex_unlock(&parked_lock);
    if (ring != NULL)
        return ring;
    ring = memory_zeroed(1, sizeof(*ring));
    if (ring != NULL) {
        mutex_init(&ring->lock, RANK_DEVICE);
        condition_init(&ring->changed);
    }
    return ring;
}

static void ring_park(struct ring *ring)
{
    mutex_lock(&parked_lock);
    ring->parked_next = parked;
    parked = ring;
    mutex_unlock(&parked_lock);
}

static void ring_end(void *argument)
{
    struct ring *ring = argument;
    thread_ring = NULL;
    mutex_lock(&ring->lock);
    while (ring->in_flight > 0)
        ring_progress(ring);
    mutex_unlock(&ring->lock);
    ring_park(ring);
}

/* A child process shares the memory of its parent's rings and must not touch it. */
static void rings_forget(void) NO_THREAD_SAFETY_ANALYSIS;
static void rings_forget(void)
{
    thread_ring = NULL;
    pthread_setspecific(thread_end, NULL);
    mutex_init(&parked_lock, RANK_LEAF);
    parked = NULL;
}

static void rings_init(void)
{
    mutex_init(&parked_lock, RANK_LEAF);
    ASSERT(pthread_key_create(&thread_end, ring_end) == 0);
    ASSERT(pthread_atfork(NULL, NULL, rings_forget) == 0);
}

static void tell_unavailable(int os_error)
{
    if (!atomic_exchange(&unavailable_told, true))
        message(MESSAGE_WARNING, "io_uring is not available (%s): device I/O goes one by one and is slow",
                os_error_sentence(os_error));
}

/* Once for a ring's life: threads come and go with connections, and a ring that was parked serves the next of them. */
static bool ring_set_up(struct ring *ring)
{
    if (ring->made)
        return true;
    struct io_uring_params parameters = {.flags = IORING_SETUP_CQSIZE, .cq_entries = RING_IN_FLIGHT};
    int result = io_uring_queue_init_params(RING_ENTRIES, &ring->uring, &parameters);
    if (result < 0)
        tell_unavailable(-result);
    ring->made = result >= 0;
    return ring->made;
}

static struct ring *ring_make(void)
{
    pthread_once(&once, rings_init);
    struct ring *ring = ring_unpark();
    if (ring == NULL)
        return NULL;
    if (!ring_set_up(ring) || pthread_setspecific(thread_end, ring) != 0) {
        ring_park(ring);
        return NULL;
    }
    thread_ring = ring;
    return ring;
}

static struct ring *ring_of_thread(void)
{
    return thread_ring != NULL ? thread_ring : ring_make();
}

/* ---- submitting ----------------------------------------------------------------------------------------------- */

/* Waits until `count` more operations may be in flight, counts them in, and takes the reaper's role where it is
 * wanted and free. Returns for how many completions a reaper should sleep: for all of its own where nothing else is in
 * flight; else for one, since others may wait for what is. 0 where the role was not taken. */
static unsigned ring_enter(struct ring *ring, unsigned count, bool reap)
{
    mutex_lock(&ring->lock);
    while (ring->in_flight + count > RING_IN_FLIGHT)
        ring_progress(ring);
    ring->in_flight += count;
    unsigned minimum = 0;
    if (reap && !ring->reaping) {
        ring->reaping = true;
        minimum = ring->in_flight == count ? count : 1;
    }
    mutex_unlock(&ring->lock);
    return minimum;
}

/* Where the kernel is short of memory it takes a part of the queue, or nothing: the rest is offered again. */
static void ring_push(struct ring *ring, unsigned minimum)
{
    do {
        int result = minimum > 0 ? io_uring_submit_and_wait(&ring->uring, minimum) : io_uring_submit(&ring->uring);
        if (result >= 0)
            continue;
        ASSERT(result == -EINTR || result == -EAGAIN || result == -EBUSY || result == -ENOMEM);
        if (result != -EINTR)
            clock_sleep(CLOCK_MILLISECOND);
        minimum = 0;
    } while (io_uring_sq_ready(&ring->uring) > 0);
}

static void ring_prepare(struct ring *ring, struct device_io *io)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    ASSERT(entry != NULL);
    io->context = ring;
    transfer_prepare(io, entry);
}

/* Submits at most RING_ENTRIES operations, all of which can be queued; with `reap` also sleeps until some or all of
 * them are complete, in the same system call. */
static void ring_submit(struct ring *ring, struct device_io **ios, unsigned count, bool reap)
{
    unsigned minimum = ring_enter(ring, count, reap);
    for (unsigned i = 0; i < count; i++)
        ring_prepare(ring, ios[i]);
    ring_push(ring, minimum);
    if (minimum > 0)
        ring_leave_role(ring, ring_collect(ring));
}

/* Submits what can be queued, then runs the rest; what was submitted is not looked at again: another thread may have
 * waited for it and freed it. */
static void submit_round(struct ring *ring, struct device_io **ios, size_t count, bool reap)
{
    struct device_io *queued[RING_ENTRIES], *unqueued[RING_ENTRIES];
    unsigned queued_count = 0, unqueued_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (ring != NULL && transfer_can_queue(ios[i]))
            queued[queued_count++] = ios[i];
        else
            unqueued[unqueued_count++] = ios[i];
    }
    if (queued_count > 0)
        ring_submit(ring, queued, queued_count, reap);
    for (unsigned i = 0; i < unqueued_count; i++)
        transfer_run(unqueued[i]);
}

static void submit_all(struct device_io **ios, size_t count, bool reap)
{
    struct ring *ring = ring_of_thread();
    for (size_t i = 0; i < count; i += RING_ENTRIES)
        submit_round(ring, ios + i, MIN(count - i, (size_t)RING_ENTRIES), reap);
}

void uring_submit(struct device_io **ios, size_t count)
{
    submit_all(ios, count, false);
}

void uring_run(struct device_io **ios, size_t count)
{
    submit_all(ios, count, true);
    for (size_t i = 0; i < count; i++)
        if (!io_is_complete(ios[i]))
            uring_wait(ios[i]);
}
