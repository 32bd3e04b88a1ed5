/*
 * The bytes of a client, from the greeting on, against the NBD server on the engine in memory. The first byte decides
 * whether the input begins in the handshake or, after a good one, in the transmission phase.
 */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/message.h"
#include "server/nbd/nbd.h"
#include "server/nbd/protocol.h"
#include "tests/unit/nbd_engine.h"

static struct pool *pool;
static struct nbd_server *server;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Flags, structured replies, the context, GO: what the input need not find out each time. */
static void enter(int client)
{
    static const uint8_t handshake[] = "\0\0\0\3"
                                       "IHAVEOPT\0\0\0\10\0\0\0\0"
                                       "IHAVEOPT\0\0\0\12\0\0\0\37\0\0\0\4disk\0\0\0\1\0\0\0\17base:allocation"
                                       "IHAVEOPT\0\0\0\7\0\0\0\12\0\0\0\4disk\0\0";
    (void)!write(client, handshake, sizeof(handshake) - 1);
}

static void drain(int client)
{
    uint8_t dropped[65536];
    while (recv(client, dropped, sizeof(dropped), MSG_DONTWAIT) > 0)
        ;
}

/* Sends all of it, reading answers meanwhile, then waits until the server has hung up. */
static void talk(int client, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(client, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        drain(client);
        if (sent < 0)
            break;
        data += sent;
        size -= (size_t)sent;
    }
    shutdown(client, SHUT_WR);
    uint8_t dropped[65536];
    while (recv(client, dropped, sizeof(dropped), 0) > 0)
        ;
}

static void converse(bool entered, const uint8_t *data, size_t size)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || nbd_adopt(server, pair[1]) != ERROR_NONE)
        return;
    if (entered)
        enter(pair[0]);
    talk(pair[0], data, size);
    close(pair[0]);
    nbd_wait(server, -1);
}

/* The handshake that is given must lead to where requests are run, or nothing behind it is tested. */
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const uint8_t flush[28] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, COMMAND_FLUSH};
    (void)count;
    (void)arguments;
    message_level_set(MESSAGE_ERROR);
    pool = nbd_engine_create();
    nbd_engine_add(pool, "disk", 4 << 20, false);
    ASSERT(nbd_start(pool, &(struct nbd_options){0}, &server) == ERROR_NONE);
    converse(true, flush, sizeof(flush));
    ASSERT(nbd_engine_counts(pool).of_type[REQUEST_FLUSH] == 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        converse(data[0] & 1, data + 1, size - 1);
    return 0;
}
