/*
 * TLS over a socket that does not block, with poll(2) up to a deadline.
 *
 * A server counts as the right one when its certificate leads to the conf's CA and names the host that the conf names
 * (subjectAltName; the common name does not count). Suites of TLS 1.2 are those with a key of their own for each
 * connection and authenticated encryption: what is fetched here opens disks for years, so who records a connection must not
 * read it with the server's key later. Renegotiation, compression and session tickets are off.
 *
 * OpenSSL's buffers hold what was decrypted; they are in the arena and wiped when freed, at the end of each connection.
 * The private key is read by file_read_private() into memory that is wiped, and never asks for a password. No locks but that of a
 * look-up, between two threads.
 */
#include "crypto/kmip/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/thread.h"
#include "crypto/kmip/ttlv.h"
#include "crypto/openssl_error.h"

#define PEM_SIZE_MAX    (256u << 10)
#define LOOKUPS_MAX     64 /* of names at once: some rounds of all servers, where the resolver is silent */
#define STEPS_TOGETHER  4 /* time limits that a connection may use up in all */
#define ABANDON_LOOK    200 /* milliseconds after which a wait looks whether the process ends */
#define SUITES          "ECDHE+AESGCM:ECDHE+CHACHA20"

struct kmip_tls {
    SSL_CTX *context;
};

struct kmip_link {
    SSL *ssl;
    int socket;
    uint64_t timeout;  /* nanoseconds, of a step */
    uint64_t deadline; /* of the step that runs */
    uint64_t end;      /* of the whole connection */
};

/* ---- addresses ---------------------------------------------------------------------------------------------------- */

static bool port_is_valid(const char *port)
{
    size_t length = strlen(port);
    return length > 0 && length <= 5 && strspn(port, "0123456789") == length && strtoul(port, NULL, 10) >= 1 &&
           strtoul(port, NULL, 10) <= 65535;
}

enum error kmip_server_parse(const char *text, struct kmip_server *server)
{
    struct kmip_server found = {.port = KMIP_PORT};
    bool bracket = text[0] == '[';
    const char *host = bracket ? text + 1 : text, *end = bracket ? strchr(text, ']') : strchrnul(text, ':');
    if (end == NULL || end == host || (size_t)(end - host) > KMIP_HOST_MAX)
        return error_explain(ERROR_INVALID, "\"%.64s\" is no server: write HOST, HOST:PORT or [IPV6]:PORT", text);
    memcpy(found.host, host, (size_t)(end - host));
    const char *rest = bracket ? end + 1 : end;
    bool valid = rest[0] == '\0' || (rest[0] == ':' && port_is_valid(rest + 1));
    for (const char *c = found.host; *c != '\0'; c++)
        valid = valid && *c > ' ' && *c < 0x7f && strchr("/,;\"'[]", *c) == NULL;
    if (!valid)
        return error_explain(ERROR_INVALID, "\"%.64s\" is no server: write HOST, HOST:PORT or [IPV6]:PORT", text);
    if (rest[0] == ':')
        memcpy(found.port, rest + 1, strlen(rest + 1) + 1);
    *server = found;
    return ERROR_NONE;
}

/* ---- certificates ------------------------------------------------------------------------------------------------- */

static enum error file_fault(const char *path, const char *what)
{
    char reason[OPENSSL_REASON_SIZE];
    openssl_reason(reason);
    return error_explain(ERROR_INVALID, "%s: %s: %s", path, what, reason);
}

/* Says what stands against the file itself, which OpenSSL does not. */
static enum error file_look(const char *path)
{
    void *text;
    size_t size;
    TRY(file_read(path, PEM_SIZE_MAX, &text, &size));
    free(text);
    return ERROR_NONE;
}

