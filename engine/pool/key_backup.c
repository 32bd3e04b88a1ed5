/*
 * Making a backup of a pool's key, and proving one. Both read the superblock of every device, without a lock, while a
 * daemon may be writing it; a copy that is torn does not verify, the other end of the device has whole ones, and where all
 * fail the whole is tried again. Nothing is written.
 *
 * The KEK in force is the one that the witness names; during a change of keys the superblocks are under two, of which the
 * backup's key opens one or both. What a superblock says of itself counts once it is opened by that key. One thread; no locks.
 */
#include "engine/pool/key_backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider_key.h"
#include "engine/device/device.h"
#include "engine/group/superblock.h"
#include "engine/group/superblock_image.h"
#include "engine/pool/kek_number.h"

#define CONF_BYTES_MAX (256u << 10)
#define READ_ATTEMPTS  4
#define READ_PAUSE     (100 * CLOCK_MILLISECOND)

/* A device's superblock, opened. */
struct opened {
    struct superblock superblock;
    struct keyring *keyring;
};

static void opened_forget(struct opened *opened)
{
    superblock_forget(&opened->superblock);
    keyring_destroy(opened->keyring);
}

/* ---- one device -------------------------------------------------------------------------------------------------- */

static enum error open_under(struct device *device, const struct superblock_probe *probe, struct uuid pool,
                             const struct wrapping *wrapping, const struct key_backup *backup, struct opened *opened)
{
    struct provider_kek which = {pool, wrapping->kek_number, wrapping->kek_salt};
    uint8_t kek[KEY_SIZE];
    unsigned bad;
    TRY(provider_key_kek(backup->key, backup->is_kek, &which, kek));
    enum error error = superblock_open(device, probe, kek, &opened->superblock, &opened->keyring, &bad);
    memory_cleanse(kek, sizeof kek);
    return error;
}

/* `probe` is nobody's word yet; a false number or salt gives a key that opens nothing. */
static enum error open_by_key(struct device *device, const struct superblock_probe *probe, const struct key_backup *backup,
                              struct opened *opened)
{
    const struct superblock *newest = superblock_newest(probe);
    struct wrapping wrapping = newest->wrapping, other = newest->other;
    enum error error = open_under(device, probe, backup->pool, &wrapping, backup, opened);
    if (error == ERROR_WRONG_KEY && !uuid_is_zero(other.provider))
        error = open_under(device, probe, backup->pool, &other, backup, opened);
    return error;
}

static enum error probe_beside(const char *path, struct device **device, struct superblock_probe *probe)
{
    TRY(device_open_file(path, DEVICE_OPEN_BESIDE, device));
    enum error error = superblock_probe(*device, probe);
    if (error != ERROR_NONE)
        device_close(*device);
    return error;
}

/* What `alike` states may be anybody's word until it is opened. */
static enum error alike_open(struct device *device, const struct superblock_probe *alike, const struct key_backup *backup,
                             const char *path, struct opened *opened)
{
    const struct superblock *newest = superblock_newest(alike);
    if (!uuid_equal(newest->pool, backup->pool))
        return error_explain(ERROR_FOREIGN, "%s belongs to another pool", path);
    if (!newest->encryption)
        return error_explain(ERROR_INVALID, "%s is not encrypted", path);
    return open_by_key(device, alike, backup, opened);
}

static void copies_pass(struct superblock_probe *left, const struct superblock_probe *done)
{
    for (uint32_t n = 0; n < SUPERBLOCK_COPIES; n++)
        left->plausible[n] = left->plausible[n] && !done->plausible[n];
}

/* An altered copy may state any epoch, so the newest that verifies counts, as when a pool is opened; where none does, what was
 * wrong with the first. */
static enum error search(struct device *device, struct superblock_probe *left, const struct key_backup *backup, const char *path,
                         struct opened *opened)
{
    AUTO_FREE char *sentence = NULL;
    enum error first = ERROR_NONE;
    const struct superblock *newest;
    while ((newest = superblock_newest(left)) != NULL) {
        struct superblock_probe alike = superblock_copies_alike(left, newest);
        enum error error = alike_open(device, &alike, backup, path, opened);
        if (error == ERROR_NONE || error == ERROR_IO || error == ERROR_NO_MEMORY)
            return error;
        if (first == ERROR_NONE) {
            first = error;
            sentence = strdup(error_sentence(error));
        }
        copies_pass(left, &alike);
    }
    return sentence == NULL ? ERROR_NO_MEMORY : error_explain(first, "%s", sentence);
}

static enum error device_try(const char *path, const struct key_backup *backup, struct opened *opened)
{
    AUTO_FREE struct superblock_probe *probe = memory_zeroed(1, sizeof *probe);
    struct device *device;
    if (probe == NULL)
        return ERROR_NO_MEMORY;
    TRY(probe_beside(path, &device, probe));
    enum error error = search(device, probe, backup, path, opened);
    device_close(device);
    return error;
}

