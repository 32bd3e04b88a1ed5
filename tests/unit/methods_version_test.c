/* The methods for snapshots, clones, changes and imports, on an engine in memory: refusals first, then what they answer. */
#include "tests/unit/methods_fixture.h"

static void what_cannot_be_a_snapshot_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    assert_fails(fixture, "object.snapshot", "{\"names\":\"a\",\"snapshot\":\"s\"}", -32602, "INVALID");
    assert_fails(fixture, "object.snapshot", "{\"names\":[],\"snapshot\":\"s\"}", -32000, "INVALID");
    assert_fails(fixture, "object.snapshot", "{\"names\":[1],\"snapshot\":\"s\"}", -32000, "INVALID");
    assert_fails(fixture, "object.snapshot", "{\"names\":[\"a\"]}", -32602, "INVALID");
    assert_fails(fixture, "object.snapshot", "{\"names\":[\"a\"],\"snapshot\":\"s\",\"locked_until\":-1}", -32000,
                 "INVALID");
    assert_fails(fixture, "object.rollback", "{\"name\":\"a@s\"}", -32000, "NOT_FOUND");
    assert_fails(fixture, "snapshot.delete", "{\"name\":\"a@s\"}", -32000, "NOT_FOUND");
    assert_int_equal(fixture->pool->snapshot_count, 0);
}

static void a_snapshot_lives_from_object_snapshot_to_snapshot_delete(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    fake_add(fixture->pool, "b", 8192);
    json_t *made = call(fixture, "object.snapshot", "{\"names\":[\"a\",\"b\"],\"snapshot\":\"s\",\"hold\":true}");
    assert_int_equal(json_array_size(made), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(made, 1), "name")), "b@s");
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{\"object\":\"a\"}")), 1);
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{}")), 2);
    assert_fails(fixture, "snapshot.delete", "{\"name\":\"a@s\"}", -32000, "BUSY");
    json_t *locked = call(fixture, "snapshot.protect", "{\"name\":\"a@s\",\"locked_until\":9000000000}");
    assert_true(json_is_true(json_object_get(locked, "hold"))); /* as it was */
    assert_int_equal(json_integer_value(json_object_get(locked, "locked_until")), 9000000000);
    call(fixture, "snapshot.protect", "{\"name\":\"a@s\",\"hold\":false}");
    json_t *deleted = call(fixture, "snapshot.delete", "{\"name\":\"a@s\"}");
    assert_true(json_is_true(json_object_get(deleted, "deleting")));
    assert_string_equal(
        json_string_value(json_object_get(call(fixture, "object.rollback", "{\"name\":\"b@s\"}"), "name")), "b");
    json_t *clone = call(fixture, "object.clone", "{\"name\":\"b@s\",\"new_name\":\"c\"}");
    assert_string_equal(json_string_value(json_object_get(clone, "name")), "c");
    assert_int_equal(json_integer_value(json_object_get(clone, "size")), 8192);
}

static void a_roll_back_is_of_the_object_that_was_measured_whatever_its_name_is_by_then(void **state)
{
    struct fixture *fixture = *state;
    struct uuid measured = fake_add(fixture->pool, "a", 4096)->uuid;
    fake_add(fixture->pool, "b", 4096);
    call(fixture, "object.snapshot", "{\"names\":[\"a\",\"b\"],\"snapshot\":\"s\"}");
    fixture->pool->swaps_names = true;
    json_t *object = call(fixture, "object.rollback", "{\"name\":\"a@s\",\"discard\":true}");
    assert_memory_equal(&fixture->pool->rolled_back, &measured, sizeof measured);
    assert_string_equal(json_string_value(json_object_get(object, "name")), "b");
}

static void snapshots_are_listed_in_parts(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    for (char letter = 's'; letter < 's' + 3; letter++) {
        char request[64];
        snprintf(request, sizeof(request), "{\"names\":[\"a\"],\"snapshot\":\"%c\"}", letter);
        call(fixture, "object.snapshot", request);
    }
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{\"count\":2}")), 2);
    json_t *rest = call(fixture, "snapshot.list", "{\"object\":\"a\",\"count\":2,\"after\":\"a@t\"}");
    assert_int_equal(json_array_size(rest), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rest, 0), "name")), "a@u");
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{\"after\":\"a@u\"}")), 0);
    assert_fails(fixture, "snapshot.list", "{\"after\":\"a@v\"}", -32000, "NOT_FOUND");
    assert_fails(fixture, "snapshot.list", "{\"count\":-1}", -32000, "INVALID");
}

/* Who does not ask for a part must not cost the server what all of them take. */
static void more_snapshots_than_are_told_at_once_are_refused(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 4096);
    call(fixture, "object.snapshot", "{\"names\":[\"a\"],\"snapshot\":\"s\"}");
    fixture->pool->snapshots_repeated = 10001;
    assert_fails(fixture, "snapshot.list", "{}", -32000, "TOO_LARGE");
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{\"count\":20000}")), 10000);
    fixture->pool->snapshots_repeated = 10000;
    assert_int_equal(json_array_size(call(fixture, "snapshot.list", "{}")), 10000);
}