static int no_password(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static enum error key_take(SSL_CTX *context, const char *path)
{
    void *text;
    size_t size;
    TRY(file_read_private(path, PEM_SIZE_MAX, &text, &size));
    BIO *bio = BIO_new_mem_buf(text, (int)size);
    EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    enum error error = ERROR_NONE;
    if (key == NULL)
        error = file_fault(path, "is no private key in PEM, or one with a password");
    else if (SSL_CTX_use_PrivateKey(context, key) != 1)
        error = file_fault(path, "is not the key of the certificate");
    EVP_PKEY_free(key);
    BIO_free(bio);
    memory_free_cleansed(text);
    return error;
}

static enum error context_fill(SSL_CTX *context, const char *ca, const char *certificate, const char *key)
{
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* else records without data keep a read from its deadline */
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, SUITES) != 1)
        return error_from_openssl("set up TLS");
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    TRY(file_look(ca));
    if (SSL_CTX_load_verify_file(context, ca) != 1)
        return file_fault(ca, "holds no certificates in PEM");
    TRY(file_look(certificate));
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return file_fault(certificate, "is no certificate in PEM");
    TRY(key_take(context, key));
    if (SSL_CTX_check_private_key(context) != 1)
        return file_fault(key, "is not the key of the certificate");
    return ERROR_NONE;
}

enum error kmip_tls_create(const char *ca, const char *certificate, const char *key, struct kmip_tls **tls)
{
    struct kmip_tls *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->context = SSL_CTX_new(TLS_client_method());
    enum error error = made->context == NULL ? error_from_openssl("set up TLS")
                                             : context_fill(made->context, ca, certificate, key);
    if (error != ERROR_NONE) {
        kmip_tls_destroy(made);
        return error;
    }
    *tls = made;
    return ERROR_NONE;
}

