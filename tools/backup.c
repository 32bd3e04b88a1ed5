/*
 * `coffer backup`: what a pool directory holds beside disks and witness, in one encrypted file; and what such a file holds.
 *
 * No key of the pool is needed, and no daemon is asked: keys are taken as they lie there, sealed or not, and are under the
 * backup's passphrase from then on. The file is written whole or not at all, read back from where it lies, and compared byte for
 * byte. The witness is never in it: one that comes back from a backup would call old disks new (ENGINE 8).
 */
#include "tools/backup.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "engine/pool/conf.h"
#include "tools/backup_gather.h"
#include "tools/command.h"
#include "tools/cycle.h"
#include "tools/offline_audit.h"
#include "tools/place.h"
#include "tools/table.h"
#include "tools/text.h"

/* ---- the file ------------------------------------------------------------------------------------------------------ */

static enum error file_open(const char *path, const struct stream_secret *secret, struct bundle **bundle)
{
    void *data;
    size_t size;
    TRY(file_read(path, BUNDLE_FILE_MAX, &data, &size));
    enum error error = bundle_decode(data, size, secret, bundle);
    free(data);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s", path);
}

static enum error secret_read(const struct arguments *arguments, const char *prompt, bool confirm, char **text,
                              struct stream_secret *secret)
{
    TRY(passphrase_read(argument_value(arguments, "passphrase-file", NULL), prompt, confirm, text, &secret->passphrase_size));
    secret->passphrase = *text;
    return ERROR_NONE;
}

enum error backup_read(const struct arguments *arguments, const char *path, struct bundle **bundle)
{
    struct stream_secret secret = {0};
    char *text;
    if (access(path, R_OK) != 0) /* before a person types a passphrase in vain */
        return error_from_errno(errno, "read %s", path);
    TRY(secret_read(arguments, "Passphrase of the backup: ", false, &text, &secret));
    enum error error = file_open(path, &secret, bundle);
    arena_free(text);
    return error;
}

/* ---- telling ------------------------------------------------------------------------------------------------------- */

static const char *kind_name(enum bundle_kind kind)
{
    return kind == BUNDLE_FILE ? "file" : kind == BUNDLE_SUPERBLOCK ? "superblock" : "absent";
}

json_t *backup_json(const struct bundle *bundle, const char *path)
{
    char pool[UUID_TEXT_SIZE];
    uuid_format(bundle->pool, pool);
    json_t *items = json_array(), *absent = json_array();
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_item *item = &bundle->items[i];
        if (item->kind == BUNDLE_ABSENT)
            json_array_append_new(absent, json_pack("{s:s, s:s}", "what", item->name, "path", (const char *)item->data));
        else
            json_array_append_new(items, json_pack("{s:s, s:s, s:I}", "kind", kind_name(item->kind), "name", item->name, "bytes",
                                                   (json_int_t)item->size));
    }
    return json_pack("{s:s, s:s, s:I, s:o, s:o}", "file", path, "pool", pool, "made", (json_int_t)bundle->made, "items", items,
                     "absent", absent);
}

static enum error items_print(FILE *out, const struct bundle *bundle)
{
    static const struct table_column columns[] = {{"HOLDS", TABLE_LEFT}, {"NAME", TABLE_LEFT}, {"SIZE", TABLE_RIGHT}};
    struct table *table = table_create(columns, COUNT_OF(columns));
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_item *item = &bundle->items[i];
        char name[2 * STREAM_NAME_SIZE], size[TEXT_SIZE];
        if (item->kind != BUNDLE_ABSENT)
            table_add(table, NULL, (const char *const[]){kind_name(item->kind), text_name(item->name, name, sizeof name),
                                                         text_size(item->size, size)});
    }
    enum error error = table_print(table, out);
    table_destroy(table);
    return error;
}

static void absent_print(FILE *out, const struct bundle *bundle)
{
    for (size_t i = 0; i < bundle->count; i++) {
        char path[2 * PATH_MAX];
        if (bundle->items[i].kind == BUNDLE_ABSENT && backup_is_of_record(&bundle->items[i]))
            fprintf(out, "Not in it: the %s: copy %s to another machine by itself.\n", bundle->items[i].name,
                    text_name((const char *)bundle->items[i].data, path, sizeof path));
        else if (bundle->items[i].kind == BUNDLE_ABSENT)
            fprintf(out, "Not in it: %s, %s. Keep that by itself.\n", bundle->items[i].name,
                    text_name((const char *)bundle->items[i].data, path, sizeof path));
    }
}

