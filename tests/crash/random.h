/* Numbers from a seed (SplitMix64; Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). One
 * generator a thread. */
#ifndef COFFER_TESTS_CRASH_RANDOM_H
#define COFFER_TESTS_CRASH_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

static inline uint64_t dice_throw(struct dice *dice)
{
    uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* From 0 to `end` less one. */
static inline uint64_t dice_below(struct dice *dice, uint64_t end)
{
    return dice_throw(dice) % end;
}

/* From 1 to `most`, small ones more often. */
static inline uint64_t dice_small(struct dice *dice, uint64_t most)
{
    return 1 + dice_below(dice, 1 + dice_below(dice, most));
}

static inline bool dice_percent(struct dice *dice, unsigned percent)
{
    return dice_below(dice, 100) < percent;
}

#endif
