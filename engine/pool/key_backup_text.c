/*
 * A backup of a key as a PKCS#12 file, and back. The text in it is behind the file's MAC, whose password a person typed;
 * it is checked all the same: its members, their types and sizes, and that the key fits its check value for the provider
 * that it names. Nothing is kept; no locks.
 */
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "crypto/arena.h"
#include "crypto/pkcs12.h"
#include "engine/pool/key_backup.h"

#define TEXT_VERSION   1
#define NUMBER_DIGITS  16 /* hexadecimal: JSON has no numbers of 64 bits */
#define WRAPPED_BASE64 ((WRAPPED_KEY_SIZE + 2) / 3 * 4)

static void json_free_scope(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_free_scope)))

/* ---- to a file ---------------------------------------------------------------------------------------------------- */

static json_t *number_json(uint64_t number)
{
    char text[NUMBER_DIGITS + 1];
    snprintf(text, sizeof text, "%016" PRIx64, number);
    return json_string(text);
}

static json_t *uuid_json(struct uuid uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return json_string(text);
}

static json_t *slots_json(const struct key_backup_device *device)
{
    json_t *slots = json_array();
    for (uint32_t i = 0; i < device->slot_count; i++) {
        const struct key_slot_format *slot = &device->slots[i];
        char wrapped[WRAPPED_BASE64 + 1];
        EVP_EncodeBlock((uint8_t *)wrapped, slot->wrapped[0], WRAPPED_KEY_SIZE);
        json_array_append_new(slots, json_pack("{s:i, s:i, s:I, s:s}", "kind", slot->kind, "state", slot->state, "number",
                                               (json_int_t)le32_get(slot->number), "wrapped", wrapped));
    }
    return slots;
}

static json_t *devices_json(const struct key_backup *backup, bool brief)
{
    json_t *devices = json_array();
    for (size_t i = 0; i < backup->device_count && !brief; i++)
        json_array_append_new(devices, json_pack("{s:o, s:o}", "device", uuid_json(backup->devices[i].id), "slots",
                                                 slots_json(&backup->devices[i])));
    return devices;
}

static enum error text_make(const struct key_backup *backup, bool brief, char **text)
{
    json_t *conf = json_string(brief || backup->conf == NULL ? "" : backup->conf);
    if (conf == NULL)
        return error_explain(ERROR_INVALID, "coffer.conf is not UTF-8: rename what it names, or it cannot be kept in a backup");
    AUTO_JSON json_t *root = json_pack(
        "{s:i, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "version", TEXT_VERSION, "pool", uuid_json(backup->pool),
        "provider", uuid_json(backup->provider), "provider_name", backup->provider_name, "key",
        backup->is_kek ? "kek" : "kdk", "kek_number", number_json(backup->kek_number), "kek_salt",
        number_json(backup->kek_salt), "made", number_json(backup->made), "devices", devices_json(backup, brief), "conf", conf);
    if (root == NULL)
        return ERROR_NO_MEMORY;
    *text = json_dumps(root, JSON_INDENT(1));
    return *text == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

/* "coffer PROVIDER POOL", and what kind of key it is where it is not the root of all. */
static void name_make(const struct key_backup *backup, char name[PKCS12_NAME_MAX + 1])
{
    char pool[UUID_TEXT_SIZE];
    uuid_format(backup->pool, pool);
    int used = snprintf(name, PKCS12_NAME_MAX + 1, "coffer %s %s", backup->provider_name, pool);
    if (backup->is_kek)
        snprintf(name + used, (size_t)(PKCS12_NAME_MAX + 1 - used), " KEK %" PRIu64, backup->kek_number);
}

enum error key_backup_encode(const struct key_backup *backup, bool brief, const struct provider_secret *password,
                             uint8_t **data, size_t *size)
{
    AUTO_FREE char *text = NULL;
    TRY(text_make(backup, brief, &text));
    struct pkcs12 *content = arena_allocate(sizeof *content);
    if (content == NULL)
        return ERROR_NO_MEMORY;
    name_make(backup, content->name);
    memcpy(content->kcv, backup->kcv, KCV_SIZE);
    memcpy(content->key, backup->key, KEY_SIZE);
    content->text = text;
    content->text_size = strlen(text);
    enum error error = content->text_size > PKCS12_TEXT_MAX
                           ? error_explain(ERROR_TOO_LARGE, "key slots and coffer.conf are too much for a backup")
                           : pkcs12_encode(content, password->passphrase, password->passphrase_size, data, size);
    arena_free(content);
    return error;
}

/* ---- from a file -------------------------------------------------------------------------------------------------- */

static enum error unsound(const char *what)
{
    return error_explain(ERROR_CORRUPT, "what the backup says of the pool is damaged: %s", what);
}

static bool number_take(const char *text, uint64_t *number)
{
    char *end;
    if (strlen(text) != NUMBER_DIGITS || strspn(text, "0123456789abcdef") != NUMBER_DIGITS)
        return false;
    *number = strtoull(text, &end, 16);
    return *end == '\0';
}

static bool wrapped_take(const char *text, uint8_t wrapped[WRAPPED_KEY_SIZE])
{
    uint8_t decoded[WRAPPED_BASE64];
    if (strlen(text) != WRAPPED_BASE64 ||
        EVP_DecodeBlock(decoded, (const uint8_t *)text, WRAPPED_BASE64) != WRAPPED_BASE64 / 4 * 3)
        return false;
    memcpy(wrapped, decoded, WRAPPED_KEY_SIZE);
    return true;
}

static enum error slot_take(json_t *json, struct key_slot_format *slot)
{
    int kind, state;
    json_int_t number;
    const char *wrapped;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:i, s:i, s:I, s:s}", "kind", &kind, "state", &state, "number", &number,
                       "wrapped", &wrapped) != 0 ||
        kind < 0 || kind > UINT8_MAX || state < 0 || state > UINT8_MAX || number < 0 || number > UINT32_MAX ||
        !wrapped_take(wrapped, slot->wrapped[0]))
        return unsound("a key slot");
    slot->kind = (uint8_t)kind;
    slot->state = (uint8_t)state;
    slot->number = le32_make((uint32_t)number);
    return ERROR_NONE;
}

