/* The segment table: serials are given once, a slot is somebody's or free, and a header is taken only where it belongs.
 */
#include "crypto/kdf.h"
#include "tests/unit/group_fixture.h"

enum error __real_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]) CHECKED;
enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]) CHECKED;
static _Atomic bool no_memory;

enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32])
{
    return no_memory ? ERROR_NO_MEMORY : __real_hmac_sha256(key, data, size, mac);
}

static struct segments segments;
static const uint32_t slots[] = {40, 33, 64};

static int setup(void **state)
{
    (void)state;
    enum error error = segments_init(&segments, COUNT_OF(slots), slots, SEGMENT_SHIFT_MIN);
    segments.serial_lease = SERIAL_LEASE;
    return error ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    segments_deinit(&segments);
    return 0;
}

static uint32_t take(uint32_t avoid)
{
    return segment_take(&segments, SEGMENT_META, SLOT_OPEN, avoid == UINT32_MAX ? 0 : UINT64_C(1) << avoid);
}

static void a_full_table_gives_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 137; i++)
        assert_int_not_equal(take(UINT32_MAX), SEGMENT_NONE);
    assert_int_equal(segments.free_total, 0);
    assert_int_equal(take(UINT32_MAX), SEGMENT_NONE);
    assert_int_equal(take(1), SEGMENT_NONE);
    segment_free(&segments, 70, false);
    assert_int_equal(take(1), 70); /* better there than nowhere */
}

static void no_serial_is_given_beyond_the_lease(void **state)
{
    (void)state;
    segments.serial_lease = 3;
    assert_int_not_equal(take(UINT32_MAX), SEGMENT_NONE);
    assert_int_not_equal(take(UINT32_MAX), SEGMENT_NONE);
    assert_int_equal(take(UINT32_MAX), SEGMENT_NONE);
    segments.serial_next = segments.serial_lease = SERIAL_MAX + 1;
    assert_int_equal(take(UINT32_MAX), SEGMENT_NONE);
}

static void a_slot_that_is_given_back_before_it_is_named_uses_up_no_serial(void **state)
{
    (void)state;
    segments.serial_lease = segments.serial_next + 1;
    uint64_t serial = segments.serial_next;
    for (unsigned i = 0; i < 3; i++)
        segment_free(&segments, segment_take_unnamed(&segments, 0), false);
    uint32_t index = segment_take_unnamed(&segments, 0), other = segment_take_unnamed(&segments, 0);
    assert_int_equal(segment_find(&segments, serial), SEGMENT_NONE);
    assert_true(segments_have_next(&segments));
    assert_true(segment_name(&segments, index, SEGMENT_META));
    assert_int_equal(segment_find(&segments, serial), index);
    assert_false(segments_have_next(&segments));
    assert_false(segment_name(&segments, other, SEGMENT_META));
    segment_free(&segments, index, false);
    segment_free(&segments, other, false);
    assert_int_equal(segments.free_total, segments.count);
    segments.serial_lease++;
    assert_int_equal(segments.table[take(UINT32_MAX)].serial, serial + 1);
}

static void a_slot_or_serial_that_is_taken_is_not_adopted(void **state)
{
    (void)state;
    struct segment segment = {.serial = 100, .state = SLOT_SEALED, .kind = SEGMENT_JOURNAL};
    struct segment other = {.serial = 101, .state = SLOT_SEALED, .kind = SEGMENT_JOURNAL},
                   none = {.state = SLOT_SEALED};
    assert_int_equal(segment_adopt(&segments, 1, 5, &segment), ERROR_NONE);
    assert_int_equal(segment_adopt(&segments, 1, 5, &segment), ERROR_NONE);
    assert_int_equal(segment_adopt(&segments, 1, 6, &segment), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, 2, 5, &segment), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, 1, 5, &other), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, 3, 0, &other), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, UINT32_MAX, 0, &other), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, 1, 33, &other), ERROR_CORRUPT);
    assert_int_equal(segment_adopt(&segments, 1, 7, &none), ERROR_CORRUPT);
    assert_int_equal(segment_find(&segments, 100), 45);
    assert_int_equal(segments.free_total, 136);
}

