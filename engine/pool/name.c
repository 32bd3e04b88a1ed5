/*
 * What an object may be called. '@' is kept for snapshots and '/' for paths in URIs; control characters would let a
 * name write over a terminal; invalid UTF-8 could stand in no JSON document. What cannot be seen, or turns the text
 * around, would let one name look like another: a new name has such a character only where its script or an emoji needs
 * it (base/utf8.h). Pure functions.
 */
#include "engine/pool/name.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"
#include "base/uuid.h"
#include "engine/coffer.h"

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
        size = utf8_decode(name + i, &code);
        if (size == 0)
            return error_explain(ERROR_INVALID, "an object's name must be valid UTF-8; byte %zu is not", i + 1);
        if (utf8_is_control(code))
            return error_explain(ERROR_INVALID,
                                 "an object's name must not hold control characters; byte %zu begins one", i + 1);
        if (code == '@' || code == '/')
            return error_explain(ERROR_INVALID, "an object's name must not hold '%c'", (char)code);
    }
    return ERROR_NONE;
}

enum error object_name_check_new(const char *name)
{
    uint32_t before = 0, code, after;
    TRY(object_name_check(name));
    for (size_t i = 0, size; name[i] != '\0'; i += size, before = code) {
        size = utf8_decode(name + i, &code);
        (void)utf8_decode(name + i + size, &after);
        if (utf8_is_hidden(before, code, after))
            return error_explain(ERROR_INVALID,
                                 "a name must not hold characters that cannot be seen or change the direction of writing; "
                                 "byte %zu begins one (U+%04X)",
                                 i + 1, code);
    }
    return ERROR_NONE;
}
