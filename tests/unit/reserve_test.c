/* Reservations: promises that do not fit are refused; those that were given hold in a full pool, and come back. */
#include "engine/pool/operation.h"
#include "tests/unit/fill_fixture.h"

#define KEPT (40 * MIB)

/* Called once, when what an object stores was read from the trees and is not used yet; NULL. */
static void (*figures_read)(void);
struct reservation_figures __real_reservation_look(struct group *group, uint64_t component);
struct reservation_figures __wrap_reservation_look(struct group *group, uint64_t component);

struct reservation_figures __wrap_reservation_look(struct group *group, uint64_t component)
{
    struct reservation_figures figures = __real_reservation_look(group, component);
    void (*told)(void) = figures_read;
    figures_read = NULL;
    if (told)
        told();
    return figures;
}

/* Called once, when a snapshot holds what it needs and is not committed yet; NULL. */
static void (*renewed)(void);
enum error __real_operation_move(struct operation *operation, struct object *object, const struct object_document *moved,
                                 uint64_t base);
enum error __wrap_operation_move(struct operation *operation, struct object *object, const struct object_document *moved,
                                 uint64_t base);

enum error __wrap_operation_move(struct operation *operation, struct object *object, const struct object_document *moved,
                                 uint64_t base)
{
    void (*told)(void) = renewed;
    renewed = NULL;
    if (told)
        told();
    return __real_operation_move(operation, object, moved, base);
}

static uint64_t reserved(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.reserved_bytes;
}

static uint64_t free_bytes(void)
{
    struct pool_status status;
    assert_fine(pool_status(pool, &status));
    return status.free_bytes;
}

static void make_kept(uint64_t bytes)
{
    struct uuid uuid;
    assert_fine(object_create_reserved(pool, "kept", GIB, bytes, &uuid));
}

static void fill_others(void)
{
    uint64_t block = 0;
    make("filler", 64 * GIB);
    assert_true(fill_until_full("filler", &block, 1) > 0);
    assert_int_equal(fill_until_full("filler", &block, 1), 0);
}

/* Each of `bytes` of the object once, with contents of its own. */
static void write_all(const char *name, uint64_t bytes, uint64_t version)
{
    struct volume *volume;
    assert_fine(volume_open(pool, name, false, &volume));
    for (uint64_t block = 0; block < bytes / COFFER_BLOCK; block += FILL_BLOCKS)
        assert_fine(noise_write(volume, block, 1, FILL_BLOCKS, (version + 7) << 48 | block));
    volume_close(volume);
}

static void assert_noise(const char *name, uint64_t block, uint64_t version)
{
    uint8_t expected[COFFER_BLOCK], bytes[COFFER_BLOCK];
    struct volume *volume;
    noise_fill(expected, (version + 7) << 48 | block);
    assert_fine(volume_open(pool, name, true, &volume));
    assert_fine(block_io(volume, REQUEST_READ, block * COFFER_BLOCK, bytes));
    volume_close(volume);
    assert_memory_equal(bytes, expected, COFFER_BLOCK);
}

/* ---- refusals -------------------------------------------------------------------------------------------------------- */

static void a_reservation_that_cannot_be_is_refused(void **context)
{
    struct uuid uuid;
    (void)context;
    make("kept", GIB);
    assert_refused(object_reserve(pool, "kept", 4097), ERROR_INVALID, "multiple");
    assert_refused(object_reserve(pool, "kept", 2 * GIB), ERROR_INVALID, "no more can be reserved");
    assert_refused(object_reserve(pool, "none", MIB), ERROR_NOT_FOUND, "no object");
    assert_refused(object_create_reserved(pool, "other", GIB, 2 * GIB, &uuid), ERROR_INVALID, "no more can be reserved");
    assert_fine(object_snapshot(pool, (const char *const[]){"kept"}, 1, "s", false, 0));
    assert_refused(object_reserve(pool, "kept@s", MIB), ERROR_INVALID, "snapshot");
    assert_fine(object_delete(pool, "kept", false));
    assert_refused(object_reserve(pool, "kept", MIB), ERROR_NOT_FOUND, "trash");
    assert_int_equal(reserved(), 0);
}

