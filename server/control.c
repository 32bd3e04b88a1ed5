/*
 * The control socket: a thread that accepts, and a thread for each connection, up to a limit.
 *
 * Invariants: a connection's descriptor is closed by its own thread, under `lock` and together with the change of its
 * state, so that control_stop() never shuts down a number that means something else by then. A slot is free again only
 * after its thread was joined. The socket is removed only while it is the one that was bound here. Lines are read into
 * the arena and overwritten when they were answered, because one may hold a passphrase. What a method left of keys with
 * its thread, as contexts for the next use, is wiped before the answer goes out: after `lock` nothing may be left.
 *
 * `lock` is held for slot changes only, never while a method runs. The mode 0600 of the socket is the first line of
 * defence, set before listen() so that nobody can connect earlier; the peer's user is the second. Where [control] of the conf
 * lets others in, the mode is 0666 and the second line is the only one: one group that the file could belong to would not do
 * for several roles. It is asked anew for each request (server/roles.c). Others never take the last places, nor one of them
 * those of all others; who has no role gets none.
 *
 * A crash leaves a dead socket, which the next start replaces.
 */
#include "server/control.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/owner.h"
#include "base/registry.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "server/methods.h"
#include "server/roles.h"
#include "server/rpc.h"

#define IDLE_SECONDS 300 /* a connection that asks nothing makes room for others */
#define SEND_SECONDS 30  /* from the first byte of an answer to its last: who does not take it in that time loses it */
#define STOP_GRACE   (5 * CLOCK_SECOND) /* the same, once the daemon ends */
#define NAME_NAP     (20 * CLOCK_MILLISECOND)
#define LOOK_SECONDS 60  /* at most until the socket's mode follows the conf */
#define MODE_OWNER   0600
#define MODE_OTHERS  0666

enum connection_state { CONNECTION_FREE, CONNECTION_RUNNING, CONNECTION_FINISHED };

struct connection {
    struct control *control;
    struct thread thread;
    int descriptor;
    struct peer peer;
    enum connection_state state;
};

struct control {
    struct methods methods;
    char *path;
    struct uuid pool_uuid;
    struct stat socket; /* identity of what was bound */
    mode_t mode;        /* of it; the acceptor's */
    struct roles roles;
    int listener;
    int wake; /* eventfd: readable when stopping */
    struct thread acceptor;
    atomic_bool stopping;
    struct mutex lock; /* RANK_CONTROL; guards the connections */
    struct connection connections[CONTROL_CONNECTIONS_MAX];
};

/* ---- a connection -------------------------------------------------------------------------------------------- */

/* Waits until the peer takes more; false where that is not in time. Once the daemon ends, the time is shorter. */
static bool room_comes(const struct control *control, int descriptor, uint64_t *deadline)
{
    struct pollfd waits[] = {{.fd = descriptor, .events = POLLOUT}, {.fd = control->wake, .events = POLLIN}};
    for (uint64_t now; (now = clock_monotonic()) < *deadline;) {
        int ready = poll(waits, COUNT_OF(waits), (int)((*deadline - now) / CLOCK_MILLISECOND) + 1);
        if (ready > 0 && waits[1].revents != 0) {
            *deadline = MIN(*deadline, now + STOP_GRACE);
            waits[1].fd = -1;
        }
        if (ready > 0 && waits[0].revents != 0)
            return true;
    }
    return false;
}

