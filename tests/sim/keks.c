/*
 * Changes of keys are judged by the bytes of the devices: each KEK that the engine ever had at hand is noted (the linker puts
 * wrap_key_derive() here in front of crypto/hierarchy.c's), and each is tried at each copy of each superblock. A KEK
 * *opens* a copy where the MAC over all of it verifies, and *unwraps* it where one data key comes out, which is less. That a
 * key opens is asked with the one, that it does not with the other.
 *
 * K_pools are judged with them: each copy that opens holds all of 1 to its newest, the same as every other copy, and demands none
 * above it; the witness is under one that every device holds and none has replaced. Where a deep rekey ended, the newest is demanded.
 *
 * The table outlives each life, and branches share it, since a key that was in force in none of them must open nothing
 * either; the last ones only, so that a judgement stays cheap. One thread.
 */
#include "tests/sim/keks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "crypto/kdf.h"
#include "engine/group/checkpoint.h"
#include "engine/group/superblock_image.h"
#include "engine/pool/pool.h"
#include "tests/crash/child.h"
#include "tests/sim/plane.h"
#include "tests/sim/world.h"

#define KEKS_MAX     48
#define WITNESS_MAX  65536

struct kek {
    uint8_t key[KEY_SIZE];
    struct uuid provider; /* zero: it was in force at no open yet */
    uint64_t number;
};

static struct keks {
    size_t count;
    struct kek items[KEKS_MAX];
} * keks;

void keks_begin(void)
{
    keks = world_map(sizeof(*keks));
}

static void kek_note(const uint8_t key[KEY_SIZE])
{
    for (size_t k = 0; k < keks->count; k++)
        if (memcmp(keks->items[k].key, key, KEY_SIZE) == 0)
            return;
    if (keks->count == KEKS_MAX)
        memmove(keks->items, keks->items + 1, --keks->count * sizeof(*keks->items));
    struct kek *kek = &keks->items[keks->count++];
    *kek = (struct kek){.number = 0};
    memcpy(kek->key, key, KEY_SIZE);
}

enum error __real_wrap_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device, uint8_t key[KEY_SIZE]);
enum error __wrap_wrap_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device, uint8_t key[KEY_SIZE]);
enum error __wrap_wrap_key_derive(const uint8_t kek[KEY_SIZE], struct uuid pool, struct uuid device, uint8_t key[KEY_SIZE])
{
    if (keks != NULL && world->session != NULL && session_works(world->session, WORK_REKEYS))
        kek_note(kek);
    return __real_wrap_key_derive(kek, pool, device, key);
}

/* ---- a copy ------------------------------------------------------------------------------------------------------ */

struct copy {
    unsigned device;
    uint32_t number;
    uint8_t *image; /* of SUPERBLOCK_SIZE */
    struct superblock superblock;
};

static bool copy_take(struct copy *copy, unsigned device, uint32_t number)
{
    const struct image *image = &world->images[device];
    uint64_t offset = superblock_offset(image->size, number);
    copy->device = device;
    copy->number = number;
    memcpy(copy->image, image->current->bytes + offset, SUPERBLOCK_SIZE);
    return superblock_fixed_decode((const struct superblock_format *)copy->image, number, offset, &copy->superblock) == ERROR_NONE;
}

/* What copies said so far, in one judgement. */
static struct {
    uint8_t keys[POOL_KEYS_MAX + 1][KEY_SIZE];
    bool known[POOL_KEYS_MAX + 1];
    uint32_t newest; /* of the present device */
    uint32_t demanded;
} k_pools;

