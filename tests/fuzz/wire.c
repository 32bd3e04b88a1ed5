/* See wire.h. No locks: a target has one thread. */
#include "tests/fuzz/wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/memory.h"

static const uint8_t *left;
static size_t left_size, piece_max, said_size;
static unsigned tries;
static uint8_t *said;

ssize_t __wrap_recv(int socket, void *out, size_t size, int flags);
ssize_t __wrap_send(int socket, const void *data, size_t size, int flags);
ssize_t __wrap_sendmsg(int socket, const struct msghdr *header, int flags);
int __wrap_poll(struct pollfd *sets, nfds_t count, int milliseconds);

void wire_begin(const uint8_t *data, size_t size, size_t piece)
{
    left = data;
    left_size = size;
    piece_max = piece;
    said_size = 0;
    tries = 0;
    if (said == NULL)
        said = memory_map(WIRE_SAID_MAX);
    ASSERT(said != NULL);
}

const uint8_t *wire_said(size_t *size)
{
    *size = said_size;
    return said;
}

ssize_t __wrap_recv(int socket, void *out, size_t size, int flags)
{
    (void)socket;
    if (flags & MSG_DONTWAIT && ++tries % 3 == 0) {
        errno = EAGAIN;
        return -1;
    }
    size_t count = MIN(size, left_size);
    if (piece_max > 0)
        count = MIN(count, piece_max);
    memcpy(out, left, count);
    left += count;
    left_size -= count;
    return (ssize_t)count;
}

ssize_t __wrap_send(int socket, const void *data, size_t size, int flags)
{
    (void)socket, (void)flags;
    size_t kept = MIN(size, WIRE_SAID_MAX - said_size);
    memcpy(said + said_size, data, kept);
    said_size += kept;
    return (ssize_t)size;
}

ssize_t __wrap_sendmsg(int socket, const struct msghdr *header, int flags)
{
    ssize_t sent = 0;
    for (size_t i = 0; i < header->msg_iovlen; i++)
        sent += __wrap_send(socket, header->msg_iov[i].iov_base, header->msg_iov[i].iov_len, flags);
    return sent;
}

/* Ready for what is asked for. That the client has hung up is seen only where the pieces are odd, since that makes a
 * server leave work undone. */
int __wrap_poll(struct pollfd *sets, nfds_t count, int milliseconds)
{
    int ready = 0;
    (void)milliseconds;
    for (nfds_t i = 0; i < count; i++) {
        sets[i].revents = sets[i].events & (POLLIN | POLLOUT);
        if (piece_max % 2 == 1 && left_size == 0)
            sets[i].revents |= sets[i].events & POLLRDHUP;
        ready += sets[i].revents != 0;
    }
    return ready;
}
