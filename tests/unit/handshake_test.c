/* The NBD handshake with clients that break its rules, and with some that keep them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/coffer.h"
#include "tests/unit/nbd_client.h"
#include "tests/unit/nbd_engine.h"

static int greeted(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = client_connect(fixture->server);
    client_greet(client, HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    return client;
}

static int greeted_structured(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_STRUCTURED_REPLY, NULL, 0);
    client_expect_option(client, OPTION_STRUCTURED_REPLY, OPTION_REPLY_ACK);
    return client;
}

/* The handshake goes on in step: it answers an option of which it knows nothing. */
static void expect_in_step(int client)
{
    client_option(client, 4711, "abc", 3);
    client_expect_option(client, 4711, OPTION_ERROR_UNSUPPORTED);
    close(client);
}

static void expect_sentence(int client, uint32_t option, uint32_t type, const char *part)
{
    const uint8_t *data;
    size_t size;
    assert_int_equal(client_option_reply(client, option, &data, &size), type);
    assert_non_null(strstr((const char *)data, part));
}

/* ---- what ends the connection ---------------------------------------------------------------------------------- */

static void unknown_handshake_flags_end_the_connection(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = client_connect(fixture->server);
    client_greet(client, 1u << 7);
    client_expect_end(client);
}

static void garbage_instead_of_an_option_ends_the_connection(void **state)
{
    int client = greeted(state);
    client_send(client, "GET / HTTP/1.1\r\n", 16);
    client_expect_end(client);
}

static void a_client_that_leaves_within_an_option_does_no_harm(void **state)
{
    int client = greeted(state);
    struct wire_option header = {be64_make(OPTION_MAGIC), be32_make(OPTION_GO), be32_make(100)};
    client_send(client, &header, sizeof(header));
    close(client);
    expect_in_step(greeted(state));
}

static void an_unfixed_client_may_only_name_its_export(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = client_connect(fixture->server);
    client_greet(client, 0);
    client_option(client, OPTION_LIST, NULL, 0);
    client_expect_end(client);
}

static void a_client_that_stays_silent_is_dropped_at_the_deadline(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.handshake_nanoseconds = CLOCK_SECOND / 20});
    int silent = client_connect(fixture.server), busy = client_connect(fixture.server);
    client_greet(silent, HANDSHAKE_FIXED_NEWSTYLE);
    client_greet(busy, HANDSHAKE_FIXED_NEWSTYLE);
    client_send(busy, "I", 1);
    client_expect_end(silent);
    client_expect_end(busy);
    fixture_stop(&fixture);
}

static void abort_is_acknowledged_and_ends_the_connection(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_ABORT, NULL, 0);
    client_expect_option(client, OPTION_ABORT, OPTION_REPLY_ACK);
    client_expect_end(client);
}

static void export_name_of_an_unknown_export_ends_the_connection(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_EXPORT_NAME, "nothing", 7);
    client_expect_end(client);
}

static void export_name_with_a_zero_byte_ends_the_connection(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_EXPORT_NAME, "disk\0x", 6);
    client_expect_end(client);
}

/* ---- what is refused, and the handshake goes on ---------------------------------------------------------------- */

static void unknown_options_are_unsupported(void **state)
{
    expect_in_step(greeted(state));
}

static void tls_is_unsupported(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_STARTTLS, NULL, 0);
    expect_sentence(client, OPTION_STARTTLS, OPTION_ERROR_UNSUPPORTED, "TLS");
    expect_in_step(client);
}

static void an_option_that_is_too_long_is_refused_and_skipped(void **state)
{
    int client = greeted(state);
    AUTO_FREE uint8_t *data = memory_zeroed(1, 100000);
    client_option(client, OPTION_GO, data, 100000);
    client_expect_option(client, OPTION_GO, OPTION_ERROR_TOO_BIG);
    expect_in_step(client);
}

static void lengths_inside_of_go_that_make_no_sense_are_invalid(void **state)
{
    static const struct {
        const char *data;
        size_t size;
    } cases[] = {
        {"", 0},
        {"\0\0\0\4dis", 7},
        {"\0\0\0\4disk", 8},
        {"\xff\xff\xff\xff"
         "disk\0\0",
         10},
        {"\xff\xff\xff\xfe"
         "disk\0\0",
         10},
        {"\0\0\0\4disk\0\1", 10},
        {"\0\0\0\4disk\xff\xff\0\3", 12},
        {"\0\0\0\4disk\0\0\0\3", 12},
        {"\0\0\0\4d\0sk\0\0", 10},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int client = greeted(state);
        client_option(client, OPTION_GO, cases[i].data, cases[i].size);
        client_expect_option(client, OPTION_GO, OPTION_ERROR_INVALID);
        client_option(client, OPTION_INFO, cases[i].data, cases[i].size);
        client_expect_option(client, OPTION_INFO, OPTION_ERROR_INVALID);
        expect_in_step(client);
    }
}

