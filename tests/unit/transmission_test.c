/* Requests over a connection: the wrong ones first, then what each command does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "engine/coffer.h"
#include "tests/unit/nbd_client.h"
#include "tests/unit/nbd_engine.h"

static int entered(void **state, bool structured)
{
    struct nbd_fixture *fixture = *state;
    return client_enter(fixture->server, "disk", structured);
}

/* One request without payload is refused with `error`, and the connection goes on. */
static void expect_refused(void **state, unsigned type, unsigned flags, uint64_t offset, uint32_t length,
                           uint32_t error)
{
    int client = entered(state, true);
    client_request(client, type, flags, 7, offset, length);
    assert_true(strlen(client_expect_error(client, 7, error)) > 0);
    client_expect_alive(client, true);
    close(client);
    client = entered(state, false);
    if (flags & COMMAND_DF || type == COMMAND_BLOCK_STATUS)
        error = WIRE_EINVAL;
    client_request(client, type, flags, 7, offset, length);
    client_expect_simple(client, 7, error);
    client_expect_alive(client, false);
    close(client);
}

static void fill(uint8_t *data, size_t size, uint8_t seed)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(seed + i * 7 + (i >> 12));
}

/* ---- bad requests ---------------------------------------------------------------------------------------------- */

static void requests_beyond_the_end_are_refused(void **state)
{
    static const struct {
        uint64_t offset;
        uint32_t length;
    } ranges[] = {{DISK_SIZE, 1}, {DISK_SIZE - 4096, 4097}, {UINT64_MAX, 4096}, {UINT64_MAX - 4095, 4096}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        expect_refused(state, COMMAND_READ, 0, ranges[i].offset, ranges[i].length, WIRE_EINVAL);
        expect_refused(state, COMMAND_TRIM, 0, ranges[i].offset, ranges[i].length, WIRE_EINVAL);
        expect_refused(state, COMMAND_CACHE, 0, ranges[i].offset, ranges[i].length, WIRE_EINVAL);
        expect_refused(state, COMMAND_WRITE_ZEROES, 0, ranges[i].offset, ranges[i].length, WIRE_ENOSPC);
        expect_refused(state, COMMAND_BLOCK_STATUS, 0, ranges[i].offset, ranges[i].length, WIRE_EINVAL);
    }
}

static void requests_of_length_0_are_refused(void **state)
{
    static const unsigned types[] = {COMMAND_READ,  COMMAND_WRITE,        COMMAND_TRIM,
                                     COMMAND_CACHE, COMMAND_WRITE_ZEROES, COMMAND_BLOCK_STATUS};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        expect_refused(state, types[i], 0, 4096, 0, WIRE_EINVAL);
}

static void unknown_types_are_refused(void **state)
{
    static const unsigned types[] = {8, 9, 100, 0xffff};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        expect_refused(state, types[i], 0, 0, 4096, WIRE_EINVAL);
}

static void flags_that_a_command_does_not_know_are_refused(void **state)
{
    expect_refused(state, COMMAND_READ, 1 << 5, 0, 4096, WIRE_EINVAL);
    expect_refused(state, COMMAND_READ, COMMAND_NO_HOLE, 0, 4096, WIRE_EINVAL);
    expect_refused(state, COMMAND_TRIM, COMMAND_FAST_ZERO, 0, 4096, WIRE_EINVAL);
    expect_refused(state, COMMAND_WRITE_ZEROES, COMMAND_DF, 0, 4096, WIRE_EINVAL);
    expect_refused(state, COMMAND_FLUSH, 0x8000, 0, 0, WIRE_EINVAL);
    expect_refused(state, COMMAND_BLOCK_STATUS, COMMAND_DF, 0, 4096, WIRE_EINVAL);
}

static void a_flush_with_a_range_is_refused(void **state)
{
    expect_refused(state, COMMAND_FLUSH, 0, 4096, 0, WIRE_EINVAL);
    expect_refused(state, COMMAND_FLUSH, 0, 0, 4096, WIRE_EINVAL);
}

static void a_read_larger_than_the_maximum_is_refused(void **state)
{
    expect_refused(state, COMMAND_READ, 0, 0, (32 << 20) + 1, WIRE_EINVAL);
    expect_refused(state, COMMAND_READ, 0, 0, UINT32_MAX, WIRE_EINVAL);
}

static void an_unfragmented_read_that_is_too_large_overflows(void **state)
{
    expect_refused(state, COMMAND_READ, COMMAND_DF, 0, (1 << 20) + 1, WIRE_EOVERFLOW);
}

