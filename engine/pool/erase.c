/*
 * Cryptographic erase of a whole pool (NIST SP 800-88 Rev. 1, 2.6 and appendix D): what every stored byte is encrypted
 * under is destroyed, so that the bytes need not be.
 *
 *   prove      the key opens every device, so that it is this pool that goes; or, the key being lost, the ids on every device
 *              are those that the conf names
 *   devices    one after the other, every area in which superblocks and checkpoint records lie is overwritten, made durable, read
 *              back, behind notes of what the device was (erase_note.c); then the whole device is discarded
 *   evidence   of repairs (evidence_file.c), in the pool directory: removed
 *   key files  overwritten and removed
 *   notes      taken away
 *   tell       a certificate: what was destroyed, and what else might open an image of the devices
 *
 * Devices go before key files: as long as a device is left, what is left opens it, and nobody can be without both by
 * accident of a crash; it is run again, with `without_key` once a device is gone. One that was begun with is known by its notes, which
 * name all places; one whose ends are zero is taken for one that was erased before, and nothing is claimed of it. Devices are
 * locked from the first look to the last write. One thread.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "crypto/key_cache.h"
#include "crypto/provider_root.h"
#include "crypto/recovery.h"
#include "engine/pool/audit.h"
#include "engine/pool/erase_areas.h"
#include "engine/pool/evidence_list.h"
#include "engine/pool/key_place.h"
#include "engine/pool/keys.h"
#include "engine/pool/opening.h"

struct erasure {
    struct pool *pool;
    struct opening opening;
    const struct pool_erase_options *options;
    json_t *devices, *keys, *open; /* of the certificate */
    struct audit_anchor audit;
};

/* jansson takes NULL for a failure of the whole. */
static enum error append(json_t *array, json_t *element)
{
    return json_array_append_new(array, element) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* ---- what is erased ------------------------------------------------------------------------------------------------------- */

static const char *kind_name(enum key_kind kind)
{
    return kind == KEY_KIND_DEK ? "dek" : kind == KEY_KIND_LOG ? "log" : "pool";
}

/* By KCV: whoever has a key can tell whether it was one of these. NULL keyring: nobody knows. */
static enum error slots_describe(const struct keyring *keyring, struct uuid device, json_t *slots)
{
    for (size_t i = 0; keyring != NULL && i < keyring->count; i++) {
        uint8_t kcv[KCV_SIZE];
        char digits[KCV_TEXT_SIZE];
        TRY(kcv_derive(keyring->slots[i].key, device, kcv));
        kcv_format(kcv, digits);
        TRY(append(slots, json_pack("{s:s, s:I, s:s}", "kind", kind_name(keyring->slots[i].kind), "slot",
                                    (json_int_t)keyring->slots[i].number, "kcv", digits)));
    }
    return ERROR_NONE;
}

/* ---- devices -------------------------------------------------------------------------------------------------------------- */

/* How a device was known. */
static const char by_key[] = "opened by its key", by_ids[] = "by the ids in its superblock",
                  by_note[] = "by the note of its erase, which was begun before", as_empty[] = "empty, erased before";

static bool is_noted(const struct erasure *erasure, size_t i, struct erase_note *note)
{
    const struct opening *opening = &erasure->opening;
    if (erase_note_find(opening->devices[i], note) == ERROR_NONE)
        return note->known && uuid_equal(note->pool, erasure->pool->conf->pool) &&
               uuid_equal(note->device, opening->conf->devices[i].id);
    error_forget(); /* what cannot be read is overwritten */
    return false;
}

/* A note that was there stays as it is where no superblock is whole: a crash may come between the two. */
static enum error note_make(const struct erasure *erasure, size_t i, struct erase_note *note)
{
    const struct opening *opening = &erasure->opening;
    const struct superblock_probe *probe = &opening->probes[i];
    if (!is_noted(erasure, i, note))
        *note = (struct erase_note){.known = true,
                                    .encrypted = erasure->pool->conf->encryption != POOL_ENCRYPTION_OFF,
                                    .pool = erasure->pool->conf->pool,
                                    .device = opening->conf->devices[i].id,
                                    .device_count = (uint32_t)opening->conf->device_count,
                                    .begun = (uint64_t)clock_seconds()};
    return superblock_newest(probe) ? erase_note_state(opening->devices[i], probe, note) : ERROR_NONE;
}

/* Where nothing was left to say how large the pool's device was. */
static enum error empty_tell(struct erasure *erasure, const struct device *device)
{
    char sentence[PATH_MAX + 256];
    snprintf(sentence, sizeof sentence,
             "%s, which was empty at both ends: if it was copied from a smaller disk there may be superblocks at the end of that one's size, "
             "which were not looked for; overwrite the whole disk", device->path);
    message(MESSAGE_WARNING, "%s", sentence);
    return append(erasure->open, json_string(sentence));
}

/* What a device keeps of a pool that was not encrypted nothing else makes unreadable. */
static enum error discard_device(struct erasure *erasure, struct device *device, bool *discarded)
{
    char sentence[PATH_MAX + 128];
    bool plain = erasure->pool->conf->encryption == POOL_ENCRYPTION_OFF;
    *discarded = device_empty(device, plain ? REST_IS_PLAIN : REST_IS_SEALED);
    if (*discarded || !plain)
        return ERROR_NONE;
    snprintf(sentence, sizeof sentence, "%s, without any key: it was not discarded, and holds its data as they were; overwrite the whole "
             "disk", device->path);
    return append(erasure->open, json_string(sentence));
}

static json_t *device_describe(const struct erasure *erasure, size_t i, const char *found, size_t areas, bool discarded)
{
    const struct device *device = erasure->opening.devices[i];
    const struct pool_conf_device *conf = &erasure->opening.conf->devices[i];
    char id[UUID_TEXT_SIZE], serial[FACT_SIZE], model[FACT_SIZE];
    AUTO_FREE char *absolute = realpath(conf->path, NULL);
    uuid_format(conf->id, id);
    disk_fact(device, "serial", serial);
    disk_fact(device, "model", model);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:b, s:b}", "path", absolute ? absolute : conf->path, "device", id,
                             "serial", serial, "model", model, "bytes", (json_int_t)device->size, "found", found,
                             "areas_overwritten", (json_int_t)areas, "read_back", true, "discarded", discarded);
    if (json && superblock_newest(&erasure->opening.probes[i])) /* it states where all are */
        json_object_set_new(json, "superblock_copies_overwritten", json_integer(SUPERBLOCK_COPIES));
    return json;
}

