/*
 * Looks only, and trusts no answer for longer than the sentence that it makes: what opens a key checks the opened file.
 * Block devices are left out, since their modes are the system's. No locks, nothing written.
 */
#include "server/modes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "engine/pool/conf.h"
#include "engine/pool/scrub.h"
#include "engine/pool/witness.h"

/* Appends a word and what stands before it, or nothing where it does not fit as a whole. */
static void append(char *text, size_t room, const char *before, const char *word)
{
    size_t length = strlen(text);
    if (length + strlen(before) + strlen(word) < room)
        snprintf(text + length, room - length, "%s%s", before, word);
}

static void tell(struct modes *modes, const char *path, mode_t mode)
{
    char with_mode[PATH_MAX + 32];
    AUTO_FREE char *absolute = realpath(path, NULL);
    AUTO_FREE char *word = shell_quote(absolute == NULL ? path : absolute);
    snprintf(with_mode, sizeof(with_mode), "%s (mode %04o)", absolute == NULL ? path : absolute,
             (unsigned)(mode & 07777));
    append(modes->names, sizeof(modes->names), modes->wide == 0 ? "" : ", ", with_mode);
    if (word != NULL)
        append(modes->command, sizeof(modes->command), modes->wide == 0 ? "chmod go= " : " ", word);
    modes->wide++;
}

/* True where it is open to others. What is not there is open to nobody. */
static bool look(struct modes *modes, const char *path)
{
    struct stat status;
    if (path == NULL || stat(path, &status) != 0 || S_ISBLK(status.st_mode) || (status.st_mode & 077) == 0)
        return false;
    tell(modes, path, status.st_mode);
    return true;
}

static void look_at_addresses(const struct pool_conf *conf, struct modes *modes)
{
    static const char prefix[] = "unix:";
    if (conf->grants.count == 0) /* else its mode is as it is meant to be (control.c) */
        look(modes, conf->control);
    for (size_t i = 0; i < conf->nbd_count; i++)
        if (strncmp(conf->nbd[i], prefix, strlen(prefix)) == 0)
            look(modes, conf->nbd[i] + strlen(prefix));
}

void modes_look(const struct pool_conf *conf, struct modes *modes)
{
    AUTO_FREE char *conf_path = file_join(conf->directory, POOL_CONF_NAME);
    AUTO_FREE char *witness = file_join(conf->directory, WITNESS_NAME);
    AUTO_FREE char *scrub = file_join(conf->directory, SCRUB_FILE);
    *modes = (struct modes){0};
    look(modes, conf->directory);
    for (size_t i = 0; i < conf->provider_count; i++) {
        modes->key |= look(modes, conf->providers[i].path);
        modes->key |= look(modes, conf->providers[i].key);
        modes->key |= look(modes, conf->providers[i].cache);
    }
    look(modes, conf_path);
    look(modes, witness);
    look(modes, scrub);
    look_at_addresses(conf, modes);
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t d = 0; d < conf->groups[g].device_count; d++)
            look(modes, conf->groups[g].devices[d].path);
}