/* What was there before an open is as old, beside each other and beside what comes, as if there had been none. */
static void serials_that_leap_are_no_age(void **state)
{
    (void)state;
    static const uint64_t serials[] = {SERIAL_LEASE + 7, 5, SERIAL_LEASE + 8, 9};
    for (uint32_t i = 0; i < COUNT_OF(serials); i++) {
        struct segment segment = {.serial = serials[i], .state = SLOT_SEALED, .kind = SEGMENT_JOURNAL};
        assert_int_equal(segment_adopt(&segments, 1, i, &segment), ERROR_NONE);
    }
    assert_int_equal(segments_order(&segments), ERROR_NONE);
    const struct segment *table = &segments.table[slots[0]];
    assert_int_equal(table[3].order - table[1].order, 4);
    assert_int_equal(table[0].order - table[3].order, segments.count);
    assert_int_equal(table[2].order - table[0].order, 1);
    segments.serial_next = 2 * SERIAL_LEASE;
    segments.serial_lease = 3 * SERIAL_LEASE;
    assert_int_equal(segments.table[take(UINT32_MAX)].order - table[2].order, 1);
    assert_int_equal(segments.table[take(UINT32_MAX)].order - table[2].order, 2);
}

static void live_bytes_out_of_range_are_damage(void **state)
{
    (void)state;
    uint32_t index = take(UINT32_MAX);
    assert_int_equal(segment_live_add(&segments, index, -1), ERROR_CORRUPT);
    assert_int_equal(segment_live_add(&segments, index, 2 * (int64_t)segment_size(&segments) + 1), ERROR_CORRUPT);
    assert_int_equal(segment_live_add(&segments, index, 2 * (int64_t)segment_size(&segments)), ERROR_NONE);
    assert_int_equal(segment_live_add(&segments, index, 1), ERROR_CORRUPT);
    assert_int_equal(segments.table[index].live, 2 * segment_size(&segments));
}

static void impossible_entries_of_the_table_are_told(void **state)
{
    (void)state;
    struct segment segment = {.serial = 5,
                              .live = 6,
                              .kind = SEGMENT_COLD,
                              .state = SLOT_SEALED,
                              .key_slot = 7,
                              .salt = 8,
                              .birth_salt = 9,
                              .log_key = 10,
                              .settled = true},
                   back;
    struct segment_entry_format entry, bad;
    bool sound;
    segment_entry_encode(&segment, &entry);
    assert_true(segment_entry_decode(&entry, &back, &sound) && sound);
    assert_true(back.serial == 5 && back.live == 6 && back.kind == SEGMENT_COLD && back.key_slot == 7 &&
                back.salt == 8 && back.birth_salt == 9 && back.log_key == 10 && back.settled);
    bad = entry, bad.serial = le40_make(0);
    assert_true(segment_entry_decode(&bad, &back, &sound) && !sound);
    bad = entry, bad.kind_state = SEGMENT_COLD << 4;
    assert_true(segment_entry_decode(&bad, &back, &sound) && !sound);
    bad = entry, bad.kind_state = (SEGMENT_COLD + 1) << 4 | SEGMENT_SEALED;
    assert_true(segment_entry_decode(&bad, &back, &sound) && !sound);
    bad = entry, bad.settled = 2;
    assert_true(segment_entry_decode(&bad, &back, &sound) && !sound);
    memset(&bad, 0, sizeof bad);
    assert_false(segment_entry_decode(&bad, &back, &sound));
}

static void what_is_reserved_or_freed_is_not_in_the_table(void **state)
{
    (void)state;
    static const struct segment_entry_format zero;
    struct segment_entry_format entry;
    const enum slot_state states[] = {SLOT_FREE, SLOT_RESERVED, SLOT_FREEING};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct segment segment = {.serial = 5, .kind = SEGMENT_META, .state = (uint8_t)states[i]};
        segment_entry_encode(&segment, &entry);
        assert_memory_equal(&entry, &zero, sizeof zero);
    }
}