static bool send_all(const struct control *control, int descriptor, const char *data, size_t size)
{
    uint64_t deadline = clock_monotonic() + SEND_SECONDS * CLOCK_SECOND;
    while (size > 0) {
        ssize_t sent = send(descriptor, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
        if (size > 0 && !room_comes(control, descriptor, &deadline))
            return false;
    }
    return true;
}

static bool send_error(const struct control *control, int descriptor, enum error error)
{
    AUTO_FREE char *answer = rpc_encode_error(NULL, RPC_INVALID_REQUEST, error);
    return answer != NULL && send_all(control, descriptor, answer, strlen(answer));
}

static enum error explain_no_role(const struct control *control, const struct peer *peer)
{
    const char *directory = pool_directory(control->methods.pool);
    return error_explain(ERROR_ACCESS,
                         "the control socket is for root and the user that runs cofferd; for user %u only with a line such as "
                         "`observe = user:%u`, operate or keys, in [control] of %s/" POOL_CONF_NAME,
                         peer->uid, peer->uid, directory == NULL ? "." : directory);
}

/* False, and the sentence sent, where a peer has no role, or none any more. Waits a moment for a name's first number. */
static bool has_role(struct connection *connection, unsigned *roles)
{
    struct control *control = connection->control;
    while ((*roles = roles_of(&control->roles, &connection->peer)) == 0 && roles_pending(&control->roles) &&
           !atomic_load(&control->stopping))
        clock_sleep(NAME_NAP);
    if (*roles == 0) /* the answer may have come between the two */
        *roles = roles_of(&control->roles, &connection->peer);
    if (*roles == 0)
        send_error(control, connection->descriptor, explain_no_role(control, &connection->peer));
    return *roles != 0;
}

static bool answer_line(struct connection *connection, const char *line, size_t size)
{
    unsigned roles;
    if (!has_role(connection, &roles))
        return false;
    pool_audit_actor(connection->peer.uid, connection->peer.pid);
    AUTO_FREE char *answer = methods_answer(&connection->control->methods, roles, line, size);
    pool_thread_end();
    return answer != NULL && send_all(connection->control, connection->descriptor, answer, strlen(answer));
}

/* Answers every whole line in the buffer and moves the rest to its front; false when the connection is to end. */
static bool answer_lines(struct connection *connection, char *buffer, size_t *filled)
{
    char *newline;
    while ((newline = memchr(buffer, '\n', *filled)) != NULL) {
        size_t size = (size_t)(newline - buffer);
        bool go_on = answer_line(connection, buffer, size) && !atomic_load(&connection->control->stopping);
        *filled -= size + 1;
        memmove(buffer, newline + 1, *filled);
        memory_cleanse(buffer + *filled, size + 1);
        if (!go_on)
            return false;
    }
    return true;
}

/* False where the rest of a line does not come in time. Between lines the socket's own time limit counts. */
static bool rest_comes(int descriptor, uint64_t deadline)
{
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    uint64_t now = clock_monotonic();
    return now < deadline && poll(&wait, 1, (int)((deadline - now) / CLOCK_MILLISECOND) + 1) != 0;
}

static void serve(struct connection *connection, char *buffer)
{
    size_t filled = 0;
    uint64_t deadline = 0;
    for (;;) {
        if (filled > 0 && !rest_comes(connection->descriptor, deadline))
            return;
        ssize_t got = recv(connection->descriptor, buffer + filled, RPC_LINE_MAX + 1 - filled, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        bool begins = filled == 0 || memchr(buffer + filled, '\n', (size_t)got) != NULL; /* what is left is a new line */
        filled += (size_t)got;
        if (!answer_lines(connection, buffer, &filled))
            return;
        if (begins)
            deadline = clock_monotonic() + CONTROL_LINE_SECONDS * CLOCK_SECOND;
        if (filled > RPC_LINE_MAX) {
            error_explain(ERROR_TOO_LARGE, "a request may have at most %d bytes", RPC_LINE_MAX);
            send_error(connection->control, connection->descriptor, ERROR_TOO_LARGE);
            return;
        }
    }
}

static void connection_run(void *argument)
{
    struct connection *connection = argument;
    struct control *control = connection->control;
    unsigned roles;
    char *buffer = has_role(connection, &roles) ? arena_allocate(RPC_LINE_MAX + 1) : NULL;
    if (buffer != NULL)
        serve(connection, buffer);
    else if (roles != 0)
        send_error(control, connection->descriptor, ERROR_NO_MEMORY);
    arena_free(buffer);
    mutex_lock(&control->lock);
    close(connection->descriptor);
    peer_forget(&connection->peer);
    connection->state = CONNECTION_FINISHED;
    mutex_unlock(&control->lock);
}

/* ---- accepting ----------------------------------------------------------------------------------------------- */

static void idle_limit(int descriptor)
{
    struct timeval idle = {.tv_sec = IDLE_SECONDS};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
}

/* A free slot, having joined the threads that finished; NULL when all are taken. */
static struct connection *slot_find(struct control *control) REQUIRES(control->lock)
{
    struct connection *free_slot = NULL;
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        struct connection *connection = &control->connections[i];
        if (connection->state == CONNECTION_FINISHED) {
            thread_join(&connection->thread); /* it took its last lock: nothing is waited for */
            connection->state = CONNECTION_FREE;
        }
        if (connection->state == CONNECTION_FREE)
            free_slot = connection;
    }
    return free_slot;
}

/* The number of connections that keeps this peer out; 0: it may come in. Those whom the conf lets in leave room for root and
 * the daemon's user, and for each other. */
static int crowd_of(const struct control *control, const struct peer *peer) REQUIRES(control->lock)
{
    int others = 0, own = 0;
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        const struct connection *connection = &control->connections[i];
        if (connection->state != CONNECTION_RUNNING || peer_is_owner(&connection->peer))
            continue;
        others++;
        own += connection->peer.uid == peer->uid;
    }
    if (peer_is_owner(peer))
        return 0;
    return own >= CONTROL_USER_MAX ? own : others >= CONTROL_OTHERS_MAX ? others : 0;
}

