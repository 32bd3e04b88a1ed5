/*
 * Planning a new pool: all checks of `coffer create`, and all texts that it will write.
 *
 * Whatever can be refused is refused here, while nothing is written: options, directory, each device (missing, in use,
 * carrying something, too small, named twice), and a conf or superblock that could not hold what they must. The texts
 * are made here too, and the conf is read back, so that the writing steps in create.c can fail only for reasons of the
 * machine. Devices are probed under locks that are given up again: create.c takes them anew and looks again, so that
 * who slips in between is met there. No state beyond the plan.
 */
#include "engine/pool/create_plan.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "crypto/kmip/link.h"
#include "engine/device/device.h"
#include "engine/group/format.h"
#include "engine/group/geometry.h"
#include "engine/pool/conf.h"
#include "engine/pool/pool.h"
#include "engine/pool/stable_path.h"

#define GROUP_NAME_DEFAULT "g1"
#define PROVIDER_NAME      "native"
#define KMIP_NAME          "kmip"
#define PROVIDER_FILE      "native.key"
#define DISK_FILE          "disk"

/* ---- options and directory --------------------------------------------------------------------------------------- */

/* The conf names files as they are found from everywhere. */
static enum error plan_file(const char *path, const char *option, char **absolute, const char **planned)
{
    if (path == NULL)
        return error_explain(ERROR_INVALID, "a KMIP provider needs a %s", option);
    *absolute = realpath(path, NULL);
    *planned = *absolute;
    if (*absolute == NULL)
        return error_from_errno(errno, "%s", path);
    if (!pool_conf_can_hold(*absolute))
        return error_explain(ERROR_INVALID, "%s cannot stand in %s: without commas, control characters and length it can",
                             *absolute, POOL_CONF_NAME);
    return ERROR_NONE;
}

/* The servers are asked when the key is made; names and files are looked at now. */
static enum error plan_kmip(struct create_plan *plan)
{
    const struct pool_create_kmip *kmip = plan->options->kmip;
    struct provider_config *provider = &plan->provider;
    uint64_t timeout = kmip->timeout == 0 ? PROVIDER_TIMEOUT_DEFAULT / 1000 : kmip->timeout;
    snprintf(provider->name, sizeof provider->name, "%s", KMIP_NAME);
    provider->id = uuid_random();
    provider->type = "kmip";
    provider->servers = kmip->servers;
    provider->server_count = kmip->server_count;
    provider->separate = kmip->separate;
    if (kmip->server_count == 0 || kmip->server_count > PROVIDER_SERVERS_MAX)
        return error_explain(ERROR_INVALID, "a KMIP provider needs 1 to %d servers", PROVIDER_SERVERS_MAX);
    if (timeout > PROVIDER_TIMEOUT_MAX / 1000)
        return error_explain(ERROR_INVALID, "a KMIP server is given at most %us a step", PROVIDER_TIMEOUT_MAX / 1000);
    provider->timeout = (unsigned)timeout * 1000;
    for (size_t i = 0; i < kmip->server_count; i++) {
        struct kmip_server server;
        TRY(kmip_server_parse(kmip->servers[i], &server));
    }
    TRY(plan_file(kmip->ca, "file with the certificate of its CA", &plan->kmip_files[0], &provider->ca));
    TRY(plan_file(kmip->certificate, "certificate of this side", &plan->kmip_files[1], &provider->certificate));
    TRY(plan_file(kmip->key, "key of that certificate", &plan->kmip_files[2], &provider->key));
    struct kmip_tls *tls;
    TRY(kmip_tls_create(provider->ca, provider->certificate, provider->key, &tls));
    kmip_tls_destroy(tls);
    return ERROR_NONE;
}

static enum error check_copy(const struct pool_create_options *options)
{
    struct stat status;
    if (options->copy == NULL)
        return ERROR_NONE;
    if (!options->dry_run && (options->copy_passphrase == NULL || options->copy_passphrase_size == 0))
        return error_explain(ERROR_INVALID, "the copy of the key is sealed by a passphrase, and none was given");
    if (lstat(options->copy, &status) == 0)
        return error_explain(ERROR_EXISTS, "%s exists: name a new file for the copy of the key", options->copy);
    return ERROR_NONE;
}

