/*
 * pool_create(), from end to end: plan -> directory -> key -> devices -> witness -> conf.
 *
 * The plan (create_plan.c) has refused what can be refused. Then each step notes what it made, and a failure takes that
 * back in reverse order, so nothing is left behind. The conf comes last: a directory without it is no pool, so a crash
 * at any point leaves either the whole pool or leftovers that no open takes for one (a later create names them and asks
 * for --overwrite or an empty directory). Devices hold nothing but superblocks and a first checkpoint of empty trees;
 * the first open writes the rest.
 *
 * Making the key may take minutes. What others made in the meantime is left as it is: files are made only where there are
 * none, and a device is looked at once more under its lock.
 *
 * No locks beyond those of the devices, which are held exclusively while they are written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "dedup/fingerprint.h"
#include "engine/coffer.h"
#include "engine/device/device.h"
#include "engine/group/checkpoint.h"
#include "engine/group/keyring.h"
#include "engine/group/superblock.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/conf.h"
#include "engine/pool/create_plan.h"
#include "engine/pool/witness.h"

#define FIRST_EPOCH      1
#define FIRST_KEK        1
#define FIRST_CHECKPOINT 1
#define FIRST_CID                                                                                                      \
    256 /* page 0 of the chunk table is never used: CID 0 is never given, and pages are handed out whole */

struct keys {
    uint8_t kek[KEY_SIZE], k_pool[KEY_SIZE];
    struct provider_kek which;
};

/* What each device will hold: every superblock needs the keys of all. */
struct identities {
    struct superblock superblocks[GROUP_DEVICES_MAX]; /* json is the plan's */
    struct keyring *keyrings[GROUP_DEVICES_MAX];
};

/* What exists so far and would have to go. */
struct made {
    bool directory, key, copy, conf, witness;
    mode_t mode_before; /* of a directory that was there */
    size_t devices;     /* the first so many were begun */
};

/* ---- directory and keys ------------------------------------------------------------------------------------------ */

static enum error make_directory(const struct create_plan *plan, struct made *made)
{
    const char *directory = plan->options->directory;
    struct stat status;
    if (!plan->directory_exists) {
        if (mkdir(directory, 0700) != 0)
            return error_from_errno(errno, "make the directory %s", directory);
        made->directory = true;
        return file_name_sync(directory);
    }
    if (stat(directory, &status) != 0 || chmod(directory, 0700) != 0)
        return error_from_errno(errno, "close the directory %s to others", directory);
    made->mode_before = status.st_mode & 07777;
    return ERROR_NONE;
}

/* The native provider's KDK, asked for once more: what opens it is what is copied. */
static enum error make_copy(const struct create_plan *plan, struct made *made)
{
    const struct pool_create_options *options = plan->options;
    const struct provider_ops *operations;
    uint8_t kdk[KEY_SIZE];
    if (options->copy == NULL)
        return ERROR_NONE;
    struct provider_secret secret = {options->copy_passphrase, options->copy_passphrase_size};
    TRY(provider_find(&plan->provider, &operations));
    TRY(operations->open(&plan->provider, &plan->secret, kdk));
    enum error error = provider_copy_create(&plan->provider, options->copy, &secret, kdk);
    memory_cleanse(kdk, sizeof kdk);
    made->copy = error == ERROR_NONE;
    return error;
}

