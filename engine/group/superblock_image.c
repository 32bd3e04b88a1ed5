/*
 * One copy of a superblock in memory.
 *
 * Two rules shape this file. Nothing is interpreted before it is authenticated: superblock_fixed_decode() takes only
 * numbers that are bounded, and only to find and verify the rest. And what is authenticated is checked all the same:
 * the MAC of a plaintext pool can be made by anybody, so every count and number has its limits here, once, and the
 * engine may trust a struct superblock and a keyring.
 *
 * The CRC exists to tell a torn or flipped copy from another's before any key is known; it proves nothing else.
 * Pure functions over the caller's memory: no locks, no I/O.
 */
#include "engine/group/superblock_image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/kdf.h"
#include "dedup/fingerprint.h"

#define FIXED_SIZE         sizeof(struct superblock_format)
#define CRC_BEGIN          16
#define KEY_NUMBER_MAX     UINT8_MAX                 /* of K_log and K_pool: headers, and what is demanded, name it in a byte */
#define EPOCH_MAX          ((UINT64_C(1) << 24) - 1) /* a sequence holds 24 bits of it */
_Static_assert(offsetof(struct superblock_format, mac) == CRC_BEGIN, "the CRC begins with the MACs");

uint64_t superblock_offset(uint64_t device_size, uint32_t copy)
{
    uint64_t area = copy < SUPERBLOCK_COPIES / 2 ? 0 : device_size - AREA_SIZE;
    return area + copy % 2 * SUPERBLOCK_SIZE;
}

/* ---- the fixed part ---------------------------------------------------------------------------------------------- */

static uint32_t fixed_crc(const struct superblock_format *fixed)
{
    static const uint8_t no_macs[sizeof fixed->mac];
    const uint8_t *rest = (const uint8_t *)fixed + CRC_BEGIN + sizeof no_macs;
    uLong crc = crc32(crc32(0, NULL, 0), no_macs, sizeof no_macs);
    return (uint32_t)crc32(crc, rest, FIXED_SIZE - CRC_BEGIN - sizeof no_macs);
}

static size_t slots_size(uint32_t key_slots, uint32_t peer_slots)
{
    return key_slots * sizeof(struct key_slot_format) + peer_slots * sizeof(struct peer_slot_format);
}

static bool lengths_are_sound(const struct superblock_format *in)
{
    uint32_t key_slots = le32_get(in->key_slot_count), peer_slots = le32_get(in->peer_slot_count);
    return le32_get(in->json_size) <= SUPERBLOCK_JSON_SIZE && key_slots <= KEY_SLOTS_MAX &&
           peer_slots <= PEER_DEVICES_MAX * PEER_SLOTS_MAX &&
           slots_size(key_slots, peer_slots) <= SUPERBLOCK_BINARY_SIZE - SUPERBLOCK_SLOTS_OFFSET;
}

static bool geometry_is_sound(const struct superblock *s)
{
    return s->segment_shift >= SEGMENT_SHIFT_MIN && s->segment_shift <= SEGMENT_SHIFT_MAX &&
           s->slot_count >= DEVICE_SLOTS_MIN && s->slot_count <= SLOTS_MAX && s->device_size % DEVICE_BLOCK == 0 &&
           s->device_size >= 2 * AREA_SIZE + ((uint64_t)s->slot_count << s->segment_shift) &&
           s->device_size <= INT64_MAX && s->epoch <= EPOCH_MAX && s->device_count <= PEER_DEVICES_MAX &&
           s->device_index < s->device_count;
}

static bool choices_are_sound(const struct superblock_format *in)
{
    return in->encryption <= 1 && (in->fingerprint == FINGERPRINT_XXH3 || in->fingerprint == FINGERPRINT_HMAC_SHA256);
}

static struct wrapping wrapping_decode(const struct wrapping_format *in)
{
    struct wrapping out = {.kek_number = le64_get(in->kek_number), .kek_salt = le64_get(in->kek_salt)};
    memcpy(out.provider.bytes, in->provider, sizeof in->provider);
    return out;
}

