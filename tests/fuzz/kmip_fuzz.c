/*
 * Answers of KMIP servers. The first byte names the operation that was asked for, the second the version; the rest is what
 * came. What is taken from it is held against its rules: identifiers and words can be printed, a key is no row of zeros,
 * and a key of which Get and Get Attributes would be taken has the attributes of one.
 */
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/kmip/message.h"

#define NAME "coffer/11111111-1111-4111-8111-111111111111/kek/1"
#define ID   "7"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum kmip_operation operations[] = {
    KMIP_DISCOVER_VERSIONS, KMIP_QUERY, KMIP_LOCATE, KMIP_CREATE,  KMIP_REGISTER,
    KMIP_GET,               KMIP_GET_ATTRIBUTES,     KMIP_ACTIVATE, KMIP_REVOKE, KMIP_DESTROY,
};

static void assert_printable(const char *text, size_t size_max, char from)
{
    ASSERT(strnlen(text, size_max + 1) <= size_max);
    for (; *text != '\0'; text++)
        ASSERT(*text >= from && *text < 0x7f);
}

static void locate(const struct ttlv *payload)
{
    size_t count;
    char id[KMIP_ID_MAX + 1];
    if (kmip_locate_read(payload, &count, id) != ERROR_NONE)
        return;
    assert_printable(id, KMIP_ID_MAX, '!');
    ASSERT((count == 0) == (id[0] == '\0'));
}

static void attributes(const struct ttlv *payload, struct kmip_version version)
{
    struct kmip_attributes found;
    if (kmip_get_attributes_read(payload, version, ID, NAME, &found) != ERROR_NONE)
        return;
    ASSERT(kmip_state_name(found.state)[0] != '\0');
    if (kmip_attributes_check(&found) == ERROR_NONE)
        ASSERT(found.algorithm == 3 && found.length == 256 && (found.usage_mask & 0x200) != 0 && found.has_name);
}

static void key(const struct ttlv *payload)
{
    uint8_t found[KEY_SIZE];
    if (kmip_get_read(payload, ID, found) == ERROR_NONE)
        ASSERT(!memory_is_zero(found, sizeof(found)));
}

static void id(const struct ttlv *payload, const char *expected)
{
    char found[KMIP_ID_MAX + 1];
    if (kmip_id_read(payload, expected, found) != ERROR_NONE)
        return;
    assert_printable(found, KMIP_ID_MAX, '!');
    ASSERT(found[0] != '\0' && (expected == NULL || strcmp(found, expected) == 0));
}

static void payload_take(const struct ttlv *payload, struct kmip_version version, enum kmip_operation operation)
{
    struct kmip_version agreed;
    char vendor[KMIP_TEXT_MAX + 1];
    switch (operation) {
    case KMIP_DISCOVER_VERSIONS:
        if (kmip_discover_read(payload, &agreed) == ERROR_NONE)
            ASSERT((agreed.major == 2 && agreed.minor == 0) || (agreed.major == 1 && agreed.minor >= 2 && agreed.minor <= 4));
        break;
    case KMIP_QUERY:
        kmip_query_read(payload, vendor);
        assert_printable(vendor, KMIP_TEXT_MAX, ' ');
        break;
    case KMIP_LOCATE:
        locate(payload);
        break;
    case KMIP_GET:
        key(payload);
        break;
    case KMIP_GET_ATTRIBUTES:
        attributes(payload, version);
        break;
    default:
        id(payload, operation == KMIP_CREATE || operation == KMIP_REGISTER ? NULL : ID);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ttlv payload;
    if (size < 2)
        return 0;
    enum kmip_operation operation = operations[data[0] % COUNT_OF(operations)];
    struct kmip_version version = kmip_versions[data[1] % kmip_version_count];
    enum error error = kmip_answer_read(data + 2, size - 2, version, operation, &payload);
    if (error == ERROR_NONE)
        payload_take(&payload, version, operation);
    else
        assert_printable(error_sentence(error), 1023, ' ');
    return 0;
}
