/*
 * What a person says to the scrub, and what it says of itself. All calls come from outside, under pool->lock, which
 * keeps the scrub there; the job is under its own mutex. An order is saved by the thread a moment later: a crash in
 * between forgets it, and `coffer scrub status` shows so.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/pool/scrub.h"

static enum error scrub_find(struct pool *pool, struct scrub **scrub) REQUIRES(pool->lock)
{
    TRY(pool_check_unlocked(pool));
    if (!pool->scrub)
        return error_explain(ERROR_READ_ONLY, "the pool is open for reading only: a scrub would save its position");
    *scrub = pool->scrub;
    return ERROR_NONE;
}

static enum error rate_check(uint64_t rate)
{
    if (rate == 0 || rate >= SCRUB_RATE_MIN)
        return ERROR_NONE;
    return error_explain(ERROR_INVALID, "a scrub of %" PRIu64 " bytes a second would hardly end: say 64K or more",
                         rate);
}

struct order {
    enum { ORDER_START, ORDER_PAUSE, ORDER_RESUME, ORDER_CANCEL, ORDER_THROTTLE } what;
    uint64_t rate;
};

static enum error start(struct scrub *scrub, const char *command)
{
    struct scrub_job *job = &scrub->job;
    if (job->state == SCRUB_RUNNING)
        return error_explain(ERROR_BUSY, "a scrub runs already: `%s scrub status` shows it", command);
    if (job->state == SCRUB_PAUSED)
        return error_explain(ERROR_BUSY,
                             "a scrub is paused: `%s scrub resume` goes on with it, `%s scrub cancel` ends it", command,
                             command);
    *job = (struct scrub_job){
        .state = SCRUB_RUNNING,
        .pass = job->pass + 1,
        .started = clock_realtime() / CLOCK_SECOND,
        .rate = job->rate,
        .completed = job->completed,
        .completed_bytes = job->completed_bytes,
        .completed_seconds = job->completed_seconds,
        .completed_damages = job->completed_damages,
    };
    return ERROR_NONE;
}

static enum error state_change(struct scrub *scrub, enum scrub_state from, enum scrub_state to, const char *complaint)
{
    bool cancels = to == SCRUB_CANCELLED && scrub->job.state == SCRUB_PAUSED;
    if (scrub->job.state != from && !cancels)
        return error_explain(ERROR_NOT_FOUND, "%s", complaint);
    scrub->job.state = to;
    return ERROR_NONE;
}

static enum error obey(struct scrub *scrub, const struct order *order) REQUIRES(scrub->mutex)
{
    switch (order->what) {
    case ORDER_START:
        return start(scrub, pool_command(scrub->pool));
    case ORDER_PAUSE:
        return state_change(scrub, SCRUB_RUNNING, SCRUB_PAUSED, "no scrub runs that could be paused");
    case ORDER_RESUME:
        return state_change(scrub, SCRUB_PAUSED, SCRUB_RUNNING, "no scrub is paused");
    case ORDER_CANCEL:
        return state_change(scrub, SCRUB_RUNNING, SCRUB_CANCELLED, "no scrub runs that could be cancelled");
    default:
        return ERROR_NONE;
    }
}

static enum error order_give(struct pool *pool, const struct order *order) REQUIRES(pool->lock)
{
    struct scrub *scrub;
    TRY(scrub_find(pool, &scrub));
    if (order->what == ORDER_START || order->what == ORDER_RESUME)
        TRY(pool_check_usable(pool));
    mutex_lock(&scrub->mutex);
    enum error error = obey(scrub, order);
    if (!error) {
        if (order->rate != SCRUB_RATE_KEEP)
            scrub->job.rate = order->rate;
        scrub->unsaved = true;
        condition_broadcast(&scrub->wake);
    }
    struct scrub_job job = scrub->job;
    mutex_unlock(&scrub->mutex);
    if (!error)
        damages_set_pass(pool->damages, job.pass, job.state == SCRUB_RUNNING || job.state == SCRUB_PAUSED,
                         order->what == ORDER_START);
    return error;
}

static enum error order_take(struct pool *pool, struct order order)
{
    if (order.rate != SCRUB_RATE_KEEP)
        TRY(rate_check(order.rate));
    mutex_lock(&pool->lock);
    enum error error = order_give(pool, &order);
    mutex_unlock(&pool->lock);
    return error;
}

enum error pool_scrub_start(struct pool *pool, uint64_t rate)
{
    return order_take(pool, (struct order){ORDER_START, rate});
}

enum error pool_scrub_pause(struct pool *pool)
{
    return order_take(pool, (struct order){ORDER_PAUSE, SCRUB_RATE_KEEP});
}

enum error pool_scrub_resume(struct pool *pool)
{
    return order_take(pool, (struct order){ORDER_RESUME, SCRUB_RATE_KEEP});
}

enum error pool_scrub_cancel(struct pool *pool)
{
    return order_take(pool, (struct order){ORDER_CANCEL, SCRUB_RATE_KEEP});
}

enum error pool_scrub_throttle(struct pool *pool, uint64_t rate)
{
    return order_take(pool, (struct order){ORDER_THROTTLE, rate});
}

/* ---- what it says --------------------------------------------------------------------------------------------- */