static enum error device_open_by(const char *path, const struct key_backup *backup, struct opened *opened)
{
    enum error error = device_try(path, backup, opened);
    for (int i = 1; i < READ_ATTEMPTS && (error == ERROR_CORRUPT || error == ERROR_FORGED); i++) {
        clock_sleep(READ_PAUSE);
        error = device_try(path, backup, opened);
    }
    return error;
}

enum error key_backup_identify(const struct key_backup *backup, const char *path, struct uuid *device)
{
    struct opened opened;
    TRY(device_open_by(path, backup, &opened));
    *device = opened.superblock.device;
    opened_forget(&opened);
    return ERROR_NONE;
}

enum error key_backup_audit_key(const struct key_backup *backup, const struct pool_conf *conf, struct k_pool *key)
{
    struct opened opened;
    TRY(device_open_by(conf->groups[0].devices[0].path, backup, &opened));
    const struct keyring_slot *slot = keyring_current(opened.keyring, KEY_KIND_POOL);
    enum error error = slot == NULL ? ERROR_CORRUPT : audit_key_derive(slot->key, conf->pool, key->key);
    key->number = slot == NULL ? 0 : slot->number;
    opened_forget(&opened);
    return error;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* Whether that wrapping is of the KEK in force; where the witness is lost, of any of the pool's provider. */
static bool is_in_force(const struct pool_conf *conf, const struct key_facts *keys, const struct wrapping *wrapping)
{
    return uuid_equal(wrapping->provider, conf->provider->id) &&
           (!keys->known || (uuid_equal(wrapping->provider, keys->provider) && wrapping->kek_number == keys->kek_number));
}

static const struct wrapping *wrapping_in_force(const struct pool_conf *conf, const struct key_facts *keys,
                                                const struct superblock *superblock)
{
    return is_in_force(conf, keys, &superblock->wrapping) ? &superblock->wrapping
           : is_in_force(conf, keys, &superblock->other)  ? &superblock->other
                                                          : NULL;
}

static enum error explain_other(const struct pool_conf *conf, const struct key_facts *keys, const char *path)
{
    if (!keys->known || !uuid_equal(keys->provider, conf->provider->id))
        return error_explain(ERROR_FOREIGN, "the keys of %s are not under provider %s, which %s/" POOL_CONF_NAME " names", path,
                             conf->provider->name, conf->directory);
    return error_explain(ERROR_FOREIGN,
                         "the keys of %s are not under key number %" PRIu64 " of provider %s, which %s/witness names: an older "
                         "image was put back; or, where the key is changing just now, try again",
                         path, keys->kek_number, conf->provider->name, conf->directory);
}

/* Which KEK of those in force the first device states; what it is verified by comes later. */
static enum error kek_find(const struct pool_conf *conf, const struct key_facts *keys, struct wrapping *wrapping)
{
    AUTO_FREE struct superblock_probe *left = memory_zeroed(1, sizeof *left);
    const char *path = conf->groups[0].devices[0].path;
    const struct superblock *newest;
    struct device *device;
    bool foreign = true;
    if (left == NULL)
        return ERROR_NO_MEMORY;
    TRY(probe_beside(path, &device, left));
    device_close(device);
    while ((newest = superblock_newest(left)) != NULL) {
        const struct wrapping *found = wrapping_in_force(conf, keys, newest);
        bool own = uuid_equal(newest->pool, conf->pool);
        foreign = foreign && !own;
        if (found != NULL && own) {
            *wrapping = *found;
            return ERROR_NONE;
        }
        struct superblock_probe alike = superblock_copies_alike(left, newest);
        copies_pass(left, &alike);
    }
    return foreign ? error_explain(ERROR_FOREIGN, "%s belongs to another pool", path) : explain_other(conf, keys, path);
}

static enum error slots_take(const struct opened *opened, const struct key_backup *backup, struct key_backup_device *device)
{
    struct provider_kek which = {backup->pool, backup->kek_number, backup->kek_salt};
    uint8_t kek[KEY_SIZE], wrap_key[KEY_SIZE];
    device->id = opened->superblock.device;
    device->slots = memory_zeroed(opened->keyring->count, sizeof *device->slots);
    if (device->slots == NULL)
        return ERROR_NO_MEMORY;
    enum error error = provider_key_kek(backup->key, backup->is_kek, &which, kek);
    if (error == ERROR_NONE)
        error = wrap_key_derive(kek, backup->pool, device->id, wrap_key);
    for (size_t i = 0; i < opened->keyring->count && error == ERROR_NONE; i++) {
        error = superblock_slot_wrap(&opened->keyring->slots[i], device->id, wrap_key, 0, &device->slots[i]);
        device->slot_count++;
    }
    memory_cleanse(kek, sizeof kek);
    memory_cleanse(wrap_key, sizeof wrap_key);
    return error;
}

static enum error devices_take(const struct pool_conf *conf, const struct key_facts *keys, struct key_backup *backup)
{
    const struct pool_conf_group *group = &conf->groups[0];
    backup->devices = memory_zeroed(group->device_count, sizeof *backup->devices);
    if (backup->devices == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < group->device_count; i++) {
        struct opened opened;
        TRY(device_open_by(group->devices[i].path, backup, &opened));
        backup->device_count++;
        const struct wrapping *wrapping = wrapping_in_force(conf, keys, &opened.superblock);
        enum error error = wrapping == NULL ? explain_other(conf, keys, group->devices[i].path) : ERROR_NONE;
        if (error == ERROR_NONE && i == 0)
            backup->kek_salt = wrapping->kek_salt; /* verified */
        if (error == ERROR_NONE)
            error = slots_take(&opened, backup, &backup->devices[i]);
        opened_forget(&opened);
        TRY(error);
    }
    return ERROR_NONE;
}

static enum error conf_take(const struct pool_conf *conf, struct key_backup *backup)
{
    AUTO_FREE char *path = file_join(conf->directory, POOL_CONF_NAME);
    void *text;
    size_t size;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(file_read(path, CONF_BYTES_MAX, &text, &size));
    backup->conf = text;
    return strlen(text) == size ? ERROR_NONE : error_explain(ERROR_CORRUPT, "%s holds a zero byte", path);
}

static enum error backup_fill(const struct pool_conf *conf, const struct provider_secret *secret, struct key_backup *backup)
{
    struct wrapping wrapping;
    struct key_facts keys;
    backup->pool = conf->pool;
    backup->provider = conf->provider->id;
    snprintf(backup->provider_name, sizeof backup->provider_name, "%s", conf->provider->name);
    backup->made = clock_seconds();
    TRY(provider_keeps_keks(conf->provider, &backup->is_kek));
    TRY(key_facts_read(conf, &keys));
    TRY(kek_find(conf, &keys, &wrapping));
    backup->kek_number = wrapping.kek_number;
    backup->kek_salt = wrapping.kek_salt;
    struct provider_kek which = {conf->pool, wrapping.kek_number, wrapping.kek_salt};
    TRY(provider_key_open(conf->provider, secret, &which, backup->key));
    TRY(kcv_derive(backup->key, backup->provider, backup->kcv));
    TRY(conf_take(conf, backup));
    return devices_take(conf, &keys, backup);
}

enum error key_backup_make(const struct pool_conf *conf, const struct provider_secret *secret, struct key_backup **backup)
{
    if (conf->provider == NULL)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key to keep", conf->directory);
    struct key_backup *made = arena_allocate(sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    enum error error = backup_fill(conf, secret, made);
    if (error != ERROR_NONE)
        key_backup_destroy(made);
    else
        *backup = made;
    return error;
}

void key_backup_destroy(struct key_backup *backup)
{
    if (backup == NULL)
        return;
    for (size_t i = 0; i < backup->device_count; i++)
        free(backup->devices[i].slots);
    free(backup->devices);
    free(backup->conf);
    arena_free(backup);
}

/* ---- proving ------------------------------------------------------------------------------------------------------ */

enum error key_backup_check_pool(const struct key_backup *backup, struct uuid pool)
{
    char of[UUID_TEXT_SIZE], wanted[UUID_TEXT_SIZE];
    if (uuid_equal(backup->pool, pool))
        return ERROR_NONE;
    uuid_format(backup->pool, of);
    uuid_format(pool, wanted);
    return error_explain(ERROR_FOREIGN, "this is the key of another pool: of %s, not of %s", of, wanted);
}

/* What is in the backup itself, under the KEK of its day. */
static enum error own_slots_prove(const struct key_backup *backup, size_t i)
{
    const struct key_backup_device *device = &backup->devices[i];
    struct superblock superblock = {.pool = backup->pool, .device = device->id, .encryption = true, .log_key_demanded = 1,
                                    .pool_key_demanded = 1};
    struct provider_kek which = {backup->pool, backup->kek_number, backup->kek_salt};
    struct keyring *keyring;
    uint8_t kek[KEY_SIZE];
    TRY(provider_key_kek(backup->key, backup->is_kek, &which, kek));
    enum error error = superblock_slots_open(device->slots, device->slot_count, &superblock, kek, 0, NULL, &keyring);
    memory_cleanse(kek, sizeof kek);
    if (error == ERROR_NONE)
        keyring_destroy(keyring);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "the key slots in the backup, of device %zu", i + 1);
}

static enum error device_prove(const struct key_backup *backup, const char *path, size_t *slots)
{
    struct opened opened;
    enum error error = device_open_by(path, backup, &opened);
    if (error == ERROR_WRONG_KEY)
        return error_explain(error,
                             "the key in the backup does not open %s any more: the pool has a newer key, so make a new "
                             "backup",
                             path);
    TRY(error);
    *slots += opened.keyring->count;
    opened_forget(&opened);
    return ERROR_NONE;
}

enum error key_backup_prove(const struct key_backup *backup, const struct pool_conf *conf, struct key_backup_proof *proof)
{
    const struct pool_conf_group *group = &conf->groups[0];
    struct key_backup_proof done = {0};
    TRY(key_backup_check_pool(backup, conf->pool));
    for (size_t i = 0; i < backup->device_count; i++)
        TRY(own_slots_prove(backup, i));
    for (size_t i = 0; i < group->device_count; i++)
        TRY(device_prove(backup, group->devices[i].path, &done.slots));
    done.devices = group->device_count;
    *proof = done;
    return ERROR_NONE;
}
