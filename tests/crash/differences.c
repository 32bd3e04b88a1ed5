/*
 * What an export of the difference between two versions would hold: what is told as unchanged is the same in both, and what is
 * told as a hole reads as zeros. Nothing is changed here, so a kill is harmless. The thread of families, in which nothing
 * changes meanwhile.
 */
#include <string.h>

#include "base/memory.h"
#include "tests/crash/content.h"
#include "tests/crash/versions.h"

#define EXTENTS_MAX 5

static const unsigned char zeros[BLOCK];

struct pair {
    char name[VERSION_NAME_SIZE], base[VERSION_NAME_SIZE];
    uint64_t blocks, base_blocks;
    uint64_t hashes[FAMILY_BLOCKS], base_hashes[FAMILY_BLOCKS];
};

/* Behind the end of the base there are zeros. */
static uint64_t base_hash(const struct pair *pair, uint64_t block)
{
    return block < pair->base_blocks ? pair->base_hashes[block] : content_hash(zeros, BLOCK);
}

static void judge(const struct pair *pair, enum change_kind kind, uint64_t first, uint64_t end)
{
    for (uint64_t b = first; b < end; b++) {
        if (kind == CHANGE_NONE && pair->hashes[b] != base_hash(pair, b))
            fail("block %llu of %s is told to be that of %s, and is not", (unsigned long long)b, pair->name, pair->base);
        if (kind == CHANGE_ZERO && pair->hashes[b] != content_hash(zeros, BLOCK))
            fail("block %llu of %s is told to be a hole since %s, and is none", (unsigned long long)b, pair->name, pair->base);
    }
}

/* In pieces, from a block on. */
static void look(struct session *session, struct volume *volume, struct volume *base, const struct pair *pair,
                 struct dice *dice)
{
    for (uint64_t block = dice_below(dice, pair->blocks); block < pair->blocks;) {
        struct change_extent extents[EXTENTS_MAX];
        size_t count, capacity = 1 + dice_below(dice, EXTENTS_MAX);
        uint64_t length = dice_small(dice, pair->blocks - block);
        enum error error =
            volume_changes(volume, base, block * BLOCK, length * BLOCK, extents, capacity, &count);
        if (!succeeds(session, error, "question for what changed"))
            return;
        if (count == 0 || count > capacity)
            fail("%zu extents of changes, of %zu", count, capacity);
        uint64_t end = block + length;
        for (size_t i = 0; i < count; i++) {
            uint64_t blocks = extents[i].length / BLOCK;
            if (blocks == 0 || extents[i].length % BLOCK != 0 || block + blocks > end)
                fail("%llu bytes of changes at block %llu of %s", (unsigned long long)extents[i].length,
                     (unsigned long long)block, pair->name);
            judge(pair, extents[i].kind, block, block + blocks);
            block += blocks;
        }
    }
}

static void pair_look(struct session *session, struct pool *pool, struct pair *pair, struct dice *dice)
{
    struct volume *volume, *base;
    if (!version_hashes(session, pool, pair->name, pair->blocks, false, pair->hashes) ||
        !version_hashes(session, pool, pair->base, pair->base_blocks, false, pair->base_hashes))
        return;
    if (!succeeds(session, volume_open(pool, pair->name, true, &volume), "open of a version"))
        return;
    if (succeeds(session, volume_open(pool, pair->base, true, &base), "open of a base")) {
        look(session, volume, base, pair, dice);
        volume_close(base);
    }
    volume_close(volume);
}

/* Sometimes of another family, which may be a clone of it or have nothing to do with it. */
void difference_look(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    unsigned other = dice_percent(dice, 70) ? family : (unsigned)dice_below(dice, FAMILIES);
    unsigned base = draw_snapshot(session, other, dice);
    unsigned version = dice_percent(dice, 50) ? OBJECT : draw_snapshot(session, family, dice);
    struct pair pair = {.blocks = version_of(session, family, version)->blocks,
                        .base_blocks = version_of(session, other, base)->blocks};
    if (base == 0)
        return;
    version_name(family, version, pair.name);
    version_name(other, base, pair.base);
    pair_look(session, pool, &pair, dice);
}
