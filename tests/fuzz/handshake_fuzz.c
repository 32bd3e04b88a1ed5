/*
 * The NBD handshake alone, without threads and sockets (wire.h): the bytes of a client, from its flags on. The first
 * byte says how: bit 0: the flags are given, and good; bit 1: read-only; bit 2: every export is refused; the rest: in
 * pieces of so many bytes. What the server says is a greeting and whole replies, and a volume is open only where it
 * agreed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "server/nbd/handshake.h"
#include "server/nbd/protocol.h"
#include "tests/fuzz/wire.h"
#include "tests/unit/nbd_engine.h"

#define FLAGS_SIZE 4

static struct pool *pool;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    message_level_set(MESSAGE_ERROR);
    pool = nbd_engine_create();
    nbd_engine_add(pool, "disk", 1 << 20, false);
    nbd_engine_add(pool, "other", 1 << 20, false);
    nbd_engine_add(pool, "gone", 1 << 20, true);
    nbd_engine_add(pool, "disk@s1", 1 << 20, false);
    nbd_engine_add(pool, "disk@s2", 1 << 20, false);
    return 0;
}

/* EXPORT_NAME is answered by no reply: what stands behind the last one is that answer, or nothing. */
static void check_said(bool agreed)
{
    size_t size;
    const uint8_t *said = wire_said(&size);
    struct wire_option_reply reply;
    ASSERT(size >= sizeof(struct wire_greeting));
    size_t at = sizeof(struct wire_greeting);
    while (size - at >= sizeof reply) {
        memcpy(&reply, said + at, sizeof reply);
        if (be64_get(reply.magic) != OPTION_REPLY_MAGIC)
            break;
        ASSERT(be32_get(reply.length) <= size - at - sizeof reply);
        at += sizeof reply + be32_get(reply.length);
    }
    size_t left = size - at;
    ASSERT(left == 0 ||
           (agreed && (left == sizeof(struct wire_export) || left == sizeof(struct wire_export) + EXPORT_NAME_ZEROES)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct handshake_terms terms = {.pool = pool,
                                    .read_only = data[0] & 2,
                                    .deadline = UINT64_MAX,
                                    .refusal = data[0] & 4 ? "too many clients" : NULL};
    struct session session;
    uint8_t *said = malloc(FLAGS_SIZE + size);
    if (said == NULL)
        return 0;
    memcpy(said, (const uint8_t[FLAGS_SIZE]){0, 0, 0, 3}, FLAGS_SIZE);
    memcpy(said + FLAGS_SIZE, data + 1, size - 1);
    size_t skipped = data[0] & 1 ? 0 : FLAGS_SIZE;
    wire_begin(said + skipped, FLAGS_SIZE + size - 1 - skipped, data[0] >> 3);
    error_forget();
    enum error error = handshake_run(&terms, -1, &session);
    check_said(error == ERROR_NONE);
    ASSERT(nbd_engine_counts(pool).open_volumes == (error == ERROR_NONE ? 1 + session.base_count : 0));
    if (error == ERROR_NONE) {
        ASSERT(terms.refusal == NULL && session.read_only >= terms.read_only);
        session_close(&session);
    }
    free(said);
    return 0;
}
