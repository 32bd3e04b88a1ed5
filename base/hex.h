/* Bytes as hexadecimal digits. */
#ifndef COFFER_BASE_HEX_H
#define COFFER_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEX_TEXT_SIZE(bytes) (2 * (bytes) + 1) /* with the terminating zero */

/* In lower case. What `text` holds may be secret: no other copy is made. */
void hex_format(const void *bytes, size_t size, char *text);

/* 0 to 15; -1 where it is no digit. Either case. */
int hex_digit(char digit);

/* False, with nothing written, where `text` is not just the digits of `size` bytes. The first takes lower case alone, as
 * hex_format() writes it; the second either case, as a person types it. */
bool hex_parse(const char *text, size_t length, void *bytes, size_t size);
bool hex_parse_typed(const char *text, size_t length, void *bytes, size_t size);

#endif
