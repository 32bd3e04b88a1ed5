/*
 * A socket of a client: reading through a buffer that is drained with as few system calls as possible, and gathered
 * writing. What happens on the way is an error of base/error.h:
 *
 *   ERROR_AGAIN      nothing has arrived, and the caller did not want to wait
 *   ERROR_CLOSED     the client ended the connection
 *   ERROR_TIMED_OUT  the client took longer than it may: a client that goes on byte by byte as well as one that stops
 *   ERROR_IO         the socket failed
 *
 * None of them keeps a sentence: a client that goes away is no event; who finds it at fault says so.
 *
 * Threads: one reader and one writer at a time.
 */
#ifndef COFFER_SERVER_NBD_STREAM_H
#define COFFER_SERVER_NBD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define STREAM_BUFFER_SIZE (64u << 10) /* 15 writes of 4 KiB, or all requests of a batch of reads */
#define STREAM_IDLE_BYTES  (8u << 20)  /* only an answer in one piece is larger, and may take as much longer */

struct stream {
    int socket;
    uint64_t idle; /* nanoseconds */
    uint8_t *data; /* STREAM_BUFFER_SIZE */
    size_t start, end;
    uint64_t emptied; /* by clock_monotonic(): when nothing was left to read; the client had not left then */
};

enum stream_wait { STREAM_POLL, STREAM_WAIT };

/* The socket stays the caller's. What the client owes must come, and what it gets must go, within `idle` nanoseconds
 * altogether, for each STREAM_IDLE_BYTES begun. */
enum error stream_init(struct stream *stream, int socket, uint64_t idle) CHECKED;
void stream_deinit(struct stream *stream);
/* The buffer may hold contents of a disk; nothing is read after this. */
void stream_wipe(struct stream *stream);
/* Has the client said that it sends no more, or gone? What it sent before may still be unread. */
bool stream_is_ended(const struct stream *stream);

static inline size_t stream_buffered(const struct stream *stream)
{
    return stream->end - stream->start;
}

/* Makes at least `size` bytes (at most STREAM_BUFFER_SIZE) stand at data + start. ERROR_TIMED_OUT comes also where
 * nothing of them has arrived: the caller knows whether the client owes them. Silence before the first of them is not
 * counted to what follows. */
enum error stream_need(struct stream *stream, size_t size, enum stream_wait wait) CHECKED;
/* Takes exactly `size` bytes, waiting, beyond the buffer straight from the socket. */
enum error stream_take(struct stream *stream, void *out, size_t size) CHECKED;
/* Drops up to *left bytes and counts them off; ERROR_NONE when none are left. */
enum error stream_skip(struct stream *stream, uint64_t *left, enum stream_wait wait) CHECKED;

/* Writes all of it; `parts` is used up. */
enum error stream_write(struct stream *stream, struct iovec *parts, size_t count) CHECKED;

#endif