/* *newest_demanded: nothing older seals anything. */
static void k_pools_note(const struct copy *copy, const struct keyring *keyring, bool *newest_demanded)
{
    uint32_t newest = keyring_current(keyring, KEY_KIND_POOL)->number, demanded = copy->superblock.pool_key_demanded;
    if (keyring_count(keyring, KEY_KIND_POOL) != newest || demanded > newest)
        fail("copy %u of device %u has %zu keys of the pool, of which %u is the newest, and demands %u", copy->number, copy->device,
             keyring_count(keyring, KEY_KIND_POOL), newest, demanded);
    for (uint32_t n = 1; n <= newest; n++) {
        const uint8_t *key = keyring_find(keyring, KEY_KIND_POOL, n);
        if (key == NULL || (k_pools.known[n] && memcmp(k_pools.keys[n], key, KEY_SIZE) != 0))
            fail("copy %u of device %u has %s key of the pool of number %u", copy->number, copy->device,
                 key == NULL ? "no" : "another", n);
        memcpy(k_pools.keys[n], key, KEY_SIZE);
        k_pools.known[n] = true;
    }
    k_pools.newest = MAX(k_pools.newest, newest);
    k_pools.demanded = MAX(k_pools.demanded, demanded);
    *newest_demanded = demanded == newest;
}

/* Whether the MAC at the end of a block is one under a K_log that is not the current one. */
static bool is_under_an_old_one(const struct keyring *keyring, const uint8_t *block)
{
    bool old = false;
    uint8_t mac[32];
    for (size_t i = 0; i < keyring->count; i++)
        old |= keyring->slots[i].kind == KEY_KIND_LOG && !keyring->slots[i].current &&
               hmac_sha256(keyring->slots[i].key, block, BLOCK_SIZE - sizeof(mac), mac) == ERROR_NONE &&
               memcmp(mac, block + BLOCK_SIZE - sizeof(mac), sizeof(mac)) == 0;
    return old;
}

static bool has_an_old_record(const struct copy *copy, const struct keyring *keyring)
{
    bool old = false;
    for (uint32_t c = 0; c < CHECKPOINT_COPIES; c++)
        old |= is_under_an_old_one(keyring, world->images[copy->device].current->bytes + checkpoint_offset(&copy->superblock, c));
    return old;
}

/* What is there of the time before the last deep rekey, that should have gone with its end; NULL: nothing. */
static const char *left_of(const struct copy *copy, const struct keyring *keyring, bool newest_demanded)
{
    if (keyring_has_old(keyring))
        return "holds an old data key";
    if (keyring_current(keyring, KEY_KIND_LOG)->number != copy->superblock.log_key_demanded)
        return "demands an old K_log";
    if (!newest_demanded)
        return "takes an older key of the pool";
    return has_an_old_record(copy, keyring) ? "is of a device with a checkpoint record under an old K_log" : NULL;
}

/* *wrapping: whose it is, as the copy says. */
static bool opens(const struct copy *copy, const struct kek *kek, struct wrapping *wrapping, const char **left)
{
    struct superblock opened = copy->superblock;
    struct keyring *keyring;
    unsigned which;
    bool newest_demanded;
    if (superblock_image_verify(copy->image, &copy->superblock, kek->key, &which) != ERROR_NONE ||
        superblock_image_open(copy->image, &opened, kek->key, which, &keyring) != ERROR_NONE)
        return false;
    *wrapping = opened.wrapping;
    k_pools_note(copy, keyring, &newest_demanded);
    *left = left_of(copy, keyring, newest_demanded);
    superblock_forget(&opened);
    keyring_destroy(keyring);
    return true;
}

static bool is_of(const struct wrapping *wrapping, struct uuid provider, uint64_t number)
{
    return uuid_equal(wrapping->provider, provider) && wrapping->kek_number == number;
}

static void demand_no_other(const struct copy *copy, const struct kek *in_force, const char *when)
{
    for (size_t k = 0; k < keks->count; k++)
        if (&keks->items[k] != in_force && superblock_image_is_wrapped_by(copy->image, &copy->superblock, keks->items[k].key))
            fail("%s copy %u of device %u is opened by a key that is not the one in force, %llu", when, copy->number, copy->device,
                 (unsigned long long)copy->superblock.wrapping.kek_number);
}

/* Nothing that is asked here meets the faults of a life. */
struct judging {
    struct copy copy;
    bool faulty;
};

static void judging_begin(struct judging *judging)
{
    judging->copy.image = session_take(SUPERBLOCK_SIZE);
    judging->faulty = world->faults.at_work;
    world->faults.at_work = false;
    memset(&k_pools, 0, sizeof(k_pools));
}

