/*
 * Reading the configuration file, on inih.
 *
 * inih splits lines into keys and values. It knows no line numbers and cuts long lines and section names silently, so
 * the function that feeds it lines counts them, refuses what it would cut, and keeps the name of the section itself.
 * That function also strips leading blanks, for inih would take an indented line as more of the value above.
 * The first fault ends the reading: later ones are often its consequence. No locks: a reading belongs to one thread.
 */
#include "base/conf.h"

#include <ctype.h>
#include <ini.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_private.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/suggest.h"

#define WORD_MAX 255 /* bytes of a section or key that is compared or repeated in a sentence */

/* What is known while the file is read. */
struct reading {
    struct conf *conf;
    const char *position, *end;
    unsigned line;
    char section[WORD_MAX + 1];
    bool in_section;
    enum error error; /* the first */
};

static enum error fault(struct reading *reading, const char *format, ...) PRINTF(2, 3);
static enum error fault(struct reading *reading, const char *format, ...)
{
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_explain(ERROR_INVALID, "%s:%u: %s", reading->conf->path, reading->line, text);
}

/* ---- the nearest known ------------------------------------------------------------------------------------------- */

static const char *nearest_section(const struct conf *conf, const char *section)
{
    const char *nearest = "";
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < conf->key_count; i++) {
        size_t here = suggest_distance(section, conf->keys[i].section);
        if (here < least || *nearest == '\0') {
            least = here;
            nearest = conf->keys[i].section;
        }
    }
    return nearest;
}

static const char *nearest_name(const struct conf *conf, const char *section, const char *name)
{
    const char *nearest = "";
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < conf->key_count; i++) {
        size_t here = suggest_distance(name, conf->keys[i].name);
        if ((here < least || *nearest == '\0') && conf_section_matches(conf->keys[i].section, section)) {
            least = here;
            nearest = conf->keys[i].name;
        }
    }
    return nearest;
}

static const char *section_of_name(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->key_count; i++)
        if (strcmp(conf->keys[i].name, name) == 0)
            return conf->keys[i].section;
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool parse_bool(const char *text, uint64_t *number)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *number = i & 1;
            return true;
        }
    return false;
}

static bool parse_choice(const char *const *choices, const char *text, uint64_t *number)
{
    for (size_t i = 0; choices[i] != NULL; i++)
        if (strcmp(text, choices[i]) == 0) {
            *number = i;
            return true;
        }
    return false;
}

static enum error choice_fault(struct reading *reading, const struct conf_key *key, const char *text)
{
    char list[512] = "";
    size_t length = 0;
    for (size_t i = 0; key->choices[i] != NULL && length < sizeof list; i++)
        length += (size_t)snprintf(list + length, sizeof list - length, "%s%s", i == 0 ? "" : ", ", key->choices[i]);
    return fault(reading, "%s: \"%.64s\" is none of: %s", key->name, text, list);
}

static enum error value_parse(struct reading *reading, const struct conf_key *key, const char *text, uint64_t *number)
{
    if (*text == 0)
        return fault(reading, "%s has no value", key->name);
    enum error error = ERROR_NONE;
    switch (key->type) {
    case CONF_TEXT:
        return ERROR_NONE;
    case CONF_SIZE:
        error = size_parse(text, number);
        break;
    case CONF_DURATION:
        error = duration_parse(text, number);
        if (error == ERROR_NONE && *number && text[strspn(text, "0123456789.")] == 0)
            return fault(reading, "%s = %.64s has no unit: write 7d, 12h or 90s", key->name, text);
        break;
    case CONF_PERIOD:
        error = period_parse(text, number);
        break;
    case CONF_BOOL:
        if (!parse_bool(text, number))
            return fault(reading, "%s: \"%.64s\" is neither yes nor no", key->name, text);
        break;
    case CONF_CHOICE:
        if (!parse_choice(key->choices, text, number))
            return choice_fault(reading, key, text);
        break;
    }
    return error == ERROR_NONE ? ERROR_NONE : fault(reading, "%s: %s", key->name, error_sentence(error));
}

/* ---- what is forgiven -------------------------------------------------------------------------------------------- */

static bool is_forgiving(const struct reading *reading)
{
    const struct conf *conf = reading->conf;
    bool forgiving = false;
    for (size_t i = 0; i < conf->key_count && reading->in_section; i++)
        forgiving |= conf->keys[i].forgiven && conf_section_matches(conf->keys[i].section, reading->section);
    return forgiving;
}

