/* UTF-8 (RFC 3629): what bytes from outside may stand in a document or on a terminal. Pure. */
#ifndef COFFER_BASE_UTF8_H
#define COFFER_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at `text` (a string), and its code point; 0 where it is no valid UTF-8. */
size_t utf8_decode(const char *text, uint32_t *code);
/* Of Unicode's category Cc: it could write over a terminal. */
static inline bool utf8_is_control(uint32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }
/* Cannot be seen, or turns what stands beside it around: of Unicode 15's categories Cf (but what is seen), Zl and Zp,
 * fillers and variation selectors. Two texts that differ in such characters alone look the same. */
bool utf8_is_unseen(uint32_t code);
/* Likewise, where it stands between two others (0: none). Joiners are taken where writing needs them alone, which is where
 * they mostly change what is seen: between letters of Arabic and its kin, Indic scripts, Khmer, Myanmar and Mongolian; that
 * which joins also between emoji, and the style of emoji (U+FE0F) behind one. */
bool utf8_is_hidden(uint32_t before, uint32_t code, uint32_t after);
/* Valid throughout, and without control characters. */
bool utf8_is_printable(const char *text);

#endif
