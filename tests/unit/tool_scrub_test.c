/* `coffer scrub` against an engine in memory. */
#include "tests/unit/tool_fixture.h"

static void damage_add(struct fixture *fixture)
{
    struct damage_info *info = &fixture->pool->damages[fixture->pool->damage_count++];
    *info = (struct damage_info){.kind = "data",
                                 .object = "vm1",
                                 .uuid = uuid_random(),
                                 .offset = 1 << 20,
                                 .length = 16384,
                                 .device = "/nowhere/disk0",
                                 .segment = 12,
                                 .segment_offset = 0x3400,
                                 .lost = true,
                                 .by_scrub = true,
                                 .found = 1700000000};
    snprintf(info->sentence, sizeof(info->sentence),
             "object vm1: 16384 bytes at 1048576 are damaged (device /nowhere/disk0, segment 12, offset 0x3400)");
}

static void without_a_daemon_it_says_what_to_type(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture->conf, "[pool]\n");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start"), EXIT_FAILED);
    assert_said(fixture->err, "cofferd ");
}

static void a_locked_pool_is_refused_and_says_what_to_type(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->status.locked = true;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start"), EXIT_REFUSED);
    assert_said(fixture->err, "unlock");
}

static void a_second_start_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->scrub.state = SCRUB_RUNNING;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start"), EXIT_REFUSED);
    assert_said(fixture->err, "a scrub runs already");
}

static void impossible_rates_are_usage(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "throttle", "fast"), EXIT_USAGE);
    assert_said(fixture->err, "like 32M, or max");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start", "--rate", "0"), EXIT_USAGE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "throttle"), EXIT_USAGE);
}

static void the_rate_reaches_the_engine(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start", "--rate", "200M"), EXIT_DONE);
    assert_int_equal(fixture->pool->scrub.rate, 200 << 20);
    assert_said(fixture->out, "200 MiB/s");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "throttle", "max"), EXIT_DONE);
    assert_int_equal(fixture->pool->scrub.rate, 0);
    assert_said(fixture->out, "no limit");
}

static void it_is_watched_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start", "--watch"), EXIT_DONE);
    assert_said(fixture->out, "complete");
    assert_said(fixture->out, "nothing damaged");
    fixture->pool->scrub = (struct scrub_status){0};
    assert_int_equal(RUN("-C", fixture->directory, "--json", "scrub", "start", "--watch"), EXIT_DONE);
    assert_said(fixture->out, "\"state\":\"running\"");
    assert_null(strstr(fixture->out, "\n ")); /* the last one, too, is a line */
    assert_said(fixture->out, "\"state\":\"complete\"");
}

static void one_that_others_stopped_was_not_watched_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    fixture->pool->stopped = true;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start", "--watch"), EXIT_FAILED);
    assert_said(fixture->out, "cancelled");
    fixture->pool->scrub.state = SCRUB_PAUSED;
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "status", "--watch"), EXIT_FAILED);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "status"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "resume", "--watch"), EXIT_FAILED);
}

static void pause_resume_and_cancel_change_the_state(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start"), EXIT_DONE);
    assert_said(fixture->out, "running: ");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "pause"), EXIT_DONE);
    assert_said(fixture->out, "paused: ");
    assert_int_equal(RUN("-C", fixture->directory, "status"), EXIT_DONE);
    assert_said(fixture->out, "paused: ");
    fixture->pool->scrub.bytes_verified = 0;
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "resume"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "cancel"), EXIT_DONE);
    assert_said(fixture->out, "cancelled");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "cancel"), EXIT_FAILED);
}

