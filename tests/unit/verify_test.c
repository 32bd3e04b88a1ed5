/* Verifying asks the devices, never the caches: one changed byte of a unit or a node is found, its neighbours are good.
 */
#include "tests/unit/group_fixture.h"

#include "engine/group/verify.h"
#include "engine/group/view.h"

static enum error verify(struct fixture *f, enum item_kind kind, struct map_entry entry)
{
    struct chunk_verify chunk = {.entry = entry};
    chunks_verify(f->group, kind, &chunk, 1);
    return chunk.error;
}

static void what_does_not_stand_there_is_damage(void **state)
{
    struct fixture *f = *state;
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    uint64_t cid = entry_cid(entry), serial = entry_serial(entry);
    uint32_t offset = entry_offset(entry), length = entry_length(entry);
    assert_int_equal(verify(f, ITEM_NONE, entry_make(cid, serial + 1000, offset, length, 0, 1)), ERROR_NOT_FOUND);
    const struct map_entry bad[] = {
        entry_make(cid, serial, offset + 1, length, 0, 1), /* between items */
        entry_make(cid, serial, offset, 2, 0, 1),          /* cut short */
        entry_make(cid + 1, serial, offset, length, 0, 1), /* another chunk */
        entry_make(cid, serial, offset, length, 0, 2),     /* of another unit */
        entry_make(cid, serial, offset, length, 1, 2),
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(verify(f, ITEM_NONE, bad[i]), ERROR_CORRUPT);
    assert_int_equal(verify(f, ITEM_NONE, entry), ERROR_NONE);
    assert_int_equal(verify(f, ITEM_UNIT, entry), ERROR_NONE);
}

static void a_changed_byte_is_found_although_the_chunk_is_cached(void **state)
{
    struct fixture *f = *state;
    struct chunk_verify chunks[3];
    uint8_t bytes[CHUNK_SIZE];
    for (unsigned i = 0; i < 3; i++)
        chunks[i].entry = fixture_write(f, COMPONENT, i, i + 1);
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    struct chunk_read read = {.entry = chunks[1].entry, .out = bytes};
    assert_int_equal(chunks_read(f->group, &read, 1), ERROR_NONE);
    fixture_flip(f, 0, fixture_offset(f, entry_serial(read.entry), entry_offset(read.entry)) + 64);
    assert_int_equal(chunks_read(f->group, &read, 1), ERROR_NONE);
    chunks_verify(f->group, ITEM_NONE, chunks, 3);
    assert_int_equal(chunks[0].error, ERROR_NONE);
    assert_int_equal(chunks[1].error, ERROR_CORRUPT);
    assert_int_equal(chunks[2].error, ERROR_NONE);
    assert_int_equal(chunks[1].stored_size, entry_length(read.entry) * GRAIN_SIZE);
    assert_int_equal(atomic_load(&f->group->totals.read_errors), 0);
}

static void a_node_is_verified_by_its_number_and_is_no_unit(void **state)
{
    struct fixture *f = *state;
    struct component_format format;
    fixture_write(f, COMPONENT, 1, 1);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    struct view *view = view_take(f->group);
    assert_int_equal(view_component(f->group, view, COMPONENT, &format), ERROR_NONE);
    struct map_entry node = pointer_decode(&format.root).first;
    assert_int_equal(verify(f, ITEM_NONE, node), ERROR_NONE);
    assert_int_equal(verify(f, ITEM_UNIT, node), ERROR_CORRUPT);
    struct map_entry other =
        entry_make(entry_cid(node) + 1, entry_serial(node), entry_offset(node), entry_length(node), 0, 1);
    assert_int_equal(verify(f, ITEM_NONE, other), ERROR_CORRUPT);
    fixture_flip(f, 0, fixture_offset(f, entry_serial(node), entry_offset(node)) + 50);
    assert_int_equal(verify(f, ITEM_NONE, node), ERROR_CORRUPT);
    view_put(f->group, view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_does_not_stand_there_is_damage),
        TEST(a_changed_byte_is_found_although_the_chunk_is_cached),
        TEST(a_node_is_verified_by_its_number_and_is_no_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
