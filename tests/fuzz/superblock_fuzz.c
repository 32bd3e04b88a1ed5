/*
 * Superblocks: no bytes may crash a decoder, be it before the MAC or, since anybody can make that of a plaintext pool,
 * behind it. The first byte chooses: a fixed part as it comes; patches to a valid image, with CRC and MACs made anew; the
 * JSON of a peer, from which a lost superblock is made; patches without a new MAC, which must not verify. Its bit 2: the image
 * is of a change of keys, wrapped under two KEKs, each of which opens it, and has an old log key.
 *
 * MACs, derived keys and wrapping, most of an execution, are replaced by hashes (quick_crypto.c).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/superblock_image.h"
#include "engine/group/superblock_peer.h"
#include "tests/fuzz/patches.h"

#define DEVICES 3
#define SIZE    (UINT64_C(200) << 20)

#define MODES   4
#define CHANGE  MODES

static const uint8_t other_kek[KEY_SIZE] = {7};

/* A good image; `other` is NULL where there is one KEK. */
struct good {
    struct superblock superblock;
    const uint8_t *other;
    uint8_t *image;
};

static struct superblock superblocks[DEVICES];
static struct keyring *keyrings[DEVICES];
static struct good goods[2];
static uint8_t *image, *again;
static char json[512] = "{}";

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void good_make(struct good *good, const struct keyring *keyring, const uint8_t *other)
{
    good->superblock = superblocks[0];
    good->other = other;
    if (other != NULL) {
        good->superblock.wrapping = (struct wrapping){{{8}}, 3, 4};
        good->superblock.other = (struct wrapping){{{9}}, 5, 6};
    }
    good->image = memory_aligned(SUPERBLOCK_SIZE);
    ASSERT(good->image != NULL);
    ASSERT(superblock_image_build(&good->superblock, keyring, kek_public, other, good->image) == ERROR_NONE);
    ASSERT(superblock_image_seal(good->image, &good->superblock, kek_public, other, 0) == ERROR_NONE);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const uint8_t k_pool[KEY_SIZE] = {9};
    (void)count, (void)arguments;
    message_level_set(MESSAGE_ERROR);
    for (uint32_t i = 0; i < DEVICES; i++) {
        superblocks[i] = (struct superblock){.pool = {{1}}, .group = {{2}}, .device = {{(uint8_t)(3 + i)}}, .epoch = 5,
                                             .device_size = SIZE, .device_index = i, .device_count = DEVICES,
                                             .fingerprint = 1, .log_key_demanded = 1, .pool_key_demanded = 1, .json = json};
        ASSERT(superblock_geometry(SIZE, &superblocks[i].segment_shift, &superblocks[i].slot_count) == ERROR_NONE);
        ASSERT(keyring_create(false, k_pool, &keyrings[i]) == ERROR_NONE);
    }
    ASSERT(superblock_peers_make(superblocks, keyrings, DEVICES, 0, kek_public, &superblocks[0]) == ERROR_NONE);
    image = memory_aligned(SUPERBLOCK_SIZE);
    again = memory_aligned(SUPERBLOCK_SIZE);
    ASSERT(image != NULL && again != NULL);
    struct keyring *with_old;
    ASSERT(keyring_with_new(keyrings[0], &(struct keyring_new){.log_key = 2}, &with_old) == ERROR_NONE);
    good_make(&goods[0], keyrings[0], NULL);
    good_make(&goods[1], with_old, other_kek);
    keyring_destroy(with_old);
    return 0;
}

/* Opens under that KEK, as that wrapping, and holds these keys and this JSON. */
static void opens_as(const struct superblock *superblock, const struct keyring *keyring, const uint8_t *kek, unsigned expected)
{
    struct superblock back;
    struct keyring *found;
    unsigned wrapping;
    ASSERT(superblock_fixed_decode((const struct superblock_format *)again, 0, 0, &back) == ERROR_NONE);
    ASSERT(superblock_image_verify(again, &back, kek, &wrapping) == ERROR_NONE && wrapping == expected);
    ASSERT(superblock_image_open(again, &back, kek, wrapping, &found) == ERROR_NONE);
    ASSERT(keyring_is_equal(keyring, found) && strcmp(back.json, superblock->json) == 0);
    keyring_destroy(found);
    superblock_forget(&back);
}

