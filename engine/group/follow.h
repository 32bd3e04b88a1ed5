/*
 * Where chunks stand that the cleaner moved. A map, or the release list, names the place at which a chunk stood when the
 * name was written; a segment that was cleaned since is gone, and the chunk table says where its living chunks went.
 * Live chunks of one unit move together, so what is alive of one unit does so at its new place; dead ones stay behind.
 *
 * What a slot that waits to be given back (SLOT_FREEING) held has moved as well: an older view may still read the dead
 * chunks there, whose place in the chunk table is the same as ever.
 */
#ifndef COFFER_ENGINE_GROUP_FOLLOW_H
#define COFFER_ENGINE_GROUP_FOLLOW_H

#include <stddef.h>

#include "base/error.h"
#include "engine/group/entry.h"

struct group;
struct view;

#define FOLLOW_MAX 256

/* Entries (no holes) whose segment was left become what the chunk table of the view, the newest or as new as what named
 * them, says of their chunks; all others stay, and so does one that the table does not know. errors[i]: the page that
 * would say it cannot be read. At most FOLLOW_MAX. */
void entries_follow(struct group *group, const struct view *view, struct map_entry *entries, enum error *errors,
                    size_t count);
/* The same for one, in the newest view; it stays where the page that would say it cannot be read. */
struct map_entry entry_follow(struct group *group, struct map_entry entry);

#endif