static enum error explain_crowd(const struct control *control, const struct peer *peer) REQUIRES(control->lock)
{
    int crowd = crowd_of(control, peer);
    return error_explain(ERROR_BUSY, "cofferd serves %d control connections%s already: close one",
                         crowd == 0 ? CONTROL_CONNECTIONS_MAX : crowd, crowd == CONTROL_USER_MAX ? " of your user" : "");
}

static enum error slot_start(struct connection *slot, struct control *control, int descriptor, const struct peer *peer)
{
    *slot = (struct connection){
        .control = control, .descriptor = descriptor, .peer = *peer, .state = CONNECTION_RUNNING};
    enum error error = thread_start(&slot->thread, "control", connection_run, slot);
    if (error != ERROR_NONE)
        slot->state = CONNECTION_FREE;
    return error;
}

static enum error place_take(struct control *control, int descriptor, const struct peer *peer)
{
    mutex_lock(&control->lock);
    struct connection *slot = slot_find(control);
    enum error error = slot == NULL || crowd_of(control, peer) > 0 ? explain_crowd(control, peer)
                                                                   : slot_start(slot, control, descriptor, peer);
    mutex_unlock(&control->lock);
    return error;
}

/* Who has no role takes no place, but while a name may turn out to be his: its thread waits for that. */
static enum error connection_start(struct control *control, int descriptor)
{
    struct peer peer;
    peer_take(descriptor, &peer);
    bool welcome = roles_of(&control->roles, &peer) != 0 || roles_pending(&control->roles) ||
                   roles_of(&control->roles, &peer) != 0; /* the answer may have come between the two */
    enum error error = welcome ? place_take(control, descriptor, &peer) : explain_no_role(control, &peer);
    if (error != ERROR_NONE)
        peer_forget(&peer);
    return error;
}

static void accept_one(struct control *control)
{
    int descriptor = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
    if (descriptor < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            clock_sleep(100 * CLOCK_MILLISECOND); /* the connection waits in the queue and would wake us at once */
        return;
    }
    idle_limit(descriptor);
    enum error error = connection_start(control, descriptor);
    if (error != ERROR_NONE) {
        send_error(control, descriptor, error);
        close(descriptor);
    }
}

