/*
 * `coffer import`: a lost pool directory, made again from a backup of the key and the disks.
 *
 * From the backup come coffer.conf and the key; the disks, at the paths of the conf or found among those of --scan, must
 * be opened by that key before anything is written. Then the directory is made: key file, conf (last but the witness, since a directory
 * without it is no pool), and a new witness by an open that accepts what the disks say. That open is what
 * --accept-rollback is typed for: a witness that is lost cannot tell whether these disks are the newest. What fails takes
 * back what was made; the disks are written by that open only, as by any. All is written, and read again, by open directories that
 * were looked at, so that an exchange of names hands the key to nobody, and no other conf to that open.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message_alias.h"
#include "base/shell.h"
#include "crypto/arena.h"
#include "crypto/provider_key.h"
#include "crypto/provider_look.h"
#include "engine/pool/key_backup.h"
#include "engine/pool/key_dates.h"
#include "engine/pool/stable_path.h"
#include "engine/pool/witness.h"
#include "tools/command.h"
#include "tools/conf_edit.h"
#include "tools/key_backup.h"
#include "tools/lost_directory.h"

struct import {
    struct tool *tool;
    const struct arguments *arguments;
    const char *directory;
    struct key_backup *backup;
    char *text;                  /* of the conf that is to be written */
    struct pool_conf *conf;      /* the same, read */
    struct key_backup_proof proof;
    char *passphrase;            /* of the new key file; in the arena, or NULL */
    size_t passphrase_size;
    int opened;                  /* the directory; -1: not yet */
    int key_place;               /* the directory in which the key file was made; -1: none was */
    bool made_directory, made_conf; /* what is to go where it fails */
};

/* ---- the conf ----------------------------------------------------------------------------------------------------- */

static enum error conf_take(struct import *import, char *text)
{
    if (text == NULL)
        return ERROR_NO_MEMORY;
    free(import->text);
    pool_conf_destroy(import->conf);
    import->text = text;
    import->conf = NULL;
    return pool_conf_parse(import->directory, text, &import->conf);
}

/* Which device of the pool lies at `path`; ERROR_FOREIGN where it is none. */
static enum error device_identify(const struct import *import, const char *path, size_t *index)
{
    const struct pool_conf_group *group = &import->conf->groups[0];
    struct uuid found;
    enum error error = key_backup_identify(import->backup, path, &found);
    if (error != ERROR_NONE && error != ERROR_FOREIGN)
        return error_prefix(error, "%s", path);
    for (*index = 0; error == ERROR_NONE && *index < group->device_count; ++*index)
        if (uuid_equal(found, group->devices[*index].id))
            return ERROR_NONE;
    return error_explain(ERROR_FOREIGN, "%s is no device of the pool whose key this is", path);
}

static enum error paths_find(const struct import *import, const char *const *scan, size_t count, char **paths)
{
    const struct pool_conf_group *group = &import->conf->groups[0];
    for (size_t i = 0; i < count; i++) {
        size_t index;
        TRY(device_identify(import, scan[i], &index));
        if (paths[index] != NULL)
            return error_explain(ERROR_INVALID, "%s and %s are the same device of the pool: one is a copy, name one of them",
                                 paths[index], scan[i]);
        TRY(stable_path(scan[i], &paths[index]));
        if (!pool_conf_can_hold(paths[index]))
            return error_explain(ERROR_INVALID, "the path %s cannot stand in coffer.conf", paths[index]);
    }
    for (size_t i = 0; i < group->device_count; i++) {
        char id[UUID_TEXT_SIZE];
        uuid_format(group->devices[i].id, id);
        if (paths[i] == NULL)
            return error_explain(ERROR_NOT_FOUND, "device %zu of %zu (%s, at %s when the backup was made) is not among those of "
                                 "--scan: name all of them", i + 1, group->device_count, id, group->devices[i].path);
    }
    return ERROR_NONE;
}

/* What a program could not change says what it said before, and other disks would be opened, or another seal be asked for. */
static enum error conf_cannot_be_changed(const char *what)
{
    return error_explain(ERROR_INVALID, "the coffer.conf in the backup is written in a way that cannot be changed by a program: %s",
                         what);
}

static enum error paths_take(struct import *import, char *const *paths)
{
    TRY(conf_take(import, conf_with_devices(import->text, &import->conf->groups[0], paths)));
    const struct pool_conf_group *group = &import->conf->groups[0];
    for (size_t i = 0; i < group->device_count; i++)
        if (strcmp(group->devices[i].path, paths[i]) != 0)
            return conf_cannot_be_changed("put the disks, or links to them, where it says that they are, and leave out --scan");
    return ERROR_NONE;
}

