/*
 * The release list as a table, and its end in memory while a merge enters and takes. A page is loaded when what is in
 * memory is used up; what is left in the end is written once, from the first entry on that was loaded.
 *
 * A page that cannot be read in either copy, or makes no sense, takes the whole list with it, since an update of the table
 * would have to read it: what hangs below the entries is leaked, which is told, and the group stays in service. For what a
 * crash does see release.c. The merge thread alone; no locks of its own.
 */
#include "engine/group/release_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/merge.h"

#define OBJECT_LEAVES (UINT64_C(1) << 27) /* blocks have 35 bits */

/* ---- entries ---------------------------------------------------------------------------------------------------------- */

void release_encode(const struct release *release, struct release_format *out)
{
    *out = (struct release_format){
        .component = le40_make(release->component),
        .number = le40_make(release->number),
        .level = release->level,
        .used = 1,
    };
    pointer_encode(&release->node, &out->node);
}

bool release_decode(const struct release_format *in, struct release *release)
{
    static const uint8_t zero[sizeof in->reserved];
    *release = (struct release){
        .node = pointer_decode(&in->node),
        .component = le40_get(in->component),
        .number = le40_get(in->number),
        .level = in->level,
    };
    struct map_entry first = release->node.first;
    if (in->used != 1 || memcmp(in->reserved, zero, sizeof zero) != 0 || release->level >= NODE_LEVELS_MAX)
        return false;
    uint64_t numbers = MAX(OBJECT_LEAVES / tree_span(release->level), UINT64_C(1));
    return release->component != 0 && release->number < numbers && entry_is_sound(first) && entry_index(first) == 0 &&
           entry_count(first) == 1 && (release->level > 0) == (release->node.second_serial != 0) &&
           (release->level == 0 || entry_cid(first) % 2 == 0); /* of a pair the first, so that there is a second */
}

/* ---- in memory ---------------------------------------------------------------------------------------------------------- */

void releases_init(struct releases *releases, const struct checkpoint *checkpoint)
{
    *releases = (struct releases){
        .base = checkpoint->release_end,
        .stored_end = checkpoint->release_end,
    };
}

void releases_deinit(struct releases *releases)
{
    free(releases->items);
    free(releases->statistics);
}

bool releases_are_empty(const struct releases *releases)
{
    return releases->count == 0 && releases->base == 0;
}

/* Room for one more of `size` bytes each. */
static enum error grow(void **items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return ERROR_NONE;
    size_t wanted = MAX(2 * *capacity, 256);
    void *grown = realloc(*items, wanted * size);
    if (!grown)
        return ERROR_NO_MEMORY;
    *items = grown;
    *capacity = wanted;
    return ERROR_NONE;
}

enum error releases_enter(struct merge *merge, const struct release *release)
{
    struct releases *releases = &merge->releases;
    TRY(grow((void **)&releases->items, releases->count, &releases->capacity, sizeof *releases->items));
    releases->items[releases->count++] = *release;
    releases->changed = true;
    return ERROR_NONE;
}

struct release_statistics *release_statistics_last(struct releases *releases, uint64_t component)
{
    size_t count = releases->statistics_count;
    bool is_last = count != 0 && releases->statistics[count - 1].component == component;
    return is_last ? &releases->statistics[count - 1] : NULL;
}

