/* Exports: the objects of a pool under the names by which clients ask for them. */
#ifndef COFFER_SERVER_NBD_EXPORT_H
#define COFFER_SERVER_NBD_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/coffer.h"

/* The object that a client means: `name` itself, or, where it is empty, the only object there is; ERROR_NOT_FOUND
 * otherwise, with a sentence. */
enum error export_resolve(struct pool *pool, const char *name, char object[VERSION_NAME_MAX + 1]) CHECKED;

/* Whether it can only be read, whatever the server allows; false where there is none. */
bool export_is_snapshot(struct pool *pool, const char *object);
/* The size of an object, without opening it. */
enum error export_size(struct pool *pool, const char *object, uint64_t *size) CHECKED;

/* The snapshot, by name or UUID, of the object that `object` is or is a snapshot of. */
enum error export_base(struct pool *pool, const char *object, const char *snapshot, char uuid[UUID_TEXT_SIZE]) CHECKED;
/* All snapshots of that object but itself, by age; *infos is the caller's (free). */
enum error export_bases(struct pool *pool, const char *object, struct snapshot_info **infos, size_t *count) CHECKED;

/* The names of all exports, in order; *names is the caller's (free). */
struct export_name {
    char text[VERSION_NAME_MAX + 1];
};
enum error export_list(struct pool *pool, struct export_name **names, size_t *count) CHECKED;

uint16_t export_flags(bool read_only, bool structured);

#endif
