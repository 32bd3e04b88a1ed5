/* Figures and words for people. Pure, apart from the time zone. */
#include "tools/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/moment.h"
#include "base/size.h"
#include "base/utf8.h"

const char *text_time(uint64_t seconds, char text[TEXT_SIZE])
{
    _Static_assert(MOMENT_TEXT_SIZE <= TEXT_SIZE, "room for a moment");
    if (seconds == 0 || strcmp(moment_minute(seconds, text), "?") == 0)
        snprintf(text, TEXT_SIZE, "-");
    return text;
}

const char *text_size(uint64_t bytes, char text[TEXT_SIZE])
{
    return size_format(bytes, text, TEXT_SIZE);
}

const char *text_percent(double part, double whole, char text[TEXT_SIZE])
{
    if (whole <= 0)
        snprintf(text, TEXT_SIZE, "-");
    else
        snprintf(text, TEXT_SIZE, "%.1f %%", part / whole * 100);
    return text;
}

const char *text_factor(uint64_t whole, uint64_t stored, char text[TEXT_SIZE])
{
    if (stored == 0)
        snprintf(text, TEXT_SIZE, "-");
    else
        snprintf(text, TEXT_SIZE, "%.2fx", (double)whole / (double)stored);
    return text;
}

const char *text_until(uint64_t now, uint64_t then, char text[TEXT_SIZE])
{
    static const struct {
        uint64_t seconds;
        const char *unit;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    uint64_t seconds = then > now ? then - now : 0;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        uint64_t rounded = (seconds + units[i].seconds / 2) / units[i].seconds;
        if (seconds >= units[i].seconds || i + 1 == COUNT_OF(units)) {
            snprintf(text, TEXT_SIZE, "%" PRIu64 " %s", rounded, units[i].unit);
            break;
        }
    }
    return text;
}

const char *text_name(const char *name, char *text, size_t size)
{
    uint32_t before = 0, code = 0, after = 0;
    size_t used = 0;
    bool hidden = false;
    for (size_t bytes; *name != '\0' && (bytes = utf8_decode(name, &code)) != 0; name += bytes, before = hidden ? 0 : code) {
        (void)utf8_decode(name + bytes, &after);
        if (used + sizeof("<U+10FFFF>") > size)
            break;
        hidden = utf8_is_hidden(before, code, after);
        if (hidden)
            used += (size_t)snprintf(text + used, size - used, "<U+%04X>", (unsigned)code);
        else
            used += (size_t)snprintf(text + used, size - used, "%.*s", (int)bytes, name);
    }
    text[used] = '\0';
    return text;
}

/* Characters of UTF-8 up to the next blank or the end; *size gets the bytes. */
static size_t word_width(const char *word, size_t *size)
{
    size_t width = 0;
    *size = strcspn(word, " ");
    for (size_t i = 0; i < *size; i++)
        width += ((unsigned char)word[i] & 0xc0) != 0x80;
    return width;
}

static size_t line_break(char *end, size_t indent)
{
    *end = '\n';
    memset(end + 1, ' ', indent);
    return 1 + indent;
}

char *text_wrap(const char *text, size_t width, size_t indent)
{
    char *wrapped = malloc(strlen(text) * (2 + indent) + 1), *end = wrapped;
    size_t column = 0, size;
    if (wrapped == NULL)
        return NULL;
    for (; *text != '\0'; text += size + (text[size] == ' ')) {
        size_t word = word_width(text, &size);
        bool breaks = width > 0 && column > 0 && column + 1 + word > width;
        if (breaks)
            end += line_break(end, indent);
        else if (column > 0)
            *end++ = ' ';
        column = breaks ? word : column + word + (column > 0);
        end = mempcpy(end, text, size);
    }
    *end = '\0';
    return wrapped;
}
