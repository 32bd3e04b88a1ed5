/* The client. Not for threads: its buffers are static. */
#include "tests/unit/nbd_client.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/nbd_engine.h"

#define CLIENT_PATIENCE 20 /* seconds: far above what a loaded machine with sanitizers needs */

static uint8_t reply[CLIENT_REPLY_MAX + 1];

void fixture_start(struct nbd_fixture *fixture, const struct nbd_options *options)
{
    fixture->pool = nbd_engine_create();
    nbd_engine_add(fixture->pool, "disk", DISK_SIZE, false);
    nbd_engine_add(fixture->pool, "other", 1 << 20, false);
    assert_int_equal(nbd_start(fixture->pool, options, &fixture->server), ERROR_NONE);
}

void fixture_stop(struct nbd_fixture *fixture)
{
    nbd_stop(fixture->server);
    nbd_engine_destroy(fixture->pool);
}

int fixture_setup(void **state)
{
    static struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){0});
    *state = &fixture;
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_stop(*state);
    return 0;
}

int client_connect(struct nbd_server *server)
{
    int pair[2];
    struct timeval patience = {.tv_sec = CLIENT_PATIENCE};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(nbd_adopt(server, pair[1]), ERROR_NONE);
    return pair[0];
}

void client_send(int client, const void *data, size_t size)
{
    assert_int_equal(send(client, data, size, MSG_NOSIGNAL), size);
}

void client_receive(int client, void *data, size_t size)
{
    if (size > 0)
        assert_int_equal(recv(client, data, size, MSG_WAITALL), size);
}

void client_expect_end(int client)
{
    /* A server that hangs up on bytes it has not read resets the connection. */
    uint8_t byte;
    ssize_t size = recv(client, &byte, 1, 0);
    assert_true(size == 0 || (size < 0 && errno == ECONNRESET));
    close(client);
}

bool client_is_silent(int client)
{
    struct pollfd set = {.fd = client, .events = POLLIN};
    return poll(&set, 1, 0) == 0;
}

/* ---- handshake ------------------------------------------------------------------------------------------------- */