static enum error plan_secret(struct create_plan *plan)
{
    const struct pool_create_options *options = plan->options;
    const struct provider_ops *operations;
    if (options->kmip != NULL)
        return plan_kmip(plan);
    snprintf(plan->provider.name, sizeof plan->provider.name, "%s", PROVIDER_NAME);
    plan->provider.id = uuid_random();
    plan->provider.type = "native";
    plan->provider.seal = options->seal == NULL ? "file" : options->seal;
    plan->provider_path = file_join(options->directory, PROVIDER_FILE);
    plan->provider.path = plan->provider_path;
    plan->secret = (struct provider_secret){options->passphrase, options->passphrase_size};
    if (plan->provider_path == NULL)
        return ERROR_NO_MEMORY;
    plan->provider.tcti = options->tcti;
    plan->provider.pcrs = options->pcrs;
    TRY(provider_find(&plan->provider, &operations));
    TRY(check_copy(options));
    if (operations->check != NULL)
        TRY(operations->check(&plan->provider));
    if (!operations->needs_passphrase || (options->dry_run && options->passphrase == NULL))
        return ERROR_NONE;
    if (options->passphrase == NULL || options->passphrase_size == 0)
        return error_explain(ERROR_INVALID, "the key is to be sealed by a passphrase, and none was given");
    if (options->passphrase_size > PASSPHRASE_MAX)
        return error_explain(ERROR_TOO_LARGE, "the passphrase is longer than %d bytes", PASSPHRASE_MAX);
    return ERROR_NONE;
}

static enum error plan_names(struct create_plan *plan)
{
    const struct pool_create_options *options = plan->options;
    plan->group_name = options->group_name == NULL ? GROUP_NAME_DEFAULT : options->group_name;
    if (!pool_conf_name_is_valid(plan->group_name, GROUP_NAME_MAX))
        return error_explain(ERROR_INVALID,
                             "a group cannot be named \"%.64s\": 1 to %d letters, digits, '-', '_' and '.' can",
                             plan->group_name, GROUP_NAME_MAX);
    if (options->fingerprint != POOL_FINGERPRINT_XXH3 && options->fingerprint != POOL_FINGERPRINT_HMAC_SHA256)
        return error_explain(ERROR_INVALID, "there is no fingerprint number %d", options->fingerprint);
    plan->pool = uuid_random();
    plan->group = uuid_random();
    return ERROR_NONE;
}

static enum error check_parent(const char *directory)
{
    AUTO_FREE char *copy = strdup(directory);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    const char *parent = dirname(copy);
    struct stat status;
    if (stat(parent, &status) != 0)
        return error_from_errno(errno, "the directory %s, in which the pool is to be made", parent);
    if (!S_ISDIR(status.st_mode))
        return error_explain(ERROR_INVALID, "%s is not a directory", parent);
    if (access(parent, W_OK | X_OK) != 0)
        return error_from_errno(errno, "make a directory in %s", parent);
    return ERROR_NONE;
}

