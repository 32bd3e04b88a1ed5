/* The key slots of other devices: which are kept, that equal keys are equal bytes, what a lost superblock is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/group/superblock_image.h"
#include "engine/group/superblock_peer.h"

#define DEVICES 3
#define SIZE    (UINT64_C(200) << 20)

static const uint8_t kek[KEY_SIZE] = {7, 7, 7}, other_kek[KEY_SIZE] = {7, 7, 8}, k_pool[KEY_SIZE] = {9};
static struct superblock superblocks[PEER_DEVICES_MAX];
static struct keyring *keyrings[PEER_DEVICES_MAX];
static char json[1024];

static int setup(void **context)
{
    (void)context;
    struct uuid pool = uuid_random(), group = uuid_random();
    char text[DEVICES][UUID_TEXT_SIZE];
    for (uint32_t i = 0; i < PEER_DEVICES_MAX; i++) {
        superblocks[i] = (struct superblock){.pool = pool,
                                             .group = group,
                                             .device = uuid_random(),
                                             .epoch = 5,
                                             .device_size = SIZE + i * 4096,
                                             .device_index = i % DEVICES,
                                             .device_count = DEVICES,
                                             .encryption = true,
                                             .fingerprint = 1,
                                             .log_key_demanded = 1,
                                             .pool_key_demanded = 1,
                                             .json = json};
        assert_int_equal(superblock_geometry(superblocks[i].device_size, &superblocks[i].segment_shift,
                                             &superblocks[i].slot_count), ERROR_NONE);
        assert_int_equal(keyring_create(true, k_pool, &keyrings[i]), ERROR_NONE);
        if (i < DEVICES)
            uuid_format(superblocks[i].device, text[i]);
    }
    snprintf(json, sizeof json,
             "{\"devices\":[{\"uuid\":\"%s\",\"index\":0,\"size\":%ju},{\"uuid\":\"%s\",\"index\":1,\"size\":%ju},"
             "{\"uuid\":\"%s\",\"index\":2}]}", text[0], (uintmax_t)SIZE, text[1], (uintmax_t)SIZE + 4096, text[2]);
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    for (uint32_t i = 0; i < PEER_DEVICES_MAX; i++) {
        keyring_destroy(keyrings[i]);
        superblocks[i].json = NULL;
        superblock_forget(&superblocks[i]);
    }
    return 0;
}

static void make_peers(uint32_t count, uint32_t own)
{
    assert_int_equal(superblock_peers_make(superblocks, keyrings, count, own, kek, &superblocks[own]), ERROR_NONE);
}

static bool peers_are_right(uint32_t count, uint32_t own)
{
    bool equal;
    assert_int_equal(superblock_peers_verify(superblocks, keyrings, count, own, kek, &equal), ERROR_NONE);
    return equal;
}

static void each_device_holds_the_slots_of_all_others(void **context)
{
    (void)context;
    for (uint32_t own = 0; own < DEVICES; own++) {
        make_peers(DEVICES, own);
        assert_int_equal(superblocks[own].peer_count, (DEVICES - 1) * 2);
        for (uint32_t i = 0; i < superblocks[own].peer_count; i++)
            assert_memory_not_equal(superblocks[own].peers[i].device, superblocks[own].device.bytes, 16);
    }
    make_peers(1, 0);
    assert_int_equal(superblocks[0].peer_count, 0);
}

/* Wrapped once for all, under both keys: what each device holds is what is made for it alone. */
static void what_is_wrapped_once_serves_all_holders(void **context)
{
    static const uint8_t next[KEY_SIZE] = "the key that comes";
    struct group_slots both, second;
    (void)context;
    assert_int_equal(group_slots_make(superblocks, keyrings, DEVICES, kek, next, &both), ERROR_NONE);
    assert_int_equal(group_slots_make(superblocks, keyrings, DEVICES, next, NULL, &second), ERROR_NONE);
    assert_int_equal(both.count, DEVICES * 2);
    for (uint32_t own = 0; own < DEVICES; own++) {
        struct superblock holder = {.device = superblocks[own].device}, other = {.device = superblocks[own].device};
        make_peers(DEVICES, own);
        assert_int_equal(superblock_peers_take(&both, &holder), ERROR_NONE);
        assert_int_equal(superblock_peers_take(&second, &other), ERROR_NONE);
        assert_int_equal(holder.peer_count, superblocks[own].peer_count);
        for (uint32_t i = 0; i < holder.peer_count; i++) {
            struct key_slot_format *slot = &holder.peers[i].slot;
            assert_memory_equal(slot->wrapped[1], other.peers[i].slot.wrapped[0], WRAPPED_KEY_SIZE);
            memset(slot->wrapped[1], 0, WRAPPED_KEY_SIZE);
            assert_memory_equal(&holder.peers[i], &superblocks[own].peers[i], sizeof holder.peers[i]);
        }
        superblock_forget(&holder);
        superblock_forget(&other);
    }
    group_slots_free(&both);
    group_slots_free(&second);
}

