/*
 * Cryptographic erase of one device that is of no pool any more: it was replaced, left over, or bought with something on it.
 *
 * No key is asked for: what the device says of itself, which nobody vouched for, decides only that it is Coffer's, and is told
 * in the certificate as its word. Whether a pool still wants it is the caller's question, but for one that has it open, whose
 * lock is met; it is asked when the device is locked, since its path can lead elsewhere meanwhile. A device that carries no
 * superblock, nor the notes of an erase (erase_note.c), is left alone, zeros in its place or not: it may never have been Coffer's.
 * It is locked from the first look to the last write. Run again after a crash it ends what was begun: the superblocks are whole in
 * one copy, or the notes are in their place, until the certificate is kept. One thread.
 */
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/moment.h"
#include "engine/coffer.h"
#include "engine/device/device.h"
#include "engine/group/superblock.h"
#include "engine/pool/erase_areas.h"

static void json_free_scope(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_free_scope)))

struct left_over {
    struct device *device;
    struct superblock_probe probe;
    struct erase_note note; /* what it states, or stated when its erase began */
    bool again;             /* that was before */
    uint64_t begun, noted;  /* this run, and what the note says of the first; 0: none that can be */
    bool whole;             /* a superblock is: it states what there is to overwrite */
    size_t areas;           /* that were overwritten */
    const char *found;
};

/* ---- what it is ------------------------------------------------------------------------------------------------------------- */

static enum error nothing_found(const struct left_over *left)
{
    bool erased = false;
    if (left->device->size >= 2 * AREA_SIZE)
        TRY(areas_are_erased(left->device, NULL, &erased));
    return error_explain(ERROR_FOREIGN,
                         erased ? "%s carries no Coffer superblock; was it erased before? nothing is done"
                                : "%s carries no Coffer superblock, and is not empty: it is left alone",
                         left->device->path);
}

static enum error look(struct left_over *left)
{
    enum error error = superblock_probe(left->device, &left->probe), noted = erase_note_find(left->device, &left->note);
    left->again = noted == ERROR_NONE;
    if (!left->again)
        left->note = (struct erase_note){0};
    left->begun = (uint64_t)clock_seconds();
    left->noted = left->note.begun <= left->begun ? left->note.begun : 0;
    left->note.begun = left->noted ? left->noted : left->begun;
    left->found = left->again ? "by the note of its erase, which was begun before, with ids that no key proved"
                              : "by what is left of its superblocks";
    switch (error) {
    case ERROR_NONE:
        left->found = "by the ids in its superblock, which no key proved";
        left->whole = true;
        return erase_note_state(left->device, &left->probe, &left->note);
    case ERROR_CORRUPT:
        error_forget();
        return ERROR_NONE;
    case ERROR_NOT_FOUND:
        if (!left->again && noted != ERROR_NOT_FOUND)
            return noted; /* one that cannot be read now may be there */
        return left->again ? erase_note_check_unused(left->device) : nothing_found(left);
    default:
        return error;
    }
}

/* ---- the certificate -------------------------------------------------------------------------------------------------------- */

static void line_add(json_t *lines, const char *text)
{
    json_array_append_new(lines, json_string(text));
}

static bool is_plain(const struct left_over *left)
{
    return left->note.known && !left->note.encrypted;
}

static const char *rest(const struct left_over *left)
{
    return is_plain(left)      ? REST_IS_PLAIN
           : left->note.known ? REST_IS_SEALED
                              : "unless they were encrypted, which nothing says, what they hold can be read: overwrite the whole disk";
}

/* Also where nothing is known of it: then it may have been encrypted. */
static json_t *openers(const struct left_over *left, bool discarded)
{
    json_t *lines = json_array();
    char sentence[256], provider[UUID_TEXT_SIZE];
    const struct erase_note *note = &left->note;
    if (!discarded && (is_plain(left) || !note->known))
        line_add(lines, note->known ? "this device, without any key: it was not discarded, and holds its data as they were; overwrite the whole "
                                      "disk"
                                    : "this device, without any key, unless it was encrypted, which nothing says: it was not discarded");
    if (is_plain(left)) {
        line_add(lines, "files " EVIDENCE_PREFIX "… that `coffer check --repair` made while it was a device of the pool: they hold data "
                        "as it was");
        return lines;
    }
    if (note->known) {
        uuid_format(note->provider, provider);
        snprintf(sentence, sizeof sentence, "key number %llu of provider %s, and what that is made of (key file, TPM, key servers), "
                 "with an image of a superblock of this device", (unsigned long long)note->kek_number, provider);
        line_add(lines, sentence);
    }
    if (!note->known || note->device_count > 1)
        line_add(lines, "the superblocks of the pool's other devices, which hold the wrapped keys of this one too until they are "
                        "written anew without it, with the pool's key: `coffer key rekey --shallow` does that");
    line_add(lines, "backups that `coffer key backup` made while it was a device of the pool, each with its password alone: they hold "
                    "the wrapped data keys too");
    line_add(lines, "backups that `coffer backup` made, with their passphrase and the pool's key: they hold superblocks");
    line_add(lines, "files " EVIDENCE_PREFIX "… that `coffer check --repair` made while it was a device of the pool, with the pool's "
                    "key: they may hold superblocks");
    line_add(lines, "a recovery key with a copy of recovery.json, with an image of a superblock");
    line_add(lines, "keys that somebody read out of a running host, with an image of the device");
    return lines;
}

