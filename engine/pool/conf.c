/*
 * coffer.conf read into a struct pool_conf.
 *
 * base/conf.h checks sections, keys and kinds of values; here follows what holds between them: a current provider that
 * exists, as many device ids as devices, no device or id twice, limits. So nothing behind this file doubts a conf.
 * Here it is only read; conf_compose.c makes new ones, conf_edit.c changes providers. No locks: immutable when built.
 */
#include "engine/pool/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/key_cache.h"
#include "crypto/kmip/link.h"
#include "crypto/tpm.h"
#include "engine/pool/conf_list.h"
#include "engine/pool/conf_names.h"

#define SECTION_SIZE    256
#define GROUP_PREFIX    "group "
#define PROVIDER_PREFIX "provider "

static const char *const encryption_choices[] = {"on", "required", "off", NULL};
static const char *const fingerprint_choices[] = {"xxh3", "hmac-sha256", NULL};
static const char *const compression_choices[] = {
    "auto",    "none",    "lz4",     "zstd-1",  "zstd-2",  "zstd-3",  "zstd-4",  "zstd-5",
    "zstd-6",  "zstd-7",  "zstd-8",  "zstd-9",  "zstd-10", "zstd-11", "zstd-12", "zstd-13",
    "zstd-14", "zstd-15", "zstd-16", "zstd-17", "zstd-18", "zstd-19", NULL,
};

static const char *const recompress_choices[] = {
    "on",      "off",     "zstd-1",  "zstd-2",  "zstd-3",  "zstd-4",  "zstd-5",  "zstd-6",  "zstd-7",  "zstd-8", "zstd-9",
    "zstd-10", "zstd-11", "zstd-12", "zstd-13", "zstd-14", "zstd-15", "zstd-16", "zstd-17", "zstd-18", "zstd-19", NULL,
};

static const struct conf_key keys[] = {
    {"pool", "uuid", CONF_TEXT, NULL, false},
    {"pool", "encryption", CONF_CHOICE, encryption_choices, false},
    {"pool", "fingerprint", CONF_CHOICE, fingerprint_choices, false},
    {"pool", "provider", CONF_TEXT, NULL, false},
    {"pool", "memory", CONF_SIZE, NULL, false},
    {"pool", "index-memory", CONF_SIZE, NULL, false},
    {"pool", "trash", CONF_DURATION, NULL, false},
    {"pool", "key-period", CONF_PERIOD, NULL, false},
    {"pool", "cryptoperiod", CONF_PERIOD, NULL, false},
    {"pool", "rekey-every", CONF_PERIOD, NULL, false},
    {"pool", "compression", CONF_CHOICE, compression_choices, false},
    {"pool", "recompress", CONF_CHOICE, recompress_choices, false},
    {"server", "nbd", CONF_TEXT, NULL, true},
    {"server", "control", CONF_TEXT, NULL, false},
    {"server", "insecure", CONF_BOOL, NULL, false},
    {"control", "observe", CONF_TEXT, NULL, true, true},
    {"control", "operate", CONF_TEXT, NULL, true, true},
    {"control", "keys", CONF_TEXT, NULL, true, true},
    {"provider *", "type", CONF_TEXT, NULL, false},
    {"provider *", "seal", CONF_TEXT, NULL, false},
    {"provider *", "id", CONF_TEXT, NULL, false},
    {"provider *", "path", CONF_TEXT, NULL, false},
    {"provider *", "servers", CONF_TEXT, NULL, true},
    {"provider *", "ca", CONF_TEXT, NULL, false},
    {"provider *", "certificate", CONF_TEXT, NULL, false},
    {"provider *", "key", CONF_TEXT, NULL, false},
    {"provider *", "timeout", CONF_DURATION, NULL, false},
    {"provider *", "replicated", CONF_BOOL, NULL, false},
    {"provider *", "tpm-cache", CONF_PERIOD, NULL, false},
    {"provider *", "tcti", CONF_TEXT, NULL, false},
    {"provider *", "pcrs", CONF_TEXT, NULL, true},
    {"group *", "uuid", CONF_TEXT, NULL, false},
    {"group *", "devices", CONF_TEXT, NULL, true},
    {"group *", "device-ids", CONF_TEXT, NULL, true},
};

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum error text_needed(const struct pool_conf *conf, const char *section, const char *name, const char **text)
{
    *text = conf_text(conf->source, section, name, NULL);
    return *text != NULL ? ERROR_NONE : conf_complain(conf->source, section, name, "is missing");
}

