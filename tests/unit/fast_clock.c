/* The linker puts these in the place of those of base/ (--wrap). No state; clock_realtime() is left as it is. */
#include "tests/unit/fast_clock.h"

#include "base/clock.h"
#include "base/thread.h"

uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
void __real_clock_sleep(uint64_t nanoseconds);
void __wrap_clock_sleep(uint64_t nanoseconds);
bool __real_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);
bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline) REQUIRES(mutex);

uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() * FAST_CLOCK;
}

void __wrap_clock_sleep(uint64_t nanoseconds)
{
    __real_clock_sleep(nanoseconds / FAST_CLOCK);
}

/* Not a moment too early: who wakes looks whether the time has come. */
bool __wrap_condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    return __real_condition_wait_until(condition, mutex, deadline / FAST_CLOCK + 1);
}
