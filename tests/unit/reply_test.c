/*
 * Replies of two batches of one connection, of which the first breaks off: nothing stands behind a part of an answer. The
 * socket of the test takes some bytes and then fails, and the other batch comes in as soon as it may (the linker puts both
 * before sendmsg and mutex_unlock).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "server/nbd/batch.h"

#define PART 5 /* bytes of the first answer that go out */

static unsigned writes, writes_fail_from;

ssize_t __real_sendmsg(int socket, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int socket, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int socket, const struct msghdr *message, int flags)
{
    writes++;
    if (writes == writes_fail_from) {
        errno = ECONNRESET;
        return -1;
    }
    if (writes + 1 == writes_fail_from)
        return send(socket, message->msg_iov[0].iov_base, PART, flags);
    return __real_sendmsg(socket, message, flags);
}

static struct batch *waits; /* for the send lock */

void __real_mutex_unlock(struct mutex *mutex);
void __wrap_mutex_unlock(struct mutex *mutex);
void __wrap_mutex_unlock(struct mutex *mutex)
{
    struct batch *next = waits;
    __real_mutex_unlock(mutex);
    waits = NULL;
    if (next)
        reply_send(next);
}

struct fixture {
    int client;
    struct connection connection;
    struct batch batches[2];
};

static int setup(void **state)
{
    int sockets[2];
    struct fixture *f = memory_zeroed(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    f->client = sockets[0];
    f->connection.socket = sockets[1];
    mutex_init(&f->connection.send, RANK_SERVER);
    assert_int_equal(stream_init(&f->connection.stream, sockets[1], CLOCK_SECOND), ERROR_NONE);
    for (unsigned i = 0; i < 2; i++) {
        struct batch *batch = &f->batches[i];
        batch_init(batch, &f->connection);
        batch->slots[0].command.type = COMMAND_TRIM;
        batch->slots[0].command.length = 4096;
        batch->ready[batch->ready_count++] = &batch->slots[0];
    }
    writes = writes_fail_from = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stream_deinit(&f->connection.stream);
    mutex_deinit(&f->connection.send);
    close(f->connection.socket);
    close(f->client);
    free(f);
    return 0;
}

static size_t received(struct fixture *f)
{
    uint8_t bytes[256];
    ssize_t count = recv(f->client, bytes, sizeof bytes, MSG_DONTWAIT);
    return count < 0 ? 0 : (size_t)count;
}

static void two_batches_answer_one_after_the_other(void **state)
{
    struct fixture *f = *state;
    waits = &f->batches[1];
    reply_send(&f->batches[0]);
    assert_int_equal(received(f), 2 * sizeof(struct wire_simple_reply));
    assert_false(atomic_load(&f->connection.broken));
}

static void nothing_is_written_behind_an_answer_that_broke_off(void **state)
{
    struct fixture *f = *state;
    waits = &f->batches[1];
    writes_fail_from = 2;
    reply_send(&f->batches[0]);
    assert_int_equal(writes, 2); /* nor is it tried */
    assert_int_equal(received(f), PART);
    assert_true(atomic_load(&f->connection.broken));
    assert_int_equal(f->batches[0].ready_count + f->batches[1].ready_count, 0);
}

/* Which nobody else frees: it is seen by who looks for leaks. */
static void the_last_piece_of_a_request_ends_it_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct slot *slot = &f->batches[1].slots[0];
    slot->transfer = memory_zeroed(1, sizeof *slot->transfer);
    assert_non_null(slot->transfer);
    slot->transfer->left = slot->command.length;
    waits = &f->batches[1];
    writes_fail_from = 2;
    reply_send(&f->batches[0]);
    assert_true(slot->transfer_ended);
    assert_int_equal(received(f), PART);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_batches_answer_one_after_the_other),
        TEST(nothing_is_written_behind_an_answer_that_broke_off),
        TEST(the_last_piece_of_a_request_ends_it_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
