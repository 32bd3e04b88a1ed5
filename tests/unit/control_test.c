/* The control socket itself, with real sockets: who is refused, what is dropped, and how it starts and stops. */
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/thread.h"
#include "server/control.h"
#include "server/rpc.h"
#include "tests/unit/control_fixture.h"

static void start(struct fixture *fixture)
{
    assert_int_equal(control_start(fixture->pool, fixture->path, &fixture->control), ERROR_NONE);
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, strlen(path));
    if (connect(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0)
        return descriptor;
    close(descriptor);
    return -1;
}

static void say(int descriptor, const char *text, size_t size)
{
    assert_int_equal(send(descriptor, text, size, MSG_NOSIGNAL), size);
}

/* Reads a line; false at the end of the connection. */
static bool hear(int descriptor, char *line, size_t size)
{
    size_t filled = 0;
    while (filled + 1 < size && recv(descriptor, line + filled, 1, 0) == 1) {
        if (line[filled++] == '\n') {
            line[filled] = '\0';
            return true;
        }
    }
    return false;
}

static const char status_request[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"pool.status\"}\n";

static void assert_answers(int descriptor)
{
    char line[16384];
    say(descriptor, status_request, sizeof(status_request) - 1);
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "\"id\":7"));
    assert_non_null(strstr(line, "\"result\""));
}

static void something_else_in_the_way_is_not_removed(void **state)
{
    struct fixture *fixture = *state;
    FILE *file = fopen(fixture->path, "w");
    fclose(file);
    assert_int_equal(control_start(fixture->pool, fixture->path, &fixture->control), ERROR_EXISTS);
    assert_int_equal(access(fixture->path, F_OK), 0);
}

static void a_living_daemon_is_not_pushed_aside(void **state)
{
    struct fixture *fixture = *state;
    struct control *second;
    start(fixture);
    assert_int_equal(control_start(fixture->pool, fixture->path, &second), ERROR_BUSY);
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    close(descriptor);
}

static void the_socket_of_a_dead_daemon_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path, fixture->path, strlen(fixture->path));
    assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);
    start(fixture);
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    close(descriptor);
}

static void a_directory_that_is_missing_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(control_start(fixture->pool, "/nowhere/at/all/control.sock", &fixture->control), ERROR_NOT_FOUND);
}

static void the_socket_is_for_its_owner_only(void **state)
{
    struct fixture *fixture = *state;
    struct stat found;
    start(fixture);
    assert_int_equal(stat(fixture->path, &found), 0);
    assert_int_equal(found.st_mode & 07777, 0600);
}

/* The mode is opened here so that only the second line of defence is left. */
static void another_user_is_refused_although_the_socket_lets_him_in(void **state)
{
    struct fixture *fixture = *state;
    char line[1024];
    int status;
    if (geteuid() != 0)
        skip();
    start(fixture);
    assert_int_equal(chmod(fixture->path, 0666), 0);
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        int descriptor = setuid(65534) == 0 ? dial(fixture->path) : -1;
        bool refused = descriptor >= 0 && hear(descriptor, line, sizeof(line)) && strstr(line, "\"ACCESS\"") != NULL &&
                       !hear(descriptor, line, sizeof(line));
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- whom the conf lets in ----------------------------------------------------------------------------------------- */

#define STRANGER     65001
#define THEIR_GROUP  65002

static const char create_request[] =
    "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"object.create\",\"params\":{\"name\":\"a\",\"size\":4096}}\n";
static const char lock_request[] = "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"pool.lock\"}\n";

/* 'y' answered, 'n' refused by a sentence that names the line of the conf, '-' dropped. */
static char try_request(int descriptor, const char *request)
{
    char line[16384];
    (void)!send(descriptor, request, strlen(request), MSG_NOSIGNAL); /* who is refused may have been told, and dropped, before */
    if (!hear(descriptor, line, sizeof(line)))
        return '-';
    if (strstr(line, "\"result\"") != NULL)
        return 'y';
    return strstr(line, "\"ACCESS\"") != NULL && strstr(line, "in [control] of ") != NULL ? 'n' : '?';
}

/* What another user is answered to looking, changing a disk and locking the pool: as THEIR_GROUP, if that is to be one of its
 * groups. */
static void assert_may(struct fixture *fixture, bool in_group, const char *expected)
{
    int ends[2], status;
    char found[4] = "";
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        const gid_t groups[] = {THEIR_GROUP};
        if (setgroups(in_group ? 1 : 0, groups) != 0 || setgid(STRANGER) != 0 || setuid(STRANGER) != 0)
            _exit(1);
        const char *const requests[] = {status_request, create_request, lock_request};
        int descriptor = dial(fixture->path);
        for (int i = 0; i < 3; i++)
            found[i] = descriptor < 0 ? 'x' : try_request(descriptor, requests[i]);
        _exit(write(ends[1], found, 3) == 3 ? 0 : 1);
    }
    assert_int_equal(read(ends[0], found, 3), 3);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(ends[0]);
    close(ends[1]);
    assert_string_equal(found, expected);
}

