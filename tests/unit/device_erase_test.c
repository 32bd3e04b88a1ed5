/* Erasing one device: what was locked and asked about is what is erased, and nothing else, whatever has its path by then. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/pool/erase_note.h"
#include "engine/pool/superblock_copy.h"
#include "tests/unit/devices_fixture.h"

static char link_path[160];

static int setup(void **state)
{
    (void)state;
    devices_setup(NULL, NULL);
    snprintf(link_path, sizeof link_path, "%s/link", fixture_root);
    return symlink(paths[0], link_path);
}

static bool carries_superblock(const char *path)
{
    struct superblock_copy copy;
    if (superblock_copy_read(path, &copy) != ERROR_NONE) {
        error_forget();
        return false;
    }
    free(copy.bytes);
    return true;
}

struct answer {
    enum error error;
    bool flip; /* the link leads to the other device by the time of the answer */
    enum error keep;
    bool plain; /* it carries no superblock any more */
    struct pool_device_told told;
    struct stat status;
    unsigned asked;
    char *certificate;
};

static enum error answer(void *context, const struct pool_device_told *told)
{
    struct answer *answer = context;
    struct stat first;
    assert_int_equal(stat(paths[0], &first), 0);
    assert_true(first.st_dev == told->status->st_dev && first.st_ino == told->status->st_ino);
    assert_true(carries_superblock(paths[0]) == !answer->plain);
    answer->asked++;
    answer->told = *told;
    if (answer->flip) {
        assert_int_equal(unlink(link_path), 0);
        assert_int_equal(symlink(paths[1], link_path), 0);
    }
    return answer->error;
}

static enum error keep(void *context, const char *certificate)
{
    struct answer *answer = context;
    free(answer->certificate);
    answer->certificate = strdup(certificate);
    return answer->keep;
}

static enum error erase(const char *path, struct answer *told)
{
    return pool_device_erase(path, &(struct pool_device_caller){answer, keep, told});
}

static void what_was_asked_about_is_erased(void **state)
{
    struct answer told = {.flip = true};
    struct superblock_copy copy;
    (void)state;
    assert_fine(superblock_copy_read(paths[0], &copy));
    free(copy.bytes);
    assert_fine(erase(link_path, &told));
    assert_int_equal(told.asked, 1);
    assert_true(told.told.known && uuid_equal(told.told.pool, copy.pool) && uuid_equal(told.told.device, copy.device));
    assert_true(told.told.begun == 0);
    assert_non_null(strstr(told.certificate, "\"begun_by_the_note\": \"\""));
    assert_false(carries_superblock(paths[0]));
    assert_true(carries_superblock(paths[1]));
    assert_non_null(strstr(told.certificate, "\"finished_in_a_later_run\": false"));
    assert_non_null(strstr(told.certificate, "files evidence-"));
    free(told.certificate);
}

static void a_refusal_changes_nothing(void **state)
{
    struct answer told = {.error = ERROR_BUSY};
    (void)state;
    assert_int_equal(erase(paths[0], &told), ERROR_BUSY);
    assert_true(carries_superblock(paths[0]));
    assert_null(told.certificate);
}

/* Zeros at both ends are no proof that it ever was Coffer's. */
static void what_has_no_superblock_left_is_left_alone(void **state)
{
    struct answer told = {0};
    char data[16] = "";
    (void)state;
    assert_int_equal(unlink(paths[0]), 0);
    assert_fine(device_create_file(paths[0], FIXTURE_SIZE));
    int file = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(file, "another's", 9, FIXTURE_SIZE / 2), 9);
    assert_int_equal(erase(paths[0], &told), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "was it erased before?"));
    assert_int_equal(pread(file, data, 9, FIXTURE_SIZE / 2), 9);
    assert_string_equal(data, "another's");
    close(file);
    assert_null(told.certificate);
}

static bool is_zero(int file, off_t offset)
{
    uint8_t bytes[BLOCK_SIZE];
    assert_int_equal(pread(file, bytes, sizeof bytes, offset), sizeof bytes);
    return memory_is_zero(bytes, sizeof bytes);
}

