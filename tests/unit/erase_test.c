/* Erasing a pool: what proves that it is this one, what is gone afterwards, and what happens where it is cut short. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "crypto/provider_look.h"
#include "engine/pool/erase_note.h"
#include "tests/unit/devices_fixture.h"

static char key_path[256];

static int setup_sealed(const char *seal, const char *passphrase)
{
    struct pool_open_options options = {.memory = FIXTURE_MEMORY, .passphrase = passphrase,
                                        .passphrase_size = passphrase ? strlen(passphrase) : 0};
    devices_setup(seal, passphrase);
    assert_fine(pool_open(fixture_directory, &options, &pool));
    snprintf(key_path, sizeof key_path, "%s", pool->conf->provider->path);
    assert_fine(pool_close(pool));
    pool = NULL;
    return 0;
}

static int setup_plain(void **context) { (void)context; devices_setup(NULL, NULL); return 0; }
static int setup(void **context) { (void)context; return setup_sealed("file", NULL); }
static int setup_passphrase(void **context) { (void)context; return setup_sealed("passphrase", "correct horse"); }

static bool is_empty(const char *path)
{
    AUTO_FREE uint8_t *bytes = malloc(FIXTURE_SIZE);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(descriptor, bytes, FIXTURE_SIZE, 0), FIXTURE_SIZE);
    close(descriptor);
    return memory_is_zero(bytes, FIXTURE_SIZE);
}

static enum error try_erase(const struct pool_erase_options *options, json_t **certificate)
{
    char *text = NULL;
    error_forget();
    enum error error = pool_erase(fixture_directory, options, &text);
    *certificate = text ? json_loads(text, 0, NULL) : NULL;
    assert_int_equal(*certificate == NULL, error != ERROR_NONE);
    free(text);
    return error;
}

static void assert_untouched(void)
{
    assert_int_equal(access(key_path, F_OK), 0);
    for (size_t i = 0; i < DEVICES; i++)
        assert_false(is_empty(paths[i]));
}

static void a_wrong_passphrase_erases_nothing(void **state)
{
    (void)state;
    json_t *certificate;
    assert_int_equal(try_erase(&(struct pool_erase_options){.passphrase = "wrong", .passphrase_size = 5}, &certificate),
                     ERROR_WRONG_KEY);
    assert_int_equal(try_erase(&(struct pool_erase_options){0}, &certificate), ERROR_LOCKED);
    assert_untouched();
    assert_fine(try_erase(&(struct pool_erase_options){.passphrase = "correct horse", .passphrase_size = 13}, &certificate));
    json_decref(certificate);
    assert_int_equal(access(key_path, F_OK), -1);
}

static void a_lost_key_erases_nothing_until_it_is_said(void **state)
{
    (void)state;
    json_t *certificate;
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(try_erase(&(struct pool_erase_options){0}, &certificate), ERROR_KEY_ABSENT);
    assert_non_null(strstr(error_sentence(ERROR_KEY_ABSENT), "--without-key"));
    assert_false(is_empty(paths[0]));
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
    for (size_t i = 0; i < DEVICES; i++)
        assert_true(is_empty(paths[i]));
    json_t *slots = json_object_get(json_array_get(json_object_get(certificate, "devices"), 0), "key_slots");
    assert_true(json_is_array(slots));
    assert_int_equal(json_array_size(slots), 0); /* nobody knows them */
    json_decref(certificate);
}

static void another_disk_in_its_place_is_never_written(void **state)
{
    (void)state;
    json_t *certificate;
    static const char text[] = "somebody's data";
    int descriptor = open(paths[1], O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(descriptor, 0), 0);
    assert_int_equal(ftruncate(descriptor, (off_t)FIXTURE_SIZE), 0);
    assert_int_equal(pwrite(descriptor, text, sizeof text, 5000), sizeof text);
    close(descriptor);
    assert_int_equal(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate), ERROR_FOREIGN);
    assert_untouched();
}