static mode_t mode_of(struct fixture *fixture)
{
    struct stat found;
    assert_int_equal(stat(fixture->path, &found), 0);
    return found.st_mode & 07777;
}

/* Any connection makes the mode follow the conf. */
static void look(struct fixture *fixture)
{
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    close(descriptor);
}

static void others_have_the_roles_that_the_conf_gives_them(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    conf_say(fixture, "[control]\nobserve = group:65002\n");
    start(fixture);
    assert_int_equal(mode_of(fixture), 0666);
    assert_may(fixture, true, "ynn");
    assert_may(fixture, false, "n--");
    conf_say(fixture, "[control]\noperate = user:1, user:65001\n");
    assert_may(fixture, false, "yyn");
    pthread_mutex_lock(&fixture->pool->lock);
    fixture->pool->object_count = 0;
    pthread_mutex_unlock(&fixture->pool->lock);
    conf_say(fixture, "[control]\noperate = user:1\nkeys = group:65002\n");
    assert_may(fixture, true, "yny");
    conf_say(fixture, "[control]\nobserve = group:65001\n"); /* its own group, not a supplementary one */
    assert_may(fixture, false, "ynn");
    conf_remove(fixture);
}

static void a_socket_is_open_to_others_while_a_line_lets_them_in(void **state)
{
    struct fixture *fixture = *state;
    conf_say(fixture, "");
    start(fixture);
    assert_int_equal(mode_of(fixture), 0600);
    conf_say(fixture, "[control]\nobserve = user:65001\n");
    look(fixture);
    assert_int_equal(mode_of(fixture), 0666);
    conf_say(fixture, "[control]\n");
    look(fixture);
    assert_int_equal(mode_of(fixture), 0600);
    conf_remove(fixture);
}

/* A name of nobody takes nothing from the others, and a conf that is wrong lets nobody in but the owner. */
static void what_the_conf_says_wrong_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    conf_say(fixture, "[control]\nobserve = user:nobody-of-this-name, user:65001\nkeys = group:no-such-group\n");
    start(fixture);
    assert_may(fixture, true, "ynn");
    conf_say(fixture, "[control]\nobserve = user:65001\noperator = user:65001\n");
    look(fixture);
    assert_int_equal(chmod(fixture->path, 0666), 0); /* so that what the socket does not keep out is seen */
    assert_may(fixture, true, "n--");
    conf_remove(fixture);
    assert_int_equal(chmod(fixture->path, 0666), 0);
    assert_may(fixture, true, "n--");
    look(fixture);
}

/* A connection of somebody else: this thread alone is one meanwhile, which the library's seteuid() would not leave it at. */
static int dial_as(struct fixture *fixture, uid_t user)
{
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    assert_int_equal(syscall(SYS_setresuid, -1, user, -1), 0);
    int descriptor = dial(fixture->path);
    assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
    assert_true(descriptor >= 0);
    return descriptor;
}

static void a_line_that_goes_takes_the_role_from_open_connections(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() != 0)
        skip();
    conf_say(fixture, "[control]\nobserve = user:65001\n");
    start(fixture);
    int descriptor = dial_as(fixture, STRANGER);
    assert_int_equal(try_request(descriptor, status_request), 'y');
    assert_int_equal(try_request(descriptor, status_request), 'y');
    conf_say(fixture, "[control]\nobserve = user:1\n");
    assert_int_equal(try_request(descriptor, status_request), 'n');
    assert_int_equal(try_request(descriptor, status_request), '-');
    close(descriptor);
    conf_remove(fixture);
}