#define TAIL  ((off_t)(FIXTURE_SIZE - AREA_SIZE))
#define STUFF "what a crash kept from being discarded"

/* All that was overwritten is, notes at both ends; the middle as before. */
static int cut_short(void)
{
    struct answer told = {.keep = ERROR_IO};
    assert_int_equal(erase(paths[0], &told), ERROR_IO);
    free(told.certificate);
    assert_false(carries_superblock(paths[0]));
    int file = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(file, STUFF, sizeof STUFF, FIXTURE_SIZE / 2), sizeof STUFF);
    assert_false(is_zero(file, 0));
    assert_false(is_zero(file, TAIL));
    return file;
}

static enum error signatures_error;
enum error __wrap_device_check_signatures(const struct device *device);
enum error __real_device_check_signatures(const struct device *device);
enum error __wrap_device_check_signatures(const struct device *device)
{
    return signatures_error ? error_explain(signatures_error, "they cannot be read") : __real_device_check_signatures(device);
}

static bool discards_nothing;
enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size);
enum error __real_device_discard(struct device *device, uint64_t offset, uint64_t size);
enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size)
{
    return discards_nothing ? error_explain(ERROR_UNSUPPORTED, "it does not discard") : __real_device_discard(device, offset, size);
}

static void a_device_that_does_not_discard_is_told(void **state)
{
    struct answer told = {0};
    (void)state;
    discards_nothing = true;
    assert_fine(erase(paths[0], &told));
    discards_nothing = false;
    assert_non_null(strstr(told.certificate, "\"discarded\": false"));
    assert_non_null(strstr(told.certificate, "read back; device NOT discarded; it was NOT encrypted"));
    assert_non_null(strstr(told.certificate, "this device, without any key: it was not discarded"));
    free(told.certificate);
}

/* What could not be looked at is nobody else's for that. */
static void a_disk_that_cannot_be_looked_at_is_told_so(void **state)
{
    struct answer told = {.plain = true};
    (void)state;
    int file = cut_short();
    signatures_error = ERROR_IO;
    assert_int_equal(erase(paths[0], &told), ERROR_IO);
    signatures_error = ERROR_NONE;
    assert_non_null(strstr(error_sentence(ERROR_IO), "cannot be told: they cannot be read"));
    assert_int_equal(told.asked, 0);
    close(file);
}

static void what_was_cut_short_is_ended_by_another_run(void **state)
{
    struct answer refused = {.error = ERROR_UNCONFIRMED, .plain = true}, told = {.plain = true};
    struct superblock_copy copy;
    (void)state;
    assert_fine(superblock_copy_read(paths[0], &copy));
    free(copy.bytes);
    int file = cut_short();
    for (off_t at = BLOCK_SIZE; at < (off_t)AREA_SIZE; at += BLOCK_SIZE) /* a torn write: no copy and no zeros */
        assert_int_equal(pwrite(file, STUFF, sizeof STUFF, at), sizeof STUFF);
    assert_int_equal(erase(paths[0], &refused), ERROR_UNCONFIRMED);
    assert_false(is_zero(file, FIXTURE_SIZE / 2));
    assert_fine(erase(paths[0], &told));
    assert_true(told.told.begun != 0 && told.told.known);
    assert_true(uuid_equal(told.told.pool, copy.pool) && uuid_equal(told.told.device, copy.device));
    assert_non_null(strstr(told.certificate, "\"finished_in_a_later_run\": true"));
    for (off_t at = 0; at < (off_t)AREA_SIZE; at += BLOCK_SIZE) {
        assert_true(is_zero(file, at));
        assert_true(is_zero(file, TAIL + at));
    }
    assert_true(is_zero(file, FIXTURE_SIZE / 2));
    close(file);
    free(told.certificate);
    told.certificate = NULL;
    assert_int_equal(erase(paths[0], &told), ERROR_FOREIGN);
    assert_null(told.certificate);
}

