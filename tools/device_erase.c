/*
 * `coffer device erase`: one device that is of no pool any more. What may still want it is asked before anything goes: the confs
 * of the pool that is named and of those that run, by path and by the ids in its superblock, and the lock of who has it open.
 * The conf of a stopped pool that nobody names is not known here; so the ids are told, and the risk is to be typed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "engine/pool/superblock_copy.h"
#include "tools/certificate.h"
#include "tools/command.h"
#include "tools/place.h"

struct search {
    const char *path;
    struct stat status;
    bool known;               /* `copy` says which device it is */
    struct superblock_copy copy;
    char *directory;          /* of a pool that wants it; NULL: none that is known does */
};

static bool is_same_file(const struct stat *a, const char *path)
{
    struct stat b;
    if (stat(path, &b) != 0)
        return false;
    return S_ISBLK(a->st_mode) ? S_ISBLK(b.st_mode) && a->st_rdev == b.st_rdev : a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static void conf_look(void *context, const struct pool_conf *conf)
{
    struct search *search = context;
    for (size_t g = 0; g < conf->group_count && search->directory == NULL; g++)
        for (size_t i = 0; i < conf->groups[g].device_count && search->directory == NULL; i++) {
            const struct pool_conf_device *device = &conf->groups[g].devices[i];
            bool own = search->known && uuid_equal(search->copy.pool, conf->pool) && uuid_equal(search->copy.device, device->id);
            if (own || is_same_file(&search->status, device->path))
                search->directory = strdup(conf->directory);
        }
}

static enum error wanted_check(struct tool *tool, struct search *search)
{
    TRY(place_each_conf(tool, conf_look, search));
    return search->directory == NULL
               ? ERROR_NONE
               : error_explain(ERROR_BUSY, "%s is a device of the pool in %s, whose coffer.conf names it: `coffer erase` gives up a whole "
                                           "pool", search->path, search->directory);
}

static enum error unconfirmed(const struct search *search)
{
    char device[UUID_TEXT_SIZE], pool[UUID_TEXT_SIZE];
    if (!search->known)
        return error_explain(ERROR_UNCONFIRMED, "all that is on %s will be gone, and nothing brings it back: say so by "
                                                "--accept-data-loss", search->path);
    uuid_format(search->copy.device, device);
    uuid_format(search->copy.pool, pool);
    return error_explain(ERROR_UNCONFIRMED, "%s says that it is device %s of pool %s; if a pool that is stopped now still wants it, its "
                                            "data will be gone, and nothing brings it back: say so by --accept-data-loss",
                         search->path, device, pool);
}

static enum error look(struct tool *tool, const struct arguments *arguments, struct search *search)
{
    if (stat(search->path, &search->status) != 0)
        return error_explain(ERROR_NOT_FOUND, "there is no %s", search->path);
    search->known = superblock_copy_read(search->path, &search->copy) == ERROR_NONE;
    if (!search->known)
        error_forget(); /* the erase says what it is */
    TRY(wanted_check(tool, search));
    return argument_given(arguments, "accept-data-loss") ? ERROR_NONE : unconfirmed(search);
}

static enum error run_erase(struct tool *tool, const struct arguments *arguments)
{
    struct search search = {.path = arguments->positional[0]};
    const char *path = argument_value(arguments, "certificate", NULL);
    char *certificate = NULL;
    TRY(certificate_place(path));
    enum error error = look(tool, arguments, &search);
    if (search.known)
        free(search.copy.bytes);
    free(search.directory);
    TRY(error);
    TRY(pool_device_erase(search.path, &certificate));
    error = certificate_keep(tool, search.path, path, certificate);
    free(certificate);
    return error;
}

static const struct option_row options[] = {
    {"accept-data-loss", NULL, "yes, everything on this device is to be gone", false},
    {"certificate", "FILE", "a new file for what was done, in JSON", false},
    {NULL},
};

const struct command command_device_erase = {
    .noun = "device",
    .verb = "erase",
    .arguments = "DEV",
    .summary = "destroy the keys on a device that is of no pool any more",
    .text = "For a disk that was replaced or is left over. Overwrites its key slots in all copies, reads that back, and discards\n"
            "the whole device. No key is asked for. Refused where a pool has it open, where the coffer.conf of the pool that -C\n"
            "names, or of one that runs, names it, and where it is none of Coffer's; a pool that is stopped and not named is not\n"
            "known. The certificate says what the device said of itself, and what else could open an image of it: the pool's\n"
            "other devices, too, hold its wrapped keys, until `coffer key rekey --shallow`; do that before or after.\n"
            "For a whole pool there is `coffer erase`.",
    .examples = "  coffer -C /srv/pool device erase /dev/sdc --accept-data-loss --certificate /root/sdc-erased.json\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_erase,
};