static enum error uuid_needed(const struct pool_conf *conf, const char *section, const char *name, struct uuid *uuid)
{
    const char *text;
    TRY(text_needed(conf, section, name, &text));
    if (uuid_parse(text, uuid) != ERROR_NONE || uuid_is_zero(*uuid))
        return conf_complain(conf->source, section, name, "\"%.64s\" is not a UUID", text);
    return ERROR_NONE;
}

/* A path as the engine opens it; NULL when out of memory. */
static char *path_joined(const struct pool_conf *conf, const char *path)
{
    return path[0] == '/' ? strdup(path) : file_join(conf->directory, path);
}

bool pool_conf_name_is_valid(const char *name, size_t size_max)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(name);
    return length > 0 && length <= size_max && strspn(name, allowed) == length && name[0] != '-' && name[0] != '.';
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static bool device_is_taken(const struct pool_conf *conf, const struct pool_conf_device *device)
{
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t i = 0; i < conf->groups[g].device_count; i++) {
            const struct pool_conf_device *other = &conf->groups[g].devices[i];
            if (other != device && (uuid_equal(other->id, device->id) || strcmp(other->path, device->path) == 0))
                return true;
        }
    return false;
}

/* Devices become part of the group one by one, so that a failure destroys what there is. */
static enum error take_devices(struct pool_conf *conf, const char *section, struct pool_conf_group *group,
                               const struct conf_list *paths, const struct conf_list *ids)
{
    if (paths->count != ids->count)
        return conf_complain(conf->source, section, "device-ids", "%zu are given for %zu devices", ids->count,
                             paths->count);
    group->devices = memory_zeroed(paths->count, sizeof *group->devices);
    if (group->devices == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < paths->count; i++) {
        struct pool_conf_device *device = &group->devices[i];
        if (uuid_parse(ids->items[i], &device->id) != ERROR_NONE || uuid_is_zero(device->id))
            return conf_complain(conf->source, section, "device-ids", "\"%.64s\" is not a UUID", ids->items[i]);
        device->path = path_joined(conf, paths->items[i]);
        if (device->path == NULL)
            return ERROR_NO_MEMORY;
        group->device_count++;
        if (device_is_taken(conf, device))
            return conf_complain(conf->source, section, "devices", "%s, or its id, stands there twice",
                                 paths->items[i]);
    }
    return ERROR_NONE;
}

static enum error take_group(struct pool_conf *conf, const char *section)
{
    if (conf->group_count == POOL_GROUPS_MAX)
        return conf_complain(conf->source, section, "uuid", "more than %d groups", POOL_GROUPS_MAX);
    struct pool_conf_group *group = &conf->groups[conf->group_count++];
    const char *name = section + strlen(GROUP_PREFIX);
    if (!pool_conf_name_is_valid(name, GROUP_NAME_MAX))
        return conf_complain(conf->source, section, "uuid", "a group cannot be named \"%.64s\"", name);
    snprintf(group->name, sizeof group->name, "%s", name);
    TRY(uuid_needed(conf, section, "uuid", &group->id));
    for (size_t i = 0; i + 1 < conf->group_count; i++)
        if (uuid_equal(conf->groups[i].id, group->id))
            return conf_complain(conf->source, section, "uuid", "is that of group %s", conf->groups[i].name);
    struct conf_list paths = {0}, ids = {0};
    enum error error = conf_list_fill(&paths, conf->source, section, "devices");
    if (error == ERROR_NONE)
        error = conf_list_fill(&ids, conf->source, section, "device-ids");
    if (error == ERROR_NONE)
        error = take_devices(conf, section, group, &paths, &ids);
    conf_list_free(&paths);
    conf_list_free(&ids);
    return error;
}

