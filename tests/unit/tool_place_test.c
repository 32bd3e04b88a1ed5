/* `coffer` looks for the pool and its daemon: whom it believes, and which of several pools it takes. */
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/tool_fixture.h"

#define STRANGER  65534
#define CONF_POOL "[pool]\nuuid = 11111111-1111-4111-8111-111111111111\nencryption = off\n"
#define CONF_GROUP                                                                                                     \
    "[group g1]\nuuid = 33333333-3333-4333-8333-333333333333\ndevices = disk\n"                                        \
    "device-ids = 44444444-4444-4444-8444-444444444444\n"

/* ---- who is believed --------------------------------------------------------------------------------------------- */

/* A socket at `path` whose server is a stranger. */
static int listen_as_another(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(seteuid(STRANGER), 0);
    int listening = listen(listener, 2);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(listening, 0);
    return listener;
}

static void assert_nothing_sent(struct fixture *fixture, const char *place, int listener)
{
    char byte;
    write_file(fixture->secret, "secret\n");
    assert_int_equal(RUN("-C", place, "unlock", "--passphrase-file", fixture->secret), EXIT_REFUSED);
    assert_said(fixture->err, "nothing was sent");
    int heard = accept(listener, NULL, NULL);
    assert_int_equal(recv(heard, &byte, 1, 0), 0);
    close(heard);
}

static void nothing_is_sent_to_a_stranger_at_the_socket(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    int listener = listen_as_another(fixture->socket);
    assert_nothing_sent(fixture, fixture->directory, listener);
    close(listener);
    unlink(fixture->socket);
}

static void who_owns_the_place_of_the_socket_is_still_a_stranger_to_root(void **state)
{
    struct fixture *fixture = *state;
    char place[96], path[128], conf[512];
    if (geteuid() != 0)
        skip();
    snprintf(place, sizeof(place), "%s/place", fixture->directory);
    snprintf(path, sizeof(path), "%s/pool.sock", place);
    snprintf(conf, sizeof(conf), CONF_POOL "[server]\ncontrol = %s\n" CONF_GROUP, path);
    write_file(fixture->conf, conf);
    assert_int_equal(mkdir(place, 0755), 0);
    assert_int_equal(chown(place, STRANGER, STRANGER), 0);
    int listener = listen_as_another(path);
    assert_nothing_sent(fixture, fixture->directory, listener); /* of the pool directory, which is root's */
    assert_nothing_sent(fixture, path, listener);
    assert_said(fixture->err, "-C DIR");
    close(listener);
    unlink(path);
    rmdir(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_to_a_stranger_at_the_socket),
        TEST(who_owns_the_place_of_the_socket_is_still_a_stranger_to_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