/* The file's mode, of the socket that was made here and of nothing that took its place: the directory may be another user's. */
static bool mode_set(const struct control *control, mode_t mode)
{
    char name[32];
    struct stat found;
    int descriptor = open(control->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", descriptor);
    bool set = fstat(descriptor, &found) == 0 && found.st_ino == control->socket.st_ino &&
               found.st_dev == control->socket.st_dev && chmod(name, mode) == 0;
    close(descriptor);
    return set;
}

/* Whom the socket lets in must also come through its directory. */
static void warn_of_directory(const struct control *control)
{
    struct stat directory;
    AUTO_FREE char *path = strdup(control->path);
    const char *name = path == NULL ? NULL : dirname(path);
    if (name != NULL && stat(name, &directory) == 0 && (directory.st_mode & 0011) == 0)
        message(MESSAGE_WARNING,
                "control: %s is closed to those whom [control] lets in: have the socket elsewhere, by `control = "
                "/run/coffer/NAME.sock` in [server]", name);
}

/* As the conf has it now. What fails is tried again: until then the mode is the narrower one, or peers are refused. */
static void mode_settle(struct control *control)
{
    mode_t wanted = roles_let_in(&control->roles) ? MODE_OTHERS : MODE_OWNER;
    if (wanted == control->mode || !mode_set(control, wanted))
        return;
    control->mode = wanted;
    if (wanted == MODE_OTHERS)
        warn_of_directory(control);
}

static void accept_run(void *argument)
{
    struct control *control = argument;
    struct pollfd waits[] = {{.fd = control->wake, .events = POLLIN}, {.fd = control->listener, .events = POLLIN}};
    while (!atomic_load(&control->stopping)) {
        int ready = poll(waits, COUNT_OF(waits), LOOK_SECONDS * 1000);
        mode_settle(control);
        if (ready > 0 && waits[1].revents != 0 && waits[0].revents == 0)
            accept_one(control);
    }
}

/* ---- the socket ---------------------------------------------------------------------------------------------- */

/*
 * The address of `path`. A path longer than an address holds is reached through a descriptor of its directory, which
 * the caller closes (-1: none).
 */
static enum error address_make(const char *path, struct sockaddr_un *address, int *directory)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *directory = -1;
    if (strlen(path) < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, strlen(path));
        return ERROR_NONE;
    }
    AUTO_FREE char *parent = strdup(path);
    const char *slash = strrchr(path, '/');
    if (parent == NULL)
        return ERROR_NO_MEMORY;
    int opened = slash == NULL ? -1 : open(dirname(parent), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return error_from_errno(slash == NULL ? ENAMETOOLONG : errno, "open the directory of %s", path);
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", opened, slash + 1);
    if (length >= (int)sizeof(address->sun_path)) {
        close(opened);
        return error_explain(ERROR_INVALID, "the name of the socket %s is too long", path);
    }
    *directory = opened;
    return ERROR_NONE;
}

/* Makes way at `path`: nothing there, or a socket on which nobody listens any more. */
static enum error make_way(const char *path, const struct sockaddr_un *address)
{
    struct stat found;
    if (lstat(path, &found) != 0)
        return errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "look at %s", path);
    if (!S_ISSOCK(found.st_mode))
        return error_explain(ERROR_EXISTS, "%s is in the way of the control socket and is no socket: move it", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return error_from_errno(errno, "make a socket");
    bool refused = connect(probe, (const struct sockaddr *)address, sizeof(*address)) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!refused)
        return error_explain(ERROR_BUSY, "another cofferd answers at %s", path);
    if (unlink(path) != 0)
        return error_from_errno(errno, "remove the dead socket %s", path);
    return ERROR_NONE;
}

static enum error bind_and_listen(struct control *control, const struct sockaddr_un *address)
{
    TRY(make_way(control->path, address));
    int number = owner_bind(control->listener, (const struct sockaddr *)address, sizeof(*address), control->path);
    if (number != 0)
        return error_from_errno(number, "make the control socket %s", control->path);
    bool found = lstat(control->path, &control->socket) == 0;
    control->mode = MODE_OWNER;
    if (!found || listen(control->listener, CONTROL_CONNECTIONS_MAX) != 0) {
        number = errno;
        unlink(control->path);
        return error_from_errno(number, "listen at %s", control->path);
    }
    return ERROR_NONE;
}