static enum error print_json(struct tool *tool, json_t *json)
{
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

/* ---- making -------------------------------------------------------------------------------------------------------- */

struct task {
    struct tool *tool;
    const struct arguments *arguments;
    const char *path;
    struct pool_conf *conf;
    struct bundle *bundle;
    struct stream_secret secret;
    char *text; /* of the secret, in the arena */
};

static enum error path_check(const char *path, const struct pool_conf *conf)
{
    if (strcmp(path, "-") == 0)
        return error_explain(ERROR_INVALID, "a backup is read back, so it goes to no pipe: name a file (./- for one of this name)");
    if (access(path, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists already: nothing is overwritten, name another file", path);
    return cycle_check(path, conf->directory);
}

static enum error read_back(const struct task *task)
{
    struct bundle *again;
    const char *what;
    TRY(file_open(task->path, &task->secret, &again));
    bool same = backup_is_same(task->bundle, again, &what) && uuid_equal(again->pool, task->bundle->pool);
    bundle_destroy(again);
    return same ? ERROR_NONE : error_explain(ERROR_CORRUPT, "what was read back of %s is not what was written", task->path);
}

static enum error store(const struct task *task)
{
    uint8_t *data;
    size_t size;
    TRY(bundle_encode(task->bundle, &task->secret, SCRYPT_LOG2_N_DEFAULT, &data, &size));
    enum error error = file_create_own(task->path, data, size);
    free(data);
    TRY(error);
    error = read_back(task);
    return error == ERROR_NONE ? ERROR_NONE : file_take_back(task->path, error);
}

static enum error make(struct task *task)
{
    TRY(place_conf(task->tool, &task->conf));
    TRY(path_check(task->path, task->conf));
    TRY(backup_gather(task->conf, &task->bundle));
    TRY(secret_read(task->arguments, "Passphrase for the backup: ", true, &task->text, &task->secret));
    return store(task);
}

static enum error tell_made(const struct task *task)
{
    FILE *out = task->tool->out;
    AUTO_FREE char *word = shell_quote(task->path);
    const char *name = word == NULL ? task->path : word;
    if (task->tool->json)
        return print_json(task->tool, backup_json(task->bundle, task->path));
    TRY(items_print(out, task->bundle));
    absent_print(out, task->bundle);
    fprintf(out, "\nAll that is in %s, and was read back. Not in it: what the disks hold, and the witness, which must never come\n"
                 "from a backup. Keep it away from the machine, and its passphrase elsewhere. Any change of keys, providers or devices\n"
                 "outdates it. To see whether it does, and to make the pool directory again:\n"
                 "  %s backup --verify %s\n  coffer restore %s DIR\n",
            task->path, tool_self(task->tool), name, name);
    return ERROR_NONE;
}

/* ---- verifying ----------------------------------------------------------------------------------------------------- */

/* The pool that -C or COFFER_POOL names; without either the backup is judged alone. */
static bool pool_is_named(const struct tool *tool)
{
    const char *pool = getenv("COFFER_POOL");
    return tool->directory != NULL || (pool != NULL && pool[0] != '\0');
}

static enum error foreign(const struct task *task)
{
    char of[UUID_TEXT_SIZE], wanted[UUID_TEXT_SIZE];
    uuid_format(task->bundle->pool, of);
    uuid_format(task->conf->pool, wanted);
    return error_explain(ERROR_FOREIGN, "%s is a backup of another pool: of %s, not of %s", task->path, of, wanted);
}

/* `what`: the name of an item; devices have their UUIDs in it, and people know their paths. malloc'ed. */
static char *difference_name(const struct pool_conf *conf, const char *what)
{
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t i = 0; i < conf->groups[g].device_count; i++) {
            char id[UUID_TEXT_SIZE], *name;
            uuid_format(conf->groups[g].devices[i].id, id);
            if (strstr(what, id) != NULL)
                return asprintf(&name, "the superblock of device %s", conf->groups[g].devices[i].path) < 0 ? NULL : name;
        }
    return strdup(what);
}

/* *differs: malloc'ed; NULL: nothing does. */
static enum error compare(struct task *task, struct bundle **now, char **differs)
{
    *differs = NULL;
    TRY(place_conf(task->tool, &task->conf));
    if (!uuid_equal(task->bundle->pool, task->conf->pool))
        return foreign(task);
    TRY(backup_gather(task->conf, now));
    const char *what;
    if (backup_is_current(task->bundle, *now, &what))
        return ERROR_NONE;
    *differs = difference_name(task->conf, what);
    return *differs == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error conf_check(const struct task *task)
{
    const struct bundle_item *item = bundle_find(task->bundle, BUNDLE_FILE, POOL_CONF_NAME);
    struct pool_conf *conf;
    if (item == NULL)
        return error_explain(ERROR_CORRUPT, "%s holds no " POOL_CONF_NAME, task->path);
    TRY(pool_conf_parse(".", (const char *)item->data, &conf));
    bool own = uuid_equal(conf->pool, task->bundle->pool);
    pool_conf_destroy(conf);
    return own ? ERROR_NONE : error_explain(ERROR_CORRUPT, "%s: its " POOL_CONF_NAME " is of another pool than itself", task->path);
}

static enum error tell_verified(const struct task *task, bool compared, const char *differs)
{
    FILE *out = task->tool->out;
    char made[TEXT_SIZE], name[2 * PATH_MAX];
    if (differs != NULL)
        task->tool->status = EXIT_FAILED;
    if (task->tool->json) {
        json_t *json = backup_json(task->bundle, task->path);
        if (json != NULL && compared)
            json_object_set_new(json, "outdated", json_boolean(differs != NULL));
        if (json != NULL && differs != NULL)
            json_object_set_new(json, "differs", json_string(differs));
        return print_json(task->tool, json);
    }
    TRY(items_print(out, task->bundle));
    absent_print(out, task->bundle);
    fprintf(out, "\n%s is whole, of %s.", task->path, text_time(task->bundle->made, made));
    if (differs != NULL)
        fprintf(out, " The pool is not as it was then: %s differs. Make a new backup.\n", text_name(differs, name, sizeof name));
    else
        fputs(compared ? " The pool is as it was then.\n" : " To compare it with a pool, name that by -C DIR.\n", out);
    return ERROR_NONE;
}

static enum error verify(struct task *task)
{
    bool compared = pool_is_named(task->tool);
    struct bundle *now = NULL;
    AUTO_FREE char *differs = NULL;
    TRY(backup_read(task->arguments, task->path, &task->bundle));
    TRY(conf_check(task));
    enum error error = compared ? compare(task, &now, &differs) : ERROR_NONE;
    if (error == ERROR_NONE)
        error = tell_verified(task, compared, differs);
    bundle_destroy(now);
    return error;
}

/* ---- the command --------------------------------------------------------------------------------------------------- */

static enum error run_backup(struct tool *tool, const struct arguments *arguments)
{
    struct task task = {.tool = tool, .arguments = arguments, .path = arguments->positional[0]};
    enum error error = argument_given(arguments, "verify") ? verify(&task) : make(&task);
    if (error == ERROR_NONE && !argument_given(arguments, "verify")) {
        offline_audit(tool, task.conf, NULL, "pool.backup", "the pool directory", ERROR_NONE);
        error = tell_made(&task);
    }
    bundle_destroy(task.bundle);
    pool_conf_destroy(task.conf);
    arena_free(task.text);
    return error;
}

static const struct option_row options[] = {
    {"passphrase-file", "FILE", "read the backup's passphrase from FILE (\"-\": standard input)", false},
    {"verify", NULL, "read a backup, and compare it with the pool that -C names", false},
    {NULL},
};

const struct command command_backup = {
    .noun = "backup",
    .arguments = "FILE",
    .summary = "keep the pool directory in an encrypted file",
    .text = "Makes FILE of what the pool directory holds: coffer.conf, key files as they lie there (sealed by a TPM, a\n"
            "passphrase, or not), certificates, recovery.json, deep-rekey, key-dates, key-ages, the audit, and of each device\n"
            "the superblock with its wrapped keys. All is encrypted under a passphrase (scrypt, AES-256-GCM). Not in it: what the\n"
            "disks hold; the witness; what lies elsewhere, a key on a stick, which is named; of an audit above 32 MiB the oldest\n"
            "entries, which is told. FILE must not exist, nor lie in the pool directory or on a disk that a pool serves. It is read\n"
            "back before it counts. No key is needed; the daemon may run and is not asked.\n"
            "Where the key is sealed in a TPM or kept by key servers this opens no disk without them: keep a `key backup` too.\n"
            "Of a key that lies in the directory unsealed, who has FILE and its passphrase has the pool's key.\n"
            "--verify reads FILE whole, and with -C says whether the pool changed since: then the status is 1.",
    .examples = "  coffer -C /srv/pool backup /media/stick/pool.backup\n"
                "  coffer -C /srv/pool backup --verify /media/stick/pool.backup\n"
                "  coffer restore /media/stick/pool.backup /srv/pool\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_backup,
};
