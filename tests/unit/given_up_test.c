/*
 * Requests that waited while their client left: it may have sent them again on another connection, and newer data behind
 * them. They wait in the engine, in the socket, for the first half of their batch, or for the piece before them.
 */
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

#define LARGE (2 * BATCH_BYTES_MAX + 4096) /* three pieces */

static int enter_disk(const struct nbd_fixture *fixture)
{
    return client_enter(fixture->server, "disk", false);
}

/* Longer than a request may have waited without its client being looked for. */
static void wait_so_long(void)
{
    clock_sleep(20 * CLOCK_MILLISECOND);
}

static void send_write(int client, unsigned flags, uint64_t cookie, uint32_t size)
{
    static const uint8_t data[LARGE] = {7};
    client_request(client, COMMAND_WRITE, flags, cookie, 0, size);
    client_send(client, data, size);
}

static unsigned writes_run(const struct nbd_fixture *fixture)
{
    return nbd_engine_counts(fixture->pool).of_type[REQUEST_WRITE];
}

/* ---- in the engine --------------------------------------------------------------------------------------------- */

static int write_held(const struct nbd_fixture *fixture)
{
    int client = enter_disk(fixture);
    nbd_engine_hold_writes(fixture->pool, true);
    send_write(client, 0, 1, 4096);
    nbd_engine_wait_writes(fixture->pool, 1);
    return client;
}

static void a_write_of_a_client_that_left_is_not_wanted_any_more(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = write_held(fixture);
    shutdown(client, SHUT_RDWR);
    wait_so_long();
    nbd_engine_hold_writes(fixture->pool, false);
    nbd_wait(fixture->server, -1);
    assert_int_equal(nbd_engine_counts(fixture->pool).unwanted, 1);
    close(client);
}

static void a_write_of_a_client_that_waits_is_wanted(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = write_held(fixture);
    wait_so_long();
    nbd_engine_hold_writes(fixture->pool, false);
    client_expect_simple(client, 1, WIRE_OK);
    assert_int_equal(nbd_engine_counts(fixture->pool).unwanted, 0);
    close(client);
}

static void a_write_before_a_disconnect_is_wanted(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    struct {
        struct wire_request write;
        uint8_t data[4096];
        struct wire_request disconnect;
    } sent = {.write = {be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_WRITE), be64_make(1), be64_make(0),
                        be32_make(sizeof(sent.data))},
              .disconnect = {.magic = be32_make(REQUEST_MAGIC), .type = be16_make(COMMAND_DISCONNECT)}};
    nbd_engine_hold_writes(fixture->pool, true);
    client_send(client, &sent, sizeof(sent));
    nbd_engine_wait_writes(fixture->pool, 1);
    wait_so_long();
    nbd_engine_hold_writes(fixture->pool, false);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_end(client);
}

static void release_writes(void *pool)
{
    wait_so_long();
    nbd_engine_hold_writes(pool, false);
}

static void stop_while_a_write_is_held(struct nbd_fixture *fixture)
{
    struct thread thread;
    assert_int_equal(thread_start(&thread, "release", release_writes, fixture->pool), ERROR_NONE);
    nbd_stop(fixture->server);
    thread_join(&thread);
}

static void stopping_still_wants_the_writes_of_who_waits(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){0});
    int client = write_held(&fixture);
    stop_while_a_write_is_held(&fixture);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_end(client);
    nbd_engine_destroy(fixture.pool);
}

static void stopping_wants_no_write_of_who_left_before(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){0});
    int client = write_held(&fixture);
    close(client);
    stop_while_a_write_is_held(&fixture);
    assert_int_equal(nbd_engine_counts(fixture.pool).unwanted, 1);
    nbd_engine_destroy(fixture.pool);
}

/* ---- in the socket --------------------------------------------------------------------------------------------- */

