/*
 * Answers: what a server says, checked before anything is made of it.
 *
 * The frame comes first (ttlv_check, header, one batch item, operation, result), then the payload. An item that is
 * missing, of another type, or there twice where it must be one, refuses the answer. The server chooses no algorithm, no
 * length and no format: they are compared with the only ones that there are. What a server says in words is shown to
 * people, so it is cut and made printable. Key bytes go from the caller's buffer to the caller's buffer and nowhere else.
 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/kmip/message.h"
#include "crypto/kmip/tags.h"

#define KEY_BITS (8u * KEY_SIZE)

const char *kmip_operation_name(enum kmip_operation operation)
{
    switch (operation) {
    case KMIP_CREATE:
        return "Create";
    case KMIP_REGISTER:
        return "Register";
    case KMIP_LOCATE:
        return "Locate";
    case KMIP_GET:
        return "Get";
    case KMIP_GET_ATTRIBUTES:
        return "Get Attributes";
    case KMIP_ACTIVATE:
        return "Activate";
    case KMIP_REVOKE:
        return "Revoke";
    case KMIP_DESTROY:
        return "Destroy";
    case KMIP_QUERY:
        return "Query";
    case KMIP_DISCOVER_VERSIONS:
        return "Discover Versions";
    }
    return "?";
}

const char *kmip_state_name(uint32_t state)
{
    static const char *const names[] = {"unknown",     "Pre-Active", "Active",
                                        "Deactivated", "Compromised", "Destroyed",
                                        "Destroyed Compromised"};
    return names[state < COUNT_OF(names) ? state : 0];
}

static enum error lacks(const char *what)
{
    return error_explain(ERROR_PROTOCOL, "the answer has no %s, or one of the wrong type", what);
}

/* Of a server's words what can be shown. */
static void text_show(const struct ttlv *item, char text[KMIP_TEXT_MAX + 1])
{
    size_t size = MIN((size_t)item->size, (size_t)KMIP_TEXT_MAX);
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(item->value[i] >= ' ' && item->value[i] < 0x7f ? item->value[i] : '?');
    text[size] = '\0';
}

/* ---- frame -------------------------------------------------------------------------------------------------------- */

static enum error version_read(const struct ttlv *structure, struct kmip_version *version)
{
    struct ttlv major, minor;
    if (!ttlv_find(structure, TAG_PROTOCOL_MAJOR, TTLV_INTEGER, &major) ||
        !ttlv_find(structure, TAG_PROTOCOL_MINOR, TTLV_INTEGER, &minor))
        return lacks("protocol version");
    *version = (struct kmip_version){ttlv_number(&major), ttlv_number(&minor)};
    return ERROR_NONE;
}

static enum error header_read(const struct ttlv *root, struct kmip_version *version)
{
    struct ttlv header, structure, count;
    if (root->tag != TAG_RESPONSE_MESSAGE || !ttlv_find(root, TAG_RESPONSE_HEADER, TTLV_STRUCTURE, &header))
        return lacks("header");
    if (!ttlv_find(&header, TAG_PROTOCOL_VERSION, TTLV_STRUCTURE, &structure))
        return lacks("protocol version");
    if (!ttlv_find(&header, TAG_BATCH_COUNT, TTLV_INTEGER, &count) || ttlv_number(&count) != 1)
        return error_explain(ERROR_PROTOCOL, "the answer is not to the one operation that was asked for");
    return version_read(&structure, version);
}

static enum error error_of_reason(uint32_t reason)
{
    switch (reason) {
    case REASON_ITEM_NOT_FOUND:
    case REASON_OBJECT_DESTROYED:
    case REASON_OBJECT_NOT_FOUND:
        return ERROR_NOT_FOUND;
    case REASON_AUTHENTICATION:
    case REASON_PERMISSION:
    case REASON_NOT_AUTHORISED:
        return ERROR_ACCESS;
    case REASON_NOT_SUPPORTED:
    case REASON_FEATURE:
    case REASON_VERSION:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_PROTOCOL;
    }
}

