/*
 * Listening sockets: Unix and TCP.
 *
 * A Unix socket gets its mode before it has a name, so that no moment is left in which others could connect; and it is
 * made and listens under another name before it is renamed to its own, so that whoever sees the file can connect.
 *
 * A socket file that a killed daemon left behind is found out by connecting to it: refused means that nobody listens,
 * and the file is replaced. Two daemons cannot do so at once for one pool: the pool's lock was taken before.
 *
 * Listening sockets do not block: a client may be gone again between the poll that announced it and the accept. No
 * state but the listeners, which belong to the server.
 */
#include "server/nbd/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/message.h"
#include "base/owner.h"

#define BACKLOG 64

/* ---- Unix ------------------------------------------------------------------------------------------------------ */

/* The name under which a socket is made, before it gets its own. */
#define BIRTH_SUFFIX "~"

static enum error unix_address(const char *path, const char *suffix, struct sockaddr_un *address)
{
    size_t length_max = sizeof(address->sun_path) - sizeof(BIRTH_SUFFIX);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] == '\0')
        return error_explain(ERROR_INVALID, "\"unix:\" needs a path");
    if (strlen(path) > length_max)
        return error_explain(ERROR_INVALID, "the path of a Unix socket has at most %zu bytes: \"%s\" has %zu",
                             length_max, path, strlen(path));
    snprintf(address->sun_path, sizeof(address->sun_path), "%s%s", path, suffix);
    return ERROR_NONE;
}

static int connect_result(const struct sockaddr_un *address)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return errno;
    int result = connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
    close(probe);
    return result;
}

/* May a socket stand at this address: is nothing there, or one at which nobody listens? */
static enum error check_free(const struct sockaddr_un *address)
{
    struct stat status;
    const char *path = address->sun_path;
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "look at %s", path);
    if (!S_ISSOCK(status.st_mode))
        return error_explain(ERROR_EXISTS, "%s exists and is no socket: it is left alone", path);
    int result = connect_result(address);
    if (result == 0 || result == EAGAIN)
        return error_explain(ERROR_IN_USE, "another server listens at %s", path);
    if (result != ECONNREFUSED)
        return error_from_errno(result, "see whether a server listens at %s", path);
    message(MESSAGE_INFO, "replacing %s, which a server left behind", path);
    return ERROR_NONE;
}

static enum error birth_bind(int socket, const struct sockaddr_un *birth)
{
    TRY(check_free(birth));
    if (unlink(birth->sun_path) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s", birth->sun_path);
    int number = owner_bind(socket, (const struct sockaddr *)birth, sizeof(*birth), birth->sun_path);
    if (number != 0)
        return error_from_errno(number, "make the socket %s", birth->sun_path);
    return ERROR_NONE;
}

/* Gives the listening socket its name, and notes whose file that is. */
static enum error birth_end(const struct sockaddr_un *birth, struct listener *listener)
{
    struct stat status;
    if (lstat(birth->sun_path, &status) != 0)
        return error_from_errno(errno, "look at %s", birth->sun_path);
    if (rename(birth->sun_path, listener->path) != 0)
        return error_from_errno(errno, "name the socket %s", listener->path);
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    listener->is_unix = true;
    return ERROR_NONE;
}

static enum error unix_listen(const struct sockaddr_un *birth, struct listener *listener)
{
    TRY(birth_bind(listener->socket, birth));
    enum error error = ERROR_NONE;
    if (listen(listener->socket, BACKLOG) != 0)
        error = error_from_errno(errno, "listen at %s", birth->sun_path);
    if (error == ERROR_NONE)
        error = birth_end(birth, listener);
    if (error != ERROR_NONE)
        unlink(birth->sun_path);
    return error;
}

static enum error unix_open(const char *path, struct listener *listener)
{
    struct sockaddr_un address, birth;
    TRY(unix_address(path, "", &address));
    TRY(unix_address(path, BIRTH_SUFFIX, &birth));
    TRY(check_free(&address));
    listener->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->socket < 0)
        return error_from_errno(errno, "make a socket");
    memcpy(listener->path, address.sun_path, sizeof(listener->path));
    enum error error = unix_listen(&birth, listener);
    if (error != ERROR_NONE)
        listener_close(listener);
    return error;
}

