/*
 * `coffer key provider list`, `add` and `remove`: the sections of coffer.conf, which nobody but this and the change of keys
 * writes (engine/pool/conf_edit.c). They ask no daemon: it reads the conf anew before it uses a provider. What is in force and
 * what old keys there are the witness says, of which nothing is believed that could do harm: a wrong one makes `remove` refuse,
 * or leave out a section that can be added again.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "crypto/key_cache.h"
#include "crypto/provider_look.h"
#include "engine/pool/conf_edit.h"
#include "engine/pool/kek_number.h"
#include "engine/pool/providers.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/key_file.h"
#include "tools/key_provider.h"
#include "tools/pcrs.h"
#include "tools/table.h"
#include "tools/text.h"

#define NUMBERS_SIZE 512

/* ---- list -------------------------------------------------------------------------------------------------------- */

static bool is_in_force(const struct pool_conf *conf, const struct key_facts *keys, const struct provider_config *provider)
{
    return keys->known ? uuid_equal(keys->provider, provider->id) : provider == conf->provider;
}

static json_t *retained_json(const struct key_facts *keys, const struct provider_config *provider)
{
    json_t *array = json_array();
    for (size_t i = 0; i < keys->retained_count; i++)
        if (uuid_equal(keys->retained[i].provider, provider->id))
            json_array_append_new(array, json_integer((json_int_t)keys->retained[i].kek_number));
    return array;
}

static void retained_text(const struct key_facts *keys, const struct provider_config *provider, char text[NUMBERS_SIZE])
{
    text[0] = '\0';
    for (size_t i = 0; i < keys->retained_count; i++) {
        size_t used = strlen(text);
        if (uuid_equal(keys->retained[i].provider, provider->id))
            snprintf(text + used, NUMBERS_SIZE - used, "%s%" PRIu64, used == 0 ? "" : ", ", keys->retained[i].kek_number);
    }
}

/* When the key file was written last; 0: there is none. */
static uint64_t key_time(const struct provider_config *provider)
{
    struct stat status;
    return provider->path == NULL || stat(provider->path, &status) != 0 ? 0 : (uint64_t)status.st_mtime;
}

static json_t *provider_json(const struct pool_conf *conf, const struct key_facts *keys, const struct provider_config *provider)
{
    char id[UUID_TEXT_SIZE];
    bool in_force = is_in_force(conf, keys, provider);
    uint64_t time = key_time(provider);
    uuid_format(provider->id, id);
    json_t *json = json_pack("{s:s, s:s, s:s*, s:s, s:b, s:b, s:o}", "name", provider->name, "type", provider->type, "seal",
                             provider->seal, "id", id, "in_force", in_force, "current", provider == conf->provider, "retained",
                             retained_json(keys, provider));
    if (json != NULL && in_force && keys->known)
        json_object_set_new(json, "kek_number", json_integer((json_int_t)keys->kek_number));
    if (json != NULL && provider->path != NULL)
        json_object_set_new(json, "path", json_string(provider->path));
    if (json != NULL && time != 0)
        json_object_set_new(json, "key_time", json_integer((json_int_t)time));
    return json;
}

