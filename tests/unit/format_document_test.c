/*
 * docs/format.md and engine/group/format.h say the same: every struct is in the document with its size, every field
 * with its offset and size, in order and without a gap, and every constant with its value. FORMAT_DOCUMENT is its path.
 */
#include "tests/unit/document_tables.h"

#include "engine/group/checkpoint.h"
#include "engine/group/entry.h"
#include "engine/group/format.h"

static const struct expected expectations[] = {
    STRUCT(wrapping_format),
    FIELD(wrapping_format, provider),
    FIELD(wrapping_format, kek_number),
    FIELD(wrapping_format, kek_salt),
    STRUCT(key_slot_format),
    FIELD(key_slot_format, kind),
    FIELD(key_slot_format, state),
    FIELD(key_slot_format, reserved),
    FIELD(key_slot_format, number),
    FIELD(key_slot_format, wrapped),
    STRUCT(peer_slot_format),
    FIELD(peer_slot_format, device),
    FIELD(peer_slot_format, slot),
    STRUCT(superblock_format),
    FIELD(superblock_format, magic),
    FIELD(superblock_format, version),
    FIELD(superblock_format, crc),
    FIELD(superblock_format, mac),
    FIELD(superblock_format, pool),
    FIELD(superblock_format, group),
    FIELD(superblock_format, device),
    FIELD(superblock_format, epoch),
    FIELD(superblock_format, device_size),
    FIELD(superblock_format, offset),
    FIELD(superblock_format, copy),
    FIELD(superblock_format, segment_shift),
    FIELD(superblock_format, slot_count),
    FIELD(superblock_format, device_index),
    FIELD(superblock_format, device_count),
    FIELD(superblock_format, json_size),
    FIELD(superblock_format, key_slot_count),
    FIELD(superblock_format, peer_slot_count),
    FIELD(superblock_format, features_incompatible),
    FIELD(superblock_format, features_read_only),
    FIELD(superblock_format, features_compatible),
    FIELD(superblock_format, plaintext_serial_limit),
    FIELD(superblock_format, wrappings),
    FIELD(superblock_format, encryption),
    FIELD(superblock_format, fingerprint),
    FIELD(superblock_format, log_key_demanded),
    FIELD(superblock_format, pool_key_demanded),
    FIELD(superblock_format, reserved),
    STRUCT(place_format),
    FIELD(place_format, slot),
    FIELD(place_format, device),
    FIELD(place_format, serial),
    FIELD(place_format, offset),
    STRUCT(segment_reference_format),
    FIELD(segment_reference_format, device),
    FIELD(segment_reference_format, slot),
    FIELD(segment_reference_format, serial),
    FIELD(segment_reference_format, key_slot),
    FIELD(segment_reference_format, salt),
    FIELD(segment_reference_format, birth_salt),
    FIELD(segment_reference_format, log_key),
    STRUCT(node_pointer_format),
    FIELD(node_pointer_format, first),
    FIELD(node_pointer_format, second),
    FIELD(node_pointer_format, birth),
    STRUCT(component_format),
    FIELD(component_format, object),
    FIELD(component_format, domain),
    FIELD(component_format, birth),
    FIELD(component_format, base),
    FIELD(component_format, root),
    FIELD(component_format, height),
    FIELD(component_format, state),
    FIELD(component_format, family),
    FIELD(component_format, reserved),
    FIELD(component_format, mapped),
    FIELD(component_format, random),
    FIELD(component_format, stored),
    FIELD(component_format, own),
    FIELD(component_format, reserved2),
    STRUCT(segment_entry_format),
    FIELD(segment_entry_format, serial),
    FIELD(segment_entry_format, live),
    FIELD(segment_entry_format, kind_state),
    FIELD(segment_entry_format, key_slot),
    FIELD(segment_entry_format, salt),
    FIELD(segment_entry_format, birth_salt),
    FIELD(segment_entry_format, log_key),
    FIELD(segment_entry_format, settled),
    STRUCT(release_format),
    FIELD(release_format, node),
    FIELD(release_format, component),
    FIELD(release_format, number),
    FIELD(release_format, level),
    FIELD(release_format, used),
    FIELD(release_format, reserved),
    STRUCT(segment_format),
    FIELD(segment_format, magic),
    FIELD(segment_format, version),
    FIELD(segment_format, kind),
    FIELD(segment_format, log_key),
    FIELD(segment_format, device_index),
    FIELD(segment_format, header_key),
    FIELD(segment_format, pool),
    FIELD(segment_format, group),
    FIELD(segment_format, device),
    FIELD(segment_format, serial),
    FIELD(segment_format, salt),
    FIELD(segment_format, birth_salt),
    FIELD(segment_format, slot),
    FIELD(segment_format, key_slot),
    FIELD(segment_format, predecessor),
    FIELD(segment_format, successor),
    FIELD(segment_format, reserved2),
    FIELD(segment_format, mac),
    STRUCT(tag_nonce_format),
    FIELD(tag_nonce_format, offset),
    FIELD(tag_nonce_format, kind),
    FIELD(tag_nonce_format, zero),
    STRUCT(append_format),
    FIELD(append_format, tag),
    FIELD(append_format, serial),
    FIELD(append_format, offset),
    FIELD(append_format, blocks),
    FIELD(append_format, records_offset),
    FIELD(append_format, records_size),
    FIELD(append_format, items_size),
    FIELD(append_format, kind),
    FIELD(append_format, reserved),
    FIELD(append_format, previous),
    FIELD(append_format, next),
    FIELD(append_format, reserved2),
    FIELD(append_format, agreed),
    FIELD(append_format, durable),
    FIELD(append_format, last_sequence),
    FIELD(append_format, reserved3),
    STRUCT(item_format),
    FIELD(item_format, tag),
    FIELD(item_format, serial),
    FIELD(item_format, offset),
    FIELD(item_format, kind),
    FIELD(item_format, codec),
    FIELD(item_format, count),
    FIELD(item_format, stored_size),
    STRUCT(node_descriptor_format),
    FIELD(node_descriptor_format, cid),
    FIELD(node_descriptor_format, component),
    FIELD(node_descriptor_format, number),
    FIELD(node_descriptor_format, level),
    STRUCT(page_descriptor_format),
    FIELD(page_descriptor_format, table),
    FIELD(page_descriptor_format, level),
    FIELD(page_descriptor_format, number),
    FIELD(page_descriptor_format, second),
    STRUCT(frame_format),
    FIELD(frame_format, sequence),
    FIELD(frame_format, size),
    STRUCT(root_format),
    FIELD(root_format, pointer),
    FIELD(root_format, height),
    FIELD(root_format, reserved),
    STRUCT(joint_format),
    FIELD(joint_format, tag),
    FIELD(joint_format, next),
    STRUCT(checkpoint_format),
    FIELD(checkpoint_format, magic),
    FIELD(checkpoint_format, version),
    FIELD(checkpoint_format, copy),
    FIELD(checkpoint_format, pool),
    FIELD(checkpoint_format, group),
    FIELD(checkpoint_format, device),
    FIELD(checkpoint_format, number),
    FIELD(checkpoint_format, sequence),
    FIELD(checkpoint_format, epoch),
    FIELD(checkpoint_format, serial_lease),
    FIELD(checkpoint_format, component_lease),
    FIELD(checkpoint_format, cid_end),
    FIELD(checkpoint_format, time),
    FIELD(checkpoint_format, roots),
    FIELD(checkpoint_format, release_reserved),
    FIELD(checkpoint_format, release_end),
    FIELD(checkpoint_format, chunks_live),
    FIELD(checkpoint_format, blocks_mapped),
    FIELD(checkpoint_format, start),
    FIELD(checkpoint_format, start_tag),
    FIELD(checkpoint_format, log_key),
    FIELD(checkpoint_format, joint_count),
    FIELD(checkpoint_format, table_segment_count),
    FIELD(checkpoint_format, families),
    FIELD(checkpoint_format, joints),
    FIELD(checkpoint_format, table_segments),
    FIELD(checkpoint_format, audit_count),
    FIELD(checkpoint_format, audit_head),
    FIELD(checkpoint_format, reserved2),
    FIELD(checkpoint_format, mac),
    STRUCT(erase_note_format),
    FIELD(erase_note_format, magic),
    FIELD(erase_note_format, version),
    FIELD(erase_note_format, flags),
    FIELD(erase_note_format, offset),
    FIELD(erase_note_format, device_size),
    FIELD(erase_note_format, pool),
    FIELD(erase_note_format, device),
    FIELD(erase_note_format, provider),
    FIELD(erase_note_format, kek_number),
    FIELD(erase_note_format, device_count),
    FIELD(erase_note_format, end_count),
    FIELD(erase_note_format, begun),
    FIELD(erase_note_format, ends),
    FIELD(erase_note_format, reserved),
    FIELD(erase_note_format, mac),
};

