/*
 * Segment headers: patches to a valid one of a journal, with its MAC made anew (an odd first byte) or not. What is taken
 * is in its range and is, encoded again, the same block, but for the K_log of the MAC, which is then the newest; without a new MAC
 * nothing but the valid one is taken. Of three K_logs the first is good for tags alone, as behind a deep rekey.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/kdf.h"
#include "engine/group/group.h"
#include "tests/fuzz/patches.h"

#define DEVICE 1
#define SLOT   9
#define SERIAL UINT64_C(70)

static struct group group;
static struct segment_format valid;

#define LOG_KEYS 3u
#define DEMANDED 2u

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const uint8_t k_pool[KEY_SIZE] = {9};
    struct segment_header header = {.segment = {.serial = SERIAL, .salt = 5, .birth_salt = 6, .key_slot = 1,
                                                .kind = SEGMENT_JOURNAL, .log_key = 1},
                                    .device = DEVICE, .slot = SLOT, .predecessor = {69, 0, 8, 0},
                                    .successor = {71, 0, 10, 1}};
    (void)count, (void)arguments;
    group.device_count = DEVICE + 1;
    group.superblocks[DEVICE] =
        (struct superblock){.pool = {{1}}, .group = {{2}}, .device = {{3}}, .log_key_demanded = DEMANDED, .pool_key_demanded = 1};
    ASSERT(keyring_create(false, k_pool, &group.keyrings[DEVICE]) == ERROR_NONE);
    for (uint32_t number = 2; number <= LOG_KEYS; number++) {
        struct keyring *before = group.keyrings[DEVICE];
        ASSERT(keyring_with_new(before, &(struct keyring_new){.log_key = number}, &group.keyrings[DEVICE]) == ERROR_NONE);
        keyring_destroy(before);
    }
    ASSERT(segment_header_encode(&group, &header, &valid) == ERROR_NONE);
    return 0;
}

/* Under the key that it names, where there is one, whatever it is good for. */
static void seal(struct segment_format *block)
{
    const struct keyring *keyring = group.keyrings[DEVICE];
    const uint8_t *key = keyring_find(keyring, KEY_KIND_LOG, block->header_key);
    ASSERT(hmac_sha256(key ? key : keyring_current(keyring, KEY_KIND_LOG)->key, block, offsetof(struct segment_format, mac),
                       block->mac) == ERROR_NONE);
}

static void taken(const struct segment_format *block, const struct segment_header *header)
{
    struct segment_format again;
    const struct segment *segment = &header->segment;
    ASSERT(header->device == DEVICE && header->slot == SLOT && segment->serial != 0 && segment->serial <= SERIAL_MAX);
    ASSERT(segment->kind >= SEGMENT_JOURNAL && segment->kind <= SEGMENT_COLD && segment->state == SLOT_SEALED);
    ASSERT(header->successor.device < group.device_count && header->successor.slot < SLOTS_MAX);
    ASSERT(block->header_key >= DEMANDED && block->header_key <= LOG_KEYS);
    ASSERT(segment->log_key >= 1 && segment->log_key <= block->header_key);
    ASSERT(segment_header_encode(&group, header, &again) == ERROR_NONE);
    ASSERT(again.header_key == LOG_KEYS);
    again.header_key = block->header_key;
    ASSERT(memcmp(&again, block, offsetof(struct segment_format, mac)) == 0);
    ASSERT(block->header_key != LOG_KEYS || memcmp(again.mac, block->mac, sizeof again.mac) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_format block = valid;
    struct segment_header header, asked;
    if (size == 0)
        return 0;
    patches_apply(data + 1, size - 1, 1, (uint8_t *)&block, sizeof block);
    bool same = memcmp(&block, &valid, sizeof block) == 0, sealed = data[0] % 2;
    if (sealed)
        seal(&block);
    enum error error = segment_header_decode(&group, DEVICE, SLOT, 0, &block, &header);
    ASSERT(sealed || (error == ERROR_NONE) == same);
    if (error == ERROR_NONE)
        taken(&block, &header);
    bool serial_fits = error == ERROR_NONE && header.segment.serial == SERIAL;
    ASSERT((segment_header_decode(&group, DEVICE, SLOT, SERIAL, &block, &asked) == ERROR_NONE) == serial_fits);
    return 0;
}
