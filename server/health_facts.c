/*
 * What the health checks need to know beyond the pool's status: swap, and where the key lies.
 *
 * Everything here is best effort: a fact that cannot be had counts as harmless, because a false alarm about keys would
 * teach people to ignore the true one. The conf is only looked at for the seals and paths of providers; the engine has
 * judged it when the pool was opened. No locks, nothing written.
 */
#include "server/health.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"

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

struct key_search {
    char section[64];
    char path[256]; /* of the provider of `section` */
    bool sealed_in_file;
    const char *directory;
    struct health_facts *facts;
};

static bool lies_beside_data(const char *key_path, const struct pool_status *status)
{
    struct stat key, data;
    if (stat(key_path, &key) != 0)
        return false;
    for (size_t i = 0; i < status->device_count; i++) {
        if (stat(status->devices[i].path, &data) != 0)
            continue;
        dev_t holder = S_ISBLK(data.st_mode) ? data.st_rdev : data.st_dev;
        if (holder == key.st_dev)
            return true;
    }
    return false;
}

static void judge(struct key_search *search)
{
    if (!search->sealed_in_file || search->path[0] == '\0' || search->facts->key_beside_data)
        return;
    AUTO_FREE char *joined = search->path[0] == '/' ? strdup(search->path) : file_join(search->directory, search->path);
    if (joined == NULL || !lies_beside_data(joined, search->facts->status))
        return;
    search->facts->key_beside_data = true;
    snprintf(search->facts->key_path, sizeof(search->facts->key_path), "%s", joined);
}

static int take_line(void *context, const char *section, const char *name, const char *value)
{
    struct key_search *search = context;
    if (strcmp(section, search->section) != 0) {
        judge(search);
        snprintf(search->section, sizeof(search->section), "%s", section);
        search->path[0] = '\0';
        search->sealed_in_file = false;
    }
    if (strncmp(section, "provider", 8) != 0 || value == NULL)
        return 1;
    if (strcmp(name, "path") == 0)
        snprintf(search->path, sizeof(search->path), "%s", value);
    if (strcmp(name, "seal") == 0)
        search->sealed_in_file = strcmp(value, "file") == 0;
    return 1;
}

void health_facts_gather(struct health_facts *facts, const char *directory)
{
    facts->arena_locked = arena_is_locked();
    facts->swap_plaintext = swap_is_plaintext();
    if (directory == NULL)
        return;
    AUTO_FREE char *conf = file_join(directory, "coffer.conf");
    struct key_search search = {.directory = directory, .facts = facts};
    if (conf != NULL && ini_parse(conf, take_line, &search) == 0)
        judge(&search);
}