static void lengths_inside_of_contexts_that_make_no_sense_are_invalid(void **state)
{
    static const struct {
        const char *data;
        size_t size;
    } cases[] = {
        {"", 0},
        {"\0\0\0\4disk", 8},
        {"\0\0\0\4disk\0\0\0\1", 12},
        {"\0\0\0\4disk\0\0\0\1\0\0\0\5base", 20},
        {"\0\0\0\4disk\0\0\0\1\xff\xff\xff\xff", 16},
        {"\0\0\0\4disk\xff\xff\xff\xff", 12},
        {"\0\0\0\4disk\0\0\0\0extra", 17},
        {"\xff\xff\xff\xf0", 4},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int client = greeted_structured(state);
        client_option(client, OPTION_SET_META_CONTEXT, cases[i].data, cases[i].size);
        client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_ERROR_INVALID);
        client_option(client, OPTION_LIST_META_CONTEXT, cases[i].data, cases[i].size);
        client_expect_option(client, OPTION_LIST_META_CONTEXT, OPTION_ERROR_INVALID);
        expect_in_step(client);
    }
}

static void options_without_data_refuse_data(void **state)
{
    int client = greeted(state);
    client_option(client, OPTION_LIST, "x", 1);
    client_expect_option(client, OPTION_LIST, OPTION_ERROR_INVALID);
    client_option(client, OPTION_STRUCTURED_REPLY, "x", 1);
    client_expect_option(client, OPTION_STRUCTURED_REPLY, OPTION_ERROR_INVALID);
    expect_in_step(client);
}

static void contexts_need_structured_replies_first(void **state)
{
    int client = greeted(state);
    client_ask_contexts(client, OPTION_SET_META_CONTEXT, "disk", ALLOCATION_CONTEXT);
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_ERROR_INVALID);
    expect_in_step(client);
}

static void an_unknown_export_is_refused_with_a_sentence(void **state)
{
    int client = greeted(state);
    client_ask_export(client, OPTION_GO, "nothing");
    expect_sentence(client, OPTION_GO, OPTION_ERROR_UNKNOWN, "\"nothing\"");
    client_ask_export(client, OPTION_INFO, "nothing");
    expect_sentence(client, OPTION_INFO, OPTION_ERROR_UNKNOWN, "\"nothing\"");
    expect_in_step(client);
}

static void a_name_longer_than_any_object_s_is_refused(void **state)
{
    char name[301];
    memset(name, 'n', sizeof(name));
    name[300] = '\0';
    int client = greeted(state);
    client_ask_export(client, OPTION_GO, name);
    client_expect_option(client, OPTION_GO, OPTION_ERROR_UNKNOWN);
    expect_in_step(client);
}

static void an_object_in_the_trash_is_no_export(void **state)
{
    struct nbd_fixture *fixture = *state;
    nbd_engine_add(fixture->pool, "old", 4096, true);
    int client = greeted(state);
    client_ask_export(client, OPTION_GO, "old");
    expect_sentence(client, OPTION_GO, OPTION_ERROR_UNKNOWN, "trash");
    client_ask_export(client, OPTION_INFO, "old");
    client_expect_option(client, OPTION_INFO, OPTION_ERROR_UNKNOWN);
    expect_in_step(client);
}

static void an_empty_name_is_refused_where_there_are_several_objects(void **state)
{
    int client = greeted(state);
    client_ask_export(client, OPTION_GO, "");
    expect_sentence(client, OPTION_GO, OPTION_ERROR_UNKNOWN, "2 objects");
    expect_in_step(client);
}

