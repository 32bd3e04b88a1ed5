/*
 * pool_repair(), from end to end: superblocks (opening.c) -> check: without damage that is all -> open for writing; a
 * journal that is damaged ends where it is, and what follows is named and given up -> publish what the journal had ->
 * check, which gathers what can be made anew (check_repair.c) -> one merge that begins with that (group/repair.c) ->
 * close.
 *
 * Offline: no volume is open, the catalog's thread does not run, merges run only where asked. What is damaged is never
 * written over: all goes into free space and counts from an ordinary checkpoint on, so a crash anywhere leaves the pool
 * as it was or as it becomes, and a repair that was cut short is begun again. One thread beside the group's own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/check_repair.h"

static void ignore(const char *sentence, void *context)
{
    (void)sentence, (void)context;
}

/* What a merge then finds is what stood there: references come and go by differences, so none does. Where it would lack
 * room or space the rest is for the next repair. */
static void points_enter(struct group *group, const struct check_repair *repair)
{
    mutex_lock(&group->section->mutex);
    mutex_lock(&group->lock);
    for (size_t i = 0; i < repair->point_count && recent_takes_record(group->view->active) &&
                       group_has_space(group, (struct commit_need){COMMIT_FREES, NULL});
         i++)
        recent_enter(group->view->active, repair->points[i].component, repair->points[i].block,
                     repair->points[i].entry);
    mutex_unlock(&group->lock);
    mutex_unlock(&group->section->mutex);
}

static enum error apply(struct check *check)
{
    const struct check_repair *repair = check->repair;
    struct group_repair made = {
        .pages = repair->pages,
        .page_count = repair->page_count,
        .live = repair->live_known ? check->live : NULL,
        .chunks_live = check->chunks_live,
    };
    if (repair->page_count == 0 && repair->point_count == 0 && !repair->segments)
        return ERROR_NONE;
    points_enter(check->group, repair);
    TRY(group_repair_publish(check->group, &made));
    message(MESSAGE_NOTICE,
            "group %s: repaired: %" PRIu64 " nodes and pages with one damaged copy written again, %" PRIu64
            " pages of the chunk table made anew",
            group_name(check->group), repair->copies, repair->made);
    return ERROR_NONE;
}

static const struct check_listener silent = {.found = ignore};

/* A pool without damage is not written. One whose journal is damaged does not open for a check. */
static enum error damage_look(const char *directory, const struct pool_open_options *options, bool *damaged)
{
    struct check_report report;
    enum error error = pool_check(directory, options, &silent, &report);
    *damaged = error == ERROR_CORRUPT || (!error && report.errors);
    return error == ERROR_CORRUPT ? ERROR_NONE : error;
}

static enum error pool_mend(struct pool *pool, const struct pool_open_options *options)
{
    struct check_repair repair;
    enum error error = check_repair_begin(&repair);
    if (!error)
        error = group_publish(pool->group);
    if (!error)
        error = check_mend(pool, options, &silent, &repair, apply);
    check_repair_forget(&repair);
    return error;
}

enum error pool_repair(const char *directory, const struct pool_open_options *options)
{
    struct pool_open_options mine = *options;
    struct pool *pool;
    bool damaged;
    TRY(pool_repair_superblocks(directory, options));
    TRY(damage_look(directory, options, &damaged));
    if (!damaged)
        return ERROR_NONE;
    mine.read_only = false;
    mine.start_locked = false;
    mine.no_index = true;
    mine.no_catalog = true;
    mine.repair = true;
    TRY(pool_open(directory, &mine, &pool));
    enum error error = pool_mend(pool, &mine);
    enum error closed = pool_close(pool);
    return error ? error : closed;
}