static void two_disks_that_changed_places_are_refused(void **state)
{
    (void)state;
    json_t *certificate;
    char aside[200];
    snprintf(aside, sizeof aside, "%s.aside", paths[0]);
    assert_int_equal(rename(paths[0], aside), 0);
    assert_int_equal(rename(paths[1], paths[0]), 0);
    assert_int_equal(rename(aside, paths[1]), 0);
    assert_int_equal(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate), ERROR_FOREIGN);
    assert_untouched();
}

static void a_pool_in_use_is_refused(void **state)
{
    (void)state;
    json_t *certificate;
    assert_fine(pool_try_open());
    assert_int_equal(try_erase(&(struct pool_erase_options){0}, &certificate), ERROR_IN_USE);
    assert_int_equal(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate), ERROR_IN_USE);
    assert_fine(pool_close(pool));
    pool = NULL;
    assert_untouched();
}

static bool certificate_has(const json_t *certificate, const char *words)
{
    const json_t *line;
    size_t i;
    json_array_foreach((json_t *)json_object_get(certificate, "could_open_what_is_left"), i, line)
        if (strstr(json_string_value(line), words))
            return true;
    return false;
}

static void what_repairs_kept_goes_too(void **state)
{
    static const struct { const char *name; bool goes; } files[] = {
        {"evidence-0123456789abcdef", true},  {"evidence-fedcba9876543210-2", true}, {"evidence-of-mine", false},
        {"evidence-0123456789abcdef-1", false}, {"evidence-0123456789abcdef.bak", false},
    };
    (void)state;
    json_t *certificate;
    char path[256];
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "%s/%s", fixture_directory, files[i].name);
        int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_int_equal(write(descriptor, "x", 1), 1);
        close(descriptor);
    }
    assert_fine(try_erase(&(struct pool_erase_options){0}, &certificate));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(path, sizeof path, "%s/%s", fixture_directory, files[i].name);
        assert_int_equal(access(path, F_OK) != 0, files[i].goes);
        snprintf(path, sizeof path, "/%s,", files[i].name);
        assert_int_equal(certificate_has(certificate, path), files[i].goes);
    }
    assert_true(certificate_has(certificate, "--evidence DIR"));
    json_decref(certificate);
}

/* CRC-32 of the fixed part from byte 16 on, its MACs taken as zero. */
static uint32_t crc_of(const uint8_t *image)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 16; i < sizeof(struct superblock_format); i++) {
        crc ^= i < 16 + 64 ? 0 : image[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) : crc >> 1;
    }
    return ~crc;
}

/* What is in the clear of a copy is anybody's to write: the end of the true copies is found all the same. */
static void a_superblock_that_lies_about_its_size_hides_nothing(void **state)
{
    (void)state;
    json_t *certificate;
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    struct superblock_format *fixed = (struct superblock_format *)image;
    int descriptor = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(descriptor, image, SUPERBLOCK_SIZE, 0), SUPERBLOCK_SIZE);
    fixed->epoch = le64_make(le64_get(fixed->epoch) + 1000);
    fixed->slot_count = le32_make(le32_get(fixed->slot_count) - 2);
    fixed->device_size = le64_make(le64_get(fixed->device_size) - (8 << 20));
    fixed->crc = le32_make(crc_of(image));
    assert_int_equal(pwrite(descriptor, image, SUPERBLOCK_SIZE, 0), SUPERBLOCK_SIZE);
    close(descriptor);
    assert_int_equal(unlink(key_path), 0);
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
    for (size_t i = 0; i < DEVICES; i++)
        assert_true(is_empty(paths[i]));
    json_decref(certificate);
}