static void a_reservation_that_does_not_fit_is_refused_and_says_what_does(void **context)
{
    struct uuid uuid;
    (void)context;
    make("kept", GIB);
    assert_refused(object_reserve(pool, "kept", OBJECT_RESERVE_FULL), ERROR_NO_SPACE, "MiB fit");
    assert_refused(object_create_reserved(pool, "other", GIB, GIB, &uuid), ERROR_NO_SPACE, "MiB fit");
    assert_refused(object_find(pool, "other", &(struct object_info){0}), ERROR_NOT_FOUND, "no object");
    assert_int_equal(look("kept").reserved, 0);
    assert_int_equal(reserved(), 0);
    assert_fine(object_reserve(pool, "kept", KEPT));
    make("late", GIB);
    fill_others();
    assert_refused(object_reserve(pool, "late", 8 * MIB), ERROR_NO_SPACE, "fit");
    assert_refused(object_reserve(pool, "kept", KEPT + 16 * MIB), ERROR_NO_SPACE, "fit");
    assert_int_equal(look("kept").reserved, KEPT);
}

static void a_snapshot_that_would_break_a_promise_is_refused(void **context)
{
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    fill_others();
    const char *const names[] = {"kept"};
    assert_refused(object_snapshot(pool, names, 1, "s", false, 0), ERROR_NO_SPACE, "reserved");
    struct uuid uuid;
    assert_refused(object_clone(pool, "kept", "copy", &uuid), ERROR_NO_SPACE, "reserved");
    write_all("kept", KEPT, 2);
    assert_noise("kept", 77, 2);
}

/* ---- what holds ------------------------------------------------------------------------------------------------------ */

static void a_reserved_object_is_written_when_others_are_refused(void **context)
{
    uint64_t block = 0;
    (void)context;
    make_kept(KEPT);
    fill_others();
    assert_int_equal(fill_some("kept", &block, 1, KEPT / COFFER_BLOCK), KEPT / COFFER_BLOCK);
    uint64_t other = 1 << 22;
    assert_true(fill_until_full("filler", &other, 1) < 4 * MIB / COFFER_BLOCK); /* what metadata took less than was held */
    publish();
    publish();
    assert_true(reserved() < KEPT / 20);
    assert_true(fill_until_full("kept", &block, 1) < MIB * 16 / COFFER_BLOCK);
}

static void a_reservation_holds_for_scattered_blocks(void **context)
{
    uint64_t block = 0;
    (void)context;
    make_kept(KEPT);
    fill_others();
    assert_int_equal(fill_some("kept", &block, 25, KEPT / COFFER_BLOCK), KEPT / COFFER_BLOCK);
}

static void what_is_stored_counts_against_the_reservation(void **context)
{
    (void)context;
    make("kept", GIB);
    write_all("kept", KEPT / 2, 1);
    publish();
    assert_fine(object_reserve(pool, "kept", KEPT));
    uint64_t held = reserved();
    assert_true(held > KEPT / 2 && held < KEPT / 2 + KEPT / 10);
    assert_int_equal(look("kept").reserved_missing, held);
    fill_others();
    write_all("kept", KEPT, 2);
    assert_noise("kept", 3, 2);
}

static void a_reserved_object_is_overwritten_for_ever(void **context)
{
    (void)context;
    make_kept(KEPT);
    fill_others();
    for (uint64_t version = 0; version < 4; version++)
        write_all("kept", KEPT, version);
    assert_noise("kept", 1000, 3);
    uint64_t block = 1 << 22;
    assert_true(fill_until_full("filler", &block, 1) < 4 * MIB / COFFER_BLOCK);
}

static void what_compressed_well_may_come_not_to(void **context)
{
    struct volume *volume;
    uint8_t block[COFFER_BLOCK];
    (void)context;
    make_kept(KEPT);
    assert_fine(volume_open(pool, "kept", false, &volume));
    for (uint64_t i = 0; i < KEPT / COFFER_BLOCK; i++) {
        memset(block, 'x', sizeof block);
        memcpy(block, &i, sizeof i);
        assert_fine(block_io(volume, REQUEST_WRITE, i * COFFER_BLOCK, block));
    }
    volume_close(volume);
    publish();
    assert_true(reserved() > KEPT * 3 / 4);
    fill_others();
    write_all("kept", KEPT, 1);
}

