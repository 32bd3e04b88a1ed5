/*
 * URIs and command lines for NBD clients. Each client quotes in its own way: a URI by percent signs, qemu's options by
 * doubled commas, XML by entities, and all command lines by the shell's quotes; names of objects may hold any of these
 * characters. Pure functions.
 */
#include "tools/uri.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/shell.h"
#include "base/suggest.h"
#include "tools/text.h"

struct endpoint {
    bool local;
    char path[4096]; /* of a local one */
    char host[256];  /* without brackets */
    char port[16];
};

static enum error complain_address(const char *address)
{
    return error_explain(ERROR_INVALID, "'%s' is no address: write unix:PATH or tcp:HOST:PORT", address);
}

static bool port_is_good(const char *port)
{
    size_t length = strlen(port);
    return length >= 1 && length <= 5 && strspn(port, "0123456789") == length;
}

static enum error endpoint_parse(const char *address, struct endpoint *endpoint)
{
    if (strncmp(address, "unix:", 5) == 0) {
        if (address[5] == '\0' || strlen(address + 5) >= sizeof(endpoint->path))
            return complain_address(address);
        endpoint->local = true;
        snprintf(endpoint->path, sizeof(endpoint->path), "%s", address + 5);
        return ERROR_NONE;
    }
    const char *host = address + 4, *colon = strrchr(address, ':');
    if (strncmp(address, "tcp:", 4) != 0 || colon <= host || !port_is_good(colon + 1))
        return complain_address(address);
    size_t length = (size_t)(colon - host);
    if (host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof(endpoint->host))
        return complain_address(address);
    endpoint->local = false;
    snprintf(endpoint->host, sizeof(endpoint->host), "%.*s", (int)length, host);
    snprintf(endpoint->port, sizeof(endpoint->port), "%s", colon + 1);
    return ERROR_NONE;
}

/* Percent-encodes all but what RFC 3986 leaves unreserved and the bytes in `keep`; NULL when out of memory. */
static char *encode(const char *text, const char *keep)
{
    char *encoded = malloc(3 * strlen(text) + 1), *end = encoded;
    if (encoded == NULL)
        return NULL;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if ((byte < 128 && isalnum(byte)) || strchr("-._~", byte) != NULL || strchr(keep, byte) != NULL)
            *end++ = *text;
        else
            end += snprintf(end, 4, "%%%02X", byte);
    }
    *end = '\0';
    return encoded;
}

/* Writes each byte as itself, or as what `replace` makes of it; NULL when out of memory. */
static char *substitute(const char *text, const char *(*replace)(char byte))
{
    char *out = malloc(6 * strlen(text) + 1), *end = out;
    if (out == NULL)
        return NULL;
    for (; *text != '\0'; text++) {
        const char *other = replace(*text);
        if (other == NULL)
            *end++ = *text;
        else
            end = stpcpy(end, other);
    }
    *end = '\0';
    return out;
}

static const char *replace_comma(char byte)
{
    return byte == ',' ? ",," : NULL;
}

static const char *replace_markup(char byte)
{
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\'':
        return "&apos;";
    case '"':
        return "&quot;";
    default:
        return NULL;
    }
}

