/*
 * slots-unwrap DIR [DEVICES [SLOTS]]: how long an open takes to authenticate and unwrap what full superblocks hold. Makes
 * so many devices (64; sparse files in DIR, which is to be empty) of a group, each with so many key slots of its own (256), by
 * the functions that write superblocks, and then goes the way of an open: all copies are read and verified, the slots of the
 * newest unwrapped and compared with what they say of themselves. Prints nanoseconds for all devices, and how many slots of others
 * each holds: those in use of all others, which are verified as well, or none where there is no room beside its own.
 *
 * One thread. What fails ends it; DIR is the caller's to remove.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "crypto/arena.h"
#include "engine/group/superblock.h"
#include "engine/group/superblock_peer.h"

#define DEVICE_SIZE (UINT64_C(160) << 20)

static struct superblock superblocks[PEER_DEVICES_MAX], opened[PEER_DEVICES_MAX];
static struct keyring *keyrings[PEER_DEVICES_MAX], *unwrapped[PEER_DEVICES_MAX];
static struct device *devices[PEER_DEVICES_MAX];
static uint8_t kek[KEY_SIZE];

static _Noreturn void fail(const char *sentence)
{
    fprintf(stderr, "slots-unwrap: %s\n", sentence);
    exit(1);
}

static void succeed(enum error error)
{
    if (error)
        fail(error_sentence(error));
}

static void keyring_fill(struct keyring **keyring, size_t slots)
{
    while ((*keyring)->count < slots) {
        struct keyring *with;
        uint32_t last = keyring_current(*keyring, KEY_KIND_DEK)->number;
        succeed(keyring_with_new(*keyring, &(struct keyring_new){.data_key = last + 1}, &with));
        keyring_destroy(*keyring);
        *keyring = with;
    }
}

static void device_make(const char *directory, uint32_t d, uint32_t count, struct uuid ids[3], size_t slots)
{
    char path[512];
    uint8_t k_pool[KEY_SIZE];
    snprintf(path, sizeof path, "%s/disk%" PRIu32, directory, d);
    random_bytes(k_pool, sizeof k_pool);
    superblocks[d] = (struct superblock){
        .pool = ids[0],
        .group = ids[1],
        .device = uuid_random(),
        .epoch = 1,
        .device_size = DEVICE_SIZE,
        .device_index = d,
        .device_count = count,
        .wrapping = {ids[2], 1, random_u64()},
        .encryption = true,
        .fingerprint = 1,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
        .json = (char *)"{}",
    };
    succeed(superblock_geometry(DEVICE_SIZE, &superblocks[d].segment_shift, &superblocks[d].slot_count));
    succeed(keyring_create(true, k_pool, &keyrings[d]));
    keyring_fill(&keyrings[d], slots);
    succeed(device_create_file(path, DEVICE_SIZE));
    succeed(device_open_file(path, 0, &devices[d]));
}

static void superblocks_make(uint32_t count)
{
    bool fit = group_slots_fit(keyrings, count);
    for (uint32_t d = 0; d < count && fit; d++)
        succeed(superblock_peers_make(superblocks, keyrings, count, d, kek, &superblocks[d]));
    for (uint32_t d = 0; d < count; d++)
        succeed(superblock_write(devices[d], &superblocks[d], keyrings[d], kek));
}

static void superblocks_open(uint32_t count)
{
    static struct superblock_probe probe;
    for (uint32_t d = 0; d < count; d++) {
        unsigned bad;
        succeed(superblock_probe(devices[d], &probe));
        succeed(superblock_open(devices[d], &probe, kek, &opened[d], &unwrapped[d], &bad));
        if (bad || !keyring_is_equal(unwrapped[d], keyrings[d]))
            fail("what was unwrapped is not what was wrapped");
    }
    for (uint32_t d = 0; d < count && superblocks[0].peer_count; d++) {
        bool equal;
        succeed(superblock_peers_verify(opened, unwrapped, count, d, kek, &equal));
        if (!equal)
            fail("a superblock does not hold its peers' slots");
    }
}

int main(int count, char **arguments)
{
    uint32_t device_count = count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : PEER_DEVICES_MAX;
    size_t slots = count > 3 ? strtoul(arguments[3], NULL, 10) : KEY_SLOTS_MAX;
    if (count < 2 || device_count < 1 || device_count > PEER_DEVICES_MAX || slots < 3 || slots > KEY_SLOTS_MAX)
        fail("usage: slots-unwrap DIR [DEVICES [SLOTS]]");
    succeed(arena_start());
    random_bytes(kek, sizeof kek);
    struct uuid ids[3] = {uuid_random(), uuid_random(), uuid_random()};
    for (uint32_t d = 0; d < device_count; d++)
        device_make(arguments[1], d, device_count, ids, slots);
    superblocks_make(device_count);
    uint64_t began = clock_monotonic();
    superblocks_open(device_count);
    began = clock_monotonic() - began;
    printf("%" PRIu64 " %" PRIu32 "\n", began, superblocks[0].peer_count);
    return 0;
}
