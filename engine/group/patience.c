/*
 * Patience with reads. A device may refuse once and read the next time; and where it reads nothing at all, all comes
 * back with it, so then nothing is lost yet.
 *
 * Only reads: a crash is harmless. No locks.
 */
#include "engine/group/patience.h"

#include "base/clock.h"
#include "base/memory.h"

#define READ_TRIES    5
#define DAMAGE_TRIES  3
#define READ_PAUSE    (100 * CLOCK_MILLISECOND) /* before the second try; longer before each further one */
#define READ_WAIT_MAX (20 * CLOCK_SECOND)       /* of one caller */

/* Whether all devices read at all. Copies stand on several, and which of them refused is not asked: while one reads
 * nothing, what stands on it may come back with it, and nothing is given up. */
static bool devices_read(struct group *group)
{
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    for (uint32_t d = 0; d < group->device_count; d++)
        if (!block || device_read(group->devices[d], 0, block, BLOCK_SIZE) != ERROR_NONE)
            return false;
    return true;
}

enum error read_patiently(struct group *group, const struct attempt *attempt, uint64_t *waited)
{
    enum error error = attempt->read(group, attempt->context);
    for (unsigned tries = 1; error == ERROR_IO && tries < READ_TRIES && *waited < READ_WAIT_MAX; tries++) {
        if (group_is_fenced(group))
            return ERROR_FENCED;
        clock_sleep(tries * READ_PAUSE);
        *waited += tries * READ_PAUSE;
        error = attempt->read(group, attempt->context);
    }
    bool elsewhere = error == ERROR_IO && devices_read(group);
    for (unsigned tries = 1; error && (error == ERROR_CORRUPT || elsewhere) && tries < DAMAGE_TRIES; tries++)
        error = attempt->read(group, attempt->context);
    return error == ERROR_IO && elsewhere ? ERROR_CORRUPT : error;
}
