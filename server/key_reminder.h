/* A word a day in the messages, for as long as the pool's key is not looked after (key_care.h). */
#ifndef COFFER_SERVER_KEY_REMINDER_H
#define COFFER_SERVER_KEY_REMINDER_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

struct pool;
struct key_reminder;

#define KEY_REMINDER_FIRST (60 * CLOCK_SECOND) /* when who started the daemon has read its other messages */
#define KEY_REMINDER_PAUSE (UINT64_C(86400) * CLOCK_SECOND)

/* Starts a thread; `pool` outlives it. The first word comes `first` nanoseconds from now, each next `pause` later. */
enum error key_reminder_start(struct pool *pool, uint64_t first, uint64_t pause, struct key_reminder **reminder) CHECKED;
void key_reminder_stop(struct key_reminder *reminder); /* NULL is allowed */

#endif
