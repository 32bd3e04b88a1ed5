/*
 * `coffer device erase`: one device that is of no pool any more. What may still want it is asked before anything goes: the confs
 * of the pool that is named and of those that run, by path and by the ids in its superblock, and the lock of who has it open. The
 * confs are asked twice: before the lock, so that the refusal names the pool, and of what was locked, which alone is erased.
 * The conf of a stopped pool that nobody names is not known here; so the ids are told, and the risk is to be typed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/moment.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "engine/pool/superblock_copy.h"
#include "tools/certificate.h"
#include "tools/command.h"
#include "tools/partition.h"
#include "tools/place.h"

struct search {
    struct tool *tool;
    const char *path, *certificate;
    bool sure;
    struct stat status;
    bool known;              /* the ids say which device it is */
    struct uuid pool, device;
    uint64_t begun;          /* an erase of it that has no certificate yet; 0: there is none */
    char *directory;         /* of a pool that wants it; NULL: none that is known does */
};

/* A partition and its whole disk are the same here. */
static bool is_same_file(const struct stat *a, const char *path)
{
    struct stat b;
    if (stat(path, &b) != 0)
        return false;
    return S_ISBLK(a->st_mode) ? S_ISBLK(b.st_mode) && partition_overlaps(PARTITION_SYSFS, a->st_rdev, b.st_rdev)
                               : a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

static void conf_look(void *context, const struct pool_conf *conf)
{
    struct search *search = context;
    for (size_t g = 0; g < conf->group_count && search->directory == NULL; g++)
        for (size_t i = 0; i < conf->groups[g].device_count && search->directory == NULL; i++) {
            const struct pool_conf_device *device = &conf->groups[g].devices[i];
            bool own = search->known && uuid_equal(search->pool, conf->pool) && uuid_equal(search->device, device->id);
            if (own || is_same_file(&search->status, device->path))
                search->directory = strdup(conf->directory);
        }
}

static enum error wanted_check(struct search *search)
{
    TRY(place_each_conf(search->tool, conf_look, search));
    return search->directory == NULL
               ? ERROR_NONE
               : error_explain(ERROR_BUSY, "%s is a device of the pool in %s, whose coffer.conf names it: `coffer erase` gives up a whole "
                                           "pool", search->path, search->directory);
}

static enum error unconfirmed(const struct search *search)
{
    char device[UUID_TEXT_SIZE], pool[UUID_TEXT_SIZE], begun[MOMENT_TEXT_SIZE];
    const char *all = "all that is on it will be gone, and nothing brings it back: say so by --accept-data-loss";
    uuid_format(search->device, device);
    uuid_format(search->pool, pool);
    moment_utc(search->begun, begun);
    if (search->begun && search->known)
        return error_explain(ERROR_UNCONFIRMED, "%s says that its erase was begun on %s, as device %s of pool %s, and has no "
                                                "certificate yet; %s", search->path, begun, device, pool, all);
    if (search->begun)
        return error_explain(ERROR_UNCONFIRMED, "%s says that its erase was begun on %s, and has no certificate yet; %s",
                             search->path, begun, all);
    if (!search->known)
        return error_explain(ERROR_UNCONFIRMED, "all that is on %s will be gone, and nothing brings it back: say so by "
                                                "--accept-data-loss", search->path);
    return error_explain(ERROR_UNCONFIRMED, "%s says that it is device %s of pool %s; if a pool that is stopped now still wants it, its "
                                            "data will be gone, and nothing brings it back: say so by --accept-data-loss",
                         search->path, device, pool);
}

/* Of the locked device: the path may have led elsewhere before. */
static enum error locked_check(void *context, const struct pool_device_told *told)
{
    struct search *search = context;
    search->status = *told->status;
    search->known = told->known;
    search->pool = told->pool;
    search->device = told->device;
    search->begun = told->begun;
    TRY(wanted_check(search));
    return search->sure ? ERROR_NONE : unconfirmed(search);
}

/* The note of the erase stays then. */
static enum error keep(void *context, const char *certificate)
{
    const struct search *search = context;
    enum error error = certificate_keep(search->tool, search->path, search->certificate, certificate);
    return error == ERROR_NONE ? ERROR_NONE
                               : error_explain(error, "%s; or run this again with another --certificate, which makes one",
                                               error_sentence(error));
}

/* Before the lock, which a pool that has it open would refuse without saying which pool that is. */
static enum error look(struct search *search)
{
    struct superblock_copy copy;
    if (stat(search->path, &search->status) != 0)
        return errno == ENOENT ? error_explain(ERROR_NOT_FOUND, "there is no %s", search->path)
                               : error_from_errno(errno, "look at %s", search->path);
    search->known = superblock_copy_read(search->path, &copy) == ERROR_NONE;
    if (search->known) {
        search->pool = copy.pool;
        search->device = copy.device;
        free(copy.bytes);
    } else
        error_forget(); /* the erase says what it is */
    return wanted_check(search);
}

static enum error run_erase(struct tool *tool, const struct arguments *arguments)
{
    struct search search = {.tool = tool,
                            .path = arguments->positional[0],
                            .certificate = argument_value(arguments, "certificate", NULL),
                            .sure = argument_given(arguments, "accept-data-loss")};
    TRY(certificate_place(search.certificate));
    enum error error = look(&search);
    if (!error)
        error = pool_device_erase(search.path, &(struct pool_device_caller){locked_check, keep, &search});
    free(search.directory);
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
            "names, or of one that runs, names it or cannot be read, and where it carries no superblock of Coffer's, as after an\n"
            "erase. What was cut short, or has no certificate yet, is ended by running it again, which its certificate says. A\n"
            "pool that is stopped and not named is not known. The certificate says what the device said of itself, and what else\n"
            "could open an image of it: the pool's other devices, too, hold its wrapped keys, until `coffer key rekey --shallow`;\n"
            "do that before or after.\n"
            "For a whole pool there is `coffer erase`.",
    .examples = "  coffer -C /srv/pool device erase /dev/sdc --accept-data-loss --certificate /root/sdc-erased.json\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_erase,
};
