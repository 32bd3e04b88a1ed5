/*
 * Reading and writing TTLV.
 *
 * The check is a loop with a stack of at most TTLV_DEPTH_MAX ends, so neither the C stack nor memory depends on what the
 * peer sent, and each byte is looked at once. Afterwards every length lies within its parent, so looking up need not
 * doubt them; it does not read beyond `size` of the structure that it was given in any case. No state, no locks, nothing
 * stored.
 */
#include "crypto/kmip/ttlv.h"

#include <string.h>

#include "base/endian.h"
#include "base/memory.h"

#define PADDED(size) (((size) + 7u) & ~7u)

static uint32_t number_at(const uint8_t *bytes)
{
    be32 value;
    memcpy(value.bytes, bytes, sizeof(value.bytes));
    return be32_get(value);
}

static struct ttlv item_at(const uint8_t *bytes)
{
    uint32_t head = number_at(bytes);
    return (struct ttlv){.tag = head >> 8,
                         .type = (enum ttlv_type)(head & 0xff),
                         .value = bytes + TTLV_HEADER_SIZE,
                         .size = number_at(bytes + 4)};
}

static enum error refuse(const char *what)
{
    return error_explain(ERROR_PROTOCOL, "the answer is no KMIP message: %s", what);
}

enum error ttlv_message_size(const uint8_t header[TTLV_HEADER_SIZE], size_t *size)
{
    struct ttlv item = item_at(header);
    if (item.type != TTLV_STRUCTURE)
        return refuse("it does not begin with a structure");
    if (item.size > TTLV_MESSAGE_MAX - TTLV_HEADER_SIZE)
        return error_explain(ERROR_TOO_LARGE, "the answer is larger than %u bytes", TTLV_MESSAGE_MAX);
    *size = TTLV_HEADER_SIZE + item.size;
    return ERROR_NONE;
}

/* The length that a type must have. */
static bool size_fits(const struct ttlv *item)
{
    switch (item->type) {
    case TTLV_STRUCTURE:
        return item->size % 8 == 0;
    case TTLV_INTEGER:
    case TTLV_ENUMERATION:
    case TTLV_INTERVAL:
        return item->size == 4;
    case TTLV_LONG_INTEGER:
    case TTLV_BOOLEAN:
    case TTLV_DATE_TIME:
    case TTLV_DATE_TIME_EXTENDED:
        return item->size == 8;
    case TTLV_BIG_INTEGER:
        return item->size > 0 && item->size % 8 == 0;
    case TTLV_TEXT:
    case TTLV_BYTES:
        return true;
    }
    return false;
}

/* An item at `at`, whole before `end`. */
static enum error item_check(const uint8_t *at, const uint8_t *end, struct ttlv *item)
{
    if ((size_t)(end - at) < TTLV_HEADER_SIZE)
        return refuse("it ends inside an item");
    *item = item_at(at);
    if (!size_fits(item))
        return refuse("a type or length that there is not");
    if (item->size > TTLV_MESSAGE_MAX || PADDED((size_t)item->size) > (size_t)(end - item->value))
        return refuse("an item reaches beyond what holds it");
    return ERROR_NONE;
}

enum error ttlv_check(const void *message, size_t size, struct ttlv *root)
{
    const uint8_t *at = message, *ends[TTLV_DEPTH_MAX + 1] = {at + size};
    unsigned depth = 0;
    size_t whole;
    if (size < TTLV_HEADER_SIZE)
        return refuse("it is too short");
    TRY(ttlv_message_size(message, &whole));
    if (whole != size)
        return refuse("its length is not that of what came");
    struct ttlv item;
    do {
        TRY(item_check(at, ends[depth], &item));
        at = item.value + (item.type == TTLV_STRUCTURE ? 0 : PADDED(item.size));
        if (item.type == TTLV_STRUCTURE) {
            if (depth == TTLV_DEPTH_MAX)
                return refuse("structures are nested too deep");
            ends[++depth] = item.value + item.size;
        }
        while (depth > 0 && at == ends[depth])
            depth--;
    } while (depth > 0);
    *root = item_at(message);
    return ERROR_NONE;
}