static enum error refusal(const struct ttlv *batch, enum kmip_operation operation)
{
    struct ttlv reason, words;
    char text[KMIP_TEXT_MAX + 1] = "no reason given";
    uint32_t number = 0;
    if (ttlv_find(batch, TAG_RESULT_REASON, TTLV_ENUMERATION, &reason))
        number = ttlv_number(&reason);
    if (ttlv_find(batch, TAG_RESULT_MESSAGE, TTLV_TEXT, &words))
        text_show(&words, text);
    return error_explain(error_of_reason(number), "the server refuses %s: %s (reason %#x)",
                         kmip_operation_name(operation), text, number);
}

enum error kmip_answer_read(const void *message, size_t size, struct kmip_version version,
                            enum kmip_operation operation, struct ttlv *payload)
{
    struct ttlv root, batch, status, said, found;
    struct kmip_version spoken;
    TRY(ttlv_check(message, size, &root));
    TRY(header_read(&root, &spoken));
    if (!ttlv_find(&root, TAG_BATCH_ITEM, TTLV_STRUCTURE, &batch))
        return lacks("batch item");
    if (!ttlv_find(&batch, TAG_RESULT_STATUS, TTLV_ENUMERATION, &status))
        return lacks("result");
    if (ttlv_number(&status) != STATUS_SUCCESS)
        return refusal(&batch, operation); /* may be framed in a version that we did not speak */
    if (spoken.major != version.major || spoken.minor != version.minor)
        return error_explain(ERROR_PROTOCOL, "the answer is of KMIP %u.%u, the request was of %u.%u", spoken.major,
                             spoken.minor, version.major, version.minor);
    if (!ttlv_find(&batch, TAG_OPERATION, TTLV_ENUMERATION, &said) || ttlv_number(&said) != operation)
        return error_explain(ERROR_PROTOCOL, "the answer is to another operation than %s",
                             kmip_operation_name(operation));
    if (!ttlv_find(&batch, TAG_RESPONSE_PAYLOAD, TTLV_STRUCTURE, &found))
        return lacks("payload");
    *payload = found;
    return ERROR_NONE;
}

/* ---- payloads ----------------------------------------------------------------------------------------------------- */

enum error kmip_discover_read(const struct ttlv *payload, struct kmip_version *version)
{
    size_t best = kmip_version_count;
    struct ttlv item = {0};
    while (ttlv_next(payload, &item)) {
        struct kmip_version offered;
        if (item.tag != TAG_PROTOCOL_VERSION || item.type != TTLV_STRUCTURE)
            continue;
        TRY(version_read(&item, &offered));
        for (size_t i = 0; i < best; i++)
            if (kmip_versions[i].major == offered.major && kmip_versions[i].minor == offered.minor)
                best = i;
    }
    if (best == kmip_version_count)
        return error_explain(ERROR_UNSUPPORTED, "the server speaks none of KMIP 1.2, 1.3, 1.4 and 2.0");
    *version = kmip_versions[best];
    return ERROR_NONE;
}

void kmip_query_read(const struct ttlv *payload, char vendor[KMIP_TEXT_MAX + 1])
{
    struct ttlv words;
    vendor[0] = '\0';
    if (ttlv_find(payload, TAG_VENDOR_IDENTIFICATION, TTLV_TEXT, &words))
        text_show(&words, vendor);
}

/* Printable and without blanks, since it is said in messages and sent back as it is. */
static enum error id_copy(const struct ttlv *item, char id[KMIP_ID_MAX + 1])
{
    bool printable = item->size > 0 && item->size <= KMIP_ID_MAX;
    for (size_t i = 0; printable && i < item->size; i++)
        printable = item->value[i] > ' ' && item->value[i] < 0x7f;
    if (!printable)
        return error_explain(ERROR_PROTOCOL, "the answer names a key by something that is no identifier");
    memcpy(id, item->value, item->size);
    id[item->size] = '\0';
    return ERROR_NONE;
}

enum error kmip_locate_read(const struct ttlv *payload, size_t *count, char id[KMIP_ID_MAX + 1])
{
    size_t found = 0;
    char first[KMIP_ID_MAX + 1] = "";
    struct ttlv item = {0};
    while (ttlv_next(payload, &item)) {
        if (item.tag != TAG_UNIQUE_IDENTIFIER)
            continue;
        if (item.type != TTLV_TEXT)
            return lacks("unique identifier");
        if (found++ == 0)
            TRY(id_copy(&item, first));
    }
    memcpy(id, first, sizeof(first));
    *count = found;
    return ERROR_NONE;
}

