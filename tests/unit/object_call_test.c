/* What a name that no object has is answered with: nothing where nothing is near, else what may have been meant. */
#include "tests/unit/tool_fixture.h"

static void an_object_name_that_is_near_to_nothing_is_just_not_there(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    assert_int_equal(RUN("object", "show", "disk1"), EXIT_FAILED);
    assert_string_equal(fixture->err, "coffer: there is no object 'disk1'\n");
    fake_add(fixture->pool, "backup", 4096);
    assert_int_equal(RUN("object", "show", "disk1"), EXIT_FAILED);
    assert_string_equal(fixture->err, "coffer: there is no object 'disk1'\n");
}

static void names_of_the_trash_are_neither_suggested_nor_replaced(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "disk1", 4096)->deleted = 1;
    assert_int_equal(RUN("object", "show", "dsik1"), EXIT_FAILED);
    assert_string_equal(fixture->err, "coffer: there is no object 'dsik1'\n");
    fake_add(fixture->pool, "disk2", 4096);
    assert_int_equal(RUN("object", "resize", "disk1", "--size", "8192"), EXIT_FAILED);
    assert_said(fixture->err, "is in the trash");
    assert_null(strstr(fixture->err, "did you mean"));
    assert_int_equal(RUN("trash", "restore", "dsik2"), EXIT_FAILED);
    assert_null(strstr(fixture->err, "did you mean"));
    assert_int_equal(RUN("trash", "purge", "dsik2"), EXIT_FAILED);
    assert_null(strstr(fixture->err, "did you mean"));
}

static void what_lies_in_the_trash_has_no_uri(void **state)
{
    struct fixture *fixture = *state;
    char uuid[UUID_TEXT_SIZE], restore[64];
    serve(fixture);
    struct object_info *disk = fake_add(fixture->pool, "disk", 4096);
    uuid_format(disk->uuid, uuid);
    snprintf(restore, sizeof(restore), " trash restore %s`", uuid);
    disk->deleted = 1700000000;
    assert_int_equal(RUN("object", "uri", uuid), EXIT_FAILED);
    assert_said(fixture->err, restore);
    assert_string_equal(fixture->out, "");
    assert_int_equal(RUN("object", "uri", uuid, "--for", "qemu"), EXIT_FAILED);
    assert_said(fixture->err, "'disk' is in the trash");
    disk->deleting = true;
    assert_int_equal(RUN("--json", "object", "uri", uuid), EXIT_FAILED);
    assert_said(fixture->out, "being freed");
    assert_null(strstr(fixture->out, "nbd+unix"));
    disk->deleting = false;
    disk->deleted = 0;
    assert_int_equal(RUN("object", "uri", uuid), EXIT_DONE);
    assert_said(fixture->out, "nbd+unix:///disk");
}

static void what_has_to_stay_in_the_trash_keeps_nothing_else_there(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    struct object_info *stays = fake_add(fixture->pool, "stays", 4096), *goes = fake_add(fixture->pool, "goes", 4096);
    stays->deleted = goes->deleted = 1700000000;
    stays->open_count = 1;
    assert_int_equal(RUN("trash", "purge", "--all"), EXIT_REFUSED);
    assert_said(fixture->err, "'stays' is open");
    assert_said(fixture->out, "'goes' is gone");
    assert_true(goes->deleting && !stays->deleting);
}

static void the_trash_suggests_what_lies_in_it(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "disk1", 4096)->deleted = 1;
    assert_int_equal(RUN("trash", "restore", "dsik1"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk1'?");
    assert_int_equal(RUN("trash", "purge", "dsik1"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk1'?");
    assert_int_equal(RUN("trash", "purge", "other"), EXIT_FAILED);
    assert_null(strstr(fixture->err, "did you mean"));
}

static void mistyped_object_names_suggest_the_nearest(void **state)
{
    struct fixture *fixture = *state;
    static const char said[] = "coffer: there is no object 'dsik1'; did you mean 'disk1'?\n";
    serve(fixture);
    fake_add(fixture->pool, "backup", 4096);
    fake_add(fixture->pool, "disk1", 4096);
    assert_int_equal(RUN("object", "show", "dsik1"), EXIT_FAILED);
    assert_string_equal(fixture->err, said);
    assert_int_equal(RUN("object", "uri", "dsik1"), EXIT_FAILED);
    assert_string_equal(fixture->err, said);
    assert_int_equal(RUN("object", "rename", "dsik1", "b"), EXIT_FAILED);
    assert_string_equal(fixture->err, said);
    assert_int_equal(RUN("object", "resize", "dsik1", "--size", "8192"), EXIT_FAILED);
    assert_string_equal(fixture->err, said);
    assert_int_equal(RUN("object", "delete", "dsik1", "--now"), EXIT_FAILED);
    assert_string_equal(fixture->err, said);
    assert_int_equal(RUN("--json", "object", "show", "back"), EXIT_FAILED);
    assert_said(fixture->out, "did you mean 'backup'?");
    assert_int_equal(RUN("object", "snapshot", "backup", "dsik1"), EXIT_FAILED);
    assert_said(fixture->err, "'dsik1'; did you mean 'disk1'?");
    assert_int_equal(RUN("object", "show", "DISK1"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk1'?");
}

static void mistyped_snapshots_suggest_the_nearest_snapshot(void **state)
{
    struct fixture *fixture = *state;
    serve(fixture);
    fake_add(fixture->pool, "disk", 4096);
    assert_int_equal(RUN("object", "snapshot", "disk", "--name", "snap"), EXIT_DONE);
    assert_int_equal(RUN("object", "snapshot", "disk", "--name", "before-upgrade"), EXIT_DONE);
    assert_int_equal(RUN("object", "rollback", "disk@snpa"), EXIT_FAILED);
    assert_said(fixture->err, "'disk@snpa'; did you mean 'disk@snap'?");
    assert_int_equal(RUN("object", "delete", "dsik@snap"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk@snap'?");
    assert_int_equal(RUN("object", "protect", "disk@before", "--hold"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk@before-upgrade'?");
    assert_int_equal(RUN("object", "show", "disk@monday"), EXIT_FAILED);
    assert_null(strstr(fixture->err, "did you mean"));
    assert_int_equal(RUN("object", "diff", "disk@snpa"), EXIT_FAILED);
    assert_said(fixture->err, "did you mean 'disk@snap'?");
    assert_int_equal(RUN("object", "show", "other@snap"), EXIT_FAILED);
    assert_null(strstr(fixture->err, "did you mean"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_object_name_that_is_near_to_nothing_is_just_not_there),
        TEST(names_of_the_trash_are_neither_suggested_nor_replaced),
        TEST(what_lies_in_the_trash_has_no_uri),
        TEST(what_has_to_stay_in_the_trash_keeps_nothing_else_there),
        TEST(the_trash_suggests_what_lies_in_it),
        TEST(mistyped_object_names_suggest_the_nearest),
        TEST(mistyped_snapshots_suggest_the_nearest_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
