/*
 * A view: what a reader sees at one moment. One counted object: the active table, the frozen one, the published roots.
 * An operation takes one view and keeps it to its end; a freeze and a publish exchange the group's newest view in one
 * store. While a view older than a publish is held, the segments which that publish freed are not given out again and
 * the table that it merged is not emptied.
 *
 * What a unit holds that stands in the journal's open buffer may be newer than the view (log_replace.c).
 *
 * Locks: the list and the counts under the group's lock. The active table of the newest view changes under that lock,
 * so it is asked under it; frozen tables and roots do not change.
 */
#ifndef COFFER_ENGINE_GROUP_VIEW_H
#define COFFER_ENGINE_GROUP_VIEW_H

#include "engine/group/group.h"
#include "engine/group/item.h"
#include "engine/group/tree.h"

struct view {
    unsigned references;
    struct view *newer;
    struct recent *active, *frozen; /* frozen: NULL where none */
    struct root roots[TABLE_LAST];
    /* What may be given out again once this view and all older ones are gone. */
    uint32_t *freed;
    size_t freed_count;
    struct recent *emptied;
};

/*
 * What a component is made up of in the recent tables of a view: itself, then one base after the other. Nobody changes a
 * component as long as a link leads to it, but once that link is published it may be trimmed and deleted, and then the
 * active table of an older view, which still has the link in its frozen one, has the trim as well. So what stands behind a
 * link of the frozen table is asked of that one alone: all that was written to it before the link is there, or in the trees.
 * (A link in the active table is published no earlier than that, and what comes then goes into another one.)
 */
struct lineage {
    uint64_t component;
    const struct recent *active, *frozen; /* those that know of it; NULL where none */
};

struct lineage lineage_of(const struct view *view, uint64_t component);
/* The next older one; false, and nothing changed, behind the last. Under the group's lock. */
bool lineage_base(struct lineage *lineage);

static inline const struct root *view_root(const struct view *view, enum table table) { return &view->roots[table - 1]; }

/* Free slots whose space below is not given back, at most: what a full file system leaves to write in. */
#define SLOTS_KEPT 64u

/* The newest view, counted. Under the group's lock. */
struct view *view_get(struct group *group) REQUIRES(group->lock);
/* The same, under no lock. */
struct view *view_take(struct group *group);
void view_put(struct group *group, struct view *view);

/* Replaces the newest view. Under the group's lock; `view` is malloc'ed and becomes the list's. */
void view_exchange(struct group *group, struct view *view) REQUIRES(group->lock);

/* Gives back what no view needs any more: discards segments, empties tables. Under no lock; by the group's threads. */
void views_reap(struct group *group);

/* Where a view is held that is not the newest: waits until one is gone, and not beyond `until`. False: there is none to wait
 * for. Under no lock. */
bool views_await(struct group *group, uint64_t until);

/* The component whose tree holds what the recent tables do not know: itself, or, where the view's trees do not know it
 * yet, the base that its links lead to. Under the group's lock. */
uint64_t view_ancestor(const struct view *view, uint64_t component);
/* Whether a component that has no tree yet falls back to this one, which must stay as it is as long. */
bool view_has_heirs(struct group *group, uint64_t component);

/* Where blocks of a component are, in a view that the caller holds: entries[i] is a hole where nothing is mapped.
 * `known` has been answered by the active table already (view_find_recent). */
enum error view_find(struct group *group, const struct view *view, uint64_t component, const uint64_t *blocks,
                     struct map_entry *entries, const bool *known, size_t count) CHECKED;
/* Asks the active and the frozen table; under the group's lock. */
void view_find_recent(const struct view *view, uint64_t component, const uint64_t *blocks, struct map_entry *entries,
                      bool *known, size_t count);
/* Takes a view and asks everything; the caller puts *view. An object moves to another component under the group's lock,
 * and the one before may soon be gone: so `target`, where its component stands, is asked under the same hold that takes
 * the view, and *component (set on failure too) belongs to no other view. */
enum error view_lookup_target(struct group *group, const _Atomic uint64_t *target, uint64_t *component,
                              const uint64_t *blocks, struct map_entry *entries, size_t count, struct view **view) CHECKED;
/* The same of a component that nobody takes away meanwhile. */
enum error view_lookup(struct group *group, uint64_t component, const uint64_t *blocks, struct map_entry *entries,
                       size_t count, struct view **view) CHECKED;

/* The first leaf (of 256 blocks) of [*leaf, end) in which something may be mapped, in the newest view; `end` where all
 * is a hole. `target`: see view_lookup_target(). Reads inner nodes only. */
enum error view_leaf_next(struct group *group, const _Atomic uint64_t *target, uint64_t *leaf, uint64_t end) CHECKED;

/* Reads the first `count` leaves (at most 256) of [*leaf, end) that the tree has, and what is above them, into the cache;
 * *leaf becomes the first that it did not come to. A hint: what fails is found by who reads it. */
void view_read_ahead(struct group *group, const _Atomic uint64_t *target, uint64_t *leaf, uint64_t end, size_t count);

/* The first leaf of [first, end) of which the view's recent tables say anything; `end` where there is none. */
uint64_t view_told_next(struct group *group, const struct view *view, uint64_t component, uint64_t first, uint64_t end);
/* The first leaf of [first, end) of which the view's recent tables say anything that makes the two components differ: what
 * they know of those that both fall back to does not. `end` where there is none. */
uint64_t view_told_apart_next(struct group *group, const struct view *view, uint64_t one, uint64_t other, uint64_t first,
                              uint64_t end);

/* A component as the trees of the view know it; ERROR_NOT_FOUND where there is none. A component that falls back to its
 * base has none: see view_ancestor(). */
enum error view_component(struct group *group, const struct view *view, uint64_t id, struct component_format *component) CHECKED;

/* The map that a component, or the base that it falls back to, has in the view; ERROR_NOT_FOUND where there is none. */
enum error view_map(struct group *group, const struct view *view, uint64_t component, struct tree *map) CHECKED;

/* One past the last block of a component that may be mapped, in the newest view; 0 where none may. Walks the recent
 * tables, the active one under the group's lock: for opens and rare work. */
enum error view_component_end(struct group *group, uint64_t component, uint64_t *end) CHECKED;

#endif