static enum error device_take(json_t *json, struct key_backup_device *device)
{
    const char *id;
    json_t *slots;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:s, s:o}", "device", &id, "slots", &slots) != 0 ||
        uuid_parse(id, &device->id) != ERROR_NONE || !json_is_array(slots) || json_array_size(slots) == 0 ||
        json_array_size(slots) > KEY_SLOTS_MAX)
        return unsound("a device");
    device->slots = memory_zeroed(json_array_size(slots), sizeof *device->slots);
    if (device->slots == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < json_array_size(slots); i++)
        TRY(slot_take(json_array_get(slots, i), &device->slots[device->slot_count++]));
    return ERROR_NONE;
}

static enum error devices_take(json_t *json, struct key_backup *backup)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > GROUP_DEVICES_MAX)
        return unsound("its devices");
    if (count == 0)
        return ERROR_NONE;
    backup->devices = memory_zeroed(count, sizeof *backup->devices);
    if (backup->devices == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        TRY(device_take(json_array_get(json, i), &backup->devices[backup->device_count++]));
    return ERROR_NONE;
}

static enum error root_take(json_t *root, struct key_backup *backup)
{
    int version;
    const char *pool, *provider, *name, *key, *number, *salt, *made, *conf;
    json_t *devices;
    if (json_unpack(root, "{s:i}", "version", &version) == 0 && version > TEXT_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "written by a newer version of Coffer (format %d, known is %d)", version,
                             TEXT_VERSION);
    if (json_unpack_ex(root, NULL, JSON_STRICT, "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "version", &version,
                       "pool", &pool, "provider", &provider, "provider_name", &name, "key", &key, "kek_number", &number,
                       "kek_salt", &salt, "made", &made, "devices", &devices, "conf", &conf) != 0)
        return unsound("a member is missing, unknown, or of another kind");
    if (version != TEXT_VERSION || uuid_parse(pool, &backup->pool) != ERROR_NONE ||
        uuid_parse(provider, &backup->provider) != ERROR_NONE || !pool_conf_name_is_valid(name, PROVIDER_NAME_MAX) ||
        (strcmp(key, "kek") != 0 && strcmp(key, "kdk") != 0) || !number_take(number, &backup->kek_number) ||
        !number_take(salt, &backup->kek_salt) || !number_take(made, &backup->made))
        return unsound("a value");
    snprintf(backup->provider_name, sizeof backup->provider_name, "%s", name);
    backup->is_kek = strcmp(key, "kek") == 0;
    backup->conf = conf[0] == '\0' ? NULL : strdup(conf);
    if (conf[0] != '\0' && backup->conf == NULL)
        return ERROR_NO_MEMORY;
    return devices_take(devices, backup);
}

static enum error text_take(const struct pkcs12 *content, struct key_backup *backup)
{
    AUTO_JSON json_t *root = json_loadb(content->text, content->text_size, JSON_REJECT_DUPLICATES, NULL);
    return root == NULL ? unsound("it is no JSON") : root_take(root, backup);
}

static enum error content_take(const struct pkcs12 *content, struct key_backup *backup)
{
    uint8_t kcv[KCV_SIZE];
    TRY(text_take(content, backup));
    memcpy(backup->key, content->key, KEY_SIZE);
    memcpy(backup->kcv, content->kcv, KCV_SIZE);
    TRY(kcv_derive(backup->key, backup->provider, kcv));
    return memory_compare_constant_time(kcv, backup->kcv, KCV_SIZE) == 0 ? ERROR_NONE
                                                                         : unsound("the key does not fit its check value");
}

static enum error backup_decode(const void *data, size_t size, const struct provider_secret *password,
                                struct pkcs12 *content, struct key_backup *backup)
{
    TRY(pkcs12_decode(data, size, password->passphrase, password->passphrase_size, content));
    enum error error = content_take(content, backup);
    pkcs12_forget(content);
    return error;
}

enum error key_backup_decode(const void *data, size_t size, const struct provider_secret *password,
                             struct key_backup **backup)
{
    struct pkcs12 *content = arena_allocate(sizeof *content);
    struct key_backup *made = content == NULL ? NULL : arena_allocate(sizeof *made);
    enum error error = made == NULL ? ERROR_NO_MEMORY : backup_decode(data, size, password, content, made);
    arena_free(content);
    if (error != ERROR_NONE)
        key_backup_destroy(made);
    else
        *backup = made;
    return error;
}
