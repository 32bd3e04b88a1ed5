/*
 * The key slots of other devices in a superblock: made from the keys of the whole group, compared, and turned into the
 * superblock of a device that has lost its own.
 *
 * What a revived superblock says comes from one authentic superblock alone: what all devices of a group share is copied,
 * index, size and segment size are the peer's JSON's. The K_log demanded is the peer's, too: the
 * numbers of all devices rise together, and a demand is raised on any only when all headers and records of all of them are under
 * the new number (deep_rekey.c); before, during a deep rekey, the lost device may have nothing but older ones. K_pools, the same
 * on all devices, stand in no peer's slots: they are those of the one that is asked. The lost device itself is asked nothing here.
 *
 * Nothing is written here, and no lock is taken; wrapping keys on the stack are wiped.
 */
#include "engine/group/superblock_peer.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/geometry.h"
#include "engine/group/superblock_image.h"

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* The next slot in use behind those taken: current ones in their order, then old ones from the highest number. None of a K_pool. */
static const struct keyring_slot *slot_next(const struct keyring *keyring, const bool *taken)
{
    const struct keyring_slot *next = NULL;
    for (size_t i = 0; i < keyring->count; i++) {
        const struct keyring_slot *slot = &keyring->slots[i];
        if (taken[i] || slot->kind == KEY_KIND_POOL || (next != NULL && (next->current || (!slot->current && slot->number <= next->number))))
            continue;
        next = slot;
    }
    return next;
}

/* Every key of a device but K_pools, so that nothing that it had is missing in one that is made again. */
static uint32_t slots_held(const struct keyring *keyring)
{
    return (uint32_t)(keyring->count - keyring_count(keyring, KEY_KIND_POOL));
}

/* Its own, with as many K_pools as there may yet be: for these there is room always, and K_logs give way. */
static size_t slots_own(const struct keyring *keyring)
{
    return slots_held(keyring) + POOL_KEYS_MAX;
}

bool group_slots_fit(struct keyring *const *keyrings, uint32_t count)
{
    size_t all = 0;
    bool fits = true;
    for (uint32_t d = 0; d < count; d++) {
        fits &= slots_held(keyrings[d]) <= PEER_SLOTS_MAX;
        all += slots_held(keyrings[d]) * sizeof(struct peer_slot_format);
    }
    for (uint32_t d = 0; d < count; d++)
        fits &= slots_own(keyrings[d]) * sizeof(struct key_slot_format) + all - slots_held(keyrings[d]) * sizeof(struct peer_slot_format) <=
                SUPERBLOCK_BINARY_SIZE - SUPERBLOCK_SLOTS_OFFSET;
    return fits;
}

static enum error device_wrap(const struct superblock *superblock, const struct keyring *keyring,
                              const uint8_t kek[KEY_SIZE], unsigned wrapping, struct peer_slot_format *out,
                              uint32_t *count)
{
    uint8_t wrap_key[KEY_SIZE];
    bool taken[KEY_SLOTS_MAX] = {false};
    *count = 0;
    if (slots_held(keyring) > PEER_SLOTS_MAX)
        return error_explain(ERROR_TOO_LARGE, "a device has %" PRIu32 " keys, others can hold %d of them", slots_held(keyring),
                             PEER_SLOTS_MAX);
    TRY(wrap_key_derive(kek, superblock->pool, superblock->device, wrap_key));
    enum error error = ERROR_NONE;
    while (error == ERROR_NONE) {
        const struct keyring_slot *slot = slot_next(keyring, taken);
        if (slot == NULL)
            break;
        taken[slot - keyring->slots] = true;
        memcpy(out[*count].device, superblock->device.bytes, sizeof out->device);
        error = superblock_slot_wrap(slot, superblock->device, wrap_key, wrapping, &out[*count].slot);
        ++*count;
    }
    memory_cleanse(wrap_key, sizeof wrap_key);
    return error;
}

static enum error group_wrap(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                             const uint8_t kek[KEY_SIZE], unsigned wrapping, struct group_slots *slots)
{
    uint32_t more;
    slots->count = 0;
    for (uint32_t d = 0; d < count; d++) {
        TRY(device_wrap(&superblocks[d], keyrings[d], kek, wrapping, slots->slots + slots->count, &more));
        slots->count += more;
    }
    return ERROR_NONE;
}

enum error group_slots_make(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                            const uint8_t kek[KEY_SIZE], const uint8_t *other_kek, struct group_slots *slots)
{
    ASSERT(count >= 1 && count <= PEER_DEVICES_MAX);
    struct group_slots made = {.slots = memory_zeroed((size_t)count * PEER_SLOTS_MAX, sizeof *made.slots)};
    if (made.slots == NULL)
        return ERROR_NO_MEMORY;
    enum error error = group_wrap(superblocks, keyrings, count, kek, 0, &made);
    if (error == ERROR_NONE && other_kek != NULL)
        error = group_wrap(superblocks, keyrings, count, other_kek, 1, &made);
    if (error != ERROR_NONE) {
        group_slots_free(&made);
        return error;
    }
    *slots = made;
    return ERROR_NONE;
}

void group_slots_free(struct group_slots *slots)
{
    free(slots->slots);
    *slots = (struct group_slots){0};
}

enum error superblock_peers_take(const struct group_slots *slots, struct superblock *holder)
{
    struct peer_slot_format *peers = memory_zeroed(MAX(slots->count, 1), sizeof *peers);
    uint32_t used = 0;
    if (peers == NULL)
        return ERROR_NO_MEMORY;
    for (uint32_t i = 0; i < slots->count; i++)
        if (memcmp(slots->slots[i].device, holder->device.bytes, sizeof holder->device.bytes) != 0)
            peers[used++] = slots->slots[i];
    free(holder->peers);
    holder->peers = peers;
    holder->peer_count = used;
    return ERROR_NONE;
}