static void after_a_snapshot_all_can_be_written_once_more(void **context)
{
    const char *const names[] = {"kept"};
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    publish();
    assert_true(reserved() < KEPT / 20);
    assert_fine(object_snapshot(pool, names, 1, "s", false, 0));
    assert_true(reserved() >= KEPT);
    fill_others();
    write_all("kept", KEPT, 2);
    publish();
    publish();
    assert_true(reserved() < KEPT / 4); /* what went into the segment that was open is not known to be its own */
    assert_noise("kept", 5, 2);
    assert_noise("kept@s", 5, 1);
}

static void a_snapshot_that_fails_holds_nothing_more(void **context)
{
    const char *const other = "other", *const both[] = {"kept", "other"};
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    publish();
    make("other", GIB);
    assert_fine(object_snapshot(pool, &other, 1, "s", false, 0));
    uint64_t before = reserved();
    assert_refused(object_snapshot(pool, both, 2, "s", false, 0), ERROR_EXISTS, "'s' already");
    assert_int_equal(reserved(), before);
}

static void who_finds_the_pool_full_is_told_that(void **context)
{
    struct volume *volume;
    (void)context;
    fill_others();
    assert_fine(volume_open(pool, "filler", false, &volume));
    (void)error_explain(ERROR_NO_SPACE, "what was said before");
    assert_refused(noise_write(volume, 1 << 22, 1, FILL_BLOCKS, 3), ERROR_NO_SPACE, "the pool is full");
    volume_close(volume);
}

static void what_takes_no_space_is_done_beside_what_finds_none(void **context)
{
    (void)context;
    struct volume *volume;
    uint8_t fresh[COFFER_BLOCK], over[COFFER_BLOCK], read[COFFER_BLOCK];
    fill_others();
    noise_fill(fresh, (uint64_t)11 << 48);
    noise_fill(over, (uint64_t)12 << 48);
    assert_fine(volume_open(pool, "filler", false, &volume));
    struct request writes[] = {
        {.type = REQUEST_WRITE, .offset = (UINT64_C(1) << 22) * COFFER_BLOCK, .length = sizeof fresh, .data = fresh},
        {.type = REQUEST_WRITE, .offset = COFFER_BLOCK, .length = sizeof over, .data = over},
        {.type = REQUEST_TRIM, .offset = 2 * COFFER_BLOCK, .length = COFFER_BLOCK},
    };
    volume_execute(volume, writes, COUNT_OF(writes), fixture_answer, NULL);
    assert_int_equal(writes[0].error, ERROR_NO_SPACE);
    assert_fine(writes[1].error);
    assert_fine(writes[2].error);
    assert_fine(block_io(volume, REQUEST_READ, COFFER_BLOCK, read));
    assert_memory_equal(read, over, sizeof over);
    volume_close(volume);
}

/* A promise is of blocks: who overwrites some and writes the rest takes no more than that. */
static void what_is_reserved_as_a_whole_can_be_written_again_and_for_the_first_time_at_once(void **context)
{
    struct volume *volume;
    struct uuid uuid;
    (void)context;
    assert_fine(object_create_reserved(pool, "kept", FILL_BLOCKS * COFFER_BLOCK, OBJECT_RESERVE_FULL, &uuid));
    assert_fine(volume_open(pool, "kept", false, &volume));
    assert_fine(noise_write(volume, 0, 1, FILL_BLOCKS - 1, (uint64_t)8 << 48));
    publish();
    fill_others();
    assert_fine(noise_write(volume, 0, 1, FILL_BLOCKS, (uint64_t)9 << 48));
    volume_close(volume);
    assert_noise("kept", 0, 2);
    assert_noise("kept", FILL_BLOCKS - 1, 2);
}

/* What was cut off counts until a merge: before it is refused what is promised, that is waited for. */
static void what_was_cut_off_does_not_count_against_the_promise(void **context)
{
    const uint64_t size = FILL_BLOCKS * COFFER_BLOCK;
    struct volume *volume;
    struct uuid uuid;
    uint64_t more = 1 << 22;
    (void)context;
    assert_fine(object_create_reserved(pool, "kept", size + COFFER_BLOCK, OBJECT_RESERVE_FULL, &uuid));
    fill_others();
    assert_fine(volume_open(pool, "kept", false, &volume));
    assert_fine(noise_write(volume, 0, 1, FILL_BLOCKS, (uint64_t)8 << 48));
    assert_fine(noise_write(volume, FILL_BLOCKS, 1, 1, (uint64_t)8 << 48));
    volume_close(volume);
    publish();
    fill_until_full("filler", &more, 1);
    assert_fine(object_resize(pool, "kept", size, true));
    assert_fine(volume_open(pool, "kept", false, &volume));
    struct request trim = {.type = REQUEST_TRIM, .length = size};
    volume_execute(volume, &trim, 1, fixture_answer, NULL);
    assert_fine(trim.error);
    assert_fine(noise_write(volume, 0, 1, FILL_BLOCKS, (uint64_t)9 << 48));
    volume_close(volume);
}