static void serials_and_salts_are_new_each_time(void **state)
{
    (void)state;
    uint64_t last = 0, salt = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t index = take(UINT32_MAX);
        const struct segment *segment = &segments.table[index];
        segment_salts_draw(&segments, index);
        assert_true(segment->serial > last && segment->salt != salt && segment->salt != segment->birth_salt);
        last = segment->serial;
        salt = segment->salt;
        segment_free(&segments, index, false);
    }
}

static void the_device_with_the_most_room_is_taken(void **state)
{
    (void)state;
    assert_int_equal(segment_device(&segments, take(UINT32_MAX)), 2);
    assert_int_equal(segment_device(&segments, take(2)), 0);
    for (unsigned i = 0; i < 40; i++)
        (void)take(UINT32_MAX);
    for (uint32_t d = 0; d < COUNT_OF(slots); d++)
        assert_true(segments.free_count[d] > 20);
}

static uint32_t behind(uint32_t device)
{
    return segment_device(&segments, segment_take(&segments, SEGMENT_JOURNAL, SLOT_OPEN, segments_turn(&segments, device)));
}

static void the_journal_takes_turns_between_devices_that_are_about_as_full(void **state)
{
    (void)state;
    for (uint32_t device = 0, next; segments.free_total > 20; device = next) {
        next = behind(device);
        assert_int_not_equal(next, device);
    }
}

/* Devices of 40 and 64, the third being full. */
static void a_device_that_has_little_left_is_left_out_of_its_turn(void **state)
{
    (void)state;
    while (segment_take_slot(&segments, 1) != SEGMENT_NONE)
        continue;
    while (segments.free_count[0] > 5)
        (void)segment_take_slot(&segments, 0);
    assert_int_equal(behind(2), 2);
    while (segments.free_count[2] > 20)
        (void)segment_take_slot(&segments, 2);
    assert_int_equal(behind(2), 0);
    assert_int_equal(behind(0), 2);
    while (segments.free_total > 0) /* to the last one */
        assert_true(behind(2) != 1);
    assert_int_equal(segment_take(&segments, SEGMENT_JOURNAL, SLOT_OPEN, segments_turn(&segments, 2)), SEGMENT_NONE);
}

static void slots_without_space_are_found_in_runs(void **state)
{
    (void)state;
    uint32_t count = 0;
    assert_int_equal(segment_unallocated(&segments, 0, 16, &count), 0);
    assert_int_equal(count, 16);
    for (uint32_t i = 0; i < 40; i++)
        if (i != 20 && i != 24)
            segment_set_allocated(&segments, i);
    for (uint32_t i = 40; i < 137; i++)
        segment_set_allocated(&segments, i);
    assert_int_equal(segment_unallocated(&segments, 0, 16, &count), 20);
    assert_int_equal(count, 1);
    segment_set_allocated(&segments, 20);
    segment_set_allocated(&segments, 24);
    assert_int_equal(segment_unallocated(&segments, 0, 16, &count), SEGMENT_NONE);
}

static void a_run_of_slots_ends_with_its_device(void **state)
{
    (void)state;
    uint32_t count = 0;
    for (uint32_t i = 0; i < 137; i++)
        if (i < 38 || i >= 42)
            segment_set_allocated(&segments, i);
    uint32_t first = segment_unallocated(&segments, 0, 16, &count);
    assert_true(first == 38 || first == 40);
    assert_int_equal(count, 2);
}

static void the_first_full_device_makes_all_doubtful_until_they_say_otherwise(void **state)
{
    (void)state;
    bool first;
    uint32_t total = segments.free_total;
    for (uint32_t i = 0; i < 3; i++)
        segment_set_allocated(&segments, i);
    assert_int_equal(segments_writable(&segments), total);
    segments_set_full(&segments, 1, &first);
    assert_true(first);
    assert_int_equal(segments_writable(&segments), 3);
    segments_set_roomy(&segments, 2);
    assert_int_equal(segments_writable(&segments), 3 + segments.free_count[2]);
    segments_set_full(&segments, 1, &first);
    assert_false(first);
    assert_int_equal(segments_writable(&segments), 3 + segments.free_count[2]);
    segments_set_full(&segments, 2, &first);
    assert_true(first);
    assert_int_equal(segments_writable(&segments), 3);
}

