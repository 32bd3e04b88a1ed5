/*
 * PKCS#12 through OpenSSL, which parses DER and does the work; what it is made to do is decided here. The order of
 * reading is: size, DER to the last byte, algorithms and costs of both the MAC and the only encrypted part (one part, so
 * that a file cannot ask for the work many times), the MAC, then the bags. A file of another form is refused before its
 * password is stretched.
 *
 * OpenSSL's memory is the arena's where arena_start() ran, and wiped when freed. No state but the two object identifiers
 * that OpenSSL is told once; nothing on disk.
 */
#include "crypto/pkcs12.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/utf8.h"
#include "crypto/openssl_error.h"
#include "crypto/provider.h"

#define KEY_TYPE  "2.25.203323647044011780318139359808925352350"
#define TEXT_TYPE "2.25.171383993548623195642464164745949479181"
#define SALT_MAX  64

#define AUTO(type, free_it)                                                                                            \
    static void type##_free_scope(type **pointer)                                                                      \
    {                                                                                                                  \
        free_it(*pointer);                                                                                             \
    }
AUTO(PKCS12, PKCS12_free)
AUTO(PBE2PARAM, PBE2PARAM_free)
AUTO(PBKDF2PARAM, PBKDF2PARAM_free)
#define SCOPED(type) __attribute__((cleanup(type##_free_scope))) type

typedef STACK_OF(PKCS7) pkcs12_parts;
typedef STACK_OF(PKCS12_SAFEBAG) pkcs12_bags;

static void parts_free(pkcs12_parts *parts)
{
    sk_PKCS7_pop_free(parts, PKCS7_free);
}