static void others_overwrite_in_a_pool_that_is_full_of_promises(void **context)
{
    (void)context;
    make_kept(KEPT);
    make("filler", 64 * GIB);
    write_all("filler", 8 * MIB, 1);
    uint64_t block = GIB / COFFER_BLOCK;
    fill_until_full("filler", &block, 1);
    for (uint64_t version = 2; version < 6; version++)
        write_all("filler", 8 * MIB, version);
    write_all("kept", KEPT, 1);
}

/* ---- while it is published --------------------------------------------------------------------------------------------- */

static struct volume *written;

static void write_and_publish(void)
{
    for (uint64_t block = 0; block < KEPT / COFFER_BLOCK; block += FILL_BLOCKS)
        assert_fine(noise_write(written, block, 1, FILL_BLOCKS, (uint64_t)7 << 48 | block));
    publish();
}

/* Else all of it were held once more, until the next publish. */
static void what_is_stored_counts_that_was_published_while_it_was_asked(void **context)
{
    (void)context;
    make_kept(2 * KEPT);
    assert_fine(volume_open(pool, "kept", false, &written));
    figures_read = write_and_publish;
    assert_fine(object_reserve(pool, "kept", KEPT));
    assert_null(figures_read);
    uint64_t held = reserved();
    volume_close(written);
    publish();
    assert_int_equal(held, reserved());
    assert_true(held < KEPT / 10);
}

static uint64_t held_at_move;

static void publish_and_look(void)
{
    publish();
    mutex_lock(&pool->group->lock);
    held_at_move = reservations_held(pool->group, NULL);
    mutex_unlock(&pool->group->lock);
}

/* Else others could take what the snapshot is about to need. */
static void what_a_snapshot_holds_is_not_let_go_of_by_a_publish_before_its_commit(void **context)
{
    const char *const names[] = {"kept"};
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    publish();
    write_block("kept", 0, 3);
    renewed = publish_and_look;
    assert_fine(object_snapshot(pool, names, 1, "s", false, 0));
    assert_null(renewed);
    assert_true(held_at_move >= KEPT);
    assert_true(reserved() >= KEPT);
    fill_others();
    write_all("kept", KEPT, 2);
    publish();
    publish();
    assert_true(reserved() < KEPT / 4);
}

/* One that fails behind the renewal: what is stored counts again, also in the publishes that follow. */
static void what_a_failed_snapshot_held_is_let_go_of(void **context)
{
    const char *const both[] = {"kept", "other"};
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    make("other", GIB);
    assert_fine(object_snapshot(pool, &both[1], 1, "s", false, 0));
    publish();
    uint64_t before = reserved();
    write_block("kept", 0, 3);
    renewed = publish_and_look;
    assert_refused(object_snapshot(pool, both, 2, "s", false, 0), ERROR_EXISTS, "'s' already");
    publish();
    assert_in_range(reserved(), before / 2, before + MIB);
}

/* ---- what comes back ------------------------------------------------------------------------------------------------- */

static void what_was_reserved_comes_back(void **context)
{
    (void)context;
    uint64_t before = free_bytes();
    make_kept(KEPT);
    assert_true(free_bytes() <= before - KEPT);
    assert_fine(object_reserve(pool, "kept", KEPT / 2));
    assert_true(free_bytes() > before - KEPT);
    assert_fine(object_resize(pool, "kept", 4 * MIB, true));
    assert_int_equal(look("kept").reserved, 4 * MIB);
    assert_fine(object_delete(pool, "kept", false));
    assert_int_equal(reserved(), 0);
    assert_fine(object_restore(pool, "kept", NULL));
    assert_int_equal(look("kept").reserved, 0);
    assert_fine(object_reserve(pool, "kept", OBJECT_RESERVE_FULL));
    assert_int_equal(look("kept").reserved, 4 * MIB);
    assert_fine(object_delete(pool, "kept", true));
    assert_int_equal(reserved(), 0);
}

