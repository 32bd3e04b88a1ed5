/* Entries of the release list, encoded and decoded. */
#include "engine/group/release_list.h"

#include <string.h>

#include "base/memory.h"
#include "engine/group/tree.h"

#define OBJECT_LEAVES (UINT64_C(1) << 27) /* blocks have 35 bits */

void release_encode(const struct release *release, struct release_format *out)
{
    *out = (struct release_format){
        .component = le40_make(release->component),
        .number = le40_make(release->number),
        .level = release->level,
        .used = 1,
    };
    pointer_encode(&release->node, &out->node);
}

bool release_decode(const struct release_format *in, struct release *release)
{
    static const uint8_t zero[sizeof in->reserved];
    *release = (struct release){
        .node = pointer_decode(&in->node),
        .component = le40_get(in->component),
        .number = le40_get(in->number),
        .level = in->level,
    };
    struct map_entry first = release->node.first;
    if (in->used != 1 || memcmp(in->reserved, zero, sizeof zero) != 0 || release->level >= NODE_LEVELS_MAX)
        return false;
    uint64_t numbers = MAX(OBJECT_LEAVES / tree_span(release->level), UINT64_C(1));
    return release->component != 0 && release->number < numbers && entry_is_sound(first) && entry_index(first) == 0 &&
           entry_count(first) == 1 && (release->level > 0) == (release->node.second_serial != 0);
}