/* The payload of a refused write goes by, however long it is, and the next request is understood. */
static void refuse_write(void **state, unsigned flags, uint64_t offset, uint32_t length, uint32_t error)
{
    int client = entered(state, true);
    AUTO_FREE uint8_t *data = memory_zeroed(1, length);
    client_request(client, COMMAND_WRITE, flags, 9, offset, length);
    client_send(client, data, length);
    client_expect_error(client, 9, error);
    client_expect_alive(client, true);
    close(client);
}

static void a_write_beyond_the_end_has_no_space(void **state)
{
    refuse_write(state, 0, DISK_SIZE, 4096, WIRE_ENOSPC);
    refuse_write(state, 0, DISK_SIZE - 1, 2, WIRE_ENOSPC);
    refuse_write(state, 0, UINT64_MAX - 10, 200000, WIRE_ENOSPC);
    refuse_write(state, 0, DISK_SIZE - 4096, 3 << 20, WIRE_ENOSPC);
}

static void a_write_with_unknown_flags_is_refused(void **state)
{
    refuse_write(state, COMMAND_REQ_ONE, 0, 4096, WIRE_EINVAL);
}

static void a_write_larger_than_the_maximum_is_refused(void **state)
{
    refuse_write(state, 0, 0, (32 << 20) + 1, WIRE_EINVAL);
}

static void a_read_only_export_permits_no_change(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.read_only = true});
    int client = client_enter(fixture.server, "disk", true);
    uint8_t data[512] = {0};
    client_request(client, COMMAND_WRITE, 0, 1, 0, sizeof(data));
    client_send(client, data, sizeof(data));
    client_expect_error(client, 1, WIRE_EPERM);
    client_request(client, COMMAND_TRIM, 0, 2, 0, 4096);
    client_expect_error(client, 2, WIRE_EPERM);
    client_request(client, COMMAND_WRITE_ZEROES, 0, 3, 0, 4096);
    client_expect_error(client, 3, WIRE_EPERM);
    client_request(client, COMMAND_FLUSH, 0, 4, 0, 0);
    client_expect_simple(client, 4, WIRE_OK);
    close(client);
    fixture_stop(&fixture);
}

static void block_status_that_was_not_negotiated_is_refused(void **state)
{
    int client = entered(state, false);
    client_request(client, COMMAND_BLOCK_STATUS, 0, 5, 0, 4096);
    client_expect_simple(client, 5, WIRE_EINVAL);
    close(client);
}

static void garbage_ends_the_connection_after_what_came_before(void **state)
{
    int client = entered(state, false);
    static const uint8_t garbage[64] = "GET / HTTP/1.1";
    client_request(client, COMMAND_FLUSH, 0, 1, 0, 0);
    client_send(client, garbage, sizeof(garbage));
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_end(client);
}

static void a_client_may_leave_anywhere(void **state)
{
    static const uint8_t data[5000];
    for (size_t sent = 0; sent < sizeof(data); sent += 1249) {
        int client = entered(state, true);
        client_request(client, COMMAND_WRITE, 0, 1, 0, sizeof(data));
        client_send(client, data, sent);
        close(client);
        client = entered(state, true);
        client_send(client, "\x25\x60\x95\x13", 4);
        close(client);
        client = entered(state, true);
        client_request(client, COMMAND_WRITE, 0, 1, 0, 5 << 20);
        client_send(client, data, sent);
        close(client);
    }
    client_expect_alive(entered(state, true), true);
}

/* ---- errors of the engine -------------------------------------------------------------------------------------- */

static void expect_engine_error(void **state, enum error error, uint32_t wire)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, true);
    nbd_engine_fail(fixture->pool, REQUEST_READ, error);
    client_request(client, COMMAND_READ, 0, 3, 0, 4096);
    assert_true(strlen(client_expect_error(client, 3, wire)) > 0);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_NONE);
    client_expect_alive(client, true);
    close(client);
}

static void errors_of_the_engine_reach_the_client(void **state)
{
    expect_engine_error(state, ERROR_CORRUPT, WIRE_EIO);
    expect_engine_error(state, ERROR_IO, WIRE_EIO);
    expect_engine_error(state, ERROR_FENCED, WIRE_EIO);
    expect_engine_error(state, ERROR_NO_MEMORY, WIRE_ENOMEM);
    expect_engine_error(state, ERROR_LOCKED, WIRE_ESHUTDOWN);
    expect_engine_error(state, ERROR_OUT_OF_RANGE, WIRE_EINVAL);
}