static enum error device_overwrite(struct erasure *erasure, size_t i, const char *found)
{
    struct device *device = erasure->opening.devices[i];
    struct erase_note note;
    size_t areas;
    bool discarded;
    TRY(note_make(erasure, i, &note));
    TRY(areas_erase(device, &erasure->opening.probes[i], &note, &areas));
    if (found == as_empty)
        TRY(empty_tell(erasure, device));
    TRY(discard_device(erasure, device, &discarded));
    return append(erasure->devices, device_describe(erasure, i, found, areas, discarded));
}

static enum error device_erase(struct erasure *erasure, size_t i, const char *found)
{
    json_t *slots = json_array();
    enum error error = slots ? slots_describe(erasure->opening.keyrings[i], erasure->opening.conf->devices[i].id, slots)
                             : ERROR_NO_MEMORY;
    if (!error)
        error = device_overwrite(erasure, i, found);
    if (error) {
        json_decref(slots);
        return error;
    }
    json_t *described = json_array_get(erasure->devices, json_array_size(erasure->devices) - 1);
    return json_object_set_new(described, "key_slots", slots) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
}

static enum error proved_erase(struct erasure *erasure)
{
    const struct opening *opening = &erasure->opening;
    for (size_t i = 0; i < opening->count; i++)
        TRY(device_erase(erasure, i, by_key));
    return ERROR_NONE;
}

/* ---- without the key -------------------------------------------------------------------------------------------------------- */

static enum error empty_look(struct device *device, const struct uuid *id)
{
    bool zero;
    TRY(areas_are_erased(device, id, &zero));
    return zero ? ERROR_NONE
                : error_explain(ERROR_FOREIGN, "%s is neither a device of this pool nor empty: it is left alone, and nothing was erased",
                                device->path);
}

