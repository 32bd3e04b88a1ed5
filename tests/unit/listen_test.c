/* Listening sockets: files in the way first. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "server/nbd/listen.h"

struct place {
    char directory[64];
    char path[96];
    char address[112];
};

static int place_make(void **state)
{
    static struct place place;
    snprintf(place.directory, sizeof(place.directory), "/tmp/listen_test.XXXXXX");
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.path, sizeof(place.path), "%s/nbd.sock", place.directory);
    snprintf(place.address, sizeof(place.address), "unix:%s", place.path);
    *state = &place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    unlink(place->path);
    return rmdir(place->directory);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    int result = connect(client, (struct sockaddr *)&address, sizeof(address));
    close(client);
    return result;
}

static void addresses_of_no_known_form_are_invalid(void **state)
{
    (void)state;
    static const char *const addresses[] = {
        "",
        "nbd.sock",
        "/run/nbd.sock",
        "unix",
        "unix:",
        "tcp:",
        "tcp:127.0.0.1",
        "tcp:127.0.0.1:",
        "tcp::10809",
        "udp:127.0.0.1:1",
        "tcp:127.0.0.1:no-such-service",
    };
    struct listener listener;
    for (size_t i = 0; i < COUNT_OF(addresses); i++)
        assert_int_equal(listener_open(addresses[i], true, &listener), ERROR_INVALID);
}

static void a_path_too_long_for_a_socket_is_invalid(void **state)
{
    (void)state;
    char address[200] = "unix:/tmp/";
    struct listener listener;
    memset(address + strlen(address), 'x', sizeof(address) - 1 - strlen(address));
    address[sizeof(address) - 1] = '\0';
    assert_int_equal(listener_open(address, false, &listener), ERROR_INVALID);
}

static void tcp_is_refused_unless_insecure_on_loopback_too(void **state)
{
    (void)state;
    struct listener listener;
    assert_int_equal(listener_open("tcp:127.0.0.1:0", false, &listener), ERROR_ACCESS);
    assert_non_null(strstr(error_sentence(ERROR_ACCESS), "insecure = yes"));
    assert_int_equal(listener_open("tcp:127.0.0.1:0", true, &listener), ERROR_NONE);
    int copy = dup(listener.socket);
    listener_close(&listener);
    assert_int_equal(listener_adopt(copy, false, &listener), ERROR_ACCESS);
    close(copy);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    const struct place *place = *state;
    struct listener listener;
    int file = open(place->path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(file, "precious", 8), 8);
    close(file);
    assert_int_equal(listener_open(place->address, false, &listener), ERROR_EXISTS);
    assert_int_equal(access(place->path, F_OK), 0);
}

static void a_socket_that_somebody_listens_at_is_in_use(void **state)
{
    const struct place *place = *state;
    struct listener first, second;
    assert_int_equal(listener_open(place->address, false, &first), ERROR_NONE);
    assert_int_equal(listener_open(place->address, false, &second), ERROR_IN_USE);
    assert_int_equal(connect_to(place->path), 0);
    listener_close(&first);
}

static void a_socket_that_nobody_listens_at_is_replaced(void **state)
{
    const struct place *place = *state;
    struct listener dead, listener;
    assert_int_equal(listener_open(place->address, false, &dead), ERROR_NONE);
    close(dead.socket);
    assert_int_equal(listener_open(place->address, false, &listener), ERROR_NONE);
    assert_int_equal(connect_to(place->path), 0);
    listener_close(&listener);
}

static void what_a_crash_left_between_making_and_naming_is_replaced(void **state)
{
    const struct place *place = *state;
    char birth[128];
    struct listener dead, listener;
    assert_int_equal(listener_open(place->address, false, &dead), ERROR_NONE);
    close(dead.socket);
    snprintf(birth, sizeof(birth), "%s~", place->path);
    assert_int_equal(rename(place->path, birth), 0);
    assert_int_equal(listener_open(place->address, false, &listener), ERROR_NONE);
    assert_int_equal(connect_to(place->path), 0);
    assert_int_not_equal(access(birth, F_OK), 0);
    listener_close(&listener);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct listener listener;
    assert_int_not_equal(listener_open("unix:/no/such/place/nbd.sock", false, &listener), ERROR_NONE);
}

static void closing_leaves_the_file_of_a_successor(void **state)
{
    const struct place *place = *state;
    struct listener old, new;
    assert_int_equal(listener_open(place->address, false, &old), ERROR_NONE);
    unlink(place->path);
    assert_int_equal(listener_open(place->address, false, &new), ERROR_NONE);
    listener_close(&old);
    assert_int_equal(connect_to(place->path), 0);
    listener_close(&new);
    assert_int_not_equal(access(place->path, F_OK), 0);
}

static void a_unix_socket_is_for_its_owner_only(void **state)
{
    const struct place *place = *state;
    struct listener listener;
    struct stat status;
    mode_t before = umask(0);
    assert_int_equal(listener_open(place->address, false, &listener), ERROR_NONE);
    umask(before);
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    listener_close(&listener);
}

static void only_what_listens_can_be_taken_over(void **state)
{
    const struct place *place = *state;
    struct listener listener, adopted;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(listener_adopt(pair[0], false, &adopted), ERROR_INVALID);
    assert_int_equal(listener_adopt(STDIN_FILENO, false, &adopted), ERROR_INVALID);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(listener_open(place->address, false, &listener), ERROR_NONE);
    assert_int_equal(listener_adopt(dup(listener.socket), false, &adopted), ERROR_NONE);
    listener_close(&adopted);
    assert_int_equal(access(place->path, F_OK), 0);
    listener_close(&listener);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        TEST(addresses_of_no_known_form_are_invalid),
        TEST(a_path_too_long_for_a_socket_is_invalid),
        TEST(tcp_is_refused_unless_insecure_on_loopback_too),
        TEST(a_file_that_is_no_socket_is_left_alone),
        TEST(a_socket_that_somebody_listens_at_is_in_use),
        TEST(a_socket_that_nobody_listens_at_is_replaced),
        TEST(what_a_crash_left_between_making_and_naming_is_replaced),
        TEST(a_directory_that_is_not_there_is_an_error),
        TEST(closing_leaves_the_file_of_a_successor),
        TEST(a_unix_socket_is_for_its_owner_only),
        TEST(only_what_listens_can_be_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
