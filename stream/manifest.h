/* What a stream is of, as its first chunk says. */
#ifndef COFFER_STREAM_MANIFEST_H
#define COFFER_STREAM_MANIFEST_H

#include <stdbool.h>

#include "stream/format.h"

struct stream_manifest {
    struct uuid object, snapshot, base; /* identities; base zero: the stream is whole by itself */
    uint64_t size, base_size, created;
    char object_name[STREAM_NAME_SIZE], snapshot_name[STREAM_NAME_SIZE], base_name[STREAM_NAME_SIZE];
};

static inline bool stream_is_full(const struct stream_manifest *manifest) { return uuid_is_zero(manifest->base); }

void stream_manifest_encode(const struct stream_manifest *manifest, struct stream_manifest_format *out);
/* ERROR_CORRUPT where it says what none can say; names are terminated and can be shown; what else they may not
 * hold is for whoever uses them to check. */
enum error stream_manifest_decode(const void *bytes, size_t size, struct stream_manifest *manifest) CHECKED;

#endif