/* Into `again`, which then opens by each KEK. */
static void write_again(const struct superblock *superblock, const struct keyring *keyring, const uint8_t *kek,
                        const uint8_t *second)
{
    ASSERT(superblock_image_build(superblock, keyring, kek, second, again) == ERROR_NONE);
    ASSERT(superblock_image_seal(again, superblock, kek, second, 0) == ERROR_NONE);
    opens_as(superblock, keyring, kek, 0);
    if (second != NULL && second != kek)
        opens_as(superblock, keyring, second, 1);
}

static void revive(const struct superblock *peer, const struct keyring *peer_keyring)
{
    for (uint32_t i = 1; i < DEVICES; i++) {
        struct superblock revived;
        struct keyring *keyring;
        if (superblock_revive(peer, peer_keyring, superblocks[i].device, kek_public, &revived, &keyring) != ERROR_NONE)
            continue;
        ASSERT(revived.device_index < revived.device_count && keyring->count <= PEER_SLOTS_MAX + POOL_KEYS_MAX);
        write_again(&revived, keyring, kek_public, NULL);
        keyring_destroy(keyring);
        superblock_forget(&revived);
    }
}

static void fixed_run(const struct good *good, const uint8_t *data, size_t size)
{
    struct superblock superblock;
    (void)good;
    memset(image, 0, SUPERBLOCK_SIZE);
    memcpy(image, data, size < SUPERBLOCK_SIZE ? size : SUPERBLOCK_SIZE);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        (void)!superblock_fixed_decode((const struct superblock_format *)image, copy, superblock_offset(SIZE, copy),
                                       &superblock);
}

/* What was opened and written again is as it was: what the KEK that opened it had wrapped comes first, and what nobody has a
 * feature for is zero. */
static void assert_as_it_was(unsigned wrapping, bool second)
{
    static uint8_t expected[SUPERBLOCK_SIZE];
    const struct superblock_format *before = (const struct superblock_format *)image;
    const struct superblock_format *after = (const struct superblock_format *)again;
    struct superblock_format *fixed = (struct superblock_format *)expected;
    uint32_t count = le32_get(before->key_slot_count);
    size_t slots_size = count * sizeof(struct key_slot_format) +
                        le32_get(before->peer_slot_count) * sizeof(struct peer_slot_format);
    memset(expected, 0, sizeof expected);
    memcpy(expected, image, offsetof(struct superblock_format, reserved));
    fixed->version = le32_make(FORMAT_VERSION);
    fixed->crc = after->crc;
    memcpy(fixed->mac, after->mac, sizeof fixed->mac);
    fixed->wrappings[0] = before->wrappings[wrapping];
    fixed->wrappings[1] = second ? before->wrappings[1 - wrapping] : (struct wrapping_format){0};
    memcpy(expected + SUPERBLOCK_SLOTS_OFFSET, image + SUPERBLOCK_SLOTS_OFFSET, slots_size);
    const struct key_slot_format *of_before = (const struct key_slot_format *)(image + SUPERBLOCK_SLOTS_OFFSET);
    const struct key_slot_format *of_after = (const struct key_slot_format *)(again + SUPERBLOCK_SLOTS_OFFSET);
    struct key_slot_format *slots = (struct key_slot_format *)(expected + SUPERBLOCK_SLOTS_OFFSET);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(slots[i].wrapped[0], of_before[i].wrapped[wrapping], sizeof slots[i].wrapped[0]);
        memcpy(slots[i].wrapped[1], of_after[i].wrapped[1], sizeof slots[i].wrapped[1]); /* it opened by what it is */
    }
    memcpy(expected + SUPERBLOCK_BINARY_SIZE, image + SUPERBLOCK_BINARY_SIZE, le32_get(before->json_size));
    ASSERT(memcmp(expected, again, SUPERBLOCK_SIZE) == 0);
}

