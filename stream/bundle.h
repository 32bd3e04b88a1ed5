/*
 * A bundle: small files under one passphrase, sealed as a stream is (chunk.h), so that it opens whole or not at all. It holds
 * what a backup of a pool directory is made of (tools/backup.c); docs/stream.md has its bytes. It is made and read in memory.
 * Contents may be keys: they are wiped when they are freed. One thread; decoding is safe for any input.
 */
#ifndef COFFER_STREAM_BUNDLE_H
#define COFFER_STREAM_BUNDLE_H

#include <stdbool.h>

#include "stream/header.h"

#define BUNDLE_ITEMS_MAX 1024
#define BUNDLE_BYTES_MAX (64u << 20) /* of all items */
/* Of the encoded bundle. */
#define BUNDLE_FILE_MAX (BUNDLE_BYTES_MAX + BUNDLE_ITEMS_MAX * sizeof(struct stream_item_format) + (1u << 20))

enum bundle_kind {
    BUNDLE_FILE = 1,       /* of the directory, by its path in it */
    BUNDLE_SUPERBLOCK = 2, /* one copy, as it lay on the device whose UUID is the name */
    BUNDLE_ABSENT = 3,     /* the path of a file that is needed and was left out, by what it is for */
};

struct bundle_item {
    enum bundle_kind kind;
    char name[STREAM_NAME_SIZE];
    uint8_t *data; /* and a zero byte */
    size_t size;
};

struct bundle {
    struct uuid pool;
    uint64_t made; /* seconds since 1970 */
    size_t count, bytes;
    struct bundle_item items[BUNDLE_ITEMS_MAX];
};

struct bundle *bundle_create(struct uuid pool, uint64_t made); /* NULL: no memory */
void bundle_destroy(struct bundle *bundle);                    /* NULL is allowed */
/* Copies `data`. ERROR_TOO_LARGE; ERROR_INVALID: the name is none for this kind, or taken. */
enum error bundle_add(struct bundle *bundle, enum bundle_kind kind, const char *name, const void *data, size_t size) CHECKED;
const struct bundle_item *bundle_find(const struct bundle *bundle, enum bundle_kind kind, const char *name);

/* *data is malloc'ed. `log2_n` as in provider.h. */
enum error bundle_encode(const struct bundle *bundle, const struct stream_secret *secret, unsigned log2_n, uint8_t **data,
                         size_t *size) CHECKED;
/* ERROR_INVALID: no bundle; ERROR_NEWER_FORMAT; ERROR_WRONG_KEY: another passphrase; ERROR_CORRUPT, also
 * where it is cut off. The sentence does not name the file. */
enum error bundle_decode(const void *data, size_t size, const struct stream_secret *secret, struct bundle **bundle) CHECKED;

#endif
