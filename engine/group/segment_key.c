/*
 * Keys of segments, derived on demand (two derivations, 3.4 microseconds) and cached, and the header of a segment on
 * disk. A cached set of keys is found by what it was derived from, so it is never stale.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/group/group.h"

struct cached_keys {
    struct segment_keys keys; /* first: what callers hold */
    struct segment_identity identity;
    atomic_uint references;
};

struct segment_key_cache {
    struct mutex mutex;
    size_t count; /* a power of two; direct-mapped by serial */
    struct cached_keys *entries[];
};

enum error segment_key_cache_create(size_t entries, struct segment_key_cache **out)
{
    size_t count = 64;
    while (count < entries)
        count *= 2;
    struct segment_key_cache *cache = memory_zeroed(1, sizeof *cache + count * sizeof cache->entries[0]);
    if (!cache)
        return ERROR_NO_MEMORY;
    cache->count = count;
    mutex_init(&cache->mutex, RANK_KEYS);
    *out = cache;
    return ERROR_NONE;
}

static void keys_release(struct cached_keys *entry)
{
    if (entry && atomic_fetch_sub(&entry->references, 1) == 1)
        arena_free(entry);
}

void segment_key_cache_destroy(struct segment_key_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < cache->count; i++)
        keys_release(cache->entries[i]);
    mutex_deinit(&cache->mutex);
    free(cache);
}

bool segment_identity_equal(const struct segment_identity *a, const struct segment_identity *b)
{
    return a->device == b->device && a->serial == b->serial && a->salt == b->salt && a->birth_salt == b->birth_salt &&
           a->key_slot == b->key_slot && a->log_key == b->log_key;
}

static enum error keys_derive(struct group *group, const struct segment_identity *identity, struct segment_keys *keys)
{
    const struct keyring *keyring = group_keyring(group, identity->device);
    struct uuid device = group->superblocks[identity->device].device;
    const uint8_t *k_log = keyring_find(keyring, KEY_KIND_LOG, identity->log_key);
    if (!k_log)
        return error_explain(ERROR_CORRUPT, "segment %llu names K_log %u, which %s does not have",
                             (unsigned long long)identity->serial, identity->log_key, group->devices[identity->device]->path);
    TRY(segment_tag_key_derive(k_log, device, identity->serial, identity->birth_salt, keys->tag));
    keys->id = bulk_keys_id();
    /* Key slot 0 is plaintext: only in a pool that is plaintext by conf and floor, or below the stated limit. */
    uint64_t limit = group->superblocks[identity->device].plaintext_serial_limit;
    if (identity->key_slot == 0) {
        if (keyring->encrypted && identity->serial >= limit)
            return error_explain(ERROR_FORGED, "segment %llu of %s claims to be plaintext in an encrypted pool",
                                 (unsigned long long)identity->serial, group->devices[identity->device]->path);
        keys->encrypted = false;
        return ERROR_NONE;
    }
    const uint8_t *dek = keyring_find(keyring, KEY_KIND_DEK, identity->key_slot);
    if (!dek)
        return error_explain(ERROR_CORRUPT, "segment %llu names key slot %u, which %s does not have",
                             (unsigned long long)identity->serial, identity->key_slot,
                             group->devices[identity->device]->path);
    keys->encrypted = true;
    return segment_xts_key_derive(dek, device, identity->serial, identity->salt, keys->xts);
}

