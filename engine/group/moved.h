/*
 * Where the cleaner moved chunks to whose page of places is lost in both copies, found again from what segments say of
 * themselves. For a repair, which makes the pages anew; meanwhile who follows a chunk (follow.h) finds it here.
 */
#ifndef COFFER_ENGINE_GROUP_MOVED_H
#define COFFER_ENGINE_GROUP_MOVED_H

#include "engine/group/group.h"

struct moved;

/* Reads all segments to which chunks are moved. `numbers`: of the lost pages, rising. What cannot be read is passed over. */
enum error moved_find(struct group *group, const uint64_t *numbers, size_t count, struct moved **moved) CHECKED;
void moved_destroy(struct moved *moved);
/* False where nothing was found, or `moved` is NULL. */
bool moved_place(const struct moved *moved, uint64_t cid, struct map_entry *place);

#endif
