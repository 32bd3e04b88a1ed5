#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/sealed_key.h"

static struct sealed_key sealed;
static char text[SEALED_KEY_TEXT_MAX];
static size_t size;

static void sealed_make(enum seal seal)
{
    memset(&sealed, 0, sizeof(sealed));
    sealed.seal = seal;
    memset(sealed.provider.bytes, 0x42, sizeof(sealed.provider.bytes));
    memset(sealed.kcv, 0x17, sizeof(sealed.kcv));
    if (seal == SEAL_PASSPHRASE) {
        sealed.scrypt_log2_n = 17;
        sealed.scrypt_r = 8;
        sealed.scrypt_p = 1;
        memset(sealed.salt, 0x5a, sizeof(sealed.salt));
        memset(sealed.wrapped, 0xa5, sizeof(sealed.wrapped));
    } else if (seal == SEAL_TPM) {
        sealed.tpm = (struct tpm_sealed){.flags = TPM_FLAG_PIN, .public_size = 78, .private_size = 160};
        memset(sealed.tpm.primary, 0x22, sizeof(sealed.tpm.primary));
        memset(sealed.tpm.endorsement, 0x33, sizeof(sealed.tpm.endorsement));
        memset(sealed.tpm.public, 0x44, 78);
        memset(sealed.tpm.private, 0x55, 160);
        sealed.tpm.flags |= TPM_FLAG_PCRS;
        sealed.tpm.binding = (struct tpm_binding){.pcrs = 0x80, .approval_count = 2};
        memset(sealed.tpm.binding.approver, 0x66, sizeof(sealed.tpm.binding.approver));
        memset(sealed.tpm.binding.reference, 0x77, sizeof(sealed.tpm.binding.reference));
        memset(sealed.tpm.binding.approvals, 0x88, 2 * sizeof(struct tpm_approval));
    } else {
        memset(sealed.kdk, 0x99, sizeof(sealed.kdk));
    }
    assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
}

/* Replaces one occurrence in the text; the new string may be longer or shorter. */
static void text_replace(const char *from, const char *to)
{
    char rest[SEALED_KEY_TEXT_MAX];
    char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(rest, sizeof(rest), "%s", at + strlen(from));
    snprintf(at, sizeof(text) - (size_t)(at - text), "%s%s", to, rest);
    size = strlen(text);
}

static enum error decode(void)
{
    struct sealed_key found;
    return sealed_key_decode(text, size, &found);
}

static void an_empty_or_foreign_file_is_damage(void **state)
{
    (void)state;
    struct sealed_key found;
    assert_int_equal(sealed_key_decode("", 0, &found), ERROR_CORRUPT);
    assert_int_equal(sealed_key_decode("[pool]\n", 7, &found), ERROR_CORRUPT);
    assert_int_equal(sealed_key_decode("{\"version\": 1}", 14, &found), ERROR_CORRUPT);
}

static void every_truncation_is_damage(void **state)
{
    (void)state;
    for (enum seal seal = SEAL_FILE; seal <= SEAL_TPM; seal++) {
        sealed_make(seal);
        struct sealed_key found;
        for (size_t cut = 0; cut + 1 < size; cut++)
            assert_int_equal(sealed_key_decode(text, cut, &found), ERROR_CORRUPT);
    }
}

