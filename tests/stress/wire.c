/* See wire.h. No locks, no state. */
#include "tests/stress/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/stress/stress.h"

#define ANSWER_MAX (256u << 10) /* of the control socket: a list of a few hundred objects */

int wire_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(client >= 0 && strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    if (connect(client, (struct sockaddr *)&address, sizeof address) != 0)
        stress_fail("connect to %s: %s", path, strerror(errno));
    return client;
}

static void take(int socket, void *out, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = recv(socket, (uint8_t *)out + done, size - done, 0);
        if (count <= 0)
            stress_fail("the server hung up: %s", count < 0 ? strerror(errno) : "end of the connection");
        done += (size_t)count;
    }
}

static void give(int socket, const void *data, size_t size)
{
    if (send(socket, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        stress_fail("send: %s", strerror(errno));
}

/* ---- NBD --------------------------------------------------------------------------------------------------------- */

static void export_ask(int socket, const char *name)
{
    uint8_t said[sizeof(struct wire_option) + 4 + 256 + 2];
    size_t length = strlen(name), size = 4 + length + 2;
    struct wire_option option = {be64_make(OPTION_MAGIC), be32_make(OPTION_GO), be32_make((uint32_t)size)};
    be32 name_length = be32_make((uint32_t)length);
    memset(said, 0, sizeof said);
    memcpy(said, &option, sizeof option);
    memcpy(said + sizeof option, &name_length, 4);
    memcpy(said + sizeof option + 4, name, length);
    give(socket, said, sizeof option + size);
}

static bool export_answered(int socket)
{
    uint8_t dropped[1024];
    for (;;) {
        struct wire_option_reply reply;
        take(socket, &reply, sizeof reply);
        ASSERT(be64_get(reply.magic) == OPTION_REPLY_MAGIC && be32_get(reply.length) <= sizeof dropped);
        take(socket, dropped, be32_get(reply.length));
        if (be32_get(reply.type) == OPTION_REPLY_ACK)
            return true;
        if (be32_get(reply.type) != OPTION_REPLY_INFO)
            return false;
    }
}

int wire_enter(const char *path, const char *name)
{
    int client = wire_connect(path);
    struct wire_greeting greeting;
    be32 flags = be32_make(HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    take(client, &greeting, sizeof greeting);
    ASSERT(be64_get(greeting.magic) == GREETING_MAGIC);
    give(client, &flags, sizeof flags);
    export_ask(client, name);
    if (export_answered(client))
        return client;
    close(client);
    return -1;
}

static void answer_take(int socket, struct wire_call *calls, size_t count)
{
    struct wire_simple_reply reply;
    take(socket, &reply, sizeof reply);
    uint64_t cookie = be64_get(reply.cookie);
    if (be32_get(reply.magic) != SIMPLE_REPLY_MAGIC || cookie >= count || calls[cookie].done)
        stress_fail("an answer to no request: magic %#x, cookie %llu", be32_get(reply.magic),
                    (unsigned long long)cookie);
    struct wire_call *call = &calls[cookie];
    if (be32_get(reply.error) != 0)
        stress_fail("request %d at %llu of %u bytes: NBD error %u", (int)call->type, (unsigned long long)call->offset,
                    call->length, be32_get(reply.error));
    if (call->type == COMMAND_READ)
        take(socket, call->data, call->length);
    call->done = true;
}

/* Answers are taken while requests go: neither side may wait for the other with its buffers full. */
static size_t push(int socket, const uint8_t *data, size_t size, struct wire_call *calls, size_t count)
{
    size_t answered = 0;
    for (size_t done = 0; done < size;) {
        struct pollfd set = {.fd = socket, .events = POLLIN | POLLOUT};
        if (poll(&set, 1, -1) < 0 && errno != EINTR)
            stress_fail("poll: %s", strerror(errno));
        if (set.revents & POLLIN) {
            answer_take(socket, calls, count);
            answered++;
        } else if (set.revents & POLLOUT) {
            ssize_t sent = send(socket, data + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN)
                stress_fail("send: %s", strerror(errno));
            done += sent > 0 ? (size_t)sent : 0;
        } else {
            stress_fail("the server hung up");
        }
    }
    return answered;
}

void wire_run(int socket, struct wire_call *calls, size_t count)
{
    size_t answered = 0;
    ASSERT(count <= WIRE_REQUESTS_MAX);
    for (size_t i = 0; i < count; i++)
        calls[i].done = false;
    for (size_t i = 0; i < count; i++) {
        struct wire_request request = {be32_make(REQUEST_MAGIC),           be16_make((uint16_t)calls[i].flags),
                                       be16_make((uint16_t)calls[i].type), be64_make(i),
                                       be64_make(calls[i].offset),         be32_make(calls[i].length)};
        answered += push(socket, (const uint8_t *)&request, sizeof request, calls, count);
        if (calls[i].type == COMMAND_WRITE)
            answered += push(socket, calls[i].data, calls[i].length, calls, count);
    }
    for (; answered < count; answered++)
        answer_take(socket, calls, count);
}

void wire_leave(int socket, bool politely)
{
    struct wire_request request = {be32_make(REQUEST_MAGIC),
                                   be16_make(0),
                                   be16_make(COMMAND_DISCONNECT),
                                   be64_make(0),
                                   be64_make(0),
                                   be32_make(0)};
    uint8_t none;
    if (politely) {
        give(socket, &request, sizeof request);
        if (recv(socket, &none, 1, 0) > 0)
            stress_fail("the server answered a disconnect");
    }
    close(socket);
}

/* ---- control ----------------------------------------------------------------------------------------------------- */

bool wire_control(int socket, const char *method, const char *parameters)
{
    char line[1024];
    AUTO_FREE char *answer = memory_zeroed(1, ANSWER_MAX);
    size_t filled = 0;
    int length = snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n", method,
                          parameters ? parameters : "{}");
    ASSERT(answer != NULL && length < (int)sizeof line);
    give(socket, line, (size_t)length);
    while (filled == 0 || answer[filled - 1] != '\n') {
        ssize_t count = recv(socket, answer + filled, ANSWER_MAX - 1 - filled, 0);
        if (count <= 0)
            stress_fail("the control socket did not answer %s", method);
        filled += (size_t)count;
    }
    return strstr(answer, "\"result\"") != NULL;
}