static void a_full_device_is_taken_last(void **state)
{
    (void)state;
    bool first;
    uint32_t count;
    segments_set_full(&segments, 2, &first);
    segments_set_roomy(&segments, 1);
    assert_int_equal(segment_device(&segments, take(UINT32_MAX)), 1);
    assert_int_equal(segment_device(&segments, segment_unallocated(&segments, segments.full, 16, &count)), 1);
    segment_set_allocated(&segments, segments.slot_first[0]);
    assert_int_equal(take(UINT32_MAX), segments.slot_first[0]);
}

static void any_history_of_slots_finds_each_serial(void **state)
{
    (void)state;
    uint64_t seed = 5, serials[137] = {0};
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t index = (uint32_t)fixture_below(&seed, 137);
        if (serials[index]) {
            segment_free(&segments, index, false);
            assert_int_equal(segment_find(&segments, serials[index]), SEGMENT_NONE);
            serials[index] = 0;
        } else if ((index = take((uint32_t)fixture_below(&seed, 4))) != SEGMENT_NONE) {
            assert_int_equal(serials[index], 0);
            serials[index] = segments.table[index].serial;
        }
    }
    uint32_t used = 0;
    for (uint32_t index = 0; index < 137; index++) {
        used += serials[index] != 0;
        if (serials[index])
            assert_int_equal(segment_find(&segments, serials[index]), index);
    }
    assert_int_equal(segments.free_total, 137 - used);
}

/* ---- headers ------------------------------------------------------------------------------------------------------
 */

static struct segment_header header_of(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    uint32_t index = group_take_segment(f->group, SEGMENT_JOURNAL, UINT32_MAX);
    struct segment_header header = {
        .segment = f->group->segments.table[index],
        .slot = segment_slot(&f->group->segments, index),
        .predecessor = {.serial = 1, .slot = 2, .offset = 3},
        .successor = {.serial = 4, .slot = 5, .offset = 6},
    };
    mutex_unlock(&f->group->lock);
    return header;
}

static void a_header_is_taken_only_where_it_stands(void **state)
{
    struct fixture *f = *state;
    struct segment_header header = header_of(f), back;
    assert_int_equal(segment_header_read(f->group, 0, header.slot, 0, &back), ERROR_NOT_FOUND);
    assert_int_equal(segment_header_write(f->group, &header), ERROR_NONE);
    assert_int_equal(segment_header_read(f->group, 0, header.slot, header.segment.serial, &back), ERROR_NONE);
    assert_true(back.segment.serial == header.segment.serial && back.segment.salt == header.segment.salt &&
                back.segment.birth_salt == header.segment.birth_salt && back.segment.kind == SEGMENT_JOURNAL &&
                back.segment.key_slot == header.segment.key_slot && back.predecessor.offset == 3 &&
                back.successor.serial == 4 && back.successor.slot == 5);
    assert_int_equal(segment_header_read(f->group, 0, header.slot, header.segment.serial + 1, &back), ERROR_NOT_FOUND);
    assert_int_equal(segment_header_read(f->group, 0, header.slot + 20, header.segment.serial, &back), ERROR_NOT_FOUND);
    assert_int_equal(segment_header_read(f->group, 1, header.slot, 0, &back), ERROR_NOT_FOUND);
    assert_int_equal(segment_header_read(f->group, 0, UINT32_MAX, 0, &back), ERROR_NOT_FOUND);
    f->group->superblocks[0].log_key_demanded = 2;
    assert_int_equal(segment_header_read(f->group, 0, header.slot, 0, &back), ERROR_NOT_FOUND);
    f->group->superblocks[0].log_key_demanded = 1;
}

/* Else it would be the end of the journal. */
static void a_header_that_cannot_be_judged_is_not_absent(void **state)
{
    struct fixture *f = *state;
    struct segment_header header = header_of(f), back;
    assert_int_equal(segment_header_write(f->group, &header), ERROR_NONE);
    no_memory = true;
    enum error error = segment_header_read(f->group, 0, header.slot, header.segment.serial, &back);
    no_memory = false;
    assert_int_equal(error, ERROR_NO_MEMORY);
    assert_int_equal(segment_header_read(f->group, 0, header.slot, header.segment.serial, &back), ERROR_NONE);
}