/* ---- TCP ------------------------------------------------------------------------------------------------------- */

/* "HOST:PORT" or "[HOST]:PORT", cut in place. */
static enum error host_port(char *text, const char **host, const char **port)
{
    char *colon = strrchr(text, ':');
    if (!colon || colon == text || colon[1] == '\0')
        return error_explain(ERROR_INVALID, "\"tcp:%s\" is not tcp:HOST:PORT", text);
    char *end;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || number > 65535)
        return error_explain(ERROR_INVALID, "\"%.16s\" is not a port up to 65535", colon + 1);
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    if (text[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        *host = text + 1;
    }
    return ERROR_NONE;
}

static enum error tcp_refused(void)
{
    return error_explain(ERROR_ACCESS, "TCP without TLS is refused, on loopback too: every user of the machine could "
                                       "read the disks; `insecure = yes` in [server] of coffer.conf allows it");
}

static enum error tcp_bind(const struct addrinfo *info, const char *text, struct listener *listener)
{
    int on = 1;
    listener->socket = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->socket < 0)
        return error_from_errno(errno, "make a socket");
    if (setsockopt(listener->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(listener->socket, info->ai_addr, info->ai_addrlen) == 0 && listen(listener->socket, BACKLOG) == 0)
        return ERROR_NONE;
    int number = errno;
    close(listener->socket);
    return error_from_errno(number, "listen at tcp:%s", text);
}

static enum error tcp_open(const char *text, bool insecure, struct listener *listener)
{
    if (!insecure)
        return tcp_refused();
    char copy[NI_MAXHOST + NI_MAXSERV];
    const char *host = NULL, *port = NULL;
    if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
        return error_explain(ERROR_INVALID, "the address tcp:%s is too long", text);
    TRY(host_port(copy, &host, &port));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *infos;
    int result = getaddrinfo(host, port, &hints, &infos);
    if (result != 0)
        return error_explain(ERROR_INVALID, "tcp:%s: %s", text, gai_strerror(result));
    enum error error = tcp_bind(infos, text, listener);
    freeaddrinfo(infos);
    if (error == ERROR_NONE)
        message(MESSAGE_WARNING, "tcp:%s is served without TLS: whoever reaches it reads and writes every disk", text);
    return error;
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

enum error listener_open(const char *address, bool insecure, struct listener *listener)
{
    *listener = (struct listener){.socket = -1};
    if (strncmp(address, "unix:", 5) == 0)
        return unix_open(address + 5, listener);
    if (strncmp(address, "tcp:", 4) == 0)
        return tcp_open(address + 4, insecure, listener);
    return error_explain(ERROR_INVALID, "\"%s\" is neither unix:PATH nor tcp:HOST:PORT", address);
}

enum error listener_adopt(int descriptor, bool insecure, struct listener *listener)
{
    int listens = 0, domain = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
        return error_explain(ERROR_INVALID, "descriptor %d is no socket that listens", descriptor);
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
        return error_from_errno(errno, "look at descriptor %d", descriptor);
    if (domain != AF_UNIX && !insecure)
        return tcp_refused();
    if (fcntl(descriptor, F_SETFL, O_NONBLOCK) != 0)
        return error_from_errno(errno, "set up descriptor %d", descriptor);
    *listener = (struct listener){.socket = descriptor};
    return ERROR_NONE;
}

void listener_close(struct listener *listener)
{
    struct stat status;
    if (listener->is_unix && lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode)
        unlink(listener->path);
    close(listener->socket);
}
