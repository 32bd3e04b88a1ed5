/* The list of running pools: what is no link of a pool is let alone, links that lead nowhere go, nothing ever fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/registry.h"

static char directory[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "%s", "/tmp/coffer-registry-XXXXXX");
    return mkdtemp(directory) == NULL || setenv("COFFER_RUN", directory, 1) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(directory);
}

static void only_links_of_pools_are_entries(void **state)
{
    (void)state;
    assert_false(registry_is_entry(""));
    assert_false(registry_is_entry("."));
    assert_false(registry_is_entry(".pool"));
    assert_false(registry_is_entry("a.pool.new"));
    assert_true(registry_is_entry("a.pool"));
}

static void a_link_is_of_one_pool(void **state)
{
    char name[UUID_TEXT_SIZE + 8], uuid[UUID_TEXT_SIZE];
    struct uuid pool = uuid_random();
    (void)state;
    uuid_format(pool, uuid);
    snprintf(name, sizeof name, "%s.pool", uuid);
    assert_true(registry_is_entry_of(name, pool));
    assert_false(registry_is_entry_of(name, uuid_random()));
    assert_false(registry_is_entry_of(uuid, pool));
}

static void a_directory_that_cannot_be_made_harms_nobody(void **state)
{
    (void)state;
    setenv("COFFER_RUN", "/nonexistent/run", 1);
    registry_add(uuid_random(), "/tmp");
    registry_remove(uuid_random());
}

static void a_relative_name_in_the_environment_does_not_count(void **state)
{
    (void)state;
    setenv("COFFER_RUN", "run", 1);
    setenv("XDG_RUNTIME_DIR", "runtime", 1);
    AUTO_FREE char *path = registry_directory();
    assert_true(path == NULL || strcmp(path, "/run/coffer") == 0);
    unsetenv("XDG_RUNTIME_DIR");
}

static void a_link_leads_to_the_socket_until_it_is_removed(void **state)
{
    (void)state;
    char socket[96], link[160], dead[96], uuid[UUID_TEXT_SIZE];
    struct uuid pool = uuid_random();
    struct stat found;
    uuid_format(pool, uuid);
    snprintf(socket, sizeof socket, "%s/socket", directory);
    snprintf(dead, sizeof dead, "%s/dead.pool", directory);
    snprintf(link, sizeof link, "%s/%s.pool", directory, uuid);
    assert_int_equal(mkdir(socket, 0700), 0);
    assert_int_equal(symlink("/nonexistent", dead), 0);
    registry_add(pool, socket);
    registry_add(pool, socket);
    AUTO_FREE char *target = realpath(link, NULL);
    assert_string_equal(target, socket);
    assert_int_not_equal(lstat(dead, &found), 0);
    assert_int_equal(rmdir(socket), 0);
    registry_remove(pool);
    assert_int_not_equal(lstat(link, &found), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_links_of_pools_are_entries),
        TEST(a_link_is_of_one_pool),
        TEST(a_directory_that_cannot_be_made_harms_nobody),
        TEST(a_relative_name_in_the_environment_does_not_count),
        TEST(a_link_leads_to_the_socket_until_it_is_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