static void no_byte_of_a_header_can_change_unseen(void **state)
{
    struct fixture *f = *state;
    struct segment_header header = header_of(f), back;
    uint64_t offset = AREA_SIZE + ((uint64_t)header.slot << SEGMENT_SHIFT_MIN);
    assert_int_equal(segment_header_write(f->group, &header), ERROR_NONE);
    for (uint64_t i = 0; i < BLOCK_SIZE; i += i < 160 || i > 4040 ? 1 : 97) {
        fixture_flip(f, 0, offset + i);
        assert_int_equal(segment_header_read(f->group, 0, header.slot, 0, &back), ERROR_NOT_FOUND);
        fixture_flip(f, 0, offset + i);
    }
    assert_int_equal(segment_header_read(f->group, 0, header.slot, 0, &back), ERROR_NONE);
}

/* The MAC is right: it was made by who has the key, which in a plaintext pool is everybody. */
static void expect_unsound(struct fixture *f, const struct segment_header *header, size_t at, const void *bytes,
                           size_t size)
{
    AUTO_FREE uint8_t *block = memory_aligned(BLOCK_SIZE);
    struct segment_format *format = (struct segment_format *)block;
    struct segment_header back;
    assert_int_equal(segment_header_encode(f->group, header, format), ERROR_NONE);
    assert_int_equal(segment_header_decode(f->group, 0, header->slot, 0, block, &back), ERROR_NONE);
    memcpy(block + at, bytes, size);
    const uint8_t *key = keyring_find(f->group->keyrings[0], KEY_KIND_LOG, format->header_key);
    key = key ? key : keyring_current(f->group->keyrings[0], KEY_KIND_LOG)->key;
    assert_int_equal(hmac_sha256(key, block, offsetof(struct segment_format, mac), format->mac), ERROR_NONE);
    assert_int_equal(segment_header_decode(f->group, 0, header->slot, 0, block, &back), ERROR_NOT_FOUND);
}

#define EXPECT_UNSOUND(member, ...)                                                                                    \
    expect_unsound(f, &header, offsetof(struct segment_format, member), (const uint8_t[]){__VA_ARGS__},                \
                   sizeof((const uint8_t[]){__VA_ARGS__}))

static void numbers_out_of_range_are_no_header_though_the_mac_fits(void **state)
{
    struct fixture *f = *state;
    struct segment_header header = header_of(f);
    EXPECT_UNSOUND(serial, 0, 0, 0, 0, 0, 0, 0, 0);
    EXPECT_UNSOUND(serial, 0, 0, 0, 0, 0, 1, 0, 0);
    EXPECT_UNSOUND(serial, 1, 0, 0, 0, 0, 0, 0, 0x80);
    EXPECT_UNSOUND(kind, 0);
    EXPECT_UNSOUND(kind, SEGMENT_COLD + 1);
    EXPECT_UNSOUND(predecessor.device, 1);
    EXPECT_UNSOUND(successor.device, 0xff);
    EXPECT_UNSOUND(successor.slot, 0, 0, 2, 0);
    EXPECT_UNSOUND(successor.offset, 0xff, 0xff, 0xff, 0xff);
    EXPECT_UNSOUND(header_key, 0);
    EXPECT_UNSOUND(header_key, 2);
    EXPECT_UNSOUND(log_key, 0);
    EXPECT_UNSOUND(log_key, 2);
    EXPECT_UNSOUND(reserved2[3939], 1);
}

static void keyring_exchange(struct fixture *f, struct keyring *keyring)
{
    struct keyring *keyrings[GROUP_DEVICES] = {keyring};
    assert_int_equal(group_keyrings_exchange(f->group, keyrings), ERROR_NONE);
}

/* New keys, as a deep rekey brings them. */
static void keys_change(struct fixture *f, uint32_t number)
{
    struct keyring *with;
    const struct keyring_new new = {.data_key = number, .log_key = number};
    assert_int_equal(keyring_with_new(f->group->keyrings[0], &new, &with), ERROR_NONE);
    keyring_exchange(f, with);
}