static void a_locked_pool_refuses_with_the_command_that_unlocks_it(void **state)
{
    struct nbd_fixture *fixture = *state;
    nbd_engine_lock(fixture->pool, true);
    int client = greeted_structured(state);
    static const uint32_t options[] = {OPTION_GO, OPTION_INFO};
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        client_ask_export(client, options[i], "disk");
        expect_sentence(client, options[i], OPTION_ERROR_POLICY, "coffer -C /srv/pool unlock");
    }
    client_option(client, OPTION_LIST, NULL, 0);
    expect_sentence(client, OPTION_LIST, OPTION_ERROR_POLICY, "coffer -C /srv/pool unlock");
    nbd_engine_lock(fixture->pool, false);
    client_ask_export(client, OPTION_INFO, "disk");
    client_expect_option(client, OPTION_INFO, OPTION_REPLY_INFO);
    close(client);
}

static void connections_beyond_the_limit_are_told_so(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.connections_max = 1});
    int first = client_enter(fixture.server, "disk", false), second = client_connect(fixture.server);
    client_greet(second, HANDSHAKE_FIXED_NEWSTYLE);
    client_ask_export(second, OPTION_GO, "disk");
    expect_sentence(second, OPTION_GO, OPTION_ERROR_POLICY, "as many connections as it allows");
    close(second);
    client_expect_alive(first, false);
    close(first);
    fixture_stop(&fixture);
}

/* ---- what works ------------------------------------------------------------------------------------------------ */

static void an_empty_name_means_the_only_object(void **state)
{
    (void)state;
    struct nbd_fixture fixture = {.pool = nbd_engine_create()};
    nbd_engine_add(fixture.pool, "only", DISK_SIZE, false);
    nbd_engine_add(fixture.pool, "deleted", 4096, true);
    assert_int_equal(nbd_start(fixture.pool, &(struct nbd_options){0}, &fixture.server), ERROR_NONE);
    int client = client_enter(fixture.server, "", true);
    client_expect_alive(client, true);
    close(client);
    fixture_stop(&fixture);
}

static void export_name_answers_size_and_flags_and_zeroes(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = client_connect(fixture->server);
    client_greet(client, HANDSHAKE_FIXED_NEWSTYLE);
    client_option(client, OPTION_EXPORT_NAME, "disk", 4);
    uint8_t reply[sizeof(struct wire_export) + EXPORT_NAME_ZEROES];
    static const uint8_t zeroes[EXPORT_NAME_ZEROES];
    struct wire_export export;
    client_receive(client, reply, sizeof(reply));
    memcpy(&export, reply, sizeof(export));
    assert_int_equal(be64_get(export.size), DISK_SIZE);
    assert_int_equal(be16_get(export.flags), 0xd6d);
    assert_memory_equal(reply + sizeof(export), zeroes, sizeof(zeroes));
    client_expect_alive(client, false);
    close(client);
}

static void export_name_leaves_the_zeroes_out_where_agreed(void **state)
{
    int client = greeted(state);
    struct wire_export export;
    client_option(client, OPTION_EXPORT_NAME, "disk", 4);
    client_receive(client, &export, sizeof(export));
    client_expect_alive(client, false);
    close(client);
}

static void list_names_every_object_that_is_not_in_the_trash(void **state)
{
    struct nbd_fixture *fixture = *state;
    nbd_engine_add(fixture->pool, "old", 4096, true);
    int client = greeted(state);
    client_option(client, OPTION_LIST, NULL, 0);
    const uint8_t *data;
    size_t size;
    assert_int_equal(client_option_reply(client, OPTION_LIST, &data, &size), OPTION_REPLY_SERVER);
    assert_int_equal(size, 8);
    assert_memory_equal(data, "\0\0\0\4disk", 8);
    assert_int_equal(client_option_reply(client, OPTION_LIST, &data, &size), OPTION_REPLY_SERVER);
    assert_memory_equal(data, "\0\0\0\5other", 9);
    client_expect_option(client, OPTION_LIST, OPTION_REPLY_ACK);
    expect_in_step(client);
}