static struct wrapping_format wrapping_encode(const struct wrapping *in)
{
    struct wrapping_format out = {.kek_number = le64_make(in->kek_number), .kek_salt = le64_make(in->kek_salt)};
    memcpy(out.provider, in->provider.bytes, sizeof out.provider);
    return out;
}

/* Of the wrappings the one that the KEK fits. */
static void wrappings_decode(const struct superblock_format *in, unsigned fits, struct superblock *out)
{
    out->wrapping = wrapping_decode(&in->wrappings[fits]);
    out->other = wrapping_decode(&in->wrappings[1 - fits]);
}

static void fields_decode(const struct superblock_format *in, struct superblock *out)
{
    *out = (struct superblock){0};
    memcpy(out->pool.bytes, in->pool, 16);
    memcpy(out->group.bytes, in->group, 16);
    memcpy(out->device.bytes, in->device, 16);
    out->epoch = le64_get(in->epoch);
    out->device_size = le64_get(in->device_size);
    out->segment_shift = le32_get(in->segment_shift);
    out->slot_count = le32_get(in->slot_count);
    out->device_index = le32_get(in->device_index);
    out->device_count = le32_get(in->device_count);
    out->features_incompatible = le64_get(in->features_incompatible);
    out->features_read_only = le64_get(in->features_read_only);
    out->features_compatible = le64_get(in->features_compatible);
    out->plaintext_serial_limit = le64_get(in->plaintext_serial_limit);
    out->encryption = in->encryption == 1;
    out->fingerprint = in->fingerprint;
    out->log_key_demanded = in->log_key_demanded;
    out->pool_key_demanded = in->pool_key_demanded;
    wrappings_decode(in, 0, out);
}

enum error superblock_fixed_decode(const struct superblock_format *in, uint32_t copy, uint64_t offset,
                                   struct superblock *out)
{
    if (memcmp(in->magic, SUPERBLOCK_MAGIC, sizeof in->magic) != 0)
        return ERROR_NOT_FOUND;
    if (le32_get(in->version) > FORMAT_VERSION)
        return ERROR_NEWER_FORMAT;
    if (le32_get(in->version) == 0 || le64_get(in->offset) != offset || le32_get(in->copy) != copy ||
        le32_get(in->crc) != fixed_crc(in))
        return ERROR_CORRUPT;
    struct superblock decoded;
    fields_decode(in, &decoded);
    if (!lengths_are_sound(in) || !geometry_is_sound(&decoded) || !choices_are_sound(in) ||
        offset != superblock_offset(decoded.device_size, copy))
        return ERROR_CORRUPT;
    *out = decoded;
    return ERROR_NONE;
}

/* ---- authentication ---------------------------------------------------------------------------------------------- */

static enum error image_mac(uint8_t *image, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                            uint8_t mac[32])
{
    struct superblock_format *fixed = (struct superblock_format *)image;
    le32 crc = fixed->crc;
    uint8_t macs[sizeof fixed->mac], key[KEY_SIZE];
    memcpy(macs, fixed->mac, sizeof macs);

    fixed->crc = le32_make(0);
    memset(fixed->mac, 0, sizeof fixed->mac);
    enum error error = superblock_key_derive(kek, superblock->pool, superblock->device, key);
    if (error == ERROR_NONE)
        error = hmac_sha256(key, image, SUPERBLOCK_SIZE, mac);
    fixed->crc = crc;
    memcpy(fixed->mac, macs, sizeof macs);
    memory_cleanse(key, sizeof key);
    return error;
}

static bool wrapping_is_used(const struct superblock_format *fixed, unsigned wrapping)
{
    static const uint8_t zero[sizeof(struct wrapping_format)];
    return wrapping == 0 || memcmp(&fixed->wrappings[wrapping], zero, sizeof zero) != 0;
}

enum error superblock_image_verify(uint8_t *image, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                   unsigned *wrapping)
{
    const struct superblock_format *fixed = (const struct superblock_format *)image;
    uint8_t mac[32];
    TRY(image_mac(image, superblock, kek, mac));
    for (unsigned i = 0; i < WRAPPINGS; i++)
        if (wrapping_is_used(fixed, i) && memory_compare_constant_time(mac, fixed->mac[i], sizeof mac) == 0) {
            *wrapping = i;
            return ERROR_NONE;
        }
    return ERROR_FORGED;
}