enum error superblock_peers_make(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                                 uint32_t own, const uint8_t kek[KEY_SIZE], struct superblock *holder)
{
    struct group_slots slots;
    ASSERT(own < count && uuid_equal(holder->device, superblocks[own].device));
    TRY(group_slots_make(superblocks, keyrings, count, kek, NULL, &slots));
    enum error error = superblock_peers_take(&slots, holder);
    group_slots_free(&slots);
    return error;
}

enum error superblock_peers_verify(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                                   uint32_t own, const uint8_t kek[KEY_SIZE], bool *equal)
{
    const struct superblock *held = &superblocks[own];
    struct superblock expected = {.device = held->device};
    TRY(superblock_peers_make(superblocks, keyrings, count, own, kek, &expected));
    *equal = held->peer_count == expected.peer_count &&
             (held->peer_count == 0 ||
              memcmp(held->peers, expected.peers, held->peer_count * sizeof held->peers[0]) == 0);
    superblock_forget(&expected);
    return ERROR_NONE;
}

/* ---- reviving ---------------------------------------------------------------------------------------------------- */

static const json_t *json_device(const json_t *root, struct uuid device)
{
    const json_t *devices = json_object_get(root, "devices"), *entry;
    size_t i;
    json_array_foreach(devices, i, entry) {
        struct uuid id;
        const char *text = json_string_value(json_object_get(entry, "uuid"));
        if (text != NULL && uuid_parse(text, &id) == ERROR_NONE && uuid_equal(id, device))
            return entry;
    }
    return NULL;
}

static enum error place_take(const json_t *entry, struct superblock *superblock)
{
    json_int_t index = json_integer_value(json_object_get(entry, "index"));
    json_int_t size = json_integer_value(json_object_get(entry, "size"));
    if (!json_is_integer(json_object_get(entry, "size")))
        return error_explain(ERROR_NOT_FOUND, "the superblock of the other device does not say how large this one is");
    if (!json_is_integer(json_object_get(entry, "index")) || index < 0 || index >= superblock->device_count ||
        size <= 0 || size % DEVICE_BLOCK != 0)
        return error_explain(ERROR_CORRUPT, "the superblock of the other device contradicts itself");
    superblock->device_index = (uint32_t)index;
    superblock->device_size = (uint64_t)size;
    return ERROR_NONE;
}

/* The JSON of a group whose devices have one segment size tells it; `superblock` has the peer's. Before that was so the device's
 * own size told it, and what others have says nothing. */
static enum error segments_take(const json_t *root, struct superblock *superblock)
{
    const json_t *shift = json_object_get(json_object_get(root, "group"), "segment_shift");
    if (shift == NULL)
        return superblock_geometry(superblock->device_size, &superblock->segment_shift, &superblock->slot_count);
    if (!json_is_integer(shift) || json_integer_value(shift) != superblock->segment_shift)
        return error_explain(ERROR_CORRUPT, "the superblock of the other device contradicts itself");
    return geometry_slots(superblock->device_size, superblock->segment_shift, &superblock->slot_count);
}

static enum error geometry_take(const struct superblock *peer, struct superblock *superblock)
{
    json_t *root = json_loads(peer->json, JSON_REJECT_DUPLICATES, NULL);
    const json_t *entry = json_device(root, superblock->device);
    enum error error = entry != NULL ? place_take(entry, superblock)
                                     : error_explain(ERROR_NOT_FOUND, "the other device does not know this one");
    if (error == ERROR_NONE)
        error = segments_take(root, superblock);
    json_decref(root);
    return error;
}

static uint32_t slots_collect(const struct superblock *peer, struct uuid device, struct key_slot_format *slots)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < peer->peer_count && count < PEER_SLOTS_MAX; i++)
        if (memcmp(peer->peers[i].device, device.bytes, sizeof device.bytes) == 0)
            slots[count++] = peer->peers[i].slot;
    return count;
}

/* The KEK may be that of either wrapping. */
static enum error keys_take(const struct superblock *peer, const struct keyring *peer_keyring, const uint8_t kek[KEY_SIZE],
                            struct superblock *superblock, struct keyring **keyring)
{
    struct key_slot_format slots[PEER_SLOTS_MAX];
    uint32_t count = slots_collect(peer, superblock->device, slots);
    if (count == 0)
        return error_explain(ERROR_NOT_FOUND, "the other device does not hold its keys");
    enum error error = ERROR_WRONG_KEY;
    for (unsigned wrapping = 0; wrapping < WRAPPINGS && error == ERROR_WRONG_KEY; wrapping++)
        error = superblock_slots_open(slots, count, superblock, kek, wrapping, peer_keyring, keyring);
    return error;
}

enum error superblock_revive(const struct superblock *peer, const struct keyring *peer_keyring, struct uuid device,
                             const uint8_t kek[KEY_SIZE], struct superblock *superblock, struct keyring **keyring)
{
    struct superblock revived = *peer;
    struct keyring *keys;
    revived.device = device;
    revived.other = (struct wrapping){0};
    revived.peers = NULL;
    revived.peer_count = 0;
    revived.json = NULL;
    TRY(geometry_take(peer, &revived));
    TRY(keys_take(peer, peer_keyring, kek, &revived, &keys));
    revived.json = strdup(peer->json);
    if (revived.json == NULL) {
        keyring_destroy(keys);
        return ERROR_NO_MEMORY;
    }
    *superblock = revived;
    *keyring = keys;
    return ERROR_NONE;
}
