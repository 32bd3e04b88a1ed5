#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/recovery.h"

static uint8_t recovery_key[KEY_SIZE], key[KEY_SIZE];
static char text[RECOVERY_KEY_TEXT + 8];
static struct recovery recovery;

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < KEY_SIZE; i++) {
        recovery_key[i] = (uint8_t)i;
        key[i] = (uint8_t)(0xc0 + i);
    }
    recovery = (struct recovery){.pool = {{1, 2}}, .provider = {{3, 4}}, .kek_number = 5};
    assert_int_equal(recovery_key_format(recovery_key, text), ERROR_NONE);
    assert_int_equal(recovery_wrap(&recovery, recovery_key, key), ERROR_NONE);
    return 0;
}

static enum error parse(const char *typed)
{
    uint8_t found[KEY_SIZE];
    enum error error = recovery_key_parse(typed, strlen(typed), found);
    if (error == ERROR_NONE)
        assert_memory_equal(found, recovery_key, KEY_SIZE);
    return error;
}

/* By Python: base64.b32encode(bytes(range(32))), and the equation of the check word over its hmac. */
static void a_key_is_base32_in_groups_of_four(void **state)
{
    (void)state;
    assert_int_equal(strlen(text), 69);
    assert_memory_equal(text, "AAAQ-EAYE-AUDA-OCAJ-BIFQ-YDIO-B4IB-CEQT-CQKR-MFYY-DENB-WHA5-DYPQ-OMPQ", 69);
    for (size_t i = 4; i < 69; i += 5)
        assert_int_equal(text[i], '-');
}

static void how_it_is_typed_does_not_matter(void **state)
{
    (void)state;
    char typed[128], *end = typed;
    assert_int_equal(parse(text), ERROR_NONE);
    for (size_t i = 0; i < 69; i++)
        *end++ = text[i] == '-' ? (i % 2 ? ' ' : '\n') : (char)tolower(text[i]);
    strncpy(end, "\r\n", 3);
    assert_int_equal(parse(typed), ERROR_NONE);
}

/* One character that is another, two neighbours that changed places: the check word has 20 bits, and for this key it finds
 * each. */
static void every_slip_is_found(void **state)
{
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    char typed[sizeof text];
    for (size_t i = 0; i < 69; i++) {
        for (const char *c = alphabet; *c != '\0' && text[i] != '-'; c++) {
            memcpy(typed, text, sizeof text);
            typed[i] = *c;
            assert_int_equal(parse(typed), *c == text[i] ? ERROR_NONE : ERROR_INVALID);
        }
        memcpy(typed, text, sizeof text);
        if (i > 0 && text[i] != '-' && text[i - 1] != '-' && text[i] != text[i - 1]) {
            typed[i] = text[i - 1];
            typed[i - 1] = text[i];
            assert_int_equal(parse(typed), ERROR_INVALID);
        }
    }
}

static void what_is_no_key_is_told_so(void **state)
{
    (void)state;
    char typed[sizeof text + 2];
    assert_int_equal(parse(""), ERROR_INVALID);
    snprintf(typed, sizeof typed, "%.68s", text);
    assert_int_equal(parse(typed), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "14 groups"));
    snprintf(typed, sizeof typed, "%sA", text);
    assert_int_equal(parse(typed), ERROR_INVALID);
    memcpy(typed, text, sizeof text);
    typed[0] = '1';
    assert_int_equal(parse(typed), ERROR_INVALID);
    assert_non_null(strstr(error_sentence(ERROR_INVALID), "other characters"));
    assert_int_equal(recovery_key_parse("AAAQ\0EAYE", 9, recovery_key), ERROR_INVALID);
}