enum error segment_keys_get(struct group *group, const struct segment_identity *identity, const struct segment_keys **keys)
{
    struct segment_key_cache *cache = group->segment_keys;
    size_t slot = (size_t)identity->serial & (cache->count - 1);
    mutex_lock(&cache->mutex);
    struct cached_keys *entry = cache->entries[slot];
    if (entry && segment_identity_equal(&entry->identity, identity)) {
        atomic_fetch_add(&entry->references, 1);
        mutex_unlock(&cache->mutex);
        *keys = &entry->keys;
        return ERROR_NONE;
    }
    mutex_unlock(&cache->mutex);
    entry = arena_allocate(sizeof *entry);
    if (!entry)
        return ERROR_NO_MEMORY;
    entry->identity = *identity;
    enum error error = keys_derive(group, identity, &entry->keys);
    if (error) {
        arena_free(entry);
        return error;
    }
    atomic_store(&entry->references, 2);
    mutex_lock(&cache->mutex);
    struct cached_keys *old = cache->entries[slot];
    cache->entries[slot] = entry;
    mutex_unlock(&cache->mutex);
    keys_release(old);
    *keys = &entry->keys;
    return ERROR_NONE;
}

/* Keys that somebody holds are freed by the last who does. */
void segment_keys_forget(struct group *group)
{
    struct segment_key_cache *cache = group->segment_keys;
    mutex_lock(&cache->mutex);
    for (size_t i = 0; i < cache->count; i++) {
        keys_release(cache->entries[i]);
        cache->entries[i] = NULL;
    }
    mutex_unlock(&cache->mutex);
}

void segment_keys_put(struct group *group, const struct segment_keys *keys)
{
    (void)group;
    keys_release((struct cached_keys *)keys);
}

/* ---- headers -------------------------------------------------------------------------------------------------------
 *
 * A header is made under the K_log that is current then, whatever the one of the segment's tags, which is that of its birth. A
 * deep rekey brings a new K_log together with a new DEK, and a header that is made for the new DEK is made afterwards: so no
 * header of a segment that names the current DEK is under an older K_log.
 */

static const uint8_t *header_key(struct group *group, uint32_t device, uint8_t number)
{
    if (number < superblock_log_key_demanded(&group->superblocks[device]))
        return NULL;
    return keyring_find(group_keyring(group, device), KEY_KIND_LOG, number);
}

enum error segment_header_encode(struct group *group, const struct segment_header *header, struct segment_format *out)
{
    const struct superblock *super = &group->superblocks[header->device];
    const struct segment *segment = &header->segment;
    const struct keyring_slot *key = keyring_current(group_keyring(group, header->device), KEY_KIND_LOG);
    ASSERT(key);
    memset(out, 0, sizeof *out);
    memcpy(out->magic, SEGMENT_MAGIC, sizeof out->magic);
    out->version = le32_make(FORMAT_VERSION);
    out->kind = segment->kind;
    out->log_key = segment->log_key;
    out->device_index = (uint8_t)header->device;
    out->header_key = (uint8_t)key->number;
    memcpy(out->pool, super->pool.bytes, sizeof out->pool);
    memcpy(out->group, super->group.bytes, sizeof out->group);
    memcpy(out->device, super->device.bytes, sizeof out->device);
    out->serial = le64_make(segment->serial);
    out->salt = le64_make(segment->salt);
    out->birth_salt = le64_make(segment->birth_salt);
    out->slot = le32_make(header->slot);
    out->key_slot = le32_make(segment->key_slot);
    place_encode(&header->predecessor, &out->predecessor);
    place_encode(&header->successor, &out->successor);
    return hmac_sha256(key->key, out, offsetof(struct segment_format, mac), out->mac);
}

enum error segment_header_write(struct group *group, const struct segment_header *header)
{
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    if (!block)
        return ERROR_NO_MEMORY;
    TRY(segment_header_encode(group, header, block));
    uint64_t offset = AREA_SIZE + ((uint64_t)header->slot << group->segments.segment_shift);
    enum error error = device_write(group->devices[header->device], offset, block, BLOCK_SIZE, 0);
    group_device_written(group, header->device);
    return error ? group_fence(group, error) : ERROR_NONE;
}

