/*
 * The server: listeners, the thread that accepts, and the list of connections.
 *
 * A connection's first thread says when it is finished and is then joined by whoever comes by: the accepting thread,
 * which is woken for it, or nbd_stop(). Clients beyond the limit get a handshake all the same, in which every export is
 * refused with the reason; beyond that margin they are hung up on.
 *
 * `lock` (RANK_SERVER) guards the list and the listeners; it is held while a connection is started, never while one is
 * joined.
 */
#include "server/nbd/nbd.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "server/nbd/connection.h"
#include "server/nbd/listen.h"
#include "server/nbd/payload.h"

#define LISTENERS_MAX      16
#define REFUSALS_MAX       16                 /* handshakes beyond the limit, to say why */
#define STOP_GRACE         (5 * CLOCK_SECOND) /* for clients to take their last answers */
#define ACCEPT_RETRY_PAUSE (100 * CLOCK_MILLISECOND)
#define KEEPALIVE_IDLE     60 /* seconds of silence; a dead peer is found within two minutes */
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_PROBES   6
#define WAIT_SHARE         2 /* of the idle time: how long a request waits for memory … */
#define PATIENCE_SHARE     6 /* … and a client may be waited for while others go without, which is sooner */

static const char refusal[] = "the server has as many connections as it allows: close one first";

struct nbd_server {
    struct connection_terms terms;
    struct payload_pool payload;
    bool insecure;
    unsigned connections_max;
    int wake; /* eventfd: something changed for the accepting thread */
    int left; /* eventfd: a client has gone, for who waits for the last of them */
    struct thread acceptor;

    struct mutex lock;
    struct condition finished;
    struct connection *connections GUARDED_BY(lock);
    unsigned connection_count GUARDED_BY(lock); /* in the list, finished ones included */
    unsigned last_number GUARDED_BY(lock);
    struct listener listeners[LISTENERS_MAX] GUARDED_BY(lock);
    size_t listener_count GUARDED_BY(lock);
    bool stopping GUARDED_BY(lock);
};

static void event_tell(int event)
{
    uint64_t one = 1;
    (void)!write(event, &one, sizeof(one));
}

static void wake_acceptor(struct nbd_server *server) { event_tell(server->wake); }

/* ---- connections ----------------------------------------------------------------------------------------------- */

static void connection_finished(struct connection *connection, void *context)
{
    struct nbd_server *server = context;
    mutex_lock(&server->lock);
    connection->is_finished = true;
    condition_broadcast(&server->finished);
    mutex_unlock(&server->lock);
    event_tell(server->left);
    wake_acceptor(server);
}

/* Unlinks one finished connection; NULL: there is none. */
static struct connection *take_finished(struct nbd_server *server)
{
    mutex_lock(&server->lock);
    struct connection **link = &server->connections;
    while (*link && !(*link)->is_finished)
        link = &(*link)->next;
    struct connection *connection = *link;
    if (connection) {
        *link = connection->next;
        server->connection_count--;
    }
    mutex_unlock(&server->lock);
    return connection;
}

static void reap(struct nbd_server *server)
{
    for (struct connection *connection; (connection = take_finished(server));)
        connection_destroy(connection);
}

static enum error start_connection(struct nbd_server *server, int socket) REQUIRES(server->lock)
{
    struct connection *connection;
    if (server->connection_count >= server->connections_max + REFUSALS_MAX) {
        close(socket);
        return error_explain(ERROR_BUSY, "%u NBD connections are open: one more was hung up on",
                             server->connection_count);
    }
    const char *reason = server->connection_count >= server->connections_max ? refusal : NULL;
    TRY(connection_start(&server->terms, socket, ++server->last_number, reason, connection_finished, server,
                         &connection));
    connection->next = server->connections;
    server->connections = connection;
    server->connection_count++;
    return ERROR_NONE;
}

/*
 * Small replies must not wait for more; and a peer whose machine or network died without a word is asked whether it
 * lives, else its connection and volume would stay open for ever. On a Unix socket there are no such options, and no
 * such delay or death.
 */
static void tune(int socket)
{
    int on = 1, idle = KEEPALIVE_IDLE, interval = KEEPALIVE_INTERVAL, probes = KEEPALIVE_PROBES;
    (void)!setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)!setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)!setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    (void)!setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    (void)!setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

enum error nbd_adopt(struct nbd_server *server, int descriptor)
{
    tune(descriptor);
    reap(server);
    mutex_lock(&server->lock);
    enum error error = start_connection(server, descriptor);
    mutex_unlock(&server->lock);
    return error;
}

static bool is_connected(struct nbd_server *server) REQUIRES(server->lock)
{
    struct connection *connection = server->connections;
    while (connection && connection->is_finished)
        connection = connection->next;
    return connection;
}

size_t nbd_peers(struct nbd_server *server, struct nbd_peer *peers, size_t max)
{
    size_t count = 0;
    mutex_lock(&server->lock);
    for (const struct connection *connection = server->connections; connection && count < max; connection = connection->next)
        if (!connection->is_finished)
            nbd_peer_look(connection->socket, &peers[count++]);
    mutex_unlock(&server->lock);
    return count;
}

static bool is_anybody_connected(struct nbd_server *server)
{
    mutex_lock(&server->lock);
    bool connected = is_connected(server);
    mutex_unlock(&server->lock);
    return connected;
}

void nbd_wait(struct nbd_server *server, int interrupt)
{
    struct pollfd set[] = {{.fd = server->left, .events = POLLIN}, {.fd = interrupt, .events = POLLIN}};
    uint64_t count;
    while (is_anybody_connected(server)) {
        int ready = poll(set, COUNT_OF(set), -1);
        if (ready > 0 && set[1].revents)
            return;
        (void)!read(server->left, &count, sizeof(count));
    }
}

