/* Connections and their threads: clients that stop, do not read, or are many; the end of the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"
#include "engine/coffer.h"
#include "tests/unit/nbd_client.h"
#include "tests/unit/nbd_engine.h"

#define SOON (CLOCK_SECOND / 10)

static int enter_disk(const struct nbd_fixture *fixture)
{
    return client_enter(fixture->server, "disk", false);
}

/* Sends requests to read until the socket takes no more: nothing of the answers is ever read. */
static void ask_without_reading(int client)
{
    struct wire_request request = {
        .magic = be32_make(REQUEST_MAGIC), .type = be16_make(COMMAND_READ), .length = be32_make(1 << 20)};
    int sent = 0;
    while (sent < 200 && send(client, &request, sizeof(request), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(request))
        sent++;
}

/* ---- clients that harm ----------------------------------------------------------------------------------------- */

static void a_client_that_stops_inside_a_request_is_dropped(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = SOON});
    int header = enter_disk(&fixture), payload = enter_disk(&fixture), refused = enter_disk(&fixture);
    client_send(header, "\x25\x60", 2);
    client_request(payload, COMMAND_WRITE, 0, 1, 0, 2 << 20);
    client_send(payload, "abc", 3);
    client_request(refused, COMMAND_WRITE, 0, 1, DISK_SIZE, 4096);
    client_expect_end(header);
    client_expect_end(payload);
    client_expect_simple(refused, 1, WIRE_ENOSPC);
    client_expect_end(refused);
    fixture_stop(&fixture);
}

static void a_client_that_is_silent_between_requests_stays(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = SOON / 10});
    int client = enter_disk(&fixture);
    clock_sleep(SOON);
    client_expect_alive(client, false);
    close(client);
    fixture_stop(&fixture);
}

static void a_client_that_never_reads_harms_only_itself(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.payload_bytes_max = 1});
    int deaf = enter_disk(&fixture), other = enter_disk(&fixture);
    ask_without_reading(deaf);
    for (int i = 0; i < 20; i++)
        client_expect_alive(other, false);
    close(other);
    close(deaf);
    fixture_stop(&fixture);
}

static void a_client_that_never_reads_is_dropped(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = SOON});
    int deaf = enter_disk(&fixture);
    ask_without_reading(deaf);
    nbd_wait(fixture.server);
    assert_int_equal(nbd_engine_counts(fixture.pool).open_volumes, 0);
    close(deaf);
    fixture_stop(&fixture);
}

/* Each one begins a write for which all the payload memory together would not suffice. */
static void clients_that_stop_inside_large_writes_harm_nobody_for_longer_than_the_idle_time(void **state)
{
    enum { CLIENTS = 12 };
    (void)state;
    struct nbd_fixture fixture;
    int clients[CLIENTS];
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = SOON, .payload_bytes_max = 1});
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = enter_disk(&fixture);
        client_request(clients[i], COMMAND_WRITE, 0, 1, 0, 8 << 20);
        client_send(clients[i], "abc", 3);
    }
    int other = enter_disk(&fixture);
    client_expect_alive(other, false);
    for (int i = 0; i < CLIENTS; i++)
        client_expect_end(clients[i]);
    client_expect_alive(other, false);
    close(other);
    fixture_stop(&fixture);
}

/* ---- threads --------------------------------------------------------------------------------------------------- */

static void a_read_does_not_wait_for_a_flush(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_hold_flushes(fixture->pool, true);
    client_request(client, COMMAND_FLUSH, 0, 1, 0, 0);
    nbd_engine_wait_flushes(fixture->pool, 1);
    client_expect_alive(client, false);
    nbd_engine_hold_flushes(fixture->pool, false);
    client_expect_simple(client, 1, WIRE_OK);
    close(client);
}

static void a_write_is_answered_before_the_flush_of_its_batch_ends(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_hold_flushes(fixture->pool, true);
    struct wire_request requests[2] = {
        {be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_FLUSH), be64_make(1), be64_make(0), be32_make(0)},
        {be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_TRIM), be64_make(2), be64_make(0), be32_make(4096)},
    };
    client_send(client, requests, sizeof(requests));
    client_expect_simple(client, 2, WIRE_OK);
    assert_true(client_is_silent(client));
    nbd_engine_hold_flushes(fixture->pool, false);
    client_expect_simple(client, 1, WIRE_OK);
    close(client);
}

static void a_connection_has_a_few_threads_and_no_more(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_hold_flushes(fixture->pool, true);
    for (unsigned i = 0; i < 4; i++) {
        client_request(client, COMMAND_FLUSH, 0, i, 0, 0);
        nbd_engine_wait_flushes(fixture->pool, i + 1);
    }
    client_request(client, COMMAND_FLUSH, 0, 4, 0, 0);
    clock_sleep(SOON / 10);
    assert_int_equal(nbd_engine_counts(fixture->pool).concurrent_max, 4);
    nbd_engine_hold_flushes(fixture->pool, false);
    struct wire_simple_reply reply;
    for (unsigned i = 0; i < 5; i++)
        client_receive(client, &reply, sizeof(reply));
    client_expect_alive(client, false);
    close(client);
}