/* ERROR_NOT_FOUND where it is not: what keeps it from being judged is no such answer, which would end a journal. */
static enum error header_check_ours(struct group *group, uint32_t device, uint32_t slot, const struct segment_format *in)
{
    const struct superblock *super = &group->superblocks[device];
    uint8_t mac[32];
    if (memcmp(in->magic, SEGMENT_MAGIC, sizeof in->magic) != 0 || le32_get(in->version) != FORMAT_VERSION ||
        in->device_index != device || le32_get(in->slot) != slot)
        return ERROR_NOT_FOUND;
    const uint8_t *key = header_key(group, device, in->header_key);
    if (!key)
        return ERROR_NOT_FOUND;
    TRY(hmac_sha256(key, in, offsetof(struct segment_format, mac), mac));
    bool ours = memory_compare_constant_time(mac, in->mac, sizeof mac) == 0 &&
                memcmp(in->pool, super->pool.bytes, sizeof in->pool) == 0 &&
                memcmp(in->group, super->group.bytes, sizeof in->group) == 0 &&
                memcmp(in->device, super->device.bytes, sizeof in->device) == 0;
    return ours ? ERROR_NONE : ERROR_NOT_FOUND;
}

/* In a plaintext pool anybody can make a MAC: what it covers is no more than bytes until its range was checked. A segment is born
 * before a header of it is made anew, and what was born under a K_log that is destroyed is gone. */
static bool header_is_sound(const struct group *group, const struct segment_format *in, const struct segment_header *header)
{
    uint64_t serial = header->segment.serial;
    return serial != 0 && serial <= SERIAL_MAX && in->kind >= SEGMENT_JOURNAL && in->kind <= SEGMENT_COLD &&
           in->log_key <= in->header_key && keyring_find(group_keyring(group, header->device), KEY_KIND_LOG, in->log_key) &&
           place_is_sound(&header->predecessor, group->device_count) &&
           place_is_sound(&header->successor, group->device_count) && memory_is_zero(in->reserved2, sizeof in->reserved2);
}

enum error segment_header_decode(struct group *group, uint32_t device, uint32_t slot, uint64_t serial, const void *block,
                                 struct segment_header *header)
{
    const struct segment_format *in = block;
    TRY(header_check_ours(group, device, slot, in));
    if (serial && le64_get(in->serial) != serial)
        return ERROR_NOT_FOUND;
    struct segment_header found = {
        .segment =
            {
                .serial = le64_get(in->serial),
                .salt = le64_get(in->salt),
                .birth_salt = le64_get(in->birth_salt),
                .key_slot = le32_get(in->key_slot),
                .kind = in->kind,
                .state = SLOT_SEALED,
                .log_key = in->log_key,
            },
        .device = device,
        .slot = slot,
        .predecessor = place_decode(&in->predecessor),
        .successor = place_decode(&in->successor),
    };
    if (!header_is_sound(group, in, &found))
        return ERROR_NOT_FOUND;
    *header = found;
    return ERROR_NONE;
}

enum error segment_header_read_to(struct group *group, uint32_t device, uint32_t slot, uint64_t serial, void *block,
                                  struct segment_header *header)
{
    if (device >= group->device_count || slot >= group->segments.slot_count[device])
        return ERROR_NOT_FOUND;
    uint64_t offset = AREA_SIZE + ((uint64_t)slot << group->segments.segment_shift);
    TRY(device_read(group->devices[device], offset, block, BLOCK_SIZE));
    return segment_header_decode(group, device, slot, serial, block, header);
}

enum error segment_header_read(struct group *group, uint32_t device, uint32_t slot, uint64_t serial,
                               struct segment_header *header)
{
    AUTO_FREE void *block = memory_aligned(BLOCK_SIZE);
    return block ? segment_header_read_to(group, device, slot, serial, block, header) : ERROR_NO_MEMORY;
}

bool segment_header_fits(const struct segment *known, const struct segment_header *header)
{
    const struct segment *found = &header->segment;
    return found->salt == known->salt && found->birth_salt == known->birth_salt && found->key_slot == known->key_slot &&
           found->log_key == known->log_key && found->kind == known->kind;
}
