/* `coffer object` and snapshots, against an engine in memory. */
#include "tests/unit/tool_fixture.h"

static void words_that_make_no_snapshot_are_refused(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    assert_int_equal(RUN("object", "snapshot"), EXIT_USAGE);
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "soon"), EXIT_USAGE);
    assert_said(fixture->err, "is no date");
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "2001-01-01"), EXIT_USAGE);
    assert_said(fixture->err, "is past");
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "2030"), EXIT_USAGE);
    assert_said(fixture->err, "is no date");
    assert_int_equal(RUN("object", "snapshot", "a", "--locked-until", "2300-01-01"), EXIT_REFUSED);
    assert_said(fixture->err, "--yes");
    assert_int_equal(RUN("object", "protect", "a@s", "--locked-until", "2300-01-01"), EXIT_REFUSED);
    assert_int_equal(RUN("object", "list", "a"), EXIT_USAGE);
    assert_int_equal(RUN("object", "protect", "a@s"), EXIT_USAGE);
    assert_int_equal(RUN("object", "protect", "a@s", "--hold", "--no-hold"), EXIT_USAGE);
    assert_int_equal(RUN("object", "rollback", "a@s"), EXIT_FAILED);
    assert_int_equal(RUN("object", "clone", "a"), EXIT_USAGE);
    assert_int_equal(fixture->pool->snapshot_count, 0);
}

static void snapshots_are_made_listed_kept_and_deleted(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    fake_add(fixture->pool, "b", 4096);
    assert_int_equal(RUN("object", "list", "--snapshots"), EXIT_DONE);
    assert_said(fixture->out, "No snapshots");
    assert_int_equal(RUN("object", "snapshot", "a", "b", "--name", "s", "--locked-until", "+30d"), EXIT_DONE);
    assert_said(fixture->out, "Made 'a@s', kept: until 20");
    assert_said(fixture->out, "Made 'b@s', kept: until 20");
    assert_int_equal(RUN("object", "snapshot", "a"), EXIT_DONE);
    assert_said(fixture->out, "Made 'a@20");
    assert_int_equal(RUN("object", "list", "--snapshots", "b"), EXIT_DONE);
    assert_said(fixture->out, "b@s");
    assert_said(fixture->out, "until 20");
    assert_int_equal(RUN("object", "protect", "b@s", "--hold"), EXIT_DONE);
    assert_said(fixture->out, "'b@s' is kept: held, until 20");
    assert_int_equal(RUN("object", "protect", "a@s", "--locked-until", "2300-01-01", "--yes"), EXIT_DONE);
    assert_string_equal(fixture->out, "'a@s' is kept: until 2300-01-01 00:00.\n");
    assert_int_equal(RUN("object", "show", "b@s", "--no-usage"), EXIT_DONE);
    assert_said(fixture->out, "held, until 20");
    assert_int_equal(RUN("object", "show", "b", "--no-usage"), EXIT_DONE);
    assert_said(fixture->out, "Snapshots");
    assert_null(strstr(fixture->out, "held"));
    assert_int_equal(RUN("object", "delete", "b@s"), EXIT_REFUSED);
    assert_int_equal(RUN("object", "protect", "b@s", "--no-hold"), EXIT_DONE);
    assert_said(fixture->out, "'b@s' is kept: until 20");
    assert_int_equal(RUN("object", "clone", "b@s", "c"), EXIT_DONE);
    assert_said(fixture->out, "Created 'c'");
    assert_int_equal(RUN("object", "rollback", "b@s"), EXIT_DONE);
    assert_string_equal(fixture->out, "'b' is as it was then.\n");
    assert_int_equal(RUN("object", "delete", "b@s"), EXIT_DONE);
    assert_said(fixture->out, "'b@s' is gone");
    assert_int_equal(RUN("--json", "object", "list", "--snapshots"), EXIT_DONE);
    json_t *json = output(fixture);
    assert_int_equal(json_array_size(json), 2);
    json_decref(json);
}

static void a_roll_back_loses_nothing_unasked_and_tells_what_it_loses(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 1 << 20);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "s"), EXIT_DONE);
    fixture->pool->changes[0] = (struct change_extent){8192, CHANGE_NONE};
    fixture->pool->changes[1] = (struct change_extent){12288, CHANGE_DATA};
    fixture->pool->change_count = 2;
    assert_int_equal(RUN("object", "rollback", "a@s"), EXIT_REFUSED);
    assert_said(fixture->err, "none of its snapshots has");
    assert_int_equal(RUN("object", "rollback", "a@s", "--keep", "k", "--discard"), EXIT_USAGE);
    assert_int_equal(RUN("object", "rollback", "a@s", "--keep", "k"), EXIT_DONE);
    assert_string_equal(fixture->out, "'a' is as it was then.\nWhat it held until now is 'a@k'.\n");
    assert_int_equal(RUN("object", "rollback", "a@s", "--discard"), EXIT_DONE);
    assert_string_equal(fixture->out, "'a' is as it was then.\nLost: what was changed since 'a@s', 12 KiB.\n");
    assert_int_equal(fixture->pool->volumes, 0);
}

