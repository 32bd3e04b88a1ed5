/*
 * Talking to cofferd.
 *
 * Before anything is said, the kernel tells who listens: a socket in a directory where others may write could be
 * anybody's, and a passphrase is about to go there. The daemon that is found is trusted, but its answers are checked
 * for their shape: it may be of another version. Lines with a passphrase are built in the arena by hand, so that no
 * library copies them. One thread, nothing kept on disk.
 */
#include "tools/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "tools/place.h"

#define ANSWER_STEP (64u << 10)

struct client {
    struct tool *tool;
    struct place place;
    int descriptor;
};

/* ---- connecting ---------------------------------------------------------------------------------------------- */

/* The address of a path of any length: a long one goes through a descriptor of its directory (-1: none). */
static int address_make(const char *path, struct sockaddr_un *address, int *directory)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *directory = -1;
    if (strlen(path) < sizeof(address->sun_path)) {
        memcpy(address->sun_path, path, strlen(path));
        return 0;
    }
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *parent = slash == NULL ? NULL : strndup(path, (size_t)(slash - path));
    int opened = parent == NULL ? -1 : open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return parent == NULL ? ENAMETOOLONG : errno;
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", opened, slash + 1);
    if (length >= (int)sizeof(address->sun_path)) {
        close(opened);
        return ENAMETOOLONG;
    }
    *directory = opened;
    return 0;
}

/* 0 and a connected socket, or errno. */
static int connect_to(const char *path, int *descriptor)
{
    struct sockaddr_un address;
    int directory;
    int number = address_make(path, &address, &directory);
    if (number != 0)
        return number;
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof(address)) != 0)
        number = errno;
    if (directory >= 0)
        close(directory);
    if (number != 0) {
        if (made >= 0)
            close(made);
        return number;
    }
    *descriptor = made;
    return 0;
}

int client_probe(const char *path)
{
    int descriptor;
    int number = connect_to(path, &descriptor);
    if (number == 0)
        close(descriptor);
    return number;
}

/* Whether `uid` owns the directory that the socket lies in. */
static bool owns_its_place(const char *socket_path, uint32_t uid)
{
    struct stat directory;
    const char *slash = strrchr(socket_path, '/');
    AUTO_FREE char *parent = slash == NULL ? strdup(".") : strndup(socket_path, (size_t)(slash - socket_path) + 1);
    return parent != NULL && stat(parent, &directory) == 0 && directory.st_uid == uid;
}

/* Whoever owns the pool directory; where that is not known, whoever owns that of the socket, but not to root: it would tell its
 * secrets to anybody who owns a directory to which a conf or a link leads. */
static bool is_owner(const struct place *place, uint32_t uid)
{
    struct stat directory;
    if (place->directory != NULL && stat(place->directory, &directory) == 0)
        return directory.st_uid == uid;
    return geteuid() != 0 && owns_its_place(place->control, uid);
}

/* Root, ourselves, and the owner may answer. */
static enum error server_check(const struct client *client)
{
    struct ucred server;
    socklen_t size = sizeof(server);
    const char *path = client->place.control;
    if (getsockopt(client->descriptor, SOL_SOCKET, SO_PEERCRED, &server, &size) != 0)
        return error_from_errno(errno, "ask who serves %s", path);
    if (server.uid == 0 || server.uid == geteuid())
        return ERROR_NONE;
    if (is_owner(&client->place, server.uid))
        return ERROR_NONE;
    return error_explain(ERROR_ACCESS,
                         "user %u serves %s, who is neither root, nor you, nor the owner of the pool directory: "
                         "nothing was sent%s",
                         (unsigned)server.uid, path, client->place.directory == NULL ? "; name that directory by -C DIR" : "");
}

enum error client_open(struct tool *tool, struct client **client)
{
    struct client *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->tool = tool;
    made->descriptor = -1;
    enum error error = place_find(tool, &made->place);
    int number = error == ERROR_NONE ? connect_to(made->place.control, &made->descriptor) : 0;
    if (number != 0)
        error = place_explain(&made->place, number);
    if (error == ERROR_NONE)
        error = server_check(made);
    if (error != ERROR_NONE) {
        client_close(made);
        return error;
    }
    *client = made;
    return ERROR_NONE;
}

void client_close(struct client *client)
{
    if (client == NULL)
        return;
    if (client->descriptor >= 0)
        close(client->descriptor);
    place_deinit(&client->place);
    free(client);
}

/* ---- one call ------------------------------------------------------------------------------------------------ */

static enum error broken(void)
{
    return error_explain(ERROR_PROTOCOL,
                         "cofferd gave no answer that this coffer understands: are both of one version?");
}

static enum error ended(void)
{
    return error_explain(ERROR_CLOSED, "cofferd closed the connection: it stopped, or see its messages");
}

/* A peer that refuses us answers before we asked and closes: its answer is read even where sending failed. */
static enum error send_line(struct client *client, const char *line, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(client->descriptor, line, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EPIPE && errno != ECONNRESET)
            return error_from_errno(errno, "send to cofferd");
        if (sent < 0)
            return ERROR_NONE;
        line += sent;
        size -= (size_t)sent;
    }
    return ERROR_NONE;
}

/* Waits for something to read, telling how long it takes from the second second on. */
static void wait_shown(struct client *client, const char *waiting)
{
    struct pollfd wait = {.fd = client->descriptor, .events = POLLIN};
    uint64_t start = clock_monotonic();
    bool shown = false;
    if (waiting == NULL || !tool_is_watched(client->tool))
        return;
    while (poll(&wait, 1, 1000) == 0) {
        unsigned seconds = (unsigned)((clock_monotonic() - start) / CLOCK_SECOND);
        fprintf(client->tool->err, "\r%s … %u s", waiting, seconds);
        fflush(client->tool->err);
        shown = true;
    }
    if (shown)
        fputs("\r\033[K", client->tool->err);
}