/* What opens can be written again, and opens again: in a change of keys under both KEKs, whichever opened it. */
static void open_run(const struct good *good, const uint8_t *kek, const uint8_t *other)
{
    struct superblock superblock;
    struct keyring *keyring;
    unsigned wrapping;
    if (superblock_fixed_decode((const struct superblock_format *)image, 0, 0, &superblock) != ERROR_NONE ||
        superblock_image_verify(image, &superblock, kek, &wrapping) != ERROR_NONE)
        return;
    ASSERT(wrapping == (kek == good->other));
    (void)superblock_image_is_wrapped_by(image, &superblock, kek);
    if (superblock_image_open(image, &superblock, kek, wrapping, &keyring) != ERROR_NONE)
        return;
    const uint8_t *second = uuid_is_zero(superblock.other.provider) ? NULL : other;
    write_again(&superblock, keyring, kek, second);
    assert_as_it_was(wrapping, second != NULL);
    if (good->other == NULL)
        revive(&superblock, keyring);
    keyring_destroy(keyring);
    superblock_forget(&superblock);
}

static void sealed_run(const struct good *good, const uint8_t *data, size_t size)
{
    memcpy(image, good->image, SUPERBLOCK_SIZE);
    patches_apply(data, size, 64, image, SUPERBLOCK_SIZE);
    struct superblock identity;
    struct superblock_format *fixed = (struct superblock_format *)image;
    memcpy(fixed->magic, SUPERBLOCK_MAGIC, sizeof fixed->magic);
    identity = good->superblock; /* the MAC's key is that of the identity that the image states */
    memcpy(identity.pool.bytes, fixed->pool, 16);
    memcpy(identity.device.bytes, fixed->device, 16);
    ASSERT(superblock_image_seal(image, &identity, kek_public, good->other, 0) == ERROR_NONE);
    open_run(good, kek_public, good->other != NULL ? good->other : kek_public);
    if (good->other != NULL)
        open_run(good, good->other, kek_public);
}

static void json_run(const struct good *good, const uint8_t *data, size_t size)
{
    struct superblock peer = superblocks[0];
    (void)good;
    peer.json = strndup((const char *)data, size);
    if (peer.json != NULL)
        revive(&peer, keyrings[0]);
    free(peer.json);
}

/* Beside CRC and MACs, which are not under a MAC, no byte can change. */
static void forged_run(const struct good *good, const uint8_t *data, size_t size)
{
    struct superblock superblock;
    unsigned wrapping;
    memcpy(image, good->image, SUPERBLOCK_SIZE);
    patches_apply(data, size, 64, image, SUPERBLOCK_SIZE);
    struct superblock_format *fixed = (struct superblock_format *)image;
    const struct superblock_format *true_one = (const struct superblock_format *)good->image;
    fixed->crc = true_one->crc;
    memcpy(fixed->mac, true_one->mac, sizeof fixed->mac);
    bool same = memcmp(image, good->image, SUPERBLOCK_SIZE) == 0;
    if (superblock_fixed_decode(fixed, 0, 0, &superblock) != ERROR_NONE)
        return;
    ASSERT((superblock_image_verify(image, &superblock, kek_public, &wrapping) == ERROR_NONE) == same);
    bool wrapped = superblock_image_is_wrapped_by(image, &superblock, kek_public);
    ASSERT(wrapped || !same);
    if (good->other != NULL)
        ASSERT((superblock_image_verify(image, &superblock, good->other, &wrapping) == ERROR_NONE) == same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const runs[MODES])(const struct good *, const uint8_t *, size_t) = {fixed_run, sealed_run, json_run, forged_run};
    if (size > 0)
        runs[data[0] % MODES](&goods[(data[0] & CHANGE) != 0], data + 1, size - 1);
    return 0;
}