/* ---- key slots --------------------------------------------------------------------------------------------------- */

static const struct key_slot_format *slots_of(const uint8_t *image)
{
    return (const struct key_slot_format *)(image + SUPERBLOCK_SLOTS_OFFSET);
}

static uint32_t slot_count(const uint8_t *image)
{
    return le32_get(((const struct superblock_format *)image)->key_slot_count);
}

static enum error slot_unwrap(const struct key_slot_format *slot, const struct superblock *superblock,
                              const uint8_t wrap_key[KEY_SIZE], unsigned wrapping, uint8_t key[KEY_SIZE])
{
    return key_unwrap(wrap_key, (enum key_kind)slot->kind, le32_get(slot->number), superblock->device,
                      slot->wrapped[wrapping], key);
}

bool superblock_image_is_wrapped_by(const uint8_t *image, const struct superblock *superblock,
                                    const uint8_t kek[KEY_SIZE])
{
    uint8_t wrap_key[KEY_SIZE], key[KEY_SIZE];
    bool found = false;
    if (wrap_key_derive(kek, superblock->pool, superblock->device, wrap_key) != ERROR_NONE)
        return false;
    for (uint32_t i = 0; i < slot_count(image) && !found; i++)
        for (unsigned wrapping = 0; wrapping < WRAPPINGS && !found; wrapping++)
            found = slot_unwrap(slots_of(image) + i, superblock, wrap_key, wrapping, key) == ERROR_NONE;
    memory_cleanse(wrap_key, sizeof wrap_key);
    memory_cleanse(key, sizeof key);
    return found;
}

static bool slot_fields_are_sound(const struct key_slot_format *slot)
{
    uint32_t number = le32_get(slot->number);
    return slot->kind >= KEY_KIND_DEK && slot->kind <= KEY_KIND_POOL && slot->reserved[0] == 0 &&
           slot->reserved[1] == 0 && (slot->state == KEY_SLOT_CURRENT || slot->state == KEY_SLOT_OLD) && number != 0 &&
           (slot->kind == KEY_KIND_DEK || number <= KEY_NUMBER_MAX);
}

static bool slot_is_sound(const struct key_slot_format *slot, const struct keyring *before)
{
    enum key_kind kind = (enum key_kind)slot->kind;
    return slot_fields_are_sound(slot) && keyring_find(before, kind, le32_get(slot->number)) == NULL &&
           (slot->state == KEY_SLOT_OLD || keyring_current(before, kind) == NULL);
}

static enum error slots_unwrap(const struct key_slot_format *slots, uint32_t count, const struct superblock *superblock,
                               const uint8_t wrap_key[KEY_SIZE], unsigned wrapping, struct keyring *keyring)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct key_slot_format *slot = &slots[i];
        if (!slot_is_sound(slot, keyring))
            return error_explain(ERROR_CORRUPT, "key slot %" PRIu32 " contradicts itself", i);
        struct keyring_slot *unwrapped = &keyring->slots[keyring->count];
        TRY(slot_unwrap(slot, superblock, wrap_key, wrapping, unwrapped->key));
        unwrapped->kind = (enum key_kind)slot->kind;
        unwrapped->number = le32_get(slot->number);
        unwrapped->current = slot->state == KEY_SLOT_CURRENT;
        keyring->count++;
    }
    return ERROR_NONE;
}

static enum error keyring_check(const struct keyring *keyring, const struct superblock *superblock)
{
    const struct keyring_slot *log = keyring_current(keyring, KEY_KIND_LOG), *pool = keyring_current(keyring, KEY_KIND_POOL);
    bool dek = keyring_current(keyring, KEY_KIND_DEK) != NULL;
    if (log == NULL || pool == NULL || (superblock->encryption && !dek))
        return error_explain(ERROR_CORRUPT, "the superblock lacks a current key");
    if (superblock->log_key_demanded == 0 || log->number < superblock->log_key_demanded)
        return error_explain(ERROR_CORRUPT, "the superblock demands the log key %d, which it does not hold",
                             superblock->log_key_demanded);
    if (superblock->pool_key_demanded == 0 || pool->number < superblock->pool_key_demanded)
        return error_explain(ERROR_CORRUPT, "the superblock demands the pool key %d, which it does not hold",
                             superblock->pool_key_demanded);
    if (keyring_count(keyring, KEY_KIND_POOL) > POOL_KEYS_MAX)
        return error_explain(ERROR_CORRUPT, "the superblock holds %zu keys of the pool, and no pool has more than %d",
                             keyring_count(keyring, KEY_KIND_POOL), POOL_KEYS_MAX);
    return ERROR_NONE;
}