enum error kmip_id_read(const struct ttlv *payload, const char *expected, char id[KMIP_ID_MAX + 1])
{
    struct ttlv item;
    char found[KMIP_ID_MAX + 1];
    if (!ttlv_find(payload, TAG_UNIQUE_IDENTIFIER, TTLV_TEXT, &item))
        return lacks("unique identifier");
    TRY(id_copy(&item, found));
    if (expected != NULL && strcmp(found, expected) != 0)
        return error_explain(ERROR_FORGED, "the answer is about key %s, not %s", found, expected);
    memcpy(id, found, sizeof(found));
    return ERROR_NONE;
}

static enum error id_compare(const struct ttlv *payload, const char *expected)
{
    char id[KMIP_ID_MAX + 1];
    return kmip_id_read(payload, expected, id);
}

/* ---- attributes --------------------------------------------------------------------------------------------------- */

enum { HAS_STATE = 1, HAS_ALGORITHM = 2, HAS_LENGTH = 4, HAS_MASK = 8, HAS_ALL = 15 };

/* One of a key's attributes that are numbers; where it came twice the server says nothing that can be relied on. */
static enum error number_take(const struct ttlv *item, enum ttlv_type type, unsigned bit, uint32_t *number, unsigned *has)
{
    if (item->type != type)
        return lacks("attribute that was asked for");
    if ((*has & bit) != 0)
        return error_explain(ERROR_PROTOCOL, "the answer gives one attribute twice");
    *has |= bit;
    *number = ttlv_number(item);
    return ERROR_NONE;
}

static enum error attribute_take(uint32_t tag, const struct ttlv *value, const char *name,
                                 struct kmip_attributes *attributes, unsigned *has)
{
    struct ttlv text;
    switch (tag) {
    case TAG_STATE:
        return number_take(value, TTLV_ENUMERATION, HAS_STATE, &attributes->state, has);
    case TAG_ALGORITHM:
        return number_take(value, TTLV_ENUMERATION, HAS_ALGORITHM, &attributes->algorithm, has);
    case TAG_LENGTH:
        return number_take(value, TTLV_INTEGER, HAS_LENGTH, &attributes->length, has);
    case TAG_USAGE_MASK:
        return number_take(value, TTLV_INTEGER, HAS_MASK, &attributes->usage_mask, has);
    case TAG_NAME:
        if (value->type != TTLV_STRUCTURE || !ttlv_find(value, TAG_NAME_VALUE, TTLV_TEXT, &text))
            return lacks("name");
        attributes->has_name |= ttlv_text_equal(&text, name);
        return ERROR_NONE;
    default:
        return ERROR_NONE;
    }
}