static void equal_keys_are_equal_bytes_and_others_are_not(void **context)
{
    (void)context;
    assert_false(peers_are_right(DEVICES, 0));
    make_peers(DEVICES, 0);
    assert_true(peers_are_right(DEVICES, 0));
    keyrings[2]->slots[0].key[31] ^= 1;
    assert_false(peers_are_right(DEVICES, 0));
    keyrings[2]->slots[0].key[31] ^= 1;
    assert_false(peers_are_right(DEVICES - 1, 0));
    assert_true(peers_are_right(DEVICES, 0));
}

static void a_single_device_has_no_peers_and_holds_none(void **context)
{
    (void)context;
    assert_true(peers_are_right(1, 0));
}

/* As many K_logs as a device gathers: the last of them is the current one. */
static void give_log_keys(uint32_t device, uint32_t count)
{
    struct keyring *with;
    while (keyring_current(keyrings[device], KEY_KIND_LOG)->number < count) {
        const struct keyring_new one = {.log_key = keyring_current(keyrings[device], KEY_KIND_LOG)->number + 1};
        assert_int_equal(keyring_with_new(keyrings[device], &one, &with), ERROR_NONE);
        keyring_destroy(keyrings[device]);
        keyrings[device] = with;
    }
}

/* A rekey leaves old slots: the current ones come first, then the old from the newest. No K_pool: the holder has it. */
static void all_slots_are_kept_the_current_ones_first(void **context)
{
    (void)context;
    struct keyring *many = arena_allocate(sizeof *many + 8 * sizeof many->slots[0]);
    *many = (struct keyring){.encrypted = true, .count = 8};
    for (uint32_t i = 0; i < 6; i++)
        many->slots[i] = (struct keyring_slot){i < 3 ? KEY_KIND_LOG : KEY_KIND_DEK, i % 3 + 1, i % 3 == 1, {(uint8_t)i}};
    many->slots[6] = (struct keyring_slot){KEY_KIND_LOG, 9, false, {1}};
    many->slots[7] = (struct keyring_slot){KEY_KIND_POOL, 1, true, {2}};
    keyring_destroy(keyrings[1]);
    keyrings[1] = many;
    make_peers(2, 0);
    static const struct { uint8_t kind; uint32_t number; } expected[] = {{KEY_KIND_LOG, 2}, {KEY_KIND_DEK, 2},
        {KEY_KIND_LOG, 9}, {KEY_KIND_LOG, 3}, {KEY_KIND_DEK, 3}, {KEY_KIND_LOG, 1}, {KEY_KIND_DEK, 1}};
    assert_int_equal(superblocks[0].peer_count, COUNT_OF(expected));
    for (uint32_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(superblocks[0].peers[i].slot.kind, expected[i].kind);
        assert_int_equal(le32_get(superblocks[0].peers[i].slot.number), expected[i].number);
    }
}

static void no_key_is_left_out_where_there_are_too_many(void **context)
{
    struct group_slots slots;
    (void)context;
    give_log_keys(1, PEER_SLOTS_MAX - 1);
    assert_true(group_slots_fit(keyrings, 2));
    assert_int_equal(group_slots_make(superblocks, keyrings, 2, kek, NULL, &slots), ERROR_NONE);
    assert_int_equal(slots.count, 2 + PEER_SLOTS_MAX);
    group_slots_free(&slots);
    give_log_keys(1, PEER_SLOTS_MAX);
    assert_false(group_slots_fit(keyrings, 2));
    assert_int_equal(group_slots_make(superblocks, keyrings, 2, kek, NULL, &slots), ERROR_TOO_LARGE);
}

