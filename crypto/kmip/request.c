/*
 * Requests, written item by item in the order of the KMIP texts, which fix it. Pure functions of their arguments; what
 * does not fit into the caller's buffer marks its writer as full. A Register request holds a key in the clear.
 */
#include <string.h>

#include "base/memory.h"
#include "crypto/kmip/message.h"
#include "crypto/kmip/tags.h"

const struct kmip_version kmip_versions[] = {{2, 0}, {1, 4}, {1, 3}, {1, 2}};
const size_t kmip_version_count = COUNT_OF(kmip_versions);

#define KEY_BITS (8u * KEY_SIZE)

static bool has_typed_attributes(struct kmip_version version)
{
    return version.major >= 2;
}

/* ---- frame -------------------------------------------------------------------------------------------------------- */

static void version_put(struct ttlv_writer *writer, struct kmip_version version)
{
    ttlv_begin(writer, TAG_PROTOCOL_VERSION);
    ttlv_put_integer(writer, TAG_PROTOCOL_MAJOR, version.major);
    ttlv_put_integer(writer, TAG_PROTOCOL_MINOR, version.minor);
    ttlv_end(writer);
}

static void message_begin(struct ttlv_writer *writer, struct kmip_version version, enum kmip_operation operation)
{
    ttlv_begin(writer, TAG_REQUEST_MESSAGE);
    ttlv_begin(writer, TAG_REQUEST_HEADER);
    version_put(writer, version);
    ttlv_put_integer(writer, TAG_MAXIMUM_RESPONSE_SIZE, TTLV_MESSAGE_MAX);
    ttlv_put_integer(writer, TAG_BATCH_COUNT, 1);
    ttlv_end(writer);
    ttlv_begin(writer, TAG_BATCH_ITEM);
    ttlv_put_enumeration(writer, TAG_OPERATION, operation);
    ttlv_begin(writer, TAG_REQUEST_PAYLOAD);
}

static void message_end(struct ttlv_writer *writer)
{
    ttlv_end(writer);
    ttlv_end(writer);
    ttlv_end(writer);
}

/* ---- attributes --------------------------------------------------------------------------------------------------- */

/* An attribute up to 1.4 is its name and its value, whatever the value's type. */
static void attribute_begin(struct ttlv_writer *writer, const char *attribute)
{
    ttlv_begin(writer, TAG_ATTRIBUTE);
    ttlv_put_text(writer, TAG_ATTRIBUTE_NAME, attribute);
}

static void name_put(struct ttlv_writer *writer, struct kmip_version version, const char *name)
{
    bool typed = has_typed_attributes(version);
    if (!typed)
        attribute_begin(writer, "Name");
    ttlv_begin(writer, typed ? TAG_NAME : TAG_ATTRIBUTE_VALUE);
    ttlv_put_text(writer, TAG_NAME_VALUE, name);
    ttlv_put_enumeration(writer, TAG_NAME_TYPE, NAME_TEXT);
    ttlv_end(writer);
    if (!typed)
        ttlv_end(writer);
}

static void old_attributes_put(struct ttlv_writer *writer)
{
    attribute_begin(writer, "Cryptographic Algorithm");
    ttlv_put_enumeration(writer, TAG_ATTRIBUTE_VALUE, ALGORITHM_AES);
    ttlv_end(writer);
    attribute_begin(writer, "Cryptographic Length");
    ttlv_put_integer(writer, TAG_ATTRIBUTE_VALUE, KEY_BITS);
    ttlv_end(writer);
    attribute_begin(writer, "Cryptographic Usage Mask");
    ttlv_put_integer(writer, TAG_ATTRIBUTE_VALUE, MASK_DERIVE_KEY);
    ttlv_end(writer);
}

static void typed_attributes_put(struct ttlv_writer *writer)
{
    ttlv_put_enumeration(writer, TAG_ALGORITHM, ALGORITHM_AES);
    ttlv_put_integer(writer, TAG_LENGTH, KEY_BITS);
    ttlv_put_integer(writer, TAG_USAGE_MASK, MASK_DERIVE_KEY);
}