/* ---- providers --------------------------------------------------------------------------------------------------- */

static enum error refuse_keys(const struct pool_conf *conf, const char *section, const char *const *names, const char *why)
{
    for (; *names != NULL; names++)
        if (conf_count(conf->source, section, *names) != 0)
            return conf_complain(conf->source, section, *names, "%s", why);
    return ERROR_NONE;
}

static enum error path_needed(const struct pool_conf *conf, const char *section, const char *name, const char **path)
{
    const char *text;
    TRY(text_needed(conf, section, name, &text));
    *path = path_joined(conf, text);
    return *path == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

/* Where it is given, whatever the seal: it may name libraries. */
static enum error take_tcti(const struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    provider->tcti = conf_text(conf->source, section, "tcti", NULL);
    if (provider->tcti != NULL && tpm_tcti_check(provider->tcti) != ERROR_NONE)
        return conf_complain(conf->source, section, "tcti", "%s", error_sentence(ERROR_INVALID));
    return ERROR_NONE;
}

static enum error take_pcrs(const struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    struct conf_list list = {0};
    if (conf_count(conf->source, section, "pcrs") == 0)
        return ERROR_NONE;
    enum error error = conf_list_fill(&list, conf->source, section, "pcrs");
    for (size_t i = 0; i < list.count && error == ERROR_NONE; i++) {
        char *end;
        unsigned long pcr = strtoul(list.items[i], &end, 10);
        if (list.items[i][0] < '0' || list.items[i][0] > '9' || *end != '\0' || pcr >= TPM_PCRS)
            error = conf_complain(conf->source, section, "pcrs", "\"%.64s\" is no number from 0 to %d", list.items[i],
                                  TPM_PCRS - 1);
        else
            provider->pcrs |= UINT32_C(1) << pcr;
    }
    conf_list_free(&list);
    return error;
}

static enum error take_native(struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    static const char *const others[] = {"servers", "ca", "certificate", "key", "timeout", "replicated", "tpm-cache", NULL};
    TRY(refuse_keys(conf, section, others, "is for type = kmip only"));
    TRY(take_tcti(conf, section, provider));
    TRY(take_pcrs(conf, section, provider));
    TRY(text_needed(conf, section, "seal", &provider->seal));
    return path_needed(conf, section, "path", &provider->path);
}

/* The list becomes the provider's at once, so that a failure destroys it. */
static enum error take_servers(struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    struct conf_list list = {0};
    enum error error = conf_list_fill(&list, conf->source, section, "servers");
    provider->servers = (const char *const *)list.items;
    provider->server_count = list.count;
    TRY(error);
    if (list.count > PROVIDER_SERVERS_MAX)
        return conf_complain(conf->source, section, "servers", "more than %d are given", PROVIDER_SERVERS_MAX);
    for (size_t i = 0; i < list.count; i++) {
        struct kmip_server server;
        if (kmip_server_parse(list.items[i], &server) != ERROR_NONE)
            return conf_complain(conf->source, section, "servers", "%s", error_sentence(ERROR_INVALID));
    }
    return ERROR_NONE;
}

/* Where nothing is to be cached any more, what was is found by its name all the same. */
static enum error take_cache(const struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    char name[PROVIDER_NAME_MAX + sizeof ".cache"];
    snprintf(name, sizeof name, "%s.cache", provider->name);
    provider->cache = file_join(conf->directory, name);
    if (provider->cache == NULL)
        return ERROR_NO_MEMORY;
    if (conf_count(conf->source, section, "tpm-cache") == 0)
        return refuse_keys(conf, section, (const char *const[]){"tcti", NULL},
                           "is not for type = kmip, whose key stays on the servers, but with tpm-cache");
    provider->cache_seconds = conf_period(conf->source, section, "tpm-cache", 0);
    if (provider->cache_seconds != 0 &&
        (provider->cache_seconds < KEY_CACHE_SECONDS_MIN || provider->cache_seconds > KEY_CACHE_SECONDS_MAX))
        return conf_complain(conf->source, section, "tpm-cache", "from 1h to 366d is possible, or off");
    return take_tcti(conf, section, provider);
}

static enum error take_kmip(struct pool_conf *conf, const char *section, struct provider_config *provider)
{
    static const char *const others[] = {"seal", "path", "pcrs", NULL};
    uint64_t timeout = conf_duration(conf->source, section, "timeout", PROVIDER_TIMEOUT_DEFAULT / 1000);
    TRY(refuse_keys(conf, section, others, "is not for type = kmip: its key stays on the servers"));
    if (timeout < 1 || timeout > PROVIDER_TIMEOUT_MAX / 1000)
        return conf_complain(conf->source, section, "timeout", "from 1s to %us is possible", PROVIDER_TIMEOUT_MAX / 1000);
    provider->timeout = (unsigned)timeout * 1000;
    provider->separate = !conf_bool(conf->source, section, "replicated", true);
    TRY(take_cache(conf, section, provider));
    TRY(take_servers(conf, section, provider));
    TRY(path_needed(conf, section, "ca", &provider->ca));
    TRY(path_needed(conf, section, "certificate", &provider->certificate));
    return path_needed(conf, section, "key", &provider->key);
}

static void provider_forget(struct provider_config *provider)
{
    for (size_t i = 0; i < provider->server_count; i++)
        free((char *)provider->servers[i]);
    free((void *)provider->servers);
    free((char *)provider->ca);
    free((char *)provider->certificate);
    free((char *)provider->key);
    free((char *)provider->path);
    free((char *)provider->cache);
}

static enum error take_provider(struct pool_conf *conf, const char *section)
{
    if (conf->provider_count == POOL_PROVIDERS_MAX)
        return conf_complain(conf->source, section, "id", "more than %d providers", POOL_PROVIDERS_MAX);
    struct provider_config *provider = &conf->providers[conf->provider_count];
    const char *name = section + strlen(PROVIDER_PREFIX);
    if (!pool_conf_name_is_valid(name, PROVIDER_NAME_MAX))
        return conf_complain(conf->source, section, "id", "a provider cannot be named \"%.64s\"", name);
    snprintf(provider->name, sizeof provider->name, "%s", name);
    TRY(uuid_needed(conf, section, "id", &provider->id));
    TRY(text_needed(conf, section, "type", &provider->type));
    for (size_t i = 0; i < conf->provider_count; i++)
        if (uuid_equal(conf->providers[i].id, provider->id))
            return conf_complain(conf->source, section, "id", "is that of provider %s", conf->providers[i].name);
    conf->provider_count++; /* what it owns is forgotten with the conf */
    return strcmp(provider->type, "kmip") == 0 ? take_kmip(conf, section, provider) : take_native(conf, section, provider);
}

static enum error choose_provider(struct pool_conf *conf)
{
    const char *name = conf_text(conf->source, "pool", "provider", NULL);
    if (conf->encryption == POOL_ENCRYPTION_OFF)
        return ERROR_NONE;
    if (name == NULL)
        return conf_complain(conf->source, "pool", "provider", "is missing: which provider keeps the key?");
    for (size_t i = 0; i < conf->provider_count; i++)
        if (strcmp(conf->providers[i].name, name) == 0)
            conf->provider = &conf->providers[i];
    if (conf->provider == NULL)
        return conf_complain(conf->source, "pool", "provider", "there is no [provider %.64s]", name);
    return ERROR_NONE;
}

/* ---- [pool] and [server] ----------------------------------------------------------------------------------------- */

static enum error take_memory(struct pool_conf *conf)
{
    conf->memory = conf_size(conf->source, "pool", "memory", POOL_MEMORY_DEFAULT);
    if (conf->memory < POOL_MEMORY_MIN || conf->memory > POOL_MEMORY_MAX)
        return conf_complain(conf->source, "pool", "memory", "from 64M to 16T is possible");
    conf->index_memory = conf_size(conf->source, "pool", "index-memory", conf->memory / 4);
    if (conf->index_memory < POOL_INDEX_MEMORY_MIN || conf->index_memory > conf->memory / 2)
        return conf_complain(conf->source, "pool", "index-memory", "from 1M to half of memory is possible");
    return ERROR_NONE;
}

static void take_compression(struct pool_conf *conf)
{
    static const enum codec_choice first[] = {POOL_CODEC_AUTO, POOL_CODEC_NONE, POOL_CODEC_LZ4};
    size_t choice = conf_choice(conf->source, "pool", "compression", 0);
    conf->codec = choice < COUNT_OF(first) ? first[choice] : POOL_CODEC_ZSTD;
    conf->zstd_level = choice < COUNT_OF(first) ? 0 : (int)(choice - COUNT_OF(first)) + 1;
}

/* Who asks for LZ4 by name keeps it, unless a level is named as well. */
static void take_recompress(struct pool_conf *conf)
{
    size_t choice = conf_choice(conf->source, "pool", "recompress", 0);
    if (choice == 0)
        conf->recompress = conf->codec == POOL_CODEC_AUTO ? POOL_RECOMPRESS_DEFAULT : 0;
    else
        conf->recompress = (int)choice - 1;
}

static enum error take_periods(struct pool_conf *conf)
{
    conf->key_period = conf_period(conf->source, "pool", "key-period", POOL_KEY_PERIOD_DEFAULT);
    conf->cryptoperiod = conf_period(conf->source, "pool", "cryptoperiod", POOL_CRYPTOPERIOD_DEFAULT);
    conf->rekey_every = conf_period(conf->source, "pool", "rekey-every", 0);
    if (conf->rekey_every != 0 && conf->rekey_every < POOL_REKEY_EVERY_MIN)
        return conf_complain(conf->source, "pool", "rekey-every", "an hour (1h) or more is possible, or off");
    return ERROR_NONE;
}

static enum error take_pool(struct pool_conf *conf)
{
    TRY(uuid_needed(conf, "pool", "uuid", &conf->pool));
    conf->encryption = (enum pool_encryption)conf_choice(conf->source, "pool", "encryption", POOL_ENCRYPTION_ON);
    conf->fingerprint =
        conf_choice(conf->source, "pool", "fingerprint", 0) == 0 ? POOL_FINGERPRINT_XXH3 : POOL_FINGERPRINT_HMAC_SHA256;
    conf->trash = conf_duration(conf->source, "pool", "trash", POOL_TRASH_DEFAULT);
    TRY(take_periods(conf));
    take_compression(conf);
    take_recompress(conf);
    return take_memory(conf);
}

/* An address with its socket's path joined. */
static enum error nbd_address(const struct pool_conf *conf, const char *text, char **address)
{
    if (begins_with(text, "tcp:") && text[4] != 0) {
        *address = strdup(text);
        return *address == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    }
    if (!begins_with(text, "unix:") || text[5] == 0)
        return conf_complain(conf->source, "server", "nbd", "\"%.64s\" is neither unix:PATH nor tcp:HOST:PORT", text);
    AUTO_FREE char *path = path_joined(conf, text + 5);
    if (path == NULL || asprintf(address, "unix:%s", path) < 0)
        return ERROR_NO_MEMORY;
    return ERROR_NONE;
}

static enum error take_server(struct pool_conf *conf)
{
    size_t count = conf_count(conf->source, "server", "nbd");
    conf->nbd = memory_zeroed(MAX(count, (size_t)1), sizeof *conf->nbd);
    conf->control = path_joined(conf, conf_text(conf->source, "server", "control", "control.sock"));
    conf->insecure = conf_bool(conf->source, "server", "insecure", false);
    if (conf->nbd == NULL || conf->control == NULL)
        return ERROR_NO_MEMORY;
    if (count == 0)
        return nbd_address(conf, "unix:nbd.sock", &conf->nbd[conf->nbd_count++]);
    for (size_t i = 0; i < count; i++)
        TRY(nbd_address(conf, conf_text_at(conf->source, "server", "nbd", i), &conf->nbd[conf->nbd_count++]));
    return ERROR_NONE;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static enum error take_sections(struct pool_conf *conf)
{
    size_t count = conf_section_count(conf->source);
    conf->groups = memory_zeroed(MIN(count, (size_t)POOL_GROUPS_MAX), sizeof *conf->groups);
    conf->providers = memory_zeroed(MIN(count, (size_t)POOL_PROVIDERS_MAX), sizeof *conf->providers);
    if (conf->groups == NULL || conf->providers == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *section = conf_section_at(conf->source, i);
        if (begins_with(section, GROUP_PREFIX))
            TRY(take_group(conf, section));
        else if (begins_with(section, PROVIDER_PREFIX))
            TRY(take_provider(conf, section));
    }
    if (conf->group_count == 0)
        return error_explain(ERROR_INVALID, "%s/%s names no [group NAME]", conf->directory, POOL_CONF_NAME);
    return ERROR_NONE;
}

static enum error take_all(struct pool_conf *conf)
{
    TRY(take_pool(conf));
    TRY(take_server(conf));
    TRY(conf_grants_take(conf->source, &conf->grants));
    TRY(take_sections(conf));
    TRY(choose_provider(conf));
    return conf_names_check(conf);
}

enum error pool_conf_parse(const char *directory, const char *text, struct pool_conf **conf)
{
    AUTO_FREE char *path = file_join(directory, POOL_CONF_NAME);
    struct pool_conf *made = memory_zeroed(1, sizeof *made);
    enum error error = path == NULL || made == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    if (error == ERROR_NONE && (made->directory = strdup(directory)) == NULL)
        error = ERROR_NO_MEMORY;
    if (error == ERROR_NONE)
        error = conf_parse(path, text, strlen(text), keys, COUNT_OF(keys), &made->source);
    if (error == ERROR_NONE)
        error = take_all(made);
    if (error != ERROR_NONE) {
        pool_conf_destroy(made);
        return error;
    }
    *conf = made;
    return ERROR_NONE;
}

enum error pool_conf_read(const char *directory, struct pool_conf **conf)
{
    AUTO_FREE char *path = file_join(directory, POOL_CONF_NAME);
    AUTO_FREE void *text = NULL;
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = file_read(path, CONF_SIZE_MAX, &text, &size);
    if (error == ERROR_NOT_FOUND)
        return error_explain(error, "%s is not a pool directory: there is no %s in it", directory, POOL_CONF_NAME);
    if (error == ERROR_NONE && memchr(text, 0, size) != NULL)
        error = error_explain(ERROR_INVALID, "%s is not a text file: it has a zero byte", path);
    return error != ERROR_NONE ? error : pool_conf_parse(directory, text, conf);
}

static void groups_destroy(struct pool_conf *conf)
{
    for (size_t g = 0; g < conf->group_count; g++) {
        for (size_t i = 0; i < conf->groups[g].device_count; i++)
            free(conf->groups[g].devices[i].path);
        free(conf->groups[g].devices);
    }
    free(conf->groups);
}

void pool_conf_destroy(struct pool_conf *conf)
{
    if (conf == NULL)
        return;
    groups_destroy(conf);
    for (size_t i = 0; i < conf->provider_count; i++)
        provider_forget(&conf->providers[i]);
    free(conf->providers);
    for (size_t i = 0; i < conf->nbd_count; i++)
        free(conf->nbd[i]);
    free(conf->nbd);
    free(conf->control);
    conf_grants_free(&conf->grants);
    free(conf->directory);
    conf_destroy(conf->source);
    free(conf);
}
