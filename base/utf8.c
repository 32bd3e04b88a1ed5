/* The least code point of each length rules out the longer spellings of a shorter one. Pure. */
#include "base/utf8.h"

size_t utf8_decode(const char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = bytes[0] < 0x80   ? 1
                  : bytes[0] < 0xc0 ? 0
                  : bytes[0] < 0xe0 ? 2
                  : bytes[0] < 0xf0 ? 3
                  : bytes[0] < 0xf8 ? 4
                                    : 0;
    if (size <= 1) {
        *code = bytes[0];
        return size;
    }
    *code = bytes[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (bytes[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code < 0xe000;
    return *code < least[size] || *code > 0x10ffff || surrogate ? 0 : size;
}

bool utf8_is_unseen(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } unseen[] = {
        {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},
        {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
        {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++)
        if (code >= unseen[i].first && code <= unseen[i].last)
            return true;
    return false;
}

#define ZERO_WIDTH_NON_JOINER 0x200c
#define ZERO_WIDTH_JOINER     0x200d
#define EMOJI_STYLE           0xfe0f
#define JOINING_FIRST         0x590 /* Hebrew; scripts before it have no characters that are joined */

static bool is_joined(uint32_t code) { return code >= JOINING_FIRST && !utf8_is_unseen(code); }

bool utf8_is_hidden(uint32_t before, uint32_t code, uint32_t after)
{
    if (code == EMOJI_STYLE)
        return !is_joined(before) || after == 0;
    if (code == ZERO_WIDTH_JOINER || code == ZERO_WIDTH_NON_JOINER)
        return !(is_joined(before) || before == EMOJI_STYLE) || !is_joined(after);
    return utf8_is_unseen(code);
}

bool utf8_is_printable(const char *text)
{
    for (size_t size; *text != '\0'; text += size) {
        uint32_t code;
        size = utf8_decode(text, &code);
        if (size == 0 || utf8_is_control(code))
            return false;
    }
    return true;
}