static void what_is_reserved_as_a_whole_grows_with_the_object(void **context)
{
    struct uuid uuid;
    (void)context;
    assert_fine(object_create_reserved(pool, "kept", 8 * MIB, OBJECT_RESERVE_FULL, &uuid));
    assert_fine(object_resize(pool, "kept", 16 * MIB, false));
    assert_int_equal(look("kept").reserved, 16 * MIB);
    assert_refused(object_resize(pool, "kept", GIB, false), ERROR_NO_SPACE, "fit");
    assert_int_equal(look("kept").size, 16 * MIB);
    assert_fine(object_reserve(pool, "kept", 8 * MIB));
    assert_fine(object_resize(pool, "kept", GIB, false));
    assert_int_equal(look("kept").reserved, 8 * MIB);
}

static void a_trim_makes_room_to_write_again(void **context)
{
    (void)context;
    make_kept(KEPT);
    write_all("kept", KEPT, 1);
    fill_others();
    for (unsigned round = 0; round < 3; round++) {
        trim_blocks("kept", 0, KEPT / COFFER_BLOCK);
        publish();
        publish();
        uint64_t block = (2 + round) << 21;
        fill_until_full("filler", &block, 1);
        write_all("kept", KEPT, 2 + round);
    }
}

static void a_clone_has_nothing_reserved(void **context)
{
    struct uuid uuid;
    (void)context;
    make_kept(8 * MIB);
    assert_fine(object_clone(pool, "kept", "copy", &uuid));
    assert_int_equal(look("copy").reserved, 0);
    assert_int_equal(look("kept").reserved, 8 * MIB);
}

/* ---- across ends ----------------------------------------------------------------------------------------------------- */

static void reopened(bool crash)
{
    make_kept(KEPT);
    write_all("kept", KEPT / 2, 1);
    fill_others();
    pool_reopen(crash);
    assert_int_equal(look("kept").reserved, KEPT);
    uint64_t block = 1 << 20;
    assert_true(fill_until_full("filler", &block, 1) < 16 * MIB / COFFER_BLOCK);
    write_all("kept", KEPT, 2);
    assert_noise("kept", 9, 2);
}

static void a_reservation_holds_after_a_restart(void **context)
{
    (void)context;
    reopened(false);
}

static void a_reservation_holds_after_a_crash(void **context)
{
    (void)context;
    reopened(true);
}

#define POOL_TEST(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(a_reservation_that_cannot_be_is_refused),
        POOL_TEST(a_reservation_that_does_not_fit_is_refused_and_says_what_does),
        POOL_TEST(a_snapshot_that_would_break_a_promise_is_refused),
        POOL_TEST(a_reserved_object_is_written_when_others_are_refused),
        POOL_TEST(a_reservation_holds_for_scattered_blocks),
        POOL_TEST(what_is_stored_counts_against_the_reservation),
        POOL_TEST(a_reserved_object_is_overwritten_for_ever),
        POOL_TEST(what_compressed_well_may_come_not_to),
        POOL_TEST(after_a_snapshot_all_can_be_written_once_more),
        POOL_TEST(a_snapshot_that_fails_holds_nothing_more),
        POOL_TEST(who_finds_the_pool_full_is_told_that),
        POOL_TEST(what_takes_no_space_is_done_beside_what_finds_none),
        POOL_TEST(what_is_reserved_as_a_whole_can_be_written_again_and_for_the_first_time_at_once),
        POOL_TEST(what_was_cut_off_does_not_count_against_the_promise),
        POOL_TEST(others_overwrite_in_a_pool_that_is_full_of_promises),
        POOL_TEST(what_is_stored_counts_that_was_published_while_it_was_asked),
        POOL_TEST(what_a_snapshot_holds_is_not_let_go_of_by_a_publish_before_its_commit),
        POOL_TEST(what_a_failed_snapshot_held_is_let_go_of),
        POOL_TEST(what_was_reserved_comes_back),
        POOL_TEST(what_is_reserved_as_a_whole_grows_with_the_object),
        POOL_TEST(a_trim_makes_room_to_write_again),
        POOL_TEST(a_clone_has_nothing_reserved),
        POOL_TEST(a_reservation_holds_after_a_restart),
        POOL_TEST(a_reservation_holds_after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
