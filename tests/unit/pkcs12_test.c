#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "crypto/pkcs12.h"

#define PASSWORD      "correct horse, \xc3\xa4\xc3\xb6"
#define NAME          "coffer \xf0\x9f\x94\x91 \xe9\x87\x91\xe5\xba\xab" /* an emoji; its last character takes three bytes */
#define PASSWORD_SIZE (sizeof(PASSWORD) - 1)

static const char text[] = "{\"pool\": \"of a test\"}";
static struct pkcs12 content;
static uint8_t *file; /* written once: it takes a second */
static size_t file_size;

static int set_up(void **state)
{
    (void)state;
    snprintf(content.name, sizeof content.name, NAME);
    memset(content.kcv, 0x17, sizeof content.kcv);
    for (size_t i = 0; i < KEY_SIZE; i++)
        content.key[i] = (uint8_t)(0xc0 + i);
    content.text = (char *)text;
    content.text_size = sizeof text - 1;
    assert_int_equal(pkcs12_encode(&content, PASSWORD, PASSWORD_SIZE, &file, &file_size), ERROR_NONE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(file);
    return 0;
}

static enum error decode(const void *data, size_t size, const char *password)
{
    struct pkcs12 found;
    enum error error = pkcs12_decode(data, size, password, strlen(password), &found);
    if (error == ERROR_NONE)
        pkcs12_forget(&found);
    return error;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct pkcs12 found;
    assert_int_equal(pkcs12_decode(file, file_size, PASSWORD, PASSWORD_SIZE, &found), ERROR_NONE);
    assert_memory_equal(found.kcv, content.kcv, KCV_SIZE);
    assert_memory_equal(found.key, content.key, KEY_SIZE);
    assert_int_equal(found.text_size, content.text_size);
    assert_string_equal(found.text, text);
    pkcs12_forget(&found);
    assert_true(memory_is_zero(&found, sizeof found));
}

static void a_name_in_any_script_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct pkcs12 found;
    assert_int_equal(pkcs12_decode(file, file_size, PASSWORD, PASSWORD_SIZE, &found), ERROR_NONE);
    assert_string_equal(found.name, NAME);
    pkcs12_forget(&found);
}

static bool holds(const void *data, size_t size, const void *part, size_t part_size)
{
    return memmem(data, size, part, part_size) != NULL;
}

static void nothing_of_it_is_in_the_clear(void **state)
{
    (void)state;
    assert_false(holds(file, file_size, content.key, KEY_SIZE));
    assert_false(holds(file, file_size, text, sizeof text - 1));
    assert_false(holds(file, file_size, "\0c\0o\0f\0f\0e\0r", 12));
    assert_false(holds(file, file_size, content.kcv, KCV_SIZE));
}

static void no_two_files_are_alike(void **state)
{
    (void)state;
    uint8_t *other;
    size_t size;
    assert_int_equal(pkcs12_encode(&content, PASSWORD, PASSWORD_SIZE, &other, &size), ERROR_NONE);
    assert_int_equal(size, file_size);
    size_t equal = 0;
    for (size_t i = 0; i < size; i++)
        equal += other[i] == file[i];
    assert_true(equal < size * 3 / 4);
    free(other);
}

static void another_password_is_a_wrong_key(void **state)
{
    (void)state;
    assert_int_equal(decode(file, file_size, "correct horse"), ERROR_WRONG_KEY);
    assert_non_null(strstr(error_sentence(ERROR_WRONG_KEY), "wrong password"));
}

static void a_file_that_is_cut_or_longer_is_damaged(void **state)
{
    (void)state;
    uint8_t *longer = calloc(1, file_size + 1);
    memcpy(longer, file, file_size);
    for (size_t size = 0; size < file_size; size += 1 + file_size / 50)
        assert_int_equal(decode(file, size, PASSWORD), ERROR_CORRUPT);
    assert_int_equal(decode(file, file_size - 1, PASSWORD), ERROR_CORRUPT);
    assert_int_equal(decode(longer, file_size + 1, PASSWORD), ERROR_CORRUPT);
    free(longer);
}

static void a_changed_byte_of_the_contents_is_noticed(void **state)
{
    (void)state;
    uint8_t *changed = malloc(file_size);
    for (size_t at = file_size / 4; at < file_size - 120; at += file_size / 4) {
        memcpy(changed, file, file_size);
        changed[at] ^= 1;
        assert_int_not_equal(decode(changed, file_size, PASSWORD), ERROR_NONE);
    }
    free(changed);
}