static enum error check_empty(const char *directory)
{
    AUTO_FREE char *conf = file_join(directory, POOL_CONF_NAME);
    AUTO_FREE char *word = shell_quote(directory);
    if (conf == NULL || word == NULL)
        return ERROR_NO_MEMORY;
    if (access(conf, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s is a pool directory already: `cofferd %s` serves it", directory, word);
    DIR *stream = opendir(directory);
    if (stream == NULL)
        return error_from_errno(errno, "open %s", directory);
    enum error error = ERROR_NONE;
    for (struct dirent *entry = readdir(stream); entry != NULL && error == ERROR_NONE; entry = readdir(stream)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            error =
                error_explain(ERROR_EXISTS, "%s is not empty: name a directory that is, or does not exist", directory);
    }
    closedir(stream);
    return error;
}

static enum error plan_directory(struct create_plan *plan)
{
    const char *directory = plan->options->directory;
    struct stat status;
    if (directory == NULL || directory[0] == 0)
        return error_explain(ERROR_INVALID, "no pool directory was named");
    plan->directory_exists = lstat(directory, &status) == 0;
    if (!plan->directory_exists)
        return errno == ENOENT ? check_parent(directory) : error_from_errno(errno, "%s", directory);
    if (stat(directory, &status) != 0 || !S_ISDIR(status.st_mode))
        return error_explain(ERROR_EXISTS, "%s exists and is not a directory", directory);
    return check_empty(directory);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

/* What a path is, whatever its name: two names of one disk are the same disk. */
static bool identify(const char *path, dev_t *place, ino_t *inode)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return false;
    *place = S_ISBLK(status.st_mode) ? status.st_rdev : status.st_dev;
    *inode = S_ISBLK(status.st_mode) ? 0 : status.st_ino;
    return true;
}

static bool is_overwritten(const struct create_plan *plan, const struct planned_device *device)
{
    dev_t place;
    ino_t inode;
    for (size_t i = 0; i < plan->options->overwrite_count; i++)
        if (identify(plan->options->overwrite[i], &place, &inode) && place == device->place && inode == device->inode)
            return true;
    return false;
}

/* An --overwrite of something that is no device of the pool is a slip, and may be a dangerous one. */
static enum error check_overwrites(const struct create_plan *plan)
{
    for (size_t i = 0; i < plan->options->overwrite_count; i++) {
        const char *path = plan->options->overwrite[i];
        dev_t place;
        ino_t inode;
        bool found = false;
        if (identify(path, &place, &inode))
            for (size_t d = 0; d < plan->device_count; d++)
                found |= plan->devices[d].place == place && plan->devices[d].inode == inode && !plan->devices[d].create;
        if (!found)
            return error_explain(ERROR_INVALID, "--overwrite %s names no device of the new pool", path);
    }
    return ERROR_NONE;
}

static enum error measure(struct planned_device *device)
{
    struct device *opened;
    TRY(device_open_file(device->path, DEVICE_OPEN_READ_ONLY, &opened));
    device->size = ROUND_DOWN(opened->size, (uint64_t)DEVICE_BLOCK);
    device_close(opened);
    return ERROR_NONE;
}

static enum error plan_given_device(struct create_plan *plan, const char *path, struct planned_device *device)
{
    device->path = strdup(path);
    device->id = uuid_random();
    if (device->path == NULL)
        return ERROR_NO_MEMORY;
    if (!identify(path, &device->place, &device->inode))
        return error_from_errno(errno, "device %s", path);
    for (const struct planned_device *other = plan->devices; other < device; other++)
        if (other->place == device->place && other->inode == device->inode)
            return error_explain(ERROR_INVALID, "%s and %s are the same device", other->path, path);
    device->overwrite = is_overwritten(plan, device);
    if (!device->overwrite)
        TRY(device_probe_empty(path));
    TRY(measure(device));
    TRY(stable_path(path, &device->conf_path));
    if (!pool_conf_can_hold(device->conf_path))
        return error_explain(ERROR_INVALID,
                             "%s cannot stand in %s: without commas, control characters and length it can",
                             device->conf_path, POOL_CONF_NAME);
    return ERROR_NONE;
}

static enum error plan_sparse_device(struct create_plan *plan)
{
    struct planned_device *device = &plan->devices[plan->device_count++];
    device->path = file_join(plan->options->directory, DISK_FILE);
    device->conf_path = strdup(DISK_FILE);
    device->id = uuid_random();
    device->create = true;
    if (device->path == NULL || device->conf_path == NULL)
        return ERROR_NO_MEMORY;
    device->size = ROUND_DOWN(plan->options->size, (uint64_t)DEVICE_BLOCK);
    return ERROR_NONE;
}

static enum error plan_devices(struct create_plan *plan)
{
    const struct pool_create_options *options = plan->options;
    if (options->device_paths == NULL || options->device_count == 0) {
        TRY(plan_sparse_device(plan));
        return check_overwrites(plan);
    }
    if (options->device_count > GROUP_DEVICES_MAX)
        return error_explain(ERROR_INVALID, "a group has at most %d devices, %zu were given", GROUP_DEVICES_MAX,
                             options->device_count);
    for (size_t i = 0; i < options->device_count; i++) {
        plan->device_count++;
        TRY(plan_given_device(plan, options->device_paths[i], &plan->devices[i]));
    }
    return check_overwrites(plan);
}

/* Only all devices together tell how large a segment is. */
static enum error plan_geometry(struct create_plan *plan)
{
    uint64_t sizes[GROUP_DEVICES_MAX];
    for (size_t i = 0; i < plan->device_count; i++)
        sizes[i] = plan->devices[i].size;
    plan->segment_shift = geometry_shift(sizes, (uint32_t)plan->device_count);
    for (size_t i = 0; i < plan->device_count; i++) {
        enum error error = geometry_check_largest(sizes[i]);
        if (error == ERROR_NONE)
            error = geometry_slots(sizes[i], plan->segment_shift, &plan->devices[i].slot_count);
        if (error != ERROR_NONE)
            return error_prefix(error, "%s", plan->devices[i].path);
    }
    return ERROR_NONE;
}

/* A pool that is made can be opened: also by a server, which keeps its share. */
static void plan_memory(struct create_plan *plan)
{
    uint32_t segments = 0;
    uint64_t setting = POOL_MEMORY_DEFAULT, needed;
    for (size_t i = 0; i < plan->device_count; i++)
        segments += plan->devices[i].slot_count;
    while ((needed = pool_memory_needed(setting - setting / POOL_MEMORY_SERVER_SHARE, setting / 4, segments)) != 0)
        plan->memory = setting = MAX(needed, setting + (UINT64_C(1) << 20));
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

static enum error plan_conf(struct create_plan *plan)
{
    struct provider_config written = plan->provider;
    const char *paths[GROUP_DEVICES_MAX];
    struct uuid ids[GROUP_DEVICES_MAX];
    written.path = plan->provider.path == NULL ? NULL : PROVIDER_FILE;
    for (size_t i = 0; i < plan->device_count; i++) {
        paths[i] = plan->devices[i].conf_path;
        ids[i] = plan->devices[i].id;
    }
    struct pool_conf_new new = {
        .pool = plan->pool,
        .fingerprint = plan->options->fingerprint,
        .provider = plan->options->encryption ? &written : NULL,
        .group_name = plan->group_name,
        .group = plan->group,
        .memory = plan->memory,
        .device_count = plan->device_count,
        .device_paths = paths,
        .device_ids = ids,
    };
    TRY(pool_conf_compose(&new, &plan->conf));
    struct pool_conf *back;
    TRY(pool_conf_parse(plan->options->directory, plan->conf, &back));
    pool_conf_destroy(back);
    return ERROR_NONE;
}

static json_t *uuid_json(struct uuid uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return json_string(text);
}

static json_t *devices_json(const struct create_plan *plan)
{
    json_t *array = json_array();
    for (size_t i = 0; i < plan->device_count; i++)
        json_array_append_new(array,
                              json_pack("{s:o, s:I, s:I}", "uuid", uuid_json(plan->devices[i].id), "index", (json_int_t)i,
                                        "size", (json_int_t)plan->devices[i].size));
    return array;
}

/* The same for all devices: what `import` needs to make a pool directory again, and superblock_revive() a superblock. */
static enum error plan_json(struct create_plan *plan)
{
    AUTO_FREE char *copy = strdup(plan->options->directory);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    json_t *name = json_string(basename(copy));
    if (name == NULL)
        name = json_string("");
    json_t *root = json_pack("{s:o, s:s, s:{s:s, s:o, s:I}, s:o}", "pool", name, "conf", plan->conf, "group", "name",
                             plan->group_name, "uuid", uuid_json(plan->group), "segment_shift",
                             (json_int_t)plan->segment_shift, "devices", devices_json(plan));
    if (root == NULL)
        return error_explain(ERROR_INVALID, "the names of the devices must be UTF-8");
    plan->json = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (plan->json == NULL)
        return ERROR_NO_MEMORY;
    if (strlen(plan->json) > SUPERBLOCK_JSON_SIZE)
        return error_explain(ERROR_TOO_LARGE,
                             "the names of the devices are too long: a superblock has no room for them");
    return ERROR_NONE;
}

enum error create_plan_make(const struct pool_create_options *options, struct create_plan *plan)
{
    *plan = (struct create_plan){.options = options};
    TRY(plan_directory(plan));
    TRY(plan_names(plan));
    if (options->encryption)
        TRY(plan_secret(plan));
    TRY(plan_devices(plan));
    TRY(plan_geometry(plan));
    plan_memory(plan);
    TRY(plan_conf(plan));
    return plan_json(plan);
}

void create_plan_forget(struct create_plan *plan)
{
    for (size_t i = 0; i < plan->device_count; i++) {
        free(plan->devices[i].path);
        free(plan->devices[i].conf_path);
    }
    free(plan->provider_path);
    for (size_t i = 0; i < COUNT_OF(plan->kmip_files); i++)
        free(plan->kmip_files[i]);
    free(plan->conf);
    free(plan->json);
}
