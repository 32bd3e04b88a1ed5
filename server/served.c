/*
 * The list of the addresses at which NBD is served. What is beyond its room is not told, and what cannot be written as an
 * address (a socket without a name) neither: who wants to connect has to be told in another way.
 */
#include "server/served.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

#define SERVED_MAX  32 /* twice what the conf may have, for systemd's sockets */
#define UNIX_PREFIX "unix:"

static char *addresses[SERVED_MAX];
static size_t address_count;

static enum error keep(char *address)
{
    if (address == NULL)
        return ERROR_NO_MEMORY;
    if (address_count < SERVED_MAX)
        addresses[address_count++] = address;
    else
        free(address);
    return ERROR_NONE;
}

static enum error note_path(const char *path)
{
    char *address = NULL;
    AUTO_FREE char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    AUTO_FREE char *absolute = here == NULL ? strdup(path) : file_join(here, path);
    if (absolute == NULL || asprintf(&address, UNIX_PREFIX "%s", absolute) < 0)
        return ERROR_NO_MEMORY;
    return keep(address);
}

enum error served_note(const char *address)
{
    if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return note_path(address + strlen(UNIX_PREFIX));
    return strncmp(address, "tcp:", 4) == 0 ? keep(strdup(address)) : ERROR_NONE;
}

static enum error note_host(const struct sockaddr *name, socklen_t size)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    char *address = NULL;
    bool long_one = name->sa_family == AF_INET6;
    if (getnameinfo(name, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return ERROR_NONE;
    if (asprintf(&address, "tcp:%s%s%s:%s", long_one ? "[" : "", host, long_one ? "]" : "", port) < 0)
        return ERROR_NO_MEMORY;
    return keep(address);
}

enum error served_note_socket(int descriptor)
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    } name;
    char path[sizeof(name.local.sun_path) + 1];
    socklen_t size = sizeof(name);
    if (getsockname(descriptor, &name.any, &size) != 0)
        return ERROR_NONE;
    if (name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6)
        return note_host(&name.any, size);
    if (name.any.sa_family != AF_UNIX || size <= offsetof(struct sockaddr_un, sun_path) || name.local.sun_path[0] == '\0')
        return ERROR_NONE;
    snprintf(path, sizeof(path), "%.*s", (int)(size - offsetof(struct sockaddr_un, sun_path)), name.local.sun_path);
    return note_path(path);
}

void served_forget(void)
{
    while (address_count > 0)
        free(addresses[--address_count]);
}

json_t *served_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < address_count; i++) {
        json_t *text = json_string(addresses[i]); /* NULL of a path that is not UTF-8: nobody could say it */
        if (text != NULL && json_array_append_new(list, text) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
