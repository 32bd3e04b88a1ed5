/*
 * What an object may be called. '@' is kept for snapshots and '/' for paths in URIs; control characters would let a
 * name write over a terminal; invalid UTF-8 could stand in no JSON document. Pure functions.
 */
#include "engine/pool/name.h"

#include <stdint.h>
#include <string.h>

#include "base/uuid.h"
#include "engine/coffer.h"

/* The bytes of the character at `text` (a string), and its code point; 0 where it is no valid UTF-8. The least code
 * point of each length rules out the longer spellings of a shorter one. */
static size_t character_decode(const unsigned char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = text[0] < 0x80   ? 1
                  : text[0] < 0xc0 ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf8 ? 4
                                   : 0;
    if (size <= 1) {
        *code = text[0];
        return size;
    }
    *code = text[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < least[size] || *code > 0x10ffff || surrogate ? 0 : size;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

enum error object_name_check(const char *name)
{
    size_t length = strnlen(name, OBJECT_NAME_MAX + 1);
    if (length == 0)
        return error_explain(ERROR_INVALID, "an object's name must not be empty");
    if (length > OBJECT_NAME_MAX)
        return error_explain(ERROR_INVALID, "an object's name has at most %d bytes", OBJECT_NAME_MAX);
    struct uuid uuid;
    if (length == UUID_TEXT_SIZE - 1 && uuid_parse(name, &uuid) == ERROR_NONE)
        return error_explain(ERROR_INVALID, "an object's name must not be a UUID: objects are found by theirs");
    for (size_t i = 0, size; i < length; i += size) {
        uint32_t code;
        size = character_decode((const unsigned char *)name + i, &code);
        if (size == 0)
            return error_explain(ERROR_INVALID, "an object's name must be valid UTF-8; byte %zu is not", i + 1);
        if (is_control(code))
            return error_explain(ERROR_INVALID,
                                 "an object's name must not hold control characters; byte %zu begins one", i + 1);
        if (code == '@' || code == '/')
            return error_explain(ERROR_INVALID, "an object's name must not hold '%c'", (char)code);
    }
    return ERROR_NONE;
}