static void the_engine_s_sentence_reaches_the_client(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, true);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_CORRUPT);
    client_request(client, COMMAND_READ, 0, 3, 8192, 4096);
    assert_string_equal(client_expect_error(client, 3, WIRE_EIO), "the block at 8192 is damaged in every copy");
    close(client);
}

/* qemu gives a connection up for good where an error is longer. */
static void expect_short_and_whole(int client, uint32_t length)
{
    client_request(client, COMMAND_READ, 0, 3, 0, length);
    struct client_chunk chunk = client_chunk(client);
    assert_int_equal(chunk.type, CHUNK_ERROR);
    assert_in_range(chunk.length, 200, 1000);
    AUTO_FREE char *sentence = strndup((char *)chunk.data + 6, chunk.length - 6);
    assert_true(utf8_is_printable(sentence));
}

static void a_long_sentence_is_cut_at_a_character(void **state)
{
    struct nbd_fixture *fixture = *state;
    char sentence[1024] = "";
    int client = entered(state, true);
    for (size_t i = 0; i + 2 < sizeof(sentence); i += 2)
        memcpy(sentence + i, "ä", 3);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_CORRUPT);
    nbd_engine_explain(fixture->pool, sentence);
    expect_short_and_whole(client, 4096);
    expect_short_and_whole(client, 2 << 20); /* in pieces */
    memmove(sentence + 1, sentence, 1022);
    sentence[0] = 'a';
    expect_short_and_whole(client, 4096);
    expect_short_and_whole(client, 2 << 20);
    close(client);
}

static void a_full_pool_refuses_writes_and_goes_on_reading(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, true);
    uint8_t data[4096] = {1};
    nbd_engine_fail(fixture->pool, REQUEST_WRITE, ERROR_NO_SPACE);
    client_request(client, COMMAND_WRITE, 0, 1, 0, sizeof(data));
    client_send(client, data, sizeof(data));
    client_expect_error(client, 1, WIRE_ENOSPC);
    client_request(client, COMMAND_READ, 0, 2, 0, 4096);
    assert_int_equal(client_chunk(client).type, CHUNK_OFFSET_DATA);
    close(client);
}

static void a_simple_read_that_fails_has_no_payload(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, false);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_IO);
    client_request(client, COMMAND_READ, 0, 3, 0, 4096);
    client_expect_simple(client, 3, WIRE_EIO);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_NONE);
    client_expect_alive(client, false);
    close(client);
}

static void a_large_request_that_fails_is_answered_once(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, true);
    AUTO_FREE uint8_t *data = memory_zeroed(1, 3 << 20);
    nbd_engine_fail(fixture->pool, REQUEST_WRITE, ERROR_NO_SPACE);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_CORRUPT);
    client_request(client, COMMAND_WRITE, 0, 1, 0, 3 << 20);
    client_send(client, data, 3 << 20);
    client_expect_error(client, 1, WIRE_ENOSPC);
    client_request(client, COMMAND_READ, 0, 2, 0, 3 << 20);
    client_expect_error(client, 2, WIRE_EIO);
    nbd_engine_fail(fixture->pool, REQUEST_WRITE, ERROR_NONE);
    nbd_engine_fail(fixture->pool, REQUEST_READ, ERROR_NONE);
    client_expect_alive(client, true);
    close(client);
}

/* ---- what commands do ------------------------------------------------------------------------------------------ */

/* Reads `size` bytes at `offset` by a structured reply, however it is cut. */
static void read_structured(int client, uint64_t offset, uint8_t *out, size_t size)
{
    client_request(client, COMMAND_READ, 0, 77, offset, (uint32_t)size);
    size_t got = 0;
    for (bool done = false; !done;) {
        struct client_chunk chunk = client_chunk(client);
        assert_int_equal(chunk.type, CHUNK_OFFSET_DATA);
        assert_int_equal(chunk.cookie, 77);
        be64 at;
        memcpy(&at, chunk.data, 8);
        size_t length = chunk.length - 8;
        assert_true(be64_get(at) >= offset && be64_get(at) - offset + length <= size);
        memcpy(out + (be64_get(at) - offset), chunk.data + 8, length);
        got += length;
        done = chunk.flags & CHUNK_DONE;
    }
    assert_int_equal(got, size);
}