void client_greet(int client, uint32_t flags)
{
    struct wire_greeting greeting;
    client_receive(client, &greeting, sizeof(greeting));
    assert_int_equal(be64_get(greeting.magic), GREETING_MAGIC);
    assert_int_equal(be64_get(greeting.option_magic), OPTION_MAGIC);
    assert_int_equal(be16_get(greeting.flags), HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    be32 wire = be32_make(flags);
    client_send(client, &wire, sizeof(wire));
}

void client_option(int client, uint32_t option, const void *data, size_t size)
{
    struct wire_option header = {be64_make(OPTION_MAGIC), be32_make(option), be32_make((uint32_t)size)};
    client_send(client, &header, sizeof(header));
    if (size > 0)
        client_send(client, data, size);
}

uint32_t client_option_reply(int client, uint32_t option, const uint8_t **data, size_t *size)
{
    struct wire_option_reply header;
    client_receive(client, &header, sizeof(header));
    assert_int_equal(be64_get(header.magic), OPTION_REPLY_MAGIC);
    assert_int_equal(be32_get(header.option), option);
    *size = be32_get(header.length);
    assert_true(*size <= CLIENT_REPLY_MAX);
    client_receive(client, reply, *size);
    reply[*size] = '\0';
    *data = reply;
    return be32_get(header.type);
}

void client_expect_option(int client, uint32_t option, uint32_t type)
{
    const uint8_t *data;
    size_t size;
    assert_int_equal(client_option_reply(client, option, &data, &size), type);
}

void client_ask_export(int client, uint32_t option, const char *name)
{
    uint8_t data[8192] = {0};
    be32 length = be32_make((uint32_t)strlen(name));
    memcpy(data, &length, sizeof(length));
    memcpy(data + 4, name, strlen(name));
    client_option(client, option, data, 4 + strlen(name) + 2);
}

void client_ask_contexts(int client, uint32_t option, const char *name, const char *query)
{
    uint8_t data[8192];
    be32 length = be32_make((uint32_t)strlen(name)), count = be32_make(query ? 1 : 0);
    be32 query_length = be32_make(query ? (uint32_t)strlen(query) : 0);
    size_t size = 0;
    memcpy(data, &length, 4);
    memcpy(data + 4, name, strlen(name));
    size += 4 + strlen(name);
    memcpy(data + size, &count, 4);
    size += 4;
    if (query) {
        memcpy(data + size, &query_length, 4);
        memcpy(data + size + 4, query, strlen(query));
        size += 4 + strlen(query);
    }
    client_option(client, option, data, size);
}

static void expect_acknowledged(int client, uint32_t option)
{
    const uint8_t *data;
    size_t size;
    uint32_t type;
    while ((type = client_option_reply(client, option, &data, &size)) != OPTION_REPLY_ACK)
        assert_true(type == OPTION_REPLY_INFO || type == OPTION_REPLY_META_CONTEXT);
}

int client_enter(struct nbd_server *server, const char *name, bool structured)
{
    int client = client_connect(server);
    client_greet(client, HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    if (structured) {
        client_option(client, OPTION_STRUCTURED_REPLY, NULL, 0);
        expect_acknowledged(client, OPTION_STRUCTURED_REPLY);
        client_ask_contexts(client, OPTION_SET_META_CONTEXT, name, ALLOCATION_CONTEXT);
        expect_acknowledged(client, OPTION_SET_META_CONTEXT);
    }
    client_ask_export(client, OPTION_GO, name);
    expect_acknowledged(client, OPTION_GO);
    return client;
}

/* ---- transmission ---------------------------------------------------------------------------------------------- */

void client_request(int client, unsigned type, unsigned flags, uint64_t cookie, uint64_t offset, uint32_t length)
{
    struct wire_request request = {
        .magic = be32_make(REQUEST_MAGIC),
        .flags = be16_make((uint16_t)flags),
        .type = be16_make((uint16_t)type),
        .cookie = be64_make(cookie),
        .offset = be64_make(offset),
        .length = be32_make(length),
    };
    client_send(client, &request, sizeof(request));
}

void client_expect_simple(int client, uint64_t cookie, uint32_t error)
{
    struct wire_simple_reply header;
    client_receive(client, &header, sizeof(header));
    assert_int_equal(be32_get(header.magic), SIMPLE_REPLY_MAGIC);
    assert_int_equal(be64_get(header.cookie), cookie);
    assert_int_equal(be32_get(header.error), error);
}

struct client_chunk client_chunk(int client)
{
    struct wire_chunk header;
    client_receive(client, &header, sizeof(header));
    assert_int_equal(be32_get(header.magic), STRUCTURED_REPLY_MAGIC);
    struct client_chunk chunk = {
        .flags = be16_get(header.flags),
        .type = be16_get(header.type),
        .cookie = be64_get(header.cookie),
        .length = be32_get(header.length),
        .data = reply,
    };
    static uint8_t large[CLIENT_REPLY_MAX + 64];
    assert_true(chunk.length < sizeof(large));
    chunk.data = large;
    client_receive(client, large, chunk.length);
    large[chunk.length] = '\0';
    return chunk;
}

const char *client_expect_error(int client, uint64_t cookie, uint32_t error)
{
    struct client_chunk chunk = client_chunk(client);
    assert_int_equal(chunk.type, CHUNK_ERROR);
    assert_int_equal(chunk.flags, CHUNK_DONE);
    assert_int_equal(chunk.cookie, cookie);
    be32 wire_error;
    be16 length;
    memcpy(&wire_error, chunk.data, 4);
    memcpy(&length, chunk.data + 4, 2);
    assert_int_equal(be32_get(wire_error), error);
    assert_int_equal(be16_get(length) + 6, chunk.length);
    return (const char *)chunk.data + 6;
}

void client_expect_alive(int client, bool structured)
{
    uint8_t data[4096], back[4096];
    memset(data, 0x5a, sizeof(data));
    client_request(client, COMMAND_WRITE, 0, 1001, 4096, sizeof(data));
    client_send(client, data, sizeof(data));
    client_expect_simple(client, 1001, WIRE_OK);
    client_request(client, COMMAND_READ, 0, 1002, 4096, sizeof(data));
    if (structured) {
        struct client_chunk chunk = client_chunk(client);
        assert_int_equal(chunk.type, CHUNK_OFFSET_DATA);
        assert_int_equal(chunk.length, 8 + sizeof(data));
        assert_memory_equal(chunk.data + 8, data, sizeof(data));
        return;
    }
    client_expect_simple(client, 1002, WIRE_OK);
    client_receive(client, back, sizeof(back));
    assert_memory_equal(back, data, sizeof(back));
}
