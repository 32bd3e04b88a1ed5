/*
 * The configuration: what was given for each key, found by section and name.
 *
 * Invariants: entries stand in file order; every entry matched a row of the table and its value was parsed. Look-ups go
 * through all entries: there are few, and they are asked for once, at the start.
 * No locks: built by one thread (conf_parse.c), then immutable.
 */
#include "base/conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_private.h"
#include "base/file.h"
#include "base/memory.h"

bool conf_section_matches(const char *pattern, const char *section)
{
    size_t length = strlen(pattern);
    if (length < 2 || strcmp(pattern + length - 2, " *") != 0)
        return strcmp(pattern, section) == 0;
    return strncmp(pattern, section, length - 1) == 0 && section[length - 1] != 0 && section[length - 1] != ' ';
}

bool conf_section_known(const struct conf *conf, const char *section)
{
    for (size_t i = 0; i < conf->key_count; i++)
        if (conf_section_matches(conf->keys[i].section, section))
            return true;
    return false;
}

const struct conf_key *conf_key_find(const struct conf *conf, const char *section, const char *name)
{
    for (size_t i = 0; i < conf->key_count; i++)
        if (strcmp(conf->keys[i].name, name) == 0 && conf_section_matches(conf->keys[i].section, section))
            return &conf->keys[i];
    return NULL;
}

const struct conf_entry *conf_entry_find(const struct conf *conf, const char *section, const char *name, size_t index)
{
    for (size_t i = 0; i < conf->entry_count; i++) {
        const struct conf_entry *entry = &conf->entries[i];
        if (strcmp(entry->key->name, name) == 0 && strcmp(entry->section, section) == 0 && index-- == 0)
            return entry;
    }
    return NULL;
}

/* Makes room for one more element; false when out of memory. */
static bool grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    size_t wanted = MAX(*capacity * 2, (size_t)16);
    void *grown = reallocarray(*(void **)array, wanted, size);
    if (grown == NULL)
        return false;
    *(void **)array = grown;
    *capacity = wanted;
    return true;
}

enum error conf_section_add(struct conf *conf, const char *section)
{
    for (size_t i = 0; i < conf->section_count; i++)
        if (strcmp(conf->sections[i], section) == 0)
            return ERROR_NONE;
    if (!grow(&conf->sections, conf->section_count, &conf->section_capacity, sizeof *conf->sections))
        return ERROR_NO_MEMORY;
    char *copy = strdup(section);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    conf->sections[conf->section_count++] = copy;
    return ERROR_NONE;
}

enum error conf_entry_add(struct conf *conf, struct conf_entry entry)
{
    if (!grow(&conf->entries, conf->entry_count, &conf->entry_capacity, sizeof *conf->entries))
        return ERROR_NO_MEMORY;
    entry.section = strdup(entry.section);
    entry.text = strdup(entry.text);
    conf->entries[conf->entry_count++] = entry;
    return entry.section == NULL || entry.text == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error conf_read(const char *path, const struct conf_key *keys, size_t key_count, struct conf **conf)
{
    void *text;
    size_t size;
    TRY(file_read(path, CONF_SIZE_MAX, &text, &size));
    enum error error = conf_parse(path, text, size, keys, key_count, conf);
    free(text);
    return error;
}

void conf_destroy(struct conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->entry_count; i++) {
        free(conf->entries[i].section);
        free(conf->entries[i].text);
    }
    for (size_t i = 0; i < conf->section_count; i++)
        free(conf->sections[i]);
    free(conf->entries);
    free(conf->sections);
    free(conf->forgiven);
    free(conf->path);
    free(conf);
}

/* ---- getters ----------------------------------------------------------------------------------------------- */

/* Asking for what the table does not have is a bug: the key could never be set. */
static const struct conf_entry *given(const struct conf *conf, const char *section, const char *name,
                                      enum conf_type type)
{
    const struct conf_key *key = conf_key_find(conf, section, name);
    ASSERT(key != NULL && key->type == type);
    return conf_entry_find(conf, section, name, 0);
}

static uint64_t number_of(const struct conf *conf, const char *section, const char *name, enum conf_type type,
                          uint64_t fallback)
{
    const struct conf_entry *entry = given(conf, section, name, type);
    return entry != NULL ? entry->number : fallback;
}

const char *conf_text(const struct conf *conf, const char *section, const char *name, const char *fallback)
{
    const struct conf_entry *entry = given(conf, section, name, CONF_TEXT);
    return entry != NULL ? entry->text : fallback;
}

uint64_t conf_size(const struct conf *conf, const char *section, const char *name, uint64_t fallback)
{
    return number_of(conf, section, name, CONF_SIZE, fallback);
}

uint64_t conf_duration(const struct conf *conf, const char *section, const char *name, uint64_t fallback)
{
    return number_of(conf, section, name, CONF_DURATION, fallback);
}

uint64_t conf_period(const struct conf *conf, const char *section, const char *name, uint64_t fallback)
{
    return number_of(conf, section, name, CONF_PERIOD, fallback);
}

bool conf_bool(const struct conf *conf, const char *section, const char *name, bool fallback)
{
    return number_of(conf, section, name, CONF_BOOL, fallback) != 0;
}

size_t conf_choice(const struct conf *conf, const char *section, const char *name, size_t fallback)
{
    return (size_t)number_of(conf, section, name, CONF_CHOICE, fallback);
}

size_t conf_count(const struct conf *conf, const char *section, const char *name)
{
    size_t count = 0;
    while (conf_entry_find(conf, section, name, count) != NULL)
        count++;
    return count;
}

const char *conf_text_at(const struct conf *conf, const char *section, const char *name, size_t index)
{
    const struct conf_entry *entry = conf_entry_find(conf, section, name, index);
    ASSERT(entry != NULL);
    return entry->text;
}

size_t conf_section_count(const struct conf *conf)
{
    return conf->section_count;
}

const char *conf_section_at(const struct conf *conf, size_t index)
{
    ASSERT(index < conf->section_count);
    return conf->sections[index];
}

const char *conf_forgiven(const struct conf *conf)
{
    return conf->forgiven;
}

enum error conf_complain(const struct conf *conf, const char *section, const char *name, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const struct conf_entry *entry = conf_entry_find(conf, section, name, 0);
    if (entry == NULL)
        return error_explain(ERROR_INVALID, "%s: %s in [%s]: %s", conf->path, name, section, text);
    return error_explain(ERROR_INVALID, "%s:%u: %s in [%s]: %s", conf->path, entry->line, name, section, text);
}