static enum error devices_scan(struct import *import)
{
    char *paths[GROUP_DEVICES_MAX] = {NULL};
    size_t count;
    const char *const *scan = argument_values(import->arguments, "scan", &count);
    if (count == 0)
        return ERROR_NONE;
    enum error error = paths_find(import, scan, count, paths);
    if (error == ERROR_NONE)
        error = paths_take(import, paths);
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        free(paths[i]);
    return error;
}

/* What a TPM had sealed is gone with the directory. */
static enum error seal_choose(struct import *import)
{
    const struct provider_config *provider = import->conf->provider;
    if (provider->seal == NULL || strcmp(provider->seal, "tpm") != 0)
        return ERROR_NONE;
    TRY(conf_take(import, conf_with_seal(import->text, provider->name, "passphrase")));
    bool taken = strcmp(import->conf->provider->seal, "passphrase") == 0;
    return taken ? ERROR_NONE : conf_cannot_be_changed("it says that the key is in a TPM, which is gone with the directory");
}

static enum error conf_prepare(struct import *import)
{
    if (import->backup->conf == NULL)
        return error_explain(ERROR_INVALID, "%s holds no coffer.conf", argument_value(import->arguments, "key", ""));
    TRY(conf_take(import, strdup(import->backup->conf)));
    TRY(key_backup_check_pool(import->backup, import->conf->pool));
    if (import->conf->provider == NULL || !uuid_equal(import->conf->provider->id, import->backup->provider))
        return error_explain(ERROR_CORRUPT, "the coffer.conf in the backup names another provider than the key's");
    TRY(devices_scan(import));
    return seal_choose(import);
}

/* ---- the directory ------------------------------------------------------------------------------------------------- */

/* The key file, or a disk of the pool. */
static bool may_lie_there(const void *context, const struct stat *entry, const char *name)
{
    const struct import *import = context;
    const struct pool_conf_group *group = &import->conf->groups[0];
    (void)name;
    for (size_t i = 0; i < group->device_count; i++)
        if (file_is_at(entry, group->devices[i].path))
            return true;
    return file_is_at(entry, import->conf->provider->path);
}

static struct lost_directory lost_directory_of(const struct import *import)
{
    return (struct lost_directory){import->directory, may_lie_there, import, "the key file and the disks"};
}

static enum error directory_check(const struct import *import)
{
    struct lost_directory lost = lost_directory_of(import);
    return lost_directory_check(&lost);
}

static enum error directory_make(struct import *import)
{
    struct lost_directory lost = lost_directory_of(import);
    return lost_directory_make(&lost, &import->made_directory, &import->opened);
}

/* A key file that is there, on a stick perhaps, is left as it is. */
static bool needs_key_file(const struct import *import)
{
    return !import->backup->is_kek && access(import->conf->provider->path, F_OK) != 0;
}

/* Where it holds this key. */
static enum error key_file_check(const struct import *import)
{
    const struct provider_config *provider = import->conf->provider;
    uint8_t kcv[KCV_SIZE];
    if (import->backup->is_kek || needs_key_file(import))
        return ERROR_NONE;
    enum error error = provider_root_kcv(provider, import->backup->kek_number, kcv);
    if (error == ERROR_NONE && memcmp(kcv, import->backup->kcv, KCV_SIZE) != 0)
        error = error_explain(ERROR_WRONG_KEY, "%s holds another key than the backup: an older one, or another pool's",
                              provider->path);
    return error == ERROR_NONE ? ERROR_NONE
                               : error_prefix(error, "move away the file where the pool's key is to lie; import makes the right one");
}

static enum error passphrase_ask(struct import *import)
{
    const char *file = argument_value(import->arguments, "passphrase-file", NULL);
    if (!needs_key_file(import) || strcmp(import->conf->provider->seal, "passphrase") != 0)
        return file == NULL ? ERROR_NONE : error_explain(ERROR_INVALID, "no key file is made under a passphrase: leave out "
                                                                        "--passphrase-file");
    return passphrase_read(file, "Passphrase for the key file: ", true, &import->passphrase, &import->passphrase_size);
}