enum error release_statistics_add(struct releases *releases, uint64_t component, uint64_t own)
{
    size_t count = releases->statistics_count;
    TRY(grow((void **)&releases->statistics, count, &releases->statistics_capacity, sizeof *releases->statistics));
    releases->statistics[releases->statistics_count++] = (struct release_statistics){.component = component, .own = own};
    return ERROR_NONE;
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

/* Its pages are lost with it, and go on being counted as alive. */
static void list_give_up(struct merge *merge)
{
    struct releases *releases = &merge->releases;
    message(MESSAGE_ERROR, "group %s: the release list is lost: what %llu dropped parts of maps refer to is not freed",
            group_name(merge->group), (unsigned long long)releases->base);
    merge->roots[TABLE_RELEASES - 1] = (struct root){0};
    releases->base = releases->stored_end = 0;
    releases->changed = true;
}

static enum error entries_decode(struct merge *merge, uint64_t first, uint64_t end, const uint8_t *page)
{
    const struct release_format *formats = (const struct release_format *)page;
    for (uint64_t entry = first; entry < end; entry++) {
        struct release release;
        if (!release_decode(&formats[entry % RELEASES_PER_PAGE], &release) ||
            release.component >= merge->group->checkpoint.component_lease)
            return ERROR_CORRUPT;
        TRY(releases_enter(merge, &release));
    }
    return ERROR_NONE;
}

/* The last page of those that stand in the table only. ERROR_CORRUPT where it is not there, too. */
static enum error last_read(struct merge *merge, struct cache_block **block)
{
    struct tree tree = tree_of_table(TABLE_RELEASES, &merge->roots[TABLE_RELEASES - 1]);
    uint64_t page = (merge->releases.base - 1) / RELEASES_PER_PAGE;
    TRY(page_read_patiently(merge, &tree, page, block));
    return *block ? ERROR_NONE : ERROR_CORRUPT;
}

static bool is_lost(const struct merge *merge, enum error error)
{
    return error == ERROR_CORRUPT && !group_is_fenced(merge->group);
}

/* Into memory, where nothing is. */
static enum error page_load(struct merge *merge)
{
    struct releases *releases = &merge->releases;
    uint64_t first = ROUND_DOWN(releases->base - 1, RELEASES_PER_PAGE);
    struct cache_block *block = NULL;
    enum error error = last_read(merge, &block);
    if (!error)
        error = entries_decode(merge, first, releases->base, cache_bytes(block));
    tree_put(merge->group, &block, 1);
    if (!error)
        releases->base = first;
    if (!is_lost(merge, error))
        return error;
    releases->count = 0;
    list_give_up(merge);
    return ERROR_NONE;
}

/* An update goes to, or right behind, the last page that is not in memory: where that is lost it must not begin. */
static enum error last_check(struct merge *merge)
{
    struct cache_block *block = NULL;
    if (merge->releases.base == 0)
        return ERROR_NONE;
    enum error error = last_read(merge, &block);
    tree_put(merge->group, &block, 1);
    if (!is_lost(merge, error))
        return error;
    list_give_up(merge);
    return ERROR_NONE;
}

enum error releases_take(struct merge *merge, struct release *items, size_t most, size_t *count)
{
    struct releases *releases = &merge->releases;
    *count = 0;
    if (releases->count == 0 && releases->base > 0)
        TRY(page_load(merge));
    while (releases->count && *count < most) {
        const struct release *last = &releases->items[releases->count - 1];
        if (*count && last->level > 0)
            break;
        items[(*count)++] = *last;
        releases->count--;
        releases->changed = true;
        if (last->level > 0)
            break;
    }
    return ERROR_NONE;
}

static enum error page_apply(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    const struct releases *releases = context;
    struct release_format *formats = (struct release_format *)page;
    (void)merge;
    memcpy(page, old, BLOCK_SIZE);
    for (uint64_t entry = MAX(number * RELEASES_PER_PAGE, releases->base); entry < (number + 1) * RELEASES_PER_PAGE;
         entry++) {
        struct release_format *format = &formats[entry % RELEASES_PER_PAGE];
        memset(format, 0, sizeof *format);
        if (entry - releases->base < releases->count)
            release_encode(&releases->items[entry - releases->base], format);
    }
    return ERROR_NONE;
}

static enum error pages_update(struct merge *merge, uint64_t first, uint64_t end)
{
    struct tree tree = tree_of_table(TABLE_RELEASES, &merge->roots[TABLE_RELEASES - 1]);
    AUTO_FREE uint64_t *pages = malloc((size_t)(end - first) * sizeof *pages);
    if (!pages)
        return ERROR_NO_MEMORY;
    for (uint64_t page = first; page < end; page++)
        pages[page - first] = page;
    struct tree_update update = {.tree = &tree,
                                 .numbers = pages,
                                 .count = (size_t)(end - first),
                                 .apply = page_apply,
                                 .context = &merge->releases};
    TRY(tree_update(merge, &update));
    merge->roots[TABLE_RELEASES - 1] = tree.root;
    return ERROR_NONE;
}

enum error releases_store(struct merge *merge, struct checkpoint *checkpoint)
{
    struct releases *releases = &merge->releases;
    if (releases->changed)
        TRY(last_check(merge));
    uint64_t end = releases->base + releases->count, touched = MAX(end, releases->stored_end);
    if (releases->changed && touched > releases->base)
        TRY(pages_update(merge, releases->base / RELEASES_PER_PAGE, (touched - 1) / RELEASES_PER_PAGE + 1));
    checkpoint->release_end = end;
    return ERROR_NONE;
}
