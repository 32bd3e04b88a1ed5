/*
 * Making a backup of a pool's key, and proving one. Both read the superblock of every device, without a lock, while a
 * daemon may be writing it; a copy that is torn does not verify, the other end of the device has whole ones, and where all
 * fail the whole is tried again. Nothing is written.
 *
 * The KEK in force is the one that the superblocks are under; during a change of keys they are under two, of which the
 * backup's key opens one or both. One thread; no locks.
 */
#include "engine/pool/key_backup.h"

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

static enum error probe_beside(const struct pool_conf *conf, const char *path, struct device **device,
                               struct superblock_probe *probe)
{
    TRY(device_open_file(path, DEVICE_OPEN_BESIDE, device));
    enum error error = superblock_probe(*device, probe);
    const struct superblock *newest = error == ERROR_NONE ? superblock_newest(probe) : NULL;
    if (newest != NULL && !uuid_equal(newest->pool, conf->pool))
        error = error_explain(ERROR_FOREIGN, "%s belongs to another pool", path);
    else if (newest != NULL && !newest->encryption)
        error = error_explain(ERROR_INVALID, "%s is not encrypted", path);
    if (error != ERROR_NONE)
        device_close(*device);
    return error;
}

static enum error device_try(const struct pool_conf *conf, const char *path, const struct key_backup *backup,
                             struct opened *opened)
{
    AUTO_FREE struct superblock_probe *probe = memory_zeroed(1, sizeof *probe);
    struct device *device;
    if (probe == NULL)
        return ERROR_NO_MEMORY;
    TRY(probe_beside(conf, path, &device, probe));
    enum error error = open_by_key(device, probe, backup, opened);
    device_close(device);
    return error;
}

static enum error device_open_by(const struct pool_conf *conf, const char *path, const struct key_backup *backup,
                                 struct opened *opened)
{
    enum error error = device_try(conf, path, backup, opened);
    for (int i = 1; i < READ_ATTEMPTS && (error == ERROR_CORRUPT || error == ERROR_FORGED); i++) {
        clock_sleep(READ_PAUSE);
        error = device_try(conf, path, backup, opened);
    }
    return error;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* Which KEK the first device's newest superblock says to be under. */
static enum error kek_find(const struct pool_conf *conf, struct wrapping *wrapping)
{
    AUTO_FREE struct superblock_probe *probe = memory_zeroed(1, sizeof *probe);
    struct device *device;
    if (probe == NULL)
        return ERROR_NO_MEMORY;
    TRY(probe_beside(conf, conf->groups[0].devices[0].path, &device, probe));
    *wrapping = superblock_newest(probe)->wrapping;
    device_close(device);
    if (uuid_equal(wrapping->provider, conf->provider->id))
        return ERROR_NONE;
    return error_explain(ERROR_FOREIGN, "the keys of %s are not under provider %s, which %s/" POOL_CONF_NAME " names",
                         conf->groups[0].devices[0].path, conf->provider->name, conf->directory);
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

static enum error devices_take(const struct pool_conf *conf, struct key_backup *backup)
{
    const struct pool_conf_group *group = &conf->groups[0];
    backup->devices = memory_zeroed(group->device_count, sizeof *backup->devices);
    if (backup->devices == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < group->device_count; i++) {
        struct opened opened;
        TRY(device_open_by(conf, group->devices[i].path, backup, &opened));
        backup->device_count++;
        enum error error = slots_take(&opened, backup, &backup->devices[i]);
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
    backup->pool = conf->pool;
    backup->provider = conf->provider->id;
    snprintf(backup->provider_name, sizeof backup->provider_name, "%s", conf->provider->name);
    backup->made = clock_seconds();
    TRY(provider_keeps_keks(conf->provider, &backup->is_kek));
    TRY(kek_find(conf, &wrapping));
    backup->kek_number = wrapping.kek_number;
    backup->kek_salt = wrapping.kek_salt;
    struct provider_kek which = {conf->pool, wrapping.kek_number, wrapping.kek_salt};
    TRY(provider_key_open(conf->provider, secret, &which, backup->key));
    TRY(kcv_derive(backup->key, backup->provider, backup->kcv));
    TRY(conf_take(conf, backup));
    return devices_take(conf, backup);
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
    struct superblock superblock = {.pool = backup->pool, .device = device->id, .encryption = true, .log_key_demanded = 1};
    struct provider_kek which = {backup->pool, backup->kek_number, backup->kek_salt};
    struct keyring *keyring;
    uint8_t kek[KEY_SIZE];
    TRY(provider_key_kek(backup->key, backup->is_kek, &which, kek));
    enum error error = superblock_slots_open(device->slots, device->slot_count, &superblock, kek, 0, &keyring);
    memory_cleanse(kek, sizeof kek);
    if (error == ERROR_NONE)
        keyring_destroy(keyring);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "the key slots in the backup, of device %zu", i + 1);
}

static enum error device_prove(const struct key_backup *backup, const struct pool_conf *conf, const char *path, size_t *slots)
{
    struct opened opened;
    enum error error = device_open_by(conf, path, backup, &opened);
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
        TRY(device_prove(backup, conf, group->devices[i].path, &done.slots));
    done.devices = group->device_count;
    *proof = done;
    return ERROR_NONE;
}
