/* Exports: the objects of a pool under the names by which clients ask for them. */
#ifndef COFFER_SERVER_NBD_EXPORT_H
#define COFFER_SERVER_NBD_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/coffer.h"

struct export {
    char object[VERSION_NAME_MAX + 1]; /* as the client named it */
    struct uuid uuid;
    uint64_t size;
    bool snapshot; /* it can only be read, whatever the server allows */
};
/* The object that a client means, looked at once and not opened: the one of that name, or, where it is empty, the only one
 * there is; ERROR_NOT_FOUND otherwise, with a sentence. */
enum error export_find(struct pool *pool, const char *name, struct export *export) CHECKED;

/* The snapshot, by name or UUID, of the object that `object` is or is a snapshot of. */
enum error export_base(struct pool *pool, const char *object, const char *snapshot, char uuid[UUID_TEXT_SIZE]) CHECKED;
/* The newest `most` snapshots of that object but itself (or one more), by age; *infos is the caller's (free). */
enum error export_bases(struct pool *pool, const char *object, size_t most, struct snapshot_info **infos,
                        size_t *count) CHECKED;

/* The names of all exports, in order; *names is the caller's (free). */
struct export_name {
    char text[VERSION_NAME_MAX + 1];
};
enum error export_list(struct pool *pool, struct export_name **names, size_t *count) CHECKED;

uint16_t export_flags(bool read_only, bool structured);

#endif
