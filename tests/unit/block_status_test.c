/* Block status over a connection: what is mapped, and what changed since snapshots; refusals first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "engine/coffer.h"
#include "tests/unit/nbd_client.h"
#include "tests/unit/nbd_engine.h"

static int entered(void **state)
{
    struct nbd_fixture *fixture = *state;
    return client_enter(fixture->server, "disk", true);
}

/* ---- block status ---------------------------------------------------------------------------------------------- */

static size_t status(int client, unsigned flags, uint64_t offset, uint32_t length, struct wire_extent *extents)
{
    client_request(client, COMMAND_BLOCK_STATUS, flags, 8, offset, length);
    struct client_chunk chunk = client_chunk(client);
    assert_int_equal(chunk.type, CHUNK_BLOCK_STATUS);
    assert_int_equal(chunk.flags, CHUNK_DONE);
    be32 context;
    memcpy(&context, chunk.data, 4);
    assert_int_equal(be32_get(context), ALLOCATION_CONTEXT_ID);
    memcpy(extents, chunk.data + 4, chunk.length - 4);
    return (chunk.length - 4) / sizeof(*extents);
}

static void assert_extent(struct wire_extent extent, uint32_t length, uint32_t state)
{
    assert_int_equal(be32_get(extent.length), length);
    assert_int_equal(be32_get(extent.state), state);
}

static void block_status_tells_data_from_holes(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    int client = entered(state);
    memset(nbd_engine_data(fixture->pool, "disk") + 8192, 1, 4096);
    assert_int_equal(status(client, 0, 0, DISK_SIZE, extents), 3);
    assert_extent(extents[0], 8192, STATE_HOLE | STATE_ZERO);
    assert_extent(extents[1], 4096, 0);
    assert_extent(extents[2], DISK_SIZE - 12288, STATE_HOLE | STATE_ZERO);
    close(client);
}

/* ---- what changed ----------------------------------------------------------------------------------------------- */

/* Into the transmission phase with these contexts of "disk"; there are snapshots "s1" and "s2", of zeros. */
static int entered_with(void **state, const char *const *contexts, uint32_t count)
{
    struct nbd_fixture *fixture = *state;
    uint8_t data[256];
    size_t size = 0;
    be32 numbers[] = {be32_make(4), be32_make(count)};
    nbd_engine_add(fixture->pool, "disk@s1", DISK_SIZE, false);
    nbd_engine_add(fixture->pool, "disk@s2", DISK_SIZE, false);
    int client = client_connect(fixture->server);
    client_greet(client, HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    client_option(client, OPTION_STRUCTURED_REPLY, NULL, 0);
    client_expect_option(client, OPTION_STRUCTURED_REPLY, OPTION_REPLY_ACK);
    memcpy(data, &numbers[0], 4);
    memcpy(data + 4, "disk", 4);
    memcpy(data + 8, &numbers[1], 4);
    size = 12;
    for (uint32_t i = 0; i < count; i++) {
        be32 length = be32_make((uint32_t)strlen(contexts[i]));
        memcpy(data + size, &length, 4);
        memcpy(data + size + 4, contexts[i], strlen(contexts[i]));
        size += 4 + strlen(contexts[i]);
    }
    client_option(client, OPTION_SET_META_CONTEXT, data, size);
    for (uint32_t i = 0; i < count; i++)
        client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_META_CONTEXT);
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_ACK);
    client_ask_export(client, OPTION_GO, "disk");
    client_expect_option(client, OPTION_GO, OPTION_REPLY_INFO);
    client_expect_option(client, OPTION_GO, OPTION_REPLY_INFO);
    client_expect_option(client, OPTION_GO, OPTION_REPLY_ACK);
    return client;
}