static struct keyring *with_all_pool_keys(const struct keyring *keyring)
{
    struct keyring *with = NULL, *more;
    for (uint32_t n = 2; n <= POOL_KEYS_MAX; n++) {
        const struct keyring_new one = {.pool_key = n, .k_pool = k_pool};
        assert_int_equal(keyring_with_new(with ? with : keyring, &one, &more), ERROR_NONE);
        keyring_destroy(with);
        with = more;
    }
    return with;
}

/* What is said to fit does, with all K_pools that there may ever be, and what is said not to is refused by who writes it. */
static void the_room_of_a_large_group_is_told_as_it_is(void **context)
{
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    (void)context;
    bool fits = true;
    for (uint32_t keys = 2; fits; keys++) {
        for (uint32_t d = 0; d < PEER_DEVICES_MAX; d++)
            give_log_keys(d, keys);
        fits = group_slots_fit(keyrings, PEER_DEVICES_MAX);
        make_peers(PEER_DEVICES_MAX, 3);
        assert_int_equal(superblocks[3].peer_count, (PEER_DEVICES_MAX - 1) * (1 + keys));
        struct keyring *full = with_all_pool_keys(keyrings[3]);
        assert_int_equal(superblock_image_build(&superblocks[3], full, kek, NULL, image), fits ? ERROR_NONE : ERROR_TOO_LARGE);
        keyring_destroy(full);
        assert_true(fits || keys > 4); /* of 64 devices a DEK, an old one, K_log and two old ones at least */
    }
}

static void the_largest_group_fits_and_comes_back(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    struct superblock back;
    struct keyring *keyring;
    make_peers(PEER_DEVICES_MAX, 1);
    assert_int_equal(superblock_image_build(&superblocks[1], keyrings[1], kek, NULL, image), ERROR_NONE);
    assert_int_equal(superblock_image_seal(image, &superblocks[1], kek, NULL, 0), ERROR_NONE);
    assert_int_equal(superblock_fixed_decode((struct superblock_format *)image, 0, 0, &back), ERROR_NONE);
    assert_int_equal(superblock_image_open(image, &back, kek, 0, &keyring), ERROR_NONE);
    assert_int_equal(back.peer_count, superblocks[1].peer_count);
    assert_memory_equal(back.peers, superblocks[1].peers, back.peer_count * sizeof back.peers[0]);
    keyring_destroy(keyring);
    superblock_forget(&back);
}

static void peers_without_room_are_refused_when_written(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    for (uint32_t i = 0; i < PEER_DEVICES_MAX; i++)
        for (uint32_t n = 2; n < PEER_SLOTS_MAX; n++) {
            struct keyring *more;
            assert_int_equal(keyring_with_new(keyrings[i], &(struct keyring_new){.data_key = n}, &more), ERROR_NONE);
            keyring_destroy(keyrings[i]);
            keyrings[i] = more;
        }
    make_peers(PEER_DEVICES_MAX, 1);
    struct keyring *many = arena_allocate(sizeof *many + KEY_SLOTS_MAX * sizeof many->slots[0]);
    *many = (struct keyring){.encrypted = true, .count = KEY_SLOTS_MAX};
    assert_int_equal(superblock_image_build(&superblocks[1], many, kek, NULL, image), ERROR_TOO_LARGE);
    keyring_destroy(many);
}

static void peers_that_contradict_themselves_are_refused(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE), *before = memory_aligned(SUPERBLOCK_SIZE);
    struct superblock back;
    struct keyring *keyring;
    make_peers(DEVICES, 0);
    assert_int_equal(superblock_image_build(&superblocks[0], keyrings[0], kek, NULL, before), ERROR_NONE);
    struct peer_slot_format *peers = (struct peer_slot_format *)(image + SUPERBLOCK_SLOTS_OFFSET +
                                                                 3 * sizeof(struct key_slot_format));
    for (unsigned fault = 0; fault < 7; fault++) {
        memcpy(image, before, SUPERBLOCK_SIZE);
        switch (fault) {
        case 0: memcpy(peers[0].device, superblocks[0].device.bytes, 16); break;
        case 1: peers[1].slot.kind = 4; break;
        case 2: peers[1].slot.state = 0; break;
        case 3: peers[1].slot.number = le32_make(0); break;
        case 4: peers[3].slot.reserved[0] = 1; break;
        case 5: peers[1].slot.kind = KEY_KIND_POOL; break; /* the holder's own */
        default: break;
        }
        assert_int_equal(superblock_image_seal(image, &superblocks[0], kek, NULL, 0), ERROR_NONE);
        assert_int_equal(superblock_fixed_decode((struct superblock_format *)image, 0, 0, &back), ERROR_NONE);
        enum error error = superblock_image_open(image, &back, kek, 0, &keyring);
        assert_string_equal(error_name(error), fault < 6 ? "CORRUPT" : "NONE");
    }
    keyring_destroy(keyring);
    superblock_forget(&back);
}