static void bags_free(pkcs12_bags *bags)
{
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

/* NID_undef where OpenSSL has no memory for it. */
static int bag_type(const char *identifier)
{
    int type = OBJ_txt2nid(identifier);
    if (type == NID_undef)
        type = OBJ_create(identifier, identifier, identifier);
    if (type == NID_undef) /* another thread was faster */
        type = OBJ_txt2nid(identifier);
    ERR_clear_error();
    return type;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static PKCS12_SAFEBAG *bag_make(const char *identifier, const void *value, size_t size)
{
    return PKCS12_SAFEBAG_create_secret(bag_type(identifier), V_ASN1_OCTET_STRING, (unsigned char *)value, (int)size);
}

/* Takes the bag over, also where it fails. */
static bool bag_push(pkcs12_bags *bags, PKCS12_SAFEBAG *bag)
{
    if (bag != NULL && sk_PKCS12_SAFEBAG_push(bags, bag) > 0)
        return true;
    PKCS12_SAFEBAG_free(bag);
    return false;
}

/* A BMPString as others write it (UTF-16BE): what OpenSSL makes of UTF-8 by itself has no room for emoji. */
static bool name_add(PKCS12_SAFEBAG *bag, const char *name)
{
    int size;
    unsigned char *text = OPENSSL_utf82uni(name, -1, NULL, &size); /* with a zero at its end, which is not part of it */
    bool added = text != NULL && PKCS12_add_friendlyname_uni(bag, text, size - 2) == 1;
    OPENSSL_free(text);
    return added;
}

static bool bags_fill(pkcs12_bags *bags, const struct pkcs12 *content)
{
    PKCS12_SAFEBAG *key = bag_make(KEY_TYPE, content->key, KEY_SIZE);
    uint8_t id[KCV_SIZE];
    memcpy(id, content->kcv, sizeof(id));
    if (key != NULL && (!name_add(key, content->name) || PKCS12_add_localkeyid(key, id, sizeof(id)) != 1)) {
        PKCS12_SAFEBAG_free(key);
        return false;
    }
    return bag_push(bags, key) && bag_push(bags, bag_make(TEXT_TYPE, content->text, content->text_size));
}

static PKCS7 *part_make(const struct pkcs12 *content, const char *password, size_t password_size)
{
    unsigned char salt[PKCS12_SALT_SIZE];
    pkcs12_bags *bags = sk_PKCS12_SAFEBAG_new_null();
    PKCS7 *part = NULL;
    random_bytes(salt, sizeof(salt));
    if (bags != NULL && bags_fill(bags, content))
        part = PKCS12_pack_p7encdata(NID_aes_256_cbc, password, (int)password_size, salt, sizeof(salt), PKCS12_ITERATIONS,
                                     bags);
    bags_free(bags);
    return part;
}

static PKCS12 *file_make(const struct pkcs12 *content, const char *password, size_t password_size)
{
    unsigned char salt[PKCS12_SALT_SIZE];
    pkcs12_parts *parts = sk_PKCS7_new_null();
    PKCS7 *part = parts == NULL ? NULL : part_make(content, password, password_size);
    PKCS12 *file = NULL;
    if (part != NULL && sk_PKCS7_push(parts, part) <= 0) {
        PKCS7_free(part);
        part = NULL;
    }
    if (part != NULL)
        file = PKCS12_add_safes(parts, 0);
    parts_free(parts);
    random_bytes(salt, sizeof(salt));
    if (file != NULL && PKCS12_set_mac(file, password, (int)password_size, salt, sizeof(salt), PKCS12_MAC_ITERATIONS,
                                       EVP_sha256()) != 1) {
        PKCS12_free(file);
        file = NULL;
    }
    return file;
}

enum error pkcs12_encode(const struct pkcs12 *content, const char *password, size_t password_size, uint8_t **data,
                         size_t *size)
{
    ASSERT(password_size > 0 && password_size <= PASSPHRASE_MAX && content->text_size <= PKCS12_TEXT_MAX);
    SCOPED(PKCS12) *file = file_make(content, password, password_size);
    int length = file == NULL ? -1 : i2d_PKCS12(file, NULL);
    if (length <= 0)
        return error_from_openssl("make a PKCS#12 file");
    uint8_t *made = memory_zeroed(1, (size_t)length), *end = made;
    if (made == NULL)
        return ERROR_NO_MEMORY;
    if (i2d_PKCS12(file, &end) != length) {
        free(made);
        return error_from_openssl("make a PKCS#12 file");
    }
    *data = made;
    *size = (size_t)length;
    return ERROR_NONE;
}

/* ---- reading: form and costs, before any work ------------------------------------------------------------------------ */

static enum error not_ours(const char *why)
{
    ERR_clear_error();
    return error_explain(ERROR_FOREIGN, "a PKCS#12 file, but none that `coffer key backup` wrote: %s", why);
}

static enum error count_check(const ASN1_INTEGER *count, const char *what)
{
    int64_t iterations = 1; /* where none is stated */
    if (count != NULL && (ASN1_INTEGER_get_int64(&iterations, count) != 1 || iterations > PKCS12_ITERATIONS_MAX)) {
        ERR_clear_error();
        return error_explain(ERROR_UNSUPPORTED, "more than %u iterations for its %s are refused: they would take minutes, or for ever",
                             PKCS12_ITERATIONS_MAX, what);
    }
    return iterations > 0 ? ERROR_NONE : error_explain(ERROR_CORRUPT, "it states %lld iterations", (long long)iterations);
}

static enum error mac_check(const PKCS12 *file)
{
    const ASN1_OCTET_STRING *mac, *salt;
    const X509_ALGOR *algorithm;
    const ASN1_INTEGER *count;
    const ASN1_OBJECT *digest;
    PKCS12_get0_mac(&mac, &algorithm, &salt, &count, file);
    if (mac == NULL)
        return not_ours("it has no MAC");
    TRY(count_check(count, "MAC"));
    X509_ALGOR_get0(&digest, NULL, NULL, algorithm);
    if (OBJ_obj2nid(digest) != NID_sha256 || ASN1_STRING_length(salt) > SALT_MAX)
        return not_ours("its MAC is not HMAC-SHA-256");
    return ERROR_NONE;
}

static int algorithm_nid(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *object;
    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    return OBJ_obj2nid(object);
}

static enum error stretching_check(const PBKDF2PARAM *parameters)
{
    int64_t length = KEY_SIZE;
    TRY(count_check(parameters->iter, "encryption"));
    if (parameters->salt->type != V_ASN1_OCTET_STRING || ASN1_STRING_length(parameters->salt->value.octet_string) > SALT_MAX ||
        parameters->prf == NULL || algorithm_nid(parameters->prf) != NID_hmacWithSHA256 ||
        (parameters->keylength != NULL &&
         (ASN1_INTEGER_get_int64(&length, parameters->keylength) != 1 || length != KEY_SIZE)))
        return not_ours("its password is not stretched by PBKDF2 with HMAC-SHA-256");
    return ERROR_NONE;
}

static enum error encryption_check(const X509_ALGOR *algorithm)
{
    if (algorithm_nid(algorithm) != NID_pbes2)
        return not_ours("it is not encrypted by PBES2");
    SCOPED(PBE2PARAM) *scheme = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
    if (scheme == NULL || algorithm_nid(scheme->keyfunc) != NID_id_pbkdf2 ||
        algorithm_nid(scheme->encryption) != NID_aes_256_cbc)
        return not_ours("it is not encrypted by PBKDF2 and AES-256-CBC");
    SCOPED(PBKDF2PARAM) *stretching = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), scheme->keyfunc->parameter);
    return stretching == NULL ? not_ours("it is not encrypted by PBKDF2 and AES-256-CBC") : stretching_check(stretching);
}

