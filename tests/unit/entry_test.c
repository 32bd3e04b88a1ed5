/* Rows of entries survive the run coder, and no bytes whatever make its decoder accept what an entry may not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/memory.h"
#include "engine/group/entry.h"

#define ROW         256
#define ENCODED_MAX 8192

static uint64_t state;

static uint64_t next_random(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
    return next_random() % limit;
}

static size_t assert_survives(const struct map_entry *row, size_t count)
{
    uint8_t encoded[ENCODED_MAX];
    struct map_entry back[ROW];
    size_t size = entry_runs_encode(row, count, encoded, sizeof encoded);
    assert_int_not_equal(size, 0);
    /* An exact heap copy, so that a read beyond it is seen. */
    AUTO_FREE uint8_t *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, encoded, size);
    assert_int_equal(entry_runs_decode(exact, size, back, count), ERROR_NONE);
    for (size_t i = 0; i < count; i++)
        assert_true(entry_equal(row[i], back[i]));
    assert_int_equal(entry_runs_encode(row, count, encoded, size), size);
    assert_int_equal(entry_runs_encode(row, count, encoded, size - 1), 0);
    return size;
}

static enum error decode_bytes(const uint8_t *bytes, size_t size, size_t count)
{
    struct map_entry entries[ROW];
    AUTO_FREE uint8_t *exact = malloc(size == 0 ? 1 : size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    return entry_runs_decode(exact, size, entries, count);
}
#define REFUSED(count, ...)                                                                                            \
    assert_int_equal(decode_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), count),      \
                     ERROR_CORRUPT)
#define ACCEPTED(count, ...)                                                                                           \
    assert_int_equal(decode_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), count),      \
                     ERROR_NONE)

static void garbage_is_never_accepted_as_a_wrong_entry(void **context)
{
    (void)context;
    state = 1;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        struct map_entry entries[ROW];
        size_t size = below(sizeof bytes), count = 1 + below(ROW);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(below(3) == 0 ? below(8) : next_random());
        AUTO_FREE uint8_t *exact = malloc(size + 1);
        assert_non_null(exact);
        memcpy(exact, bytes, size);
        if (entry_runs_decode(exact, size, entries, count) == ERROR_NONE)
            assert_survives(entries, count);
    }
}

static void a_changed_byte_is_refused_or_gives_sound_entries(void **context)
{
    (void)context;
    state = 2;
    struct map_entry row[ROW], back[ROW];
    uint8_t encoded[ENCODED_MAX];
    for (unsigned i = 0; i < ROW; i++)
        row[i] = i % 64 < 8 ? (struct map_entry){0} : entry_make(1000 + i, 77, 256 + i / 4 * 50, 50, i % 4, 4);
    size_t size = entry_runs_encode(row, ROW, encoded, sizeof encoded);
    for (size_t i = 0; i < size; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            encoded[i] ^= (uint8_t)(1 << bit);
            if (entry_runs_decode(encoded, size, back, ROW) == ERROR_NONE)
                assert_survives(back, ROW);
            encoded[i] ^= (uint8_t)(1 << bit);
        }
}

static void a_row_that_is_cut_or_has_bytes_behind_is_refused(void **context)
{
    (void)context;
    struct map_entry row[8];
    uint8_t encoded[ENCODED_MAX + 1] = {0};
    for (unsigned i = 0; i < 8; i++)
        row[i] = entry_make(UINT64_C(1) << 33 | i, UINT64_C(1) << 30, 70000 + i / 4 * 9, 9, i % 4, 4);
    size_t size = entry_runs_encode(row, 8, encoded, ENCODED_MAX);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(decode_bytes(encoded, cut, 8), ERROR_CORRUPT);
    assert_int_equal(decode_bytes(encoded, size + 1, 8), ERROR_CORRUPT);
    assert_int_equal(decode_bytes(encoded, size, 7), ERROR_CORRUPT);
    assert_int_equal(decode_bytes(encoded, size, 9), ERROR_CORRUPT);
    assert_int_equal(decode_bytes(encoded, 0, 1), ERROR_CORRUPT);
}

