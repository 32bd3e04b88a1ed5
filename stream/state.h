/* Where a reader or a writer stands: what the next chunk hangs on. The library's own. */
#ifndef COFFER_STREAM_STATE_H
#define COFFER_STREAM_STATE_H

#include "stream/chunk.h"
#include "stream/header.h"
#include "stream/manifest.h"

struct stream_state {
    struct stream_header_format header;
    struct stream_manifest manifest;
    uint8_t *master; /* KEY_SIZE bytes, in the arena */
    struct stream_cipher *cipher;
    uint64_t number;              /* of the next chunk */
    uint8_t tag[STREAM_TAG_SIZE]; /* of the chunk before */
    uint64_t offset;              /* ranges go on from here */
    uint64_t data_bytes, zero_bytes;
};

/* The key of a session from here on; it is overwritten. */
enum error stream_session_set(struct stream_state *state, uint8_t key[KEY_SIZE]) CHECKED;

#endif
