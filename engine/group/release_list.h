/*
 * The release list: map nodes that left their maps and wait to be taken apart (release.c). An entry is the holder of its
 * node. The list is a table whose last entries come first; a merge has its end in memory, and stores it once.
 */
#ifndef COFFER_ENGINE_GROUP_RELEASE_LIST_H
#define COFFER_ENGINE_GROUP_RELEASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/entry.h"

struct merge;
struct checkpoint;

#define RELEASE_END_MAX (UINT64_C(1) << 40) /* of entries: as many as there are CIDs */

struct release {
    struct node_pointer node;
    uint64_t component, number; /* number: of the node in its level */
    uint8_t level;
};

/* What blocks do to the figures of their component. */
struct statistics {
    int64_t mapped, random, stored;
};

struct release_statistics {
    uint64_t component, own; /* own: as the table had it (component_format) */
    struct statistics statistics, figures; /* all, and what counts in its figures */
};

/* The list in the hands of a merge: entries below `base` stand in the table only, the rest here. */
struct releases {
    uint64_t base;
    struct release *items; /* entries from `base` on */
    size_t count, capacity;
    uint64_t stored_end;   /* of the table, as it is stored */
    bool changed;
    uint64_t taken;        /* references that were released */
    struct release_statistics *statistics; /* what that did to components; one may be there several times */
    size_t statistics_count, statistics_capacity;
};

void release_encode(const struct release *release, struct release_format *out);
/* False where the fields are impossible. */
bool release_decode(const struct release_format *in, struct release *release) CHECKED;

void releases_init(struct releases *releases, const struct checkpoint *checkpoint);
void releases_deinit(struct releases *releases);
bool releases_are_empty(const struct releases *releases);
enum error releases_enter(struct merge *merge, const struct release *release) CHECKED;
/* Takes the last entry; where it is a leaf, as many leaves as follow on it, at most `most`. *count 0: the list is empty. */
enum error releases_take(struct merge *merge, struct release *items, size_t most, size_t *count) CHECKED;
/* Writes what changed into the table, and root and end into merge and checkpoint. */
enum error releases_store(struct merge *merge, struct checkpoint *checkpoint) CHECKED;
/* Where what is released of a component is counted; valid until the next call. NULL: it is not the one before. */
struct release_statistics *release_statistics_last(struct releases *releases, uint64_t component);
enum error release_statistics_add(struct releases *releases, uint64_t component, uint64_t own) CHECKED;

#endif