static void a_header_is_under_the_k_log_of_today_and_names_that_of_the_tags(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE uint8_t *block = memory_aligned(BLOCK_SIZE);
    const struct segment_format *format = (const struct segment_format *)block;
    struct segment_header before = header_of(f), after = header_of(f), back;
    assert_int_equal(segment_header_write(f->group, &before), ERROR_NONE);
    keys_change(f, 2);
    assert_int_equal(segment_header_write(f->group, &after), ERROR_NONE);
    assert_int_equal(segment_header_encode(f->group, &after, (struct segment_format *)block), ERROR_NONE);
    assert_int_equal(format->log_key, 1);
    assert_int_equal(format->header_key, 2);
    assert_int_equal(segment_header_read(f->group, 0, before.slot, before.segment.serial, &back), ERROR_NONE);
    assert_int_equal(back.segment.log_key, 1);
    f->group->superblocks[0].log_key_demanded = 2;
    assert_int_equal(segment_header_read(f->group, 0, before.slot, before.segment.serial, &back), ERROR_NOT_FOUND);
    assert_int_equal(segment_header_read(f->group, 0, after.slot, after.segment.serial, &back), ERROR_NONE);
    assert_int_equal(back.segment.log_key, 1);
    f->group->superblocks[0].log_key_demanded = 1;
}

static void what_waits_for_its_header_gets_the_new_keys_for_its_tags_too(void **state)
{
    struct fixture *f = *state;
    struct segment_header waits = header_of(f), has = header_of(f);
    struct segment *table = f->group->segments.table;
    mutex_lock(&f->group->lock);
    table[has.slot].salt = 7;
    mutex_unlock(&f->group->lock);
    keys_change(f, 2);
    assert_int_equal(table[waits.slot].key_slot, 2);
    assert_int_equal(table[waits.slot].log_key, 2);
    assert_int_equal(table[has.slot].key_slot, 1);
    assert_int_equal(table[has.slot].log_key, 1);
}

static void tags_are_under_a_k_log_that_is_there_and_not_newer_than_the_headers(void **state)
{
    struct fixture *f = *state;
    struct segment_header header = header_of(f), back;
    struct keyring *without;
    keys_change(f, 2);
    keys_change(f, 3);
    const struct keyring_needs needs = {.log_keys[1] = true};
    assert_int_equal(keyring_without_old(f->group->keyrings[0], &needs, &without), ERROR_NONE);
    keyring_exchange(f, without);
    EXPECT_UNSOUND(log_key, 2); /* it is gone */
    EXPECT_UNSOUND(log_key, 4);
    header.segment.log_key = 3;
    EXPECT_UNSOUND(header_key, 1);
    EXPECT_UNSOUND(header_key, 2);
    header.segment.log_key = 1;
    assert_int_equal(segment_header_write(f->group, &header), ERROR_NONE);
    assert_int_equal(segment_header_read(f->group, 0, header.slot, 0, &back), ERROR_NONE);
}

/* The K_logs of live segments, of those that a view may still read, and those that headers may be under. */
static void a_k_log_is_needed_as_long_as_a_segment_is_of_its_time(void **state)
{
    struct fixture *f = *state;
    struct keyring_needs needs;
    struct segment_header header = header_of(f);
    static const uint8_t states[] = {SLOT_RESERVED, SLOT_SEALED, SLOT_FREEING, SLOT_FREE};
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct segment *segment = &f->group->segments.table[header.slot];
        mutex_lock(&f->group->lock);
        segment->log_key = 9;
        segment->state = states[i];
        if (states[i] == SLOT_FREE)
            segment_free(&f->group->segments, header.slot, false);
        mutex_unlock(&f->group->lock);
        group_log_keys_needed(f->group, 0, 11, &needs);
        assert_true(needs.log_keys[9] == (states[i] != SLOT_FREE));
        assert_false(needs.log_keys[8] || needs.log_keys[10]);
        assert_true(needs.log_keys[11] && needs.log_keys[255]);
    }
}