/* While a copy is whole it says what the device is; the note says since when. */
static void a_crash_between_the_notes_and_the_rest_is_gone_on_with(void **state)
{
    struct answer told = {0};
    uint8_t *copies = memory_aligned(2 * SUPERBLOCK_SIZE);
    (void)state;
    int file = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(file, copies, 2 * SUPERBLOCK_SIZE, 0), 2 * SUPERBLOCK_SIZE);
    close(file);
    file = cut_short();
    assert_int_equal(pwrite(file, copies + SUPERBLOCK_SIZE, SUPERBLOCK_SIZE, SUPERBLOCK_SIZE), SUPERBLOCK_SIZE);
    assert_fine(erase(paths[0], &told));
    assert_true(told.told.begun == 0 && told.told.known); /* the question is that of any device of a pool */
    assert_non_null(strstr(told.certificate, "\"finished_in_a_later_run\": true"));
    assert_non_null(strstr(told.certificate, "\"begun_by_the_note\": \"2"));
    assert_true(is_zero(file, 0) && is_zero(file, SUPERBLOCK_SIZE) && is_zero(file, FIXTURE_SIZE / 2));
    close(file);
    free(copies);
    free(told.certificate);
}

#define GROWN (FIXTURE_SIZE + 4 * AREA_SIZE)

/* On a device that grew since its superblocks were written, over the first copy of its head. */
static int notes_forge(const struct erase_note *note)
{
    const uint64_t offsets[] = {0, GROWN - AREA_SIZE};
    int file = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(file, (off_t)GROWN), 0);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        struct erase_note_format format;
        assert_fine(erase_note_encode(note, offsets[i], GROWN, &format));
        assert_int_equal(pwrite(file, &format, sizeof format, (off_t)offsets[i]), sizeof format);
    }
    return file;
}

/* Notes that name no other end: what a crash leaves of this run must name it all the same. */
static void ends_that_superblocks_state_go_into_the_notes(void **state)
{
    struct answer told = {.keep = ERROR_IO}, again = {.plain = true};
    uint8_t *tail = memory_aligned(AREA_SIZE);
    (void)state;
    int file = notes_forge(&(struct erase_note){.begun = 1});
    assert_int_equal(pread(file, tail, AREA_SIZE, TAIL), AREA_SIZE);
    assert_int_equal(erase(paths[0], &told), ERROR_IO);
    assert_non_null(strstr(told.certificate, "overwritten once in all copies"));
    assert_non_null(strstr(told.certificate, "\"superblock_copies_overwritten\": 4"));
    assert_true(is_zero(file, TAIL));
    assert_int_equal(pwrite(file, tail, AREA_SIZE, TAIL), AREA_SIZE); /* as if the crash came before */
    assert_fine(erase(paths[0], &again));
    assert_true(is_zero(file, TAIL) && is_zero(file, TAIL + SUPERBLOCK_SIZE));
    assert_non_null(strstr(again.certificate, "overwritten once in the places that the note names"));
    assert_non_null(strstr(again.certificate, "\"areas_overwritten\": 3"));
    assert_null(strstr(again.certificate, "superblock_copies_overwritten"));
    close(file);
    free(tail);
    free(told.certificate);
    free(again.certificate);
}

/* What is told of when it was begun is the note's word, and none where it cannot be. */
static void a_note_of_tomorrow_says_not_when_it_was_begun(void **state)
{
    struct answer told = {.keep = ERROR_IO}, again = {.plain = true}, past = {.plain = true};
    (void)state;
    int file = notes_forge(&(struct erase_note){.begun = clock_seconds() + 86400});
    assert_int_equal(erase(paths[0], &told), ERROR_IO);
    assert_true(told.told.known && told.told.begun == 0);
    assert_non_null(strstr(told.certificate, "\"begun_by_the_note\": \"\""));
    assert_non_null(strstr(told.certificate, "\"finished_in_a_later_run\": true"));
    assert_fine(erase(paths[0], &again)); /* of the run before, by now */
    assert_in_range(again.told.begun, 1, clock_seconds());
    close(file);
    close(notes_forge(&(struct erase_note){.begun = 1}));
    assert_fine(erase(paths[0], &past));
    assert_int_equal(past.told.begun, 1);
    assert_non_null(strstr(past.certificate, "\"begun_by_the_note\": \"1970-01-01T00:00:01Z\""));
    assert_null(strstr(past.certificate, "\"begun\": \"1970"));
    free(told.certificate);
    free(again.certificate);
    free(past.certificate);
}

