/*
 * Verifying what stands at addresses, on the devices: the caches are not asked, and nothing is kept in them. For who
 * wants to know whether the stored bytes are still as they were written, not what they say.
 */
#ifndef COFFER_ENGINE_GROUP_VERIFY_H
#define COFFER_ENGINE_GROUP_VERIFY_H

#include "engine/group/item.h"

#define VERIFY_MAX 256

struct chunk_verify {
    struct map_entry entry; /* of a chunk of a unit, or of a map node; not a hole */
    enum error
        error; /* CORRUPT: what is there is not that; IO: the device cannot read it; NOT_FOUND: its segment is gone */
    uint32_t stored_size; /* bytes of the unit or node; 0 where it was counted with the one before */
};

/* Tag, descriptors, and that it decompresses. `kind`: ITEM_UNIT, or ITEM_NONE for a unit or a node, whichever is there.
 * At most VERIFY_MAX; chunks of one unit should be neighbours, it is then read once. The caller holds a view. */
void chunks_verify(struct group *group, enum item_kind kind, struct chunk_verify *chunks, size_t count);

#endif