/* Nothing vouches for what coffer.conf names. */
static void a_file_that_is_no_key_of_this_pool_is_left_alone(void **state)
{
    (void)state;
    json_t *certificate;
    char victim[300], next[320], conf_path[300];
    static const char text[] = "somebody's thesis";
    snprintf(victim, sizeof victim, "%s/thesis", fixture_root);
    snprintf(next, sizeof next, "%s.next-notes", victim);
    snprintf(conf_path, sizeof conf_path, "%s/coffer.conf", fixture_directory);
    for (size_t i = 0; i < 2; i++) {
        FILE *file = fopen(i ? next : victim, "we");
        assert_true(fputs(text, file) >= 0);
        fclose(file);
    }
    FILE *conf = fopen(conf_path, "ae");
    assert_true(fprintf(conf, "\n[provider old]\nid = 33333333-3333-4333-8333-333333333333\ntype = native\nseal = file\n"
                              "path = %s\n", victim) > 0);
    fclose(conf);
    const char *named = victim;
    assert_fine(try_erase(&(struct pool_erase_options){.key_files = &named, .key_file_count = 1}, &certificate));
    for (size_t i = 0; i < 2; i++) {
        char found[64] = "";
        FILE *file = fopen(i ? next : victim, "re");
        assert_non_null(file);
        assert_non_null(fgets(found, sizeof found, file));
        fclose(file);
        assert_string_equal(found, text);
    }
    json_t *keys = json_object_get(certificate, "keys");
    assert_true(json_is_true(json_object_get(json_array_get(keys, 0), "destroyed")));
    assert_false(json_is_true(json_object_get(json_array_get(keys, 1), "destroyed")));
    json_decref(certificate);
}

/* A copy of this pool has the same path and the same provider in its conf. */
static void a_key_file_outside_of_the_pool_directory_is_to_be_named(void **state)
{
    (void)state;
    json_t *certificate;
    char outside[300], conf_path[300];
    snprintf(outside, sizeof outside, "%s/stick.key", fixture_root);
    snprintf(conf_path, sizeof conf_path, "%s/coffer.conf", fixture_directory);
    assert_int_equal(rename(key_path, outside), 0);
    assert_int_equal(symlink(outside, key_path), 0); /* where the bytes are is what counts */
    const char *wrong = conf_path, *right = outside;
    assert_int_equal(try_erase(&(struct pool_erase_options){.key_files = &wrong, .key_file_count = 1}, &certificate), ERROR_INVALID);
    assert_untouched();
    assert_fine(try_erase(&(struct pool_erase_options){0}, &certificate));
    json_t *key = json_array_get(json_object_get(certificate, "keys"), 0);
    assert_false(json_is_true(json_object_get(key, "destroyed")));
    assert_non_null(strstr(json_string_value(json_object_get(key, "why_not")), "--key-file"));
    assert_true(certificate_has(certificate, "the key file itself"));
    json_decref(certificate);
    struct uuid provider;
    const char *seal;
    uint8_t kcv[KCV_SIZE];
    assert_fine(provider_file_look(outside, &provider, &seal, kcv)); /* whole */
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true, .key_files = &right, .key_file_count = 1}, &certificate));
    assert_int_equal(access(outside, F_OK), -1);
    assert_false(certificate_has(certificate, "the key file itself"));
    json_decref(certificate);
}

/* Their bytes are those of another name. */
static void a_key_file_with_another_name_is_told(void **state)
{
    (void)state;
    json_t *certificate;
    char other[300];
    snprintf(other, sizeof other, "%s.link", key_path);
    assert_int_equal(link(key_path, other), 0);
    assert_fine(try_erase(&(struct pool_erase_options){0}, &certificate));
    json_t *key = json_array_get(json_object_get(certificate, "keys"), 0);
    assert_false(json_is_true(json_object_get(key, "destroyed")));
    json_decref(certificate);
}