void kmip_tls_destroy(struct kmip_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

static void step_begin(struct kmip_link *link)
{
    link->deadline = MIN(clock_monotonic() + link->timeout, link->end);
}

static atomic_bool abandoned;

void kmip_links_abandon(void)
{
    atomic_store(&abandoned, true);
}

bool kmip_links_are_abandoned(void)
{
    return atomic_load(&abandoned);
}

/* False when the time of the step is over, or the process ends. */
static bool wait_for(const struct kmip_link *link, short events)
{
    for (;;) {
        uint64_t now = clock_monotonic();
        if (now >= link->deadline || atomic_load(&abandoned))
            return false;
        struct pollfd set = {.fd = link->socket, .events = events};
        uint64_t left = (link->deadline - now + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND;
        int ready = poll(&set, 1, (int)MIN(left, (uint64_t)ABANDON_LOOK));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* A write to a connection that was closed raises SIGPIPE, which a command keeps for its output. */
struct pipe_guard {
    sigset_t before;
    bool pending;
};

static struct pipe_guard pipe_guard_begin(void)
{
    struct pipe_guard guard;
    sigset_t pipe, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    guard.pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &guard.before);
    return guard;
}

static void pipe_guard_end(const struct pipe_guard *guard)
{
    static const struct timespec none;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (!guard->pending)
        while (sigtimedwait(&pipe, NULL, &none) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

/* ---- connecting --------------------------------------------------------------------------------------------------- */

static enum error socket_fault(int number)
{
    return error_explain(ERROR_KEY_ABSENT, "cannot connect: %s", strerror(number));
}

static enum error socket_connect(struct kmip_link *link, const struct addrinfo *address)
{
    int one = 1, number = 0;
    socklen_t size = sizeof(number);
    link->socket = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (link->socket < 0)
        return socket_fault(errno);
    setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    step_begin(link);
    if (connect(link->socket, address->ai_addr, address->ai_addrlen) == 0)
        return ERROR_NONE;
    if (errno != EINPROGRESS)
        return socket_fault(errno);
    if (!wait_for(link, POLLOUT))
        return socket_fault(ETIMEDOUT);
    if (getsockopt(link->socket, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
        return socket_fault(errno);
    return number == 0 ? ERROR_NONE : socket_fault(number);
}

/* A name that is looked up by a thread of its own, since the resolver has limits of its own, which are longer, and cannot be called
 * off. Whoever of the two is the last to leave frees it. */
struct lookup {
    struct kmip_server server;
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition found;
    int failed;
    struct addrinfo *list;
    bool done, left;
};
static atomic_uint lookups; /* that run */

static void lookup_free(struct lookup *lookup)
{
    if (lookup->list != NULL)
        freeaddrinfo(lookup->list);
    mutex_deinit(&lookup->lock);
    condition_deinit(&lookup->found);
    free(lookup);
}

static int name_find(const struct kmip_server *server, int flags, struct addrinfo **list)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    *list = NULL;
    return getaddrinfo(server->host, server->port, &hints, list);
}

static void lookup_run(void *argument)
{
    struct lookup *lookup = argument;
    struct addrinfo *list;
    int failed = name_find(&lookup->server, 0, &list);
    mutex_lock(&lookup->lock);
    lookup->failed = failed;
    lookup->list = failed == 0 ? list : NULL;
    lookup->done = true;
    bool left = lookup->left;
    condition_broadcast(&lookup->found);
    mutex_unlock(&lookup->lock);
    atomic_fetch_sub(&lookups, 1);
    if (left)
        lookup_free(lookup);
}

/* False where its time is over, or the process ends. */
static bool lookup_wait(struct lookup *lookup, uint64_t deadline, int *failed, struct addrinfo **list)
{
    mutex_lock(&lookup->lock);
    while (!lookup->done && clock_monotonic() < deadline && !atomic_load(&abandoned))
        condition_wait_until(&lookup->found, &lookup->lock,
                             MIN(deadline, clock_monotonic() + ABANDON_LOOK * CLOCK_MILLISECOND));
    bool done = lookup->done;
    lookup->left = !done;
    *failed = lookup->failed;
    *list = lookup->list;
    lookup->list = done ? NULL : lookup->list;
    mutex_unlock(&lookup->lock);
    if (done)
        lookup_free(lookup);
    return done;
}

enum error kmip_server_find(const struct kmip_server *server, uint64_t deadline, struct addrinfo **list)
{
    int failed;
    if (name_find(server, AI_NUMERICHOST, list) == 0)
        return ERROR_NONE;
    struct lookup *lookup = atomic_fetch_add(&lookups, 1) < LOOKUPS_MAX ? memory_zeroed(1, sizeof *lookup) : NULL;
    if (lookup == NULL) {
        atomic_fetch_sub(&lookups, 1);
        return error_explain(ERROR_KEY_ABSENT, "its name is not looked up: the resolver did not answer for others yet");
    }
    lookup->server = *server;
    mutex_init(&lookup->lock, RANK_LEAF);
    condition_init(&lookup->found);
    if (thread_start_detached("kmip-name", lookup_run, lookup)) {
        atomic_fetch_sub(&lookups, 1);
        lookup_free(lookup);
        return ERROR_NO_MEMORY;
    }
    if (!lookup_wait(lookup, deadline, &failed, list))
        return error_explain(ERROR_KEY_ABSENT, "its name is not known: the resolver did not answer in time");
    return failed == 0 ? ERROR_NONE : error_explain(ERROR_KEY_ABSENT, "its name is not known: %s", gai_strerror(failed));
}

static enum error server_connect(struct kmip_link *link, const struct kmip_server *server)
{
    struct addrinfo *list;
    step_begin(link);
    TRY(kmip_server_find(server, link->deadline, &list));
    enum error error = ERROR_KEY_ABSENT;
    for (const struct addrinfo *address = list; address != NULL && error != ERROR_NONE; address = address->ai_next) {
        error = socket_connect(link, address);
        if (error != ERROR_NONE && link->socket >= 0) {
            close(link->socket);
            link->socket = -1;
        }
    }
    freeaddrinfo(list);
    return error;
}

/* The host that the certificate must name. */
static bool host_expect(SSL *ssl, const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* What a step of TLS that failed means; ERROR_NONE: it goes on. */
static enum error step_fault(struct kmip_link *link, int result, const char *doing)
{
    char reason[OPENSSL_REASON_SIZE];
    int number = errno;
    switch (SSL_get_error(link->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        if (wait_for(link, POLLIN))
            return ERROR_NONE;
        return error_explain(ERROR_KEY_ABSENT, "%s: no answer in time", doing);
    case SSL_ERROR_WANT_WRITE:
        if (wait_for(link, POLLOUT))
            return ERROR_NONE;
        return error_explain(ERROR_KEY_ABSENT, "%s: nothing is taken in time", doing);
    case SSL_ERROR_ZERO_RETURN:
        return error_explain(ERROR_KEY_ABSENT, "%s: the server closed the connection", doing);
    case SSL_ERROR_SYSCALL:
        openssl_reason(reason);
        return error_explain(ERROR_KEY_ABSENT, "%s: %s", doing, number == 0 ? "the server closed the connection"
                                                                            : strerror(number));
    default:
        break;
    }
    long verified = SSL_get_verify_result(link->ssl);
    if (openssl_reason_is(ERR_LIB_SSL, SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        openssl_reason(reason);
        return error_explain(ERROR_KEY_ABSENT, "%s: the server closed the connection", doing);
    }
    openssl_reason(reason);
    if (verified != X509_V_OK)
        return error_explain(ERROR_ACCESS, "%s: the server's certificate is refused: %s", doing,
                             X509_verify_cert_error_string(verified));
    return error_explain(ERROR_ACCESS, "%s: %s", doing, reason);
}

static enum error handshake(struct kmip_link *link)
{
    step_begin(link);
    for (;;) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_connect(link->ssl);
        if (result == 1)
            return ERROR_NONE;
        TRY(step_fault(link, result, "TLS"));
    }
}

static enum error link_start(struct kmip_link *link, struct kmip_tls *tls, const struct kmip_server *server)
{
    if (atomic_load(&abandoned))
        return error_explain(ERROR_KEY_ABSENT, "not asked: the process ends");
    TRY(server_connect(link, server));
    link->ssl = SSL_new(tls->context);
    if (link->ssl == NULL || SSL_set_fd(link->ssl, link->socket) != 1 || !host_expect(link->ssl, server->host))
        return error_from_openssl("set up TLS");
    return handshake(link);
}

enum error kmip_link_open(struct kmip_tls *tls, const struct kmip_server *server, unsigned timeout,
                          struct kmip_link **link)
{
    struct kmip_link *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->socket = -1;
    made->timeout = timeout * CLOCK_MILLISECOND;
    made->end = clock_monotonic() + STEPS_TOGETHER * made->timeout;
    struct pipe_guard guard = pipe_guard_begin();
    enum error error = link_start(made, tls, server);
    pipe_guard_end(&guard);
    if (error != ERROR_NONE) {
        kmip_link_close(made);
        return error;
    }
    *link = made;
    return ERROR_NONE;
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

static enum error bytes_send(struct kmip_link *link, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ERR_clear_error();
        errno = 0;
        int sent = SSL_write(link->ssl, bytes, (int)size);
        if (sent <= 0) {
            TRY(step_fault(link, sent, "sending"));
            continue;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return ERROR_NONE;
}

static enum error bytes_receive(struct kmip_link *link, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ERR_clear_error();
        errno = 0;
        int got = SSL_read(link->ssl, bytes, (int)size);
        if (got <= 0) {
            TRY(step_fault(link, got, "waiting for the answer"));
            continue;
        }
        if (clock_monotonic() >= link->deadline) /* bytes that trickle in never let it wait */
            return error_explain(ERROR_KEY_ABSENT, "waiting for the answer: it did not come whole in time");
        bytes += got;
        size -= (size_t)got;
    }
    return ERROR_NONE;
}

static enum error message_exchange(struct kmip_link *link, const void *request, size_t size, uint8_t *answer,
                                   size_t *answer_size)
{
    size_t whole;
    step_begin(link);
    TRY(bytes_send(link, request, size));
    TRY(bytes_receive(link, answer, TTLV_HEADER_SIZE));
    TRY(ttlv_message_size(answer, &whole));
    TRY(bytes_receive(link, answer + TTLV_HEADER_SIZE, whole - TTLV_HEADER_SIZE));
    *answer_size = whole;
    return ERROR_NONE;
}

enum error kmip_link_exchange(struct kmip_link *link, const void *request, size_t size, uint8_t *answer,
                              size_t *answer_size)
{
    struct pipe_guard guard = pipe_guard_begin();
    enum error error = message_exchange(link, request, size, answer, answer_size);
    pipe_guard_end(&guard);
    return error;
}

void kmip_link_close(struct kmip_link *link)
{
    if (link == NULL)
        return;
    struct pipe_guard guard = pipe_guard_begin();
    if (link->ssl != NULL && SSL_is_init_finished(link->ssl))
        SSL_shutdown(link->ssl); /* says good-bye, and waits for nothing */
    SSL_free(link->ssl);
    ERR_clear_error();
    if (link->socket >= 0)
        close(link->socket);
    pipe_guard_end(&guard);
    free(link);
}
