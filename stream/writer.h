/*
 * Writing a stream. Ranges come in rising order; what was not written of a chunk when an export is interrupted is written
 * again by the next session (stream_writer_resume). One thread.
 */
#ifndef COFFER_STREAM_WRITER_H
#define COFFER_STREAM_WRITER_H

#include "stream/header.h"
#include "stream/manifest.h"
#include "stream/reader.h"

struct stream_writer;

/* Takes all bytes or fails. */
typedef enum error stream_output(void *context, const void *data, size_t size);

/* Begins a stream: header and manifest go out. */
enum error stream_writer_create(const struct stream_secret *secret, unsigned log2_n,
                                const struct stream_manifest *manifest, stream_output *output, void *context,
                                struct stream_writer **writer) CHECKED;
/* Goes on behind the last whole chunk that a reader has read of an interrupted stream (stream_reader_next_offset()). What
 * follows that chunk must have been cut off. */
enum error stream_writer_resume(const struct stream_reader *reader, stream_output *output, void *context,
                                struct stream_writer **writer) CHECKED;
void stream_writer_destroy(struct stream_writer *writer); /* NULL is allowed */

/* Multiples of STREAM_BLOCK, behind all before, within the size. */
enum error stream_writer_data(struct stream_writer *writer, uint64_t offset, const void *data, uint64_t length) CHECKED;
enum error stream_writer_zero(struct stream_writer *writer, uint64_t offset, uint64_t length) CHECKED;
/* The last chunk goes out; a stream without it is a cut one. */
enum error stream_writer_finish(struct stream_writer *writer) CHECKED;

#endif