static enum error parts_check(pkcs12_parts *parts)
{
    if (sk_PKCS7_num(parts) != 1 || !PKCS7_type_is_encrypted(sk_PKCS7_value(parts, 0)))
        return not_ours("it is not one encrypted part");
    const PKCS7 *part = sk_PKCS7_value(parts, 0);
    if (part->d.encrypted == NULL || part->d.encrypted->enc_data == NULL ||
        part->d.encrypted->enc_data->enc_data == NULL)
        return not_ours("its encrypted part is empty");
    return encryption_check(part->d.encrypted->enc_data->algorithm);
}

static enum error form_check(PKCS12 *file, pkcs12_parts **parts)
{
    TRY(mac_check(file));
    pkcs12_parts *found = PKCS12_unpack_authsafes(file);
    if (found == NULL)
        return not_ours("it has no contents");
    enum error error = parts_check(found);
    if (error != ERROR_NONE)
        parts_free(found);
    else
        *parts = found;
    return error;
}

/* ---- reading: the bags ------------------------------------------------------------------------------------------------ */

/* The bytes of the one bag of that kind. */
static enum error bag_find(const pkcs12_bags *bags, const char *identifier, const PKCS12_SAFEBAG **bag,
                           const ASN1_OCTET_STRING **value)
{
    int type = bag_type(identifier);
    *bag = NULL;
    if (type == NID_undef)
        return ERROR_NO_MEMORY;
    for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); i++) {
        const PKCS12_SAFEBAG *candidate = sk_PKCS12_SAFEBAG_value(bags, i);
        if (PKCS12_SAFEBAG_get_nid(candidate) != NID_secretBag || PKCS12_SAFEBAG_get_bag_nid(candidate) != type)
            continue;
        const ASN1_TYPE *held = PKCS12_SAFEBAG_get0_bag_obj(candidate);
        if (*bag != NULL || held == NULL || held->type != V_ASN1_OCTET_STRING)
            return not_ours("its bags are none of Coffer's");
        *bag = candidate;
        *value = held->value.octet_string;
    }
    return *bag != NULL ? ERROR_NONE : not_ours("there is no key of a pool in it");
}

/* As PKCS12_get_friendlyname(), which finds no name where the last character takes more bytes in UTF-8 than are left of the
 * UTF-16: two zero bytes more are enough. NULL where there is none. */
static char *name_find(const PKCS12_SAFEBAG *bag)
{
    unsigned char text[2 * PKCS12_NAME_MAX + 2] = {0};
    const ASN1_TYPE *held = PKCS12_SAFEBAG_get0_attr(bag, NID_friendlyName);
    if (held == NULL || held->type != V_ASN1_BMPSTRING || ASN1_STRING_length(held->value.bmpstring) > (int)sizeof(text) - 2)
        return NULL;
    int size = ASN1_STRING_length(held->value.bmpstring);
    memcpy(text, ASN1_STRING_get0_data(held->value.bmpstring), (size_t)size);
    return size % 2 == 0 ? OPENSSL_uni2utf8(text, size + 2) : NULL;
}