static enum error device_look(struct erasure *erasure, size_t i, const char **found)
{
    struct opening *opening = &erasure->opening;
    struct device *device;
    struct erase_note note;
    TRY(device_open_file(opening->conf->devices[i].path, 0, &device));
    opening->devices[opening->count++] = device;
    bool noted = is_noted(erasure, i, &note);
    enum error error = superblock_probe(device, &opening->probes[i]);
    if (!error) {
        *found = by_ids;
        return pool_device_check(erasure->pool->conf, opening->conf, i, &opening->probes[i]);
    }
    if (device->size >= 2 * AREA_SIZE && noted && (error == ERROR_NOT_FOUND || error == ERROR_CORRUPT)) {
        error_forget();
        *found = by_note;
        return erase_note_check_unused(device);
    }
    if (error != ERROR_NOT_FOUND || device->size < 2 * AREA_SIZE)
        return error;
    *found = as_empty;
    return empty_look(device, &opening->conf->devices[i].id);
}

static enum error unproved_erase(struct erasure *erasure)
{
    const struct opening *opening = &erasure->opening;
    const char *found[GROUP_DEVICES_MAX];
    for (size_t i = 0; i < opening->conf->device_count; i++)
        TRY(device_look(erasure, i, &found[i]));
    for (size_t i = 0; i < opening->count; i++)
        TRY(device_erase(erasure, i, found[i]));
    return ERROR_NONE;
}

/* ---- evidence of repairs ---------------------------------------------------------------------------------------------------- */

