/* Connections and their threads: clients that stop, do not read, or are many; the end of the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

static void waiting_for_the_last_client_can_be_interrupted(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    int ends[2];
    fixture_start(&fixture, &(struct nbd_options){0});
    int client = enter_disk(&fixture);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "", 1), 1);
    nbd_wait(fixture.server, ends[0]);
    client_expect_alive(client, false);
    close(client);
    nbd_wait(fixture.server, -1);
    close(ends[0]);
    close(ends[1]);
    fixture_stop(&fixture);
}

static void a_client_that_never_reads_is_dropped(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = SOON});
    int deaf = enter_disk(&fixture);
    ask_without_reading(deaf);
    nbd_wait(fixture.server, -1);
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

/* ---- many clients that harm ------------------------------------------------------------------------------------ */

/* With the default times, so that nobody is dropped before the others have been served. */
enum { CROWD = 16 };

static void expect_served(const struct nbd_fixture *fixture)
{
    static uint8_t data[2 << 20], back[sizeof(data)];
    int other = enter_disk(fixture);
    for (int i = 0; i < 20; i++)
        client_expect_alive(other, false);
    memset(data, 0x3c, sizeof(data));
    client_request(other, COMMAND_WRITE, 0, 5, 12345, sizeof(data));
    client_send(other, data, sizeof(data));
    client_expect_simple(other, 5, WIRE_OK);
    close(other);
    other = client_enter(fixture->server, "disk", true);
    client_request(other, COMMAND_READ, 0, 6, 12345, sizeof(data));
    for (size_t got = 0; got < sizeof(back);) {
        struct client_chunk chunk = client_chunk(other);
        be64 at;
        memcpy(&at, chunk.data, sizeof(at));
        memcpy(back + be64_get(at) - 12345, chunk.data + sizeof(at), chunk.length - sizeof(at));
        got += chunk.length - sizeof(at);
    }
    assert_memory_equal(data, back, sizeof(data));
    close(other);
}

static void a_crowd_that_stops_inside_large_writes_delays_nobody(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    int crowd[CROWD];
    fixture_start(&fixture, &(struct nbd_options){.payload_bytes_max = 1});
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = enter_disk(&fixture);
        client_request(crowd[i], COMMAND_WRITE, 0, 1, 0, 1 << 20);
        client_send(crowd[i], "a", 1);
    }
    expect_served(&fixture);
    for (int i = 0; i < CROWD; i++) {
        assert_true(client_is_silent(crowd[i]));
        close(crowd[i]);
    }
    fixture_stop(&fixture);
}

static void a_crowd_that_never_reads_delays_nobody(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    int crowd[CROWD];
    fixture_start(&fixture, &(struct nbd_options){.payload_bytes_max = 1});
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = enter_disk(&fixture);
        for (unsigned k = 0; k < 4; k++)
            client_request(crowd[i], COMMAND_READ, 0, k, 0, 1 << 20);
    }
    expect_served(&fixture);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    fixture_stop(&fixture);
}

static void a_large_read_that_is_never_taken_gives_way_to_another(void **state)
{
    (void)state;
    static uint8_t data[4 << 20];
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = 12 * CLOCK_SECOND});
    int deaf = enter_disk(&fixture), other = enter_disk(&fixture);
    struct wire_simple_reply reply;
    client_request(deaf, COMMAND_READ, 0, 1, 0, sizeof(data));
    client_receive(deaf, &reply, sizeof(reply));
    client_request(other, COMMAND_READ, 0, 2, 0, sizeof(data));
    client_expect_simple(other, 2, WIRE_OK);
    client_receive(other, data, sizeof(data));
    client_expect_alive(other, false);
    close(deaf);
    close(other);
    fixture_stop(&fixture);
}

/* All blocks are held by batches whose flush does not end: no client is to blame. */
static void a_request_without_memory_is_answered_by_an_error_and_the_next_one_served(void **state)
{
    enum { HOLDERS = 8 };
    (void)state;
    struct {
        struct wire_request write;
        uint8_t data[4096];
        struct wire_request flush;
    } both = {
        {be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_WRITE), be64_make(1), be64_make(0), be32_make(4096)},
        {0},
        {be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_FLUSH), be64_make(2), be64_make(0), be32_make(0)},
    };
    struct nbd_fixture fixture;
    int holders[HOLDERS];
    fixture_start(&fixture, &(struct nbd_options){.payload_bytes_max = 1, .idle_nanoseconds = CLOCK_SECOND});
    nbd_engine_hold_flushes(fixture.pool, true);
    for (int i = 0; i < HOLDERS; i++) {
        holders[i] = enter_disk(&fixture);
        client_send(holders[i], &both, sizeof(both));
        client_expect_simple(holders[i], 1, WIRE_OK);
    }
    nbd_engine_wait_flushes(fixture.pool, HOLDERS);
    int other = enter_disk(&fixture);
    client_request(other, COMMAND_READ, 0, 3, 0, 1 << 20);
    client_expect_simple(other, 3, WIRE_ENOMEM);
    client_expect_alive(other, false);
    nbd_engine_hold_flushes(fixture.pool, false);
    for (int i = 0; i < HOLDERS; i++) {
        client_expect_simple(holders[i], 2, WIRE_OK);
        close(holders[i]);
    }
    close(other);
    fixture_stop(&fixture);
}

