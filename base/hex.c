/* Hexadecimal digits: the one place where bytes become such and come from such. Pure: no state, no locks. */
#include "base/hex.h"

static const char digits[] = "0123456789abcdef";

void hex_format(const void *bytes, size_t size, char *text)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++) {
        *text++ = digits[from[i] >> 4];
        *text++ = digits[from[i] & 15];
    }
    *text = '\0';
}

int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool hex_parse_typed(const char *text, size_t length, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    if (length != 2 * size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (hex_digit(text[i]) < 0)
            return false;
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

bool hex_parse(const char *text, size_t length, void *bytes, size_t size)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] >= 'A' && text[i] <= 'F')
            return false;
    return hex_parse_typed(text, length, bytes, size);
}
