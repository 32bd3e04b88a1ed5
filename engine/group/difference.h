/*
 * Where two versions of an object may differ. Versions of one family share what neither of them wrote: nodes of maps by
 * their CID, and, as long as one falls back to the other, entries of the recent tables. A search passes over what is
 * shared without reading it, so it costs what was changed, whatever the size of the object.
 */
#ifndef COFFER_ENGINE_GROUP_DIFFERENCE_H
#define COFFER_ENGINE_GROUP_DIFFERENCE_H

#include "base/error.h"
#include "engine/group/tree.h"

/* The first leaf of [*leaf, end) below which the two maps refer to different chunks; `end` where there is none. Both are
 * of one view, which the caller holds: a CID that both name is one chunk. */
enum error trees_differ_next(struct group *group, const struct tree *one, const struct tree *other, uint64_t *leaf,
                             uint64_t end) CHECKED;

/* The first leaf of [*leaf, end) in which the blocks of two objects may differ, in the newest view; `end` where all is the
 * same. `one`, `other`: where their components stand (see view_lookup_target()). Reads inner nodes only. */
enum error view_differ_next(struct group *group, const _Atomic uint64_t *one, const _Atomic uint64_t *other,
                            uint64_t *leaf, uint64_t end) CHECKED;

#endif
