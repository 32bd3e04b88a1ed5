/*
 * What is lost, in the terms of who stores something: object, byte offset, length. It is gathered while the other steps
 * go on (nodes of maps that have no readable copy, blocks whose bytes cannot be had) and told at the end, exactly: a
 * block that a recent table knows does not need what the map, or an older table, says of it; nothing is told beyond the
 * end of an object; what stands together is one loss. Only memory, which grows with the number of losses; one thread.
 */
#include "engine/pool/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct lost_range {
    uint32_t component; /* index */
    uint32_t tables;    /* of the recent tables so many, the oldest, do not count: 0: the map's */
    uint64_t first, end;
};

struct check_losses {
    struct lost_range *items;
    size_t count, capacity;
};

static enum error range_add(struct check_losses *losses, struct lost_range range)
{
    if (losses->count == losses->capacity) {
        size_t capacity = losses->capacity ? 2 * losses->capacity : 64;
        struct lost_range *grown = realloc(losses->items, capacity * sizeof *grown);
        if (!grown)
            return ERROR_NO_MEMORY;
        losses->items = grown;
        losses->capacity = capacity;
    }
    losses->items[losses->count++] = range;
    return ERROR_NONE;
}

void check_loss_add(struct check *check, uint32_t component, uint64_t first, uint64_t end)
{
    enum error error = ERROR_NONE;
    if (!check->losses)
        check->losses = memory_zeroed(1, sizeof *check->losses);
    if (!check->losses)
        error = ERROR_NO_MEMORY;
    if (!error)
        error = range_add(check->losses, (struct lost_range){component, check->tables_below, first, end});
    if (error)
        check->failed = error;
}

void check_losses_forget(struct check *check)
{
    if (check->losses)
        free(check->losses->items);
    free(check->losses);
    check->losses = NULL;
}

/* A newer table, if not the map alone, says something else of the block. */
static bool is_replaced(const struct check *check, const struct lost_range *range, uint64_t block)
{
    struct map_entry entry;
    for (size_t t = range->tables; t < check->recent_count; t++)
        if (recent_find(check->recents[t].table, check->components[range->component].id, block, &entry))
            return true;
    return false;
}

/* How far from `block` on, which is replaced or not, all blocks surely are alike: at least to the next one. Objects have
 * terabytes, so blocks are asked one by one only where a table says something of their leaf. */
static uint64_t alike_end(const struct check *check, const struct lost_range *range, uint64_t block, bool replaced)
{
    uint64_t component = check->components[range->component].id, leaf = block / MAP_LEAF_ENTRIES;
    uint64_t end = (range->end - 1) / MAP_LEAF_ENTRIES + 1, next = replaced ? leaf : end;
    for (size_t t = range->tables; t < check->recent_count; t++) {
        const struct recent *table = check->recents[t].table;
        next = replaced ? MAX(next, recent_range_end(table, component, leaf))
                        : MIN(next, recent_told_next(table, component, leaf, end));
    }
    return MIN(range->end, MAX(block + 1, next * MAP_LEAF_ENTRIES));
}

static const struct object *object_of(const struct check *check, uint32_t component)
{
    const struct object *object = check->pool->objects;
    while (object && object->component != check->components[component].id)
        object = object->next;
    return object;
}

static enum error parts_take(const struct check *check, struct lost_range range, struct check_losses *parts);

/* What has no map of its own yet falls back to what was found lost: parts from `first` on. */
static enum error heirs_take(const struct check *check, uint32_t component, size_t first, struct check_losses *parts)
{
    size_t end = parts->count, count;
    uint32_t heir;
    for (size_t t = 0; t < check->recent_count; t++) {
        const struct component_change *changes = recent_components(check->recents[t].table, &count);
        for (size_t c = 0; c < count; c++) {
            bool falls_back = changes[c].state == COMPONENT_LIVE && !changes[c].published &&
                              changes[c].base == check->components[component].id &&
                              check_component_find(check, changes[c].id, &heir);
            for (size_t i = first; falls_back && i < end; i++)
                TRY(parts_take(check, (struct lost_range){heir, 0, parts->items[i].first, parts->items[i].end}, parts));
        }
    }
    return ERROR_NONE;
}

/* The parts of a range that nothing replaces. */
static enum error parts_take(const struct check *check, struct lost_range range, struct check_losses *parts)
{
    size_t begin = parts->count;
    const struct object *object = object_of(check, range.component);
    if (object)
        range.end = MIN(range.end, atomic_load(&object->size) / COFFER_BLOCK);
    for (uint64_t block = range.first, end; block < range.end; block = end) {
        bool replaced = is_replaced(check, &range, block);
        end = alike_end(check, &range, block, replaced);
        while (end < range.end && is_replaced(check, &range, end) == replaced)
            end = alike_end(check, &range, end, replaced);
        if (!replaced)
            TRY(range_add(parts, (struct lost_range){range.component, 0, block, end}));
    }
    return parts->count > begin ? heirs_take(check, range.component, begin, parts) : ERROR_NONE;
}

static int range_order(const void *a, const void *b)
{
    const struct lost_range *x = a, *y = b;
    if (x->component != y->component)
        return x->component < y->component ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void loss_tell(struct check *check, const struct check_loss *loss)
{
    check->report.bytes_lost += loss->length;
    if (check->listener->lost)
        check->listener->lost(loss, check->listener->context);
}

static void range_tell(struct check *check, const struct lost_range *range)
{
    const struct object *object = object_of(check, range->component);
    const struct check_component *component = &check->components[range->component];
    struct check_loss loss = {
        .offset = range->first * COFFER_BLOCK,
        .length = (range->end - range->first) * COFFER_BLOCK,
    };
    if (component->id == COMPONENT_CATALOG || (object && object->deleting))
        return; /* nobody's data */
    memcpy(loss.uuid.bytes, component->format.object, sizeof loss.uuid.bytes);
    if (object) {
        object_text(object, loss.object);
        loss.uuid = object->uuid;
    }
    loss_tell(check, &loss);
}

static void parts_tell(struct check *check, struct check_losses *parts)
{
    if (parts->count == 0)
        return;
    qsort(parts->items, parts->count, sizeof *parts->items, range_order);
    struct lost_range run = parts->items[0];
    for (size_t i = 1; i < parts->count; i++) {
        const struct lost_range *part = &parts->items[i];
        if (part->component == run.component && part->first <= run.end) {
            run.end = MAX(run.end, part->end);
            continue;
        }
        range_tell(check, &run);
        run = *part;
    }
    range_tell(check, &run);
}

/* Objects of which the component table says nothing (any more): no map of theirs can be found. */
static void objects_tell(struct check *check)
{
    uint32_t index;
    for (const struct object *object = check->pool->objects; object; object = object->next) {
        struct check_loss loss = {.uuid = object->uuid, .length = atomic_load(&object->size)};
        if (object->deleting || check_component_find(check, object->component, &index))
            continue;
        object_text(object, loss.object);
        loss_tell(check, &loss);
    }
}

enum error check_losses_tell(struct check *check)
{
    struct check_losses parts = {0};
    enum error error = check->failed;
    for (size_t i = 0; check->losses && i < check->losses->count && !error; i++)
        error = parts_take(check, check->losses->items[i], &parts);
    if (!error) {
        parts_tell(check, &parts);
        objects_tell(check);
        check->report.losses_unknown =
            check->catalog_incomplete || check->components_incomplete || check->bad_count == CHECK_BAD_MAX;
    }
    free(parts.items);
    return error;
}