static size_t next_status(int client, uint32_t id, bool last, struct wire_extent *extents)
{
    struct client_chunk chunk = client_chunk(client);
    be32 context;
    assert_int_equal(chunk.type, CHUNK_BLOCK_STATUS);
    assert_int_equal(chunk.flags, last ? CHUNK_DONE : 0);
    memcpy(&context, chunk.data, 4);
    assert_int_equal(be32_get(context), id);
    memcpy(extents, chunk.data + 4, chunk.length - 4);
    return (chunk.length - 4) / sizeof(*extents);
}

static void what_changed_cannot_be_told_where_a_map_is_unreadable(void **state)
{
    static const char *const contexts[] = {ALLOCATION_CONTEXT, "coffer:changed:s1"};
    struct nbd_fixture *fixture = *state;
    int client = entered_with(state, contexts, 2);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_CORRUPT);
    client_request(client, COMMAND_BLOCK_STATUS, 0, 8, 0, DISK_SIZE);
    assert_true(strlen(client_expect_error(client, 8, WIRE_EIO)) > 0);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_NONE);
    client_expect_alive(client, true);
    close(client);
}

static void each_context_answers_for_itself(void **state)
{
    static const char *const contexts[] = {"coffer:changed:s2", ALLOCATION_CONTEXT, "coffer:changed:s1"};
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    int client = entered_with(state, contexts, 3);
    memset(nbd_engine_data(fixture->pool, "disk") + 8192, 1, 4096);
    memset(nbd_engine_data(fixture->pool, "disk@s2"), 1, 12288);
    client_request(client, COMMAND_BLOCK_STATUS, 0, 8, 4096, 12288);
    assert_int_equal(next_status(client, ALLOCATION_CONTEXT_ID, false, extents), 3);
    assert_int_equal(next_status(client, CHANGED_CONTEXT_ID, false, extents), 2);
    assert_extent(extents[0], 4096, STATE_CHANGED | STATE_CHANGED_ZERO);
    assert_extent(extents[1], 8192, 0);
    assert_int_equal(next_status(client, CHANGED_CONTEXT_ID + 1, true, extents), 3);
    assert_extent(extents[1], 4096, STATE_CHANGED);
    client_request(client, COMMAND_BLOCK_STATUS, COMMAND_REQ_ONE, 8, 5000, 12288);
    assert_int_equal(next_status(client, ALLOCATION_CONTEXT_ID, false, extents), 1);
    assert_int_equal(next_status(client, CHANGED_CONTEXT_ID, false, extents), 1);
    assert_extent(extents[0], 8192 - 5000, STATE_CHANGED | STATE_CHANGED_ZERO);
    assert_int_equal(next_status(client, CHANGED_CONTEXT_ID + 1, true, extents), 1);
    client_expect_alive(client, true);
    close(client);
}

static void changes_alone_are_told_without_allocation(void **state)
{
    static const char *const contexts[] = {"coffer:changed:s1"};
    struct wire_extent extents[1024];
    int client = entered_with(state, contexts, 1);
    client_request(client, COMMAND_BLOCK_STATUS, 0, 8, 0, DISK_SIZE);
    assert_int_equal(next_status(client, CHANGED_CONTEXT_ID, true, extents), 1);
    assert_extent(extents[0], DISK_SIZE, 0);
    close(client);
}

static void block_status_begins_and_ends_where_it_was_asked(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    int client = entered(state);
    memset(nbd_engine_data(fixture->pool, "disk") + 8192, 1, 4096);
    assert_int_equal(status(client, 0, 8000, 300, extents), 2);
    assert_extent(extents[0], 192, STATE_HOLE | STATE_ZERO);
    assert_extent(extents[1], 108, 0);
    assert_int_equal(status(client, 0, 9000, 1, extents), 1);
    assert_extent(extents[0], 1, 0);
    close(client);
}

static void block_status_for_one_gives_one(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    int client = entered(state);
    memset(nbd_engine_data(fixture->pool, "disk"), 1, 4096);
    assert_int_equal(status(client, COMMAND_REQ_ONE, 100, 1 << 20, extents), 1);
    assert_extent(extents[0], 3996, 0);
    close(client);
}

