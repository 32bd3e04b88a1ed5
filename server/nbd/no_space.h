/* A word in the messages for who looks there why a guest stands still. */
#ifndef COFFER_SERVER_NBD_NO_SPACE_H
#define COFFER_SERVER_NBD_NO_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define NO_SPACE_PAUSE (600 * CLOCK_SECOND)

/* A client was answered that there is no space: told at most once in NO_SPACE_PAUSE, whatever number of clients is. `now` is of
 * clock_monotonic(). Whether it was told now. */
bool no_space_tell(uint64_t now);

#endif
