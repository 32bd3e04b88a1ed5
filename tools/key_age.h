/* How old a key is, for people. */
#ifndef COFFER_TOOLS_KEY_AGE_H
#define COFFER_TOOLS_KEY_AGE_H

#include <jansson.h>
#include <stdint.h>
#include <time.h>

#include "tools/text.h"

#define KEY_AGE_SIZE (2 * TEXT_SIZE)

/* "2026-11-30 07:00, 12 days ago" of a time in an answer; "not known" where it has none. */
static inline const char *key_age_text(const json_t *json, const char *name, char text[KEY_AGE_SIZE])
{
    char time_text[TEXT_SIZE];
    const json_t *value = json_object_get(json, name);
    if (!json_is_integer(value))
        return "not known";
    uint64_t then = (uint64_t)json_integer_value(value), now = (uint64_t)time(NULL), days = now > then ? (now - then) / 86400 : 0;
    if (days == 0)
        snprintf(text, KEY_AGE_SIZE, "%s", text_time(then, time_text));
    else
        snprintf(text, KEY_AGE_SIZE, "%s, %llu day%s ago", text_time(then, time_text), (unsigned long long)days, days == 1 ? "" : "s");
    return text;
}

#endif