static void assert_busy(struct fixture *fixture, uid_t user, const char *words)
{
    char line[1024];
    int extra = dial_as(fixture, user);
    assert_true(hear(extra, line, sizeof(line)));
    assert_non_null(strstr(line, "\"BUSY\""));
    assert_non_null(strstr(line, words));
    close(extra);
}

static void others_leave_places_to_each_other_and_the_owner(void **state)
{
    struct fixture *fixture = *state;
    int descriptors[CONTROL_OTHERS_MAX];
    if (geteuid() != 0)
        skip();
    conf_say(fixture, "[control]\nobserve = user:65001, user:65002, user:65003, user:65004, user:65005\n");
    start(fixture);
    for (int i = 0; i < CONTROL_OTHERS_MAX; i++) {
        descriptors[i] = dial_as(fixture, STRANGER + (uid_t)(i / CONTROL_USER_MAX));
        assert_int_equal(try_request(descriptors[i], status_request), 'y');
        if ((i + 1) % CONTROL_USER_MAX == 0)
            assert_busy(fixture, STRANGER + (uid_t)(i / CONTROL_USER_MAX), "serves 3 control connections of your user");
    }
    assert_busy(fixture, 65005, "serves 12 control connections already");
    look(fixture);
    for (int i = 0; i < CONTROL_OTHERS_MAX; i++)
        close(descriptors[i]);
    conf_remove(fixture);
}

/* Whom no line lets in is told so also where all places are taken: he would have none of them. */
static void who_has_no_role_takes_no_place(void **state)
{
    struct fixture *fixture = *state;
    int descriptors[CONTROL_CONNECTIONS_MAX];
    char line[1024];
    if (geteuid() != 0)
        skip();
    conf_say(fixture, "[control]\nobserve = user:1\n");
    start(fixture);
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        descriptors[i] = dial(fixture->path);
        assert_answers(descriptors[i]);
    }
    int extra = dial_as(fixture, STRANGER);
    assert_true(hear(extra, line, sizeof(line)));
    assert_non_null(strstr(line, "\"ACCESS\""));
    close(extra);
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        close(descriptors[i]);
    conf_remove(fixture);
}

/* The linker puts it in the place of base/clock.c's (--wrap). */
static atomic_ullong ahead;
uint64_t __real_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void);
uint64_t __wrap_clock_monotonic(void)
{
    return __real_clock_monotonic() + atomic_load(&ahead);
}

static void a_line_that_comes_byte_by_byte_has_its_time(void **state)
{
    struct fixture *fixture = *state;
    char line[16];
    start(fixture);
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    atomic_fetch_add(&ahead, 2 * CONTROL_LINE_SECONDS * CLOCK_SECOND); /* between lines it does not count */
    assert_answers(descriptor);
    say(descriptor, status_request, 1);
    usleep(50000); /* it is read, and the time begins */
    atomic_fetch_add(&ahead, CONTROL_LINE_SECONDS * CLOCK_SECOND);
    say(descriptor, status_request + 1, 1);
    usleep(50000);
    (void)!send(descriptor, status_request + 2, sizeof(status_request) - 3, MSG_NOSIGNAL);
    assert_false(hear(descriptor, line, sizeof(line)));
    close(descriptor);
}

#define BIG_ROWS    10000
#define SLOW_ROUNDS 200
#define SLOW_BYTES  4096 /* a round, which is a second to the daemon: less than the answer has in all rounds */

/* Some megabytes, more than a socket holds, of which the first byte was read. */
static int big_answer_begin(struct fixture *fixture)
{
    static const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"snapshot.list\"}\n";
    char first;
    fixture->pool->snapshots_repeated = BIG_ROWS;
    start(fixture);
    int descriptor = dial(fixture->path);
    say(descriptor, request, sizeof(request) - 1);
    assert_int_equal(recv(descriptor, &first, 1, 0), 1);
    return descriptor;
}

/* A round of somebody who takes it slowly; false at its end. */
static bool slow_round(int descriptor)
{
    char bytes[SLOW_BYTES];
    usleep(10000);
    atomic_fetch_add(&ahead, CLOCK_SECOND);
    return recv(descriptor, bytes, sizeof(bytes), 0) > 0;
}

static void an_answer_that_is_taken_slowly_is_cut_off(void **state)
{
    unsigned rounds = 0;
    int descriptor = big_answer_begin(*state);
    while (rounds < SLOW_ROUNDS && slow_round(descriptor))
        rounds++;
    close(descriptor);
    assert_in_range(rounds, 1, SLOW_ROUNDS - 1);
}

