/* Moments, as people read them. */
#ifndef COFFER_BASE_MOMENT_H
#define COFFER_BASE_MOMENT_H

#include <stdint.h>

#define MOMENT_TEXT_SIZE 32 /* with the terminating zero */

/* Of seconds since 1970; they return `text`, which is "?" where no calendar goes that far. In local time: 2026-11-30, and the same with
 * 07:20 or 07:20:59 behind it. */
const char *moment_day(uint64_t seconds, char text[MOMENT_TEXT_SIZE]);
const char *moment_minute(uint64_t seconds, char text[MOMENT_TEXT_SIZE]);
const char *moment_second(uint64_t seconds, char text[MOMENT_TEXT_SIZE]);
/* 2026-11-30T07:20:59Z (RFC 3339). */
const char *moment_utc(uint64_t seconds, char text[MOMENT_TEXT_SIZE]);

#endif
