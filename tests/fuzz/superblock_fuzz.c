/*
 * Superblocks: no bytes may crash a decoder, be it before the MAC or, since anybody can make that of a plaintext pool,
 * behind it. The first byte chooses: a fixed part as it comes; patches to a valid image, with CRC and MAC made anew; the
 * JSON of a peer, from which a lost superblock is made; patches without a new MAC, which must not verify.
 *
 * The HMAC of an image of 128 KiB, most of an execution, is replaced (--wrap) by a hash of key and bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/superblock_image.h"
#include "engine/group/superblock_peer.h"
#include "tests/fuzz/patches.h"

#define DEVICES 3
#define SIZE    (UINT64_C(200) << 20)

static struct superblock superblocks[DEVICES];
static struct keyring *keyrings[DEVICES];
static uint8_t *valid, *image;
static char json[512] = "{}";

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]);

enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, size, XXH3_64bits(key, KEY_SIZE));
    memcpy(mac, &hash, sizeof hash);
    memcpy(mac + sizeof hash, &hash, sizeof hash);
    return ERROR_NONE;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const uint8_t k_pool[KEY_SIZE] = {9};
    (void)count, (void)arguments;
    message_level_set(MESSAGE_ERROR);
    for (uint32_t i = 0; i < DEVICES; i++) {
        superblocks[i] = (struct superblock){.pool = {{1}}, .group = {{2}}, .device = {{(uint8_t)(3 + i)}}, .epoch = 5,
                                             .device_size = SIZE, .device_index = i, .device_count = DEVICES,
                                             .fingerprint = 1, .log_key_demanded = 1, .json = json};
        ASSERT(superblock_geometry(SIZE, &superblocks[i].segment_shift, &superblocks[i].slot_count) == ERROR_NONE);
        ASSERT(keyring_create(false, k_pool, &keyrings[i]) == ERROR_NONE);
    }
    ASSERT(superblock_peers_make(superblocks, keyrings, DEVICES, 0, kek_public, &superblocks[0]) == ERROR_NONE);
    valid = memory_aligned(SUPERBLOCK_SIZE);
    image = memory_aligned(SUPERBLOCK_SIZE);
    ASSERT(valid != NULL && image != NULL);
    ASSERT(superblock_image_build(&superblocks[0], keyrings[0], kek_public, NULL, valid) == ERROR_NONE);
    ASSERT(superblock_image_seal(valid, &superblocks[0], kek_public, NULL, 0) == ERROR_NONE);
    return 0;
}

static void revive(const struct superblock *peer)
{
    for (uint32_t i = 1; i < DEVICES; i++) {
        struct superblock revived;
        struct keyring *keyring;
        if (superblock_revive(peer, superblocks[i].device, kek_public, &revived, &keyring) != ERROR_NONE)
            continue;
        ASSERT(revived.device_index < revived.device_count && keyring->count <= PEER_SLOTS_MAX);
        ASSERT(superblock_image_build(&revived, keyring, kek_public, NULL, image) == ERROR_NONE);
        keyring_destroy(keyring);
        superblock_forget(&revived);
    }
}

static void fixed_run(const uint8_t *data, size_t size)
{
    struct superblock superblock;
    memset(image, 0, SUPERBLOCK_SIZE);
    memcpy(image, data, size < SUPERBLOCK_SIZE ? size : SUPERBLOCK_SIZE);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        (void)!superblock_fixed_decode((const struct superblock_format *)image, copy, superblock_offset(SIZE, copy),
                                       &superblock);
}

/* What opens can be written again, and opens again. */
static void open_run(void)
{
    struct superblock superblock;
    struct keyring *keyring;
    unsigned wrapping;
    if (superblock_fixed_decode((const struct superblock_format *)image, 0, 0, &superblock) != ERROR_NONE ||
        superblock_image_verify(image, &superblock, kek_public, &wrapping) != ERROR_NONE ||
        superblock_image_open(image, &superblock, kek_public, wrapping, &keyring) != ERROR_NONE)
        return;
    revive(&superblock);
    ASSERT(superblock_image_build(&superblock, keyring, kek_public, NULL, image) == ERROR_NONE);
    keyring_destroy(keyring);
    superblock_forget(&superblock);
}

static void sealed_run(const uint8_t *data, size_t size)
{
    memcpy(image, valid, SUPERBLOCK_SIZE);
    patches_apply(data, size, 64, image, SUPERBLOCK_SIZE);
    struct superblock identity;
    struct superblock_format *fixed = (struct superblock_format *)image;
    memcpy(fixed->magic, SUPERBLOCK_MAGIC, sizeof fixed->magic);
    identity = superblocks[0]; /* the MAC's key is that of the identity that the image states */
    memcpy(identity.pool.bytes, fixed->pool, 16);
    memcpy(identity.device.bytes, fixed->device, 16);
    ASSERT(superblock_image_seal(image, &identity, kek_public, NULL, 0) == ERROR_NONE);
    open_run();
}

static void json_run(const uint8_t *data, size_t size)
{
    struct superblock peer = superblocks[0];
    peer.json = strndup((const char *)data, size);
    if (peer.json != NULL)
        revive(&peer);
    free(peer.json);
}

/* Beside CRC and MAC, which are not under the MAC, no byte can change. */
static void forged_run(const uint8_t *data, size_t size)
{
    struct superblock superblock;
    unsigned wrapping;
    memcpy(image, valid, SUPERBLOCK_SIZE);
    patches_apply(data, size, 64, image, SUPERBLOCK_SIZE);
    struct superblock_format *fixed = (struct superblock_format *)image;
    const struct superblock_format *true_one = (const struct superblock_format *)valid;
    fixed->crc = true_one->crc;
    memcpy(fixed->mac, true_one->mac, sizeof fixed->mac);
    bool same = memcmp(image, valid, SUPERBLOCK_SIZE) == 0;
    if (superblock_fixed_decode(fixed, 0, 0, &superblock) == ERROR_NONE)
        ASSERT((superblock_image_verify(image, &superblock, kek_public, &wrapping) == ERROR_NONE) == same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const runs[])(const uint8_t *, size_t) = {fixed_run, sealed_run, json_run, forged_run};
    if (size > 0)
        runs[data[0] % 4](data + 1, size - 1);
    return 0;
}