static void more_ends_than_notes_have_room_for_are_refused(void **state)
{
    struct answer told = {0};
    struct erase_note note = {.begun = 1, .end_count = SUPERBLOCK_COPIES};
    (void)state;
    for (uint32_t i = 0; i < note.end_count; i++)
        note.ends[i] = (8 + i) * AREA_SIZE;
    int file = notes_forge(&note);
    assert_int_equal(erase(paths[0], &told), ERROR_CORRUPT);
    assert_int_equal(told.asked, 0);
    assert_true(carries_superblock(paths[0]));
    note.ends[2] = FIXTURE_SIZE; /* that is the one */
    close(file);
    file = notes_forge(&note);
    assert_fine(erase(paths[0], &told));
    assert_non_null(strstr(told.certificate, "\"areas_overwritten\": 6"));
    assert_true(is_zero(file, TAIL) && is_zero(file, 7 * AREA_SIZE));
    close(file);
    free(told.certificate);
}

/* Somebody else's by now. */
static void what_is_used_anew_is_left_alone(void **state)
{
    struct answer told = {.plain = true};
    uint8_t note[BLOCK_SIZE];
    (void)state;
    int file = cut_short();
    assert_int_equal(pread(file, note, sizeof note, TAIL), sizeof note);
    for (size_t byte = 0; byte < sizeof(struct erase_note_format); byte++) { /* one note is none, nor is one that was changed */
        note[byte] ^= 1;
        assert_int_equal(pwrite(file, note, sizeof note, TAIL), sizeof note);
        note[byte] ^= 1;
        assert_int_equal(erase(paths[0], &told), ERROR_FOREIGN);
    }
    assert_int_equal(pwrite(file, note, sizeof note, TAIL), sizeof note);
    assert_int_equal(pwrite(file, "\x53\xef", 2, 1024 + 56), 2); /* ext2's magic, behind a head that mkfs left */
    assert_int_equal(pwrite(file, "\x01\0\0\0", 4, 1024 + 76), 4);
    assert_int_equal(erase(paths[0], &told), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "carries something else by now"));
    assert_int_equal(told.asked, 0);
    assert_false(is_zero(file, FIXTURE_SIZE / 2));
    close(file);
    int copy = open(paths[1], O_RDWR | O_CLOEXEC); /* a copy elsewhere, on a device of another size */
    assert_int_equal(ftruncate(copy, 0), 0);
    assert_int_equal(ftruncate(copy, (off_t)FIXTURE_SIZE + BLOCK_SIZE), 0);
    assert_int_equal(pwrite(copy, note, sizeof note, 0), sizeof note);
    assert_int_equal(pwrite(copy, note, sizeof note, TAIL + BLOCK_SIZE), sizeof note);
    close(copy);
    assert_int_equal(erase(paths[1], &told), ERROR_FOREIGN);
    assert_null(told.certificate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_asked_about_is_erased, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_changes_nothing, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_has_no_superblock_left_is_left_alone, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_device_that_does_not_discard_is_told, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_cannot_be_looked_at_is_told_so, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_was_cut_short_is_ended_by_another_run, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_crash_between_the_notes_and_the_rest_is_gone_on_with, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(ends_that_superblocks_state_go_into_the_notes, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_note_of_tomorrow_says_not_when_it_was_begun, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(more_ends_than_notes_have_room_for_are_refused, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_is_used_anew_is_left_alone, setup, devices_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
