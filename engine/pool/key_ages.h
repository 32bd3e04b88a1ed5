/*
 * The file `key-ages` of a pool directory: since when each key is known that the pool has now: root key, KEKs, data keys, and what deep
 * rekeys brought of tag keys and K_pools. For `key status`, health and reports, and for nothing else: nothing that is opened,
 * refused or encrypted asks it. It is plain, like key-dates (key_dates.h), and written by the daemon alone.
 */
#ifndef COFFER_ENGINE_POOL_KEY_AGES_H
#define COFFER_ENGINE_POOL_KEY_AGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

#define KEY_AGES_NAME "key-ages"
#define KEY_AGES_MAX  512

enum key_age_kind {
    KEY_AGE_ROOT, /* `id`: its provider; `number`: its KCV, big-endian */
    KEY_AGE_KEK,  /* likewise; `number`: of the KEK */
    KEY_AGE_DATA, /* `id`: of the device; `number`: of the DEK's slot */
    KEY_AGE_LOG,  /* likewise; `number`: of a K_log behind the first */
    KEY_AGE_POOL, /* `id`: of the pool; `number`: of a K_pool behind the first */
    KEY_AGE_KINDS
};

struct key_age {
    enum key_age_kind kind;
    struct uuid id;
    uint64_t number;
    uint64_t seconds; /* since 1970 */
};

struct key_ages {
    size_t count;
    struct key_age items[KEY_AGES_MAX];
};

/* Empty where there is no file. ERROR_CORRUPT, ERROR_NEWER_FORMAT. */
enum error key_ages_load(const char *directory, struct key_ages *ages) CHECKED;
/* *text is malloc'ed. */
enum error key_ages_encode(const struct key_ages *ages, char **text) CHECKED;
enum error key_ages_decode(const char *text, size_t size, struct key_ages *ages) CHECKED;

/*
 * What the pool has now. Of those that the file has, the file's time stays; one that is new to it is of now; where there is no
 * file, or a damaged one, the time is the given one, at which it was there at the latest. What is not given is forgotten.
 * `ages` becomes what the file then says. Written only where that changes it. ERROR_BUSY: the lock of the directory stays
 * another's.
 */
enum error key_ages_note(const char *directory, struct key_ages *ages) CHECKED;

/* NULL: unknown. */
const struct key_age *key_age_find(const struct key_ages *ages, enum key_age_kind kind, struct uuid id, uint64_t number);

#endif
