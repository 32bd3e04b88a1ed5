/*
 * A client's socket. Waiting is bounded by the socket's own time-outs, so that a wait costs no system call of its own.
 *
 * No locks: the connection's receive lock makes the reader one, its send lock the writer. Nothing on disk.
 */
#include "server/nbd/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/memory.h"

static enum error timeout_set(int socket, int option, uint64_t nanoseconds)
{
    struct timeval time = {.tv_sec = (time_t)(nanoseconds / CLOCK_SECOND),
                           .tv_usec = (suseconds_t)(nanoseconds % CLOCK_SECOND / 1000)};
    if (setsockopt(socket, SOL_SOCKET, option, &time, sizeof(time)) != 0)
        return error_from_errno(errno, "time-out of a client's socket");
    return ERROR_NONE;
}

enum error stream_init(struct stream *stream, int socket, uint64_t idle)
{
    TRY(timeout_set(socket, SO_RCVTIMEO, idle));
    TRY(timeout_set(socket, SO_SNDTIMEO, idle));
    uint8_t *data = memory_aligned(STREAM_BUFFER_SIZE);
    if (!data)
        return ERROR_NO_MEMORY;
    *stream = (struct stream){.socket = socket, .data = data};
    return ERROR_NONE;
}

void stream_deinit(struct stream *stream)
{
    free(stream->data);
}

static enum error errno_meaning(int number, enum stream_wait wait)
{
    if (number == EAGAIN || number == EWOULDBLOCK)
        return wait == STREAM_WAIT ? ERROR_TIMED_OUT : ERROR_AGAIN;
    return number == ECONNRESET || number == EPIPE ? ERROR_CLOSED : ERROR_IO;
}

static enum error receive(const struct stream *stream, void *out, size_t size, enum stream_wait wait, size_t *received)
{
    ssize_t count;
    do
        count = recv(stream->socket, out, size, wait == STREAM_WAIT ? 0 : MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno_meaning(errno, wait);
    if (count == 0)
        return ERROR_CLOSED;
    *received = (size_t)count;
    return ERROR_NONE;
}

static void make_room(struct stream *stream)
{
    memmove(stream->data, stream->data + stream->start, stream_buffered(stream));
    stream->end -= stream->start;
    stream->start = 0;
}

enum error stream_need(struct stream *stream, size_t size, enum stream_wait wait)
{
    ASSERT(size <= STREAM_BUFFER_SIZE);
    if (stream_buffered(stream) >= size)
        return ERROR_NONE;
    make_room(stream);
    while (stream->end < size) {
        size_t received;
        TRY(receive(stream, stream->data + stream->end, STREAM_BUFFER_SIZE - stream->end, wait, &received));
        stream->end += received;
    }
    return ERROR_NONE;
}

enum error stream_take(struct stream *stream, void *out, size_t size)
{
    size_t buffered = MIN(size, stream_buffered(stream));
    memcpy(out, stream->data + stream->start, buffered);
    stream->start += buffered;
    for (size_t done = buffered, received; done < size; done += received)
        TRY(receive(stream, (uint8_t *)out + done, size - done, STREAM_WAIT, &received));
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

enum error stream_write(struct stream *stream, struct iovec *parts, size_t count)
{
    while (count > 0) {
        struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t written = sendmsg(stream->socket, &header, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno_meaning(errno, STREAM_WAIT);
        parts_advance(&parts, &count, (size_t)written);
    }
    return ERROR_NONE;
}
