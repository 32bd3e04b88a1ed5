/*
 * See steady.h. Nothing proves that a clock that leaps forward was wrong before, or is wrong now: a machine without a clock
 * of its own starts years behind and is set right by NTP; a wrong answer of NTP, or a guest that is resumed, is years ahead
 * for a minute. An hour too late costs space; a minute too early costs what somebody was promised. So of all that the
 * system's clock said within a day or two the earliest counts, and goes on from there as time passes.
 *
 * A start asks the checkpoint record, which says when it was written: the machine was off since, or its clock is wrong. An
 * hour is believed, so that a restart changes nothing.
 *
 * Only memory: a crash is harmless.
 */
#include "engine/pool/steady.h"

#include "base/clock.h"
#include "base/memory.h"

#define DAY           (UINT64_C(86400) * CLOCK_SECOND)
#define STOP_BELIEVED (UINT64_C(3600) * CLOCK_SECOND)
#define STORED_MAX    ((uint64_t)INT64_MAX / CLOCK_SECOND / 2) /* beyond that nothing is a time */

static int64_t ahead(uint64_t monotonic)
{
    return (int64_t)clock_realtime() - (int64_t)monotonic;
}

void steady_init(struct steady *steady)
{
    *steady = (struct steady){.begin = clock_monotonic()};
    mutex_init(&steady->mutex, RANK_LEAF);
    mutex_lock(&steady->mutex);
    steady->least[0] = steady->least[1] = ahead(steady->begin);
    steady->since = steady->begin;
    mutex_unlock(&steady->mutex);
}

void steady_deinit(struct steady *steady)
{
    mutex_deinit(&steady->mutex);
}

void steady_stored(struct steady *steady, uint64_t seconds)
{
    if (seconds == 0 || seconds > STORED_MAX)
        return;
    steady->stored = seconds;
    int64_t believed = (int64_t)(seconds * CLOCK_SECOND + STOP_BELIEVED) - (int64_t)steady->begin;
    mutex_lock(&steady->mutex);
    steady->least[0] = MIN(steady->least[0], believed);
    steady->least[1] = MIN(steady->least[1], believed);
    mutex_unlock(&steady->mutex);
}

uint64_t steady_now(struct steady *steady)
{
    uint64_t now = clock_monotonic();
    int64_t offset = ahead(now);
    mutex_lock(&steady->mutex);
    if (now >= steady->since + DAY) {
        steady->least[1] = steady->least[0];
        steady->least[0] = offset;
        steady->since = now;
    }
    steady->least[0] = MIN(steady->least[0], offset);
    int64_t time = (int64_t)now + MIN(steady->least[0], steady->least[1]);
    mutex_unlock(&steady->mutex);
    return time > 0 ? (uint64_t)time / CLOCK_SECOND : 0;
}

uint64_t steady_date(const struct steady *steady)
{
    return MAX(clock_seconds(), steady->stored);
}
