/* Where NBD is served, as the control socket tells it: of what was told, and of sockets that were handed over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "server/served.h"

static int tear_down(void **state)
{
    (void)state;
    served_forget();
    return 0;
}

static void assert_served(const char *const *wanted, size_t count)
{
    json_t *list = served_json();
    assert_int_equal(json_array_size(list), count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(json_string_value(json_array_get(list, i)), wanted[i]);
    json_decref(list);
}

static void what_nobody_can_connect_to_is_not_told(void **state)
{
    (void)state;
    int nameless = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(served_note("stdio"), ERROR_NONE);
    assert_int_equal(served_note_socket(nameless), ERROR_NONE);
    assert_int_equal(served_note_socket(-1), ERROR_NONE);
    assert_served(NULL, 0);
    close(nameless);
}

static void no_more_is_told_than_there_is_room_for(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(served_note("tcp:host:10809"), ERROR_NONE);
    json_t *list = served_json();
    assert_in_range(json_array_size(list), 16, 100);
    json_decref(list);
}

static void addresses_are_told_as_they_were_given(void **state)
{
    static const char *const wanted[] = {"unix:/run/a b", "tcp:[::1]:10809"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        assert_int_equal(served_note(wanted[i]), ERROR_NONE);
    assert_served(wanted, COUNT_OF(wanted));
}

static void relative_paths_become_absolute(void **state)
{
    char address[4096 + 16];
    const char *wanted[] = {address};
    AUTO_FREE char *here = getcwd(NULL, 0);
    (void)state;
    snprintf(address, sizeof(address), "unix:%s/a.sock", here);
    assert_int_equal(served_note("unix:a.sock"), ERROR_NONE);
    assert_served(wanted, 1);
}

static void a_socket_that_was_handed_over_is_told_by_its_name(void **state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char address[sizeof(name.sun_path) + 16];
    const char *wanted[] = {address};
    int handed_over = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)state;
    snprintf(name.sun_path, sizeof(name.sun_path), "/tmp/coffer-served-%d.sock", (int)getpid());
    snprintf(address, sizeof(address), "unix:%s", name.sun_path);
    assert_int_equal(bind(handed_over, (struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(served_note_socket(handed_over), ERROR_NONE);
    close(handed_over);
    unlink(name.sun_path);
    assert_served(wanted, 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_nobody_can_connect_to_is_not_told),
        TEST(no_more_is_told_than_there_is_room_for),
        TEST(addresses_are_told_as_they_were_given),
        TEST(relative_paths_become_absolute),
        TEST(a_socket_that_was_handed_over_is_told_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
