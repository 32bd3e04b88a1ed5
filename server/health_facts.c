/*
 * What the health checks need to know beyond the pool's status: swap, where the key lies, and modes of files.
 *
 * Everything here is best effort: a fact that cannot be had counts as harmless, because a false alarm about keys would
 * teach people to ignore the true one. Where a conf that was spoilt after the pool was opened hides all of them, that
 * is a fact too (`looked`): nobody may call well what was not looked at. No locks, nothing written.
 */
#include "server/health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/pool/conf.h"
#include "engine/pool/kek_number.h"
#include "engine/pool/providers.h"

/* A line of /proc/swaps is "NAME TYPE SIZE USED PRIORITY"; zram stays in memory, dm- devices are mostly dm-crypt. */
static bool swap_line_is_plaintext(const char *line)
{
    return line[0] == '/' && strncmp(line, "/dev/zram", 9) != 0 && strncmp(line, "/dev/dm-", 8) != 0 &&
           strncmp(line, "/dev/mapper/", 12) != 0;
}

static bool swap_is_plaintext(void)
{
    FILE *file = fopen("/proc/swaps", "re");
    char line[512];
    bool found = false;
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = swap_line_is_plaintext(line);
    fclose(file);
    return found;
}

static bool holds(const char *device, dev_t file_system)
{
    struct stat data;
    if (stat(device, &data) != 0)
        return false;
    return (S_ISBLK(data.st_mode) ? data.st_rdev : data.st_dev) == file_system;
}

/* The devices are the conf's, which are known while the pool is locked too. */
static bool lies_beside_data(const char *key_path, const struct pool_conf *conf)
{
    struct stat key;
    if (stat(key_path, &key) != 0)
        return false;
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t d = 0; d < conf->groups[g].device_count; d++)
            if (holds(conf->groups[g].devices[d].path, key.st_dev))
                return true;
    return false;
}

static bool is_retained(const struct key_facts *keys, const struct provider_config *provider)
{
    for (size_t i = 0; i < keys->retained_count; i++)
        if (uuid_equal(keys->retained[i].provider, provider->id))
            return true;
    return false;
}

static void key_look(struct health_facts *facts, const struct pool_conf *conf, const struct provider_config *provider, bool old)
{
    if (facts->key_beside_data || provider->seal == NULL || strcmp(provider->seal, "file") != 0 ||
        !lies_beside_data(provider->path, conf))
        return;
    facts->key_beside_data = true;
    AUTO_FREE char *absolute = realpath(provider->path, NULL);
    snprintf(facts->key_path, sizeof(facts->key_path), "%s", absolute == NULL ? provider->path : absolute);
    snprintf(facts->key_old, sizeof(facts->key_old), "%s", old ? provider->name : "");
}

/* The key in force first; then those of before, which open old images of the disks. */
static void find_key_beside_data(struct health_facts *facts, const struct pool_conf *conf)
{
    struct key_facts keys;
    if (conf->provider == NULL)
        return;
    if (key_facts_read(conf, &keys) != ERROR_NONE)
        error_forget();
    const struct provider_config *in_force = keys.known ? provider_of_id(conf, keys.provider) : NULL;
    if (in_force == NULL)
        in_force = conf->provider;
    key_look(facts, conf, in_force, false);
    for (size_t i = 0; i < conf->provider_count; i++)
        if (&conf->providers[i] != in_force && is_retained(&keys, &conf->providers[i]))
            key_look(facts, conf, &conf->providers[i], true);
}

void health_facts_gather(struct health_facts *facts, const char *directory)
{
    struct pool_conf *conf;
    facts->arena_locked = arena_is_locked();
    facts->swap_plaintext = swap_is_plaintext();
    key_watch_look(&facts->unlock);
    rekey_every_look(&facts->every);
    evidence_kept_look(directory, &facts->kept);
    if (pool_conf_read(directory, &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    facts->looked = true;
    find_key_beside_data(facts, conf);
    struct kek_expected expected = {0};
    if (conf->provider != NULL && kek_expect(conf, NULL, &expected) != ERROR_NONE)
        error_forget();
    if (expected.provider != NULL && expected.provider->path != NULL)
        snprintf(facts->key_file, sizeof(facts->key_file), "%s", expected.provider->path);
    if (conf->grants.fault != NULL)
        snprintf(facts->roles_fault, sizeof(facts->roles_fault), "%s", conf->grants.fault);
    modes_look(conf, &facts->modes);
    key_care_look(conf, &facts->care);
    key_cached_look(conf, &facts->cached);
    key_age_look(conf, &facts->age);
    if (facts->every.period != conf->rekey_every) /* no look was since the start, or since that was set */
        facts->every = (struct rekey_every_facts){.period = conf->rekey_every};
    pool_conf_destroy(conf);
}
