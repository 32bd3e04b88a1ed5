/*
 * The witness in memory: loading, verifying, reserving epochs, raising and comparing what was seen.
 *
 * Every save replaces the whole file in one step, so a crash leaves the old or the new one. An old one is harmless in
 * either direction: an epoch that was reserved in it was not used yet, since it is used only after the save, and facts
 * that it lacks are raised again at the next publish; until then it accepts what a newer one would refuse, no more.
 * Numbers only rise in memory too, but for a rollback that a person accepted by name.
 *
 * No locks: the owner's.
 */
#include "engine/pool/witness.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "engine/pool/witness_text.h"

#define EPOCH_MAX ((UINT64_C(1) << 24) - 1) /* a sequence holds 24 bits of it */

/* ---- life -------------------------------------------------------------------------------------------------------- */

static enum error witness_allocate(const char *directory, struct witness **witness)
{
    struct witness *made = memory_zeroed(1, sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->path = file_join(directory, WITNESS_NAME);
    if (made->path == NULL) {
        free(made);
        return ERROR_NO_MEMORY;
    }
    *witness = made;
    return ERROR_NONE;
}

void witness_destroy(struct witness *witness)
{
    if (witness == NULL)
        return;
    arena_free(witness->key);
    free(witness->loaded);
    free(witness->devices);
    free(witness->groups);
    free(witness->path);
    free(witness);
}

static enum error key_take(struct witness *witness, const uint8_t k_pool[KEY_SIZE])
{
    uint8_t *key = arena_allocate(KEY_SIZE);
    if (key == NULL)
        return ERROR_NO_MEMORY;
    enum error error = floor_key_derive(k_pool, witness->pool, key);
    if (error != ERROR_NONE) {
        arena_free(key);
        return error;
    }
    arena_free(witness->key);
    witness->key = key;
    return ERROR_NONE;
}

enum error witness_rekey(struct witness *witness, const struct k_pools *k_pools)
{
    if (witness->key != NULL && witness->pool_key == k_pools->current)
        return ERROR_NONE;
    TRY(key_take(witness, k_pools_current(k_pools)));
    witness->pool_key = k_pools->current;
    return ERROR_NONE;
}

enum error witness_create(const char *directory, struct uuid pool, const struct k_pools *k_pools, struct witness **witness)
{
    struct witness *made;
    TRY(witness_allocate(directory, &made));
    made->pool = pool;
    made->epoch = 1;
    enum error error = witness_rekey(made, k_pools);
    if (error != ERROR_NONE) {
        witness_destroy(made);
        return error;
    }
    *witness = made;
    return ERROR_NONE;
}

static enum error load_into(struct witness *witness, struct uuid pool)
{
    AUTO_FREE void *bytes = NULL;
    size_t size;
    enum error error = file_read(witness->path, WITNESS_SIZE_MAX, &bytes, &size);
    if (error == ERROR_NOT_FOUND)
        return error_explain(error,
                             "%s is lost: without it nobody can tell whether disks were rolled back; put the file back "
                             "where it was moved (never an older copy of it), or open with --accept-rollback, which "
                             "makes a new one",
                             witness->path);
    TRY(error);
    error = witness_text_parse(bytes, size, witness);
    if (error != ERROR_NONE)
        return error_prefix(error, "%s", witness->path);
    if (!uuid_equal(witness->pool, pool))
        return error_explain(ERROR_FOREIGN, "%s is of another pool", witness->path);
    return ERROR_NONE;
}

enum error witness_load(const char *directory, struct uuid pool, struct witness **witness)
{
    struct witness *made;
    TRY(witness_allocate(directory, &made));
    enum error error = load_into(made, pool);
    if (error != ERROR_NONE) {
        witness_destroy(made);
        return error;
    }
    *witness = made;
    return ERROR_NONE;
}

static enum error mac_check(const struct witness *witness)
{
    uint8_t mac[32];
    TRY(hmac_sha256(witness->key, witness->loaded, strlen(witness->loaded), mac));
    if (memory_compare_constant_time(mac, witness->loaded_mac, sizeof mac) != 0)
        return error_explain(ERROR_FORGED, "%s was changed, or is of another pool: its seal does not fit",
                             witness->path);
    return ERROR_NONE;
}

/* The number is nobody's word before the MAC fits; a false one picks a key that does not. */
static enum error verify_under(struct witness *witness, const struct k_pools *k_pools)
{
    const uint8_t *k_pool = k_pools_taken(k_pools, witness->pool_key);
    if (witness->pool_key > k_pools_highest(k_pools))
        return error_explain(ERROR_ROLLED_BACK,
                             "%s is sealed under key %" PRIu32 " of the pool, but the devices know key %" PRIu32 " as the last: they "
                             "were rolled back to before a deep rekey, or the file was changed; bring the newer state back, or type "
                             "--accept-rollback, which makes a new one, to lose what was written since",
                             witness->path, witness->pool_key, k_pools_highest(k_pools));
    if (k_pool == NULL)
        return k_pools_explain(k_pools, witness->path, witness->pool_key);
    TRY(key_take(witness, k_pool));
    return mac_check(witness);
}

enum error witness_verify(struct witness *witness, const struct k_pools *k_pools)
{
    ASSERT(witness->loaded != NULL);
    enum error error = verify_under(witness, k_pools);
    if (error == ERROR_NONE && witness->pool_key < k_pools->current)
        error = witness_rekey(witness, k_pools);
    if (error != ERROR_NONE) {
        arena_free(witness->key);
        witness->key = NULL;
        return error;
    }
    free(witness->loaded);
    witness->loaded = NULL;
    return ERROR_NONE;
}

enum error witness_save(struct witness *witness)
{
    ASSERT(witness->key != NULL);
    AUTO_FREE char *text = NULL;
    TRY(witness_text_compose(witness, &text));
    return file_replace(witness->path, text, strlen(text));
}

enum error witness_save_new(const struct witness *witness)
{
    ASSERT(witness->key != NULL);
    AUTO_FREE char *text = NULL;
    TRY(witness_text_compose(witness, &text));
    return file_create(witness->path, text, strlen(text));
}

/* ---- raising ----------------------------------------------------------------------------------------------------- */

static struct witness_device *device_find(const struct witness *witness, struct uuid id)
{
    for (size_t i = 0; i < witness->device_count; i++)
        if (uuid_equal(witness->devices[i].id, id))
            return &witness->devices[i];
    return NULL;
}

static struct witness_group *group_find(const struct witness *witness, struct uuid id)
{
    for (size_t i = 0; i < witness->group_count; i++)
        if (uuid_equal(witness->groups[i].id, id))
            return &witness->groups[i];
    return NULL;
}

static enum error device_enter(struct witness *witness, struct uuid id, struct witness_device **device)
{
    ASSERT(witness->device_count < WITNESS_DEVICES_MAX);
    void *grown = reallocarray(witness->devices, witness->device_count + 1, sizeof *witness->devices);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    witness->devices = grown;
    *device = &witness->devices[witness->device_count++];
    **device = (struct witness_device){.id = id};
    return ERROR_NONE;
}

static enum error group_enter(struct witness *witness, struct uuid id, struct witness_group **group)
{
    ASSERT(witness->group_count < WITNESS_GROUPS_MAX);
    void *grown = reallocarray(witness->groups, witness->group_count + 1, sizeof *witness->groups);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    witness->groups = grown;
    *group = &witness->groups[witness->group_count++];
    **group = (struct witness_group){.id = id};
    return ERROR_NONE;
}

enum error witness_device_raise(struct witness *witness, const struct witness_device *seen)
{
    struct witness_device *device = device_find(witness, seen->id);
    if (device == NULL)
        TRY(device_enter(witness, seen->id, &device));
    device->encrypted |= seen->encrypted;
    device->epoch = MAX(device->epoch, seen->epoch);
    device->checkpoint = MAX(device->checkpoint, seen->checkpoint);
    return ERROR_NONE;
}

enum error witness_group_raise(struct witness *witness, struct uuid id, bool active, uint64_t sequence)
{
    struct witness_group *group = group_find(witness, id);
    if (group == NULL)
        TRY(group_enter(witness, id, &group));
    group->active = active;
    group->sequence = MAX(group->sequence, sequence);
    return ERROR_NONE;
}

static enum error epoch_reserve(struct witness *witness, bool for_superblocks, uint64_t *epoch)
{
    uint64_t before = witness->epoch, rewriting = witness->rewriting, highest = before;
    for (size_t i = 0; i < witness->device_count; i++)
        highest = MAX(highest, witness->devices[i].epoch);
    if (highest >= EPOCH_MAX)
        return error_explain(ERROR_UNSUPPORTED, "the pool was opened %" PRIu64 " times: there is no further epoch",
                             highest);
    witness->epoch = highest + 1;
    if (for_superblocks)
        witness->rewriting = witness->epoch;
    enum error error = witness_save(witness);
    if (error != ERROR_NONE) {
        witness->epoch = before;
        witness->rewriting = rewriting;
        return error_prefix(error, "the witness cannot be saved");
    }
    *epoch = witness->epoch;
    return ERROR_NONE;
}

enum error witness_epoch_reserve(struct witness *witness, uint64_t *epoch)
{
    return epoch_reserve(witness, false, epoch);
}

enum error witness_epoch_for_superblocks(struct witness *witness, uint64_t *epoch)
{
    return epoch_reserve(witness, true, epoch);
}

bool witness_is_rewriting(const struct witness *witness, struct uuid device)
{
    for (size_t i = 0; i < witness->device_count; i++)
        if (uuid_equal(witness->devices[i].id, device))
            return witness->devices[i].epoch < witness->rewriting;
    return witness->rewriting != 0;
}

void witness_release(struct witness *witness, struct uuid provider, uint64_t kek_number)
{
    size_t kept = 0;
    for (size_t i = 0; i < witness->retained_count; i++) {
        const struct witness_retained *one = &witness->retained[i];
        if (!uuid_equal(one->provider, provider) || (kek_number != 0 && one->kek_number != kek_number))
            witness->retained[kept++] = *one;
    }
    witness->retained_count = kept;
}

void witness_retain(struct witness *witness, struct uuid provider, uint64_t kek_number)
{
    witness_release(witness, provider, kek_number);
    if (witness->retained_count == WITNESS_RETAINED_MAX) {
        message(MESSAGE_WARNING, "key %" PRIu64 ", which was not retired, is not listed any more: there are too many",
                witness->retained[0].kek_number);
        memmove(&witness->retained[0], &witness->retained[1], (WITNESS_RETAINED_MAX - 1) * sizeof witness->retained[0]);
        witness->retained_count--;
    }
    witness->retained[witness->retained_count++] = (struct witness_retained){provider, kek_number};
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

/* `found` is below `*seen`: refuses, or, where accepted, warns and lowers what was seen. */
static enum error rolled_back(const char *kind, const char *name, const char *what, uint64_t *seen, uint64_t found,
                              bool accept)
{
    if (!accept)
        return error_explain(ERROR_ROLLED_BACK,
                             "%s %s was rolled back: its %s is %" PRIu64 ", but %" PRIu64 " was seen before; bring the "
                             "newer state back, or type --accept-rollback to lose what was written since",
                             kind, name, what, found, *seen);
    message(MESSAGE_WARNING, "%s %s was rolled back from %s %" PRIu64 " to %" PRIu64 ": accepted as asked for", kind,
            name, what, *seen, found);
    *seen = found;
    return ERROR_NONE;
}

enum error witness_superblock_check(struct witness *witness, const char *path, const struct superblock *found,
                                    bool accept)
{
    struct witness_device *device = device_find(witness, found->device);
    if (!found->encryption && (witness->encryption_floor || (device != NULL && device->encrypted)))
        return error_explain(ERROR_FORGED,
                             "%s says that it is not encrypted, but it was seen encrypted: forged, or replaced", path);
    if (device == NULL || found->epoch >= device->epoch)
        return ERROR_NONE;
    return rolled_back("device", path, "epoch", &device->epoch, found->epoch, accept);
}

static enum error other_key(const struct witness *witness, const char *path, const struct superblock *found)
{
    char named[UUID_TEXT_SIZE], own[UUID_TEXT_SIZE];
    uuid_format(witness->provider, named);
    uuid_format(found->wrapping.provider, own);
    bool same_provider = uuid_equal(witness->provider, found->wrapping.provider);
    const char *why = same_provider && found->wrapping.kek_number < witness->kek_number
                          ? "it is older than the last change of keys"
                          : "the witness was restored from a copy, which is never right, or the device was replaced";
    return error_explain(ERROR_ROLLED_BACK,
                         "the keys of %s are under key %" PRIu64 " of provider %s, but the witness names key %" PRIu64
                         " of provider %s: %s. If you know why, open with --accept-rollback",
                         path, found->wrapping.kek_number, own, witness->kek_number, named, why);
}

enum error witness_key_check(struct witness *witness, const char *path, const struct superblock *found, bool accept)
{
    if (!found->encryption || (uuid_equal(witness->provider, found->wrapping.provider) &&
                               witness->kek_number == found->wrapping.kek_number))
        return ERROR_NONE;
    enum error error = other_key(witness, path, found);
    if (!accept)
        return error;
    message(MESSAGE_WARNING, "%s: accepted as asked for", error_sentence(error));
    error_forget();
    witness->provider = found->wrapping.provider;
    witness->kek_number = found->wrapping.kek_number;
    witness_release(witness, witness->provider, witness->kek_number); /* it is in force again */
    return ERROR_NONE;
}

enum error witness_checkpoint_check(struct witness *witness, const char *path, struct uuid id, uint64_t number,
                                    bool accept)
{
    struct witness_device *device = device_find(witness, id);
    if (device == NULL || number >= device->checkpoint)
        return ERROR_NONE;
    return rolled_back("device", path, "checkpoint", &device->checkpoint, number, accept);
}

enum error witness_sequence_check(struct witness *witness, const char *group_name, struct uuid id, uint64_t sequence,
                                  bool accept)
{
    struct witness_group *group = group_find(witness, id);
    if (group == NULL || sequence >= group->sequence)
        return ERROR_NONE;
    return rolled_back("group", group_name, "sequence", &group->sequence, sequence, accept);
}