static void an_erased_pool_has_neither_superblocks_nor_keys(void **state)
{
    (void)state;
    json_t *certificate, *device;
    char next[300];
    size_t i;
    snprintf(next, sizeof next, "%s.next-7", key_path); /* of a change that a crash ended */
    int descriptor = open(next, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    uint8_t bytes[4096];
    int present = open(key_path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(present, bytes, sizeof bytes);
    close(present);
    assert_int_equal(write(descriptor, bytes, (size_t)size), size);
    close(descriptor);
    char unfinished[300];
    snprintf(unfinished, sizeof unfinished, "%s.new", key_path); /* of a seal that a crash cut short */
    descriptor = open(unfinished, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(descriptor, bytes, (size_t)size), size);
    close(descriptor);
    char recovery[300];
    snprintf(recovery, sizeof recovery, "%s/recovery.json", fixture_directory);
    fclose(fopen(recovery, "we"));
    assert_fine(try_erase(&(struct pool_erase_options){0}, &certificate));
    assert_int_equal(access(key_path, F_OK), -1);
    assert_int_equal(access(next, F_OK), -1);
    assert_int_equal(access(unfinished, F_OK), -1);
    assert_int_equal(access(recovery, F_OK), -1);
    json_array_foreach(json_object_get(certificate, "devices"), i, device)
    {
        assert_true(is_empty(paths[i]));
        assert_string_equal(json_string_value(json_object_get(device, "path")), paths[i]);
        assert_int_equal(json_integer_value(json_object_get(device, "superblock_copies_overwritten")), SUPERBLOCK_COPIES);
        assert_true(json_is_true(json_object_get(device, "discarded")));
        assert_int_equal(json_array_size(json_object_get(device, "key_slots")), 3);
    }
    assert_int_equal(i, DEVICES);
    assert_true(json_array_size(json_object_get(certificate, "could_open_what_is_left")) >= 2);
    assert_true(json_integer_value(json_object_get(json_object_get(certificate, "audit"), "count")) >= 2);
    json_decref(certificate);
    assert_true(pool_try_open() != ERROR_NONE);
}

/* After the first device: what is left can be erased, by its ids. */
static void what_was_cut_short_is_gone_on_with(void **state)
{
    (void)state;
    json_t *certificate;
    int descriptor = open(paths[0], O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(descriptor, 0), 0);
    assert_int_equal(ftruncate(descriptor, (off_t)FIXTURE_SIZE), 0);
    close(descriptor);
    assert_true(try_erase(&(struct pool_erase_options){0}, &certificate) != ERROR_NONE);
    assert_false(is_empty(paths[1]));
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
    assert_true(is_empty(paths[1]));
    const char *found = json_string_value(
        json_object_get(json_array_get(json_object_get(certificate, "devices"), 0), "found"));
    assert_string_equal(found, "empty, erased before");
    json_decref(certificate);
}

/* ---- a disk that is larger than its superblocks say, as after ddrescue ------------------------------------------------------ */

#define GROWN ((off_t)(FIXTURE_SIZE + 4 * AREA_SIZE))
#define PARTS 3

static const off_t parts[PARTS] = {0, FIXTURE_SIZE - AREA_SIZE, GROWN - AREA_SIZE};

struct image {
    uint8_t *parts[PARTS];
};

static struct image image_read(const char *path)
{
    struct image image;
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(file, GROWN), 0);
    for (size_t i = 0; i < PARTS; i++) {
        image.parts[i] = memory_aligned(AREA_SIZE);
        assert_int_equal(pread(file, image.parts[i], AREA_SIZE, parts[i]), AREA_SIZE);
    }
    close(file);
    return image;
}

static void image_put(const char *path, const struct image *image)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < PARTS; i++)
        assert_int_equal(pwrite(file, image->parts[i], AREA_SIZE, parts[i]), AREA_SIZE);
    close(file);
}

static void image_free(struct image *image)
{
    for (size_t i = 0; i < PARTS; i++)
        free(image->parts[i]);
}

static bool is_overwritten(const char *path)
{
    struct image image = image_read(path);
    bool zero = true;
    for (size_t i = 0; i < PARTS; i++)
        zero = zero && memory_is_zero(image.parts[i], AREA_SIZE);
    image_free(&image);
    return zero;
}

