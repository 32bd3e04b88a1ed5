/*
 * Finding the pool, its daemon and its addresses.
 *
 * Where NBD is served the daemon is asked: its command line or systemd may have told it. Else the conf is read, by the
 * code that the daemon reads it with, so both understand the same addresses. Where it cannot be read (another user's) or
 * is wrong, the sockets are looked for by their default names: the daemon judges it. In the list of running pools
 * (base/registry.h) a link counts only if somebody answers behind it. Nothing is written.
 */
#include "tools/place.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/registry.h"
#include "base/shell.h"
#include "engine/pool/conf.h"
#include "tools/client.h"

/* ---- the running pools --------------------------------------------------------------------------------------- */

/* The control socket behind a link, if somebody answers; NULL otherwise. */
static char *living_socket(const char *directory, const char *entry)
{
    AUTO_FREE char *link = file_join(directory, entry);
    AUTO_FREE char *target = link == NULL ? NULL : realpath(link, NULL);
    if (target == NULL || client_probe(target) != 0)
        return NULL;
    return strdup(target);
}

struct running {
    char *sockets[8];
    size_t count;
};

static void running_add(struct running *running, const char *path)
{
    DIR *directory = path == NULL ? NULL : opendir(path);
    struct dirent *entry;
    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL && running->count < COUNT_OF(running->sockets)) {
        char *found = registry_is_entry(entry->d_name) ? living_socket(path, entry->d_name) : NULL;
        if (found != NULL)
            running->sockets[running->count++] = found;
    }
    closedir(directory);
}

/* Those of this user, and of root's those that let this user in. */
static void running_find(struct running *running)
{
    AUTO_FREE char *own = registry_directory();
    AUTO_FREE char *of_root = registry_of_root();
    *running = (struct running){.count = 0};
    running_add(running, own);
    running_add(running, of_root);
}

static void running_deinit(struct running *running)
{
    for (size_t i = 0; i < running->count; i++)
        free(running->sockets[i]);
}

