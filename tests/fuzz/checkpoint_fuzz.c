/*
 * Checkpoint records: patches to a valid one, with its MAC made anew (an odd first byte) or not. What is taken can be
 * written, and is then taken again as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/kdf.h"
#include "engine/group/checkpoint.h"
#include "tests/fuzz/patches.h"

static struct superblock superblock = {.pool = {{1}}, .group = {{2}}, .device = {{3}}, .device_size = UINT64_C(200) << 20,
                                       .device_count = 2, .log_key_demanded = 1, .pool_key_demanded = 1};
static struct keyring *keyring;
static struct checkpoint_format valid;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static const uint8_t k_pool[KEY_SIZE] = {9};
    struct checkpoint checkpoint = {.number = 7, .sequence = 8, .epoch = 1, .serial_lease = 9, .component_lease = 3,
                                    .cid_end = 512, .start = {5, 0, 1, 1}, .joint_count = 2, .table_segment_count = 1};
    (void)count, (void)arguments;
    checkpoint.joints[0].next = (struct place){6, 1, 2, 3};
    checkpoint.joints[1].next = (struct place){7, 0, 4, 1};
    checkpoint.table_segments[0] = (struct segment_reference){.serial = 4, .slot = 2, .log_key = 1};
    checkpoint.roots[0].pointer.first = entry_make(0, 4, 300, 20, 0, 1);
    ASSERT(keyring_create(false, k_pool, &keyring) == ERROR_NONE);
    ASSERT(checkpoint_encode(&checkpoint, &superblock, keyring, 1, &valid) == ERROR_NONE);
    return 0;
}

static void taken(const struct checkpoint *checkpoint)
{
    struct checkpoint_format once, twice;
    struct checkpoint back;
    ASSERT(checkpoint_encode(checkpoint, &superblock, keyring, 1, &once) == ERROR_NONE);
    ASSERT(checkpoint_decode(&once, &superblock, keyring, 1, &back) == ERROR_NONE);
    ASSERT(checkpoint_encode(&back, &superblock, keyring, 1, &twice) == ERROR_NONE);
    ASSERT(memcmp(&once, &twice, sizeof once) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint_format record = valid;
    struct checkpoint checkpoint;
    if (size == 0)
        return 0;
    patches_apply(data + 1, size - 1, 1, (uint8_t *)&record, sizeof record);
    bool same = memcmp(&record, &valid, sizeof record) == 0, sealed = data[0] % 2;
    if (sealed)
        ASSERT(hmac_sha256(keyring_current(keyring, KEY_KIND_LOG)->key, &record, offsetof(struct checkpoint_format, mac),
                           record.mac) == ERROR_NONE);
    enum error error = checkpoint_decode(&record, &superblock, keyring, 1, &checkpoint);
    ASSERT(sealed || (error == ERROR_NONE) == same);
    if (error == ERROR_NONE)
        taken(&checkpoint);
    return 0;
}
