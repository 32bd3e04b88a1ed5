/*
 * Reading and writing the witness's JSON.
 *
 * The MAC is made over the canonical text, not over the file's bytes, so that blanks do not matter to it. The reader is
 * strict: a member that is missing, unknown or of the wrong kind is damage, since nothing but this code writes the file
 * and unknown members would be lost at the next save. A newer version is told from damage by its number alone.
 *
 * Sequences use all 64 bits, which JSON numbers do not hold: they are hexadecimal texts. Pure functions, no locks.
 */
#include "engine/pool/witness_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/memory.h"

#define WITNESS_VERSION 1
#define MAC_SIZE        32
#define CANONICAL       (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)
#define READABLE        (JSON_INDENT(1) | JSON_SORT_KEYS | JSON_ENSURE_ASCII)

static void json_scope(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_scope)))

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static enum error damaged(const char *what)
{
    return error_explain(ERROR_CORRUPT, "\"%s\" is missing or not as it should be", what);
}

static enum error get_number(const json_t *object, const char *name, uint64_t *number)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return damaged(name);
    *number = (uint64_t)json_integer_value(member);
    return ERROR_NONE;
}

static enum error get_bool(const json_t *object, const char *name, bool *value)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_boolean(member))
        return damaged(name);
    *value = json_is_true(member);
    return ERROR_NONE;
}

static enum error get_uuid(const json_t *object, const char *name, struct uuid *uuid)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL && uuid_parse(text, uuid) == ERROR_NONE ? ERROR_NONE : damaged(name);
}

static bool hexadecimal(const char *text, uint8_t *bytes, size_t size)
{
    return text != NULL && hex_parse(text, strlen(text), bytes, size);
}

static enum error get_sequence(const json_t *object, const char *name, uint64_t *sequence)
{
    uint8_t bytes[8];
    if (!hexadecimal(json_string_value(json_object_get(object, name)), bytes, sizeof bytes))
        return damaged(name);
    *sequence = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *sequence = *sequence << 8 | bytes[i];
    return ERROR_NONE;
}

static enum error parse_device(const json_t *object, struct witness_device *device)
{
    if (json_object_size(object) != 4)
        return damaged("devices");
    TRY(get_uuid(object, "id", &device->id));
    TRY(get_bool(object, "encrypted", &device->encrypted));
    TRY(get_number(object, "epoch", &device->epoch));
    return get_number(object, "checkpoint", &device->checkpoint);
}

static enum error parse_group(const json_t *object, struct witness_group *group)
{
    if (json_object_size(object) != 3)
        return damaged("groups");
    TRY(get_uuid(object, "id", &group->id));
    TRY(get_bool(object, "active", &group->active));
    return get_sequence(object, "sequence", &group->sequence);
}

static enum error parse_devices(const json_t *root, struct witness *witness)
{
    const json_t *array = json_object_get(root, "devices");
    if (!json_is_array(array) || json_array_size(array) > WITNESS_DEVICES_MAX)
        return damaged("devices");
    witness->devices = memory_zeroed(json_array_size(array), sizeof *witness->devices);
    if (witness->devices == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < json_array_size(array); i++)
        TRY(parse_device(json_array_get(array, i), &witness->devices[i]));
    witness->device_count = json_array_size(array);
    return ERROR_NONE;
}

static enum error parse_groups(const json_t *root, struct witness *witness)
{
    const json_t *array = json_object_get(root, "groups");
    if (!json_is_array(array) || json_array_size(array) > WITNESS_GROUPS_MAX)
        return damaged("groups");
    witness->groups = memory_zeroed(json_array_size(array), sizeof *witness->groups);
    if (witness->groups == NULL)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < json_array_size(array); i++)
        TRY(parse_group(json_array_get(array, i), &witness->groups[i]));
    witness->group_count = json_array_size(array);
    return ERROR_NONE;
}

static enum error parse_audit(const json_t *object, struct audit_anchor *audit)
{
    if (json_object_size(object) != 2 ||
        !hexadecimal(json_string_value(json_object_get(object, "head")), audit->head, sizeof audit->head))
        return damaged("audit");
    TRY(get_number(object, "count", &audit->count));
    return audit->count ? ERROR_NONE : damaged("audit");
}

