/*
 * Finding the pool, its daemon and its addresses.
 *
 * The conf is read for two keys only and leniently: the daemon judges it, and a command that cannot read it (another
 * user's) still finds the sockets by their default names. The list of running pools is the directory that
 * server/registry.c keeps; a link counts only if somebody answers behind it. Nothing is written.
 */
#include "tools/place.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "tools/client.h"

#define CONF_NAME "coffer.conf"

/* ---- the conf ------------------------------------------------------------------------------------------------ */

struct conf_search {
    const char *section, *name;
    const char *prefer; /* of several values, one that begins so */
    char *value;
};

static int take_line(void *context, const char *section, const char *name, const char *value)
{
    struct conf_search *search = context;
    if (value == NULL || strcmp(section, search->section) != 0 || strcmp(name, search->name) != 0)
        return 1;
    if (search->value != NULL && strncmp(value, search->prefer, strlen(search->prefer)) != 0)
        return 1;
    free(search->value);
    search->value = strdup(value);
    return 1;
}

/* malloc'ed, or NULL. */
static char *conf_value(const char *directory, const char *section, const char *name, const char *prefer)
{
    AUTO_FREE char *path = file_join(directory, CONF_NAME);
    struct conf_search search = {.section = section, .name = name, .prefer = prefer};
    if (path != NULL && ini_parse(path, take_line, &search) < 0) {
        free(search.value);
        return NULL;
    }
    return search.value;
}

static char *join(const char *directory, const char *path)
{
    return path[0] == '/' ? strdup(path) : file_join(directory, path);
}

/* ---- the running pools --------------------------------------------------------------------------------------- */

static char *registry_directory(void)
{
    const char *named = getenv("COFFER_RUN");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (named != NULL && named[0] == '/')
        return strdup(named);
    if (geteuid() == 0)
        return strdup("/run/coffer");
    return runtime == NULL || runtime[0] != '/' ? NULL : file_join(runtime, "coffer");
}

static bool is_entry(const char *name)
{
    static const char suffix[] = ".pool";
    size_t length = strlen(name), suffix_length = sizeof(suffix) - 1;
    return length > suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

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

static void running_find(struct running *running)
{
    AUTO_FREE char *path = registry_directory();
    DIR *directory = path == NULL ? NULL : opendir(path);
    struct dirent *entry;
    *running = (struct running){.count = 0};
    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL && running->count < COUNT_OF(running->sockets)) {
        char *found = is_entry(entry->d_name) ? living_socket(path, entry->d_name) : NULL;
        if (found != NULL)
            running->sockets[running->count++] = found;
    }
    closedir(directory);
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
    AUTO_FREE char *conf = directory == NULL ? NULL : file_join(directory, CONF_NAME);
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

static enum error take_directory(struct place *place, const char *directory)
{
    AUTO_FREE char *configured = conf_value(directory, "server", "control", "");
    const char *control = configured == NULL ? "control.sock" : configured;
    if (strncmp(control, "unix:", 5) == 0)
        control += 5;
    place->directory = strdup(directory);
    place->control = join(directory, control);
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

void place_deinit(struct place *place)
{
    free(place->directory);
    free(place->control);
    *place = (struct place){0};
}

enum error place_directory(const struct tool *tool, const char *given, const char **directory)
{
    const char *name = given == NULL ? named_place(tool) : given;
    if (name == NULL || name[0] == '\0')
        return error_explain(ERROR_INVALID, "say which pool directory");
    *directory = name;
    return ERROR_NONE;
}

static char *absolute(const char *directory, const char *path)
{
    if (path[0] == '/')
        return strdup(path);
    AUTO_FREE char *base = realpath(directory, NULL);
    return file_join(base == NULL ? directory : base, path);
}

enum error place_nbd(const struct place *place, char **address)
{
    if (place->directory == NULL)
        return error_explain(ERROR_INVALID,
                             "the pool directory of %s is unknown: say where NBD is served with "
                             "--nbd unix:PATH or --nbd tcp:HOST:PORT",
                             place->control);
    AUTO_FREE char *configured = conf_value(place->directory, "server", "nbd", "unix:");
    if (configured != NULL && strncmp(configured, "tcp:", 4) == 0) {
        *address = strdup(configured);
        return *address == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    }
    const char *name = configured == NULL ? "nbd.sock" : configured;
    AUTO_FREE char *path = absolute(place->directory, strncmp(name, "unix:", 5) == 0 ? name + 5 : name);
    char *made = NULL;
    if (path == NULL || asprintf(&made, "unix:%s", path) < 0)
        return ERROR_NO_MEMORY;
    *address = made;
    return ERROR_NONE;
}

static enum error explain_absent(const struct place *place)
{
    struct stat found;
    const char *directory = place->directory;
    if (directory == NULL)
        return error_explain(ERROR_NOT_FOUND, "no cofferd answers at %s", place->control);
    if (stat(directory, &found) != 0)
        return error_explain(ERROR_NOT_FOUND, "there is no %s: `coffer create %s` makes a pool there", directory,
                             directory);
    AUTO_FREE char *conf = file_join(directory, CONF_NAME);
    if (conf != NULL && access(conf, F_OK) != 0 && errno == ENOENT)
        return error_explain(ERROR_NOT_FOUND, "%s is no pool directory: it has no " CONF_NAME, directory);
    return error_explain(ERROR_NOT_FOUND, "no daemon serves %s: start it with `cofferd %s`", directory, directory);
}

enum error place_explain(const struct place *place, int number)
{
    if (number == ENOENT || number == ECONNREFUSED || number == ENOTDIR)
        return explain_absent(place);
    if (number == EACCES || number == EPERM)
        return error_explain(ERROR_ACCESS,
                             "no permission to use %s: be root or the user that runs cofferd (sudo coffer …)",
                             place->control);
    return error_from_errno(number, "connect to %s", place->control);
}