static void known_damage_is_listed_and_fails_the_status(void **state)
{
    struct fixture *fixture = *state;
    damage_add(fixture);
    fixture->pool->damage_more = true;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "status"), EXIT_FAILED);
    assert_said(fixture->out, "object vm1: 16384 bytes at 1048576 are damaged (device /nowhere/disk0, segment 12, "
                              "offset 0x3400); found by a scrub");
    assert_said(fixture->out, "There is more");
    assert_int_equal(RUN("-C", fixture->directory, "status"), EXIT_DONE);
    assert_said(fixture->out, "damage is known: see");
    assert_int_equal(RUN("-C", fixture->directory, "--json", "scrub", "status"), EXIT_FAILED);
    json_t *json = output(fixture), *row = json_array_get(json_object_get(json, "damage"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "offset")), 1 << 20);
    assert_string_equal(json_string_value(json_object_get(row, "object")), "vm1");
    json_decref(json);
}

static void old_damage_fails_no_verb_but_status_and_a_watched_end(void **state)
{
    struct fixture *fixture = *state;
    damage_add(fixture);
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "pause"), EXIT_DONE);
    fixture->pool->scrub.bytes_verified = 0; /* it is not at its end */
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "resume"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "cancel"), EXIT_DONE);
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "throttle", "64M"), EXIT_DONE);
    fixture->pool->scrub = (struct scrub_status){0};
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "start", "--watch"), EXIT_FAILED);
    assert_said(fixture->out, "Known damage");
    assert_int_equal(RUN("-C", fixture->directory, "scrub", "status"), EXIT_FAILED);
}

static void health_names_range_and_remedy(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    RUN("-C", fixture->directory, "health");
    assert_said(fixture->out, "no damage is known; no scrub has come to its end yet");
    for (unsigned i = 0; i < 4; i++)
        damage_add(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "health"), EXIT_FAILED);
    assert_said(fixture->out, "DATA_DAMAGED");
    assert_said(fixture->out, "object vm1: 16384 bytes at 1048576");
    assert_said(fixture->out, "and 1 more");
    assert_said(fixture->out, "write these ranges anew from a backup");
    for (unsigned i = 0; i < 4; i++)
        fixture->pool->damages[i].lost = false;
    assert_int_equal(RUN("-C", fixture->directory, "health"), EXIT_DONE);
}

static void health_advises_nothing_impossible(void **state)
{
    struct fixture *fixture = *state;
    struct damage_info *table = &fixture->pool->damages[0];
    *table = (struct damage_info){.kind = "table", .lost = true, .found = 1700000000};
    snprintf(table->sentence, sizeof(table->sentence), "component table, node 3 of level 0: it is damaged");
    fixture->pool->damage_more = true;
    serve(fixture);
    assert_int_equal(RUN("-C", fixture->directory, "health"), EXIT_FAILED);
    assert_said(fixture->out, "scrub status");
    assert_null(strstr(fixture->out, "write these ranges anew"));
    fixture->pool->damage_count = 1;
    assert_int_equal(RUN("-C", fixture->directory, "health"), EXIT_FAILED);
    assert_said(fixture->out, "copy what you need off the pool");
    assert_null(strstr(fixture->out, "write these ranges anew"));
    fixture->pool->status.read_errors = 1;
    RUN("-C", fixture->directory, "health");
    assert_said(fixture->out, "scrub start");
    fixture->pool->scrub.state = SCRUB_RUNNING;
    RUN("-C", fixture->directory, "health");
    assert_null(strstr(fixture->out, "scrub start"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_daemon_it_says_what_to_type),
        TEST(a_locked_pool_is_refused_and_says_what_to_type),
        TEST(a_second_start_is_refused),
        TEST(impossible_rates_are_usage),
        TEST(the_rate_reaches_the_engine),
        TEST(it_is_watched_to_its_end),
        TEST(one_that_others_stopped_was_not_watched_to_its_end),
        TEST(pause_resume_and_cancel_change_the_state),
        TEST(known_damage_is_listed_and_fails_the_status),
        TEST(old_damage_fails_no_verb_but_status_and_a_watched_end),
        TEST(health_names_range_and_remedy),
        TEST(health_advises_nothing_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
