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

struct range {
    uint32_t first, last;
};

static bool is_among(const struct range *ranges, size_t count, uint32_t code)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            return true;
    return false;
}

bool utf8_is_unseen(uint32_t code)
{
    static const struct range unseen[] = {
        {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},
        {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
        {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };
    return is_among(unseen, sizeof unseen / sizeof unseen[0], code);
}

#define ZERO_WIDTH_NON_JOINER 0x200c
#define ZERO_WIDTH_JOINER     0x200d
#define EMOJI_STYLE           0xfe0f

/* Letters, and marks on them, of the scripts whose writing joins and parts them; without digits and punctuation. */
static bool is_joining(uint32_t code)
{
    static const struct range joining[] = {
        {0x620, 0x65f},   {0x66e, 0x6d3},   {0x6d5, 0x6dc},   {0x6df, 0x6ef},   {0x6fa, 0x6ff},   /* Arabic */
        {0x710, 0x77f},   {0x7ca, 0x7f5},   {0x840, 0x85b},   {0x860, 0x86a},   {0x870, 0x88e},   /* Syriac, N'Ko, Mandaic */
        {0x898, 0x8e1},   {0x8e3, 0x8ff},                                                         /* Arabic, extended */
        {0x1000, 0x103f}, {0x1050, 0x108f}, {0x1780, 0x17b3}, {0x17b6, 0x17d3}, {0x1820, 0x18aa}, /* Myanmar, Khmer, … */
    };
    bool indic = code >= 0x900 && code <= 0xdff;
    bool letter = (code & 0x7f) < 0x64 || (code & 0x7f) > 0x6f; /* each of the Indic blocks has its digits there */
    return indic ? letter : is_among(joining, sizeof joining / sizeof joining[0], code);
}

static bool is_emoji(uint32_t code)
{
    static const struct range emoji[] = {{0x2600, 0x27bf}, {0x1f000, 0x1faff}};
    return is_among(emoji, sizeof emoji / sizeof emoji[0], code);
}

bool utf8_is_hidden(uint32_t before, uint32_t code, uint32_t after)
{
    bool letters = is_joining(before) && is_joining(after);
    if (code == EMOJI_STYLE)
        return !is_emoji(before);
    if (code == ZERO_WIDTH_JOINER)
        return !letters && !((is_emoji(before) || before == EMOJI_STYLE) && is_emoji(after));
    return code == ZERO_WIDTH_NON_JOINER ? !letters : utf8_is_unseen(code);
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