static enum error complain_several(const struct running *running)
{
    char list[700] = "";
    size_t length = 0;
    for (size_t i = 0; i < running->count && length < sizeof(list); i++)
        length +=
            (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", i == 0 ? "" : ", ", running->sockets[i]);
    return error_explain(ERROR_INVALID, "several pools run: choose one by -C (%s)", list);
}

/* ---- the place ----------------------------------------------------------------------------------------------- */

/* The directory of a control socket, if it looks like a pool directory; malloc'ed or NULL. */
static char *directory_of_socket(const char *socket_path)
{
    const char *slash = strrchr(socket_path, '/');
    AUTO_FREE char *directory = slash == NULL          ? strdup(".")
                                : slash == socket_path ? strdup("/")
                                                       : strndup(socket_path, (size_t)(slash - socket_path));
    AUTO_FREE char *conf = directory == NULL ? NULL : file_join(directory, POOL_CONF_NAME);
    if (conf == NULL || access(conf, F_OK) != 0)
        return NULL;
    return strdup(directory);
}

static enum error take_socket(struct place *place, const char *path)
{
    place->control = strdup(path);
    place->directory = directory_of_socket(path);
    return place->control == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

/* NULL where it cannot be read or is wrong. */
static struct pool_conf *conf_of(const char *directory)
{
    struct pool_conf *conf = NULL;
    if (pool_conf_read(directory, &conf) != ERROR_NONE)
        error_forget();
    return conf;
}

static enum error take_directory(struct place *place, const char *directory)
{
    struct pool_conf *conf = conf_of(directory);
    place->directory = strdup(directory);
    place->control = conf == NULL ? file_join(directory, "control.sock") : strdup(conf->control);
    pool_conf_destroy(conf);
    return place->directory == NULL || place->control == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error take_running(struct place *place)
{
    struct running running;
    enum error error;
    running_find(&running);
    if (running.count == 1)
        error = take_socket(place, running.sockets[0]);
    else if (running.count > 1)
        error = complain_several(&running);
    else
        error = error_explain(ERROR_NOT_FOUND, "no pool runs here as far as your user can see: start one with "
                                               "`cofferd DIR`, or name the pool directory with -C DIR or COFFER_POOL");
    running_deinit(&running);
    return error;
}

static const char *named_place(const struct tool *tool)
{
    const char *pool = getenv("COFFER_POOL");
    if (tool->directory != NULL)
        return tool->directory;
    return pool == NULL || pool[0] == '\0' ? NULL : pool;
}

enum error place_find(const struct tool *tool, struct place *place)
{
    struct place found = {0};
    struct stat named;
    const char *name = named_place(tool);
    enum error error;
    if (name == NULL)
        error = take_running(&found);
    else if (stat(name, &named) == 0 && S_ISSOCK(named.st_mode))
        error = take_socket(&found, name);
    else
        error = take_directory(&found, name);
    if (error != ERROR_NONE) {
        place_deinit(&found);
        return error;
    }
    *place = found;
    return ERROR_NONE;
}

enum error place_conf(const struct tool *tool, struct pool_conf **conf)
{
    struct place place;
    TRY(place_find(tool, &place));
    enum error error = place.directory == NULL ? error_explain(ERROR_NOT_FOUND, "the pool directory of %s is unknown: name it by "
                                                               "-C DIR", place.control)
                                               : pool_conf_read(place.directory, conf);
    place_deinit(&place);
    return error;
}

void place_deinit(struct place *place)
{
    free(place->directory);
    free(place->control);
    *place = (struct place){0};
}

static bool is_same(const char *one, const char *other)
{
    struct stat first, second;
    return strcmp(one, other) == 0 || (stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev &&
                                       first.st_ino == second.st_ino);
}

enum error place_directory(const struct tool *tool, const char *given, const char **directory)
{
    const char *name = given == NULL ? named_place(tool) : given;
    if (given != NULL && tool->directory != NULL && !is_same(given, tool->directory))
        return error_explain(ERROR_INVALID, "-C names the pool directory %s, and the command %s: say one of them", tool->directory,
                             given);
    if (name == NULL || name[0] == '\0')
        return error_explain(ERROR_INVALID, "say which pool directory: as an argument, by -C DIR or in COFFER_POOL");
    *directory = name;
    return ERROR_NONE;
}

/* Of several addresses a Unix socket, which is faster and for its owner only; else the first. */
static const char *nbd_better(const char *before, const char *address)
{
    bool is_local = strncmp(address, "unix:", 5) == 0;
    return before == NULL || (is_local && strncmp(before, "unix:", 5) != 0) ? address : before;
}

static const char *nbd_preferred(const struct pool_conf *conf)
{
    const char *preferred = NULL;
    for (size_t i = 0; i < conf->nbd_count; i++)
        preferred = nbd_better(preferred, conf->nbd[i]);
    return preferred;
}

/* Where the daemon says that it serves, which its command line and systemd may have told it; NULL where it says nothing. */
static char *nbd_of_daemon(struct tool *tool)
{
    const char *preferred = NULL, *address;
    json_t *status, *row;
    size_t i;
    if (client_ask(tool, "pool.status", NULL, &status) != ERROR_NONE) {
        error_forget();
        return NULL;
    }
    json_array_foreach(json_object_get(status, "nbd"), i, row)
    {
        if ((address = json_string_value(row)) != NULL)
            preferred = nbd_better(preferred, address);
    }
    char *found = preferred == NULL ? NULL : strdup(preferred);
    json_decref(status);
    return found;
}

/* What the conf of an absolute directory names, or the default; malloc'ed or NULL. */
static char *nbd_of(const char *directory)
{
    struct pool_conf *conf = conf_of(directory);
    char *address = NULL;
    if (conf != NULL)
        address = strdup(nbd_preferred(conf));
    else if (asprintf(&address, "unix:%s/nbd.sock", directory) < 0)
        address = NULL;
    pool_conf_destroy(conf);
    return address;
}

static enum error place_nbd(const struct place *place, char **address)
{
    if (place->directory == NULL)
        return error_explain(ERROR_INVALID,
                             "the pool directory of %s is unknown: say where NBD is served with "
                             "--nbd unix:PATH or --nbd tcp:HOST:PORT",
                             place->control);
    AUTO_FREE char *directory = realpath(place->directory, NULL);
    char *found = nbd_of(directory == NULL ? place->directory : directory);
    if (found == NULL)
        return ERROR_NO_MEMORY;
    *address = found;
    return ERROR_NONE;
}

static enum error explain_absent(const struct place *place)
{
    struct stat found;
    const char *directory = place->directory;
    if (directory == NULL)
        return error_explain(ERROR_NOT_FOUND, "no cofferd answers at %s", place->control);
    AUTO_FREE char *word = shell_quote(directory);
    if (word == NULL)
        return ERROR_NO_MEMORY;
    if (stat(directory, &found) != 0)
        return error_explain(ERROR_NOT_FOUND, "there is no %s: `coffer create %s --size 20G` makes a pool there",
                             directory, word);
    AUTO_FREE char *conf = file_join(directory, POOL_CONF_NAME);
    if (conf != NULL && access(conf, F_OK) != 0 && errno == ENOENT)
        return error_explain(ERROR_NOT_FOUND, "%s is no pool directory: it has no " POOL_CONF_NAME, directory);
    return error_explain(ERROR_NOT_FOUND, "no daemon serves %s: start it with `cofferd %s`", directory, word);
}

enum error place_explain(const struct place *place, int number)
{
    if (number == ENOENT || number == ECONNREFUSED || number == ENOTDIR)
        return explain_absent(place);
    if (number == EACCES || number == EPERM)
        return error_explain(ERROR_ACCESS,
                             "no permission to use %s: be root or the user that runs cofferd (sudo coffer …), or name the "
                             "socket that [control] of " POOL_CONF_NAME " opens to others (-C SOCKET)",
                             place->control);
    return error_from_errno(number, "connect to %s", place->control);
}

enum error place_nbd_told(struct tool *tool, const char *told, char **address)
{
    struct place place;
    char *found = told == NULL ? nbd_of_daemon(tool) : strdup(told);
    if (told != NULL && found == NULL)
        return ERROR_NO_MEMORY;
    if (found != NULL) {
        *address = found;
        return ERROR_NONE;
    }
    TRY(place_find(tool, &place));
    enum error error = place_nbd(&place, address);
    place_deinit(&place);
    return error;
}

/* ---- every pool that is known here ---------------------------------------------------------------------------- */

struct known {
    const char *registry;
    place_visit *visit;
    void *context;
    struct uuid named; /* of -C, visited before */
    bool is_named;
};

/* The conf beside a socket, if it is of the pool that the link says. */
static enum error running_conf(const char *socket_path, const char *entry, struct pool_conf **conf)
{
    AUTO_FREE char *directory = directory_of_socket(socket_path);
    struct pool_conf *read = directory == NULL ? NULL : conf_of(directory);
    if (read == NULL || !registry_is_entry_of(entry, read->pool)) {
        pool_conf_destroy(read);
        return error_explain(ERROR_BUSY, "a pool runs at %s, and its " POOL_CONF_NAME " cannot be read there: which devices it wants is "
                                         "not known; stop it, or name its directory by -C", socket_path);
    }
    *conf = read;
    return ERROR_NONE;
}

/* What does not answer for any reason but that nobody is there may run. */
static enum error entry_visit(const struct known *known, const char *entry)
{
    AUTO_FREE char *link = file_join(known->registry, entry);
    if (link == NULL)
        return ERROR_NO_MEMORY;
    AUTO_FREE char *target = realpath(link, NULL);
    int number = target == NULL ? errno : client_probe(target);
    if (number == ENOENT || number == ENOTDIR || number == ECONNREFUSED)
        return ERROR_NONE;
    struct pool_conf *conf;
    enum error error = running_conf(target == NULL ? link : target, entry, &conf);
    if (error == ERROR_BUSY && known->is_named && registry_is_entry_of(entry, known->named)) {
        error_forget(); /* its conf is elsewhere, and was visited */
        return ERROR_NONE;
    }
    TRY(error);
    known->visit(known->context, conf);
    pool_conf_destroy(conf);
    return ERROR_NONE;
}

static enum error running_visit(const struct known *known)
{
    DIR *directory = opendir(known->registry);
    struct dirent *entry;
    enum error error = ERROR_NONE;
    if (directory == NULL)
        return errno == ENOENT ? ERROR_NONE : error_from_errno(errno, "read the list of running pools in %s", known->registry);
    while (error == ERROR_NONE && (errno = 0, entry = readdir(directory)) != NULL)
        if (registry_is_entry(entry->d_name))
            error = entry_visit(known, entry->d_name);
    if (error == ERROR_NONE && errno != 0)
        error = error_from_errno(errno, "read the list of running pools in %s", known->registry);
    closedir(directory);
    return error;
}

enum error place_each_conf(const struct tool *tool, place_visit *visit, void *context)
{
    AUTO_FREE char *registry = registry_directory();
    struct known known = {.registry = registry, .visit = visit, .context = context};
    if (named_place(tool) != NULL) {
        struct pool_conf *conf;
        TRY(place_conf(tool, &conf));
        visit(context, conf);
        known.named = conf->pool;
        known.is_named = true;
        pool_conf_destroy(conf);
    }
    return registry == NULL ? ERROR_NONE : running_visit(&known);
}