/* The tag of an attribute that is named in words, up to 1.4; 0 for those that are not asked for. */
static uint32_t tag_of_name(const struct ttlv *name)
{
    static const struct { const char *name; uint32_t tag; } known[] = {
        {"State", TAG_STATE},
        {"Cryptographic Algorithm", TAG_ALGORITHM},
        {"Cryptographic Length", TAG_LENGTH},
        {"Cryptographic Usage Mask", TAG_USAGE_MASK},
        {"Name", TAG_NAME},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (ttlv_text_equal(name, known[i].name))
            return known[i].tag;
    return 0;
}

static enum error old_attributes_read(const struct ttlv *payload, const char *name,
                                      struct kmip_attributes *attributes, unsigned *has)
{
    struct ttlv item = {0};
    while (ttlv_next(payload, &item)) {
        struct ttlv words, value = {0};
        bool valued = false;
        if (item.tag != TAG_ATTRIBUTE || item.type != TTLV_STRUCTURE)
            continue;
        if (!ttlv_find(&item, TAG_ATTRIBUTE_NAME, TTLV_TEXT, &words))
            return lacks("name of an attribute");
        while (!valued && ttlv_next(&item, &value))
            valued = value.tag == TAG_ATTRIBUTE_VALUE;
        if (!valued)
            return lacks("value of an attribute");
        TRY(attribute_take(tag_of_name(&words), &value, name, attributes, has));
    }
    return ERROR_NONE;
}

static enum error typed_attributes_read(const struct ttlv *payload, const char *name,
                                        struct kmip_attributes *attributes, unsigned *has)
{
    struct ttlv list, item = {0};
    if (!ttlv_find(payload, TAG_ATTRIBUTES, TTLV_STRUCTURE, &list))
        return lacks("attributes");
    while (ttlv_next(&list, &item))
        TRY(attribute_take(item.tag, &item, name, attributes, has));
    return ERROR_NONE;
}

enum error kmip_get_attributes_read(const struct ttlv *payload, struct kmip_version version, const char *id,
                                    const char *name, struct kmip_attributes *attributes)
{
    struct kmip_attributes found = {0};
    unsigned has = 0;
    TRY(id_compare(payload, id));
    TRY(version.major >= 2 ? typed_attributes_read(payload, name, &found, &has)
                           : old_attributes_read(payload, name, &found, &has));
    if (has != HAS_ALL)
        return error_explain(ERROR_PROTOCOL, "the answer lacks one of state, algorithm, length and usage mask");
    *attributes = found;
    return ERROR_NONE;
}

enum error kmip_attributes_check(const struct kmip_attributes *attributes)
{
    if (attributes->algorithm != ALGORITHM_AES || attributes->length != KEY_BITS)
        return error_explain(ERROR_FORGED, "the key is not AES with %u bits: algorithm %u, %u bits", KEY_BITS,
                             attributes->algorithm, attributes->length);
    if ((attributes->usage_mask & MASK_DERIVE_KEY) == 0)
        return error_explain(ERROR_FORGED, "the key's usage mask (%#x) does not allow Derive Key",
                             attributes->usage_mask);
    if (!attributes->has_name)
        return error_explain(ERROR_FORGED, "the key does not have the name by which it was found");
    return ERROR_NONE;
}

/* ---- the key ------------------------------------------------------------------------------------------------------ */

static bool is_number(const struct ttlv *structure, uint32_t tag, enum ttlv_type type, uint32_t number)
{
    struct ttlv item;
    return ttlv_find(structure, tag, type, &item) && ttlv_number(&item) == number;
}

static bool has_tag(const struct ttlv *structure, uint32_t tag)
{
    struct ttlv item = {0};
    while (ttlv_next(structure, &item))
        if (item.tag == tag)
            return true;
    return false;
}

static enum error material_take(const struct ttlv *block, uint8_t key[KEY_SIZE])
{
    struct ttlv value, material;
    if (!is_number(block, TAG_KEY_FORMAT, TTLV_ENUMERATION, FORMAT_RAW) || has_tag(block, TAG_KEY_WRAPPING_DATA) ||
        has_tag(block, TAG_KEY_COMPRESSION))
        return error_explain(ERROR_FORGED, "the key came in another format than raw bytes");
    if (!is_number(block, TAG_ALGORITHM, TTLV_ENUMERATION, ALGORITHM_AES) ||
        !is_number(block, TAG_LENGTH, TTLV_INTEGER, KEY_BITS))
        return error_explain(ERROR_FORGED, "the key is not AES with %u bits", KEY_BITS);
    if (!ttlv_find(block, TAG_KEY_VALUE, TTLV_STRUCTURE, &value) ||
        !ttlv_find(&value, TAG_KEY_MATERIAL, TTLV_BYTES, &material))
        return lacks("key");
    if (material.size != KEY_SIZE)
        return error_explain(ERROR_FORGED, "the key has %u bytes, not %u", material.size, KEY_SIZE);
    if (memory_is_zero(material.value, material.size))
        return error_explain(ERROR_FORGED, "the key is all zeros");
    memcpy(key, material.value, KEY_SIZE);
    return ERROR_NONE;
}

enum error kmip_get_read(const struct ttlv *payload, const char *id, uint8_t key[KEY_SIZE])
{
    struct ttlv object, block;
    TRY(id_compare(payload, id));
    if (!is_number(payload, TAG_OBJECT_TYPE, TTLV_ENUMERATION, OBJECT_SYMMETRIC_KEY))
        return error_explain(ERROR_FORGED, "what the server gave is no symmetric key");
    if (!ttlv_find(payload, TAG_SYMMETRIC_KEY, TTLV_STRUCTURE, &object) ||
        !ttlv_find(&object, TAG_KEY_BLOCK, TTLV_STRUCTURE, &block))
        return lacks("key");
    return material_take(&block, key);
}