static void block_status_of_many_extents_is_cut(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    int client = entered(state);
    for (size_t i = 0; i < DISK_SIZE; i += 8192)
        nbd_engine_data(fixture->pool, "disk")[i] = 1;
    size_t count = status(client, 0, 0, DISK_SIZE, extents);
    assert_true(count > 1 && count < 1024);
    for (size_t i = 0; i < count; i++)
        assert_extent(extents[i], 4096, i % 2 == 0 ? 0 : STATE_HOLE | STATE_ZERO);
    client_expect_alive(client, true);
    close(client);
}

static void block_status_looks_at_a_bounded_amount_of_data_and_answers_for_that(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    nbd_engine_add(fixture->pool, "vast", UINT64_C(4) << 30, false);
    nbd_engine_solid(fixture->pool, true);
    int client = client_enter(fixture->server, "vast", true);
    assert_int_equal(status(client, 0, 0, UINT32_MAX, extents), 1);
    assert_extent(extents[0], 1 << 30, 0);
    assert_int_equal(nbd_engine_counts(fixture->pool).extent_bytes, 1 << 30);
    assert_int_equal(status(client, COMMAND_REQ_ONE, 100, UINT32_MAX - 4096, extents), 1);
    assert_in_range(be32_get(extents[0].length), (1 << 30) - COFFER_BLOCK, 1 << 30);
    nbd_engine_solid(fixture->pool, false);
    close(client);
}

static void block_status_of_a_hole_is_answered_in_full(void **state)
{
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    nbd_engine_add(fixture->pool, "vast", UINT64_C(4) << 30, false);
    nbd_engine_empty(fixture->pool, true);
    int client = client_enter(fixture->server, "vast", true);
    assert_int_equal(status(client, 0, 0, UINT32_MAX, extents), 1);
    assert_extent(extents[0], UINT32_MAX, STATE_HOLE | STATE_ZERO);
    nbd_engine_empty(fixture->pool, false);
    close(client);
}

/* The steps in which it is looked at do not show. */
static void block_status_joins_what_goes_on_over_a_step(void **state)
{
    enum { STEP = 64 << 20 };
    struct nbd_fixture *fixture = *state;
    struct wire_extent extents[1024];
    nbd_engine_add(fixture->pool, "wide", 3 * STEP, false);
    uint8_t *wide = nbd_engine_data(fixture->pool, "wide");
    memset(wide + STEP - 8192, 1, 12288);
    wide[3 * STEP - 1] = 1;
    int client = client_enter(fixture->server, "wide", true);
    assert_int_equal(status(client, 0, 0, 3 * STEP, extents), 4);
    assert_extent(extents[0], STEP - 8192, STATE_HOLE | STATE_ZERO);
    assert_extent(extents[1], 12288, 0);
    assert_extent(extents[2], 2 * STEP - 8192, STATE_HOLE | STATE_ZERO);
    assert_extent(extents[3], 4096, 0);
    assert_int_equal(status(client, COMMAND_REQ_ONE, STEP + 4096, 2 * STEP - 4096, extents), 1);
    assert_extent(extents[0], 2 * STEP - 8192, STATE_HOLE | STATE_ZERO);
    assert_int_equal(status(client, COMMAND_REQ_ONE, STEP - 8192, STEP, extents), 1);
    assert_extent(extents[0], 12288, 0);
    close(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_changed_cannot_be_told_where_a_map_is_unreadable),
        TEST(block_status_tells_data_from_holes),
        TEST(each_context_answers_for_itself),
        TEST(changes_alone_are_told_without_allocation),
        TEST(block_status_begins_and_ends_where_it_was_asked),
        TEST(block_status_for_one_gives_one),
        TEST(block_status_of_many_extents_is_cut),
        TEST(block_status_looks_at_a_bounded_amount_of_data_and_answers_for_that),
        TEST(block_status_of_a_hole_is_answered_in_full),
        TEST(block_status_joins_what_goes_on_over_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