/* Bytes at the end, from the share of the table of places that was walked; before that, what is alive. */
static uint64_t bytes_expected(const struct scrub_job *job, uint64_t pages, uint64_t live)
{
    uint64_t expected = live;
    if (job->step > SCRUB_CHUNKS)
        expected = job->bytes + job->bytes / 256; /* of maps: about so much of what they map */
    else if (job->step == SCRUB_CHUNKS && job->at != 0)
        expected = job->bytes_before_chunks + (uint64_t)((double)(job->bytes - job->bytes_before_chunks) *
                                                         (double)MAX(pages, job->at) / (double)job->at);
    return job->state == SCRUB_COMPLETE ? job->bytes : MAX(expected, job->bytes);
}

static enum error damages_count(struct pool *pool, struct scrub_status *status)
{
    AUTO_FREE struct damage *rows = NULL;
    size_t count;
    bool more;
    TRY(damages_copy(pool->damages, false, &rows, &count, &more));
    status->damages = count;
    for (size_t i = 0; i < count; i++)
        if (rows[i].kind == DAMAGE_BLOCKS)
            status->damaged_bytes += (rows[i].end - rows[i].first) * COFFER_BLOCK;
    return ERROR_NONE;
}

static enum error status_fill(struct pool *pool, struct scrub_status *status) REQUIRES(pool->lock)
{
    struct scrub *scrub;
    struct group_figures figures;
    TRY(scrub_find(pool, &scrub));
    group_figures(pool->group, &figures);
    mutex_lock(&scrub->mutex);
    struct scrub_job job = scrub->job;
    uint64_t pages = scrub->chunk_pages;
    mutex_unlock(&scrub->mutex);
    *status = (struct scrub_status){
        .state = job.state,
        .step = job.state == SCRUB_RUNNING || job.state == SCRUB_PAUSED ? scrub_step_name(job.step) : "",
        .fenced = group_is_fenced(pool->group),
        .rate = job.rate,
        .started = job.started,
        .bytes_verified = job.bytes,
        .bytes_expected = bytes_expected(&job, pages, figures.live_data_bytes + figures.live_meta_bytes),
        .nanoseconds = job.nanoseconds,
        .completed = job.completed,
        .completed_bytes = job.completed_bytes,
        .completed_seconds = job.completed_seconds,
        .completed_damages = job.completed_damages,
    };
    double left = (double)(status->bytes_expected - job.bytes) * (double)job.nanoseconds / (double)CLOCK_SECOND;
    if (job.bytes && job.state == SCRUB_RUNNING && !status->fenced && job.step <= SCRUB_CHUNKS) /* then it is little */
        status->seconds_left = (uint64_t)(left / (double)job.bytes) + 1;
    return damages_count(pool, status);
}

enum error pool_scrub_status(struct pool *pool, struct scrub_status *status)
{
    mutex_lock(&pool->lock);
    enum error error = status_fill(pool, status);
    mutex_unlock(&pool->lock);
    return error;
}