static enum error name_take(const PKCS12_SAFEBAG *bag, char name[PKCS12_NAME_MAX + 1])
{
    char *found = name_find(bag);
    size_t size = found == NULL ? 0 : strlen(found);
    bool fits = size > 0 && size <= PKCS12_NAME_MAX && utf8_is_printable(found);
    if (fits)
        memcpy(name, found, size + 1);
    OPENSSL_free(found);
    return fits ? ERROR_NONE : not_ours("its key has no name");
}

static enum error key_take(const pkcs12_bags *bags, struct pkcs12 *content)
{
    const PKCS12_SAFEBAG *bag;
    const ASN1_OCTET_STRING *value;
    TRY(bag_find(bags, KEY_TYPE, &bag, &value));
    const ASN1_TYPE *id = PKCS12_SAFEBAG_get0_attr(bag, NID_localKeyID);
    if (ASN1_STRING_length(value) != KEY_SIZE || id == NULL || id->type != V_ASN1_OCTET_STRING ||
        ASN1_STRING_length(id->value.octet_string) != KCV_SIZE)
        return not_ours("its key is none of a pool");
    TRY(name_take(bag, content->name));
    memcpy(content->key, ASN1_STRING_get0_data(value), KEY_SIZE);
    memcpy(content->kcv, ASN1_STRING_get0_data(id->value.octet_string), KCV_SIZE);
    return ERROR_NONE;
}

static enum error text_take(const pkcs12_bags *bags, struct pkcs12 *content)
{
    const PKCS12_SAFEBAG *bag;
    const ASN1_OCTET_STRING *value;
    TRY(bag_find(bags, TEXT_TYPE, &bag, &value));
    size_t size = (size_t)ASN1_STRING_length(value);
    if (size > PKCS12_TEXT_MAX)
        return not_ours("its text is too long");
    content->text = memory_zeroed(1, size + 1);
    if (content->text == NULL)
        return ERROR_NO_MEMORY;
    memcpy(content->text, ASN1_STRING_get0_data(value), size);
    content->text_size = size;
    return ERROR_NONE;
}

static enum error part_take(PKCS7 *part, const char *password, size_t password_size, struct pkcs12 *content)
{
    pkcs12_bags *bags = PKCS12_unpack_p7encdata(part, password, (int)password_size);
    if (bags == NULL) {
        ERR_clear_error();
        return error_explain(ERROR_CORRUPT, "its contents cannot be decrypted: damaged");
    }
    enum error error = key_take(bags, content);
    if (error == ERROR_NONE)
        error = text_take(bags, content);
    bags_free(bags);
    return error;
}

static enum error file_take(PKCS12 *file, const char *password, size_t password_size, struct pkcs12 *content)
{
    pkcs12_parts *parts;
    TRY(form_check(file, &parts));
    enum error error = ERROR_NONE;
    if (PKCS12_verify_mac(file, password, (int)password_size) != 1) {
        ERR_clear_error();
        error = error_explain(ERROR_WRONG_KEY, "wrong password, or the file was changed");
    }
    if (error == ERROR_NONE)
        error = part_take(sk_PKCS7_value(parts, 0), password, password_size, content);
    parts_free(parts);
    return error;
}

enum error pkcs12_decode(const void *data, size_t size, const char *password, size_t password_size, struct pkcs12 *content)
{
    const uint8_t *end = data;
    if (size > PKCS12_FILE_MAX)
        return error_explain(ERROR_CORRUPT, "larger than %u bytes, which no backup of a key is", PKCS12_FILE_MAX);
    SCOPED(PKCS12) *file = d2i_PKCS12(NULL, &end, (long)size);
    ERR_clear_error();
    if (file == NULL || end != (const uint8_t *)data + size)
        return error_explain(ERROR_CORRUPT, "no PKCS#12 file, or damaged, or only a part of one");
    *content = (struct pkcs12){0};
    enum error error = file_take(file, password, password_size, content);
    if (error != ERROR_NONE)
        pkcs12_forget(content);
    return error;
}

void pkcs12_forget(struct pkcs12 *content)
{
    free(content->text);
    memory_cleanse(content, sizeof(*content));
}
