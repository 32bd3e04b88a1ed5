/*
 * One pass with a cursor that never leaves the text; a sentence about a fault tells the byte, never the contents,
 * because the contents may be a key. No state, no locks, no memory of its own.
 */
#include "crypto/flat_json.h"

#include <string.h>

#include "base/hex.h"

#define DIGITS_MAX 9

struct cursor {
    const char *start;
    size_t size;
    size_t at;
};

static enum error fault(const struct cursor *cursor, const char *what)
{
    return error_explain(ERROR_CORRUPT, "byte %zu: %s", cursor->at, what);
}

static char peek(const struct cursor *cursor)
{
    return cursor->at < cursor->size ? cursor->start[cursor->at] : 0;
}

static void space_skip(struct cursor *cursor)
{
    while (peek(cursor) == ' ' || peek(cursor) == '\t' || peek(cursor) == '\n' || peek(cursor) == '\r')
        cursor->at++;
}

static bool mark_skip(struct cursor *cursor, char mark)
{
    space_skip(cursor);
    if (peek(cursor) != mark)
        return false;
    cursor->at++;
    return true;
}

static enum error text_parse(struct cursor *cursor, struct flat_text *text)
{
    if (!mark_skip(cursor, '"'))
        return fault(cursor, "a text in quotes is missing");
    text->start = cursor->start + cursor->at;
    while (peek(cursor) >= ' ' && peek(cursor) <= '~' && peek(cursor) != '"' && peek(cursor) != '\\')
        cursor->at++;
    text->size = (size_t)(cursor->start + cursor->at - text->start);
    if (peek(cursor) != '"')
        return fault(cursor, "a text does not end, or has a character that is not allowed");
    cursor->at++;
    return ERROR_NONE;
}

static enum error number_parse(struct cursor *cursor, struct flat_text *text)
{
    text->start = cursor->start + cursor->at;
    while (peek(cursor) >= '0' && peek(cursor) <= '9')
        cursor->at++;
    text->size = (size_t)(cursor->start + cursor->at - text->start);
    if (text->size == 0 || text->size > DIGITS_MAX || (text->size > 1 && text->start[0] == '0'))
        return fault(cursor, "a text or a whole number is missing");
    return ERROR_NONE;
}

static bool flat_name_is_known(const struct flat_object *object, struct flat_text name)
{
    for (size_t i = 0; i < object->count; i++)
        if (object->fields[i].name.size == name.size &&
            memcmp(object->fields[i].name.start, name.start, name.size) == 0)
            return true;
    return false;
}

static enum error field_parse(struct cursor *cursor, struct flat_object *object)
{
    if (object->count == FLAT_FIELDS_MAX)
        return fault(cursor, "too many fields");
    struct flat_field field = {0};
    TRY(text_parse(cursor, &field.name));
    if (flat_name_is_known(object, field.name))
        return fault(cursor, "a field stands there twice");
    if (!mark_skip(cursor, ':'))
        return fault(cursor, "a colon is missing");
    space_skip(cursor);
    field.is_number = peek(cursor) != '"';
    TRY(field.is_number ? number_parse(cursor, &field.value) : text_parse(cursor, &field.value));
    object->fields[object->count++] = field;
    return ERROR_NONE;
}

enum error flat_object_parse(const char *text, size_t size, struct flat_object *object)
{
    struct cursor cursor = {.start = text, .size = size};
    struct flat_object found = {0};
    if (!mark_skip(&cursor, '{'))
        return fault(&cursor, "an opening brace is missing");
    do
        TRY(field_parse(&cursor, &found));
    while (mark_skip(&cursor, ','));
    if (!mark_skip(&cursor, '}'))
        return fault(&cursor, "a comma or a closing brace is missing");
    space_skip(&cursor);
    if (cursor.at != size)
        return fault(&cursor, "something follows the closing brace");
    *object = found;
    return ERROR_NONE;
}

static enum error field_take(struct flat_object *object, const char *name, bool is_number, struct flat_text *value)
{
    for (size_t i = 0; i < object->count; i++) {
        struct flat_field *field = &object->fields[i];
        if (!flat_text_equal(field->name, name) || field->is_number != is_number)
            continue;
        field->taken = true;
        *value = field->value;
        return ERROR_NONE;
    }
    return error_explain(ERROR_CORRUPT, "the %s \"%s\" is missing", is_number ? "number" : "text", name);
}

enum error flat_text_take(struct flat_object *object, const char *name, struct flat_text *value)
{
    return field_take(object, name, false, value);
}

enum error flat_number_take(struct flat_object *object, const char *name, uint32_t *value)
{
    struct flat_text digits;
    TRY(field_take(object, name, true, &digits));
    uint32_t number = 0;
    for (size_t i = 0; i < digits.size; i++)
        number = number * 10 + (uint32_t)(digits.start[i] - '0');
    *value = number;
    return ERROR_NONE;
}

enum error flat_hex_bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t size)
{
    struct flat_text text;
    TRY(flat_text_take(object, name, &text));
    return hex_parse(text.start, text.size, bytes, size)
               ? ERROR_NONE
               : error_explain(ERROR_CORRUPT, "\"%s\" is not %zu hexadecimal digits", name, 2 * size);
}

enum error flat_hex_take(struct flat_object *object, const char *name, uint64_t *value)
{
    uint8_t bytes[sizeof *value];
    TRY(flat_hex_bytes_take(object, name, bytes, sizeof bytes));
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        number = number << 8 | bytes[i];
    *value = number;
    return ERROR_NONE;
}

enum error flat_uuid_take(struct flat_object *object, const char *name, struct uuid *value)
{
    struct flat_text text;
    char string[UUID_TEXT_SIZE] = "";
    TRY(flat_text_take(object, name, &text));
    if (text.size == UUID_TEXT_SIZE - 1)
        memcpy(string, text.start, text.size);
    return uuid_parse(string, value) == ERROR_NONE ? ERROR_NONE : error_explain(ERROR_CORRUPT, "\"%s\" is not a UUID", name);
}

enum error flat_object_finish(const struct flat_object *object)
{
    for (size_t i = 0; i < object->count; i++) {
        const struct flat_field *field = &object->fields[i];
        if (!field->taken)
            return error_explain(ERROR_CORRUPT, "the field \"%.*s\" is unknown", (int)field->name.size,
                                 field->name.start);
    }
    return ERROR_NONE;
}

bool flat_text_equal(struct flat_text text, const char *string)
{
    return text.size == strlen(string) && memcmp(text.start, string, text.size) == 0;
}