static void write_and_read(void **state, uint64_t offset, size_t size, bool structured)
{
    int client = entered(state, structured);
    AUTO_FREE uint8_t *data = memory_zeroed(1, size);
    AUTO_FREE uint8_t *back = memory_zeroed(1, size);
    fill(data, size, (uint8_t)size);
    client_request(client, COMMAND_WRITE, 0, 5, offset, (uint32_t)size);
    client_send(client, data, size);
    client_expect_simple(client, 5, WIRE_OK);
    if (structured) {
        read_structured(client, offset, back, size);
    } else {
        client_request(client, COMMAND_READ, 0, 6, offset, (uint32_t)size);
        client_expect_simple(client, 6, WIRE_OK);
        client_receive(client, back, size);
    }
    assert_memory_equal(data, back, size);
    close(client);
}

static void what_was_written_is_read_back_at_any_size_and_alignment(void **state)
{
    static const size_t sizes[] = {1, 511, 4096, 65508, 65536, 100001, 1 << 20, (1 << 20) + 1, 3 << 20, 5000001};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        write_and_read(state, 0, sizes[i], true);
        write_and_read(state, 12345, sizes[i], true);
        write_and_read(state, 12345, sizes[i], false);
    }
    write_and_read(state, 0, DISK_SIZE, true);
    write_and_read(state, 0, DISK_SIZE, false);
}

static void requests_sent_at_once_are_all_answered(void **state)
{
    enum { REQUESTS = 300 };
    struct nbd_fixture *fixture = *state;
    int client = entered(state, false);
    struct {
        struct wire_request request;
        uint8_t data[64];
    } *all = memory_zeroed(REQUESTS, sizeof(*all));
    for (unsigned i = 0; i < REQUESTS; i++) {
        all[i].request =
            (struct wire_request){be32_make(REQUEST_MAGIC),    be16_make(0), be16_make(COMMAND_WRITE), be64_make(i),
                                  be64_make((uint64_t)i * 64), be32_make(64)};
        fill(all[i].data, 64, (uint8_t)i);
    }
    client_send(client, all, REQUESTS * sizeof(*all));
    bool answered[REQUESTS] = {0};
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct wire_simple_reply reply;
        client_receive(client, &reply, sizeof(reply));
        assert_int_equal(be32_get(reply.error), WIRE_OK);
        assert_true(be64_get(reply.cookie) < REQUESTS && !answered[be64_get(reply.cookie)]);
        answered[be64_get(reply.cookie)] = true;
    }
    for (unsigned i = 0; i < REQUESTS; i++)
        assert_memory_equal(nbd_engine_data(fixture->pool, "disk") + i * 64, all[i].data, 64);
    assert_true(nbd_engine_counts(fixture->pool).batch_max <= BATCH_REQUESTS_MAX);
    assert_true(nbd_engine_counts(fixture->pool).batch_max > 1);
    free(all);
    close(client);
}

static void flush_runs_after_the_rest_of_its_batch(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, false);
    struct wire_request requests[3];
    for (unsigned i = 0; i < 3; i++)
        requests[i] = (struct wire_request){be32_make(REQUEST_MAGIC),
                                            be16_make(i == 1 ? COMMAND_FUA : 0),
                                            be16_make(i == 0 ? COMMAND_FLUSH : COMMAND_WRITE_ZEROES),
                                            be64_make(i),
                                            be64_make(0),
                                            be32_make(i == 0 ? 0 : 4096)};
    client_send(client, requests, sizeof(requests));
    client_expect_simple(client, 2, WIRE_OK);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_simple(client, 0, WIRE_OK);
    assert_int_equal(nbd_engine_counts(fixture->pool).last, REQUEST_FLUSH);
    close(client);
}

static void fua_reaches_the_engine_for_what_changes_data(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, false);
    uint8_t data[512] = {1};
    client_request(client, COMMAND_WRITE, COMMAND_FUA, 1, 0, sizeof(data));
    client_send(client, data, sizeof(data));
    client_expect_simple(client, 1, WIRE_OK);
    client_request(client, COMMAND_TRIM, COMMAND_FUA, 2, 0, 4096);
    client_expect_simple(client, 2, WIRE_OK);
    client_request(client, COMMAND_WRITE_ZEROES, COMMAND_FUA, 3, 0, 4096);
    client_expect_simple(client, 3, WIRE_OK);
    assert_int_equal(nbd_engine_counts(fixture->pool).fua, 3);
    client_request(client, COMMAND_READ, COMMAND_FUA, 4, 0, 512);
    client_expect_simple(client, 4, WIRE_OK);
    client_receive(client, data, sizeof(data));
    client_request(client, COMMAND_CACHE, COMMAND_FUA, 5, 0, 512);
    client_expect_simple(client, 5, WIRE_OK);
    client_request(client, COMMAND_FLUSH, COMMAND_FUA, 6, 0, 0);
    client_expect_simple(client, 6, WIRE_OK);
    assert_int_equal(nbd_engine_counts(fixture->pool).fua, 3);
    close(client);
}