/* Keeps the first such sentence; other errors are no fault of a line. */
static enum error forgive(struct reading *reading, enum error error)
{
    struct conf *conf = reading->conf;
    if (error != ERROR_INVALID || !is_forgiving(reading))
        return error;
    if (conf->forgiven == NULL && (conf->forgiven = strdup(error_sentence(error))) == NULL)
        return ERROR_NO_MEMORY;
    error_forget();
    return ERROR_NONE;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static enum error unknown_key(struct reading *reading, const char *name)
{
    const struct conf *conf = reading->conf;
    if (!reading->in_section)
        return fault(reading, "the key \"%.64s\" stands before any [section]", name);
    const char *elsewhere = section_of_name(conf, name);
    if (elsewhere != NULL)
        return fault(reading, "the key \"%.64s\" does not belong into [%s], but into [%s]", name, reading->section,
                     elsewhere);
    return fault(reading, "unknown key \"%.64s\" in [%s]: the nearest known is \"%s\"", name, reading->section,
                 nearest_name(conf, reading->section, name));
}

static enum error take_entry(struct reading *reading, const char *name, const char *text)
{
    struct conf *conf = reading->conf;
    struct conf_entry entry = {.section = reading->section, .text = (char *)text, .line = reading->line};
    entry.key = conf_key_find(conf, reading->section, name);
    if (entry.key == NULL)
        return unknown_key(reading, name);
    const struct conf_entry *earlier = conf_entry_find(conf, reading->section, name, 0);
    if (earlier != NULL && !entry.key->many)
        return fault(reading, "%s is given a second time in [%s], first in line %u", name, reading->section,
                     earlier->line);
    TRY(value_parse(reading, entry.key, text, &entry.number));
    return conf_entry_add(conf, entry);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Follows a line "[section]"; what else is wrong with it, inih will say. */
static enum error take_section(struct reading *reading, const char *line, size_t length)
{
    const char *close = memchr(line, ']', length);
    if (close == NULL)
        return fault(reading, "a section without its \"]\"");
    size_t size = (size_t)(close - line) - 1;
    if (size > WORD_MAX)
        return fault(reading, "a section of more than %d bytes", WORD_MAX);
    memcpy(reading->section, line + 1, size);
    reading->section[size] = 0;
    reading->in_section = true;
    if (!conf_section_known(reading->conf, reading->section))
        return fault(reading, "unknown section [%s]: the nearest known is [%s]", reading->section,
                     nearest_section(reading->conf, reading->section));
    return conf_section_add(reading->conf, reading->section);
}

static bool line_is_text(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)line[i]) && line[i] != '\t' && !(line[i] == '\r' && i + 1 == length))
            return false;
    return true;
}

/* Some editors begin a file with the mark U+FEFF. */
static size_t mark_size(const char *text, size_t size)
{
    static const char mark[3] = "\xef\xbb\xbf";
    return size >= sizeof mark && memcmp(text, mark, sizeof mark) == 0 ? sizeof mark : 0;
}

/* The next line without leading blanks and without its end; false at the end of the text. */
static bool line_next(struct reading *reading, const char **line, size_t *length)
{
    if (reading->position == reading->end)
        return false;
    const char *start = reading->position;
    const char *newline = memchr(start, '\n', (size_t)(reading->end - start));
    const char *end = newline != NULL ? newline : reading->end;
    reading->position = newline != NULL ? newline + 1 : reading->end;
    reading->line++;
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    *line = start;
    *length = (size_t)(end - start);
    return true;
}

static enum error no_pair(struct reading *reading)
{
    return fault(reading, "neither \"[section]\" nor \"key = value\"");
}

/* Whether inih, which ends at the first line that it does not understand, would end at this one. */
static bool is_pair_or_nothing(const char *line, size_t length)
{
    return length == 0 || strchr("#;[\r\n", *line) != NULL || memchr(line, '=', length) != NULL ||
           memchr(line, ':', length) != NULL;
}

/* inih's source of lines, in fgets's shape. After a fault the text seems to end. */
static char *feed_line(char *out, int size, void *context)
{
    struct reading *reading = context;
    const char *line;
    size_t length;
    if (reading->error != ERROR_NONE || !line_next(reading, &line, &length))
        return NULL;
    if (length + 2 > (size_t)size)
        reading->error = fault(reading, "a line of more than %d bytes", CONF_LINE_MAX);
    else if (!line_is_text(line, length))
        reading->error = fault(reading, "a control character: this is not a text file");
    else if (length > 0 && *line == '[')
        reading->error = take_section(reading, line, length);
    else if (is_forgiving(reading) && !is_pair_or_nothing(line, length)) {
        reading->error = forgive(reading, no_pair(reading));
        length = 0;
    }
    if (reading->error != ERROR_NONE)
        return NULL;
    memcpy(out, line, length);
    memcpy(out + length, "\n", 2);
    return out;
}

static int take_pair(void *context, const char *section, const char *name, const char *value)
{
    (void)section;
    struct reading *reading = context;
    if (reading->error == ERROR_NONE)
        reading->error = forgive(reading, take_entry(reading, name, value));
    return reading->error == ERROR_NONE;
}

/* inih's defaults are for small machines: lines of 200 bytes on the stack, and further parsing after an error. */
static void set_up_parser(void)
{
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_initial_alloc = CONF_LINE_MAX + 2;
    ini_max_line = CONF_LINE_MAX + 2;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_stop_on_first_error = true;
}

static enum error parse(struct reading *reading)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up_parser);
    int result = ini_parse_stream(feed_line, reading, take_pair, reading);
    TRY(reading->error);
    if (result == -2)
        return ERROR_NO_MEMORY;
    if (result != 0)
        return no_pair(reading);
    return ERROR_NONE;
}

enum error conf_parse(const char *path, const void *text, size_t size, const struct conf_key *keys, size_t key_count,
                      struct conf **conf)
{
    struct conf *made = memory_zeroed(1, sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->path = strdup(path);
    made->keys = keys;
    made->key_count = key_count;
    struct reading reading = {.conf = made, .end = (const char *)text + size};
    reading.position = (const char *)text + mark_size(text, size);
    enum error error = made->path == NULL ? ERROR_NO_MEMORY : parse(&reading);
    if (error != ERROR_NONE) {
        conf_destroy(made);
        return error;
    }
    *conf = made;
    return ERROR_NONE;
}