static enum error make_keys(const struct create_plan *plan, struct keys *keys, struct made *made)
{
    TRY(key_generate(keys->k_pool));
    if (!plan->options->encryption) {
        memcpy(keys->kek, kek_public, KEY_SIZE);
        return ERROR_NONE;
    }
    keys->which = (struct provider_kek){.pool = plan->pool, .number = FIRST_KEK};
    TRY(provider_kek_create(&plan->provider, &plan->secret, &keys->which, keys->kek));
    made->key = true;
    return make_copy(plan, made);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static struct superblock first_superblock(const struct create_plan *plan, size_t index, const struct keys *keys)
{
    const struct planned_device *device = &plan->devices[index];
    struct superblock superblock = {
        .pool = plan->pool,
        .group = plan->group,
        .device = device->id,
        .epoch = FIRST_EPOCH,
        .device_size = device->size,
        .segment_shift = plan->segment_shift,
        .slot_count = device->slot_count,
        .device_index = (uint32_t)index,
        .device_count = (uint32_t)plan->device_count,
        .encryption = plan->options->encryption,
        .fingerprint = plan->options->fingerprint == POOL_FINGERPRINT_XXH3 ? FINGERPRINT_XXH3 : FINGERPRINT_HMAC_SHA256,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
        .json = plan->json,
    };
    if (plan->options->encryption) {
        superblock.wrapping.provider = plan->provider.id;
        superblock.wrapping.kek_number = FIRST_KEK;
        superblock.wrapping.kek_salt = keys->which.salt;
    }
    return superblock;
}

static enum error write_first(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                              const uint8_t kek[KEY_SIZE])
{
    struct checkpoint checkpoint = {
        .number = FIRST_CHECKPOINT,
        .epoch = FIRST_EPOCH,
        .serial_lease = 1,
        .component_lease = 2, /* 1 is the catalog's */
        .cid_end = FIRST_CID,
        .time = clock_seconds(),
    };
    TRY(superblock_write(device, superblock, keyring, kek));
    TRY(checkpoint_write(device, superblock, keyring, &checkpoint));
    return device_flush(device);
}

static enum error make_identities(const struct create_plan *plan, const struct keys *keys,
                                  struct identities *identities)
{
    uint32_t count = (uint32_t)plan->device_count;
    for (uint32_t i = 0; i < count; i++) {
        identities->superblocks[i] = first_superblock(plan, i, keys);
        TRY(keyring_create(plan->options->encryption, keys->k_pool, &identities->keyrings[i]));
    }
    for (uint32_t i = 0; i < count; i++)
        TRY(superblock_peers_make(identities->superblocks, identities->keyrings, count, i, keys->kek,
                                  &identities->superblocks[i]));
    return ERROR_NONE;
}

static void forget_identities(struct identities *identities)
{
    for (size_t i = 0; i < GROUP_DEVICES_MAX; i++) {
        keyring_destroy(identities->keyrings[i]);
        identities->superblocks[i].json = NULL;
        superblock_forget(&identities->superblocks[i]);
    }
}

static enum error format_device(struct superblock *superblock, const struct keyring *keyring,
                                const struct keys *keys, struct device *device)
{
    if (device->size < superblock->device_size)
        return error_explain(ERROR_AGAIN, "%s became smaller while the pool was made", device->path);
    return write_first(device, superblock, keyring, keys->kek);
}

/* It was empty when the plan looked, or was wiped; the key was made since then, which may have taken minutes. */
static enum error open_empty(const char *path, struct device **device)
{
    TRY(device_open_file(path, 0, device));
    enum error error = device_check_empty(*device);
    if (error != ERROR_NONE)
        device_close(*device);
    return error;
}

/* Counts the device as begun as soon as something of it may have changed. */
static enum error make_device(const struct create_plan *plan, size_t index, struct identities *identities,
                              const struct keys *keys, struct made *made)
{
    const struct planned_device *planned = &plan->devices[index];
    struct device *device;
    if (planned->create) {
        TRY(device_create_file(planned->path, planned->size));
        made->devices = index + 1;
    }
    if (planned->overwrite)
        TRY(device_wipe_signatures(planned->path));
    TRY(open_empty(planned->path, &device));
    made->devices = index + 1;
    enum error error = format_device(&identities->superblocks[index], identities->keyrings[index], keys, device);
    device_close(device);
    return error;
}

static enum error make_devices(const struct create_plan *plan, const struct keys *keys, struct made *made)
{
    struct identities identities = {0};
    enum error error = make_identities(plan, keys, &identities);
    for (size_t i = 0; i < plan->device_count && error == ERROR_NONE; i++)
        error = make_device(plan, i, &identities, keys, made);
    forget_identities(&identities);
    return error;
}

/* ---- witness and conf -------------------------------------------------------------------------------------------- */

static enum error fill_witness(const struct create_plan *plan, struct witness *witness)
{
    witness->encryption_floor = plan->options->encryption;
    if (plan->options->encryption) {
        witness->provider = plan->provider.id;
        witness->kek_number = FIRST_KEK;
    }
    TRY(witness_group_raise(witness, plan->group, true, 0));
    for (size_t i = 0; i < plan->device_count; i++) {
        struct witness_device seen = {plan->devices[i].id, plan->options->encryption, FIRST_EPOCH, FIRST_CHECKPOINT};
        TRY(witness_device_raise(witness, &seen));
    }
    return ERROR_NONE;
}

static enum error make_witness(const struct create_plan *plan, const struct keys *keys, struct made *made)
{
    struct witness *witness;
    struct k_pools *k_pools = arena_allocate(sizeof *k_pools);
    if (k_pools == NULL)
        return ERROR_NO_MEMORY;
    *k_pools = (struct k_pools){.demanded = 1, .current = 1};
    k_pools_add(k_pools, 1, keys->k_pool);
    enum error error = witness_create(plan->options->directory, plan->pool, k_pools, &witness);
    arena_free(k_pools);
    TRY(error);
    error = fill_witness(plan, witness);
    if (error == ERROR_NONE)
        error = witness_save_new(witness);
    made->witness = error == ERROR_NONE;
    witness_destroy(witness);
    return error;
}

static enum error make_conf(const struct create_plan *plan, struct made *made)
{
    AUTO_FREE char *path = file_join(plan->options->directory, POOL_CONF_NAME);
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(file_create(path, plan->conf, strlen(plan->conf)));
    made->conf = true;
    return ERROR_NONE;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static enum error make_all(const struct create_plan *plan, struct keys *keys, struct made *made)
{
    TRY(make_directory(plan, made));
    TRY(make_keys(plan, keys, made));
    TRY(make_devices(plan, keys, made));
    TRY(make_witness(plan, keys, made));
    return make_conf(plan, made);
}

static void remove_file(const struct create_plan *plan, const char *name)
{
    AUTO_FREE char *path = file_join(plan->options->directory, name);
    if (path != NULL)
        unlink(path);
}

/* A device was empty or given up when it was begun, so that wiping it loses nothing. What fails here has been told already. */
static void remove_device(const struct planned_device *device)
{
    if (device->create)
        unlink(device->path);
    else if (device_wipe_signatures(device->path) != ERROR_NONE)
        error_forget();
}

static void remove_made(const struct create_plan *plan, const struct keys *keys, const struct made *made)
{
    if (made->conf)
        remove_file(plan, POOL_CONF_NAME);
    if (made->witness)
        remove_file(plan, WITNESS_NAME);
    for (size_t i = 0; i < made->devices; i++)
        remove_device(&plan->devices[i]);
    if (made->key)
        provider_kek_withdraw(&plan->provider, &keys->which, keys->kek);
    if (made->copy)
        unlink(plan->options->copy);
    if (made->directory)
        rmdir(plan->options->directory);
    else if (made->mode_before != 0)
        chmod(plan->options->directory, made->mode_before);
}

static enum error make_or_remove(const struct create_plan *plan)
{
    struct keys keys = {0};
    struct made made = {0};
    enum error error = make_all(plan, &keys, &made);
    AUTO_FREE char *sentence = error == ERROR_NONE ? NULL : strdup(error_sentence(error));
    if (error != ERROR_NONE)
        remove_made(plan, &keys, &made);
    memory_cleanse(&keys, sizeof keys);
    return sentence == NULL ? error : error_explain(error, "%s", sentence);
}

enum error pool_create(const struct pool_create_options *options)
{
    struct create_plan plan;
    enum error error = create_plan_make(options, &plan);
    if (error == ERROR_NONE && !options->dry_run)
        error = make_or_remove(&plan);
    create_plan_forget(&plan);
    return error;
}