/* ---- looking up ------------------------------------------------------------------------------------------------------- */

bool ttlv_next(const struct ttlv *structure, struct ttlv *next)
{
    const uint8_t *end = structure->value + structure->size;
    const uint8_t *at = next->value == NULL ? structure->value : next->value + PADDED(next->size);
    if ((size_t)(end - at) < TTLV_HEADER_SIZE)
        return false;
    *next = item_at(at);
    ASSERT(PADDED((size_t)next->size) <= (size_t)(end - next->value));
    return true;
}

bool ttlv_find(const struct ttlv *structure, uint32_t tag, enum ttlv_type type, struct ttlv *item)
{
    struct ttlv found = {0};
    while (ttlv_next(structure, &found))
        if (found.tag == tag) {
            if (found.type != type)
                return false;
            *item = found;
            return true;
        }
    return false;
}

uint32_t ttlv_number(const struct ttlv *item)
{
    ASSERT(item->size == 4);
    return number_at(item->value);
}

bool ttlv_text_equal(const struct ttlv *item, const char *text)
{
    return item->size == strlen(text) && memcmp(item->value, text, item->size) == 0;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

/* Header and zeroed room for the value; NULL where it does not fit. */
static uint8_t *item_put(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, size_t size)
{
    size_t whole = TTLV_HEADER_SIZE + PADDED(size);
    if (writer->full || size > TTLV_MESSAGE_MAX || whole > writer->room - writer->used) {
        writer->full = true;
        return NULL;
    }
    uint8_t *item = writer->bytes + writer->used;
    be32 head = be32_make(tag << 8 | type), length = be32_make((uint32_t)size);
    memset(item, 0, whole);
    memcpy(item, head.bytes, sizeof(head.bytes));
    memcpy(item + 4, length.bytes, sizeof(length.bytes));
    writer->used += whole;
    return item + TTLV_HEADER_SIZE;
}

void ttlv_begin(struct ttlv_writer *writer, uint32_t tag)
{
    ASSERT(writer->depth < TTLV_DEPTH_MAX);
    writer->open[writer->depth++] = writer->used;
    item_put(writer, tag, TTLV_STRUCTURE, 0);
}

void ttlv_end(struct ttlv_writer *writer)
{
    ASSERT(writer->depth > 0);
    size_t begin = writer->open[--writer->depth];
    if (writer->full)
        return;
    be32 length = be32_make((uint32_t)(writer->used - begin - TTLV_HEADER_SIZE));
    memcpy(writer->bytes + begin + 4, length.bytes, sizeof(length.bytes));
}

static void number_put(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, uint32_t value)
{
    be32 number = be32_make(value);
    uint8_t *room = item_put(writer, tag, type, sizeof(number.bytes));
    if (room != NULL)
        memcpy(room, number.bytes, sizeof(number.bytes));
}

void ttlv_put_integer(struct ttlv_writer *writer, uint32_t tag, uint32_t value)
{
    number_put(writer, tag, TTLV_INTEGER, value);
}

void ttlv_put_enumeration(struct ttlv_writer *writer, uint32_t tag, uint32_t value)
{
    number_put(writer, tag, TTLV_ENUMERATION, value);
}

static void bytes_put(struct ttlv_writer *writer, uint32_t tag, enum ttlv_type type, const void *bytes, size_t size)
{
    uint8_t *room = item_put(writer, tag, type, size);
    if (room != NULL)
        memcpy(room, bytes, size);
}

void ttlv_put_text(struct ttlv_writer *writer, uint32_t tag, const char *text)
{
    bytes_put(writer, tag, TTLV_TEXT, text, strlen(text));
}

void ttlv_put_bytes(struct ttlv_writer *writer, uint32_t tag, const void *bytes, size_t size)
{
    bytes_put(writer, tag, TTLV_BYTES, bytes, size);
}
