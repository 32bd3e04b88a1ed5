/* Sizes and times as people write them: "20G", "512M", "64TiB", "7d", "90m". */
#ifndef COFFER_BASE_SIZE_H
#define COFFER_BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Units K, M, G, T, P with optional "iB" or "B" are powers of 1024; a plain number is bytes. */
enum error size_parse(const char *text, uint64_t *bytes) CHECKED;
/* Units s, m, h, d, w; a plain number is seconds. */
enum error duration_parse(const char *text, uint64_t *seconds) CHECKED;
/* The same, and `off` as 0; a number without a unit, but for 0, is ERROR_INVALID. */
enum error period_parse(const char *text, uint64_t *seconds) CHECKED;
/* "1.5 GiB", three significant digits; returns `text`. */
char *size_format(uint64_t bytes, char *text, size_t size);
/* "3 d 4 h", "12.5 s"; returns `text`. */
char *duration_format(uint64_t nanoseconds, char *text, size_t size);
/* "730 days", "1 hour", "90 m", "off" for 0; of seconds; returns `text`. */
char *period_format(uint64_t seconds, char *text, size_t size);

#endif
