/* Where chunks stand, by the tables of a merge: of many at once, page by page, where one by one each waits for the device. */
#ifndef COFFER_ENGINE_GROUP_COUNTED_H
#define COFFER_ENGINE_GROUP_COUNTED_H

#include "engine/group/merge.h"

#define COUNTED_MAX 4096u

struct counted {
    uint64_t cid;
    struct map_entry place; /* a hole: it is not counted, or its place is not known */
};

/* Fills in the places, of at most COUNTED_MAX. `scratch`: numbers, twice as many. By the merge thread. */
enum error counted_places(struct merge *merge, struct counted *chunks, size_t count, uint64_t *scratch) CHECKED;
/* Reads the pages into the cache that say where these chunks stand, of rising CIDs. What cannot be read is passed over. */
void places_read_ahead(struct merge *merge, const uint64_t *cids, size_t count);

#endif