static void write_zeroes_takes_its_flags_and_any_length(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, true);
    uint8_t *disk = nbd_engine_data(fixture->pool, "disk");
    memset(disk, 1, DISK_SIZE);
    client_request(client, COMMAND_WRITE_ZEROES, COMMAND_NO_HOLE | COMMAND_FAST_ZERO, 1, 100, DISK_SIZE - 100);
    client_expect_simple(client, 1, WIRE_OK);
    assert_int_equal(disk[99], 1);
    assert_int_equal(disk[100], 0);
    assert_int_equal(disk[DISK_SIZE - 1], 0);
    close(client);
}

static void disconnect_answers_what_came_before_and_hangs_up(void **state)
{
    int client = entered(state, false);
    client_request(client, COMMAND_FLUSH, 0, 1, 0, 0);
    client_request(client, COMMAND_DISCONNECT, 0, 2, 0, 0);
    client_expect_simple(client, 1, WIRE_OK);
    client_expect_end(client);
}

/* ---- reading ahead --------------------------------------------------------------------------------------------- */

static void a_batch_reads_ahead_a_bounded_part_of_what_is_asked_for(void **state)
{
    enum { REQUESTS = 4 };
    struct nbd_fixture *fixture = *state;
    struct wire_request requests[REQUESTS];
    nbd_engine_add(fixture->pool, "vast", UINT64_C(4) << 30, false);
    int client = client_enter(fixture->server, "vast", false);
    for (unsigned i = 0; i < REQUESTS; i++)
        requests[i] = (struct wire_request){
            be32_make(REQUEST_MAGIC), be16_make(0), be16_make(COMMAND_CACHE), be64_make(i), be64_make(0),
            be32_make(UINT32_MAX)};
    client_send(client, requests, sizeof(requests));
    for (unsigned i = 0; i < REQUESTS; i++)
        client_expect_simple(client, i, WIRE_OK);
    assert_true(nbd_engine_counts(fixture->pool).cache_bytes <= REQUESTS * (uint64_t)REQUEST_BYTES_MAX);
    client_expect_alive(client, false);
    close(client);
}

static void reading_ahead_that_fails_says_so(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = entered(state, false);
    nbd_engine_fail(fixture->pool, REQUEST_CACHE, ERROR_CORRUPT);
    client_request(client, COMMAND_CACHE, 0, 1, 0, 4 << 20);
    client_expect_simple(client, 1, WIRE_EIO);
    client_expect_alive(client, false);
    close(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(requests_beyond_the_end_are_refused),
        TEST(requests_of_length_0_are_refused),
        TEST(unknown_types_are_refused),
        TEST(flags_that_a_command_does_not_know_are_refused),
        TEST(a_flush_with_a_range_is_refused),
        TEST(a_read_larger_than_the_maximum_is_refused),
        TEST(an_unfragmented_read_that_is_too_large_overflows),
        TEST(a_write_beyond_the_end_has_no_space),
        TEST(a_write_with_unknown_flags_is_refused),
        TEST(a_write_larger_than_the_maximum_is_refused),
        TEST(a_read_only_export_permits_no_change),
        TEST(block_status_that_was_not_negotiated_is_refused),
        TEST(garbage_ends_the_connection_after_what_came_before),
        TEST(a_client_may_leave_anywhere),
        TEST(errors_of_the_engine_reach_the_client),
        TEST(the_engine_s_sentence_reaches_the_client),
        TEST(a_long_sentence_is_cut_at_a_character),
        TEST(a_full_pool_refuses_writes_and_goes_on_reading),
        TEST(a_simple_read_that_fails_has_no_payload),
        TEST(a_large_request_that_fails_is_answered_once),
        TEST(what_was_written_is_read_back_at_any_size_and_alignment),
        TEST(requests_sent_at_once_are_all_answered),
        TEST(flush_runs_after_the_rest_of_its_batch),
        TEST(fua_reaches_the_engine_for_what_changes_data),
        TEST(write_zeroes_takes_its_flags_and_any_length),
        TEST(disconnect_answers_what_came_before_and_hangs_up),
        TEST(a_batch_reads_ahead_a_bounded_part_of_what_is_asked_for),
        TEST(reading_ahead_that_fails_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
