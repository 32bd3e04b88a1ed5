/*
 * Pages of the release list, as a merge takes them, enters into them and stores them again. The first byte says how:
 * bits 0 and 1: the last page is there, absent, or unreadable; bits 2 to 4: how many entries are taken before the list
 * is stored; bit 5: pages come as they are, and are not patches to valid ones. Two bytes say the end. What is
 * taken is in its range; where all entries are sound it is what was entered last and not taken yet, once and in that
 * order, also after the list was stored.
 *
 * The table below the list is replaced (--wrap): a few pages in memory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/merge.h"
#include "tests/fuzz/patches.h"

#define PAGES     3
#define ENTRIES   (PAGES * RELEASES_PER_PAGE)
#define LEASE     UINT64_C(100)
#define TAKEN_MAX 16
#define STEPS_MAX 7 /* of three bits */

static struct group group;
static uint8_t valid[PAGES][BLOCK_SIZE], pages[PAGES + 1][BLOCK_SIZE];
static enum { PAGE_THERE, PAGE_ABSENT, PAGE_LOST, PAGE_REFUSED } last_page;
static uint64_t reads; /* each block of the cache has an address of its own */

/* What the list holds, the last to be taken first. */
static struct {
    struct release_format entries[ENTRIES + STEPS_MAX];
    uint64_t count;
    bool known; /* pages can be read, and each entry is sound */
} model;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_page_read_patiently(struct merge *merge, const struct tree *tree, uint64_t number,
                                      struct cache_block **block);
enum error __wrap_tree_update(struct merge *merge, const struct tree_update *update);

enum error __wrap_page_read_patiently(struct merge *merge, const struct tree *tree, uint64_t number,
                                      struct cache_block **block)
{
    (void)merge;
    ASSERT(tree->owner == TABLE_RELEASES && number < PAGES + 1);
    *block = NULL;
    if (last_page == PAGE_LOST || last_page == PAGE_REFUSED)
        return last_page == PAGE_LOST ? ERROR_CORRUPT : ERROR_IO;
    if (last_page == PAGE_THERE)
        *block = cache_insert(group.nodes, (struct cache_key){++reads, 0, 0}, pages[number]);
    return last_page == PAGE_THERE && *block == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error __wrap_tree_update(struct merge *merge, const struct tree_update *update)
{
    for (size_t i = 0; i < update->count; i++) {
        uint8_t page[BLOCK_SIZE];
        ASSERT(update->numbers[i] <= PAGES);
        TRY(update->apply(merge, update->context, update->numbers[i], pages[update->numbers[i]], page));
        memcpy(pages[update->numbers[i]], page, BLOCK_SIZE);
    }
    return ERROR_NONE;
}

static struct release release_make(uint64_t number, uint8_t level)
{
    struct release release = {.component = 2 + number % 3, .number = number, .level = level};
    release.node.first = entry_make(512 + 2 * number, 4, 300, 20, 0, 1);
    release.node.second_serial = level ? 5 : 0;
    release.node.second_offset = level ? 600 : 0;
    return release;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    message_level_set((enum message_level)0);
    group.checkpoint.component_lease = LEASE;
    ASSERT(cache_create(CACHE_BLOCKS_MIN * BLOCK_SIZE, &group.nodes) == ERROR_NONE);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct release release = release_make(i, i % 5 == 0), back;
        struct release_format *format = (struct release_format *)valid[i / RELEASES_PER_PAGE] + i % RELEASES_PER_PAGE;
        release_encode(&release, format);
        ASSERT(release_decode(format, &back));
    }
    return 0;
}

static void check_taken(const struct release *release)
{
    struct release_format format, again;
    struct release back;
    release_encode(release, &format);
    ASSERT(release_decode(&format, &back));
    release_encode(&back, &again);
    ASSERT(memcmp(&format, &again, sizeof format) == 0);
    ASSERT(release->component != 0 && release->component < LEASE && release->level < NODE_LEVELS_MAX);
}

