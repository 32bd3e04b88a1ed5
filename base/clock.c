/*
 * Time from the operating system. Kept apart from all else, so that the simulator can link its own clock instead.
 * No state, no locks.
 */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

#include "base/error.h"

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    int result = clock_gettime(id, &now);
    ASSERT(result == 0);
    return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}

/* Sleeps to a moment, not for a time: signals that interrupt it do not make it longer. */
void clock_sleep(uint64_t nanoseconds)
{
    uint64_t now = clock_monotonic();
    uint64_t end = nanoseconds > INT64_MAX - now ? INT64_MAX : now + nanoseconds;
    struct timespec deadline = {.tv_sec = (time_t)(end / CLOCK_SECOND), .tv_nsec = (long)(end % CLOCK_SECOND)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
        continue;
}