/* One more than a superblock of that device would be made of again. */
static void more_slots_of_one_device_than_there_can_be_are_refused(void **context)
{
    (void)context;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    for (uint32_t count = PEER_SLOTS_MAX; count <= PEER_SLOTS_MAX + 1; count++) {
        struct superblock back;
        struct keyring *keyring;
        make_peers(2, 0);
        superblocks[0].peers = realloc(superblocks[0].peers, count * sizeof superblocks[0].peers[0]);
        assert_non_null(superblocks[0].peers);
        for (uint32_t i = 1; i < count; i++)
            superblocks[0].peers[i] = superblocks[0].peers[0];
        superblocks[0].peer_count = count;
        assert_int_equal(superblock_image_build(&superblocks[0], keyrings[0], kek, NULL, image), ERROR_NONE);
        assert_int_equal(superblock_image_seal(image, &superblocks[0], kek, NULL, 0), ERROR_NONE);
        assert_int_equal(superblock_fixed_decode((struct superblock_format *)image, 0, 0, &back), ERROR_NONE);
        enum error error = superblock_image_open(image, &back, kek, 0, &keyring);
        assert_int_equal(error, count <= PEER_SLOTS_MAX ? ERROR_NONE : ERROR_CORRUPT);
        if (error)
            continue;
        keyring_destroy(keyring);
        superblock_forget(&back);
    }
}

static void a_lost_superblock_is_made_from_a_peers(void **context)
{
    (void)context;
    struct superblock revived;
    struct keyring *keyring;
    make_peers(DEVICES, 0);
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring), ERROR_NONE);
    const struct superblock *lost = &superblocks[1];
    assert_true(uuid_equal(revived.device, lost->device) && uuid_equal(revived.pool, lost->pool));
    assert_true(revived.device_index == 1 && revived.device_count == DEVICES && revived.device_size == lost->device_size);
    assert_true(revived.segment_shift == lost->segment_shift && revived.slot_count == lost->slot_count);
    assert_true(revived.encryption && revived.log_key_demanded == 1 && revived.peer_count == 0);
    for (int kind = KEY_KIND_DEK; kind <= KEY_KIND_POOL; kind++)
        assert_memory_equal(keyring_find(keyring, (enum key_kind)kind, 1),
                            keyring_find(keyrings[1], (enum key_kind)kind, 1), KEY_SIZE);
    keyring_destroy(keyring);
    superblock_forget(&revived);
}

/* Of several the first and all others: fingerprints and the audit need them, whichever device is lost. */
static void a_revived_device_has_the_keys_of_the_pool_that_its_peer_has(void **context)
{
    (void)context;
    struct superblock revived;
    struct keyring *keyring, *more;
    const uint8_t next[KEY_SIZE] = {10};
    assert_int_equal(keyring_with_new(keyrings[0], &(struct keyring_new){.pool_key = 2, .k_pool = next}, &more), ERROR_NONE);
    keyring_destroy(keyrings[0]);
    keyrings[0] = more;
    make_peers(DEVICES, 0);
    superblocks[0].pool_key_demanded = 2;
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring), ERROR_NONE);
    assert_int_equal(revived.pool_key_demanded, 2);
    assert_memory_equal(keyring_find(keyring, KEY_KIND_POOL, 1), k_pool, KEY_SIZE);
    assert_memory_equal(keyring_find(keyring, KEY_KIND_POOL, 2), next, KEY_SIZE);
    assert_int_equal(keyring_current(keyring, KEY_KIND_POOL)->number, 2);
    assert_int_equal(keyring->count, 4);
    keyring_destroy(keyring);
    superblock_forget(&revived);
}

