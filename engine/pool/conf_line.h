/* The lines of a coffer.conf, told apart as the reader of the conf does (base/conf.h): blanks may stand before all of them. */
#ifndef COFFER_ENGINE_POOL_CONF_LINE_H
#define COFFER_ENGINE_POOL_CONF_LINE_H

#include <stdbool.h>
#include <string.h>

/* Where the next one begins; the end of the text behind the last. */
static inline const char *conf_line_next(const char *line)
{
    const char *end = strchrnul(line, '\n');
    return *end == '\n' ? end + 1 : end;
}

static inline const char *conf_line_blanks_skip(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r')
        at++;
    return at;
}

static inline bool conf_line_is_head(const char *line) { return *conf_line_blanks_skip(line) == '['; }

static inline bool conf_line_is_head_of(const char *line, const char *section)
{
    const char *at = conf_line_blanks_skip(line);
    size_t size = strlen(section);
    return *at == '[' && strncmp(at + 1, section, size) == 0 && at[1 + size] == ']';
}

static inline bool conf_line_is_comment(const char *line)
{
    char first = *conf_line_blanks_skip(line);
    return first == '#' || first == ';';
}

/* "name =" or "name:" */
static inline bool conf_line_is_setting(const char *line, const char *name)
{
    const char *at = conf_line_blanks_skip(line);
    size_t size = strlen(name);
    if (strncmp(at, name, size) != 0)
        return false;
    at = conf_line_blanks_skip(at + size);
    return *at == '=' || *at == ':';
}

#endif