/* From a write on nothing reaches the devices, but for half of that one where it is of several blocks. */
static int write_failing;
static bool torn, torn_at_its_end;
enum error __wrap_device_write(struct device *device, uint64_t offset, void *buffer, size_t size, unsigned flags);
enum error __real_device_write(struct device *device, uint64_t offset, void *buffer, size_t size, unsigned flags);
enum error __wrap_device_write(struct device *device, uint64_t offset, void *buffer, size_t size, unsigned flags)
{
    if (write_failing == 0 || --write_failing > 0)
        return __real_device_write(device, offset, buffer, size, flags);
    write_failing = 1;
    size_t half = size / 2 / BLOCK_SIZE * BLOCK_SIZE;
    size_t first = torn_at_its_end ? half : 0;
    if (torn && half)
        assert_fine(__real_device_write(device, offset + first, (uint8_t *)buffer + first, half, flags));
    torn = false;
    return error_explain(ERROR_IO, "the machine stopped");
}

/* A device that does not discard: what is not overwritten stays. */
static bool discards_nothing;
enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size);
enum error __real_device_discard(struct device *device, uint64_t offset, uint64_t size);
enum error __wrap_device_discard(struct device *device, uint64_t offset, uint64_t size)
{
    return discards_nothing ? error_explain(ERROR_UNSUPPORTED, "it does not discard") : __real_device_discard(device, offset, size);
}

static void whatever_write_is_the_last_another_run_overwrites_all(void **state)
{
    struct image images[DEVICES];
    json_t *certificate;
    (void)state;
    for (size_t i = 0; i < DEVICES; i++)
        images[i] = image_read(paths[i]);
    assert_int_equal(unlink(key_path), 0);
    enum error error = ERROR_IO;
    int writes = 0;
    discards_nothing = true;
    for (unsigned end = 0; end < 2; end++, error = ERROR_IO)
        for (writes = 1; error; writes++) {
            for (size_t i = 0; i < DEVICES; i++)
                image_put(paths[i], &images[i]);
            write_failing = writes;
            torn = true;
            torn_at_its_end = end;
            error = try_erase(&(struct pool_erase_options){.without_key = true}, &certificate);
            bool failed = write_failing == 1 && error == ERROR_IO;
            assert_true(failed || !error);
            write_failing = 0;
            if (error)
                assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
            json_decref(certificate);
            for (size_t i = 0; i < DEVICES; i++)
                assert_true(is_overwritten(paths[i]));
        }
    discards_nothing = false;
    assert_true(writes > 2 * PARTS * DEVICES);
    for (size_t i = 0; i < DEVICES; i++)
        image_free(&images[i]);
}

/* Nobody looked for what may stand at an end of which nothing is known. */
static void of_a_device_that_was_empty_no_copies_are_claimed(void **state)
{
    json_t *certificate;
    (void)state;
    struct image image = image_read(paths[0]);
    memset(image.parts[0], 0, AREA_SIZE);
    image_put(paths[0], &image);
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
    for (size_t i = 0; i < DEVICES; i++) {
        const json_t *device = json_array_get(json_object_get(certificate, "devices"), i);
        assert_int_equal(json_object_get(device, "superblock_copies_overwritten") == NULL, i == 0);
        assert_int_equal(json_integer_value(json_object_get(device, "areas_overwritten")), 2);
    }
    assert_true(certificate_has(certificate, "which was empty at both ends: if it was copied from a smaller disk"));
    json_decref(certificate);
    image_free(&image);
}

static json_t *erase_undiscarded(void)
{
    json_t *certificate;
    discards_nothing = true;
    assert_fine(try_erase(&(struct pool_erase_options){0}, &certificate));
    discards_nothing = false;
    for (size_t i = 0; i < DEVICES; i++) {
        const json_t *device = json_array_get(json_object_get(certificate, "devices"), i);
        assert_true(json_is_false(json_object_get(device, "discarded")));
    }
    return certificate;
}

static void a_device_that_does_not_discard_is_told(void **state)
{
    (void)state;
    json_t *certificate = erase_undiscarded();
    assert_false(certificate_has(certificate, "without any key"));
    json_decref(certificate);
}

