/*
 * Contents for the crash tests. Fresh contents begin with a number that occurs once, so that a block found in the wrong
 * place can be told; shared ones are made from a small number of seeds. Pure functions.
 */
#include "tests/crash/content.h"

#include <string.h>
#include <xxhash.h>

#include "base/memory.h"

#define BLOCK        4096
#define SHARED_SEEDS 96
#define SHARED_FEW   20

bool content_repeats, content_has_one_length;

static void fill_random(struct dice *dice, unsigned char *out, size_t size)
{
    for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
        uint64_t number = dice_throw(dice);
        memcpy(out + done, &number, MIN(sizeof(number), size - done));
    }
}

static void fill_half(struct dice *dice, unsigned char *out, size_t size)
{
    fill_random(dice, out, size / 2);
    memset(out + size / 2, 'x', size - size / 2);
}

/* One of few contents; so they die, and come again. */
static void fill_repeated(struct dice *dice, unsigned char *out, size_t size)
{
    struct dice shared = {dice_below(dice, SHARED_FEW)};
    (dice_below(&shared, 2) == 0 ? fill_half : fill_random)(&shared, out, size);
}

static void fill_block(struct dice *dice, unsigned char *out, size_t size)
{
    if (content_repeats && dice_percent(dice, 60)) {
        fill_repeated(dice, out, size);
        return;
    }
    if (content_has_one_length && dice_percent(dice, 80)) {
        fill_random(dice, out, size);
        return;
    }
    struct dice shared = {dice_below(dice, SHARED_SEEDS)};
    switch (dice_below(dice, 8)) {
    case 0:
    case 1:
        fill_random(dice, out, size);
        break;
    case 2:
        memset(out, (int)dice_below(dice, 256), size);
        break;
    case 3:
        memset(out, 0, size);
        break;
    case 4:
        fill_half(&shared, out, size);
        break;
    case 5:
        fill_random(&shared, out, size);
        break;
    default:
        fill_half(dice, out, size);
        break;
    }
}

void content_fill(struct dice *dice, void *out, size_t size)
{
    for (size_t done = 0; done < size; done += BLOCK)
        fill_block(dice, (unsigned char *)out + done, MIN((size_t)BLOCK, size - done));
}

uint64_t content_hash(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}