struct constant {
    const char *name;
    unsigned long long value;
};
#define CONSTANT(name)                                                                                                 \
    {                                                                                                                  \
#name, name                                                                                                    \
    }

static const struct constant constants[] = {
    CONSTANT(FORMAT_VERSION),
    CONSTANT(BLOCK_SIZE),
    CONSTANT(GRAIN_SIZE),
    CONSTANT(AREA_SIZE),
    CONSTANT(SUPERBLOCK_BINARY_SIZE),
    CONSTANT(SUPERBLOCK_JSON_SIZE),
    CONSTANT(SUPERBLOCK_SIZE),
    CONSTANT(CHECKPOINT_OFFSET),
    CONSTANT(CHECKPOINT_STRIDE),
    CONSTANT(SUPERBLOCK_COPIES),
    CONSTANT(CHECKPOINT_COPIES),
    CONSTANT(SEGMENT_SHIFT_MIN),
    CONSTANT(SEGMENT_SHIFT_MAX),
    CONSTANT(SLOTS_MAX),
    CONSTANT(DEVICE_SLOTS_MIN),
    CONSTANT(SUPERBLOCK_SLOTS_OFFSET),
    CONSTANT(KEY_SLOTS_MAX),
    CONSTANT(PEER_DEVICES_MAX),
    CONSTANT(PEER_SLOTS_MAX),
    CONSTANT(MAP_LEAF_ENTRIES),
    CONSTANT(NODE_FANOUT),
    CONSTANT(NODE_LEVELS_MAX),
    CONSTANT(JOINTS_MAX),
    CONSTANT(TABLE_SEGMENTS_MAX),
    CONSTANT(WRAPPED_KEY_SIZE),
};

