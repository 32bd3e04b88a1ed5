/*
 * `coffer restore`: a pool directory, made again of a backup of it.
 *
 * Files are written one by one, whole, coffer.conf last, since a directory without it is no pool; nothing is overwritten: what
 * lies there already must be the same to the byte, so that what a crash left half done can be done again. What fails takes back
 * what was made. All is written by the open directory, and below it by no link, so that no exchange of names hands a key to
 * another account; what lies there already is the caller's alone. No witness is made: which needs the disks and the key, and the word that they are the newest, and is the
 * next open's (`cofferd --accept-rollback`). Disks are looked at where they are there, by the ids in their superblocks.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "engine/pool/conf.h"
#include "engine/pool/superblock_copy.h"
#include "engine/pool/witness.h"
#include "tools/backup.h"
#include "tools/backup_gather.h"
#include "tools/command.h"
#include "tools/lost_directory.h"
#include "tools/offline_audit.h"
#include "tools/text.h"

struct restoration {
    struct tool *tool;
    const char *directory;
    struct bundle *bundle;
    struct pool_conf *conf;
    int opened; /* the directory; -1: not yet */
    bool made_directory;
    bool made[BUNDLE_ITEMS_MAX]; /* files that were not there */
};

/* ---- before anything is written ------------------------------------------------------------------------------------ */

static enum error conf_take(struct restoration *restoration, const char *path)
{
    const struct bundle_item *item = bundle_find(restoration->bundle, BUNDLE_FILE, POOL_CONF_NAME);
    if (item == NULL)
        return error_explain(ERROR_CORRUPT, "%s holds no " POOL_CONF_NAME, path);
    TRY(pool_conf_parse(restoration->directory, (const char *)item->data, &restoration->conf));
    return uuid_equal(restoration->conf->pool, restoration->bundle->pool)
               ? ERROR_NONE
               : error_explain(ERROR_CORRUPT, "%s: its " POOL_CONF_NAME " is of another pool than itself", path);
}

static enum error not_lost_check(const struct restoration *restoration)
{
    static const char *const names[] = {POOL_CONF_NAME, WITNESS_NAME};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        AUTO_FREE char *path = file_join(restoration->directory, names[i]);
        if (path == NULL)
            return ERROR_NO_MEMORY;
        if (access(path, F_OK) == 0)
            return error_explain(ERROR_EXISTS, "%s has a %s: it is not lost, and nothing is overwritten. Name a new directory",
                                 restoration->directory, names[i]);
    }
    return ERROR_NONE;
}

/* What is there must be this pool's; what is not there, or cannot be read, may come later. */
static enum error disk_check(const struct restoration *restoration, const struct pool_conf_device *device)
{
    struct superblock_copy copy;
    if (superblock_copy_read(device->path, &copy) != ERROR_NONE) {
        error_forget();
        return ERROR_NONE;
    }
    free(copy.bytes);
    if (!uuid_equal(copy.pool, restoration->bundle->pool))
        return error_explain(ERROR_FOREIGN, "%s, which the backup names as a disk, belongs to another pool: was it put in the "
                                            "place of the pool's?", device->path);
    return ERROR_NONE;
}

static enum error disks_check(const struct restoration *restoration)
{
    for (size_t g = 0; g < restoration->conf->group_count; g++)
        for (size_t i = 0; i < restoration->conf->groups[g].device_count; i++)
            TRY(disk_check(restoration, &restoration->conf->groups[g].devices[i]));
    return ERROR_NONE;
}

/* A disk, or what the backup will put there, and then compare. */
static bool may_lie_there(const void *context, const struct stat *entry, const char *name)
{
    const struct restoration *restoration = context;
    size_t size = strlen(name);
    for (size_t g = 0; g < restoration->conf->group_count; g++)
        for (size_t i = 0; i < restoration->conf->groups[g].device_count; i++)
            if (file_is_at(entry, restoration->conf->groups[g].devices[i].path))
                return true;
    for (size_t i = 0; i < restoration->bundle->count; i++) {
        const struct bundle_item *item = &restoration->bundle->items[i];
        if (item->kind == BUNDLE_FILE && strncmp(item->name, name, size) == 0 &&
            (item->name[size] == '\0' || item->name[size] == '/'))
            return true;
    }
    return false;
}