static PKCS12 *with_counts(int iterations, int mac_iterations, int cipher)
{
    PKCS12_SAFEBAG *bag = PKCS12_SAFEBAG_create_secret(NID_pkcs7_data, V_ASN1_OCTET_STRING, (unsigned char *)"x", 1);
    STACK_OF(PKCS12_SAFEBAG) *bags = sk_PKCS12_SAFEBAG_new_null();
    STACK_OF(PKCS7) *parts = sk_PKCS7_new_null();
    sk_PKCS12_SAFEBAG_push(bags, bag);
    PKCS7 *part = PKCS12_pack_p7encdata(cipher, "p", 1, NULL, 16, 1, bags);
    assert_non_null(part);
    X509_ALGOR *algorithm = part->d.encrypted->enc_data->algorithm;
    if (iterations > 1) {
        X509_ALGOR *costly = PKCS5_pbe2_set(EVP_aes_256_cbc(), iterations, NULL, 16);
        assert_non_null(costly);
        X509_ALGOR_free(algorithm);
        part->d.encrypted->enc_data->algorithm = costly;
    }
    sk_PKCS7_push(parts, part);
    PKCS12 *made = PKCS12_add_safes(parts, 0);
    assert_int_equal(PKCS12_set_mac(made, "p", 1, NULL, 16, 1, EVP_sha256()), 1);
    if (mac_iterations > 1) {
        const ASN1_INTEGER *count;
        PKCS12_set_mac(made, "p", 1, NULL, 16, 2, EVP_sha256());
        PKCS12_get0_mac(NULL, NULL, NULL, &count, made);
        assert_int_equal(ASN1_INTEGER_set((ASN1_INTEGER *)count, mac_iterations), 1);
    }
    sk_PKCS7_pop_free(parts, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return made;
}

static enum error decode_made(PKCS12 *made)
{
    uint8_t *data = NULL;
    int size = i2d_PKCS12(made, &data);
    assert_true(size > 0);
    enum error error = decode(data, (size_t)size, "p");
    OPENSSL_free(data);
    PKCS12_free(made);
    return error;
}

/* A decode that worked by them would take minutes each. */
static void costs_above_the_limit_are_refused_before_any_work(void **state)
{
    (void)state;
    assert_int_equal(decode_made(with_counts(PKCS12_ITERATIONS_MAX + 1, 1, NID_aes_256_cbc)), ERROR_UNSUPPORTED);
    assert_non_null(strstr(error_sentence(ERROR_UNSUPPORTED), "10000000 iterations for its encryption"));
    assert_int_equal(decode_made(with_counts(1, PKCS12_ITERATIONS_MAX + 1, NID_aes_256_cbc)), ERROR_UNSUPPORTED);
    assert_non_null(strstr(error_sentence(ERROR_UNSUPPORTED), "10000000 iterations for its MAC"));
    assert_int_equal(decode_made(with_counts(1, INT32_MAX, NID_aes_256_cbc)), ERROR_UNSUPPORTED);
    assert_int_equal(decode_made(with_counts(INT32_MAX, 1, NID_aes_256_cbc)), ERROR_UNSUPPORTED);
}

static void other_files_of_the_kind_are_foreign(void **state)
{
    (void)state;
    assert_int_equal(decode_made(with_counts(1, 1, NID_aes_256_cbc)), ERROR_FOREIGN);
    assert_non_null(strstr(error_sentence(ERROR_FOREIGN), "no key of a pool"));
    assert_int_equal(decode_made(with_counts(1, 1, NID_aes_128_cbc)), ERROR_FOREIGN);
    PKCS12 *sha1 = with_counts(1, 1, NID_aes_256_cbc);
    assert_int_equal(PKCS12_set_mac(sha1, "p", 1, NULL, 16, 1, EVP_sha1()), 1);
    assert_int_equal(decode_made(sha1), ERROR_FOREIGN);
}

static void what_is_larger_than_any_backup_is_refused(void **state)
{
    (void)state;
    uint8_t *large = calloc(1, PKCS12_FILE_MAX + 1);
    memcpy(large, file, file_size);
    assert_int_equal(decode(large, PKCS12_FILE_MAX + 1, PASSWORD), ERROR_CORRUPT);
    assert_non_null(strstr(error_sentence(ERROR_CORRUPT), "larger than"));
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_name_in_any_script_is_read_as_it_was_written),
        cmocka_unit_test(nothing_of_it_is_in_the_clear),
        cmocka_unit_test(no_two_files_are_alike),
        cmocka_unit_test(another_password_is_a_wrong_key),
        cmocka_unit_test(a_file_that_is_cut_or_longer_is_damaged),
        cmocka_unit_test(a_changed_byte_of_the_contents_is_noticed),
        cmocka_unit_test(costs_above_the_limit_are_refused_before_any_work),
        cmocka_unit_test(other_files_of_the_kind_are_foreign),
        cmocka_unit_test(what_is_larger_than_any_backup_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