static void info_tells_size_flags_and_block_sizes_and_opens_nothing(void **state)
{
    struct nbd_fixture *fixture = *state;
    int client = greeted_structured(state);
    client_option(client, OPTION_INFO, "\0\0\0\4disk\0\2\0\1\0\3", 14);
    const uint8_t *data;
    size_t size;
    struct wire_info_export export;
    struct wire_info_block_size sizes;
    client_option_reply(client, OPTION_INFO, &data, &size);
    assert_int_equal(size, sizeof(export));
    memcpy(&export, data, size);
    assert_int_equal(be64_get(export.size), DISK_SIZE);
    assert_int_equal(be16_get(export.flags), 0xd6d | TRANSMISSION_SEND_DF);
    client_option_reply(client, OPTION_INFO, &data, &size);
    assert_int_equal(size, sizeof(sizes));
    memcpy(&sizes, data, size);
    assert_int_equal(be32_get(sizes.minimum), 1);
    assert_int_equal(be32_get(sizes.preferred), 4096);
    assert_int_equal(be32_get(sizes.maximum), 32 << 20);
    client_option_reply(client, OPTION_INFO, &data, &size);
    assert_memory_equal(data, "\0\1disk", 6);
    client_expect_option(client, OPTION_INFO, OPTION_REPLY_ACK);
    assert_int_equal(nbd_engine_counts(fixture->pool).open_volumes, 0);
    expect_in_step(client);
}

static void an_attach_looks_at_its_export_once(void **state)
{
    struct nbd_fixture *fixture = *state;
    const uint8_t *data;
    size_t size;
    int client = greeted(state);
    client_ask_export(client, OPTION_GO, "disk");
    while (client_option_reply(client, OPTION_GO, &data, &size) != OPTION_REPLY_ACK)
        ;
    assert_int_equal(nbd_engine_counts(fixture->pool).looks, 1);
    close(client);
}

static void a_read_only_server_says_so(void **state)
{
    (void)state;
    struct nbd_fixture fixture;
    fixture_start(&fixture, &(struct nbd_options){.read_only = true});
    int client = client_connect(fixture.server);
    client_greet(client, HANDSHAKE_FIXED_NEWSTYLE | HANDSHAKE_NO_ZEROES);
    struct wire_export export;
    client_option(client, OPTION_EXPORT_NAME, "disk", 4);
    client_receive(client, &export, sizeof(export));
    assert_true(be16_get(export.flags) & TRANSMISSION_READ_ONLY);
    close(client);
    fixture_stop(&fixture);
}

static void contexts_are_listed_by_wildcard_and_by_nothing(void **state)
{
    static const char *const queries[] = {NULL, "base:", ALLOCATION_CONTEXT};
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        int client = greeted_structured(state);
        client_ask_contexts(client, OPTION_LIST_META_CONTEXT, "disk", queries[i]);
        expect_sentence(client, OPTION_LIST_META_CONTEXT, OPTION_REPLY_META_CONTEXT, "");
        client_expect_option(client, OPTION_LIST_META_CONTEXT, OPTION_REPLY_ACK);
        expect_in_step(client);
    }
}

/* Expects a context of this id and name. */
static void expect_context(int client, uint32_t option, uint32_t id, const char *name)
{
    const uint8_t *data;
    size_t size;
    be32 wire_id;
    assert_int_equal(client_option_reply(client, option, &data, &size), OPTION_REPLY_META_CONTEXT);
    memcpy(&wire_id, data, sizeof(wire_id));
    assert_int_equal(be32_get(wire_id), id);
    assert_string_equal((const char *)data + sizeof(wire_id), name);
}

static void add_snapshots(void **state)
{
    struct nbd_fixture *fixture = *state;
    nbd_engine_add(fixture->pool, "disk@s1", DISK_SIZE, false);
    nbd_engine_add(fixture->pool, "disk@s2", DISK_SIZE, false);
    nbd_engine_add(fixture->pool, "other@s3", 1 << 20, false);
}

static void a_context_since_what_is_no_snapshot_of_the_object_is_passed_over(void **state)
{
    static const char *const queries[] = {"coffer:changed:s3", "coffer:changed:", "coffer:changed:disk@s1",
                                          "coffer:changed:ab020000-0000-0000-0000-000000000000"};
    add_snapshots(state);
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        int client = greeted_structured(state);
        client_ask_contexts(client, OPTION_SET_META_CONTEXT, "other@s3", queries[i]);
        if (i == 0)
            expect_context(client, OPTION_SET_META_CONTEXT, CHANGED_CONTEXT_ID, "coffer:changed:s3");
        client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_ACK);
        expect_in_step(client);
    }
}