static struct lost_directory lost_directory_of(const struct restoration *restoration)
{
    return (struct lost_directory){restoration->directory, may_lie_there, restoration, "the disks"};
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

/* Into the directory `word` of the open one, which it closes. */
static enum error step_down(int *at, const char *word, const char *path)
{
    struct stat status;
    int next = -1, failed = 0;
    if (mkdirat(*at, word, 0700) != 0 && errno != EEXIST)
        failed = errno;
    else if (fsync(*at) != 0)
        failed = errno;
    else if ((next = openat(*at, word, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 || fstat(next, &status) != 0)
        failed = errno;
    close(*at);
    *at = next;
    if (failed == ENOTDIR || failed == ELOOP)
        return error_explain(ERROR_EXISTS, "%s is no directory: move it away", path);
    return failed != 0 ? error_from_errno(failed, "make the directory %s", path) : lost_directory_owner_check(&status, path);
}

/* The directories above a file that lies deeper. *parent is the caller's, also where this fails; -1: none. */
static enum error parents_make(const struct restoration *restoration, const char *name, int *parent, const char **last)
{
    *parent = openat(restoration->opened, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *last = name;
    if (*parent < 0)
        return error_from_errno(errno, "open the directory %s", restoration->directory);
    for (const char *slash; (slash = strchr(*last, '/')) != NULL; *last = slash + 1) {
        AUTO_FREE char *word = strndup(*last, (size_t)(slash - *last)), *above = strndup(name, (size_t)(slash - name));
        AUTO_FREE char *path = above == NULL ? NULL : file_join(restoration->directory, above);
        if (word == NULL || path == NULL)
            return ERROR_NO_MEMORY;
        TRY(step_down(parent, word, path));
    }
    return ERROR_NONE;
}

static enum error same_check(int parent, const char *name, const char *path, const struct bundle_item *item)
{
    void *data;
    size_t size;
    struct stat status;
    TRY(file_read_below(parent, name, path, BUNDLE_BYTES_MAX, &status, &data, &size));
    bool same = size == item->size && memcmp(data, item->data, size) == 0;
    memory_free_cleansed(data);
    if (!same)
        return error_explain(ERROR_EXISTS, "%s is there and holds something else than the backup: nothing is overwritten, move it "
                                           "away or name a new directory", path);
    if (status.st_nlink != 1)
        return error_explain(ERROR_EXISTS, "%s is there and has another name besides (%ju links): move it away or name a new "
                                           "directory", path, (uintmax_t)status.st_nlink);
    return lost_directory_owner_check(&status, path);
}

static enum error item_make(struct restoration *restoration, size_t i)
{
    const struct bundle_item *item = &restoration->bundle->items[i];
    AUTO_FREE char *path = file_join(restoration->directory, item->name);
    int parent;
    const char *last;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = parents_make(restoration, item->name, &parent, &last);
    if (error == ERROR_NONE) {
        error = file_create_in(parent, last, path, item->data, item->size);
        restoration->made[i] = error == ERROR_NONE;
        if (error == ERROR_EXISTS)
            error = same_check(parent, last, path, item);
    }
    if (parent >= 0)
        close(parent);
    return error;
}

static bool is_conf(const struct bundle_item *item)
{
    return strcmp(item->name, POOL_CONF_NAME) == 0;
}

static enum error all_make(struct restoration *restoration)
{
    struct lost_directory lost = lost_directory_of(restoration);
    TRY(lost_directory_make(&lost, &restoration->made_directory, &restoration->opened));
    for (int conf = 0; conf < 2; conf++)
        for (size_t i = 0; i < restoration->bundle->count; i++)
            if (restoration->bundle->items[i].kind == BUNDLE_FILE && is_conf(&restoration->bundle->items[i]) == conf)
                TRY(item_make(restoration, i));
    return lost_directory_name_check(&lost, restoration->opened);
}

static void item_take_back(const struct restoration *restoration, const char *name)
{
    int parent;
    const char *last;
    if (file_parent_open(restoration->opened, name, name, &parent, &last) != ERROR_NONE) {
        error_forget();
        return;
    }
    unlinkat(parent, last, 0);
    close(parent);
}

/* Directories below that were made for certificates may stay. */
static enum error take_back(const struct restoration *restoration, enum error error)
{
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    for (size_t i = 0; i < restoration->bundle->count; i++)
        if (restoration->made[i])
            item_take_back(restoration, restoration->bundle->items[i].name);
    struct lost_directory lost = lost_directory_of(restoration);
    if (restoration->made_directory)
        lost_directory_remove(&lost, restoration->opened);
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static enum error restore(struct restoration *restoration, const struct arguments *arguments)
{
    const char *path = arguments->positional[0];
    struct lost_directory lost = lost_directory_of(restoration);
    TRY(not_lost_check(restoration));
    TRY(backup_read(arguments, path, &restoration->bundle));
    TRY(conf_take(restoration, path));
    TRY(lost_directory_check(&lost));
    TRY(disks_check(restoration));
    enum error error = all_make(restoration);
    return error == ERROR_NONE ? ERROR_NONE : take_back(restoration, error);
}

/* What the backup told to lie elsewhere: it was not in it, and is needed. */
static const struct bundle_item *absent_find(const struct bundle *bundle, const char *path)
{
    for (size_t i = 0; i < bundle->count; i++)
        if (bundle->items[i].kind == BUNDLE_ABSENT && strcmp((const char *)bundle->items[i].data, path) == 0)
            return &bundle->items[i];
    return NULL;
}

static void missing_add(json_t *missing, const char *path)
{
    if (path != NULL && access(path, F_OK) != 0)
        json_array_append_new(missing, json_string(path));
}

/* What coffer.conf names and is not there. */
static json_t *missing_list(const struct restoration *restoration)
{
    const struct pool_conf *conf = restoration->conf;
    json_t *missing = json_array();
    for (size_t i = 0; i < conf->provider_count; i++) {
        const struct provider_config *provider = &conf->providers[i];
        const char *const paths[] = {provider->path, provider->ca, provider->certificate, provider->key};
        for (size_t f = 0; f < COUNT_OF(paths); f++)
            missing_add(missing, paths[f]);
    }
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t i = 0; i < conf->groups[g].device_count; i++)
            missing_add(missing, conf->groups[g].devices[i].path);
    return missing;
}

static void missing_tell(const struct restoration *restoration, const char *path)
{
    const struct bundle_item *absent = absent_find(restoration->bundle, path);
    FILE *out = restoration->tool->out;
    char shown[2 * PATH_MAX];
    text_name(path, shown, sizeof shown);
    if (absent == NULL)
        fprintf(out, "coffer.conf names %s, which is not there: put it there, or change the line.\n", shown);
    else
        fprintf(out, "Not in the backup and not there: the %s. It lay elsewhere: put it at %s before cofferd starts.\n", absent->name,
                shown);
}

/* What is there was perhaps never lost; whether it is the right one the next start finds out. */
static void lacking_tell(const struct restoration *restoration, const struct bundle_item *item)
{
    char shown[2 * PATH_MAX];
    if (item->kind == BUNDLE_ABSENT && backup_is_of_record(item))
        fprintf(restoration->tool->out, "Not in the backup: the %s. `coffer key audit` says for ever that it is missing, and from which "
                                        "entry on the rest is whole.\n", item->name);
    else if (item->kind == BUNDLE_ABSENT && access((const char *)item->data, F_OK) == 0)
        fprintf(restoration->tool->out, "Not in the backup: the %s. What lies at %s is taken.\n", item->name,
                text_name((const char *)item->data, shown, sizeof shown));
}

static void tell_people(const struct restoration *restoration, const json_t *missing)
{
    FILE *out = restoration->tool->out;
    AUTO_FREE char *word = shell_path(restoration->directory);
    size_t files = 0;
    for (size_t i = 0; i < restoration->bundle->count; i++)
        files += restoration->bundle->items[i].kind == BUNDLE_FILE;
    fprintf(out, "Made %s again, of %zu file%s.\n", restoration->directory, files, files == 1 ? "" : "s");
    for (size_t i = 0; i < json_array_size(missing); i++)
        missing_tell(restoration, json_string_value(json_array_get(missing, i)));
    for (size_t i = 0; i < restoration->bundle->count; i++)
        lacking_tell(restoration, &restoration->bundle->items[i]);
    fputs("The witness is in no backup. It alone could tell whether the disks are the newest or were put back to an older day: make\n"
          "sure that they are, and say so once. Of the audit what came after the backup is missing, and `coffer key audit` says so.\n",
          out);
    fprintf(out, "\nType next\n  cofferd %s --accept-rollback\n", word == NULL ? "DIR" : word);
}

static enum error tell(const struct restoration *restoration, const char *path)
{
    json_t *missing = missing_list(restoration), *json;
    if (!restoration->tool->json) {
        tell_people(restoration, missing);
        json_decref(missing);
        return ERROR_NONE;
    }
    json = backup_json(restoration->bundle, path);
    if (json != NULL) {
        json_object_set_new(json, "directory", json_string(restoration->directory));
        json_object_set(json, "missing", missing);
    }
    json_decref(missing);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(restoration->tool, json);
    json_decref(json);
    return error;
}

static enum error run_restore(struct tool *tool, const struct arguments *arguments)
{
    struct restoration *restoration = memory_zeroed(1, sizeof *restoration);
    if (restoration == NULL)
        return ERROR_NO_MEMORY;
    restoration->tool = tool;
    restoration->opened = -1;
    restoration->directory = arguments->positional[1];
    enum error error = restore(restoration, arguments);
    if (error == ERROR_NONE) {
        offline_audit_in(tool, restoration->opened, restoration->conf, NULL, "pool.restore", "the pool directory", ERROR_NONE);
        error = tell(restoration, arguments->positional[0]);
    }
    if (restoration->opened >= 0)
        close(restoration->opened);
    bundle_destroy(restoration->bundle);
    pool_conf_destroy(restoration->conf);
    free(restoration);
    return error;
}

static const struct option_row options[] = {
    {"passphrase-file", "FILE", "read the backup's passphrase from FILE (\"-\": standard input)", false},
    {NULL},
};

const struct command command_restore = {
    .noun = "restore",
    .arguments = "FILE DIR",
    .summary = "make a pool directory again from a backup of it",
    .text = "Writes what `coffer backup` kept in FILE to the pool directory DIR, which must not be there, or be yours and hold\n"
            "nothing but the disks. Nothing is overwritten, no key is needed, and disks are not written. A disk that lies where\n"
            "coffer.conf says must be of the same pool.\n"
            "The witness is not in a backup. Only it knew how new the disks are to be; so the first start needs\n"
            "`cofferd DIR --accept-rollback`, as after `coffer import`, which makes a directory from a backup of the key alone.\n"
            "What lay elsewhere, a key on a stick, is not in it either, and is told: put it there before cofferd starts.\n"
            "Where the root key changed since the backup (`key rekey --new-root`, `key provider use` or `reseal`), its key files\n"
            "open nothing: use `coffer import` with a newer key backup.",
    .examples = "  coffer restore /media/stick/pool.backup /srv/pool\n"
                "  cofferd /srv/pool --accept-rollback\n",
    .positional_min = 2,
    .positional_max = 2,
    .options = options,
    .run = run_restore,
};