/* What all devices of the pool have. */
static void pool_keys_copy(const struct keyring *from, struct keyring *keyring)
{
    for (size_t i = 0; from != NULL && i < from->count; i++)
        if (from->slots[i].kind == KEY_KIND_POOL)
            keyring->slots[keyring->count++] = from->slots[i];
}

static enum error keyring_fill(const struct key_slot_format *slots, uint32_t count, const struct superblock *superblock,
                               const uint8_t kek[KEY_SIZE], unsigned wrapping, const struct keyring *peer, struct keyring *keyring)
{
    uint8_t wrap_key[KEY_SIZE];
    TRY(wrap_key_derive(kek, superblock->pool, superblock->device, wrap_key));
    enum error error = slots_unwrap(slots, count, superblock, wrap_key, wrapping, keyring);
    memory_cleanse(wrap_key, sizeof wrap_key);
    pool_keys_copy(peer, keyring);
    return error != ERROR_NONE ? error : keyring_check(keyring, superblock);
}

enum error superblock_slots_open(const struct key_slot_format *slots, uint32_t count,
                                 const struct superblock *superblock, const uint8_t kek[KEY_SIZE], unsigned wrapping,
                                 const struct keyring *peer, struct keyring **keyring)
{
    size_t of_peer = peer == NULL ? 0 : keyring_count(peer, KEY_KIND_POOL);
    struct keyring *new = arena_allocate(sizeof *new + (count + of_peer) * sizeof new->slots[0]);
    if (new == NULL)
        return ERROR_NO_MEMORY;
    new->encrypted = superblock->encryption;
    enum error error = keyring_fill(slots, count, superblock, kek, wrapping, peer, new);
    if (error != ERROR_NONE) {
        keyring_destroy(new);
        return error;
    }
    *keyring = new;
    return ERROR_NONE;
}

/* ---- key slots of other devices ---------------------------------------------------------------------------------- */

static const struct peer_slot_format *peers_of(const uint8_t *image)
{
    return (const struct peer_slot_format *)(slots_of(image) + slot_count(image));
}

static uint32_t peer_count_of(const uint8_t *image)
{
    return le32_get(((const struct superblock_format *)image)->peer_slot_count);
}

static bool peer_is_sound(const struct peer_slot_format *peers, uint32_t i, const struct superblock *superblock)
{
    unsigned of_device = 1;
    for (uint32_t before = 0; before < i; before++)
        of_device += memcmp(peers[before].device, peers[i].device, sizeof peers->device) == 0;
    return of_device <= PEER_SLOTS_MAX && slot_fields_are_sound(&peers[i].slot) && peers[i].slot.kind != KEY_KIND_POOL &&
           memcmp(peers[i].device, superblock->device.bytes, sizeof peers->device) != 0;
}

