/*
 * A tag may name a provider that is to come, so one that is misspelt is taken as well: who gives it is told which key servers
 * could be meant, and which is the nearest.
 * No locks; nothing is written.
 */
#include "server/hosts_note.h"

#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "engine/pool/hosts.h"

#define NOTE_SIZE 1024 /* of many providers the first ones are named */

static bool is_there(const struct pool_conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->provider_count; i++)
        if (strcmp(conf->providers[i].name, name) == 0)
            return true;
    return false;
}

/* Key servers that may have the tag: who has the key in force is refused. */
static size_t names_find(const struct pool_conf *conf, const char *names[POOL_PROVIDERS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < conf->provider_count; i++)
        if (&conf->providers[i] != conf->provider && strcmp(conf->providers[i].type, "kmip") == 0)
            names[count++] = conf->providers[i].name;
    return count;
}

static void note(const struct pool_conf *conf, const char *name, json_t *object)
{
    char text[NOTE_SIZE];
    const char *names[POOL_PROVIDERS_MAX];
    size_t count = names_find(conf, names);
    const char *near = suggest(name, names, count);
    int size = snprintf(text, sizeof text, "no provider %s is in coffer.conf yet; key servers that are not in force: %s", name,
                        count == 0 ? "none" : "");
    for (size_t i = 0; i < count && (size_t)size < sizeof text; i++)
        size += snprintf(text + size, sizeof text - (size_t)size, "%s%s", i == 0 ? "" : ", ", names[i]);
    if (near != NULL && (size_t)size < sizeof text)
        snprintf(text + size, sizeof text - (size_t)size, "; did you mean '" HOSTS_KMS "%s'?", near);
    json_object_set_new(object, "note", json_string(text));
}

void hosts_note_add(struct pool *pool, json_t *object)
{
    const char *hosts = json_string_value(json_object_get(object, "hosts"));
    struct pool_conf *conf;
    if (hosts == NULL || strncmp(hosts, HOSTS_KMS, strlen(HOSTS_KMS)) != 0)
        return;
    if (pool_conf_read(pool_directory(pool), &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    if (!is_there(conf, hosts + strlen(HOSTS_KMS)))
        note(conf, hosts + strlen(HOSTS_KMS), object);
    pool_conf_destroy(conf);
}