/* *count rises where there is one. */
static enum error get_kcv(const json_t *object, const char *name, struct witness_kcv *kcv, size_t *count)
{
    const json_t *member = json_object_get(object, name);
    if (member == NULL)
        return ERROR_NONE;
    kcv->known = true;
    (*count)++;
    return hexadecimal(json_string_value(member), kcv->bytes, KCV_SIZE) ? ERROR_NONE : damaged(name);
}

static enum error parse_retained(const json_t *root, struct witness *witness, size_t *count)
{
    const json_t *array = json_object_get(root, "retained");
    if (array == NULL)
        return ERROR_NONE;
    if (!json_is_array(array) || json_array_size(array) > WITNESS_RETAINED_MAX)
        return damaged("retained");
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *one = json_array_get(array, i);
        if (json_object_size(one) != 2)
            return damaged("retained");
        TRY(get_uuid(one, "provider", &witness->retained[i].provider));
        TRY(get_number(one, "kek_number", &witness->retained[i].kek_number));
    }
    witness->retained_count = json_array_size(array);
    (*count)++;
    return ERROR_NONE;
}

static enum error get_pool_key(const json_t *root, uint32_t *pool_key)
{
    uint64_t number;
    TRY(get_number(root, "pool_key", &number));
    if (number == 0 || number > UINT8_MAX)
        return damaged("pool_key");
    *pool_key = (uint32_t)number;
    return ERROR_NONE;
}

static enum error parse_fields(const json_t *root, struct witness *witness)
{
    TRY(get_uuid(root, "pool", &witness->pool));
    TRY(get_number(root, "epoch", &witness->epoch));
    TRY(get_uuid(root, "provider", &witness->provider));
    TRY(get_number(root, "kek_number", &witness->kek_number));
    TRY(get_bool(root, "encryption_floor", &witness->encryption_floor));
    TRY(parse_groups(root, witness));
    TRY(parse_devices(root, witness));
    bool rewriting = json_object_get(root, "rewriting") != NULL, audited = json_object_get(root, "audit") != NULL;
    size_t expected = 9u + rewriting + audited;
    TRY(get_pool_key(root, &witness->pool_key));
    if (rewriting)
        TRY(get_number(root, "rewriting", &witness->rewriting));
    if (audited)
        TRY(parse_audit(json_object_get(root, "audit"), &witness->audit));
    TRY(get_kcv(root, "kek_kcv", &witness->kek_kcv, &expected));
    TRY(get_kcv(root, "root_kcv", &witness->root_kcv, &expected));
    TRY(parse_retained(root, witness, &expected));
    return json_object_size(root) == expected ? ERROR_NONE : error_explain(ERROR_CORRUPT, "it has unknown members");
}

/* Takes the MAC out of the object and keeps the canonical text of the rest. */
static enum error take_mac(json_t *root, struct witness *witness)
{
    if (!hexadecimal(json_string_value(json_object_get(root, "mac")), witness->loaded_mac, MAC_SIZE))
        return damaged("mac");
    json_object_del(root, "mac");
    witness->loaded = json_dumps(root, CANONICAL);
    return witness->loaded == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error witness_text_parse(const void *bytes, size_t size, struct witness *witness)
{
    json_error_t fault;
    AUTO_JSON json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &fault);
    uint64_t version;
    if (!json_is_object(root))
        return error_explain(ERROR_CORRUPT, "it is not the JSON that it should be");
    TRY(get_number(root, "version", &version));
    if (version > WITNESS_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "it is of version %" PRIu64 ", this Coffer knows %d", version,
                             WITNESS_VERSION);
    if (version == 0)
        return damaged("version");
    TRY(take_mac(root, witness));
    return parse_fields(root, witness);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static json_t *uuid_json(struct uuid uuid)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(uuid, text);
    return json_string(text);
}

static json_t *number_json(uint64_t number)
{
    ASSERT(number <= INT64_MAX);
    return json_integer((json_int_t)number);
}

static json_t *sequence_json(uint64_t sequence)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, sequence);
    return json_string(text);
}

static json_t *bytes_json(const uint8_t *bytes, size_t size)
{
    char text[HEX_TEXT_SIZE(MAC_SIZE)];
    ASSERT(size <= MAC_SIZE);
    hex_format(bytes, size, text);
    return json_string(text);
}

