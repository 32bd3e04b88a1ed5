/*
 * The configuration file: INI, with a table of the keys that there are.
 *
 * The whole file is checked when it is read: an unknown section or key, a key given twice and a value of the wrong kind
 * are ERROR_INVALID, with a sentence that names file, line and key (and, for an unknown one, the nearest known). So the
 * getters cannot fail. (A section may be forgiven its faults: what is in it must not keep anybody from the rest.)
 * Sections may be reopened; their keys count as one section. Lines that begin with ';' or '#' are comments. A conf is
 * immutable: any thread may read it.
 */
#ifndef COFFER_BASE_CONF_H
#define COFFER_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CONF_SIZE_MAX (1u << 20) /* of a file: far above any sane one, and a limit to what garbage can cost */
#define CONF_LINE_MAX 4000       /* bytes of a line: room for a path of PATH_MAX nearly, and no reallocation */

enum conf_type {
    CONF_TEXT,     /* not empty */
    CONF_SIZE,     /* size_parse */
    CONF_DURATION, /* duration_parse */
    CONF_PERIOD,   /* period_parse: a duration, or off */
    CONF_BOOL,     /* yes, no, true, false, on, off */
    CONF_CHOICE,   /* one of `choices` */
};

struct conf_key {
    const char *section; /* "pool"; a last word "*" stands for any name: "group *" knows "group g1" */
    const char *name;
    enum conf_type type;
    const char *const *choices; /* CONF_CHOICE: ends in NULL */
    bool many;                  /* may be given more than once in a section: conf_count, conf_text_at */
    bool forgiven;              /* a faulty line of its section is left out: conf_forgiven() */
};

struct conf;

/* Reads the file at `path`; `keys` must outlive the conf. *conf is the caller's (conf_destroy). */
enum error conf_read(const char *path, const struct conf_key *keys, size_t key_count, struct conf **conf) CHECKED;
/* The same from memory; `path` serves the sentences. */
enum error conf_parse(const char *path, const void *text, size_t size, const struct conf_key *keys, size_t key_count,
                      struct conf **conf) CHECKED;
void conf_destroy(struct conf *conf); /* NULL is allowed */

/* The value given for a key, or `fallback`. The key must stand in the table, with this type. */
const char *conf_text(const struct conf *conf, const char *section, const char *name, const char *fallback);
uint64_t conf_size(const struct conf *conf, const char *section, const char *name, uint64_t fallback);
uint64_t conf_duration(const struct conf *conf, const char *section, const char *name, uint64_t fallback); /* seconds */
uint64_t conf_period(const struct conf *conf, const char *section, const char *name, uint64_t fallback); /* seconds; off: 0 */
bool conf_bool(const struct conf *conf, const char *section, const char *name, bool fallback);
size_t conf_choice(const struct conf *conf, const char *section, const char *name, size_t fallback); /* its index */

/* How often a key was given, and its values as text, in the order of the file. */
size_t conf_count(const struct conf *conf, const char *section, const char *name);
const char *conf_text_at(const struct conf *conf, const char *section, const char *name, size_t index);

/* The sections given, each once, in the order of the file. */
size_t conf_section_count(const struct conf *conf);
const char *conf_section_at(const struct conf *conf, size_t index);

/* The sentence of the first line that was left out where faults are forgiven; NULL: there is none. */
const char *conf_forgiven(const struct conf *conf);

/* For a check that only the caller can make: ERROR_INVALID with "FILE:LINE: KEY in [SECTION]: " before the sentence. */
enum error conf_complain(const struct conf *conf, const char *section, const char *name, const char *format, ...)
    PRINTF(4, 5);

#endif