/* Of a path, behind its directory. */
static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Where the key file goes; a directory that is another's is refused. In the pool directory: by that, which is open. */
static enum error key_directory_open(const struct import *import, const char *path, int *directory)
{
    struct stat status;
    AUTO_FREE char *copy = strdup(path), *own = file_join(import->directory, last_name(path));
    if (copy == NULL || own == NULL)
        return ERROR_NO_MEMORY;
    int opened = strcmp(path, own) == 0 ? openat(import->opened, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                        : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0 || fstat(opened, &status) != 0) {
        enum error error = error_from_errno(errno, "open the directory of %s", path);
        if (opened >= 0)
            close(opened);
        return error;
    }
    if (status.st_uid != geteuid() && status.st_uid != 0) {
        close(opened);
        return error_explain(ERROR_ACCESS, "the directory of %s belongs to user %u, who would get the key: run this as that user",
                             path, (unsigned)status.st_uid);
    }
    *directory = opened;
    return ERROR_NONE;
}

/* By the open directory that was looked at, whatever takes its name meanwhile. */
static enum error key_make(struct import *import)
{
    struct provider_secret secret = {import->passphrase, import->passphrase_size};
    struct provider_config provider = *import->conf->provider;
    AUTO_FREE char *place = NULL;
    int directory;
    if (!needs_key_file(import))
        return ERROR_NONE;
    TRY(key_directory_open(import, provider.path, &directory));
    if (asprintf(&place, "/proc/self/fd/%d/%s", directory, last_name(provider.path)) < 0)
        place = NULL;
    provider.path = place;
    enum error error = place == NULL ? ERROR_NO_MEMORY : provider_key_store(&provider, &secret, import->backup->key);
    if (error != ERROR_NONE) {
        close(directory);
        return error_prefix(error, "make the key file %s", import->conf->provider->path);
    }
    import->key_place = directory;
    return ERROR_NONE;
}

static enum error conf_make(struct import *import)
{
    AUTO_FREE char *path = file_join(import->directory, POOL_CONF_NAME);
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(file_create_in(import->opened, POOL_CONF_NAME, path, import->text, strlen(import->text)));
    import->made_conf = true;
    return ERROR_NONE;
}

/* As it was given: what failed in the open directory. */
static enum error named_again(enum error error)
{
    char sentence[2048];
    snprintf(sentence, sizeof sentence, "%s", error_sentence(error));
    message_alias_apply(sentence, sizeof sentence);
    return error_explain(error, "%s", sentence);
}

/* In the directory that was made, by its descriptor: another one that took its name would decide by its coffer.conf what is
 * opened, and get the witness. */
static enum error witness_make(struct import *import)
{
    struct pool_open_options options = {.accept_rollback = true, .key = import->backup->key};
    char link[LOST_DIRECTORY_PATH_SIZE];
    struct pool *pool;
    lost_directory_path(import->opened, link);
    message_alias_set(link, import->directory);
    enum error error = pool_open(link, &options, &pool);
    if (error == ERROR_NONE)
        error = pool_close(pool);
    if (error != ERROR_NONE)
        error = named_again(error);
    message_alias_set(NULL, NULL);
    return error;
}

