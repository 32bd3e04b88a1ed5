/*
 * Documents of the catalog, as bytes: a length (le32) and JSON of that length, OBJECT_DOCUMENT_BYTES_MAX together. Slot
 * 0 describes the pool, slot n an object:
 *
 *   {"format":1, "pool":UUID, "created":SECONDS, "name":TEXT}
 *   {"uuid":UUID, "name":TEXT, "size":BYTES, "created":SECONDS, "deleted":SECONDS, "state":STATE, "domain":UUID,
 *    "components":[{"group":UUID, "component":NUMBER, "state":"active"}]}
 *
 * and, while a shrink is not finished, "cut":BYTES: what lies from the size up to there is still to be freed; and
 * "reserve":BYTES where so many are reserved for it. A snapshot has "origin":UUID of its object, where it is held "hold":true,
 * and where it is locked "locked_until":SECONDS; one that was imported has the "identity":UUID that it had where it was made.
 * What is being imported has "import":{"stream":UUID, "position":BYTES}: what that stream brings before there is in it and durable.
 * The disk of a key server has "hosts":"kms:NAME", where NAME is that provider (hosts.h).
 *
 * A reader refuses members that it does not know: it would lose them when it writes the document again. Versions that
 * need more raise the feature flags of the superblock. All of this is pure: any thread, any input.
 */
#ifndef COFFER_ENGINE_POOL_DOCUMENT_H
#define COFFER_ENGINE_POOL_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "engine/coffer.h"

#define OBJECT_DOCUMENT_BYTES_MAX (256u << 10) /* with its length: what a commit that is never cut can carry */
#define DOCUMENT_LENGTH_SIZE      4
#define CATALOG_FORMAT            1

enum object_state {
    OBJECT_CREATING, /* its component may not exist: whoever finds it after a crash takes it back */
    OBJECT_LIVE,
    OBJECT_TRASHED,
    OBJECT_DELETING, /* never comes back: its component is being emptied */
};

struct object_document {
    struct uuid uuid, domain, group;
    struct uuid origin; /* of a snapshot: its object; else zero */
    bool hold;
    uint64_t locked_until;
    struct uuid identity; /* of an imported snapshot; else zero: its own UUID is it */
    struct uuid import_stream; /* of what is being imported; else zero */
    uint64_t import_position;
    char hosts[OBJECT_HOSTS_MAX + 1]; /* empty: it is the disk of nothing that was told */
    char name[OBJECT_NAME_MAX + 1]; /* a snapshot's own: what follows the '@' */
    uint64_t size, cut; /* bytes; cut 0: nothing is left to be freed */
    uint64_t reserve;   /* bytes, at most the size */
    uint64_t created, deleted;
    enum object_state state;
    uint64_t component;
};

struct pool_document {
    struct uuid pool;
    uint64_t created;
    char name[OBJECT_NAME_MAX + 1];
};

/* *bytes is malloc'ed, length first. */
enum error object_document_encode(const struct object_document *document, void **bytes, size_t *size) CHECKED;
enum error pool_document_encode(const struct pool_document *document, void **bytes, size_t *size) CHECKED;

/* How many bytes the document has whose first `size` bytes these are; ERROR_CORRUPT where that is impossible. */
enum error document_size(const void *bytes, size_t size, size_t *whole) CHECKED;

/* From all bytes of a document (more may follow them). ERROR_CORRUPT says what is wrong with it; ERROR_NEWER_FORMAT. */
enum error object_document_decode(const void *bytes, size_t size, struct object_document *document) CHECKED;
enum error pool_document_decode(const void *bytes, size_t size, struct pool_document *document) CHECKED;

#endif
