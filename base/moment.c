/* Moments as text, in one form each for days, minutes and seconds. Pure, apart from the time zone; no locks. */
#include "base/moment.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

static const char *print(uint64_t seconds, bool local, const char *form, char text[MOMENT_TEXT_SIZE])
{
    time_t time = (time_t)seconds;
    struct tm parts;
    bool known = seconds <= INT64_MAX && (local ? localtime_r(&time, &parts) : gmtime_r(&time, &parts)) != NULL;
    if (!known || strftime(text, MOMENT_TEXT_SIZE, form, &parts) == 0)
        memcpy(text, "?", 2);
    return text;
}

const char *moment_day(uint64_t seconds, char text[MOMENT_TEXT_SIZE])
{
    return print(seconds, true, "%Y-%m-%d", text);
}

const char *moment_minute(uint64_t seconds, char text[MOMENT_TEXT_SIZE])
{
    return print(seconds, true, "%Y-%m-%d %H:%M", text);
}

const char *moment_second(uint64_t seconds, char text[MOMENT_TEXT_SIZE])
{
    return print(seconds, true, "%Y-%m-%d %H:%M:%S", text);
}

const char *moment_utc(uint64_t seconds, char text[MOMENT_TEXT_SIZE])
{
    return print(seconds, false, "%Y-%m-%dT%H:%M:%SZ", text);
}
