/* Users and groups that [control] of coffer.conf names, in a directory service that changes its mind, or is silent. */
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/control.h"
#include "server/methods.h"
#include "server/roles.h"
#include "tests/unit/control_fixture.h"

#define STRANGER 65001

/* It knows only alice, by a number that changes, or nobody; or it does not answer. The linker puts these in the place of the
 * library's (--wrap), also in server/roles.c. */
static atomic_uint alice;
static atomic_bool silent;
static atomic_ullong ahead;

uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
int __wrap_getpwnam_r(const char *name, struct passwd *user, char *room, size_t size, struct passwd **found);

uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + atomic_load(&ahead);
}

int __wrap_getpwnam_r(const char *name, struct passwd *user, char *room, size_t size, struct passwd **found)
{
    (void)room;
    (void)size;
    while (atomic_load(&silent))
        usleep(1000);
    *found = strcmp(name, "alice") == 0 && atomic_load(&alice) != 0 ? user : NULL;
    *user = (struct passwd){.pw_uid = atomic_load(&alice)};
    return 0;
}

static void time_passes(unsigned seconds)
{
    atomic_fetch_add(&ahead, seconds * CLOCK_SECOND);
}

/* The role of a user, once nothing is asked for any more. */
static unsigned role_of(struct roles *roles, uint32_t uid)
{
    const struct peer peer = {.uid = uid, .gid = uid};
    roles_of(roles, &peer);
    for (int i = 0; i < 2000 && roles->lookup != NULL && !atomic_load(&silent); i++) {
        usleep(1000);
        roles_of(roles, &peer);
    }
    return roles_of(roles, &peer);
}

/* Whether a user, who is another one for this thread alone, is answered by the daemon. */
static bool is_answered(struct fixture *fixture, uid_t user)
{
    static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"pool.status\"}\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char line[65536] = "";
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, fixture->path, strlen(fixture->path));
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(syscall(SYS_setresuid, -1, user, -1), 0);
    int connected = connect(descriptor, (struct sockaddr *)&address, sizeof(address));
    assert_int_equal(syscall(SYS_setresuid, -1, getuid(), -1), 0);
    assert_int_equal(connected, 0);
    (void)!send(descriptor, request, sizeof(request) - 1, MSG_NOSIGNAL);
    (void)!recv(descriptor, line, sizeof(line) - 1, 0);
    close(descriptor);
    return strstr(line, "\"result\"") != NULL;
}

static void a_directory_service_that_is_silent_holds_up_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct stat found;
    struct roles roles;
    atomic_store(&alice, STRANGER);
    atomic_store(&silent, true);
    conf_say(fixture, "[control]\nobserve = user:alice, user:65005\n");
    assert_int_equal(control_start(fixture->pool, fixture->path, &fixture->control), ERROR_NONE);
    assert_int_equal(stat(fixture->path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0666);
    assert_true(is_answered(fixture, geteuid()));
    control_stop(fixture->control);
    fixture->control = NULL;
    roles_init(&roles, fixture->directory);
    assert_int_equal(role_of(&roles, 65005), ROLE_OBSERVE);
    assert_int_equal(role_of(&roles, STRANGER), 0);
    assert_true(roles_pending(&roles));
    time_passes(ROLES_PATIENCE_SECONDS);
    assert_false(roles_pending(&roles));
    atomic_store(&silent, false);
    assert_int_equal(role_of(&roles, STRANGER), ROLE_OBSERVE);
    roles_deinit(&roles);
    conf_remove(fixture);
}

static void who_comes_while_a_name_is_asked_for_is_let_in(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    atomic_store(&alice, STRANGER);
    conf_say(fixture, "[control]\nobserve = user:alice\n");
    assert_int_equal(control_start(fixture->pool, fixture->path, &fixture->control), ERROR_NONE);
    assert_true(is_answered(fixture, STRANGER));
    assert_false(is_answered(fixture, STRANGER + 1));
    conf_remove(fixture);
}

static void a_name_is_turned_into_a_number_again_and_again(void **state)
{
    struct fixture *fixture = *state;
    struct roles roles;
    atomic_store(&alice, 0);
    conf_say(fixture, "[control]\nkeys = user:alice\n");
    roles_init(&roles, fixture->directory);
    assert_int_equal(role_of(&roles, 65011), 0);
    atomic_store(&alice, 65011);
    assert_int_equal(role_of(&roles, 65011), 0);
    time_passes(ROLES_RETRY_SECONDS);
    assert_int_equal(role_of(&roles, 65011), ROLE_KEYS | ROLE_OBSERVE);
    atomic_store(&alice, 65012);
    time_passes(ROLES_RETRY_SECONDS);
    assert_int_equal(role_of(&roles, 65012), ROLE_KEYS | ROLE_OBSERVE);
    assert_int_equal(role_of(&roles, 65011), 0);
    atomic_store(&alice, 0);
    time_passes(ROLES_RETRY_SECONDS);
    assert_int_equal(role_of(&roles, 65012), 0);
    roles_deinit(&roles);
    conf_remove(fixture);
}

/* What is known of a name serves while a changed conf has it asked for again; who is no longer in it is out at once. */
static void a_changed_conf_keeps_the_numbers_that_are_known(void **state)
{
    struct fixture *fixture = *state;
    struct roles roles;
    atomic_store(&alice, 65011);
    conf_say(fixture, "[control]\nkeys = user:alice\n");
    roles_init(&roles, fixture->directory);
    assert_int_equal(role_of(&roles, 65011), ROLE_KEYS | ROLE_OBSERVE);
    atomic_store(&silent, true);
    conf_say(fixture, "[control]\nobserve = user:bob, user:alice\n");
    assert_int_equal(role_of(&roles, 65011), ROLE_OBSERVE);
    conf_say(fixture, "[control]\nobserve = user:bob\n");
    assert_int_equal(role_of(&roles, 65011), 0);
    atomic_store(&silent, false);
    assert_int_equal(role_of(&roles, 65011), 0);
    roles_deinit(&roles);
    conf_remove(fixture);
}

static void a_conf_that_could_not_be_read_is_read_again(void **state)
{
    struct fixture *fixture = *state;
    struct roles roles;
    struct rlimit limit, none;
    conf_say(fixture, "[control]\nobserve = user:65001\n");
    roles_init(&roles, fixture->directory);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    unsigned without = role_of(&roles, STRANGER);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(without, 0);
    time_passes(ROLES_RETRY_SECONDS);
    assert_int_equal(role_of(&roles, STRANGER), ROLE_OBSERVE);
    roles_deinit(&roles);
    conf_remove(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_service_that_is_silent_holds_up_nobody),
        TEST(who_comes_while_a_name_is_asked_for_is_let_in),
        TEST(a_name_is_turned_into_a_number_again_and_again),
        TEST(a_changed_conf_keeps_the_numbers_that_are_known),
        TEST(a_conf_that_could_not_be_read_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