static void judging_end(struct judging *judging)
{
    world->faults.at_work = judging->faulty;
    free(judging->copy.image);
    error_forget();
}

/* ---- what a crash left ------------------------------------------------------------------------------------------- */

static size_t witness_read(char text[WITNESS_MAX])
{
    char path[PATH_SIZE + 16];
    snprintf(path, sizeof(path), "%s/witness", world->session->pool);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    size_t size = fread(text, 1, WITNESS_MAX - 1, file);
    text[size] = '\0';
    fclose(file);
    return size;
}

/* As it stands in the text, whose members are sorted: those of the whole come before those of keys that are retained. */
static bool witness_names(struct uuid *provider, uint64_t *number, uint64_t *pool_key)
{
    AUTO_FREE char *text = session_take(WITNESS_MAX);
    char name[UUID_TEXT_SIZE];
    if (witness_read(text) == 0)
        return false;
    const char *of_number = strstr(text, "\"kek_number\":"), *of_provider = strstr(text, "\"provider\":");
    const char *of_pool = strstr(text, "\"pool_key\":");
    if (of_number == NULL || of_pool == NULL || of_provider == NULL || (of_provider = strchr(of_provider + strlen("\"provider\":"), '"')) == NULL)
        fail("the witness names no key");
    snprintf(name, sizeof(name), "%s", of_provider + 1);
    *pool_key = strtoull(of_pool + strlen("\"pool_key\":"), NULL, 10);
    *number = strtoull(of_number + strlen("\"kek_number\":"), NULL, 10);
    return uuid_parse(name, provider) == ERROR_NONE;
}

static bool device_opens(struct judging *judging, unsigned device, struct uuid provider, uint64_t number)
{
    const struct key_model *model = &world->session->keys;
    struct copy *copy = &judging->copy;
    bool found = false;
    for (uint32_t c = 0; c < SUPERBLOCK_COPIES; c++) {
        if (!copy_take(copy, device, c))
            continue;
        for (size_t k = 0; k < keks->count; k++) {
            struct wrapping wrapping;
            const char *left;
            if (!opens(copy, &keks->items[k], &wrapping, &left) || !is_of(&wrapping, provider, number))
                continue;
            found = true;
            if (model->whole)
                demand_no_other(copy, &keks->items[k], "behind a change that was answered well");
            if (model->one_dek && left != NULL)
                fail("behind the end of a deep rekey copy %u of device %u %s", c, device, left);
        }
    }
    return found;
}

void keks_judge_crash(void)
{
    struct judging judging;
    struct uuid provider;
    uint64_t number, pool_key;
    if (!session_works(world->session, WORK_REKEYS) || keks->count == 0 || !witness_names(&provider, &number, &pool_key))
        return;
    judging_begin(&judging);
    for (unsigned d = 0; d < world->images_count; d++) {
        k_pools.newest = 0;
        if (!device_opens(&judging, d, provider, number))
            fail("device %u is opened by no key that is %llu, which the witness names", d, (unsigned long long)number);
        if (k_pools.newest < pool_key)
            fail("device %u does not hold key %llu of the pool, under which the witness is", d, (unsigned long long)pool_key);
    }
    if (pool_key < k_pools.demanded)
        fail("the witness is under key %llu of the pool, and key %u is demanded", (unsigned long long)pool_key, k_pools.demanded);
    judging_end(&judging);
}

/* ---- behind an open ---------------------------------------------------------------------------------------------- */

static struct kek *kek_of(const struct copy *copy, const struct pool_key_status *status, const char **left)
{
    for (size_t k = 0; k < keks->count; k++) {
        struct wrapping wrapping;
        if (opens(copy, &keks->items[k], &wrapping, left) && wrapping.kek_number == status->kek_number)
            return &keks->items[k];
    }
    return NULL;
}