static enum error take_back(const struct import *import, enum error error)
{
    AUTO_FREE char *sentence = strdup(error_sentence(error));
    if (import->made_conf) {
        unlinkat(import->opened, POOL_CONF_NAME, 0);
        unlinkat(import->opened, WITNESS_NAME, 0);
    }
    if (import->key_place >= 0)
        unlinkat(import->key_place, last_name(import->conf->provider->path), 0);
    struct lost_directory lost = lost_directory_of(import);
    if (import->made_directory)
        lost_directory_remove(&lost, import->opened);
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

static enum error all_make(struct import *import)
{
    TRY(directory_make(import));
    TRY(key_make(import));
    TRY(conf_make(import));
    struct lost_directory lost = lost_directory_of(import);
    TRY(lost_directory_name_check(&lost, import->opened));
    TRY(witness_make(import));
    return lost_directory_name_check(&lost, import->opened);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------- */

static enum error arguments_check(const struct import *import)
{
    AUTO_FREE char *conf = file_join(import->directory, POOL_CONF_NAME), *witness = file_join(import->directory, WITNESS_NAME);
    if (conf == NULL || witness == NULL)
        return ERROR_NO_MEMORY;
    if (!argument_given(import->arguments, "key"))
        return error_explain(ERROR_INVALID, "name the backup of the pool's key: --key FILE.p12");
    if (access(conf, F_OK) == 0 || access(witness, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s has a %s: it is not lost. `coffer key restore` brings a lost key file back, and "
                             "`cofferd DIR --accept-rollback` a lost witness", import->directory,
                             access(conf, F_OK) == 0 ? POOL_CONF_NAME : WITNESS_NAME);
    if (!argument_given(import->arguments, "accept-rollback"))
        return error_explain(ERROR_UNCONFIRMED,
                             "with the directory its witness is lost, which alone could tell whether these disks are the newest "
                             "or were put back to an older day: make sure that they are, then add --accept-rollback");
    return ERROR_NONE;
}

static enum error import_run(struct import *import)
{
    const char *password = argument_value(import->arguments, "password-file", NULL);
    TRY(arguments_check(import));
    TRY(key_backup_file_read(argument_value(import->arguments, "key", NULL), password, &import->backup));
    TRY(conf_prepare(import));
    TRY(directory_check(import));
    TRY(key_file_check(import));
    TRY(key_backup_prove(import->backup, import->conf, &import->proof));
    TRY(passphrase_ask(import));
    enum error error = all_make(import);
    return error == ERROR_NONE ? ERROR_NONE : take_back(import, error);
}

/* The backup was read and proved just now. */
static void dates_record(const struct import *import)
{
    struct key_name key = {import->backup->provider, import->backup->kek_number, {0}};
    char link[LOST_DIRECTORY_PATH_SIZE];
    memcpy(key.kcv, import->backup->kcv, KCV_SIZE);
    lost_directory_path(import->opened, link);
    if (key_dates_record(link, KEY_BACKED_UP, &key) != ERROR_NONE)
        error_forget();
}

static enum error tell(const struct import *import)
{
    FILE *out = import->tool->out;
    const struct provider_config *provider = import->conf->provider;
    AUTO_FREE char *word = shell_path(import->directory);
    if (import->tool->json) {
        json_t *json = json_pack("{s:s, s:I, s:I}", "directory", import->directory, "devices",
                                 (json_int_t)import->proof.devices, "key_slots", (json_int_t)import->proof.slots);
        enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(import->tool, json);
        json_decref(json);
        return error;
    }
    fprintf(out, "Made %s again, for %zu device%s: coffer.conf%s%s and a new witness. Look through coffer.conf: what it names besides,\n"
                 "certificates say, was not in the backup.\n",
            import->directory, import->proof.devices, import->proof.devices == 1 ? "" : "s",
            import->key_place < 0 ? "" : ", the key file ", import->key_place < 0 ? "" : provider->path);
    fputs("The audit was lost with the directory, and a new one begins: `coffer key audit` says from now on that the entries of before\n"
          "are missing, with status 1. Where a copy of it was kept, keep it: nothing makes the two one again.\n", out);
    fprintf(out, "\nType next\n  coffer check %s\n  cofferd %s\n", word == NULL ? "DIR" : word, word == NULL ? "DIR" : word);
    return ERROR_NONE;
}

static enum error run_import(struct tool *tool, const struct arguments *arguments)
{
    struct import import = {.tool = tool, .arguments = arguments, .directory = arguments->positional[0], .opened = -1,
                            .key_place = -1};
    enum error error = import_run(&import);
    if (error == ERROR_NONE) {
        dates_record(&import);
        error = tell(&import);
    }
    if (import.opened >= 0)
        close(import.opened);
    if (import.key_place >= 0)
        close(import.key_place);
    arena_free(import.passphrase);
    key_backup_destroy(import.backup);
    pool_conf_destroy(import.conf);
    free(import.text);
    return error;
}

static const struct option_row options[] = {
    {"key", "FILE.p12", "the backup of the pool's key (`coffer key backup`)", false},
    {"password-file", "FILE", "read the backup's password from FILE", false},
    {"scan", "DEV", "a device of the pool, in any order; say it for each that moved", true},
    {"passphrase-file", "FILE", "read the passphrase for the key file from FILE", false},
    {"accept-rollback", NULL, "the disks are the newest: the witness that knew is lost", false},
    {NULL},
};

const struct command command_import = {
    .noun = "import",
    .arguments = "DIR",
    .summary = "make a lost pool directory again from the disks",
    .text = "Makes the pool directory DIR anew from a backup of the key and the disks: coffer.conf as it was when the backup was\n"
            "made, the key file (of a key in a TPM: under a passphrase), and a new witness. The devices lie where that conf says, or\n"
            "are named by --scan, all of them. The backup's key must open each before anything is written. DIR must not be there,\n"
            "or be yours and empty but for the disks and the key file, which then must hold the same key.\n"
            "The audit is lost with the directory: `key audit` says for ever that its entries of before are missing.\n"
            "The lost witness alone knew how new the disks are to be. If somebody put them back to an older day nothing shows it any\n"
            "more; so this needs --accept-rollback, as `cofferd` does where a witness is lost.",
    .examples = "  coffer import /srv/pool --key pool.p12 --accept-rollback\n"
                "  coffer import /srv/pool --key pool.p12 --scan /dev/sdb --scan /dev/sdc --accept-rollback\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_import,
};
