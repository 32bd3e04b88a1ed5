/* What the crash tests write: blocks of every kind that the write path treats differently. */
#ifndef COFFER_TESTS_CRASH_CONTENT_H
#define COFFER_TESTS_CRASH_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#include "tests/crash/random.h"

/* Fills `size` bytes: each 4 KiB of them random, half compressible, of one repeated byte, zero, or one of a few
 * contents that all threads share and that therefore deduplicate. */
void content_fill(struct dice *dice, void *out, size_t size);
/* Most of them are of the last kind, and fewer. */
extern bool content_repeats;
/* Most of them are random, so that one can take the place of another. */
extern bool content_has_one_length;

/* What the model keeps of a content. */
uint64_t content_hash(const void *data, size_t size);

#endif
