/*
 * One line of a pool's conf, changed as a person would change it with an editor: everything else stays as it is,
 * comments included. The engine's own reader of the file (base/conf.h) does not write.
 */
#include "bench/conf_edit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line's length, its newline included. */
static size_t line_length(const char *line)
{
    size_t length = strcspn(line, "\n");
    return length + (line[length] == '\n');
}

static bool line_has_key(const char *line, const char *key)
{
    line += strspn(line, " \t");
    size_t length = strlen(key);
    if (strncmp(line, key, length) != 0)
        return false;
    line += length;
    return line[strspn(line, " \t")] == '=';
}

char *conf_with(const char *conf, const char *key, const char *value)
{
    bool inside = false, written = false;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (const char *line = conf; *line; line += line_length(line)) {
        if (*line == '[')
            inside = strncmp(line, "[pool]", 6) == 0;
        if (inside && line_has_key(line, key))
            continue;
        fwrite(line, 1, line_length(line), out);
        if (*line == '[' && inside && !written) {
            fprintf(out, "%s%s = %s\n", line[line_length(line) - 1] == '\n' ? "" : "\n", key, value);
            written = true;
        }
    }
    if (!written)
        fprintf(out, "\n[pool]\n%s = %s\n", key, value);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
