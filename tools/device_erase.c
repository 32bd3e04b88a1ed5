/*
 * `coffer device erase`: one device that is of no pool any more. What may still want it is asked before anything goes: the confs
 * of the pool that is named and of those that run, by path and by the ids in its superblock, and the lock of who has it open. The
 * confs are asked twice: before the lock, so that the refusal names the pool, and of what was locked, which alone is erased.
 * The conf of a stopped pool that nobody names is not known here; so the ids are told, and the risk is to be typed.
 *
 * What was erased goes into the audit of the pool that is named before the certificate is kept, so that its number can stand there;
 * a certificate that is kept by another run has another entry. A daemon that has the pool open gives the number at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/moment.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"
#include "engine/pool/superblock_copy.h"
#include "tools/answer.h"
#include "tools/certificate.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/offline_audit.h"
#include "tools/partition.h"
#include "tools/place.h"

#define OPERATION   "device.erase"
#define TARGET_SIZE 65 /* what an entry has room for (offline_audit.c) */

struct search {
    struct tool *tool;
    const char *path, *certificate;
    bool sure;
    struct stat status;
    bool known;              /* the ids say which device it is */
    struct uuid pool, device;
    uint64_t begun;          /* an erase of it that has no certificate yet; 0: there is none */
    bool begins;             /* what was asked about is to be erased */
    bool recorded;           /* in the audit of the pool that is named */
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
    search->begins = search->sure;
    return search->sure ? ERROR_NONE : unconfirmed(search);
}

/* ---- the audit ------------------------------------------------------------------------------------------------------------- */

static void target_format(const struct search *search, const struct pool_conf *conf, char target[TARGET_SIZE])
{
    char device[UUID_TEXT_SIZE];
    uuid_format(search->device, device);
    if (search->known)
        snprintf(target, TARGET_SIZE, "device %s%s", device, uuid_equal(search->pool, conf->pool) ? "" : " of another pool");
    else
        snprintf(target, TARGET_SIZE, "device at %s", search->path);
}

static json_t *number_in(const json_t *list, uint64_t *last)
{
    json_t *entry, *found = NULL;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        *last = answer_figure(entry, "number");
        if (strcmp(answer_word(entry, "operation"), OPERATION) == 0 && answer_figure(entry, "pid") == (uint64_t)getpid() &&
            answer_figure(entry, "uid") == (uint64_t)getuid())
            found = json_object_get(entry, "number");
    }
    return found;
}

/* The newest line of this very process; the daemon takes what is pending when it is asked. JSON's null where none runs. */
static json_t *number_find(const struct search *search)
{
    json_t *number = NULL, *answer;
    uint64_t last = 0;
    bool more = true;
    while (more && client_ask(search->tool, "key.audit", json_pack("{s:I}", "after", (json_int_t)last), &answer) == ERROR_NONE) {
        uint64_t before = last;
        json_t *found = number_in(json_object_get(answer, "list"), &last);
        if (found != NULL) {
            json_decref(number);
            number = json_incref(found);
        }
        more = json_is_true(json_object_get(answer, "more")) && last > before;
        json_decref(answer);
    }
    error_forget();
    return number == NULL ? json_null() : number;
}

static void audit_tell(struct search *search, const struct pool_conf *conf, json_t *certificate)
{
    char target[TARGET_SIZE], pool[UUID_TEXT_SIZE];
    target_format(search, conf, target);
    uuid_format(conf->pool, pool);
    search->recorded = offline_audit(search->tool, conf, NULL, OPERATION, target, ERROR_NONE);
    json_t *number = search->recorded ? number_find(search) : json_null();
    bool known = json_is_integer(number);
    json_object_set_new(certificate, "audit",
                        json_pack("{s:s, s:s, s:s, s:o}", "pool", pool, "operation", OPERATION, "target", target, "number", number));
    if (!known)
        json_object_set_new(certificate, "why_no_audit_number",
                            json_string(conf->provider == NULL ? "the pool that was named is not encrypted, and has no audit"
                                        : search->recorded ? "the daemon of that pool gives it one when it has the pool open next: "
                                                             "`coffer key audit` shows it then"
                                                           : "it could not be recorded"));
}

/* The pool that the device was of is the one that is named, and still has something of it. */
static void print_next(const struct search *search, const struct pool_conf *conf)
{
    if (!search->tool->json && search->known && uuid_equal(search->pool, conf->pool) && conf->provider != NULL)
        fprintf(search->tool->out, "The other devices of that pool hold its wrapped keys until `%s key rekey --shallow`.\n",
                tool_self(search->tool));
}

static enum error certificate_finish(struct search *search, json_t *certificate, const struct pool_conf *conf)
{
    if (conf != NULL)
        audit_tell(search, conf, certificate);
    else
        json_object_set_new(certificate, "why_no_audit_number", json_string("no pool was named (-C), nor does just one run, whose audit could have it"));
    if (conf == NULL)
        json_object_set_new(certificate, "audit", json_null());
    AUTO_FREE char *text = json_dumps(certificate, JSON_INDENT(1));
    if (text == NULL)
        return ERROR_NO_MEMORY;
    TRY(certificate_keep(search->tool, search->path, search->certificate, text));
    if (conf != NULL)
        print_next(search, conf);
    return ERROR_NONE;
}

/* NULL: none is named, nor does a single one run. */
static struct pool_conf *named_conf(const struct search *search)
{
    struct pool_conf *conf;
    if (place_conf(search->tool, &conf) == ERROR_NONE)
        return conf;
    error_forget();
    return NULL;
}

/* The note of the erase stays where this fails. */
static enum error keep(void *context, const char *text)
{
    struct search *search = context;
    json_t *certificate = json_loads(text, 0, NULL);
    if (certificate == NULL)
        return ERROR_NO_MEMORY;
    struct pool_conf *conf = named_conf(search);
    enum error error = certificate_finish(search, certificate, conf);
    pool_conf_destroy(conf);
    json_decref(certificate);
    return error == ERROR_NONE ? ERROR_NONE
                               : error_explain(error, "%s; or run this again with another --certificate, which makes one",
                                               error_sentence(error));
}

/* One that was begun and did not come to its end. */
static void failure_audit(const struct search *search, enum error result)
{
    char target[TARGET_SIZE];
    AUTO_FREE char *sentence = strdup(error_sentence(result));
    struct pool_conf *conf = named_conf(search);
    if (conf != NULL) {
        target_format(search, conf, target);
        (void)!error_explain(result, "%s", sentence == NULL ? "" : sentence);
        offline_audit(search->tool, conf, NULL, OPERATION, target, result);
        pool_conf_destroy(conf);
    }
    (void)!error_explain(result, "%s", sentence == NULL ? "" : sentence);
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
    if (error && search.begins && !search.recorded)
        failure_audit(&search, error);
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
            "do that before or after. The audit of the pool that -C names, or without -C of the only one that runs, has the\n"
            "erase, with the number in the certificate, or with one that `key audit` shows as soon as its daemon runs.\n"
            "For a whole pool there is `coffer erase`.",
    .examples = "  coffer -C /srv/pool device erase /dev/sdc --accept-data-loss --certificate /root/sdc-erased.json\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = options,
    .run = run_erase,
};
