/*
 * The tag of a key server's disk: what would close a circle is refused, on both sides; what is told stays told, over a crash
 * too, and of copies of the disk nothing is.
 */
#include "tests/unit/rekey_fixture.h"

#include "engine/pool/conf_edit.h"

static void add_provider(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s.key", fixture_root, name);
    struct provider_config provider = {.id = uuid_random(), .type = "native", .seal = "file", .path = path};
    int lock;
    snprintf(provider.name, sizeof provider.name, "%s", name);
    assert_fine(conf_edit_begin(fixture_directory, &lock));
    assert_fine(conf_edit_add(fixture_directory, &provider));
    conf_edit_end(lock);
}

static enum error use(const char *name, bool accept)
{
    error_forget();
    return pool_rekey(pool, &(struct pool_rekey_options){.provider = name, .accept_cycle = accept});
}

static void the_disk_of_the_provider_in_force_is_refused(void **context)
{
    struct uuid uuid;
    struct object_info info;
    (void)context;
    assert_refused(object_create_hosting(pool, "kms", GIB, 0, "kms:native", &uuid), ERROR_ACCESS, "after a power loss");
    assert_refused(object_find(pool, "kms", &info), ERROR_NOT_FOUND, "kms");
    assert_refused(object_set_hosts(pool, "disk", "kms:native"), ERROR_ACCESS, "key provider native");
    assert_string_equal(look("disk").hosts, "");
    assert_fine(object_create_hosting(pool, "kms", GIB, 0, "kms:another", &uuid));
    assert_fine(object_set_hosts(pool, "disk", "kms:nativ"));
}

static void what_is_no_tag_is_refused(void **context)
{
    static const char *const bad[] = {"kms", "kms:", "dns:a", "kms:a b", "kms:-a", "KMS:a"};
    struct uuid uuid;
    (void)context;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_refused(object_create_hosting(pool, "x", GIB, 0, bad[i], &uuid), ERROR_INVALID, "kms:NAME");
        assert_refused(object_set_hosts(pool, "disk", bad[i]), ERROR_INVALID, "kms:NAME");
    }
    assert_refused(object_set_hosts(pool, "nobody", "kms:a"), ERROR_NOT_FOUND, "nobody");
}

static void it_stays_until_it_is_taken_back(void **context)
{
    struct uuid uuid;
    (void)context;
    assert_fine(object_create_hosting(pool, "vm", GIB, 0, "kms:corp", &uuid));
    assert_fine(object_set_hosts(pool, "disk", "kms:corp"));
    assert_fine(object_rename(pool, "vm", "vm2"));
    assert_fine(object_resize(pool, "vm2", 2 * GIB, false));
    reopen();
    assert_string_equal(look("vm2").hosts, "kms:corp");
    assert_string_equal(look("disk").hosts, "kms:corp");
    assert_fine(object_set_hosts(pool, "disk", NULL));
    assert_fine(object_set_hosts(pool, "vm2", "kms:x"));
    reopen();
    assert_string_equal(look("disk").hosts, "");
    assert_string_equal(look("vm2").hosts, "kms:x");
}

static void snapshots_and_clones_have_none(void **context)
{
    const char *name = "disk";
    struct uuid uuid;
    (void)context;
    assert_fine(object_set_hosts(pool, "disk", "kms:corp"));
    assert_fine(object_snapshot(pool, &name, 1, "monday", false, 0));
    assert_fine(object_clone(pool, "disk@monday", "copy", &uuid));
    assert_fine(object_clone(pool, "disk", "copy2", &uuid));
    assert_refused(object_set_hosts(pool, "disk@monday", "kms:corp"), ERROR_INVALID, "is a snapshot");
    assert_fine(object_rollback(pool, "disk@monday", NULL, true));
    reopen();
    assert_string_equal(look("disk").hosts, "kms:corp");
    assert_string_equal(look("copy").hosts, "");
    assert_string_equal(look("copy2").hosts, "");
    assert_data_is_intact();
}

static void its_provider_comes_into_force_only_where_that_is_said(void **context)
{
    (void)context;
    add_provider("corp");
    assert_fine(object_set_hosts(pool, "disk", "kms:corp"));
    assert_refused(use("corp", false), ERROR_UNCONFIRMED, "--accept-cycle");
    assert_int_equal(kek_number(), 1);
    assert_fine(object_delete(pool, "disk", false));
    assert_fine(use("corp", false));
    assert_fine(object_restore(pool, "disk", NULL)); /* it is the user's, and health tells */
    assert_fine(use("native", false));
    assert_fine(use("corp", true));
    assert_refused(object_set_hosts(pool, "disk", "kms:corp"), ERROR_ACCESS, "could not start");
    assert_data_is_intact();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_disk_of_the_provider_in_force_is_refused),
        TEST(what_is_no_tag_is_refused),
        TEST(it_stays_until_it_is_taken_back),
        TEST(snapshots_and_clones_have_none),
        TEST(its_provider_comes_into_force_only_where_that_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