static enum error list_json(struct tool *tool, const struct pool_conf *conf, const struct key_facts *keys)
{
    json_t *list = json_array();
    for (size_t i = 0; i < conf->provider_count; i++)
        json_array_append_new(list, provider_json(conf, keys, &conf->providers[i]));
    json_t *json = json_pack("{s:o, s:b}", "providers", list, "half_done", keys->half_done);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

static void row_add(struct table *table, const struct pool_conf *conf, const struct key_facts *keys,
                    const struct provider_config *provider)
{
    char id[UUID_TEXT_SIZE], use[64], old[NUMBERS_SIZE], file[TEXT_SIZE];
    uuid_format(provider->id, id);
    snprintf(use, sizeof use, "-");
    if (is_in_force(conf, keys, provider))
        snprintf(use, sizeof use, keys->known ? "key %" PRIu64 " in force" : "current", keys->kek_number);
    retained_text(keys, provider, old);
    table_add(table, NULL,
              (const char *const[]){provider->name, provider->type, provider->seal == NULL ? "-" : provider->seal, use,
                                    old[0] == '\0' ? "-" : old,
                                    provider->path == NULL ? "-" : text_time(key_time(provider), file), id});
}

static enum error list_table(struct tool *tool, const struct pool_conf *conf, const struct key_facts *keys)
{
    static const struct table_column columns[] = {
        {"NAME", TABLE_LEFT},     {"TYPE", TABLE_LEFT},     {"SEAL", TABLE_LEFT}, {"USE", TABLE_LEFT},
        {"OLD KEYS", TABLE_LEFT}, {"KEY FILE", TABLE_LEFT}, {"ID", TABLE_LEFT},
    };
    struct table *table = table_create(columns, COUNT_OF(columns));
    for (size_t i = 0; i < conf->provider_count; i++)
        row_add(table, conf, keys, &conf->providers[i]);
    enum error error = table_print(table, tool->out);
    table_destroy(table);
    if (keys->half_done)
        fputs("A change of keys is under way, or was cut short: then the next start, or the next one, ends it.\n", tool->out);
    return error;
}

enum error provider_list(const struct provider_task *task)
{
    struct key_facts keys;
    TRY(key_facts_read(task->conf, &keys));
    return task->tool->json ? list_json(task->tool, task->conf, &keys) : list_table(task->tool, task->conf, &keys);
}

/* ---- add --------------------------------------------------------------------------------------------------------- */

/* What is in the making; the texts are its own. */
struct addition {
    struct provider_config provider;
    struct key_file file; /* of a native one, which may be there before */
    char *path, *files[3];
};

static void addition_free(struct addition *addition)
{
    free(addition->path);
    for (size_t i = 0; i < COUNT_OF(addition->files); i++)
        free(addition->files[i]);
}

/* As the daemon finds it, whatever directory it is started in. */
static enum error path_absolute(const char *path, char **absolute)
{
    AUTO_FREE char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    *absolute = path[0] == '/' ? strdup(path) : here == NULL ? NULL : file_join(here, path);
    if (*absolute == NULL)
        return ERROR_NO_MEMORY;
    return pool_conf_can_hold(*absolute)
               ? ERROR_NONE
               : error_explain(ERROR_INVALID, "%s cannot stand in %s: without commas, control characters and length it can",
                               *absolute, POOL_CONF_NAME);
}

/* Beside the conf, where nothing else was said. */
static enum error path_default(const struct provider_task *task, char **path)
{
    char name[PROVIDER_NAME_MAX + sizeof ".key"];
    snprintf(name, sizeof name, "%.*s.key", PROVIDER_NAME_MAX, task->name);
    *path = file_join(task->conf->directory, name);
    return *path == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error refuse(const struct arguments *arguments, const char *const *options, const char *why)
{
    for (; *options != NULL; options++)
        if (argument_given(arguments, *options))
            return error_explain(ERROR_INVALID, "--%s is for %s", *options, why);
    return ERROR_NONE;
}

static enum error take_native(const struct provider_task *task, struct addition *addition)
{
    static const char *const of_kmip[] = {"servers", "ca", "certificate", "key", "separate", "tpm-cache", NULL};
    static const char *const of_tpm[] = {"tcti", "pcrs", NULL};
    const struct arguments *arguments = task->arguments;
    struct provider_config *provider = &addition->provider;
    const char *path = argument_value(arguments, "path", NULL);
    TRY(refuse(arguments, of_kmip, "--type kmip"));
    provider->seal = argument_value(arguments, "seal", NULL);
    if (provider->seal == NULL)
        return error_explain(ERROR_INVALID, "say how the key is to be sealed: --seal file, passphrase or tpm");
    if (strcmp(provider->seal, "tpm") != 0)
        TRY(refuse(arguments, of_tpm, "--seal tpm"));
    provider->tcti = argument_value(arguments, "tcti", NULL);
    if (provider->tcti != NULL)
        TRY(tpm_tcti_check(provider->tcti));
    if (argument_given(arguments, "pcrs"))
        TRY(pcrs_parse("pcrs", argument_value(arguments, "pcrs", NULL), &provider->pcrs));
    TRY(path == NULL ? path_default(task, &addition->path) : path_absolute(path, &addition->path));
    provider->path = addition->path;
    return ERROR_NONE;
}

static enum error file_take(const struct arguments *arguments, const char *option, char **own, const char **path)
{
    const char *given = argument_value(arguments, option, NULL);
    if (given == NULL)
        return error_explain(ERROR_INVALID, "--type kmip needs --servers, --ca, --certificate and --key");
    TRY(path_absolute(given, own));
    *path = *own;
    return access(*own, F_OK) == 0 ? ERROR_NONE : error_from_errno(errno, "%s", *own);
}

static enum error take_cache(const struct arguments *arguments, struct provider_config *provider)
{
    const char *life = argument_value(arguments, "tpm-cache", NULL);
    enum error error = life == NULL ? ERROR_NONE : period_parse(life, &provider->cache_seconds);
    if (error != ERROR_NONE)
        return error_prefix(error, "--tpm-cache");
    if (provider->cache_seconds == 0)
        return refuse(arguments, (const char *const[]){"tcti", NULL}, "--seal tpm, or --tpm-cache");
    if (provider->cache_seconds < KEY_CACHE_SECONDS_MIN || provider->cache_seconds > KEY_CACHE_SECONDS_MAX)
        return error_explain(ERROR_INVALID, "--tpm-cache %s: from 1h to 366d is possible, or off", life);
    provider->tcti = argument_value(arguments, "tcti", NULL);
    return provider->tcti != NULL ? tpm_tcti_check(provider->tcti) : ERROR_NONE;
}

static enum error take_kmip(const struct provider_task *task, struct addition *addition)
{
    static const char *const of_native[] = {"seal", "path", "pcrs", "kcv", NULL};
    struct provider_config *provider = &addition->provider;
    TRY(refuse(task->arguments, of_native, "--type native"));
    provider->servers = argument_values(task->arguments, "servers", &provider->server_count);
    if (provider->server_count == 0 || provider->server_count > PROVIDER_SERVERS_MAX)
        return error_explain(ERROR_INVALID, "--type kmip needs --servers HOST[:PORT], once for each of 1 to %d servers",
                             PROVIDER_SERVERS_MAX);
    provider->separate = argument_given(task->arguments, "separate");
    TRY(take_cache(task->arguments, provider));
    provider->timeout = PROVIDER_TIMEOUT_DEFAULT;
    TRY(file_take(task->arguments, "ca", &addition->files[0], &provider->ca));
    TRY(file_take(task->arguments, "certificate", &addition->files[1], &provider->certificate));
    return file_take(task->arguments, "key", &addition->files[2], &provider->key);
}

static enum error take(const struct provider_task *task, struct addition *addition)
{
    const char *type = argument_value(task->arguments, "type", NULL), *id = argument_value(task->arguments, "id", NULL);
    struct provider_config *provider = &addition->provider;
    if (task->name == NULL || !pool_conf_name_is_valid(task->name, PROVIDER_NAME_MAX))
        return error_explain(ERROR_INVALID, "name the provider: up to %d letters, digits, '-', '_' and '.'", PROVIDER_NAME_MAX);
    snprintf(provider->name, sizeof provider->name, "%s", task->name);
    provider->id = uuid_random();
    if (id != NULL && (uuid_parse(id, &provider->id) != ERROR_NONE || uuid_is_zero(provider->id)))
        return error_explain(ERROR_INVALID, "--id %s is not a UUID", id);
    if (type == NULL || (strcmp(type, "native") != 0 && strcmp(type, "kmip") != 0))
        return error_explain(ERROR_INVALID, "say which kind of provider: --type native or --type kmip");
    provider->type = type;
    return strcmp(type, "kmip") == 0 ? take_kmip(task, addition) : take_native(task, addition);
}

/* A number that no key of this pool had yet, as far as is known. */
static enum error which_next(const struct pool_conf *conf, struct provider_kek *which)
{
    struct key_facts keys;
    TRY(key_facts_read(conf, &keys));
    *which = (struct provider_kek){.pool = conf->pool, .number = keys.kek_number + 1};
    return ERROR_NONE;
}

static enum error section_add(const char *directory, const struct provider_config *provider)
{
    int lock;
    TRY(conf_edit_begin(directory, &lock));
    enum error error = conf_edit_add(directory, provider);
    conf_edit_end(lock);
    return error;
}

static enum error add(const struct provider_task *task, struct addition *addition)
{
    struct provider_kek which;
    TRY(take(task, addition));
    TRY(conf_edit_add_check(task->conf, &addition->provider));
    if (addition->provider.path != NULL)
        TRY(key_file_take(task, &addition->provider, &addition->file));
    TRY(which_next(task->conf, &which));
    TRY(provider_ready_check(&addition->provider, &which));
    return section_add(task->conf->directory, &addition->provider);
}

/* A disk of this pool that is tagged as this provider's: its name in `name`, or empty. Where no daemon can be asked, `use` tells. */
static void disk_of(struct tool *tool, const char *provider, char name[OBJECT_NAME_MAX + 1])
{
    json_t *objects = NULL, *object;
    size_t i;
    name[0] = '\0';
    if (client_ask(tool, "object.list", NULL, &objects) != ERROR_NONE)
        error_forget();
    json_array_foreach(objects, i, object)
    {
        const char *hosts = answer_word(object, "hosts"), *colon = strchr(hosts, ':');
        if (colon != NULL && strcmp(colon + 1, provider) == 0)
            snprintf(name, OBJECT_NAME_MAX + 1, "%s", answer_word(object, "name"));
    }
    json_decref(objects);
}

static void print_cycle(struct tool *tool, const char *provider)
{
    char disk[OBJECT_NAME_MAX + 1];
    disk_of(tool, provider, disk);
    if (disk[0] != '\0')
        fprintf(tool->out,
                "'%s' is the disk of that key server and lies in this very pool: with its key in force neither could start after a "
                "power loss. Move the disk elsewhere before `key provider use %s`.\n",
                disk, provider);
}

/* One that was there before, and comes back by its id, may have keys. */
static void print_added(FILE *out, const struct key_facts *keys, const struct addition *addition)
{
    const struct provider_config *provider = &addition->provider;
    char old[NUMBERS_SIZE], id[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    retained_text(keys, provider, old);
    uuid_format(provider->id, id);
    kcv_format(addition->file.kcv, kcv);
    fprintf(out, "Provider %s is added. ", provider->name);
    if (addition->file.found)
        fprintf(out, "%s holds its key: id %s, check value %s.\n", provider->path, id, kcv);
    if (keys->known && uuid_equal(keys->provider, provider->id))
        fprintf(out, "It has key number %" PRIu64 ", which is in force.\n", keys->kek_number);
    else if (old[0] != '\0')
        fprintf(out, "It keeps old keys (%s): `coffer key retire --destroy %s` ends them.\n", old, provider->name);
    else if (addition->file.found)
        fputs("No key of this pool is made of it: `coffer key provider use` makes a new one, which takes its place in the file.\n",
              out);
    else
        fputs("It keeps no key yet: `coffer key provider use` makes one there.\n", out);
}

/* `file`: NULL where none was looked at. */
static enum error tell_json(struct tool *tool, const struct provider_config *provider, const struct key_file *file)
{
    char id[UUID_TEXT_SIZE], kcv[KCV_TEXT_SIZE];
    uuid_format(provider->id, id);
    json_t *json = json_pack("{s:s, s:s, s:s}", "name", provider->name, "type", provider->type, "id", id);
    if (json != NULL && file != NULL && file->found) {
        kcv_format(file->kcv, kcv);
        json_object_set_new(json, "kcv", json_string(kcv));
    }
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
    json_decref(json);
    return error;
}

enum error provider_add(const struct provider_task *task)
{
    struct addition addition = {0};
    struct key_facts keys;
    enum error error = add(task, &addition);
    if (error == ERROR_NONE && task->tool->json)
        error = tell_json(task->tool, &addition.provider, &addition.file);
    else if (error == ERROR_NONE && (error = key_facts_read(task->conf, &keys)) == ERROR_NONE) {
        print_added(task->tool->out, &keys, &addition);
        print_cycle(task->tool, addition.provider.name);
    }
    addition_free(&addition);
    return error;
}

/* ---- remove ------------------------------------------------------------------------------------------------------ */

static enum error needed_check(const struct provider_task *task, const struct key_facts *keys,
                               const struct provider_config *provider)
{
    char old[NUMBERS_SIZE];
    if (is_in_force(task->conf, keys, provider))
        return error_explain(ERROR_BUSY, "provider %s has the key in force, which all devices need: swap to another one first "
                                         "(`coffer key provider use`)", provider->name);
    if (!keys->known)
        return error_explain(ERROR_BUSY, "%s/witness is lost, and without it nobody knows what needs provider %s",
                             task->conf->directory, provider->name);
    if (keys->half_done)
        return error_explain(ERROR_BUSY,
                             "a change of keys is under way or was cut short, and devices may need provider %s: the "
                             "next start, or the next `coffer key rekey --shallow`, ends it",
                             provider->name);
    retained_text(keys, provider, old);
    if (old[0] == '\0' || argument_given(task->arguments, "keep-keys"))
        return ERROR_NONE;
    return error_explain(ERROR_BUSY,
                         "provider %s keeps old keys (%s): end them first, `coffer key retire --destroy %s`, or leave "
                         "them where they are, --keep-keys",
                         provider->name, old, provider->name);
}

/* By the conf and the witness as they are now, under the lock under which another key comes into force. */
static enum error section_remove_locked(const struct provider_task *task)
{
    const struct provider_config *provider;
    struct key_facts keys;
    TRY(provider_named(task->conf, task->name, &provider));
    TRY(key_facts_read(task->conf, &keys));
    TRY(needed_check(task, &keys, provider));
    return conf_edit_remove(task->conf->directory, task->name);
}

static enum error section_remove(const struct provider_task *task, struct pool_conf **conf)
{
    struct provider_task now = *task;
    int lock;
    TRY(conf_edit_begin(task->conf->directory, &lock));
    enum error error = pool_conf_read(task->conf->directory, conf);
    now.conf = *conf;
    if (error == ERROR_NONE)
        error = section_remove_locked(&now);
    conf_edit_end(lock);
    return error;
}

/* The section is gone. */
static enum error removed(const struct provider_task *task, const struct provider_config *provider)
{
    enum error error = key_cache_destroy(provider, task->conf->pool, NULL);
    if (error == ERROR_FOREIGN) { /* something else has that name */
        fprintf(task->tool->err, "coffer: %s\n", error_sentence(error));
        error_forget();
    } else {
        TRY(error);
    }
    if (task->tool->json)
        return tell_json(task->tool, provider, NULL);
    fprintf(task->tool->out, "Provider %s is removed from coffer.conf.\n", task->name);
    return ERROR_NONE;
}

enum error provider_remove(const struct provider_task *task)
{
    const struct provider_config *provider;
    struct pool_conf *conf = NULL; /* as it was before */
    if (task->name == NULL)
        return error_explain(ERROR_INVALID, "name the provider that is to be removed");
    enum error error = section_remove(task, &conf);
    if (error == ERROR_NONE)
        error = provider_named(conf, task->name, &provider);
    if (error == ERROR_NONE)
        error = removed(task, provider);
    pool_conf_destroy(conf);
    return error;
}
