/*
 * The release list: map nodes that left their maps and wait to be taken apart. An entry is the holder of its node.
 */
#ifndef COFFER_ENGINE_GROUP_RELEASE_LIST_H
#define COFFER_ENGINE_GROUP_RELEASE_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/group/entry.h"

#define RELEASE_END_MAX (UINT64_C(1) << 40) /* of entries: as many as there are CIDs */

struct release {
    struct node_pointer node;
    uint64_t component, number; /* number: of the node in its level */
    uint8_t level;
};

void release_encode(const struct release *release, struct release_format *out);
/* False where the fields are impossible. */
bool release_decode(const struct release_format *in, struct release *release) CHECKED;

#endif