/* But for the KDK of the seal "file", which has its KCV, and for white space, which means nothing. */
static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    for (enum seal seal = SEAL_PASSPHRASE; seal <= SEAL_TPM; seal++) {
        sealed_make(seal);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            struct sealed_key found;
            text[bit / 8] ^= (char)(1 << bit % 8);
            if (sealed_key_decode(text, size, &found) == ERROR_NONE)
                assert_memory_equal(&found, &sealed, sizeof(sealed));
            text[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
}

static void a_newer_version_is_told_from_damage(void **state)
{
    (void)state;
    sealed_make(SEAL_FILE);
    text_replace("\"version\": 1", "\"version\": 2, \"news\": 5");
    assert_int_equal(decode(), ERROR_NEWER_FORMAT);
    text_replace("\"version\": 2", "\"version\": 0");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

static void unknown_fields_are_refused(void **state)
{
    (void)state;
    sealed_make(SEAL_FILE);
    text_replace("\"version\": 1", "\"version\": 1, \"hint\": \"mother's name\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

static void unknown_seals_and_ids_are_refused(void **state)
{
    (void)state;
    sealed_make(SEAL_FILE);
    text_replace("\"file\"", "\"none\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed_make(SEAL_FILE);
    text_replace("42424242-", "42424242");
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed_make(SEAL_FILE);
    text_replace("1717", "171");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

static void base64_has_one_spelling_only(void **state)
{
    (void)state;
    sealed_make(SEAL_FILE);
    text_replace("mZk=\"", "mZl=\""); /* the last bits are beyond the key */
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed_make(SEAL_FILE);
    text_replace("mZk=\"", "mZk\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed_make(SEAL_FILE);
    text_replace("mZk=\"", "m k=\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

/* Sizes from one to the most, with every padding; none, and one byte more, are damage. */
static void sizes_of_what_a_tpm_sealed_are_bounded(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{1, 1}, {2, 2}, {3, 3}, {255, 511}, {TPM_PUBLIC_MAX, TPM_PRIVATE_MAX}};
    struct sealed_key found;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        sealed_make(SEAL_TPM);
        memset(sealed.tpm.public, 0, sizeof(sealed.tpm.public));
        memset(sealed.tpm.private, 0, sizeof(sealed.tpm.private));
        sealed.tpm.public_size = sizes[i][0];
        sealed.tpm.private_size = sizes[i][1];
        assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
        assert_int_equal(sealed_key_decode(text, size, &found), ERROR_NONE);
        assert_memory_equal(&found, &sealed, sizeof(sealed));
    }
    text_replace("\"tpm_public\": \"", "\"tpm_public\": \"AAAA");
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed.tpm.public_size = 1;
    assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
    text_replace("\"tpm_public\": \"AA==\"", "\"tpm_public\": \"\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
    assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE);
    text_replace("\"tpm_public\": \"AA==\"", "\"tpm_public\": \"====\"");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

static void bindings_to_pcrs_are_whole_or_damage(void **state)
{
    (void)state;
    static const char *const pcrs[] = {"0", "16777216", "999999999"};
    struct sealed_key found;
    sealed_make(SEAL_TPM);
    memset(&sealed.tpm.binding.approvals, 0x11, sizeof(sealed.tpm.binding.approvals));
    sealed.tpm.binding.approval_count = TPM_APPROVALS_MAX;
    memset(sealed.tpm.public, 0x44, sizeof(sealed.tpm.public));
    memset(sealed.tpm.private, 0x44, sizeof(sealed.tpm.private));
    sealed.tpm.public_size = TPM_PUBLIC_MAX;
    sealed.tpm.private_size = TPM_PRIVATE_MAX;
    sealed.tpm.binding.pcrs = (1u << TPM_PCRS) - 1;
    assert_int_equal(sealed_key_encode(&sealed, text, &size), ERROR_NONE); /* the longest file */
    assert_int_equal(sealed_key_decode(text, size, &found), ERROR_NONE);
    assert_memory_equal(&found, &sealed, sizeof(sealed));
    for (size_t i = 0; i < COUNT_OF(pcrs); i++) {
        char line[64];
        sealed_make(SEAL_TPM);
        snprintf(line, sizeof(line), "\"tpm_pcrs\": %s", pcrs[i]);
        text_replace("\"tpm_pcrs\": 128", line);
        assert_int_equal(decode(), ERROR_CORRUPT);
    }
    sealed_make(SEAL_TPM);
    text_replace("\"tpm_approvals\": \"", "\"tpm_approvals\": \"AAAA");
    assert_int_equal(decode(), ERROR_CORRUPT);
    sealed_make(SEAL_TPM);
    text_replace("\"tpm_flags\": 3", "\"tpm_flags\": 1");
    assert_int_equal(decode(), ERROR_CORRUPT);
}

static void a_failed_decoding_gives_nothing(void **state)
{
    (void)state;
    sealed_make(SEAL_FILE);
    text_replace("\"checksum\": \"", "\"checksum\": \"0");
    struct sealed_key found, untouched;
    memset(&found, 0xee, sizeof(found));
    memset(&untouched, 0xee, sizeof(untouched));
    assert_int_equal(sealed_key_decode(text, size, &found), ERROR_CORRUPT);
    assert_memory_equal(&found, &untouched, sizeof(found));
}

static void what_was_encoded_is_decoded(void **state)
{
    (void)state;
    for (enum seal seal = SEAL_FILE; seal <= SEAL_TPM; seal++) {
        struct sealed_key found;
        sealed_make(seal);
        assert_int_equal(size, strlen(text));
        assert_int_equal(sealed_key_decode(text, size, &found), ERROR_NONE);
        assert_memory_equal(&found, &sealed, sizeof(sealed));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_or_foreign_file_is_damage), cmocka_unit_test(every_truncation_is_damage),
        cmocka_unit_test(every_flipped_bit_is_noticed),       cmocka_unit_test(a_newer_version_is_told_from_damage),
        cmocka_unit_test(unknown_fields_are_refused),         cmocka_unit_test(unknown_seals_and_ids_are_refused),
        cmocka_unit_test(base64_has_one_spelling_only),       cmocka_unit_test(a_failed_decoding_gives_nothing),
        cmocka_unit_test(what_was_encoded_is_decoded),        cmocka_unit_test(sizes_of_what_a_tpm_sealed_are_bounded),
        cmocka_unit_test(bindings_to_pcrs_are_whole_or_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
