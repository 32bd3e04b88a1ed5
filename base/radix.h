/*
 * Sorting of numbers without comparing them: by digits, the lowest first (LSD radix sort, Knuth, The Art of Computer
 * Programming 3, 5.2.5). Many times as fast as qsort() for the thousands of numbers that a merge sorts, where most lie
 * close together: only digits in which they differ cost a pass.
 */
#ifndef COFFER_BASE_RADIX_H
#define COFFER_BASE_RADIX_H

#include <stddef.h>
#include <stdint.h>

/* By rising value of the bits from `low_bit` (0 to 63) on; numbers that are equal there stay in their order. `scratch` is
 * of `count` as well. */
void radix_sort(uint64_t *numbers, uint64_t *scratch, size_t count, unsigned low_bit);

#endif