/* 0x10 0x02: the serial becomes 1; the CID expected first is 1. */
static void every_field_has_its_limits(void **context)
{
    (void)context;
    ACCEPTED(1, 0x10, 0x02, 0x01);
    REFUSED(1, 0x00, 0x01);                                            /* serial 0 */
    REFUSED(1, 0x10, 0x01, 0x01);                                      /* serial -1 */
    REFUSED(1, 0x10, 0x02, 0x00);                                      /* length 0 */
    ACCEPTED(1, 0x10, 0x02, 0xff, 0x3f);                               /* length 8191 */
    REFUSED(1, 0x10, 0x02, 0x80, 0x40);                                /* length 8192 */
    REFUSED(1, 0x18, 0x01, 0x02, 0x01);                                /* CID 0 */
    ACCEPTED(1, 0x18, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x02, 0x01); /* CID 2^40 - 1 */
    REFUSED(1, 0x18, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x02, 0x01);  /* CID 2^40 */
    REFUSED(2, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x02, 0x01);  /* a run beyond it */
    ACCEPTED(1, 0x10, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x01);       /* serial 2^40 - 1 */
    REFUSED(1, 0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0x01);        /* serial 2^40 */
    ACCEPTED(1, 0x30, 0x02, 0xfe, 0xff, 0xff, 0x7f, 0x01);             /* offset 2^27 - 1 */
    REFUSED(1, 0x30, 0x02, 0x80, 0x80, 0x80, 0x80, 0x01, 0x01);        /* offset 2^27 */
    REFUSED(1, 0x30, 0x02, 0x01, 0x01);                                /* offset -1 */
    ACCEPTED(1, 0x57, 0x02, 0xf0, 0x01, 0x08);                         /* index 15 of 16 */
    REFUSED(1, 0x57, 0x02, 0xf0, 0x01, 0x09);                          /* 17 chunks */
    REFUSED(1, 0x57, 0x02, 0xf0, 0x01, 0x07);                          /* index 15 of 15 */
    REFUSED(2, 0x53, 0x02, 0x31, 0x01);                                /* index 3, run 2, of 4 */
    REFUSED(3, 0x13, 0x02, 0x01);                                      /* a unit of 4 where 3 entries are wanted */
    REFUSED(2, 0x82);                                                  /* three holes where 2 entries are wanted */
    ACCEPTED(256, 0xbf, 0xc0, 0x01);                                   /* 256 holes */
    REFUSED(256, 0xbf, 0xc1, 0x01);
    REFUSED(256, 0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f);
}

static void an_endless_varint_is_refused(void **context)
{
    (void)context;
    uint8_t bytes[64];
    memset(bytes, 0x80, sizeof bytes);
    for (unsigned control = 0; control < 256; control++) {
        bytes[0] = (uint8_t)control;
        for (size_t count = 1; count <= 16; count++)
            if ((control & 0x80) == 0)
                assert_int_equal(decode_bytes(bytes, sizeof bytes, count), ERROR_CORRUPT);
    }
}

static void a_row_of_holes_takes_three_bytes(void **context)
{
    (void)context;
    struct map_entry row[ROW] = {{0}};
    for (size_t count = 1; count <= ROW; count++)
        assert_true(assert_survives(row, count) <= 3);
}

static void a_sequential_unit_takes_one_byte_beside_its_length(void **context)
{
    (void)context;
    struct map_entry row[ROW];
    for (unsigned i = 0; i < ROW; i++)
        row[i] = entry_make(5000 + i, 12, 300 + i / 4 * 100, 100, i % 4, 4);
    size_t first = 1 + 2 + 1 + 2 + 1;
    assert_int_equal(assert_survives(row, ROW), first + 63 * 2);
}

static void free_cids_in_a_page_of_places_cost_one_byte_a_gap(void **context)
{
    (void)context;
    struct map_entry row[ROW];
    for (unsigned i = 0; i < ROW; i++)
        row[i] = i % 8 < 4 ? entry_make(256 + i, 12, 300 + i / 8 * 100, 100, i % 4, 4) : (struct map_entry){0};
    assert_true(assert_survives(row, ROW) <= 7 + 32 * 3);
}

static void holes_in_a_leaf_cost_one_byte_a_gap(void **context)
{
    (void)context;
    struct map_entry row[ROW];
    for (unsigned i = 0; i < ROW; i++)
        row[i] = i % 8 < 4 ? entry_make(256 + i / 8 * 4 + i % 4, 12, 300 + i / 8 * 100, 100, i % 4, 4)
                           : (struct map_entry){0};
    assert_true(assert_survives(row, ROW) <= 7 + 32 * 3);
}

static void the_largest_values_survive(void **context)
{
    (void)context;
    struct map_entry row[ROW];
    for (unsigned i = 0; i < ROW; i++)
        row[i] = i % 2 ? entry_make(CID_MAX, SERIAL_MAX, (1u << 27) - 1, 8191, 15, 16) : entry_make(1, 1, 0, 1, 0, 16);
    assert_survives(row, ROW);
}

static struct map_entry random_entry(void)
{
    unsigned count = (unsigned)(1 + below(16));
    return entry_make(1 + (next_random() % CID_MAX >> below(40)) % CID_MAX, 1 + (next_random() >> 24) % SERIAL_MAX,
                      (uint32_t)below(1u << 27), (uint32_t)(1 + below(8191)), (unsigned)below(count), count);
}

