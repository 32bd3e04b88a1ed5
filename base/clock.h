/* Time. All of Coffer asks here, so that the simulator can put its own clock in place. */
#ifndef COFFER_BASE_CLOCK_H
#define COFFER_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_SECOND UINT64_C(1000000000)
#define CLOCK_MILLISECOND UINT64_C(1000000)

uint64_t clock_monotonic(void); /* nanoseconds since some start */
uint64_t clock_realtime(void);  /* nanoseconds since 1970 */
void clock_sleep(uint64_t nanoseconds);

/* Seconds since 1970, as they stand on disk. */
static inline uint64_t clock_seconds(void)
{
    return clock_realtime() / CLOCK_SECOND;
}

#endif
