/*
 * A strict reader of one flat JSON object of texts and whole numbers, for files that hold secrets. A general parser
 * copies each token on its way into ordinary memory, and nobody wipes those copies; this one only points into the
 * caller's text. Texts are printable ASCII without escapes, numbers have at most 9 digits; nothing else is accepted.
 */
#ifndef COFFER_CRYPTO_FLAT_JSON_H
#define COFFER_CRYPTO_FLAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

#define FLAT_FIELDS_MAX 16

struct flat_text {
    const char *start; /* in the text that was parsed */
    size_t size;
};

struct flat_field {
    struct flat_text name;
    struct flat_text value;
    bool is_number;
    bool taken;
};

struct flat_object {
    struct flat_field fields[FLAT_FIELDS_MAX];
    size_t count;
};

/* ERROR_CORRUPT, with the place, where `text` is anything else, has a name twice or too many fields. */
enum error flat_object_parse(const char *text, size_t size, struct flat_object *object) CHECKED;
/* ERROR_CORRUPT where there is no such field of this type. */
enum error flat_text_take(struct flat_object *object, const char *name, struct flat_text *value) CHECKED;
enum error flat_number_take(struct flat_object *object, const char *name, uint32_t *value) CHECKED;
/* Texts: hexadecimal digits in lower case, of so many bytes and of a number of 64 bits; a UUID. ERROR_CORRUPT where they are not. */
enum error flat_hex_bytes_take(struct flat_object *object, const char *name, uint8_t *bytes, size_t size) CHECKED;
enum error flat_hex_take(struct flat_object *object, const char *name, uint64_t *value) CHECKED;
enum error flat_uuid_take(struct flat_object *object, const char *name, struct uuid *value) CHECKED;
/* ERROR_CORRUPT, naming it, where a field was never taken: unknown to the reader. */
enum error flat_object_finish(const struct flat_object *object) CHECKED;

bool flat_text_equal(struct flat_text text, const char *string);

#endif