/* Neighbours that differ in one field only are what a coder gets wrong. */
static struct map_entry disturbed(struct map_entry e)
{
    uint64_t cid = entry_cid(e), serial = entry_serial(e);
    uint32_t offset = entry_offset(e), length = entry_length(e);
    unsigned index = entry_index(e), count = entry_count(e);
    switch (below(8)) {
    case 0:
        cid = cid == CID_MAX ? 1 : cid + 1;
        break;
    case 1:
        serial = serial == SERIAL_MAX ? 1 : serial + 1;
        break;
    case 2:
        offset = (offset + length) % (1u << 27);
        break;
    case 3:
        length = 1 + length % 8191;
        break;
    case 4:
        index = (index + 1) % count;
        break;
    case 5:
        count = count == 16 ? 16 : count + 1;
        break;
    case 6:
        cid = cid == CID_MAX ? 1 : cid + 1;
        index = (index + 1) % count;
        break;
    default:
        break;
    }
    return entry_make(cid, serial, offset, length, index, count);
}

static void random_rows_survive(void **context)
{
    (void)context;
    state = 3;
    for (int round = 0; round < 1500; round++) {
        struct map_entry row[ROW];
        size_t count = 1 + below(ROW);
        unsigned wild = (unsigned)below(10);
        for (size_t i = 0; i < count; i++) {
            if (below(10) == 0)
                row[i] = (struct map_entry){0};
            else if (i == 0 || entry_is_hole(row[i - 1]) || below(10) < wild)
                row[i] = random_entry();
            else
                row[i] = disturbed(row[i - 1]);
        }
        assert_survives(row, count);
    }
}

static void shares_of_a_unit_sum_to_its_bytes(void **context)
{
    (void)context;
    for (unsigned count = 1; count <= 16; count++)
        for (uint32_t length = 1; length <= 8191; length += 117) {
            uint32_t sum = 0;
            for (unsigned i = 0; i < count; i++)
                sum += entry_share_bytes(entry_make(1, 1, 0, length, i, count));
            assert_int_equal(sum, length * GRAIN_SIZE);
        }
}

static void places_pointers_and_references_survive(void **context)
{
    (void)context;
    struct place place = {.serial = SERIAL_MAX, .device = 63, .slot = SLOTS_MAX - 1, .offset = 1u << 18}, place_back;
    struct place_format place_format;
    place_encode(&place, &place_format);
    place_back = place_decode(&place_format);
    assert_true(place_back.serial == place.serial && place_back.device == place.device);
    assert_true(place_back.slot == place.slot && place_back.offset == place.offset);

    struct node_pointer pointer = {
        .first = entry_make(2, 3, 4, 5, 0, 1),
        .second_serial = SERIAL_MAX,
        .second_offset = (1u << 27) - 1,
        .birth = UINT64_MAX - 255,
    };
    struct node_pointer_format pointer_format;
    pointer_encode(&pointer, &pointer_format);
    struct node_pointer pointer_back = pointer_decode(&pointer_format);
    assert_true(entry_equal(pointer_back.first, pointer.first));
    assert_true(pointer_back.second_serial == pointer.second_serial);
    assert_true(pointer_back.second_offset == pointer.second_offset);
    assert_true(pointer_back.birth == pointer.birth);

    struct segment_reference reference = {SERIAL_MAX, 63, 77, 4000000000u, UINT64_MAX, 1, 255}, reference_back;
    struct segment_reference_format reference_format;
    segment_reference_encode(&reference, &reference_format);
    segment_reference_decode(&reference_format, &reference_back);
    assert_true(reference_back.serial == reference.serial && reference_back.device == reference.device);
    assert_true(reference_back.slot == reference.slot && reference_back.key_slot == reference.key_slot);
    assert_true(reference_back.salt == reference.salt && reference_back.birth_salt == reference.birth_salt);
    assert_true(reference_back.log_key == reference.log_key);
}

static void a_damaged_pointer_decodes_to_one_that_encodes(void **context)
{
    (void)context;
    struct node_pointer_format format;
    memset(&format, 0xff, sizeof format);
    struct node_pointer pointer = pointer_decode(&format);
    pointer_encode(&pointer, &format);
    assert_int_equal(pointer.second_offset, (1u << 27) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_never_accepted_as_a_wrong_entry),
        cmocka_unit_test(a_changed_byte_is_refused_or_gives_sound_entries),
        cmocka_unit_test(a_row_that_is_cut_or_has_bytes_behind_is_refused),
        cmocka_unit_test(every_field_has_its_limits),
        cmocka_unit_test(an_endless_varint_is_refused),
        cmocka_unit_test(a_row_of_holes_takes_three_bytes),
        cmocka_unit_test(a_sequential_unit_takes_one_byte_beside_its_length),
        cmocka_unit_test(free_cids_in_a_page_of_places_cost_one_byte_a_gap),
        cmocka_unit_test(holes_in_a_leaf_cost_one_byte_a_gap),
        cmocka_unit_test(the_largest_values_survive),
        cmocka_unit_test(random_rows_survive),
        cmocka_unit_test(shares_of_a_unit_sum_to_its_bytes),
        cmocka_unit_test(places_pointers_and_references_survive),
        cmocka_unit_test(a_damaged_pointer_decodes_to_one_that_encodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
