/* Figures and words as people read or type them. Functions that take a buffer return it. */
#ifndef COFFER_TOOLS_TEXT_H
#define COFFER_TOOLS_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_SIZE 64 /* room for any of the figures */

/* "2026-11-30 07:00", local time; "-" for 0. */
const char *text_time(uint64_t seconds, char text[TEXT_SIZE]);
const char *text_size(uint64_t bytes, char text[TEXT_SIZE]);
/* "12.3 %" of whole; "-" where whole is 0. */
const char *text_percent(double part, double whole, char text[TEXT_SIZE]);
/* How many of the whole one stored byte holds: "2.74x"; "-" where stored is 0. */
const char *text_factor(uint64_t whole, uint64_t stored, char text[TEXT_SIZE]);
/* The time from `now` to `then`, rounded: "7 d", "5 h". */
const char *text_until(uint64_t now, uint64_t then, char text[TEXT_SIZE]);

/* A name that comes from outside (valid UTF-8), and is only shown: characters that cannot be seen, or turn what stands beside
 * them around, as <U+202E>. One that does not fit is cut. */
const char *text_name(const char *name, char *text, size_t size);

/* Breaks lines between words so that each has at most `width` characters (a longer word keeps its length), each but the
 * first begun by `indent` blanks besides; 0: not at all. malloc'ed; NULL when out of memory. */
char *text_wrap(const char *text, size_t width, size_t indent) __attribute__((warn_unused_result));

#endif