static void the_trash_tells_what_is_not_freed(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    struct object_info *disk = fake_add(fixture->pool, "a", 4096);
    disk->kept = true;
    assert_int_equal(RUN("object", "delete", "a"), EXIT_DONE);
    assert_said(fixture->out, "a snapshot of it is held or locked");
    assert_int_equal(RUN("trash", "list"), EXIT_DONE);
    assert_said(fixture->out, "not yet: a snapshot is kept");
}

static void words_that_compare_nothing_are_refused(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 1 << 20);
    assert_int_equal(RUN("object", "diff"), EXIT_USAGE);
    assert_int_equal(RUN("object", "diff", "a", "a"), EXIT_USAGE);
    assert_said(fixture->err, "no snapshot");
    assert_int_equal(RUN("object", "diff", "a@s"), EXIT_FAILED);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "s"), EXIT_DONE);
    assert_int_equal(RUN("object", "diff", "a@s", "b"), EXIT_FAILED);
    assert_int_equal(fixture->pool->volumes, 0);
}

/* Of answers of any size. */
static void a_long_list_of_snapshots_is_asked_for_in_parts(void **state)
{
    static const char *const all[] = {"a@0", "a@1", "a@2", "a@3", "a@4", "a@5", "a@6"};
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 4096);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        assert_int_equal(RUN("object", "snapshot", "a", "--name", all[i] + 2), EXIT_DONE);
    fixture->pool->lists_page = 3;
    assert_int_equal(RUN("object", "list", "--snapshots"), EXIT_DONE);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        assert_said(fixture->out, all[i]);
    fixture->pool->lists_cut_off = 2; /* what was told last is deleted meanwhile: the list begins anew */
    assert_int_equal(RUN("object", "list", "--snapshots", "a"), EXIT_DONE);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const char *first = strstr(fixture->out, all[i]);
        assert_non_null(first);
        assert_null(strstr(first + 1, all[i]));
    }
    fixture->pool->lists_cut_off = 3;
    assert_int_equal(RUN("object", "list", "--snapshots", "a"), EXIT_FAILED);
    assert_int_equal(fixture->pool->lists_cut_off, 0);
}

static void what_changed_is_listed_and_summed(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "a", 1 << 20);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "s"), EXIT_DONE);
    assert_int_equal(RUN("object", "diff", "a@s"), EXIT_DONE);
    assert_string_equal(fixture->out, "From 'a@s' to 'a': 0 B written, 0 B zeroed, in 0 extents.\n");
    fixture->pool->changes[0] = (struct change_extent){8192, CHANGE_NONE};
    fixture->pool->changes[1] = (struct change_extent){4096, CHANGE_DATA};
    fixture->pool->changes[2] = (struct change_extent){12288, CHANGE_ZERO};
    fixture->pool->change_count = 3;
    for (size_t page = 1; page < 4; page++) {
        fixture->pool->changes_page = page;
        assert_int_equal(RUN("object", "diff", "a@s", "a"), EXIT_DONE);
        assert_said(fixture->out, "8192             4096  data\n");
        assert_said(fixture->out, "12288            12288  zero\n");
        assert_said(fixture->out, "'a': 4 KiB written, 12 KiB zeroed, in 2 extents.");
    }
    assert_int_equal(RUN("--json", "object", "diff", "a@s"), EXIT_DONE);
    json_t *json = output(fixture), *last = json_array_get(json_object_get(json, "extents"), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "zero_bytes")), 12288);
    assert_int_equal(json_integer_value(json_object_get(last, "offset")), 12288);
    assert_string_equal(json_string_value(json_object_get(last, "kind")), "zero");
    json_decref(json);
    assert_int_equal(fixture->pool->volumes, 0);
}

/* Names may come to be those of others between two pages. */
static void what_changed_is_of_the_versions_that_it_began_with(void **state)
{
    struct fixture *fixture = *state;
    struct uuid uuid;
    serve(fixture);
    fake_add(fixture->pool, "a", 1 << 20);
    assert_int_equal(RUN("object", "snapshot", "a", "--name", "s"), EXIT_DONE);
    fixture->pool->changes[0] = (struct change_extent){8192, CHANGE_DATA};
    fixture->pool->change_count = fixture->pool->changes_page = 1;
    fixture->pool->changes_delay_ms = 300; /* a page each */
    assert_int_equal(RUN("object", "diff", "a@s"), EXIT_DONE);
    assert_int_equal(uuid_parse(fixture->pool->opened, &uuid), ERROR_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(words_that_make_no_snapshot_are_refused),
        TEST(snapshots_are_made_listed_kept_and_deleted),
        TEST(a_roll_back_loses_nothing_unasked_and_tells_what_it_loses),
        TEST(the_trash_tells_what_is_not_freed),
        TEST(words_that_compare_nothing_are_refused),
        TEST(a_long_list_of_snapshots_is_asked_for_in_parts),
        TEST(what_changed_is_listed_and_summed),
        TEST(what_changed_is_of_the_versions_that_it_began_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
