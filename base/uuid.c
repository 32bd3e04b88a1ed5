/* UUIDs of version 4 (RFC 4122): 122 random bits, big-endian in text. No state, no locks. */
#include "base/uuid.h"

#include <string.h>

#include "base/hex.h"
#include "base/random.h"

struct uuid uuid_random(void)
{
    struct uuid uuid;
    random_bytes(uuid.bytes, sizeof uuid.bytes);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

bool uuid_equal(struct uuid a, struct uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

bool uuid_is_zero(struct uuid uuid)
{
    return uuid_equal(uuid, (struct uuid){{0}});
}

/* A dash stands before these bytes: 8-4-4-4-12 digits. */
static bool dash_before(size_t index)
{
    return index == 4 || index == 6 || index == 8 || index == 10;
}

void uuid_format(struct uuid uuid, char text[UUID_TEXT_SIZE])
{
    char *position = text;
    for (size_t i = 0; i < sizeof uuid.bytes; i++) {
        if (dash_before(i))
            *position++ = '-';
        hex_format(&uuid.bytes[i], 1, position);
        position += 2;
    }
}

enum error uuid_parse(const char *text, struct uuid *uuid)
{
    struct uuid parsed;
    const char *position = text;
    for (size_t i = 0; i < sizeof parsed.bytes; i++) {
        if (dash_before(i) && *position++ != '-')
            return ERROR_INVALID;
        int high = hex_digit(position[0]);
        int low = high < 0 ? -1 : hex_digit(position[1]);
        if (low < 0)
            return ERROR_INVALID;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
        position += 2;
    }
    if (*position != 0)
        return ERROR_INVALID;
    *uuid = parsed;
    return ERROR_NONE;
}
