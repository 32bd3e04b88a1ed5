/*
 * Pages of the component table, as a look-up reads them: patches to a valid page, or (an odd first byte) one as it
 * comes. The second byte is the component that is asked for. The tree above the page is replaced (--wrap).
 */
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/group/tree.h"
#include "engine/group/view.h"
#include "tests/fuzz/patches.h"

static struct group group;
static struct view view;
static uint8_t valid[BLOCK_SIZE], page[BLOCK_SIZE];
static uint64_t reads; /* each block of the cache has an address of its own */

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_tree_leaves(struct group *of, const struct tree *tree, const uint64_t *numbers,
                              struct cache_block **blocks, size_t count);

/* The first page is there, the second cannot be read, others are absent. */
enum error __wrap_tree_leaves(struct group *of, const struct tree *tree, const uint64_t *numbers,
                              struct cache_block **blocks, size_t count)
{
    ASSERT(tree->owner == TABLE_COMPONENTS && count == 1);
    blocks[0] = NULL;
    if (numbers[0] == 1)
        return ERROR_CORRUPT;
    if (numbers[0] > 1)
        return ERROR_NONE;
    blocks[0] = cache_insert(of->nodes, (struct cache_key){++reads, 0, 0}, page);
    return blocks[0] ? ERROR_NONE : ERROR_NO_MEMORY;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct component_format *formats = (struct component_format *)valid;
    struct node_pointer root = {.first = entry_make(512, 4, 300, 20, 0, 1), .second_serial = 5, .second_offset = 600};
    (void)count, (void)arguments;
    ASSERT(cache_create(CACHE_BLOCKS_MIN * BLOCK_SIZE, &group.nodes) == ERROR_NONE);
    for (unsigned i = 1; i < COMPONENTS_PER_PAGE; i++) {
        formats[i].state = i % 4 == 3 ? COMPONENT_DELETED : COMPONENT_LIVE;
        formats[i].height = (uint8_t)(i % NODE_LEVELS_MAX);
        formats[i].mapped = le64_make(i);
        pointer_encode(&root, &formats[i].root);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct component_format component;
    if (size < 2)
        return 0;
    memcpy(page, valid, sizeof page);
    if (data[0] & 1)
        memcpy(page, data + 2, MIN(size - 2, sizeof page));
    else
        patches_apply(data + 2, size - 2, 1, page, sizeof page);
    error_forget();
    enum error error = view_component(&group, &view, data[1], &component);
    ASSERT(error == ERROR_NONE || error == ERROR_NOT_FOUND || error == ERROR_CORRUPT);
    if (error == ERROR_NONE) {
        ASSERT(data[1] < COMPONENTS_PER_PAGE && component.height < NODE_LEVELS_MAX);
        ASSERT(component.state == COMPONENT_LIVE || component.state == COMPONENT_DELETED);
    }
    return 0;
}