static void a_diff_needs_a_snapshot_and_two_that_are_there(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 65536);
    assert_fails(fixture, "object.diff", "{\"name\":\"a\"}", -32602, "INVALID");
    assert_fails(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a\"}", -32000, "INVALID");
    call(fixture, "object.snapshot", "{\"names\":[\"a\"],\"snapshot\":\"s\"}");
    assert_fails(fixture, "object.diff", "{\"name\":\"b\",\"base\":\"a@s\"}", -32000, "NOT_FOUND");
    assert_fails(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@t\"}", -32000, "NOT_FOUND");
    assert_fails(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@s\",\"offset\":-4096}", -32000, "INVALID");
    assert_fails(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@s\",\"offset\":1}", -32000, "INVALID");
    assert_int_equal(fixture->pool->volumes, 0);
}

static void a_diff_goes_on_where_it_was_asked_to(void **state)
{
    struct fixture *fixture = *state;
    fake_add(fixture->pool, "a", 65536);
    call(fixture, "object.snapshot", "{\"names\":[\"a\"],\"snapshot\":\"s\"}");
    fixture->pool->changes[0] = (struct change_extent){4096, CHANGE_DATA};
    fixture->pool->changes[1] = (struct change_extent){8192, CHANGE_ZERO};
    fixture->pool->change_count = 2;
    json_t *page = call(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@s\"}");
    assert_int_equal(json_array_size(json_object_get(page, "extents")), 2);
    assert_int_equal(json_integer_value(json_object_get(page, "next")), 65536);
    page = call(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@s\",\"offset\":8192}");
    json_t *first = json_array_get(json_object_get(page, "extents"), 0);
    assert_int_equal(json_integer_value(json_object_get(first, "offset")), 8192);
    assert_int_equal(json_integer_value(json_object_get(first, "length")), 4096);
    page = call(fixture, "object.diff", "{\"name\":\"a\",\"base\":\"a@s\",\"offset\":65536}");
    assert_int_equal(json_array_size(json_object_get(page, "extents")), 0);
}

#define NOBODY "\"import\":\"11111111-1111-1111-1111-111111111111\""
#define STREAM "\"stream\":\"11111111-1111-1111-1111-111111111111\""
#define IMPORT                                                                                                         \
    "{\"object\":\"d\",\"size\":4096,\"snapshot\":\"s\",\"created\":5,\"identity\":"                              \
    "\"22222222-2222-2222-2222-222222222222\"," STREAM

static void imports_that_make_no_sense_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_fails(fixture, "import.begin", "{\"object\":\"d\"}", -32602, "INVALID");
    assert_fails(fixture, "import.begin", IMPORT ",\"base\":\"nobody\"}", -32000, "INVALID");
    assert_fails(fixture, "import.mark", "{" NOBODY ",\"position\":-1}", -32000, "INVALID");
    assert_fails(fixture, "import.mark", "{" NOBODY ",\"position\":1}", -32000, "NOT_FOUND");
    assert_fails(fixture, "import.finish", IMPORT "}", -32602, "INVALID");
    assert_fails(fixture, "import.finish", IMPORT "," NOBODY "}", -32000, "NOT_FOUND");
    assert_fails(fixture, "import.begin", IMPORT "," NOBODY "}", -32602, "INVALID");
    assert_fails_as(fixture, ROLE_OBSERVE, "import.begin", IMPORT "}", -32000, "ACCESS");
    fake_add(fixture->pool, "d", 4096);
    assert_fails(fixture, "import.begin", IMPORT "}", -32000, "EXISTS");
}

static void an_import_begins_goes_on_and_ends(void **state)
{
    struct fixture *fixture = *state;
    json_t *object = call(fixture, "import.begin", IMPORT "}");
    assert_true(json_is_true(json_object_get(object, "importing")));
    assert_true(json_is_false(json_object_get(object, "found")));
    char parameters[512], import[80];
    snprintf(import, sizeof import, "\"import\":\"%s\"", json_string_value(json_object_get(object, "uuid")));
    snprintf(parameters, sizeof parameters, "{%s,\"position\":7}", import);
    call(fixture, "import.mark", parameters);
    assert_int_equal(fixture->pool->import_position, 7);
    assert_true(json_is_true(json_object_get(call(fixture, "import.begin", IMPORT "}"), "found")));
    snprintf(parameters, sizeof parameters, IMPORT ",%s}", import);
    object = call(fixture, "import.finish", parameters);
    assert_string_equal(json_string_value(json_object_get(object, "name")), "d");
    assert_int_equal(fixture->pool->import.created, 5);
    assert_true(uuid_is_zero(fixture->pool->import.base));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_diff_needs_a_snapshot_and_two_that_are_there),
        TEST(a_diff_goes_on_where_it_was_asked_to),
        TEST(imports_that_make_no_sense_are_refused),
        TEST(an_import_begins_goes_on_and_ends),
        TEST(what_cannot_be_a_snapshot_is_refused),
        TEST(a_snapshot_lives_from_object_snapshot_to_snapshot_delete),
        TEST(a_roll_back_is_of_the_object_that_was_measured_whatever_its_name_is_by_then),
        TEST(snapshots_are_listed_in_parts),
        TEST(more_snapshots_than_are_told_at_once_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