static enum error socket_open(struct control *control)
{
    struct sockaddr_un address;
    int directory;
    control->wake = eventfd(0, EFD_CLOEXEC);
    control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->wake < 0 || control->listener < 0)
        return error_from_errno(errno, "make a socket");
    TRY(address_make(control->path, &address, &directory));
    enum error error = bind_and_listen(control, &address);
    if (directory >= 0)
        close(directory);
    return error;
}

static void socket_remove(struct control *control)
{
    struct stat found;
    if (lstat(control->path, &found) == 0 && found.st_ino == control->socket.st_ino &&
        found.st_dev == control->socket.st_dev)
        unlink(control->path);
}

/* ---- starting and stopping ----------------------------------------------------------------------------------- */

static enum error identity_read(struct control *control)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof(*status));
    if (status == NULL)
        return ERROR_NO_MEMORY;
    TRY(pool_status(control->methods.pool, status));
    control->pool_uuid = status->uuid;
    return ERROR_NONE;
}

static void control_free(struct control *control)
{
    if (control->listener >= 0)
        close(control->listener);
    if (control->wake >= 0)
        close(control->wake);
    mutex_deinit(&control->lock);
    mutex_deinit(&control->methods.trash);
    roles_deinit(&control->roles);
    free(control->path);
    free(control);
}

static struct control *control_make(struct pool *pool, const char *path)
{
    struct control *control = memory_zeroed(1, sizeof(*control));
    char *kept = strdup(path);
    if (control == NULL || kept == NULL) {
        free(control);
        free(kept);
        return NULL;
    }
    control->path = kept;
    control->listener = control->wake = -1;
    control->methods.pool = pool;
    mutex_init(&control->methods.trash, RANK_CONTROL);
    roles_init(&control->roles, pool_directory(pool));
    mutex_init(&control->lock, RANK_CONTROL);
    return control;
}

enum error control_start(struct pool *pool, const char *path, struct control **control)
{
    struct control *made = control_make(pool, path);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    enum error error = identity_read(made);
    registry_prepare();
    if (error == ERROR_NONE)
        error = socket_open(made);
    if (error == ERROR_NONE)
        mode_settle(made);
    if (error != ERROR_NONE) {
        control_free(made);
        return error;
    }
    error = thread_start(&made->acceptor, "control-accept", accept_run, made);
    if (error != ERROR_NONE) {
        socket_remove(made);
        control_free(made);
        return error;
    }
    registry_add(made->pool_uuid, path);
    *control = made;
    return ERROR_NONE;
}

/* Wakes the readers; an answer on its way still goes out, to who takes it. */
static void connections_shut(struct control *control)
{
    mutex_lock(&control->lock);
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        if (control->connections[i].state == CONNECTION_RUNNING)
            shutdown(control->connections[i].descriptor, SHUT_RD);
    }
    mutex_unlock(&control->lock);
}

/* The acceptor is gone, so slots only go from running to finished, and the threads may be joined without the lock. */
static void connections_join(struct control *control) NO_THREAD_SAFETY_ANALYSIS
{
    for (size_t i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        mutex_lock(&control->lock);
        bool used = control->connections[i].state != CONNECTION_FREE;
        mutex_unlock(&control->lock);
        if (used)
            thread_join(&control->connections[i].thread);
    }
}

void control_stop(struct control *control)
{
    if (control == NULL)
        return;
    const uint64_t one = 1;
    registry_remove(control->pool_uuid);
    atomic_store(&control->stopping, true);
    if (write(control->wake, &one, sizeof(one)) != sizeof(one))
        message(MESSAGE_ERROR, "control: cannot wake the accepting thread: %m");
    thread_join(&control->acceptor);
    socket_remove(control);
    connections_shut(control);
    connections_join(control);
    control_free(control);
}