static void what_is_wrapped_is_unwrapped(void **state)
{
    (void)state;
    uint8_t found[KEY_SIZE], other[KEY_SIZE] = {9};
    assert_int_equal(recovery_unwrap(&recovery, recovery_key, found), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
    assert_int_equal(recovery_unwrap(&recovery, other, found), ERROR_WRONG_KEY);
    recovery.pool.bytes[0] ^= 1; /* it is bound to pool, provider and salt */
    assert_int_equal(recovery_unwrap(&recovery, recovery_key, found), ERROR_WRONG_KEY);
    recovery.pool.bytes[0] ^= 1;
    recovery.provider.bytes[0] ^= 1;
    assert_int_equal(recovery_unwrap(&recovery, recovery_key, found), ERROR_WRONG_KEY);
}

static void the_wrapping_is_its_equation(void **state)
{
    (void)state;
    uint8_t context[64] = {1, 2}, wrap_key[KEY_SIZE], found[KEY_SIZE];
    context[16] = 3;
    context[17] = 4;
    memcpy(context + 32, recovery.salt, RECOVERY_SALT_SIZE);
    assert_int_equal(kdf_derive(recovery_key, "coffer1/recovery", context, sizeof context, wrap_key, KEY_SIZE), ERROR_NONE);
    assert_int_equal(bytes_unwrap(wrap_key, recovery.wrapped, sizeof recovery.wrapped, found), ERROR_NONE);
    assert_memory_equal(found, key, KEY_SIZE);
}

static void no_byte_of_the_file_can_change_unseen(void **state)
{
    (void)state;
    char file[RECOVERY_FILE_MAX];
    size_t size;
    struct recovery found;
    recovery.is_kek = true;
    assert_int_equal(recovery_encode(&recovery, file, &size), ERROR_NONE);
    assert_int_equal(recovery_decode(file, size, &found), ERROR_NONE);
    assert_memory_equal(&found, &recovery, sizeof found);
    for (size_t i = 0; i < size; i++) {
        file[i] ^= 1;
        assert_int_not_equal(recovery_decode(file, size, &found), ERROR_NONE);
        file[i] ^= 1;
        assert_int_equal(recovery_decode(file, i, &found), ERROR_CORRUPT);
    }
    memcpy(strstr(file, "\"version\": 1") + 11, "2", 1);
    assert_int_equal(recovery_decode(file, size, &found), ERROR_NEWER_FORMAT);
}

static void the_file_lies_in_the_pool_directory(void **state)
{
    (void)state;
    char directory[] = "/tmp/coffer-recovery-XXXXXX", path[64];
    struct recovery found;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(recovery_load(directory, &found), ERROR_NOT_FOUND);
    assert_int_equal(recovery_store(directory, &recovery), ERROR_NONE);
    assert_int_equal(recovery_load(directory, &found), ERROR_NONE);
    assert_memory_equal(&found, &recovery, sizeof found);
    snprintf(path, sizeof path, "%s/%s", directory, RECOVERY_NAME);
    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(recovery_load(directory, &found), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), path));
    unlink(path);
    rmdir(directory);
}

/* Whoever found the paper, and the disk's free blocks. */
static void what_an_old_recovery_key_opened_is_overwritten(void **state)
{
    (void)state;
    char directory[] = "/tmp/coffer-recovery-XXXXXX", path[64], unfinished[80], target[64], found[2 * RECOVERY_FILE_MAX];
    struct recovery read_back;
    struct stat status;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/%s", directory, RECOVERY_NAME);
    snprintf(target, sizeof target, "%s/elsewhere", directory);
    snprintf(unfinished, sizeof unfinished, "%s.new", target);
    assert_int_equal(recovery_store(directory, &recovery), ERROR_NONE);
    assert_int_equal(rename(path, target), 0);
    assert_int_equal(symlink(target, path), 0);
    int old = open(target, O_RDONLY | O_CLOEXEC), left = open(unfinished, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(left, "of a crash", 10), 10);
    assert_int_equal(recovery_store(directory, &recovery), ERROR_NONE);
    ssize_t size = read(old, found, sizeof found);
    assert_true(size > 0 && memory_is_zero(found, (size_t)size));
    assert_int_equal(pread(left, found, sizeof found, 0), 10);
    assert_true(memory_is_zero(found, 10));
    close(old);
    close(left);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(recovery_load(directory, &read_back), ERROR_NONE);
    assert_int_equal(unlink(path) | unlink(target) | rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_key_is_base32_in_groups_of_four, set_up),
        cmocka_unit_test_setup(how_it_is_typed_does_not_matter, set_up),
        cmocka_unit_test_setup(every_slip_is_found, set_up),
        cmocka_unit_test_setup(what_is_no_key_is_told_so, set_up),
        cmocka_unit_test_setup(what_is_wrapped_is_unwrapped, set_up),
        cmocka_unit_test_setup(the_wrapping_is_its_equation, set_up),
        cmocka_unit_test_setup(no_byte_of_the_file_can_change_unseen, set_up),
        cmocka_unit_test_setup(the_file_lies_in_the_pool_directory, set_up),
        cmocka_unit_test_setup(what_an_old_recovery_key_opened_is_overwritten, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
