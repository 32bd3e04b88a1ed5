#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/cached_key.h"

static const uint8_t kek[KEY_SIZE] = {7, 7}, another[KEY_SIZE] = {7, 8};
static struct cached_key cached, back;
static char text[CACHED_KEY_TEXT_MAX];
static size_t size;

static int set_up(void **state)
{
    (void)state;
    cached = (struct cached_key){.pool = {{1}}, .provider = {{2}}, .name = "kms", .kek_number = 3, .fetched = 1800000000,
                                 .key_id = "a-unique id, of a server"};
    memset(cached.tpm.primary, 4, sizeof cached.tpm.primary);
    cached.tpm.public_size = 78;
    memset(cached.tpm.public, 5, 78);
    cached.tpm.private_size = 160;
    memset(cached.tpm.private, 6, 160);
    assert_int_equal(cached_key_sign(&cached, kek), ERROR_NONE);
    assert_int_equal(cached_key_encode(&cached, text, &size), ERROR_NONE);
    return 0;
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    assert_int_equal(cached_key_decode(text, size, &back), ERROR_NONE);
    assert_memory_equal(&back, &cached, sizeof cached);
    assert_int_equal(cached_key_verify(&back, kek), ERROR_NONE);
    assert_int_equal(cached_key_verify(&back, another), ERROR_FORGED);
}

static void the_longest_fits(void **state)
{
    (void)state;
    memset(cached.name, 'n', PROVIDER_NAME_MAX);
    memset(cached.key_id, 'i', KMIP_ID_MAX);
    cached.kek_number = cached.fetched = UINT64_MAX;
    cached.tpm.public_size = TPM_PUBLIC_MAX;
    cached.tpm.private_size = TPM_PRIVATE_MAX;
    assert_int_equal(cached_key_sign(&cached, kek), ERROR_NONE);
    assert_int_equal(cached_key_encode(&cached, text, &size), ERROR_NONE);
    assert_int_equal(cached_key_decode(text, size, &back), ERROR_NONE);
    assert_memory_equal(&back, &cached, sizeof cached);
    assert_int_equal(cached_key_verify(&back, kek), ERROR_NONE);
}

static void every_changed_byte_is_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < size; i++) {
        text[i] ^= 1;
        assert_int_not_equal(cached_key_decode(text, size, &back), ERROR_NONE);
        text[i] ^= 1;
    }
    assert_int_equal(cached_key_decode(text, size, &back), ERROR_NONE);
}

static void every_cut_is_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(cached_key_decode(text, i, &back), ERROR_CORRUPT);
}

/* With a checksum that fits: whoever writes the file can make that. */
static void whatever_it_says_only_its_key_vouches_for(void **state)
{
    (void)state;
    const struct cached_key before = cached;
    struct {
        void *field;
        size_t size;
    } fields[] = {
        {&cached.pool, 16},       {&cached.provider, 16}, {cached.name, 1},        {&cached.kek_number, 1}, {&cached.fetched, 1},
        {cached.key_id, 1},       {cached.kcv, 1},        {cached.tpm.primary, 1}, {cached.tpm.public, 1},  {cached.tpm.private, 1},
        {cached.tpm.endorsement, 1}, {cached.mac, 1},
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        cached = before;
        *(uint8_t *)fields[i].field ^= 1;
        assert_int_equal(cached_key_encode(&cached, text, &size), ERROR_NONE);
        assert_int_equal(cached_key_decode(text, size, &back), ERROR_NONE);
        assert_int_equal(cached_key_verify(&back, kek), ERROR_FORGED);
    }
}

static void another_version_is_told(void **state)
{
    (void)state;
    char *number = strstr(text, "\"version\": 1");
    assert_non_null(number);
    number[strlen("\"version\": ")] = '2';
    assert_int_equal(cached_key_decode(text, size, &back), ERROR_NEWER_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_written_reads_back, set_up),
        cmocka_unit_test_setup(the_longest_fits, set_up),
        cmocka_unit_test_setup(every_changed_byte_is_damage, set_up),
        cmocka_unit_test_setup(every_cut_is_damage, set_up),
        cmocka_unit_test_setup(whatever_it_says_only_its_key_vouches_for, set_up),
        cmocka_unit_test_setup(another_version_is_told, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