/* A number that rises with a key that stays would be none. */
static void kek_enter(struct kek *kek, const struct wrapping *wrapping)
{
    for (size_t k = 0; k < keks->count; k++) {
        const struct kek *other = &keks->items[k];
        bool named = is_of(wrapping, other->provider, other->number);
        if (uuid_is_zero(other->provider) || (other == kek) == named)
            continue;
        fail(other == kek ? "key %llu was key %llu before" : "key %llu is another one than it was (%llu)",
             (unsigned long long)wrapping->kek_number, (unsigned long long)other->number);
    }
    kek->provider = wrapping->provider;
    kek->number = wrapping->kek_number;
}

static void copy_judge(struct copy *copy, const struct pool_key_status *status, bool one_dek)
{
    const char *left;
    struct kek *kek = kek_of(copy, status, &left);
    if (kek == NULL)
        fail("behind an open copy %u of device %u is not opened by key %llu", copy->number, copy->device,
             (unsigned long long)status->kek_number);
    if (!uuid_is_zero(copy->superblock.other.provider))
        fail("behind an open copy %u of device %u names two keys", copy->number, copy->device);
    demand_no_other(copy, kek, "behind an open");
    if (one_dek && left != NULL)
        fail("behind an open copy %u of device %u %s, and no deep rekey is told", copy->number, copy->device, left);
    kek_enter(kek, &copy->superblock.wrapping);
}

/* A header that names an old DEK tells how to derive what is behind it, whoever has the slot now. */
static void slot_judge(const struct keyring *keyring, uint32_t index, const struct segment_format *header)
{
    const struct keyring_slot *dek = keyring_current(keyring, KEY_KIND_DEK);
    if (dek != NULL && memcmp(header->magic, SEGMENT_MAGIC, sizeof(header->magic)) == 0 &&
        le32_get(header->key_slot) != dek->number)
        fail("behind an open slot %u has a header that names data key %u, not %u, and no deep rekey is told", index,
             le32_get(header->key_slot), dek->number);
}

/* As a read would find them. A segment that is being prepared may have the header of a life before yet. */
static void headers_judge(struct group *group)
{
    const struct segments *segments = &group->segments;
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        uint32_t device = segment_device(segments, i);
        const uint8_t *block = world->images[device].current->bytes + segment_offset(segments, i);
        const struct segment_format *header = (const struct segment_format *)block;
        slot_judge(group_keyring(group, device), i, header);
        if (segments->table[i].state != SLOT_FREE && le64_get(header->serial) == segments->table[i].serial &&
            is_under_an_old_one(group_keyring(group, device), block))
            fail("behind an open the header of segment %llu is under an old K_log, and no deep rekey is told",
                 (unsigned long long)segments->table[i].serial);
    }
    mutex_unlock(&group->lock);
}

void keks_judge_open(struct pool *pool, const struct pool_key_status *status, bool one_dek)
{
    struct judging judging;
    judging_begin(&judging);
    for (unsigned d = 0; d < world->images_count; d++)
        for (uint32_t c = 0; c < SUPERBLOCK_COPIES; c++) {
            if (!copy_take(&judging.copy, d, c))
                fail("behind an open copy %u of device %u is none", c, d);
            copy_judge(&judging.copy, status, one_dek);
        }
    if (one_dek)
        headers_judge(pool->group);
    judging_end(&judging);
}

/* ---- a device that is not there ---------------------------------------------------------------------------------- */

void keks_try_absent(unsigned device)
{
    struct session *session = world->session;
    struct pool_open_options options = child_open_options(session);
    AUTO_FREE char *before = session_take(WITNESS_MAX), *after = session_take(WITNESS_MAX);
    uint64_t changes = world->pending_number;
    struct pool *pool;
    size_t size = witness_read(before);
    world->faults.back[device] = UINT64_MAX;
    enum error error = pool_open(session->pool, &options, &pool);
    world->faults.back[device] = 0;
    if (error != ERROR_NOT_FOUND)
        fail("a pool of which device %u is away: %s", device, error_name(error));
    if (changes != world->pending_number || witness_read(after) != size || memcmp(before, after, size) != 0)
        fail("something was written while device %u was away", device);
    error_forget();
}
