/*
 * What a backup of a key says of the pool: the text in it, to the backup that is made of it. PKCS#12 around it has a target of
 * its own (pkcs12_fuzz) and is replaced here (--wrap), as is the derivation of check values, which are all alike: the first byte
 * says whether that of the key fits. What is taken can be written, and is then taken as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/pkcs12.h"
#include "engine/pool/key_backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_pkcs12_decode(const void *data, size_t size, const char *password, size_t password_size,
                                struct pkcs12 *content);
enum error __wrap_pkcs12_encode(const struct pkcs12 *content, const char *password, size_t password_size, uint8_t **data,
                                size_t *size);
enum error __wrap_kcv_derive(const uint8_t key[KEY_SIZE], struct uuid id, uint8_t kcv[KCV_SIZE]);

static const struct provider_secret password = {.passphrase = "p", .passphrase_size = 1};
static bool fits;

/* As the real one: the text has a zero byte behind it. */
enum error __wrap_pkcs12_decode(const void *data, size_t size, const char *typed, size_t typed_size, struct pkcs12 *content)
{
    (void)typed, (void)typed_size;
    *content = (struct pkcs12){.kcv = {fits}, .key = {1}, .text = malloc(size + 1), .text_size = size};
    if (content->text == NULL)
        return ERROR_NO_MEMORY;
    memcpy(content->text, data, size);
    content->text[size] = 0;
    return ERROR_NONE;
}

enum error __wrap_pkcs12_encode(const struct pkcs12 *content, const char *typed, size_t typed_size, uint8_t **data, size_t *size)
{
    (void)typed, (void)typed_size;
    ASSERT(strncmp(content->name, "coffer ", strlen("coffer ")) == 0);
    *data = malloc(content->text_size);
    if (*data == NULL)
        return ERROR_NO_MEMORY;
    memcpy(*data, content->text, content->text_size);
    *size = content->text_size;
    return ERROR_NONE;
}

enum error __wrap_kcv_derive(const uint8_t key[KEY_SIZE], struct uuid id, uint8_t kcv[KCV_SIZE])
{
    (void)key, (void)id;
    memset(kcv, 0, KCV_SIZE);
    kcv[0] = 1;
    return ERROR_NONE;
}

static bool text_is_same(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static void same(const struct key_backup *a, const struct key_backup *b)
{
    ASSERT(uuid_equal(a->pool, b->pool) && uuid_equal(a->provider, b->provider) && a->is_kek == b->is_kek &&
           a->kek_number == b->kek_number && a->kek_salt == b->kek_salt && a->made == b->made &&
           text_is_same(a->provider_name, b->provider_name) && text_is_same(a->conf, b->conf) &&
           a->device_count == b->device_count);
    for (size_t i = 0; i < a->device_count; i++) {
        const struct key_backup_device *one = &a->devices[i], *two = &b->devices[i];
        ASSERT(uuid_equal(one->id, two->id) && one->slot_count == two->slot_count);
        ASSERT(memcmp(one->slots, two->slots, one->slot_count * sizeof *one->slots) == 0);
    }
}

static void taken(const struct key_backup *backup)
{
    struct key_backup *again;
    AUTO_FREE uint8_t *data = NULL;
    size_t size;
    ASSERT(fits && backup->device_count <= GROUP_DEVICES_MAX);
    for (size_t i = 0; i < backup->device_count; i++)
        ASSERT(backup->devices[i].slot_count > 0 && backup->devices[i].slot_count <= KEY_SLOTS_MAX);
    ASSERT(key_backup_encode(backup, false, &password, &data, &size) == ERROR_NONE);
    ASSERT(key_backup_decode(data, size, &password, &again) == ERROR_NONE);
    same(backup, again);
    key_backup_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key_backup *backup;
    if (size == 0 || size > PKCS12_TEXT_MAX)
        return 0;
    fits = data[0] % 2;
    error_forget();
    if (key_backup_decode(data + 1, size - 1, &password, &backup) != ERROR_NONE)
        return 0;
    taken(backup);
    key_backup_destroy(backup);
    return 0;
}