static void plaintext_is_refused_in_an_encrypted_pool(void **state)
{
    struct fixture *f = *state;
    const struct segment_keys *keys;
    struct segment_identity identity = {.serial = 1000, .log_key = 1};
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_FORGED);
    identity.key_slot = 2;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_CORRUPT);
    identity.key_slot = 1;
    identity.log_key = 9;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_CORRUPT);
    identity.log_key = 1;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_NONE);
    assert_true(keys->encrypted);
    segment_keys_put(f->group, keys);
}

static void below_the_limit_of_a_conversion_plaintext_is_taken(void **state)
{
    struct fixture *f = *state;
    const struct segment_keys *keys;
    struct segment_identity identity = {.serial = 1000, .log_key = 1};
    f->group->superblocks[0].plaintext_serial_limit = 1001;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_NONE);
    assert_false(keys->encrypted);
    segment_keys_put(f->group, keys);
    identity.serial = 1001;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_FORGED);
}

static void each_part_of_an_identity_gives_other_keys(void **state)
{
    struct fixture *f = *state;
    const struct segment_identity identity = {.serial = 1, .salt = 2, .birth_salt = 3, .key_slot = 1, .log_key = 1};
    struct segment_identity others[] = {identity, identity, identity};
    const struct segment_keys *keys, *again, *other;
    others[0].serial = 1 + (UINT64_C(1) << 30); /* the same place in the cache */
    others[1].salt++;
    others[2].birth_salt++;
    assert_int_equal(segment_keys_get(f->group, &identity, &keys), ERROR_NONE);
    assert_int_equal(segment_keys_get(f->group, &identity, &again), ERROR_NONE);
    assert_ptr_equal(keys, again);
    segment_keys_put(f->group, again);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_int_equal(segment_keys_get(f->group, &others[i], &other), ERROR_NONE);
        assert_int_equal(memcmp(other->xts, keys->xts, sizeof keys->xts) != 0, i != 2);
        assert_int_equal(memcmp(other->tag, keys->tag, sizeof keys->tag) != 0, i != 1);
        segment_keys_put(f->group, other);
    }
    segment_keys_put(f->group, keys);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_GROUP(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_table_gives_nothing),
        TEST(no_serial_is_given_beyond_the_lease),
        TEST(a_slot_that_is_given_back_before_it_is_named_uses_up_no_serial),
        TEST(a_slot_or_serial_that_is_taken_is_not_adopted),
        TEST(serials_that_leap_are_no_age),
        TEST(live_bytes_out_of_range_are_damage),
        TEST(impossible_entries_of_the_table_are_told),
        TEST(what_is_reserved_or_freed_is_not_in_the_table),
        TEST(serials_and_salts_are_new_each_time),
        TEST(the_device_with_the_most_room_is_taken),
        TEST(the_journal_takes_turns_between_devices_that_are_about_as_full),
        TEST(a_device_that_has_little_left_is_left_out_of_its_turn),
        TEST(slots_without_space_are_found_in_runs),
        TEST(a_run_of_slots_ends_with_its_device),
        TEST(the_first_full_device_makes_all_doubtful_until_they_say_otherwise),
        TEST(a_full_device_is_taken_last),
        TEST(any_history_of_slots_finds_each_serial),
        TEST_GROUP(a_header_is_taken_only_where_it_stands),
        TEST_GROUP(a_header_that_cannot_be_judged_is_not_absent),
        TEST_GROUP(no_byte_of_a_header_can_change_unseen),
        TEST_GROUP(numbers_out_of_range_are_no_header_though_the_mac_fits),
        TEST_GROUP(a_header_is_under_the_k_log_of_today_and_names_that_of_the_tags),
        TEST_GROUP(what_waits_for_its_header_gets_the_new_keys_for_its_tags_too),
        TEST_GROUP(tags_are_under_a_k_log_that_is_there_and_not_newer_than_the_headers),
        TEST_GROUP(a_k_log_is_needed_as_long_as_a_segment_is_of_its_time),
        TEST_GROUP(plaintext_is_refused_in_an_encrypted_pool),
        TEST_GROUP(below_the_limit_of_a_conversion_plaintext_is_taken),
        TEST_GROUP(each_part_of_an_identity_gives_other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