/* jansson's "o" takes NULL for a failure of the whole and frees what was given with it. */
static json_t *devices_json(const struct witness *witness)
{
    json_t *array = json_array();
    for (size_t i = 0; i < witness->device_count; i++) {
        const struct witness_device *device = &witness->devices[i];
        json_array_append_new(array, json_pack("{s:o, s:b, s:o, s:o}", "id", uuid_json(device->id), "encrypted",
                                               device->encrypted, "epoch", number_json(device->epoch), "checkpoint",
                                               number_json(device->checkpoint)));
    }
    return array;
}

static json_t *groups_json(const struct witness *witness)
{
    json_t *array = json_array();
    for (size_t i = 0; i < witness->group_count; i++) {
        const struct witness_group *group = &witness->groups[i];
        json_array_append_new(array, json_pack("{s:o, s:b, s:o}", "id", uuid_json(group->id), "active", group->active,
                                               "sequence", sequence_json(group->sequence)));
    }
    return array;
}

static json_t *retained_json(const struct witness *witness)
{
    json_t *array = json_array();
    for (size_t i = 0; i < witness->retained_count; i++)
        json_array_append_new(array, json_pack("{s:o, s:o}", "provider", uuid_json(witness->retained[i].provider), "kek_number",
                                               number_json(witness->retained[i].kek_number)));
    return array;
}

/* The members that need not be there. */
static bool put_others(json_t *root, const struct witness *witness)
{
    bool put = true;
    if (witness->rewriting != 0)
        put = json_object_set_new(root, "rewriting", number_json(witness->rewriting)) == 0;
    if (put && witness->kek_kcv.known)
        put = json_object_set_new(root, "kek_kcv", bytes_json(witness->kek_kcv.bytes, KCV_SIZE)) == 0;
    if (put && witness->root_kcv.known)
        put = json_object_set_new(root, "root_kcv", bytes_json(witness->root_kcv.bytes, KCV_SIZE)) == 0;
    if (put && witness->retained_count != 0)
        put = json_object_set_new(root, "retained", retained_json(witness)) == 0 &&
              json_array_size(json_object_get(root, "retained")) == witness->retained_count;
    return put;
}

static bool is_whole(const json_t *root, const struct witness *witness)
{
    return root != NULL && json_array_size(json_object_get(root, "devices")) == witness->device_count &&
           json_array_size(json_object_get(root, "groups")) == witness->group_count;
}

static enum error canonical_mac(const struct witness *witness, const json_t *root, uint8_t mac[MAC_SIZE])
{
    AUTO_FREE char *canonical = json_dumps(root, CANONICAL);
    return canonical == NULL ? ERROR_NO_MEMORY : hmac_sha256(witness->key, canonical, strlen(canonical), mac);
}

enum error witness_text_compose(const struct witness *witness, char **text)
{
    AUTO_JSON json_t *root =
        json_pack("{s:i, s:i, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "version", WITNESS_VERSION, "pool_key", (int)witness->pool_key,
                  "pool", uuid_json(witness->pool), "epoch", number_json(witness->epoch), "provider",
                  uuid_json(witness->provider), "kek_number", number_json(witness->kek_number), "encryption_floor",
                  witness->encryption_floor, "groups", groups_json(witness), "devices", devices_json(witness));
    uint8_t mac[MAC_SIZE];
    if (!is_whole(root, witness) || !put_others(root, witness))
        return ERROR_NO_MEMORY;
    if (witness->audit.count &&
        json_object_set_new(root, "audit",
                            json_pack("{s:o, s:o}", "count", number_json(witness->audit.count), "head",
                                      bytes_json(witness->audit.head, sizeof witness->audit.head))) != 0)
        return ERROR_NO_MEMORY;
    TRY(canonical_mac(witness, root, mac));
    if (json_object_set_new(root, "mac", bytes_json(mac, MAC_SIZE)) != 0)
        return ERROR_NO_MEMORY;
    char *dumped = json_dumps(root, READABLE);
    if (dumped == NULL)
        return ERROR_NO_MEMORY;
    *text = dumped;
    return ERROR_NONE;
}
