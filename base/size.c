/*
 * Sizes and times between numbers and what people write. Parsing is strict: a whole text or nothing, and a number that
 * does not fit is refused, never wrapped. No state, no locks.
 */
#include "base/size.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

/* A decimal number: `whole` and `fraction` of 10^-digits. */
struct decimal {
    uint64_t whole;
    uint64_t fraction;
    uint64_t scale; /* 10^digits; 1 where there is no fraction */
};

#define FRACTION_DIGITS_MAX 9 /* so that fraction times a unit stays inside 64 bits times 1000 */

/* Reads a decimal number and moves *text behind it; false where there is none, or it is too long. */
static bool decimal_read(const char **text, struct decimal *decimal, bool *overflow)
{
    const char *position = *text;
    *decimal = (struct decimal){.scale = 1};
    if (!isdigit((unsigned char)*position))
        return false;
    for (; isdigit((unsigned char)*position); position++)
        if (__builtin_mul_overflow(decimal->whole, 10, &decimal->whole) ||
            __builtin_add_overflow(decimal->whole, (uint64_t)(*position - '0'), &decimal->whole))
            *overflow = true;
    if (*position == '.') {
        const char *first = ++position;
        for (; isdigit((unsigned char)*position) && position - first < FRACTION_DIGITS_MAX; position++) {
            decimal->fraction = decimal->fraction * 10 + (uint64_t)(*position - '0');
            decimal->scale *= 10;
        }
        if (position == first)
            return false;
    }
    *text = position;
    return true;
}

static bool decimal_multiply(const struct decimal *decimal, uint64_t unit, uint64_t *product)
{
    uint64_t part = (uint64_t)((unsigned __int128)decimal->fraction * unit / decimal->scale);
    return !__builtin_mul_overflow(decimal->whole, unit, product) && !__builtin_add_overflow(*product, part, product);
}

/* The factor of a size's unit ("", "B", "K", "KB", "KiB", ...), 0 where it is none. */
static uint64_t size_unit(const char *text)
{
    static const char letters[] = "KMGTP";
    if (*text == 0 || strcmp(text, "B") == 0)
        return 1;
    const char *letter = strchr(letters, toupper((unsigned char)*text));
    if (letter == NULL)
        return 0;
    text++;
    if (*text != 0 && strcmp(text, "B") != 0 && strcmp(text, "iB") != 0)
        return 0;
    return UINT64_C(1024) << (10 * (letter - letters));
}

static uint64_t duration_unit(const char *text)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (*text == units[i].letter && (*text == 0 || text[1] == 0))
            return units[i].seconds;
    return 0;
}

static enum error number_parse(const char *text, uint64_t (*unit_of)(const char *), const char *noun,
                               const char *examples, uint64_t *number)
{
    struct decimal decimal;
    const char *position = text;
    bool overflow = false;
    uint64_t unit = decimal_read(&position, &decimal, &overflow) ? unit_of(position) : 0;
    if (unit == 0 || (unit == 1 && decimal.scale > 1))
        return error_explain(ERROR_INVALID, "\"%.64s\" is not a %s: write it like %s", text, noun, examples);
    uint64_t product;
    if (overflow || !decimal_multiply(&decimal, unit, &product))
        return error_explain(ERROR_TOO_LARGE, "the %s \"%.64s\" is too large", noun, text);
    *number = product;
    return ERROR_NONE;
}

enum error size_parse(const char *text, uint64_t *bytes)
{
    return number_parse(text, size_unit, "size", "20G, 512M, 1.5TiB or 4096", bytes);
}

enum error duration_parse(const char *text, uint64_t *seconds)
{
    return number_parse(text, duration_unit, "duration", "30s, 90m, 12h, 7d or 2w", seconds);
}

enum error period_parse(const char *text, uint64_t *seconds)
{
    uint64_t parsed = 0;
    if (strcasecmp(text, "off") != 0)
        TRY(duration_parse(text, &parsed));
    if (parsed != 0 && isdigit((unsigned char)text[strlen(text) - 1]))
        return error_explain(ERROR_INVALID, "\"%.64s\" has no unit: write 7d, 12h or 90s, or off", text);
    *seconds = parsed;
    return ERROR_NONE;
}

/* Three digits of `value` in the first unit in which it rounds to less than `step`. */
static void format_scaled(double value, double step, const char *const *units, size_t count, char *text, size_t size)
{
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < count) {
        value /= step;
        unit++;
    }
    snprintf(text, size, value >= 999.5 ? "%.0f %s" : "%.3g %s", value, units[unit]);
}

char *size_format(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        snprintf(text, size, "%u B", (unsigned)bytes);
    else
        format_scaled((double)bytes, 1024, units, COUNT_OF(units), text, size);
    return text;
}

static void format_two(uint64_t first, const char *first_unit, uint64_t second, const char *second_unit, char *text,
                       size_t size)
{
    if (second == 0)
        snprintf(text, size, "%ju %s", (uintmax_t)first, first_unit);
    else
        snprintf(text, size, "%ju %s %ju %s", (uintmax_t)first, first_unit, (uintmax_t)second, second_unit);
}

char *duration_format(uint64_t nanoseconds, char *text, size_t size)
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    uint64_t seconds = nanoseconds / 1000000000;
    if (nanoseconds < UINT64_C(59950000000))
        format_scaled((double)nanoseconds, 1000, units, COUNT_OF(units), text, size);
    else if (seconds < 3600)
        format_two(MAX(seconds, (uint64_t)60) / 60, "m", seconds < 60 ? 0 : seconds % 60, "s", text, size);
    else if (seconds < 86400)
        format_two(seconds / 3600, "h", seconds / 60 % 60, "m", text, size);
    else
        format_two(seconds / 86400, "d", seconds / 3600 % 24, "h", text, size);
    return text;
}

char *period_format(uint64_t seconds, char *text, size_t size)
{
    uint64_t unit = seconds % 86400 == 0 ? 86400 : 3600, count = seconds / unit;
    if (seconds == 0)
        snprintf(text, size, "off");
    else if (seconds % unit != 0)
        duration_format(seconds > UINT64_MAX / 1000000000 ? UINT64_MAX : seconds * 1000000000, text, size);
    else
        snprintf(text, size, "%ju %s%s", (uintmax_t)count, unit == 3600 ? "hour" : "day", count == 1 ? "" : "s");
    return text;
}
