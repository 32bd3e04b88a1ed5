/* Moments to come, as people write them. */
#ifndef COFFER_TOOLS_DATE_H
#define COFFER_TOOLS_DATE_H

#include <stdint.h>

#include "base/error.h"

#define DATE_FORMS "2030-12-31, '2030-12-31 18:00', or +30d from now"

/* A date, or date and time, as in ISO 8601 and systemd.time(7), in local time or, with a Z or " UTC" behind it, in UTC;
 * or a time from `now` on, with its unit (base/size.h). Seconds since 1970. ERROR_INVALID, with a sentence: it is none of
 * these, there is no such day, or it is no later than `now`. */
enum error date_parse(const char *text, uint64_t now, uint64_t *seconds) CHECKED;

#endif
