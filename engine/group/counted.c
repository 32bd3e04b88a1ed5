/*
 * Chunks that are looked up in the chunk table in hundreds: what stands in a segment that is emptied, and what dies of what
 * was emptied before. They lie all over the table, and of a large group hardly any of its pages are in the cache, so they
 * are sorted by page, and pages are read as many at once as a descent takes.
 *
 *   CIDs -> sorted -> counts, 256 pages at a time -> of those that are counted: places, 256 pages at a time
 *
 * Only reads, by the merge thread: a crash is harmless. No locks.
 */
#include "engine/group/counted.h"

#include "base/memory.h"
#include "base/radix.h"

#define PAGES_MAX  256u /* that one descent takes */
#define INDEX_BITS 12

_Static_assert(COUNTED_MAX == 1u << INDEX_BITS && CID_MAX >> (64 - INDEX_BITS) == 0, "a CID and an index fit in a number");

/* The pages of the first keys, at most PAGES_MAX; *taken: of how many keys. */
static size_t pages_of(const uint64_t *keys, size_t count, unsigned key_bits, uint64_t per_page, uint64_t *pages, size_t *taken)
{
    size_t n = 0, i = 0;
    for (; i < count; i++) {
        uint64_t page = (keys[i] >> key_bits) / per_page;
        if (n && pages[n - 1] == page)
            continue;
        if (n == PAGES_MAX)
            break;
        pages[n++] = page;
    }
    *taken = i;
    return n;
}

static enum error pages_read(struct merge *merge, enum table table, const uint64_t *pages, struct cache_block **blocks, size_t count)
{
    struct tree tree = tree_of_table(table, &merge->roots[table - 1]);
    return tree_leaves(merge->group, &tree, pages, blocks, count);
}

/* Keeps the keys of chunks that are counted. */
static enum error counts_ask(struct merge *merge, uint64_t *keys, size_t *count)
{
    uint64_t pages[PAGES_MAX];
    struct cache_block *blocks[PAGES_MAX];
    size_t kept = 0, taken;
    for (size_t first = 0; first < *count; first += taken) {
        size_t n = pages_of(keys + first, *count - first, INDEX_BITS, COUNTS_PER_PAGE, pages, &taken), page = 0;
        TRY(pages_read(merge, TABLE_COUNTS, pages, blocks, n));
        for (size_t i = first; i < first + taken; i++) {
            uint64_t cid = keys[i] >> INDEX_BITS;
            while (pages[page] != cid / COUNTS_PER_PAGE)
                page++;
            if (blocks[page] && le32_get(((const le32 *)cache_bytes(blocks[page]))[cid % COUNTS_PER_PAGE]))
                keys[kept++] = keys[i];
        }
        tree_put(merge->group, blocks, n);
    }
    *count = kept;
    return ERROR_NONE;
}

static enum error places_ask(struct merge *merge, const uint64_t *keys, size_t count, struct counted *chunks)
{
    uint64_t pages[PAGES_MAX];
    struct cache_block *blocks[PAGES_MAX];
    size_t taken;
    for (size_t first = 0; first < count; first += taken) {
        size_t n = pages_of(keys + first, count - first, INDEX_BITS, MAP_LEAF_ENTRIES, pages, &taken), page = 0;
        TRY(pages_read(merge, TABLE_PLACES, pages, blocks, n));
        for (size_t i = first; i < first + taken; i++) {
            uint64_t cid = keys[i] >> INDEX_BITS;
            while (pages[page] != cid / MAP_LEAF_ENTRIES)
                page++;
            if (blocks[page])
                chunks[keys[i] & (COUNTED_MAX - 1)].place =
                    entry_decode((const struct map_entry_format *)cache_bytes(blocks[page]) + cid % MAP_LEAF_ENTRIES);
        }
        tree_put(merge->group, blocks, n);
    }
    return ERROR_NONE;
}

enum error counted_places(struct merge *merge, struct counted *chunks, size_t count, uint64_t *scratch)
{
    ASSERT(count <= COUNTED_MAX);
    for (size_t i = 0; i < count; i++) {
        chunks[i].place = (struct map_entry){0};
        scratch[i] = chunks[i].cid << INDEX_BITS | i;
    }
    radix_sort(scratch, scratch + count, count, INDEX_BITS);
    TRY(counts_ask(merge, scratch, &count));
    return places_ask(merge, scratch, count, chunks);
}

void places_read_ahead(struct merge *merge, const uint64_t *cids, size_t count)
{
    struct tree tree = tree_of_table(TABLE_PLACES, &merge->roots[TABLE_PLACES - 1]);
    uint64_t pages[PAGES_MAX];
    struct cache_block *blocks[PAGES_MAX];
    enum error errors[PAGES_MAX];
    size_t taken;
    for (size_t first = 0; first < count; first += taken) {
        size_t n = pages_of(cids + first, count - first, 0, MAP_LEAF_ENTRIES, pages, &taken);
        tree_leaves_each(merge->group, &tree, pages, blocks, errors, n);
        tree_put(merge->group, blocks, n);
    }
}