/* What a key of a pool is, for Create and Register. */
static void new_key_put(struct ttlv_writer *writer, struct kmip_version version, const char *name)
{
    ttlv_put_enumeration(writer, TAG_OBJECT_TYPE, OBJECT_SYMMETRIC_KEY);
    ttlv_begin(writer, has_typed_attributes(version) ? TAG_ATTRIBUTES : TAG_TEMPLATE_ATTRIBUTE);
    if (has_typed_attributes(version))
        typed_attributes_put(writer);
    else
        old_attributes_put(writer);
    name_put(writer, version, name);
    ttlv_end(writer);
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

void kmip_discover_write(struct ttlv_writer *writer, struct kmip_version version)
{
    message_begin(writer, version, KMIP_DISCOVER_VERSIONS);
    for (size_t i = 0; i < kmip_version_count; i++)
        version_put(writer, kmip_versions[i]);
    message_end(writer);
}

void kmip_query_write(struct ttlv_writer *writer, struct kmip_version version)
{
    message_begin(writer, version, KMIP_QUERY);
    ttlv_put_enumeration(writer, TAG_QUERY_FUNCTION, QUERY_SERVER);
    message_end(writer);
}

/* Two are enough to know that there is not one. */
void kmip_locate_write(struct ttlv_writer *writer, struct kmip_version version, const char *name)
{
    message_begin(writer, version, KMIP_LOCATE);
    ttlv_put_integer(writer, TAG_MAXIMUM_ITEMS, 2);
    if (has_typed_attributes(version))
        ttlv_begin(writer, TAG_ATTRIBUTES);
    name_put(writer, version, name);
    if (has_typed_attributes(version))
        ttlv_end(writer);
    message_end(writer);
}

void kmip_create_write(struct ttlv_writer *writer, struct kmip_version version, const char *name)
{
    message_begin(writer, version, KMIP_CREATE);
    new_key_put(writer, version, name);
    message_end(writer);
}

void kmip_register_write(struct ttlv_writer *writer, struct kmip_version version, const char *name,
                         const uint8_t key[KEY_SIZE])
{
    message_begin(writer, version, KMIP_REGISTER);
    new_key_put(writer, version, name);
    ttlv_begin(writer, TAG_SYMMETRIC_KEY);
    ttlv_begin(writer, TAG_KEY_BLOCK);
    ttlv_put_enumeration(writer, TAG_KEY_FORMAT, FORMAT_RAW);
    ttlv_begin(writer, TAG_KEY_VALUE);
    ttlv_put_bytes(writer, TAG_KEY_MATERIAL, key, KEY_SIZE);
    ttlv_end(writer);
    ttlv_put_enumeration(writer, TAG_ALGORITHM, ALGORITHM_AES);
    ttlv_put_integer(writer, TAG_LENGTH, KEY_BITS);
    ttlv_end(writer);
    ttlv_end(writer);
    message_end(writer);
}

void kmip_get_write(struct ttlv_writer *writer, struct kmip_version version, const char *id)
{
    message_begin(writer, version, KMIP_GET);
    ttlv_put_text(writer, TAG_UNIQUE_IDENTIFIER, id);
    ttlv_put_enumeration(writer, TAG_KEY_FORMAT, FORMAT_RAW);
    message_end(writer);
}

void kmip_get_attributes_write(struct ttlv_writer *writer, struct kmip_version version, const char *id)
{
    static const struct { const char *name; uint32_t tag; } wanted[] = {
        {"State", TAG_STATE},
        {"Cryptographic Algorithm", TAG_ALGORITHM},
        {"Cryptographic Length", TAG_LENGTH},
        {"Cryptographic Usage Mask", TAG_USAGE_MASK},
        {"Name", TAG_NAME},
    };
    message_begin(writer, version, KMIP_GET_ATTRIBUTES);
    ttlv_put_text(writer, TAG_UNIQUE_IDENTIFIER, id);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        if (has_typed_attributes(version))
            ttlv_put_enumeration(writer, TAG_ATTRIBUTE_REFERENCE, wanted[i].tag);
        else
            ttlv_put_text(writer, TAG_ATTRIBUTE_NAME, wanted[i].name);
    message_end(writer);
}

void kmip_change_write(struct ttlv_writer *writer, struct kmip_version version, enum kmip_operation operation,
                       const char *id)
{
    message_begin(writer, version, operation);
    ttlv_put_text(writer, TAG_UNIQUE_IDENTIFIER, id);
    if (operation == KMIP_REVOKE) {
        ttlv_begin(writer, TAG_REVOCATION_REASON);
        ttlv_put_enumeration(writer, TAG_REVOCATION_CODE, REVOKE_CESSATION);
        ttlv_end(writer);
    }
    message_end(writer);
}
