/*
 * pool_check(), from end to end: open read-only -> roots -> tables -> for each window of CIDs: places, maps, counts,
 * recent tables, units -> live bytes and totals -> names of what is damaged.
 *
 * What is proved is the published state by itself (the trees alone explain every count and every live byte), and that
 * what replay put into the recent tables can be read. Memory is bounded: CIDs are taken in windows, and the maps are
 * walked once for each. At the `memory` of a new pool a window has 4.5 GiB of distinct chunks, so a pool of 450 GiB needs a
 * hundred walks; windows grow with `memory`, for the walks of all grow with the square of what is stored.
 *
 * It goes on behind everything that cannot be read; where that leaves references or counts unseen, what would only
 * follow from it is not told. Only read: a crash is harmless. One thread, no locks.
 */
#include "engine/pool/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/pool/check_repair.h"
#include "engine/pool/object_table.h"

static enum error recent_take(struct check *check, const struct recent *table)
{
    struct check_recent *recent = &check->recents[check->recent_count++];
    recent->table = table;
    TRY(recent_sorted(table, false, &recent->points, &recent->point_count));
    TRY(recent_sorted(table, true, &recent->births, &recent->birth_count));
    for (size_t i = 0; i < recent->birth_count; i++)
        for (unsigned n = 0; n < recent->births[i]->count; n++)
            check->total += entry_share_bytes(sheaf_births(recent->births[i])[n].entry);
    return ERROR_NONE;
}

static enum error prepare(struct check *check)
{
    struct group *group = check->group;
    const struct segments *segments = &group->segments;
    check->live = memory_zeroed(segments->count, sizeof *check->live);
    check->pages = memory_zeroed(segments->count, sizeof *check->pages);
    check->live_least = memory_zeroed(segments->count, sizeof *check->live_least);
    check->bad = malloc(CHECK_BAD_MAX * sizeof *check->bad);
    check->window.size = check_window_size(group->config.memory);
    check->window.chunks = memory_map_unset(check->window.size * sizeof *check->window.chunks);
    check->window.order = memory_map_unset(check->window.size * sizeof *check->window.order);
    if (!check->live || !check->pages || !check->live_least || !check->bad || !check->window.chunks || !check->window.order)
        return ERROR_NO_MEMORY;
    for (uint32_t i = 0; i < segments->count; i++)
        check->total += (uint64_t)segments->table[i].live + segments->table[i].pages;
    if (group->view->frozen)
        TRY(recent_take(check, group->view->frozen));
    return recent_take(check, group->view->active);
}

static void forget(struct check *check)
{
    for (size_t i = 0; i < check->recent_count; i++) {
        free(check->recents[i].points);
        free(check->recents[i].births);
    }
    for (size_t i = 0; i < check->domain_count; i++)
        arena_free(check->domains[i].key);
    free(check->domains);
    free(check->components);
    free(check->live);
    free(check->pages);
    free(check->live_least);
    check_losses_forget(check);
    check_maps_forget(check);
    free(check->bad);
    if (check->window.chunks)
        memory_unmap(check->window.chunks, check->window.size * sizeof *check->window.chunks);
    if (check->window.order)
        memory_unmap(check->window.order, check->window.size * sizeof *check->window.order);
}

/* An object whose document is lost is known by what the component table says of it. */
static void slots_judge(struct check *check)
{
    for (uint64_t slot = 0; slot < check->pool->table->slot_count; slot++)
        if (object_table_is_lost(check->pool->table, slot)) {
            check_find(check, "the catalog, slot %" PRIu64 ": its document cannot be read, %s", slot,
                       slot ? "so an object has no name and is not served" : "which describes the pool");
            check->catalog_incomplete = true;
        }
}

/* Where it fails, objects have no names, and the catalog's own damage is told like any other. */
static enum error catalog_read(struct check *check)
{
    enum error error = catalog_load(check->pool);
    if (error == ERROR_NONE)
        slots_judge(check);
    if (error == ERROR_NONE || error == ERROR_NO_MEMORY)
        return error;
    check->catalog_incomplete = true;
    check_find(check, "the catalog cannot be read whole, some objects are known by the numbers of their components: %s",
               error_sentence(error));
    return ERROR_NONE;
}

static enum error window_check(struct check *check, uint64_t first)
{
    TRY(check_window_load(check, first));
    TRY(check_maps(check));
    check_window_compare(check);
    check_window_recent(check);
    TRY(check_units(check));
    check_repair_window(check);
    return check->failed;
}

static enum error run(struct check *check, const struct pool_open_options *options)
{
    TRY(prepare(check));
    TRY(check_repair_moved(check));
    TRY(catalog_read(check));
    TRY(check_superblocks(check, options));
    TRY(check_records(check));
    TRY(check_headers(check));
    TRY(check_tables(check));
    check_catalog(check);
    check->first_pass = true;
    for (uint64_t first = 0; first < check->cid_end || check->first_pass; first += check->window.size) {
        TRY(window_check(check, first));
        check->first_pass = false;
    }
    check_totals(check);
    TRY(check_bad_name(check));
    TRY(check_maps_losses(check));
    if (check->report.errors > CHECK_SENTENCES_MAX)
        check->listener->found("there is more: findings behind these are only counted", check->listener->context);
    TRY(check_losses_tell(check));
    for (uint32_t d = 0; d < check->group->device_count; d++)
        check->report.bytes_read += atomic_load(&check->group->devices[d]->stats.read_bytes);
    check_progress(check, check->total);
    return ERROR_NONE;
}

enum error check_opened(const char *directory, const struct pool_open_options *options, const struct check_listener *listener,
                        struct check_report *report, enum error (*then)(struct check *check, void *context), void *context)
{
    struct pool_open_options mine = options ? *options : (struct pool_open_options){0};
    struct pool *pool;
    mine.read_only = true;
    mine.start_locked = false;
    mine.no_index = true;
    mine.no_catalog = true;
    TRY(pool_open(directory, &mine, &pool));
    struct check check = {
        .pool = pool,
        .group = pool->group,
        .listener = listener,
    };
    enum error error = run(&check, &mine);
    if (then && (!error || error == ERROR_CORRUPT)) {
        enum error done = then(&check, context);
        error = done ? done : error;
    }
    forget(&check);
    enum error closed = pool_close(pool);
    if (!error)
        error = closed;
    if (!error)
        *report = check.report;
    return error;
}

enum error pool_check(const char *directory, const struct pool_open_options *options,
                      const struct check_listener *listener, struct check_report *report)
{
    return check_opened(directory, options, listener, report, NULL, NULL);
}

enum error check_mend(struct pool *pool, const struct pool_open_options *options, const struct check_listener *listener,
                      struct check_repair *repair, enum error (*apply)(struct check *check))
{
    struct check check = {.pool = pool, .group = pool->group, .listener = listener, .repair = repair};
    enum error error = run(&check, options);
    if (!error) {
        check_repair_finish(&check);
        error = apply(&check);
    }
    check.group->moved = NULL;
    forget(&check);
    return error;
}