static atomic_bool stopped;

static void stop_run(void *control)
{
    control_stop(control);
    atomic_store(&stopped, true);
}

static void the_end_waits_for_nobody_who_takes_his_answer_slowly(void **state)
{
    struct fixture *fixture = *state;
    struct thread stopper;
    int descriptor = big_answer_begin(fixture);
    atomic_store(&stopped, false);
    assert_int_equal(thread_start(&stopper, "stopper", stop_run, fixture->control), ERROR_NONE);
    fixture->control = NULL;
    for (unsigned round = 0; round < SLOW_ROUNDS && !atomic_load(&stopped); round++)
        slow_round(descriptor);
    bool in_time = atomic_load(&stopped);
    close(descriptor);
    thread_join(&stopper);
    assert_true(in_time);
}

static void garbage_is_answered_and_the_connection_goes_on(void **state)
{
    struct fixture *fixture = *state;
    char line[1024];
    start(fixture);
    int descriptor = dial(fixture->path);
    say(descriptor, "garbage\n\n", 9);
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "-32700"));
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "-32700"));
    assert_answers(descriptor);
    close(descriptor);
}

static void a_line_without_end_is_refused_and_dropped(void **state)
{
    struct fixture *fixture = *state;
    char line[1024], flood[RPC_LINE_MAX + 1];
    memset(flood, 'x', sizeof(flood));
    start(fixture);
    int descriptor = dial(fixture->path);
    say(descriptor, flood, sizeof(flood));
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "TOO_LARGE"));
    assert_false(hear(descriptor, line, sizeof(line)));
    close(descriptor);
}

static void the_longest_line_is_read(void **state)
{
    struct fixture *fixture = *state;
    char line[16384], request[RPC_LINE_MAX + 1];
    memset(request, ' ', sizeof(request));
    memcpy(request, status_request, sizeof(status_request) - 2);
    request[RPC_LINE_MAX] = '\n';
    start(fixture);
    int descriptor = dial(fixture->path);
    say(descriptor, request, sizeof(request));
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "\"result\""));
    close(descriptor);
}

static void requests_in_pieces_and_together_are_answered_in_order(void **state)
{
    struct fixture *fixture = *state;
    char line[16384];
    start(fixture);
    int descriptor = dial(fixture->path);
    for (size_t i = 0; i < sizeof(status_request) - 1; i++)
        say(descriptor, &status_request[i], 1);
    assert_true(hear(descriptor, line, sizeof(line)));
    const char two[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"object.list\"}\n"
                       "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"object.list\"}\n";
    say(descriptor, two, sizeof(two) - 1);
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "\"id\":1"));
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "\"id\":2"));
    close(descriptor);
}

static void a_client_that_leaves_in_the_middle_harms_nobody(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    for (int i = 0; i < 3 * CONTROL_CONNECTIONS_MAX; i++) {
        int descriptor = dial(fixture->path);
        if (i % 2 == 0)
            say(descriptor, status_request, 20);
        else
            send(descriptor, status_request, sizeof(status_request) - 1, MSG_NOSIGNAL);
        close(descriptor);
    }
    int descriptor;
    char line[16384];
    do { /* until the threads of those who left have ended */
        descriptor = dial(fixture->path);
        send(descriptor, status_request, sizeof(status_request) - 1, MSG_NOSIGNAL);
        assert_true(hear(descriptor, line, sizeof(line)));
        close(descriptor);
    } while (strstr(line, "\"BUSY\"") != NULL);
    assert_non_null(strstr(line, "\"result\""));
}

static void one_connection_too_many_is_told_so(void **state)
{
    struct fixture *fixture = *state;
    int descriptors[CONTROL_CONNECTIONS_MAX];
    char line[1024];
    start(fixture);
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        descriptors[i] = dial(fixture->path);
        assert_answers(descriptors[i]);
    }
    int extra = dial(fixture->path);
    assert_true(hear(extra, line, sizeof(line)));
    assert_non_null(strstr(line, "\"BUSY\""));
    assert_false(hear(extra, line, sizeof(line)));
    close(extra);
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        close(descriptors[i]);
}

static void stopping_drops_connections_and_removes_the_socket(void **state)
{
    struct fixture *fixture = *state;
    char line[1024];
    start(fixture);
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    control_stop(fixture->control);
    fixture->control = NULL;
    assert_false(hear(descriptor, line, sizeof(line)));
    assert_int_not_equal(access(fixture->path, F_OK), 0);
    close(descriptor);
}