static enum error evidence_remove(int directory, const char *name, uint64_t bytes, void *context)
{
    const struct erasure *erasure = context;
    char sentence[PATH_MAX + 256];
    if (unlinkat(directory, name, 0) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s/%s", erasure->pool->directory, name);
    snprintf(sentence, sizeof sentence,
             "copies of %s/%s, and what its file system and its snapshots still have of it: %" PRIu64
             " bytes that a repair kept, removed here but not overwritten",
             erasure->pool->directory, name, bytes);
    return append(erasure->open, json_string(sentence));
}

static enum error evidence_erase(struct erasure *erasure)
{
    TRY(evidence_list(erasure->pool->directory, evidence_remove, erasure));
    return append(erasure->open,
                  json_string(erasure->pool->conf->encryption == POOL_ENCRYPTION_OFF
                                  ? "files " EVIDENCE_PREFIX "… that `coffer check --repair --evidence DIR` made: they hold data as it was"
                                  : "files " EVIDENCE_PREFIX "… that `coffer check --repair --evidence DIR` made, with the pool's key: "
                                    "they may hold superblocks"));
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------- */

static enum error key_file_destroy(const struct erasure *erasure, const struct provider_config *provider)
{
    const struct pool_erase_options *options = erasure->options;
    enum error error = key_place_check(erasure->pool->directory, provider, options->key_files, options->key_file_count);
    return error ? error : provider_root_destroy(provider);
}

/* What is no key of this provider, or lies where other pools may look for it, is left alone, and told. */
static enum error key_file_erase(struct erasure *erasure, const struct provider_config *provider)
{
    const char *others = strcmp(provider->seal, "tpm") == 0
                             ? "copies of the key under a passphrase (`coffer create --copy`, `coffer key tpm copy`)"
                             : "copies of the key file";
    char sentence[PATH_MAX], why[2 * PATH_MAX] = "";
    struct stat status;
    bool alone = stat(provider->path, &status) == 0 && status.st_nlink == 1; /* else its bytes are another name's too */
    enum error error = key_file_destroy(erasure, provider);
    bool left = error == ERROR_UNCONFIRMED;
    if (left || error == ERROR_FOREIGN || error == ERROR_CORRUPT || error == ERROR_TOO_LARGE || error == ERROR_INVALID) {
        snprintf(why, sizeof why, "%s%s", error_sentence(error), left ? ", in another run, with --without-key" : "");
        message(MESSAGE_WARNING, "%s", why);
        error_forget();
    } else {
        TRY(error);
    }
    TRY(append(erasure->keys, json_pack("{s:s, s:s, s:s, s:b, s:s}", "provider", provider->name, "seal", provider->seal, "path",
                                        provider->path, "destroyed", alone && why[0] == '\0', "why_not", why)));
    snprintf(sentence, sizeof sentence, "%s%s %s, with an image of a superblock", left ? "the key file itself, which was left, and " : "",
             others, provider->path);
    return append(erasure->open, json_string(sentence));
}

/* The file in the directory is of no use without the key on paper, and to whoever has that a way in. */
static enum error recovery_erase(struct erasure *erasure)
{
    AUTO_FREE char *path = file_join(erasure->pool->directory, RECOVERY_NAME);
    if (!path)
        return ERROR_NO_MEMORY;
    if (unlink(path) != 0 && errno != ENOENT)
        return error_from_errno(errno, "remove %s", path);
    TRY(append(erasure->open, json_string("backups that `coffer key backup` made, each with its password alone: they hold the "
                                          "wrapped data keys too (those of before a deep rekey open nothing newer)")));
    return append(erasure->open, json_string("a recovery key with a copy of " RECOVERY_NAME ", with an image of a superblock"));
}

static enum error key_elsewhere_tell(struct erasure *erasure, const struct provider_config *provider)
{
    char id[UUID_TEXT_SIZE], sentence[512];
    uuid_format(erasure->pool->conf->pool, id);
    TRY(append(erasure->keys, json_pack("{s:s, s:s, s:b}", "provider", provider->name, "type", provider->type, "destroyed", false)));
    snprintf(sentence, sizeof sentence,
             "the keys coffer/%s/kek/N on the servers of provider %s, with an image of a superblock: destroy them there", id,
             provider->name);
    return append(erasure->open, json_string(sentence));
}

/* A copy of it is of use to whoever has the TPM as well. What is no cache of this pool is left alone, and told. */
static enum error cache_erase(struct erasure *erasure, const struct provider_config *provider)
{
    char sentence[PATH_MAX];
    bool was;
    enum error error = key_cache_destroy(provider, erasure->pool->conf->pool, &was);
    if (error == ERROR_FOREIGN) {
        message(MESSAGE_WARNING, "%s", error_sentence(error));
        error_forget();
    } else {
        TRY(error);
    }
    if (was)
        TRY(append(erasure->keys, json_pack("{s:s, s:s, s:s, s:b}", "provider", provider->name, "cached", "tpm", "path",
                                            provider->cache, "destroyed", true)));
    if (!was && provider->cache_seconds == 0)
        return ERROR_NONE;
    snprintf(sentence, sizeof sentence,
             "copies of %s, the key of provider %s cached in this machine's TPM, with that TPM and an image of a superblock",
             provider->cache, provider->name);
    return append(erasure->open, json_string(sentence));
}

static enum error keys_erase(struct erasure *erasure)
{
    const struct pool_conf *conf = erasure->pool->conf;
    for (size_t i = 0; i < conf->provider_count; i++)
        TRY(conf->providers[i].path ? key_file_erase(erasure, &conf->providers[i])
                                    : key_elsewhere_tell(erasure, &conf->providers[i]));
    for (size_t i = 0; i < conf->provider_count; i++)
        if (conf->providers[i].cache)
            TRY(cache_erase(erasure, &conf->providers[i]));
    TRY(recovery_erase(erasure));
    return append(erasure->open, json_string("keys that somebody read out of a running host, with an image of the device"));
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------- */

/* Before anything is gone: the file stays, whatever becomes of the rest. */
static enum error erasure_audit(struct erasure *erasure)
{
    struct pool *pool = erasure->pool;
    struct pool_audit_entry entry = {.uid = (uint32_t)getuid(), .pid = (uint32_t)getpid(), .operation = "pool.erase",
                                     .target = "all devices and key files", .result = "begun"};
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF || erasure->options->without_key)
        return ERROR_NONE;
    TRY(audit_begin(pool->audit, pool->conf->pool, pool->k_pools, &pool->witness->audit));
    audit_add(pool->audit, &entry);
    audit_anchor_get(pool->audit, &erasure->audit);
    return ERROR_NONE;
}

static enum error proved(struct erasure *erasure)
{
    if (erasure->options->without_key)
        return ERROR_NONE;
    enum error error = opening_authenticate(&erasure->opening);
    bool lost = error == ERROR_KEY_ABSENT || (error == ERROR_FOREIGN && erasure->opening.key->error);
    if (error)
        return error_prefix(error, lost ? "nothing was erased (if the key is lost for good: --without-key)" : "nothing was erased");
    return ERROR_NONE;
}

static enum error steps(struct erasure *erasure)
{
    const struct pool_erase_options *options = erasure->options;
    TRY(key_place_named_check(erasure->pool->conf, options->key_files, options->key_file_count));
    TRY(proved(erasure));
    TRY(erasure_audit(erasure));
    TRY(erasure->options->without_key ? unproved_erase(erasure) : proved_erase(erasure));
    TRY(evidence_erase(erasure));
    if (erasure->pool->conf->encryption != POOL_ENCRYPTION_OFF)
        TRY(keys_erase(erasure));
    for (size_t i = 0; i < erasure->opening.count; i++)
        TRY(areas_finish(erasure->opening.devices[i]));
    return ERROR_NONE;
}

static enum error certificate_write(const struct erasure *erasure, char **certificate)
{
    const struct pool *pool = erasure->pool;
    char id[UUID_TEXT_SIZE], when[MOMENT_TEXT_SIZE], host[256] = "", head[HEX_TEXT_SIZE(sizeof erasure->audit.head)] = "";
    bool encrypted = pool->conf->encryption != POOL_ENCRYPTION_OFF;
    moment_utc(clock_seconds(), when);
    (void)!gethostname(host, sizeof host - 1);
    uuid_format(pool->conf->pool, id);
    if (erasure->audit.count)
        hex_format(erasure->audit.head, sizeof erasure->audit.head, head);
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:O, s:O, s:{s:I, s:s}}", "certificate", "erase of a Coffer pool", "method",
        encrypted ? "cryptographic erase (NIST SP 800-88 Rev. 1): AES-256 key slots, KWP-wrapped, overwritten once in the "
                    "places that each device states and read back; devices discarded where it says so; key files "
                    "overwritten"
                  : "superblocks and checkpoint records overwritten once in the places that each device states and read back; devices "
                    "discarded where it says so; "
                    "the pool was NOT encrypted: what a discard leaves can be read",
        "pool", id, "directory", pool->directory, "host", host, "time", when, "devices", erasure->devices, "keys", erasure->keys,
        "could_open_what_is_left", erasure->open, "audit", "count", (json_int_t)erasure->audit.count, "head", head);
    char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    json_decref(json);
    if (!text)
        return ERROR_NO_MEMORY;
    *certificate = text;
    return ERROR_NONE;
}

