/* As many paths as have room, whole, and how many more there are. No state, no locks. */
#include "engine/pool/key_needs.h"

#include <stdio.h>
#include <string.h>

#define ROOM_FOR_REST 24 /* " and 255 more" */

const char *key_needs_name(const struct pool_conf_group *group, const bool *needs, char text[KEY_NEEDS_SIZE])
{
    size_t used = 0, named = 0, left = 0;
    text[0] = '\0';
    for (size_t i = 0; i < group->device_count; i++) {
        const char *path = group->devices[i].path;
        if (needs && !needs[i])
            continue;
        if (left > 0 || used + strlen(path) + 2 + ROOM_FOR_REST > KEY_NEEDS_SIZE) {
            left++;
            continue;
        }
        used += (size_t)snprintf(text + used, KEY_NEEDS_SIZE - used, "%s%s", named == 0 ? "" : ", ", path);
        named++;
    }
    if (left > 0)
        snprintf(text + used, KEY_NEEDS_SIZE - used, named == 0 ? "%zu devices" : " and %zu more", left);
    return text;
}