static void stopping_answers_the_request_that_runs(void **state)
{
    struct fixture *fixture = *state;
    const char request[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"object.usage\",\"params\":{\"name\":\"a\"}}\n";
    char line[1024];
    fake_add(fixture->pool, "a", 4096);
    fixture->pool->usage_delay_ms = 100;
    start(fixture);
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    say(descriptor, request, sizeof(request) - 1);
    usleep(20000);
    control_stop(fixture->control);
    fixture->control = NULL;
    assert_true(hear(descriptor, line, sizeof(line)));
    assert_non_null(strstr(line, "stored_bytes"));
    close(descriptor);
}

static void stopping_leaves_a_socket_that_is_another_ones(void **state)
{
    struct fixture *fixture = *state;
    struct control *second;
    start(fixture);
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(control_start(fixture->pool, fixture->path, &second), ERROR_NONE);
    control_stop(fixture->control);
    fixture->control = second;
    int descriptor = dial(fixture->path);
    assert_answers(descriptor);
    close(descriptor);
}

static void a_path_longer_than_an_address_works(void **state)
{
    struct fixture *fixture = *state;
    char directory[256], path[300], name[121];
    memset(name, 'd', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(directory, sizeof(directory), "%s/%s", fixture->directory, name);
    snprintf(path, sizeof(path), "%s/control.sock", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(control_start(fixture->pool, path, &fixture->control), ERROR_NONE);
    assert_int_equal(access(path, F_OK), 0);
    control_stop(fixture->control);
    fixture->control = NULL;
    assert_int_equal(rmdir(directory), 0);
}

static void a_running_pool_is_listed_and_a_dead_link_removed(void **state)
{
    struct fixture *fixture = *state;
    char uuid[UUID_TEXT_SIZE], link[192], dead[192], target[256] = "";
    uuid_format(fixture->pool->status.uuid, uuid);
    snprintf(link, sizeof(link), "%s/%s.pool", fixture->registry, uuid);
    snprintf(dead, sizeof(dead), "%s/dead.pool", fixture->registry);
    assert_int_equal(mkdir(fixture->registry, 0755), 0);
    assert_int_equal(symlink("/nowhere/control.sock", dead), 0);
    start(fixture);
    assert_true(readlink(link, target, sizeof(target) - 1) > 0);
    assert_string_equal(target, fixture->path);
    struct stat found;
    assert_int_not_equal(lstat(dead, &found), 0);
    control_stop(fixture->control);
    fixture->control = NULL;
    assert_int_not_equal(lstat(link, &found), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(something_else_in_the_way_is_not_removed),
        TEST(a_living_daemon_is_not_pushed_aside),
        TEST(the_socket_of_a_dead_daemon_is_replaced),
        TEST(a_directory_that_is_missing_is_an_error),
        TEST(the_socket_is_for_its_owner_only),
        TEST(another_user_is_refused_although_the_socket_lets_him_in),
        TEST(others_have_the_roles_that_the_conf_gives_them),
        TEST(a_socket_is_open_to_others_while_a_line_lets_them_in),
        TEST(what_the_conf_says_wrong_lets_nobody_in),
        TEST(a_line_that_goes_takes_the_role_from_open_connections),
        TEST(others_leave_places_to_each_other_and_the_owner),
        TEST(who_has_no_role_takes_no_place),
        TEST(a_line_that_comes_byte_by_byte_has_its_time),
        TEST(an_answer_that_is_taken_slowly_is_cut_off),
        TEST(the_end_waits_for_nobody_who_takes_his_answer_slowly),
        TEST(garbage_is_answered_and_the_connection_goes_on),
        TEST(a_line_without_end_is_refused_and_dropped),
        TEST(the_longest_line_is_read),
        TEST(requests_in_pieces_and_together_are_answered_in_order),
        TEST(a_client_that_leaves_in_the_middle_harms_nobody),
        TEST(one_connection_too_many_is_told_so),
        TEST(stopping_drops_connections_and_removes_the_socket),
        TEST(stopping_answers_the_request_that_runs),
        TEST(stopping_leaves_a_socket_that_is_another_ones),
        TEST(a_path_longer_than_an_address_works),
        TEST(a_running_pool_is_listed_and_a_dead_link_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
