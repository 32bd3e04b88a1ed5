/*
 * Dates that are typed. Read strictly: what a library's parser would take for something else, as a February of 31 days,
 * a year alone, or a number of seconds since 1970, is refused, since a lock that is set by it cannot be taken back. Pure,
 * apart from the time zone.
 */
#include "tools/date.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/size.h"

/* Whether `text` has digits where the form has zeros, and elsewhere what that has. */
static bool has_form(const char *text, size_t length, const char *form)
{
    if (length != strlen(form))
        return false;
    for (size_t i = 0; i < length; i++)
        if (form[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return false;
    return true;
}

/* How strptime() reads a date of `length` bytes; NULL where it has no such form. */
static const char *form_of(const char *text, size_t length)
{
    static const char *const forms[][2] = {{"0000-00-00", "%Y-%m-%d"},
                                           {"0000-00-00 00:00", "%Y-%m-%d %H:%M"},
                                           {"0000-00-00T00:00", "%Y-%m-%dT%H:%M"},
                                           {"0000-00-00 00:00:00", "%Y-%m-%d %H:%M:%S"},
                                           {"0000-00-00T00:00:00", "%Y-%m-%dT%H:%M:%S"}};
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (has_form(text, length, forms[i][0]))
            return forms[i][1];
    return NULL;
}

/* Bytes of `text` without what says that it is UTC. */
static size_t zone_strip(const char *text, bool *utc)
{
    static const char *const zones[] = {"Z", " UTC"};
    size_t length = strlen(text);
    *utc = false;
    for (size_t i = 0; i < COUNT_OF(zones) && !*utc; i++) {
        size_t size = strlen(zones[i]);
        *utc = length > size && strcmp(text + length - size, zones[i]) == 0;
        length -= *utc ? size : 0;
    }
    return length;
}

/* mktime() makes March of a 31st of February: what comes out must be what went in. */
static bool moment_parse(const char *text, uint64_t *seconds)
{
    bool utc;
    struct tm given = {.tm_isdst = -1};
    size_t length = zone_strip(text, &utc);
    const char *form = form_of(text, length);
    if (form == NULL || strptime(text, form, &given) != text + length)
        return false;
    struct tm made = given;
    time_t moment = utc ? timegm(&made) : mktime(&made);
    if (moment < 0 || made.tm_mon != given.tm_mon || made.tm_mday != given.tm_mday || made.tm_sec != given.tm_sec)
        return false;
    *seconds = (uint64_t)moment;
    return true;
}

/* A number without a unit could as well be a year. */
static bool duration_has_unit(const char *text)
{
    return text[0] != '\0' && isalpha((unsigned char)text[strlen(text) - 1]);
}

static bool later_parse(const char *text, uint64_t now, uint64_t *seconds)
{
    uint64_t duration;
    text += *text == '+';
    if (!duration_has_unit(text) || duration_parse(text, &duration) != ERROR_NONE)
        return false;
    return !__builtin_add_overflow(now, duration, seconds);
}

enum error date_parse(const char *text, uint64_t now, uint64_t *seconds)
{
    uint64_t moment;
    if (!moment_parse(text, &moment) && !later_parse(text, now, &moment))
        return error_explain(ERROR_INVALID, "'%s' is no date: write %s", text, DATE_FORMS);
    if (moment <= now)
        return error_explain(ERROR_INVALID, "'%s' is past", text);
    *seconds = moment;
    return ERROR_NONE;
}