/* Takes asprintf's result as an error. */
static enum error made(int length)
{
    return length < 0 ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error make(const struct endpoint *endpoint, const char *name, char **uri)
{
    AUTO_FREE char *export = encode(name, "");
    AUTO_FREE char *path = endpoint->local ? encode(endpoint->path, "/") : NULL;
    if (export == NULL || (endpoint->local && path == NULL))
        return ERROR_NO_MEMORY;
    if (endpoint->local)
        return made(asprintf(uri, "nbd+unix:///%s?socket=%s", export, path));
    bool brackets = strchr(endpoint->host, ':') != NULL;
    return made(asprintf(uri, "nbd://%s%s%s:%s/%s", brackets ? "[" : "", endpoint->host, brackets ? "]" : "",
                         endpoint->port, export));
}

enum error uri_make(const char *address, const char *name, char **uri)
{
    AUTO_FREE struct endpoint *endpoint = memory_zeroed(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return ERROR_NO_MEMORY;
    TRY(endpoint_parse(address, endpoint));
    return make(endpoint, name, uri);
}

/* Snapshots are attached read-only; an object's own name has no '@'. */
static bool is_read_only(const char *name) { return strchr(name, '@') != NULL; }

static enum error for_qemu(const struct endpoint *endpoint, const char *name, uint64_t size, char **text)
{
    (void)size;
    AUTO_FREE char *export = substitute(name, replace_comma);
    AUTO_FREE char *path = substitute(endpoint->path, replace_comma);
    AUTO_FREE char *server = NULL;
    AUTO_FREE char *option = NULL;
    if (export == NULL || path == NULL)
        return ERROR_NO_MEMORY;
    if (endpoint->local)
        TRY(made(asprintf(&server, "server.type=unix,server.path=%s", path)));
    else
        TRY(made(asprintf(&server, "server.type=inet,server.host=%s,server.port=%s", endpoint->host, endpoint->port)));
    TRY(made(asprintf(&option, "driver=nbd,node-name=coffer0,%s,export=%s,%s", server, export,
                      is_read_only(name) ? "read-only=on" : "discard=unmap")));
    AUTO_FREE char *quoted = shell_quote(option);
    if (quoted == NULL)
        return ERROR_NO_MEMORY;
    return made(asprintf(
        text, "qemu-system-x86_64 -blockdev %s -device virtio-blk-pci,drive=coffer0 -m 2G -accel kvm\n", quoted));
}

static enum error for_libvirt(const struct endpoint *endpoint, const char *name, uint64_t size, char **text)
{
    (void)size;
    AUTO_FREE char *export = substitute(name, replace_markup);
    AUTO_FREE char *path = substitute(endpoint->path, replace_markup);
    AUTO_FREE char *host = substitute(endpoint->host, replace_markup);
    AUTO_FREE char *source = NULL;
    if (export == NULL || path == NULL || host == NULL)
        return ERROR_NO_MEMORY;
    if (endpoint->local)
        TRY(made(asprintf(&source, "<host transport='unix' socket='%s'/>", path)));
    else
        TRY(made(asprintf(&source, "<host name='%s' port='%s'/>", host, endpoint->port)));
    return made(asprintf(text,
                         "<disk type='network' device='disk'>\n"
                         "  <driver name='qemu' type='raw' cache='none' discard='unmap'/>\n"
                         "  <source protocol='nbd' name='%s'>\n"
                         "    %s\n"
                         "  </source>\n"
                         "  <target dev='vda' bus='virtio'/>\n"
                         "%s"
                         "</disk>\n",
                         export, source, is_read_only(name) ? "  <readonly/>\n" : ""));
}

/* One connection and no time: else the kernel sends again what takes longer, while the first is still under way. */
static enum error for_nbd_client(const struct endpoint *endpoint, const char *name, uint64_t size, char **text)
{
    (void)size;
    AUTO_FREE char *export = shell_quote(name);
    AUTO_FREE char *path = shell_quote(endpoint->path);
    AUTO_FREE char *host = shell_quote(endpoint->host);
    if (export == NULL || path == NULL || host == NULL)
        return ERROR_NO_MEMORY;
    return made(asprintf(text,
                         "modprobe nbd\n"
                         "nbd-client %s%s%s%s /dev/nbd0 -name %s -block-size 4096\n",
                         endpoint->local ? "-unix " : host, endpoint->local ? path : "", endpoint->local ? "" : " ",
                         endpoint->local ? "" : endpoint->port, export));
}

static enum error for_fio(const struct endpoint *endpoint, const char *name, uint64_t size, char **text)
{
    AUTO_FREE char *uri = NULL;
    TRY(make(endpoint, name, &uri));
    AUTO_FREE char *quoted = shell_quote(uri);
    if (quoted == NULL)
        return ERROR_NO_MEMORY;
    return made(asprintf(text,
                         "# reads only; --rw=randrw would overwrite what is on the disk\n"
                         "fio --name=coffer --ioengine=nbd --uri=%s --rw=randread --bs=4k --iodepth=32 --size=%llu "
                         "--time_based --runtime=10\n",
                         quoted, (unsigned long long)size));
}

static const struct {
    const char *name;
    enum error (*make)(const struct endpoint *endpoint, const char *name, uint64_t size, char **text);
} clients[] = {
    {"qemu", for_qemu},
    {"libvirt", for_libvirt},
    {"nbd-client", for_nbd_client},
    {"fio", for_fio},
};

static enum error complain_client(const char *client)
{
    const char *names[COUNT_OF(clients)];
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        names[i] = clients[i].name;
    const char *near = suggest(client, names, COUNT_OF(clients));
    if (near != NULL)
        return error_explain(ERROR_INVALID, "--for knows no '%s'; did you mean '%s'?", client, near);
    return error_explain(ERROR_INVALID, "--for knows no '%s': there are qemu, libvirt, nbd-client and fio", client);
}

enum error uri_for(const char *client, const char *address, const char *name, uint64_t size, char **text)
{
    AUTO_FREE struct endpoint *endpoint = memory_zeroed(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return ERROR_NO_MEMORY;
    TRY(endpoint_parse(address, endpoint));
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        if (strcmp(clients[i].name, client) == 0)
            return clients[i].make(endpoint, name, size, text);
    }
    return complain_client(client);
}