struct worker {
    struct thread thread;
    struct nbd_server *server;
    unsigned number;
    unsigned errors;
};

/* No cmocka in other threads: mistakes are counted. Each worker has 64 KiB of the disk to itself. */
static void work(void *argument)
{
    struct worker *worker = argument;
    int client = worker->number;
    uint8_t data[8192], back[8192];
    uint64_t base = (uint64_t)(worker->number % 64) << 16;
    for (unsigned i = 0; i < 100; i++) {
        struct wire_simple_reply reply;
        memset(data, (int)(i + worker->number), sizeof(data));
        struct wire_request request = {be32_make(REQUEST_MAGIC), be16_make(i % 4 == 0 ? COMMAND_FUA : 0),
                                       be16_make(COMMAND_WRITE), be64_make(i),
                                       be64_make(base),          be32_make(sizeof(data))};
        send(client, &request, sizeof(request), MSG_NOSIGNAL);
        send(client, data, sizeof(data), MSG_NOSIGNAL);
        worker->errors += recv(client, &reply, sizeof(reply), MSG_WAITALL) != sizeof(reply);
        request.type = be16_make(COMMAND_READ);
        request.flags = be16_make(0);
        send(client, &request, sizeof(request), MSG_NOSIGNAL);
        worker->errors += recv(client, &reply, sizeof(reply), MSG_WAITALL) != sizeof(reply);
        worker->errors += recv(client, back, sizeof(back), MSG_WAITALL) != sizeof(back);
        worker->errors += memcmp(data, back, sizeof(data)) != 0;
    }
    close(client);
}

static void many_connections_work_at_once(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct worker workers[8];
    for (size_t i = 0; i < COUNT_OF(workers); i++) {
        workers[i] = (struct worker){.number = (unsigned)enter_disk(fixture)};
        assert_int_equal(thread_start(&workers[i].thread, "worker", work, &workers[i]), ERROR_NONE);
    }
    for (size_t i = 0; i < COUNT_OF(workers); i++) {
        thread_join(&workers[i].thread);
        assert_int_equal(workers[i].errors, 0);
    }
    nbd_wait(fixture->server);
    assert_int_equal(nbd_engine_counts(fixture->pool).open_volumes, 0);
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static void release_flushes(void *pool)
{
    clock_sleep(SOON / 2);
    nbd_engine_hold_flushes(pool, false);
}

static void stopping_answers_what_runs_and_hangs_up(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    struct thread thread;
    fixture_start(&fixture, &(struct nbd_options){0});
    int client = enter_disk(&fixture);
    nbd_engine_hold_flushes(fixture.pool, true);
    client_request(client, COMMAND_FLUSH, 0, 1, 0, 0);
    nbd_engine_wait_flushes(fixture.pool, 1);
    assert_int_equal(thread_start(&thread, "release", release_flushes, fixture.pool), ERROR_NONE);
    nbd_stop(fixture.server);
    thread_join(&thread);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_end(client);
    nbd_engine_destroy(fixture.pool);
}

static void stopping_does_not_wait_for_clients_in_the_handshake_or_idle(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){0});
    int greeted = client_connect(fixture.server), idle = enter_disk(&fixture), inside = enter_disk(&fixture);
    client_greet(greeted, HANDSHAKE_FIXED_NEWSTYLE);
    client_request(inside, COMMAND_WRITE, 0, 1, 0, 3 << 20);
    uint64_t start = clock_monotonic();
    fixture_stop(&fixture);
    assert_true(clock_monotonic() - start < 5 * CLOCK_SECOND);
    client_expect_end(greeted);
    client_expect_end(idle);
    client_expect_end(inside);
}

static void connections_beyond_limit_and_margin_are_hung_up_on(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    int clients[20], pair[2];
    size_t count = 0;
    fixture_start(&fixture, &(struct nbd_options){.connections_max = 2});
    for (; count < 18; count++)
        clients[count] = client_connect(fixture.server);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(nbd_adopt(fixture.server, pair[1]), ERROR_BUSY);
    client_expect_end(pair[0]);
    while (count > 0)
        close(clients[--count]);
    nbd_wait(fixture.server);
    int client = enter_disk(&fixture);
    client_expect_alive(client, false);
    close(client);
    fixture_stop(&fixture);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_stops_inside_a_request_is_dropped),
        cmocka_unit_test(a_client_that_is_silent_between_requests_stays),
        cmocka_unit_test(a_client_that_never_reads_harms_only_itself),
        cmocka_unit_test(a_client_that_never_reads_is_dropped),
        cmocka_unit_test(clients_that_stop_inside_large_writes_harm_nobody_for_longer_than_the_idle_time),
        TEST(a_read_does_not_wait_for_a_flush),
        TEST(a_write_is_answered_before_the_flush_of_its_batch_ends),
        TEST(a_connection_has_a_few_threads_and_no_more),
        TEST(many_connections_work_at_once),
        cmocka_unit_test(stopping_answers_what_runs_and_hangs_up),
        cmocka_unit_test(stopping_does_not_wait_for_clients_in_the_handshake_or_idle),
        cmocka_unit_test(connections_beyond_limit_and_margin_are_hung_up_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