static enum error grow(char **line, size_t *room)
{
    char *more = realloc(*line, *room + ANSWER_STEP + *room / 2);
    if (more == NULL)
        return ERROR_NO_MEMORY;
    *line = more;
    *room += ANSWER_STEP + *room / 2;
    return ERROR_NONE;
}

static enum error receive_line(struct client *client, char **line, size_t *size)
{
    size_t room = 0, filled = 0;
    while (filled == 0 || (*line)[filled - 1] != '\n') {
        if (filled >= CLIENT_ANSWER_MAX)
            return broken();
        if (filled == room)
            TRY(grow(line, &room));
        ssize_t got = recv(client->descriptor, *line + filled, room - filled, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ended();
        filled += (size_t)got;
    }
    *size = filled;
    return ERROR_NONE;
}

static enum error error_by_name(const char *name)
{
    for (enum error error = ERROR_NONE + 1; error < ERROR_COUNT; error++) {
        if (name != NULL && strcmp(error_name(error), name) == 0)
            return error;
    }
    return ERROR_PROTOCOL;
}

enum error client_decode(const json_t *answer, json_t **result)
{
    json_t *failure = json_object_get(answer, "error"), *found = json_object_get(answer, "result");
    const char *sentence = json_string_value(json_object_get(failure, "message"));
    const char *name = json_string_value(json_object_get(json_object_get(failure, "data"), "name"));
    if (failure != NULL && sentence != NULL)
        return error_explain(error_by_name(name), "%s", sentence);
    if (failure != NULL || found == NULL)
        return broken();
    *result = found;
    return ERROR_NONE;
}

static enum error receive_answer(struct client *client, const char *waiting, json_t **result)
{
    AUTO_FREE char *line = NULL;
    size_t size = 0;
    json_t *found = NULL;
    wait_shown(client, waiting);
    TRY(receive_line(client, &line, &size));
    json_t *answer = json_loadb(line, size, 0, NULL);
    if (answer == NULL)
        return broken();
    enum error error = client_decode(answer, &found);
    if (error == ERROR_NONE)
        *result = json_incref(found);
    json_decref(answer);
    return error;
}

enum error client_call(struct client *client, const char *method, json_t *parameters, const char *waiting,
                       json_t **result)
{
    json_t *request =
        json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", 1, "method", method, "params", parameters);
    AUTO_FREE char *text = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
    AUTO_FREE char *line = NULL;
    json_decref(request);
    if (request == NULL) /* text from the command line that jansson does not take */
        return error_explain(ERROR_INVALID, "a name is not UTF-8");
    if (text == NULL || asprintf(&line, "%s\n", text) < 0)
        return ERROR_NO_MEMORY;
    TRY(send_line(client, line, strlen(line)));
    return receive_answer(client, waiting, result);
}

enum error client_ask(struct tool *tool, const char *method, json_t *parameters, json_t **result)
{
    struct client *client;
    enum error error = client_open(tool, &client);
    if (error != ERROR_NONE) {
        json_decref(parameters);
        return error;
    }
    error = client_call(client, method, parameters, "waiting for cofferd", result);
    client_close(client);
    return error;
}

/* ---- the passphrase ------------------------------------------------------------------------------------------ */

#define HEAD_SIZE   256
#define NAME_SIZE   64 /* with what stands around it */
#define SECRETS_MAX 2

static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{%s";

/* The line, in the arena. */
static char *line_end(char *line, size_t room, const char *method, const char *more, const struct client_secret *secrets,
                      size_t count)
{
    int used = snprintf(line, room, head, method, more == NULL ? "" : more);
    ASSERT(used > 0 && (size_t)used < room);
    char *end = line + used;
    for (size_t i = 0; i < count; i++) {
        used = snprintf(end, NAME_SIZE, "%s\"%s_hex\":\"", i > 0 || more != NULL ? "," : "", secrets[i].name);
        ASSERT(used > 0 && used < NAME_SIZE);
        hex_format(secrets[i].text, secrets[i].size, end + used);
        end += (size_t)used + 2 * secrets[i].size;
        *end++ = '"'; /* over the zero */
    }
    return mempcpy(end, "}}\n", 3);
}

enum error client_call_with_secrets(struct client *client, const char *method, const char *more,
                                    const struct client_secret *secrets, size_t count, const char *waiting, json_t **result)
{
    ASSERT(count <= SECRETS_MAX);
    for (size_t i = 0; i < count; i++)
        if (secrets[i].size > PASSPHRASE_MAX)
            return error_explain(ERROR_TOO_LARGE, "a passphrase may have at most %d bytes", PASSPHRASE_MAX);
    size_t room = HEAD_SIZE + (more == NULL ? 0 : strlen(more));
    char *line = arena_allocate(room + SECRETS_MAX * (NAME_SIZE + 2 * PASSPHRASE_MAX + 1) + sizeof("}}\n"));
    if (line == NULL)
        return ERROR_NO_MEMORY;
    char *end = line_end(line, room, method, more, secrets, count);
    enum error error = send_line(client, line, (size_t)(end - line));
    arena_free(line);
    return error != ERROR_NONE ? error : receive_answer(client, waiting, result);
}

enum error client_call_with_passphrase(struct client *client, const char *method, const char *more, const char *passphrase,
                                       size_t size, const char *waiting, json_t **result)
{
    const struct client_secret secret = {"passphrase", passphrase, size};
    return client_call_with_secrets(client, method, more, &secret, 1, waiting, result);
}
