/*
 * The bytes of a stream; docs/stream.md has the same in tables. Nothing else is on the wire, and nothing of it is on a
 * device. Little-endian, no padding, reserved bytes zero and checked.
 *
 * Version history: 1, the first.
 */
#ifndef COFFER_STREAM_FORMAT_H
#define COFFER_STREAM_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "base/endian.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"

#define STREAM_MAGIC       "COFFSTRM"
#define STREAM_VERSION     1
#define STREAM_BLOCK       4096       /* offsets and lengths are multiples of it */
#define STREAM_CHUNK_MAX   (1u << 20) /* content of a chunk, before and after it is packed */
#define STREAM_SALT_SIZE   32
#define STREAM_DIGEST_SIZE 32
#define STREAM_TAG_SIZE    16
#define STREAM_NAME_SIZE   256        /* with a zero byte */
#define STREAM_SIZE_MAX    (UINT64_C(64) << 40) /* of an object */

enum stream_protection { STREAM_PLAIN = 0, STREAM_PASSPHRASE = 1, STREAM_KEY_FILE = 2 };

enum stream_features {
    STREAM_OF_FILES = 1, /* a bundle of small files (bundle.h), not a snapshot */
};

/* In the clear, and bound by the key of the first session: a changed one opens no chunk. */
struct stream_header_format {
    uint8_t magic[8];
    le32 version;
    le32 features; /* what a reader must know: enum stream_features */
    uint8_t protection;
    uint8_t scrypt_log2_n; /* of a passphrase, else 0 */
    uint8_t reserved0[6];
    struct uuid stream; /* random: tells one stream from another */
    uint8_t salt[STREAM_SALT_SIZE];
    uint8_t kcv[KCV_SIZE]; /* tells a wrong key from damage */
    uint8_t reserved1[400];
    uint8_t digest[STREAM_DIGEST_SIZE]; /* SHA-256 of all before: tells damage from a wrong key */
};
static_assert(offsetof(struct stream_header_format, protection) == 16, "format");
static_assert(offsetof(struct stream_header_format, stream) == 24, "format");
static_assert(offsetof(struct stream_header_format, kcv) == 72, "format");
static_assert(offsetof(struct stream_header_format, digest) == 480, "format");
static_assert(sizeof(struct stream_header_format) == 512, "format");

enum stream_chunk_kind {
    STREAM_CHUNK_RECORDS = 1,
    STREAM_CHUNK_SESSION = 2, /* an export that was interrupted goes on: a salt, and a new key from here on */
};
enum stream_chunk_flags {
    STREAM_LAST = 1,   /* nothing follows; also in the nonce */
    STREAM_PACKED = 2, /* content is a zstd frame */
};

/* Before each chunk's content, and authenticated with it but for the tag. */
struct stream_chunk_format {
    uint8_t kind, flags;
    uint8_t reserved[2];
    le32 size;   /* of the content that follows */
    le64 number; /* from 0, over all sessions */
    uint8_t tag[STREAM_TAG_SIZE];
};
static_assert(offsetof(struct stream_chunk_format, size) == 4, "format");
static_assert(offsetof(struct stream_chunk_format, number) == 8, "format");
static_assert(offsetof(struct stream_chunk_format, tag) == 16, "format");
static_assert(sizeof(struct stream_chunk_format) == 32, "format");

/* The whole content of chunk 0. */
struct stream_manifest_format {
    struct uuid object;   /* whose snapshot it was */
    struct uuid snapshot; /* identity of what the stream makes */
    struct uuid base;     /* identity of the snapshot from which it makes that; zero: from nothing */
    le64 size;            /* of the object in the snapshot */
    le64 base_size;       /* … in the base; 0 without one */
    le64 created;         /* when the snapshot was made; seconds since 1970 */
    uint8_t object_name[STREAM_NAME_SIZE]; /* zero bytes behind */
    uint8_t snapshot_name[STREAM_NAME_SIZE];
    uint8_t base_name[STREAM_NAME_SIZE];
};
static_assert(offsetof(struct stream_manifest_format, size) == 48, "format");
static_assert(offsetof(struct stream_manifest_format, object_name) == 72, "format");
static_assert(sizeof(struct stream_manifest_format) == 840, "format");

/* Offsets rise and ranges do not overlap. What no record names is as in the base, or zeros where there is none. */
enum stream_record_kind {
    STREAM_DATA = 1, /* `length` bytes follow, in this chunk */
    STREAM_ZERO = 2,
    STREAM_END = 3,  /* of the last chunk, the last; offset: bytes of data in all; length: zeroed bytes in all */
};
struct stream_record_format {
    uint8_t kind;
    uint8_t reserved[7];
    le64 offset, length;
};
static_assert(sizeof(struct stream_record_format) == 24, "format");

/* ---- the content of a bundle: this, then its items; all chunks together, cut anywhere ---- */

#define STREAM_BUNDLE_VERSION 1

struct stream_bundle_format {
    le32 version;
    le32 item_count;
    struct uuid pool;
    le64 made; /* seconds since 1970 */
};
static_assert(offsetof(struct stream_bundle_format, pool) == 8, "format");
static_assert(sizeof(struct stream_bundle_format) == 32, "format");

/* Before the bytes of each item. */
struct stream_item_format {
    uint8_t kind; /* enum bundle_kind */
    uint8_t reserved[7];
    le64 size;
    uint8_t name[STREAM_NAME_SIZE]; /* zero bytes behind */
};
static_assert(offsetof(struct stream_item_format, name) == 16, "format");
static_assert(sizeof(struct stream_item_format) == 272, "format");

#endif
