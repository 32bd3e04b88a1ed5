/*
 * Reading a stream: header, key, manifest, then records one by one. No byte of a chunk is looked at before the whole
 * chunk was authenticated at its place. One thread; safe for any input.
 */
#ifndef COFFER_STREAM_READER_H
#define COFFER_STREAM_READER_H

#include "stream/header.h"
#include "stream/manifest.h"

struct stream_reader;
struct stream_state;

/* Up to `size` bytes; *got below that only at the end. */
typedef enum error stream_input(void *context, void *data, size_t size, size_t *got);

struct stream_record {
    enum stream_record_kind kind;
    uint64_t offset, length; /* of STREAM_END: 0 */
    const uint8_t *data;     /* of STREAM_DATA; valid until the next call */
    uint64_t chunk;          /* number of the chunk in which it stands */
};

/* Reads and checks the header. */
enum error stream_reader_create(stream_input *input, void *context, struct stream_reader **reader) CHECKED;
void stream_reader_destroy(struct stream_reader *reader); /* NULL is allowed */
enum stream_protection stream_reader_protection(const struct stream_reader *reader);
struct uuid stream_reader_uuid(const struct stream_reader *reader);

/* Takes the key and reads the manifest, which stays the reader's. */
enum error stream_reader_unlock(struct stream_reader *reader, const struct stream_secret *secret,
                                const struct stream_manifest **manifest) CHECKED;
/* What tells an import of this stream from those of others, once it is unlocked: who has no key can make no stream that has
 * it too, and a stream that was gone on with keeps it. */
struct uuid stream_reader_import(const struct stream_reader *reader);
/* The next record; behind STREAM_END there is none. ERROR_CLOSED: the stream is cut off; ERROR_CORRUPT: damaged, out of
 * order or forged; the sentence says which chunk, at which byte. */
enum error stream_reader_next(struct stream_reader *reader, struct stream_record *record) CHECKED;

/* Chunks of which all records were given. */
uint64_t stream_reader_chunks(const struct stream_reader *reader);
/* Of the chunks before the one that was begun, or failed, last: bytes of the stream, where their ranges end (an export that
 * goes on begins there), and what they hold. */
uint64_t stream_reader_bytes(const struct stream_reader *reader);
uint64_t stream_reader_next_offset(const struct stream_reader *reader);
uint64_t stream_reader_data_bytes(const struct stream_reader *reader);
uint64_t stream_reader_zero_bytes(const struct stream_reader *reader);

/* For stream_writer_resume(). */
const struct stream_state *stream_reader_state(const struct stream_reader *reader);

#endif