static void a_snapshot_that_is_gone_before_its_export_is_opened_refuses_it(void **state)
{
    struct nbd_fixture *fixture = *state;
    add_snapshots(state);
    int client = greeted_structured(state);
    client_ask_contexts(client, OPTION_SET_META_CONTEXT, "disk", "coffer:changed:s1");
    expect_context(client, OPTION_SET_META_CONTEXT, CHANGED_CONTEXT_ID, "coffer:changed:s1");
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_ACK);
    nbd_engine_remove(fixture->pool, "disk@s1");
    client_ask_export(client, OPTION_GO, "disk");
    client_expect_option(client, OPTION_GO, OPTION_ERROR_UNKNOWN);
    assert_int_equal(nbd_engine_counts(fixture->pool).open_volumes, 0);
    expect_in_step(client);
}

static void contexts_since_snapshots_are_listed(void **state)
{
    static const char *const queries[] = {NULL, "coffer:", "coffer:changed:"};
    add_snapshots(state);
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        int client = greeted_structured(state);
        client_ask_contexts(client, OPTION_LIST_META_CONTEXT, "disk", queries[i]);
        if (i == 0)
            expect_context(client, OPTION_LIST_META_CONTEXT, 0, ALLOCATION_CONTEXT);
        expect_context(client, OPTION_LIST_META_CONTEXT, 0, "coffer:changed:s1");
        expect_context(client, OPTION_LIST_META_CONTEXT, 0, "coffer:changed:s2");
        client_expect_option(client, OPTION_LIST_META_CONTEXT, OPTION_REPLY_ACK);
        client_ask_contexts(client, OPTION_LIST_META_CONTEXT, "disk@s2", "coffer:");
        expect_context(client, OPTION_LIST_META_CONTEXT, 0, "coffer:changed:s1");
        client_expect_option(client, OPTION_LIST_META_CONTEXT, OPTION_REPLY_ACK);
        expect_in_step(client);
    }
}

static void unknown_contexts_are_passed_over(void **state)
{
    int client = greeted_structured(state);
    client_ask_contexts(client, OPTION_SET_META_CONTEXT, "disk", "qemu:dirty-bitmap:x");
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_ACK);
    client_ask_contexts(client, OPTION_SET_META_CONTEXT, "disk", "base:");
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_REPLY_ACK);
    client_ask_contexts(client, OPTION_SET_META_CONTEXT, "nothing", ALLOCATION_CONTEXT);
    client_expect_option(client, OPTION_SET_META_CONTEXT, OPTION_ERROR_UNKNOWN);
    expect_in_step(client);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(unknown_handshake_flags_end_the_connection),
        TEST(garbage_instead_of_an_option_ends_the_connection),
        TEST(a_client_that_leaves_within_an_option_does_no_harm),
        TEST(an_unfixed_client_may_only_name_its_export),
        TEST(a_client_that_stays_silent_is_dropped_at_the_deadline),
        TEST(abort_is_acknowledged_and_ends_the_connection),
        TEST(export_name_of_an_unknown_export_ends_the_connection),
        TEST(export_name_with_a_zero_byte_ends_the_connection),
        TEST(unknown_options_are_unsupported),
        TEST(tls_is_unsupported),
        TEST(an_option_that_is_too_long_is_refused_and_skipped),
        TEST(lengths_inside_of_go_that_make_no_sense_are_invalid),
        TEST(lengths_inside_of_contexts_that_make_no_sense_are_invalid),
        TEST(options_without_data_refuse_data),
        TEST(contexts_need_structured_replies_first),
        TEST(an_unknown_export_is_refused_with_a_sentence),
        TEST(a_name_longer_than_any_object_s_is_refused),
        TEST(an_object_in_the_trash_is_no_export),
        TEST(an_empty_name_is_refused_where_there_are_several_objects),
        TEST(a_locked_pool_refuses_with_the_command_that_unlocks_it),
        TEST(connections_beyond_the_limit_are_told_so),
        TEST(an_empty_name_means_the_only_object),
        TEST(export_name_answers_size_and_flags_and_zeroes),
        TEST(export_name_leaves_the_zeroes_out_where_agreed),
        TEST(list_names_every_object_that_is_not_in_the_trash),
        TEST(info_tells_size_flags_and_block_sizes_and_opens_nothing),
        TEST(an_attach_looks_at_its_export_once),
        TEST(a_read_only_server_says_so),
        TEST(a_context_since_what_is_no_snapshot_of_the_object_is_passed_over),
        TEST(a_snapshot_that_is_gone_before_its_export_is_opened_refuses_it),
        TEST(contexts_are_listed_by_wildcard_and_by_nothing),
        TEST(contexts_since_snapshots_are_listed),
        TEST(unknown_contexts_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