/* ---- accepting ------------------------------------------------------------------------------------------------- */

static void accept_one(struct nbd_server *server, int listening)
{
    int socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    if (socket < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            message(MESSAGE_ERROR, "accept an NBD client: %s", error_sentence(error_from_errno(errno, "accept")));
            clock_sleep(ACCEPT_RETRY_PAUSE);
        }
        return;
    }
    enum error error = nbd_adopt(server, socket);
    if (error != ERROR_NONE)
        message(MESSAGE_WARNING, "%s", error_sentence(error));
}

/* What to wait for; false when the server stops. */
static bool poll_set(struct nbd_server *server, struct pollfd set[LISTENERS_MAX + 1], nfds_t *count)
{
    mutex_lock(&server->lock);
    set[0] = (struct pollfd){.fd = server->wake, .events = POLLIN};
    *count = 1 + server->listener_count;
    for (size_t i = 0; i < server->listener_count; i++)
        set[i + 1] = (struct pollfd){.fd = server->listeners[i].socket, .events = POLLIN};
    bool goes_on = !server->stopping;
    mutex_unlock(&server->lock);
    return goes_on;
}

static void accept_run(void *argument)
{
    struct nbd_server *server = argument;
    struct pollfd set[LISTENERS_MAX + 1];
    nfds_t count;
    while (poll_set(server, set, &count)) {
        if (poll(set, count, -1) < 0)
            continue;
        uint64_t woken;
        if (set[0].revents)
            (void)!read(server->wake, &woken, sizeof(woken));
        reap(server);
        for (nfds_t i = 1; i < count; i++)
            if (set[i].revents)
                accept_one(server, set[i].fd);
    }
}

/* ---- listening ------------------------------------------------------------------------------------------------- */

static enum error add_listener(struct nbd_server *server, struct listener *listener)
{
    mutex_lock(&server->lock);
    bool fits = server->listener_count < LISTENERS_MAX;
    if (fits)
        server->listeners[server->listener_count++] = *listener;
    mutex_unlock(&server->lock);
    if (!fits) {
        listener_close(listener);
        return error_explain(ERROR_TOO_LARGE, "at most %d addresses can be listened at", LISTENERS_MAX);
    }
    wake_acceptor(server);
    return ERROR_NONE;
}

enum error nbd_listen(struct nbd_server *server, const char *address)
{
    struct listener listener;
    TRY(listener_open(address, server->insecure, &listener));
    return add_listener(server, &listener);
}

enum error nbd_listen_descriptor(struct nbd_server *server, int descriptor)
{
    struct listener listener;
    TRY(listener_adopt(descriptor, server->insecure, &listener));
    return add_listener(server, &listener);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static enum error server_run(struct nbd_server *server)
{
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->left = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake < 0 || server->left < 0)
        return error_from_errno(errno, "eventfd");
    return thread_start(&server->acceptor, "nbd-accept", accept_run, server);
}

static void server_free(struct nbd_server *server)
{
    if (server->wake >= 0)
        close(server->wake);
    if (server->left >= 0)
        close(server->left);
    payload_deinit(&server->payload);
    condition_deinit(&server->finished);
    mutex_deinit(&server->lock);
    free(server);
}

enum error nbd_start(struct pool *pool, const struct nbd_options *options, struct nbd_server **server)
{
    struct nbd_server *new = memory_zeroed(1, sizeof(*new));
    if (!new)
        return ERROR_NO_MEMORY;
    new->terms = (struct connection_terms){
        .pool = pool,
        .payload = &new->payload,
        .read_only = options->read_only,
        .handshake_nanoseconds =
            options->handshake_nanoseconds ? options->handshake_nanoseconds : NBD_HANDSHAKE_DEFAULT,
        .idle_nanoseconds = options->idle_nanoseconds ? options->idle_nanoseconds : NBD_IDLE_DEFAULT,
    };
    new->insecure = options->insecure;
    new->connections_max = options->connections_max ? options->connections_max : NBD_CONNECTIONS_DEFAULT;
    payload_init(&new->payload, options->payload_bytes_max ? options->payload_bytes_max : NBD_PAYLOAD_BYTES_DEFAULT,
                 new->terms.idle_nanoseconds / WAIT_SHARE, new->terms.idle_nanoseconds / PATIENCE_SHARE);
    mutex_init(&new->lock, RANK_SERVER);
    condition_init(&new->finished);
    enum error error = server_run(new);
    if (error != ERROR_NONE) {
        server_free(new);
        return error;
    }
    *server = new;
    return ERROR_NONE;
}

static void stop_accepting(struct nbd_server *server)
{
    mutex_lock(&server->lock);
    server->stopping = true;
    mutex_unlock(&server->lock);
    wake_acceptor(server);
    thread_join(&server->acceptor);
    mutex_lock(&server->lock);
    for (size_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    mutex_unlock(&server->lock);
}

static void end_connections(struct nbd_server *server)
{
    uint64_t deadline = clock_monotonic() + STOP_GRACE;
    mutex_lock(&server->lock);
    for (struct connection *connection = server->connections; connection; connection = connection->next)
        connection_end(connection);
    while (is_connected(server) && condition_wait_until(&server->finished, &server->lock, deadline))
        ;
    for (struct connection *connection = server->connections; connection; connection = connection->next)
        connection_break(connection);
    while (is_connected(server))
        condition_wait(&server->finished, &server->lock);
    mutex_unlock(&server->lock);
    reap(server);
}

void nbd_stop(struct nbd_server *server)
{
    stop_accepting(server);
    end_connections(server);
    server_free(server);
}
