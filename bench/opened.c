/* Opening and closing a pool of a run. One thread; a crash is one of the pool's. */
#include "bench/opened.h"

#include "base/clock.h"
#include "base/memory.h"
#include "bench/regenerated.h"
#include "bench/timed.h"
#include "bench/workload.h"

static enum error index_await(struct pool *pool)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    if (!status)
        return ERROR_NO_MEMORY;
    for (;;) {
        TRY(pool_status(pool, status));
        if (status->index_full)
            return ERROR_NONE;
        clock_sleep(10 * CLOCK_MILLISECOND);
    }
}

static enum error open_it(const struct bench_options *options, const char *directory, struct opened *opened)
{
    struct pool_open_options open = {.memory = options->memory, .no_index = options->no_index,
                                     .open_device = timed_open};
    if (options->regenerate) {
        struct generator_options data = workload_data(options->regenerate, WORKLOAD_MEASURED);
        TRY(generator_create(&data, &opened->regenerated));
        open.open_device = regenerated_open;
        open.open_device_context = opened->regenerated;
    }
    uint64_t begin = clock_monotonic();
    TRY(pool_open(directory, &open, &opened->pool));
    opened->opening = clock_monotonic() - begin;
    if (!options->no_index)
        TRY(index_await(opened->pool));
    opened->index_filling = clock_monotonic() - begin - opened->opening;
    return ERROR_NONE;
}

enum error opened_open(const struct bench_options *options, const char *directory, struct opened *opened)
{
    *opened = (struct opened){0};
    enum error error = open_it(options, directory, opened);
    if (!error)
        return ERROR_NONE;
    (void)!opened_close(opened);
    return error;
}

enum error opened_close(struct opened *opened)
{
    enum error error = opened->pool ? pool_close(opened->pool) : ERROR_NONE;
    generator_destroy(opened->regenerated);
    *opened = (struct opened){0};
    return error;
}
