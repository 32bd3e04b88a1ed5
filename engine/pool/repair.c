/*
 * pool_repair(), from end to end: superblocks (opening.c) -> check: without damage that is all -> keep what is going to be
 * let go of (evidence_file.c) -> open for writing; a journal that is damaged ends where it is, and what follows is named and
 * given up, at the same place or not at all -> publish what the journal had -> check, which gathers what can be made anew (check_repair.c) -> one merge that
 * begins with that (group/repair.c) -> close.
 *
 * Offline: no volume is open, the catalog's thread does not run, merges run only where asked. All goes into free space and
 * counts from an ordinary checkpoint on, so a crash anywhere leaves the pool as it was or as it becomes, and a repair that was
 * cut short is begun again. One thread beside the group's own.
 *
 * Evidence is never destroyed. Data that is damaged stays where it is as long as an object refers to it. Whatever else is
 * damaged loses its place, at once or by and by: superblocks and checkpoint records are written over, a damaged copy of a node
 * or page is nobody's once there is another, and of a journal that is cut all that follows is free. Such bytes are in a file,
 * durable, before the first write.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/check_repair.h"
#include "engine/pool/evidence_file.h"

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

/* The check that follows tells what is found. */
static struct check_listener progress_of(const struct pool_open_options *options)
{
    const struct check_listener *listener = options->repair_listener;
    return listener == NULL ? (struct check_listener){.found = ignore}
                            : (struct check_listener){.found = ignore, .progress = listener->progress, .context = listener->context};
}

struct look {
    struct pool_repair_report *report;
    bool saved;
};

static enum error keep(struct check *check, void *context)
{
    struct look *look = context;
    const struct pool *pool = check->pool;
    const struct evidence_source source = {pool->directory, check->group->devices, check->group->superblocks};
    enum error error = evidence_save(pool->options.evidence, &source, &pool->options, look->report);
    look->saved = error == ERROR_NONE;
    return error;
}

/* A pool without damage is not written. One whose journal is damaged opens for this as it will for the repair. */
static enum error damage_look(const char *directory, const struct pool_open_options *options, struct pool_repair_report *kept,
                              bool *damaged, struct evidence_end *end)
{
    struct pool_open_options mine = *options;
    struct evidence evidence = {0};
    struct look look = {kept, false};
    struct check_report report;
    const struct check_listener listener = progress_of(options);
    mine.repair = true;
    mine.evidence = &evidence;
    enum error error = check_opened(directory, &mine, &listener, &report, keep, &look);
    *damaged = error == ERROR_CORRUPT || (!error && (evidence.end.cut || report.errors));
    bool unsaved = (evidence.count > 0 || evidence.incomplete) && !look.saved;
    *end = evidence.end;
    evidence_forget(&evidence);
    return error == ERROR_CORRUPT && !unsaved ? ERROR_NONE : error;
}

static enum error pool_mend(struct pool *pool, const struct pool_open_options *options)
{
    struct check_repair repair;
    const struct check_listener listener = progress_of(options);
    enum error error = check_repair_begin(&repair);
    if (!error)
        error = group_publish(pool->group);
    if (!error)
        error = check_mend(pool, options, &listener, &repair, apply);
    check_repair_forget(&repair);
    return error;
}

enum error pool_repair(const char *directory, const struct pool_open_options *options, struct pool_repair_report *report)
{
    struct pool_open_options mine = *options;
    AUTO_FREE struct pool_repair_report *own = memory_zeroed(1, sizeof *own);
    struct evidence_end end;
    struct pool *pool;
    bool damaged;
    if (!own)
        return ERROR_NO_MEMORY;
    if (!report)
        report = own;
    *report = (struct pool_repair_report){0};
    TRY(evidence_directory_check(options));
    TRY(pool_repair_superblocks(directory, options, report));
    TRY(damage_look(directory, options, report, &damaged, &end));
    if (!damaged)
        return ERROR_NONE;
    mine.read_only = false;
    mine.start_locked = false;
    mine.no_index = true;
    mine.no_catalog = true;
    mine.repair = true;
    mine.journal_end = &end;
    TRY(pool_open(directory, &mine, &pool));
    enum error error = pool_mend(pool, &mine);
    enum error closed = pool_close(pool);
    return error ? error : closed;
}
