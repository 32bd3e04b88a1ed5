/*
 * A client's socket. A wait to read is bounded by the socket's own time-out, so that it costs no system call; it is a
 * fraction of what the client may take altogether, which is looked at between waits. A wait to write is one of its own:
 * a single blocking call could go on for as long as the client takes a little from time to time.
 *
 * No locks: the connection's receive lock makes the reader one, its send lock the writer. Nothing on disk.
 */
#include "server/nbd/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/memory.h"

#define WAITS 4 /* that may pass within the idle time: the share by which a client may exceed it */

static enum error timeout_set(int socket, uint64_t nanoseconds)
{
    struct timeval time = {.tv_sec = (time_t)(nanoseconds / CLOCK_SECOND),
                           .tv_usec = (suseconds_t)(nanoseconds % CLOCK_SECOND / 1000)};
    if (setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) != 0)
        return error_from_errno(errno, "time-out of a client's socket");
    return ERROR_NONE;
}

enum error stream_init(struct stream *stream, int socket, uint64_t idle)
{
    TRY(timeout_set(socket, MAX(idle / WAITS, CLOCK_MILLISECOND)));
    uint8_t *data = memory_aligned(STREAM_BUFFER_SIZE);
    if (!data)
        return ERROR_NO_MEMORY;
    *stream = (struct stream){.socket = socket, .idle = idle, .data = data, .emptied = clock_monotonic()};
    return ERROR_NONE;
}

void stream_deinit(struct stream *stream)
{
    free(stream->data);
}

void stream_wipe(struct stream *stream)
{
    memory_cleanse(stream->data, STREAM_BUFFER_SIZE);
    stream->start = stream->end = 0;
}

bool stream_is_ended(const struct stream *stream)
{
    struct pollfd set = {.fd = stream->socket, .events = POLLRDHUP};
    return poll(&set, 1, 0) > 0;
}

static bool would_wait(int number)
{
    return number == EAGAIN || number == EWOULDBLOCK;
}

static enum error errno_meaning(int number)
{
    if (would_wait(number))
        return ERROR_AGAIN;
    return number == ECONNRESET || number == EPIPE ? ERROR_CLOSED : ERROR_IO;
}

/* When `size` bytes must have passed. */
static uint64_t deadline_of(const struct stream *stream, size_t size)
{
    return clock_monotonic() + stream->idle * (1 + size / STREAM_IDLE_BYTES);
}

static enum error receive_once(const struct stream *stream, void *out, size_t size, int flags, size_t *received)
{
    ssize_t count;
    do
        count = recv(stream->socket, out, size, flags);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno_meaning(errno);
    if (count == 0)
        return ERROR_CLOSED;
    *received = (size_t)count;
    return ERROR_NONE;
}

static enum error receive(const struct stream *stream, void *out, size_t size, uint64_t deadline, size_t *received)
{
    while (clock_monotonic() < deadline) {
        enum error error = receive_once(stream, out, size, 0, received);
        if (error != ERROR_AGAIN)
            return error;
    }
    return ERROR_TIMED_OUT;
}

/* An end that the client made would be read here, and is not EAGAIN. */
static enum error receive_at_once(struct stream *stream, void *out, size_t size, size_t *received)
{
    uint64_t now = clock_monotonic();
    enum error error = receive_once(stream, out, size, MSG_DONTWAIT, received);
    if (error == ERROR_AGAIN)
        stream->emptied = now;
    return error;
}

static void make_room(struct stream *stream)
{
    memmove(stream->data, stream->data + stream->start, stream_buffered(stream));
    stream->end -= stream->start;
    stream->start = 0;
}

static enum error fill(struct stream *stream, enum stream_wait wait, uint64_t deadline)
{
    size_t received, room = STREAM_BUFFER_SIZE - stream->end;
    uint8_t *at = stream->data + stream->end;
    TRY(wait == STREAM_WAIT ? receive(stream, at, room, deadline, &received)
                            : receive_at_once(stream, at, room, &received));
    stream->end += received;
    return ERROR_NONE;
}

enum error stream_need(struct stream *stream, size_t size, enum stream_wait wait)
{
    ASSERT(size > 0 && size <= STREAM_BUFFER_SIZE);
    if (stream_buffered(stream) >= size)
        return ERROR_NONE;
    make_room(stream);
    if (stream->end == 0)
        TRY(fill(stream, wait, deadline_of(stream, 0)));
    if (stream->end >= size)
        return ERROR_NONE;
    uint64_t deadline = deadline_of(stream, size);
    while (stream->end < size)
        TRY(fill(stream, wait, deadline));
    return ERROR_NONE;
}

enum error stream_take(struct stream *stream, void *out, size_t size)
{
    size_t buffered = MIN(size, stream_buffered(stream));
    memcpy(out, stream->data + stream->start, buffered);
    stream->start += buffered;
    uint64_t deadline = deadline_of(stream, size);
    for (size_t done = buffered, received; done < size; done += received)
        TRY(receive(stream, (uint8_t *)out + done, size - done, deadline, &received));
    return ERROR_NONE;
}

enum error stream_skip(struct stream *stream, uint64_t *left, enum stream_wait wait)
{
    for (;;) {
        size_t dropped = MIN(*left, stream_buffered(stream));
        stream->start += dropped;
        *left -= dropped;
        if (*left == 0)
            return ERROR_NONE;
        TRY(stream_need(stream, 1, wait));
    }
}

static void parts_advance(struct iovec **parts, size_t *count, size_t written)
{
    while (*count > 0 && written >= (*parts)->iov_len) {
        written -= (*parts)->iov_len;
        (*parts)++;
        (*count)--;
    }
    if (*count > 0) {
        (*parts)->iov_base = (uint8_t *)(*parts)->iov_base + written;
        (*parts)->iov_len -= written;
    }
}

static size_t parts_size(const struct iovec *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/* A socket that failed is writable: the next write tells why. */
static enum error wait_writable(const struct stream *stream, uint64_t deadline)
{
    struct pollfd set = {.fd = stream->socket, .events = POLLOUT};
    uint64_t now = clock_monotonic();
    if (now >= deadline)
        return ERROR_TIMED_OUT;
    uint64_t milliseconds = (deadline - now) / CLOCK_MILLISECOND + 1;
    if (poll(&set, 1, (int)MIN(milliseconds, (uint64_t)INT32_MAX)) < 0 && errno != EINTR)
        return ERROR_IO;
    return ERROR_NONE;
}

enum error stream_write(struct stream *stream, struct iovec *parts, size_t count)
{
    uint64_t deadline = 0;
    while (count > 0) {
        struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t written = sendmsg(stream->socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written >= 0) {
            parts_advance(&parts, &count, (size_t)written);
        } else if (would_wait(errno)) {
            if (deadline == 0)
                deadline = deadline_of(stream, parts_size(parts, count));
            TRY(wait_writable(stream, deadline));
        } else if (errno != EINTR) {
            return errno_meaning(errno);
        }
    }
    return ERROR_NONE;
}