static void what_was_not_encrypted_and_not_discarded_can_be_read(void **state)
{
    (void)state;
    json_t *certificate = erase_undiscarded();
    for (size_t i = 0; i < DEVICES; i++) {
        char words[400];
        snprintf(words, sizeof words, "%s, without any key: it was not discarded", paths[i]);
        assert_true(certificate_has(certificate, words));
    }
    json_decref(certificate);
}

static void notes_put(const char *path, const struct erase_note *note)
{
    const uint64_t offsets[] = {0, (uint64_t)parts[2]};
    int file = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        struct erase_note_format format;
        assert_fine(erase_note_encode(note, offsets[i], GROWN, &format));
        assert_int_equal(pwrite(file, &format, sizeof format, (off_t)offsets[i]), sizeof format);
    }
    close(file);
}

/* Begun with, or by `coffer device erase`: of this pool's device, and of one that nobody uses since. */
static void the_note_of_another_device_is_no_way_in(void **state)
{
    json_t *certificate;
    (void)state;
    assert_fine(pool_try_open());
    struct erase_note note = {.known = true, .pool = pool->conf->pool, .device = pool->conf->groups[0].devices[0].id, .begun = 1};
    assert_fine(pool_close(pool));
    pool = NULL;
    struct erase_note other = note, unknown = note;
    other.device.bytes[0] ^= 1;
    unknown.known = false;
    struct image image = image_read(paths[0]);
    for (size_t i = 0; i < PARTS; i++)
        memset(image.parts[i], 0, AREA_SIZE);
    image_put(paths[0], &image);
    for (unsigned i = 0; i < 2; i++) {
        notes_put(paths[0], i ? &other : &unknown);
        assert_int_equal(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate), ERROR_FOREIGN);
        assert_false(is_overwritten(paths[0]));
        assert_false(is_overwritten(paths[1]));
    }
    notes_put(paths[0], &note);
    int file = open(paths[0], O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(file, "\x53\xef", 2, 1024 + 56), 2); /* ext2's magic */
    assert_int_equal(pwrite(file, "\x01\0\0\0", 4, 1024 + 76), 4);
    assert_int_equal(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "carries something else by now"));
    image_put(paths[0], &image);
    notes_put(paths[0], &note);
    assert_fine(try_erase(&(struct pool_erase_options){.without_key = true}, &certificate));
    const json_t *device = json_array_get(json_object_get(certificate, "devices"), 0);
    assert_string_equal(json_string_value(json_object_get(device, "found")), "by the note of its erase, which was begun before");
    assert_null(json_object_get(device, "superblock_copies_overwritten"));
    assert_true(is_overwritten(paths[0]) && is_overwritten(paths[1]));
    json_decref(certificate);
    close(file);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_passphrase_erases_nothing, setup_passphrase, devices_teardown),
        cmocka_unit_test_setup_teardown(a_lost_key_erases_nothing_until_it_is_said, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(another_disk_in_its_place_is_never_written, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(two_disks_that_changed_places_are_refused, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_pool_in_use_is_refused, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_repairs_kept_goes_too, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_superblock_that_lies_about_its_size_hides_nothing, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_key_of_this_pool_is_left_alone, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_key_file_outside_of_the_pool_directory_is_to_be_named, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_key_file_with_another_name_is_told, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(an_erased_pool_has_neither_superblocks_nor_keys, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_was_cut_short_is_gone_on_with, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(whatever_write_is_the_last_another_run_overwrites_all, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(of_a_device_that_was_empty_no_copies_are_claimed, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(a_device_that_does_not_discard_is_told, setup, devices_teardown),
        cmocka_unit_test_setup_teardown(what_was_not_encrypted_and_not_discarded_can_be_read, setup_plain, devices_teardown),
        cmocka_unit_test_setup_teardown(the_note_of_another_device_is_no_way_in, setup, devices_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