static void a_client_that_sends_byte_by_byte_is_dropped(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = 2 * SOON});
    int slow = enter_disk(&fixture);
    client_request(slow, COMMAND_WRITE, 0, 1, 0, 1 << 20);
    int bytes = 0;
    while (bytes < 1000 && send(slow, "a", 1, MSG_NOSIGNAL) == 1) {
        clock_sleep(SOON / 10);
        bytes++;
    }
    assert_true(bytes < 1000);
    close(slow);
    fixture_stop(&fixture);
}

struct sipper {
    int client;
    atomic_bool enough;
};

static void sip(void *argument)
{
    struct sipper *sipper = argument;
    uint8_t drop[512];
    while (!atomic_load(&sipper->enough)) {
        (void)!recv(sipper->client, drop, sizeof(drop), MSG_DONTWAIT);
        clock_sleep(SOON / 10);
    }
}

static void a_client_that_reads_a_little_from_time_to_time_is_dropped(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    struct thread thread;
    fixture_start(&fixture, &(struct nbd_options){.idle_nanoseconds = 2 * SOON});
    struct sipper sipper = {.client = enter_disk(&fixture)};
    for (unsigned i = 0; i < 4; i++)
        client_request(sipper.client, COMMAND_READ, 0, i, 0, 1 << 20);
    assert_int_equal(thread_start(&thread, "sipper", sip, &sipper), ERROR_NONE);
    nbd_wait(fixture.server, -1);
    atomic_store(&sipper.enough, true);
    thread_join(&thread);
    close(sipper.client);
    fixture_stop(&fixture);
}

/* ---- work that nobody waits for -------------------------------------------------------------------------------- */

static void ask_to_read_ahead(int client)
{
    struct wire_request requests[1000];
    for (size_t i = 0; i < COUNT_OF(requests); i++)
        requests[i] = (struct wire_request){
            be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_CACHE), be64_make(i), be64_make(0),
            be32_make(DISK_SIZE)};
    client_send(client, requests, sizeof(requests));
}

/* Each thread of the connection may be at a piece of it. */
static void expect_little_read_ahead(struct pool *pool)
{
    assert_true(nbd_engine_counts(pool).cache_bytes <= 4 * BATCH_BYTES_MAX);
}

static void requests_of_a_client_that_left_are_abandoned(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_hold_caches(fixture->pool, true);
    ask_to_read_ahead(client);
    nbd_engine_wait_caches(fixture->pool, 1);
    close(client);
    nbd_engine_hold_caches(fixture->pool, false);
    nbd_wait(fixture->server, -1);
    expect_little_read_ahead(fixture->pool);
}

static void release_caches(void *pool)
{
    clock_sleep(SOON / 2);
    nbd_engine_hold_caches(pool, false);
}

static void stopping_does_not_wait_for_what_is_only_read_ahead(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    struct thread thread;
    fixture_start(&fixture, &(struct nbd_options){0});
    int client = enter_disk(&fixture);
    nbd_engine_hold_caches(fixture.pool, true);
    ask_to_read_ahead(client);
    nbd_engine_wait_caches(fixture.pool, 1);
    assert_int_equal(thread_start(&thread, "release", release_caches, fixture.pool), ERROR_NONE);
    nbd_stop(fixture.server);
    thread_join(&thread);
    expect_little_read_ahead(fixture.pool);
    close(client);
    nbd_engine_destroy(fixture.pool);
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
    nbd_wait(fixture->server, -1);
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
    nbd_wait(fixture.server, -1);
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
        cmocka_unit_test(waiting_for_the_last_client_can_be_interrupted),
        cmocka_unit_test(clients_that_stop_inside_large_writes_harm_nobody_for_longer_than_the_idle_time),
        cmocka_unit_test(a_crowd_that_stops_inside_large_writes_delays_nobody),
        cmocka_unit_test(a_crowd_that_never_reads_delays_nobody),
        cmocka_unit_test(a_large_read_that_is_never_taken_gives_way_to_another),
        cmocka_unit_test(a_request_without_memory_is_answered_by_an_error_and_the_next_one_served),
        cmocka_unit_test(a_client_that_sends_byte_by_byte_is_dropped),
        cmocka_unit_test(a_client_that_reads_a_little_from_time_to_time_is_dropped),
        TEST(requests_of_a_client_that_left_are_abandoned),
        cmocka_unit_test(stopping_does_not_wait_for_what_is_only_read_ahead),
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