/* In the midst of a deep rekey the lost device may have headers and records under its old K_log alone; behind its end under none. */
static void a_lost_superblock_demands_what_its_peer_does(void **context)
{
    struct superblock revived;
    struct keyring *keyring;
    (void)context;
    give_log_keys(1, 2);
    for (uint8_t demanded = 1; demanded <= 2; demanded++) {
        superblocks[0].log_key_demanded = demanded;
        make_peers(DEVICES, 0);
        assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring), ERROR_NONE);
        assert_int_equal(revived.log_key_demanded, demanded);
        for (uint32_t number = 1; number <= 2; number++)
            assert_memory_equal(keyring_find(keyring, KEY_KIND_LOG, number), keyring_find(keyrings[1], KEY_KIND_LOG, number), KEY_SIZE);
        assert_int_equal(keyring_current(keyring, KEY_KIND_LOG)->number, 2);
        keyring_destroy(keyring);
        superblock_forget(&revived);
    }
    superblocks[0].log_key_demanded = 3; /* of which the peer has none for it */
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring), ERROR_CORRUPT);
}

static void what_a_peer_does_not_know_cannot_be_made(void **context)
{
    (void)context;
    struct superblock revived;
    struct keyring *keyring;
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring),
                     ERROR_NOT_FOUND); /* no slots */
    make_peers(DEVICES, 0);
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[2].device, kek, &revived, &keyring),
                     ERROR_NOT_FOUND); /* no size */
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], uuid_random(), kek, &revived, &keyring), ERROR_NOT_FOUND);
    assert_int_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, other_kek, &revived, &keyring),
                     ERROR_WRONG_KEY);
    memcpy(superblocks[0].peers[0].device, superblocks[2].device.bytes, 16);
    memcpy(superblocks[0].peers[2].device, superblocks[1].device.bytes, 16); /* wrapped for another */
    assert_int_not_equal(superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring), ERROR_NONE);
}

static void nonsense_in_the_json_is_damage_or_nothing(void **context)
{
    (void)context;
    static const char *const forms[] = {"", "[]", "{", "{\"devices\":1}", "{\"devices\":[{\"uuid\":\"%s\"}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":-1,\"size\":209715200}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":3,\"size\":209715200}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":209715201}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":-4096}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":8192}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":\"1\",\"size\":209715200}]}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":209715200}],"
                                        "\"group\":{\"segment_shift\":23}}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":209715200}],"
                                        "\"group\":{\"segment_shift\":\"22\"}}",
                                        "{\"devices\":[{\"uuid\":\"%s\",\"index\":1,\"size\":4194304}],"
                                        "\"group\":{\"segment_shift\":22}}"};
    struct superblock revived;
    struct keyring *keyring;
    char text[UUID_TEXT_SIZE];
    make_peers(DEVICES, 0);
    uuid_format(superblocks[1].device, text);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        const char *place = strstr(forms[i], "%s");
        if (place == NULL)
            snprintf(json, sizeof json, "%s", forms[i]);
        else
            snprintf(json, sizeof json, "%.*s%s%s", (int)(place - forms[i]), forms[i], text, place + 2);
        enum error error = superblock_revive(&superblocks[0], keyrings[0], superblocks[1].device, kek, &revived, &keyring);
        assert_true(error == ERROR_CORRUPT || error == ERROR_NOT_FOUND || error == ERROR_INVALID);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_device_holds_the_slots_of_all_others),
        TEST(what_is_wrapped_once_serves_all_holders),
        TEST(equal_keys_are_equal_bytes_and_others_are_not),
        TEST(a_single_device_has_no_peers_and_holds_none),
        TEST(all_slots_are_kept_the_current_ones_first),
        TEST(no_key_is_left_out_where_there_are_too_many),
        TEST(the_room_of_a_large_group_is_told_as_it_is),
        TEST(the_largest_group_fits_and_comes_back),
        TEST(peers_without_room_are_refused_when_written),
        TEST(peers_that_contradict_themselves_are_refused),
        TEST(more_slots_of_one_device_than_there_can_be_are_refused),
        TEST(a_lost_superblock_is_made_from_a_peers),
        TEST(a_revived_device_has_the_keys_of_the_pool_that_its_peer_has),
        TEST(a_lost_superblock_demands_what_its_peer_does),
        TEST(what_a_peer_does_not_know_cannot_be_made),
        TEST(nonsense_in_the_json_is_damage_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
