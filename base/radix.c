/*
 * Two passes over the numbers for each digit in which they differ: one counts, one moves. No state, no locks.
 */
#include "base/radix.h"

#include <stdbool.h>
#include <string.h>

#define DIGIT_BITS 11
#define DIGITS     (1u << DIGIT_BITS)

static unsigned digit_of(uint64_t number, unsigned bit)
{
    return (unsigned)(number >> bit) & (DIGITS - 1);
}

/* Into `to`, by the digit at `bit`. */
static void pass(const uint64_t *from, uint64_t *to, size_t count, unsigned bit)
{
    size_t starts[DIGITS] = {0}, next = 0;
    for (size_t i = 0; i < count; i++)
        starts[digit_of(from[i], bit)]++;
    for (unsigned d = 0; d < DIGITS; d++) {
        size_t of_digit = starts[d];
        starts[d] = next;
        next += of_digit;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[digit_of(from[i], bit)]++] = from[i];
}

void radix_sort(uint64_t *numbers, uint64_t *scratch, size_t count, unsigned low_bit)
{
    uint64_t *from = numbers, *to = scratch, differing = 0;
    bool rising = true;
    for (size_t i = 1; i < count; i++) {
        differing |= numbers[i] ^ numbers[0];
        rising &= numbers[i - 1] >> low_bit <= numbers[i] >> low_bit;
    }
    if (rising)
        return;
    for (unsigned bit = low_bit; bit < 64 && differing >> bit != 0; bit += DIGIT_BITS) {
        if (digit_of(differing, bit) == 0)
            continue;
        pass(from, to, count, bit);
        uint64_t *sorted = to;
        to = from;
        from = sorted;
    }
    if (from != numbers)
        memcpy(numbers, from, count * sizeof *numbers);
}