/* The connection's only thread is in the engine, for something that nobody may give up. */
static int write_sent_behind_a_held_request(const struct nbd_fixture *fixture)
{
    int client = enter_disk(fixture);
    nbd_engine_hold_caches(fixture->pool, true);
    client_request(client, COMMAND_CACHE, 0, 1, 0, 4096);
    nbd_engine_wait_caches(fixture->pool, 1);
    send_write(client, 0, 2, 4096);
    return client;
}

/* Only one side is shut, so that the answer before it goes out: over TCP the first one always does. */
static void a_write_that_waited_in_the_socket_of_a_client_that_left_is_not_run(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = write_sent_behind_a_held_request(fixture);
    shutdown(client, SHUT_WR);
    wait_so_long();
    nbd_engine_hold_caches(fixture->pool, false);
    nbd_wait(fixture->server, -1);
    assert_int_equal(writes_run(fixture), 0);
    close(client);
}

static void a_write_that_waited_in_the_socket_of_a_client_that_waits_is_run(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = write_sent_behind_a_held_request(fixture);
    wait_so_long();
    nbd_engine_hold_caches(fixture->pool, false);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_simple(client, 2, WIRE_OK);
    assert_int_equal(writes_run(fixture), 1);
    close(client);
}

/* ---- for other parts of the same ------------------------------------------------------------------------------- */

static void a_durable_write_behind_one_of_its_batch_that_was_given_up_is_not_run(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    struct {
        struct {
            struct wire_request request;
            uint8_t data[4096];
        } writes[2];
    } sent = {0};
    for (unsigned i = 0; i < 2; i++)
        sent.writes[i].request = (struct wire_request){
            be32_make(REQUEST_MAGIC), be16_make(i == 0 ? 0 : COMMAND_FUA), be16_make(COMMAND_WRITE), be64_make(i),
            be64_make(0),             be32_make(sizeof(sent.writes[i].data))};
    nbd_engine_hold_writes(fixture->pool, true);
    client_send(client, &sent, sizeof(sent));
    nbd_engine_wait_writes(fixture->pool, 1);
    shutdown(client, SHUT_WR);
    wait_so_long();
    nbd_engine_hold_writes(fixture->pool, false);
    nbd_wait(fixture->server, -1);
    assert_int_equal(writes_run(fixture), 1);
    assert_int_equal(nbd_engine_counts(fixture->pool).unwanted, 1);
    close(client);
}

static void pieces_behind_one_that_was_given_up_are_not_run(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_hold_writes(fixture->pool, true);
    send_write(client, 0, 1, BATCH_BYTES_MAX + 4096);
    nbd_engine_wait_writes(fixture->pool, 1);
    shutdown(client, SHUT_RDWR);
    wait_so_long();
    nbd_engine_hold_writes(fixture->pool, false);
    nbd_wait(fixture->server, -1);
    assert_int_equal(writes_run(fixture), 1);
    close(client);
}

static void pieces_behind_one_that_failed_are_not_run(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = enter_disk(fixture);
    nbd_engine_fail(fixture->pool, REQUEST_WRITE, ERROR_NO_SPACE);
    send_write(client, 0, 1, LARGE);
    client_expect_simple(client, 1, WIRE_ENOSPC);
    assert_int_equal(writes_run(fixture), 1);
    nbd_engine_fail(fixture->pool, REQUEST_WRITE, ERROR_NONE);
    client_expect_alive(client, false);
    close(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_write_of_a_client_that_left_is_not_wanted_any_more),
        TEST(a_write_of_a_client_that_waits_is_wanted),
        TEST(a_write_before_a_disconnect_is_wanted),
        cmocka_unit_test(stopping_still_wants_the_writes_of_who_waits),
        cmocka_unit_test(stopping_wants_no_write_of_who_left_before),
        TEST(a_write_that_waited_in_the_socket_of_a_client_that_left_is_not_run),
        TEST(a_write_that_waited_in_the_socket_of_a_client_that_waits_is_run),
        TEST(a_durable_write_behind_one_of_its_batch_that_was_given_up_is_not_run),
        TEST(pieces_behind_one_that_was_given_up_are_not_run),
        TEST(pieces_behind_one_that_failed_are_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