static enum error erase(struct erasure *erasure, char **certificate)
{
    enum error error = steps(erasure);
    size_t gone = json_array_size(erasure->devices);
    if (error && gone)
        return error_prefix(error, "%zu of %zu devices were erased; go on with --without-key", gone,
                            erasure->opening.conf->device_count);
    TRY(error);
    return certificate_write(erasure, certificate);
}

enum error pool_erase(const char *directory, const struct pool_erase_options *options, char **certificate)
{
    struct provider_secret secret = {options->passphrase, options->passphrase_size};
    struct pool_open_options how = {.accept_rollback = true};
    struct erasure erasure = {.options = options, .devices = json_array(), .keys = json_array(), .open = json_array()};
    enum error error = erasure.devices && erasure.keys && erasure.open ? pool_allocate(directory, &how, &erasure.pool)
                                                                       : ERROR_NO_MEMORY;
    if (!error) {
        error = opening_begin(&erasure.opening, erasure.pool, options->passphrase ? &secret : NULL);
        if (!error)
            error = erase(&erasure, certificate);
        opening_forget(&erasure.opening);
        witness_destroy(erasure.pool->witness);
        keys_forget(erasure.pool);
        pool_free(erasure.pool);
    }
    json_decref(erasure.devices);
    json_decref(erasure.keys);
    json_decref(erasure.open);
    return error ? error_prefix(error, "pool %s", directory) : ERROR_NONE;
}
