/*
 * What the two halves of the configuration share: conf_parse.c fills a conf, conf.c keeps and answers. Nobody else
 * includes this.
 */
#ifndef COFFER_BASE_CONF_PRIVATE_H
#define COFFER_BASE_CONF_PRIVATE_H

#include "base/conf.h"

struct conf_entry {
    const struct conf_key *key;
    char *section;
    char *text;
    uint64_t number; /* size, seconds, bool or index of the choice */
    unsigned line;
};

struct conf {
    char *path;
    const struct conf_key *keys;
    size_t key_count;
    struct conf_entry *entries;
    size_t entry_count, entry_capacity;
    char **sections;
    size_t section_count, section_capacity;
    char *forgiven; /* a sentence, or NULL */
};

bool conf_section_known(const struct conf *conf, const char *section);
/* Whether `section` is what a row of the table names, or fits its pattern. */
bool conf_section_matches(const char *pattern, const char *section);
/* The row of a key, or NULL. */
const struct conf_key *conf_key_find(const struct conf *conf, const char *section, const char *name);
/* The entry number `index` of a key, or NULL. */
const struct conf_entry *conf_entry_find(const struct conf *conf, const char *section, const char *name, size_t index);
/* These copy the strings; a section that is there already is not added again. */
enum error conf_section_add(struct conf *conf, const char *section) CHECKED;
enum error conf_entry_add(struct conf *conf, struct conf_entry entry) CHECKED;

#endif