/* "": not known. */
static void ids_format(const struct left_over *left, char pool[UUID_TEXT_SIZE], char id[UUID_TEXT_SIZE])
{
    pool[0] = id[0] = '\0';
    if (!left->note.known)
        return;
    uuid_format(left->note.pool, pool);
    uuid_format(left->note.device, id);
}

/* Where no superblock is whole there may have been copies at the end of another size. */
static const char *places(const struct left_over *left)
{
    return left->whole ? "in all copies" : left->again ? "in the places that the note names" : "at both ends of the device";
}

static enum error certificate_write(const struct left_over *left, bool discarded, char **certificate)
{
    char pool[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE], host[256] = "", serial[FACT_SIZE], model[FACT_SIZE];
    char when[MOMENT_TEXT_SIZE], begun[MOMENT_TEXT_SIZE], noted[MOMENT_TEXT_SIZE] = "";
    const char *path = left->device->path;
    bool plain = is_plain(left);
    moment_utc(clock_seconds(), when);
    moment_utc(left->begun, begun);
    if (left->noted)
        moment_utc(left->noted, noted);
    (void)!gethostname(host, sizeof host - 1);
    ids_format(left, pool, id);
    disk_fact(left->device, "serial", serial);
    disk_fact(left->device, "model", model);
    AUTO_FREE char *absolute = realpath(path, NULL);
    AUTO_JSON json_t *json = json_pack(
        "{s:s, s:s++++, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:I, s:s, s:I, s:b, s:b, s:n, s:s, s:o}", "certificate",
        "erase of a Coffer device", "method",
        plain ? "superblocks and checkpoint records overwritten once "
              : "cryptographic erase (NIST SP 800-88 Rev. 1): AES-256 key slots, KWP-wrapped, overwritten once ",
        places(left), " and read back; ", discarded ? "device discarded; " : "device NOT discarded; ",
        plain ? "it was NOT encrypted: what a discard leaves can be read" : "no key was asked for", "pool", pool, "device", id, "path",
        absolute ? absolute : path, "host", host, "begun", begun, "begun_by_the_note", noted, "time", when,
        "finished_in_a_later_run", left->again, "serial", serial, "model", model, "bytes", (json_int_t)left->device->size, "found",
        left->found, "areas_overwritten", (json_int_t)left->areas, "read_back", 1, "discarded", discarded,
        "key_slots", "why_no_key_slots",
        plain ? "it was not encrypted" : "no key was asked for, so what its key slots held cannot be told by check values",
        "could_open_what_is_left", openers(left, discarded));
    if (json && left->whole)
        json_object_set_new(json, "superblock_copies_overwritten", json_integer(SUPERBLOCK_COPIES));
    *certificate = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    return *certificate ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------- */

/* Anybody can make a note: where a superblock is whole it must not talk away the danger that a pool still wants the device. */
static enum error ask(const struct left_over *left, const struct pool_device_caller *caller)
{
    struct stat status;
    TRY(device_file_status(left->device, &status));
    struct pool_device_told told = {.status = &status,
                                    .known = left->note.known,
                                    .pool = left->note.pool,
                                    .device = left->note.device,
                                    .begun = left->whole ? 0 : left->noted};
    return caller->check(caller->context, &told);
}

/* The notes stay until what was done is told for good. */
static enum error tell(const struct left_over *left, bool discarded, const struct pool_device_caller *caller)
{
    AUTO_FREE char *certificate = NULL;
    TRY(certificate_write(left, discarded, &certificate));
    TRY(caller->keep(caller->context, certificate));
    return areas_finish(left->device);
}

enum error pool_device_erase(const char *path, const struct pool_device_caller *caller)
{
    struct left_over *left = memory_zeroed(1, sizeof *left);
    if (!left)
        return ERROR_NO_MEMORY;
    enum error error = device_open_file(path, 0, &left->device);
    if (error) {
        free(left);
        return error;
    }
    error = look(left);
    if (!error)
        error = ask(left, caller);
    if (!error)
        error = areas_erase(left->device, &left->probe, &left->note, &left->areas);
    if (!error)
        error = tell(left, device_empty(left->device, rest(left)), caller);
    device_close(left->device);
    free(left);
    return error;
}