/* They stay wrapped: whoever revives a device unwraps them. */
static enum error peers_copy(const uint8_t *image, struct superblock *superblock)
{
    const struct peer_slot_format *peers = peers_of(image);
    uint32_t count = peer_count_of(image);
    for (uint32_t i = 0; i < count; i++)
        if (!peer_is_sound(peers, i, superblock))
            return error_explain(ERROR_CORRUPT, "key slot %" PRIu32 " of another device contradicts itself", i);
    if (count == 0)
        return ERROR_NONE;
    struct peer_slot_format *copy = memory_zeroed(count, sizeof *copy);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    memcpy(copy, peers, count * sizeof *copy);
    superblock->peers = copy;
    superblock->peer_count = count;
    return ERROR_NONE;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Bytes that a later version may use are judged only where no feature unknown here may have put something there. */
static enum error unused_check(const uint8_t *image, const struct superblock *superblock)
{
    const struct superblock_format *fixed = (const struct superblock_format *)image;
    uint32_t json_size = le32_get(fixed->json_size);
    size_t slots_end = SUPERBLOCK_SLOTS_OFFSET + slots_size(slot_count(image), peer_count_of(image));
    if (superblock->features_compatible != 0 || superblock->features_read_only != 0)
        return ERROR_NONE;
    if (!memory_is_zero(fixed->reserved, sizeof fixed->reserved) ||
        !memory_is_zero(image + slots_end, SUPERBLOCK_BINARY_SIZE - slots_end) ||
        !memory_is_zero(image + SUPERBLOCK_BINARY_SIZE + json_size, SUPERBLOCK_JSON_SIZE - json_size))
        return error_explain(ERROR_CORRUPT, "the superblock has something in bytes that must be zero");
    return ERROR_NONE;
}

static enum error json_copy(const uint8_t *image, char **json)
{
    size_t size = le32_get(((const struct superblock_format *)image)->json_size);
    const uint8_t *begin = image + SUPERBLOCK_BINARY_SIZE;
    if (memchr(begin, 0, size) != NULL)
        return error_explain(ERROR_CORRUPT, "the superblock's JSON has a zero byte in it");
    char *copy = memory_zeroed(size + 1, 1);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    memcpy(copy, begin, size);
    *json = copy;
    return ERROR_NONE;
}

static enum error features_check(const struct superblock *superblock)
{
    uint64_t unknown = superblock->features_incompatible & ~FEATURES_INCOMPATIBLE_KNOWN;
    if (unknown != 0)
        return error_explain(ERROR_NEWER_FORMAT,
                             "the device uses features that this Coffer does not know (0x%" PRIx64 "): open it with "
                             "the version that wrote it, or a later one",
                             unknown);
    return ERROR_NONE;
}

enum error superblock_image_open(const uint8_t *image, struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                 unsigned wrapping, struct keyring **keyring)
{
    TRY(features_check(superblock));
    TRY(unused_check(image, superblock));
    struct keyring *new;
    TRY(superblock_slots_open(slots_of(image), slot_count(image), superblock, kek, wrapping, NULL, &new));
    enum error error = peers_copy(image, superblock);
    if (error == ERROR_NONE)
        error = json_copy(image, &superblock->json);
    if (error != ERROR_NONE) {
        keyring_destroy(new);
        superblock_forget(superblock);
        return error;
    }
    wrappings_decode((const struct superblock_format *)image, wrapping, superblock);
    *keyring = new;
    return ERROR_NONE;
}

void superblock_forget(struct superblock *superblock)
{
    free(superblock->json);
    free(superblock->peers);
    superblock->json = NULL;
    superblock->peers = NULL;
    superblock->peer_count = 0;
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static void fields_encode(const struct superblock *superblock, struct superblock_format *out)
{
    memcpy(out->magic, SUPERBLOCK_MAGIC, sizeof out->magic);
    out->version = le32_make(FORMAT_VERSION);
    memcpy(out->pool, superblock->pool.bytes, 16);
    memcpy(out->group, superblock->group.bytes, 16);
    memcpy(out->device, superblock->device.bytes, 16);
    out->epoch = le64_make(superblock->epoch);
    out->device_size = le64_make(superblock->device_size);
    out->segment_shift = le32_make(superblock->segment_shift);
    out->slot_count = le32_make(superblock->slot_count);
    out->device_index = le32_make(superblock->device_index);
    out->device_count = le32_make(superblock->device_count);
    out->features_incompatible = le64_make(superblock->features_incompatible);
    out->features_read_only = le64_make(superblock->features_read_only);
    out->features_compatible = le64_make(superblock->features_compatible);
    out->plaintext_serial_limit = le64_make(superblock->plaintext_serial_limit);
    out->wrappings[0] = wrapping_encode(&superblock->wrapping);
    out->encryption = superblock->encryption;
    out->fingerprint = superblock->fingerprint;
    out->log_key_demanded = superblock->log_key_demanded;
    out->pool_key_demanded = superblock->pool_key_demanded;
}

enum error superblock_slot_wrap(const struct keyring_slot *slot, struct uuid device, const uint8_t wrap_key[KEY_SIZE],
                                unsigned wrapping, struct key_slot_format *out)
{
    out->kind = (uint8_t)slot->kind;
    out->state = slot->current ? KEY_SLOT_CURRENT : KEY_SLOT_OLD;
    out->number = le32_make(slot->number);
    return key_wrap(wrap_key, slot->kind, slot->number, device, slot->key, out->wrapped[wrapping]);
}

static enum error slots_wrap(const struct keyring *keyring, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                             unsigned wrapping, struct key_slot_format *out)
{
    uint8_t wrap_key[KEY_SIZE];
    TRY(wrap_key_derive(kek, superblock->pool, superblock->device, wrap_key));
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < keyring->count && error == ERROR_NONE; i++)
        error = superblock_slot_wrap(&keyring->slots[i], superblock->device, wrap_key, wrapping, &out[i]);
    memory_cleanse(wrap_key, sizeof wrap_key);
    return error;
}

static enum error room_check(const struct superblock *superblock, const struct keyring *keyring, size_t json_size)
{
    if (json_size > SUPERBLOCK_JSON_SIZE)
        return error_explain(ERROR_TOO_LARGE, "what a superblock must hold as JSON has %zu bytes, %u are possible",
                             json_size, SUPERBLOCK_JSON_SIZE);
    if (slots_size((uint32_t)keyring->count, superblock->peer_count) > SUPERBLOCK_BINARY_SIZE - SUPERBLOCK_SLOTS_OFFSET)
        return error_explain(ERROR_TOO_LARGE, "a superblock has no room for %zu key slots and %" PRIu32 " of other devices",
                             keyring->count, superblock->peer_count);
    return ERROR_NONE;
}

enum error superblock_image_build(const struct superblock *superblock, const struct keyring *keyring,
                                  const uint8_t kek[KEY_SIZE], const uint8_t other_kek[KEY_SIZE], uint8_t *image)
{
    const char *json = superblock->json == NULL ? "" : superblock->json;
    size_t json_size = strlen(json);
    ASSERT(keyring->count <= KEY_SLOTS_MAX && geometry_is_sound(superblock));
    TRY(room_check(superblock, keyring, json_size));
    memset(image, 0, SUPERBLOCK_SIZE);
    struct superblock_format *fixed = (struct superblock_format *)image;
    fields_encode(superblock, fixed);
    if (other_kek != NULL)
        fixed->wrappings[1] = wrapping_encode(&superblock->other);
    fixed->json_size = le32_make((uint32_t)json_size);
    fixed->key_slot_count = le32_make((uint32_t)keyring->count);
    fixed->peer_slot_count = le32_make(superblock->peer_count);
    if (superblock->peer_count != 0)
        memcpy(image + SUPERBLOCK_SLOTS_OFFSET + slots_size((uint32_t)keyring->count, 0), superblock->peers,
               superblock->peer_count * sizeof superblock->peers[0]);
    memcpy(image + SUPERBLOCK_BINARY_SIZE, json, json_size);
    struct key_slot_format *slots = (struct key_slot_format *)(image + SUPERBLOCK_SLOTS_OFFSET);
    TRY(slots_wrap(keyring, superblock, kek, 0, slots));
    return other_kek == NULL ? ERROR_NONE : slots_wrap(keyring, superblock, other_kek, 1, slots);
}

enum error superblock_image_seal(uint8_t *image, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                 const uint8_t other_kek[KEY_SIZE], uint32_t copy)
{
    struct superblock_format *fixed = (struct superblock_format *)image;
    fixed->copy = le32_make(copy);
    fixed->offset = le64_make(superblock_offset(superblock->device_size, copy));
    memset(fixed->mac, 0, sizeof fixed->mac);
    fixed->crc = le32_make(fixed_crc(fixed));
    uint8_t macs[WRAPPINGS][32] = {{0}};
    TRY(image_mac(image, superblock, kek, macs[0]));
    if (other_kek != NULL)
        TRY(image_mac(image, superblock, other_kek, macs[1]));
    memcpy(fixed->mac, macs, sizeof macs);
    return ERROR_NONE;
}
