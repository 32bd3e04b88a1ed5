/* Flat JSON objects: what is taken lies within the text, each name is there once, and each field can be asked for. */
#include <stdint.h>
#include <string.h>

#include "crypto/flat_json.h"

#define NAME_MAX_BYTES 255

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_within(struct flat_text text, const char *start, size_t size)
{
    return text.start >= start && text.start <= start + size && text.size <= size - (size_t)(text.start - start);
}

static void field_take(struct flat_object *object, const struct flat_field *field, const char *name)
{
    struct flat_text text;
    uint32_t number;
    ASSERT((flat_number_take(object, name, &number) == ERROR_NONE) == field->is_number);
    ASSERT((flat_text_take(object, name, &text) == ERROR_NONE) == !field->is_number);
    ASSERT(field->is_number ? number < 1000000000 : text.start == field->value.start && text.size == field->value.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct flat_object object;
    bool all = true;
    if (flat_object_parse(text, size, &object) != ERROR_NONE)
        return 0;
    ASSERT(object.count >= 1 && object.count <= FLAT_FIELDS_MAX);
    for (size_t i = 0; i < object.count; i++) {
        const struct flat_field *field = &object.fields[i];
        char name[NAME_MAX_BYTES + 1] = "";
        ASSERT(lies_within(field->name, text, size) && lies_within(field->value, text, size));
        if (field->name.size > NAME_MAX_BYTES) {
            all = false;
            continue;
        }
        memcpy(name, field->name.start, field->name.size);
        ASSERT(flat_object_finish(&object) != ERROR_NONE);
        field_take(&object, field, name);
    }
    ASSERT((flat_object_finish(&object) == ERROR_NONE) == all);
    return 0;
}