static void model_enter(const struct release *release)
{
    ASSERT(model.count < COUNT_OF(model.entries));
    release_encode(release, &model.entries[model.count++]);
}

static void model_begin(uint64_t end)
{
    model.count = 0;
    model.known = last_page == PAGE_THERE;
    for (uint64_t i = 0; i < end && model.known; i++) {
        struct release release;
        const struct release_format *page = (const struct release_format *)pages[i / RELEASES_PER_PAGE];
        model.known = release_decode(&page[i % RELEASES_PER_PAGE], &release) && release.component < LEASE;
        if (model.known)
            model_enter(&release);
    }
}

static void model_take(const struct release *release)
{
    struct release_format format;
    if (!model.known)
        return;
    release_encode(release, &format);
    ASSERT(model.count > 0 && memcmp(&model.entries[--model.count], &format, sizeof format) == 0);
}

/* Takes at most `most` and says how many; UINT64_MAX where a device refused. */
static uint64_t take(struct merge *merge, uint64_t most)
{
    struct release items[TAKEN_MAX];
    uint64_t taken = 0;
    size_t count = 1;
    while (taken < most && count > 0) {
        enum error error = releases_take(merge, items, MIN(most - taken, TAKEN_MAX), &count);
        ASSERT(error == ERROR_NONE || error == ERROR_IO);
        if (error != ERROR_NONE)
            return UINT64_MAX;
        for (size_t i = 0; i < count; i++) {
            check_taken(&items[i]);
            model_take(&items[i]);
            ASSERT(count == 1 || items[i].level == 0);
        }
        taken += count;
    }
    return taken;
}

static void list_run(unsigned steps, uint64_t end)
{
    struct checkpoint checkpoint = {.release_end = end};
    struct merge merge = {.group = &group};
    releases_init(&merge.releases, &checkpoint);
    model_begin(end);
    uint64_t taken = take(&merge, steps * 7);
    ASSERT(taken == UINT64_MAX || taken <= end);
    for (unsigned i = 0; i < steps && taken != UINT64_MAX; i++) { /* as the children of what was taken */
        struct release release = release_make(i, i % 2);
        ASSERT(releases_enter(&merge, &release) == ERROR_NONE);
        model_enter(&release);
        if (!release_statistics_last(&merge.releases, release.component))
            ASSERT(release_statistics_add(&merge.releases, release.component, i) == ERROR_NONE);
    }
    bool stored = releases_store(&merge, &checkpoint) == ERROR_NONE;
    uint64_t left = checkpoint.release_end;
    ASSERT(!model.known || (stored && left == model.count));
    ASSERT(!stored || releases_are_empty(&merge.releases) == (left == 0));
    releases_deinit(&merge.releases);
    if (!stored)
        return;
    releases_init(&merge.releases, &checkpoint);
    taken = take(&merge, UINT64_MAX);
    ASSERT(taken == UINT64_MAX || (taken <= left && releases_are_empty(&merge.releases)));
    ASSERT(!model.known || (taken == left && model.count == 0));
    releases_deinit(&merge.releases);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    uint64_t end = (data[1] + 256u * data[2]) % (ENTRIES + 1);
    memset(pages, 0, sizeof pages);
    if (data[0] & 0x20) {
        memcpy(pages, data + 3, MIN(size - 3, sizeof valid));
    } else {
        memcpy(pages, valid, sizeof valid);
        memset((uint8_t *)pages + end / RELEASES_PER_PAGE * BLOCK_SIZE +
                   end % RELEASES_PER_PAGE * sizeof(struct release_format),
               0, sizeof(struct release_format));
        patches_apply(data + 3, size - 3, 1, (uint8_t *)pages, sizeof valid);
    }
    last_page = data[0] & 3;
    list_run(data[0] >> 2 & 7, end);
    return 0;
}