static void every_field_is_where_the_document_says(void **state)
{
    (void)state;
    assert_fields_are_told(expectations, COUNT_OF(expectations));
}

static void every_table_of_the_document_is_of_a_struct(void **state)
{
    (void)state;
    assert_tables_are_of_structs(expectations, COUNT_OF(expectations));
}

static void every_constant_has_the_value_that_the_document_says(void **state)
{
    (void)state;
    size_t found = 0;
    for (size_t i = 0; i < line_count; i++) {
        char name[80];
        unsigned long long value;
        bool right = false;
        if (sscanf(lines[i], "| `%79[A-Z0-9_]` | %llu |", name, &value) != 2)
            continue;
        for (size_t n = 0; n < COUNT_OF(constants); n++)
            right |= strcmp(constants[n].name, name) == 0 && constants[n].value == value;
        if (!right)
            fail_msg("the document says %s is %llu", name, value);
        found++;
    }
    assert_int_equal(found, COUNT_OF(constants));
}

/* The bits of section 2. */
static void a_map_entry_has_its_fields_at_the_bits_that_the_document_says(void **state)
{
    (void)state;
    const struct {
        unsigned bit;
        struct map_entry entry;
    } fields[] = {
        {0, entry_make(1, 0, 0, 0, 0, 1)},   {40, entry_make(0, 1, 0, 0, 0, 1)},  {80, entry_make(0, 0, 1, 0, 0, 1)},
        {107, entry_make(0, 0, 0, 1, 0, 1)}, {120, entry_make(0, 0, 0, 0, 1, 1)}, {124, entry_make(0, 0, 0, 0, 0, 2)},
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        struct map_entry_format format;
        uint8_t wanted[16] = {0};
        wanted[fields[i].bit / 8] = (uint8_t)(1u << fields[i].bit % 8);
        entry_encode(fields[i].entry, &format);
        assert_memory_equal(format.bits, wanted, sizeof wanted);
        char row[16];
        size_t line = 0;
        snprintf(row, sizeof row, "| %u | ", fields[i].bit);
        while (line < line_count && strncmp(lines[line], row, strlen(row)) != 0)
            line++;
        assert_true(line < line_count);
    }
}

static void the_version_is_in_the_history(void **state)
{
    (void)state;
    assert_version_is_told("## 16. Version history", FORMAT_VERSION);
}

static void records_stand_where_the_document_says(void **state)
{
    (void)state;
    assert_true(document_says("Record number n stands at two positions, n mod 2 and 2 + n mod 2,"));
    for (uint64_t number = 1; number < 9; number++) {
        assert_int_equal(checkpoint_copy(number, 0), number % 2);
        assert_int_equal(checkpoint_copy(number, 1), 2 + number % 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_where_the_document_says),
        cmocka_unit_test(every_table_of_the_document_is_of_a_struct),
        cmocka_unit_test(every_constant_has_the_value_that_the_document_says),
        cmocka_unit_test(a_map_entry_has_its_fields_at_the_bits_that_the_document_says),
        cmocka_unit_test(the_version_is_in_the_history),
        cmocka_unit_test(records_stand_where_the_document_says),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
