/*
 * The story of a merge, from the freeze to the publish:
 *
 *   freeze    the active table is closed and another takes its place; the journal's next append is where replay will
 *             begin; segments that are covered and have nothing alive, and those that the cleaner chose, become victims:
 *             from now on nobody may hit them
 *   maps      points and ranges into the maps of their components; what ranges cover onto the release list, and a
 *             piece of that list is taken apart (release.c); then the component table and the list
 *   chunks    births into places and fingerprints, differences of references into counts
 *   clean     what is still counted in victims is written again elsewhere (clean.c)
 *   segments  victims that are still dead are written as free, segments that were encrypted anew where they are now
 *             (reencrypt.c); then the segment table
 *   flush     of all devices; then the checkpoint record on each of them, and flush again
 *   publish   the view with the new roots, in one store; what the old ones needed is given back when no view holds it
 *
 * A crash before the record is durable leaves the checkpoint before, whose journal still holds all that was frozen.
 *
 * Cleaning may go on after the publish with what else the freeze made victims (group_clean_more): the merge is then one of no
 * table. Nobody has hit those segments since, so that counts of what is in them are as final as they were; and the
 * record that it publishes has the start and sequence of the one before. So space comes back in small pieces, though a
 * table is folded in only where there is enough in it.
 */
#include "engine/group/merge.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/anchor.h"
#include "engine/group/view.h"

struct freeze {
    struct view *view;     /* held by the merge */
    uint64_t generation, sequence;
    uint64_t ticket;       /* of the journal: everything frozen lies in appends up to it */
    struct place start;
    bool start_kept;       /* the checkpoint's start and sequence stay: replay will enter this table again */
    bool folded;           /* there is no table: a publish of what is cleaned only */
    struct victims victims;
};

/* ---- freeze ---------------------------------------------------------------------------------------------------------- */

static bool is_victim(const struct group *group, const struct segment *segment)
{
    return segment->state == SLOT_SEALED && segment->generation <= group->published_generation && segment->live == 0 &&
           segment->pages == 0;
}

static bool has_victims(const struct group *group)
{
    for (uint32_t i = 0; i < group->segments.count; i++)
        if (is_victim(group, &group->segments.table[i]))
            return true;
    return false;
}

static struct place journal_end(struct group *group)
{
    struct log *journal = &group->journal;
    return journal->segment == SEGMENT_NONE ? group_place(group, journal->reserved, 1)
                                            : group_place(group, journal->segment, journal->block);
}

/* Under the commit section and the group's lock. */
static void freeze_now(struct group *group, struct view *fresh, struct freeze *freeze) REQUIRES(group->lock)
{
    struct recent *active = group->view->active;
    freeze->ticket = log_close(&group->journal, false);
    freeze->start = journal_end(group);
    freeze->start_kept = false;
    freeze->sequence = group->section->sequence;
    freeze->generation = group->generation++;
    log_mark(&group->journal, freeze->ticket);
    for (uint32_t i = 0; i < group->segments.count; i++)
        group->segments.table[i].victim = is_victim(group, &group->segments.table[i]);
    for (size_t i = 0; i < freeze->victims.count; i++)
        group->segments.table[freeze->victims.items[i]].victim = true;
    group_pace_begin(group, freeze->victims.count && !freeze->victims.harder);
    *fresh = *group->view;
    fresh->freed = NULL;
    fresh->freed_count = 0;
    fresh->emptied = NULL;
    fresh->frozen = active;
    fresh->active = active == group->tables[0] ? group->tables[1] : group->tables[0];
    group->table_ready = false;
    group->frozen_bytes = group->journal.bytes;
    group->journal.bytes = 0;
    group->active_since = clock_monotonic();
    reservations_freeze(group);
    view_exchange(group, fresh);
    freeze->view = view_get(group);
    atomic_store(&group->merge_progress, 0);
    atomic_store(&group->merge_work, recent_sheaves_count(active) + CLEAN_WORK * freeze->victims.count + 1);
}

/* ERROR_AGAIN where a freeze is not possible yet. */
static enum error freeze_try(struct group *group, struct freeze *freeze)
{
    struct view *fresh = malloc(sizeof *fresh);
    if (!fresh)
        return ERROR_NO_MEMORY;
    enum error error = ERROR_NONE;
    mutex_lock(&group->section->mutex);
    mutex_lock(&group->lock);
    bool journal_ready = group->journal.segment == SEGMENT_NONE || log_can_close(&group->journal);
    if (!group->table_ready || group->view->frozen || !journal_ready)
        error = ERROR_AGAIN;
    else
        freeze_now(group, fresh, freeze);
    mutex_unlock(&group->lock);
    condition_broadcast(&group->section->changed);
    mutex_unlock(&group->section->mutex);
    if (error)
        free(fresh);
    return error;
}

/* ---- publish ---------------------------------------------------------------------------------------------------------- */

/* Victims in which nothing is alive any more are freed by this checkpoint. Others stay victims until the next freeze. */
static enum error victims_free(struct group *group, uint32_t **freed, size_t *count)
{
    struct segments *segments = &group->segments;
    *freed = malloc((segments->count + 1) * sizeof **freed);
    *count = 0;
    if (!*freed)
        return ERROR_NO_MEMORY;
    mutex_lock(&group->lock);
    for (uint32_t i = 0; i < segments->count; i++) {
        struct segment *segment = &segments->table[i];
        if (segment->state == SLOT_FREEING) /* by a publish before, and some view needs it */
            continue;
        if (segment->victim && segment->live == 0 && segment->pages == 0) {
            segment->state = SLOT_FREEING;
            segment_dirty(segments, i);
            (*freed)[(*count)++] = i;
        }
    }
    reencrypt_enter(group, *freed, count);
    group->pace.freeing += (uint32_t)*count;
    group->pace.emptied = 0;
    mutex_unlock(&group->lock);
    return ERROR_NONE;
}

static enum error log_drain(struct group *group, struct log *log)
{
    mutex_lock(&group->lock);
    uint64_t ticket = 0;
    bool ready = !log->open || log_is_ready(log);
    if (ready)
        ticket = log_close(log, false);
    mutex_unlock(&group->lock);
    if (!ready) {
        TRY(merge_prepare(log));
        TRY(log_wait_buffer(log));
        return log_drain(group, log);
    }
    TRY(log_advance(log));
    return log_wait(log, ticket);
}

/* Which K_log each position is under is known when the record is durable. */
static void record_keys_note(struct group *group, uint64_t number, const uint8_t keys[GROUP_DEVICES])
{
    mutex_lock(&group->lock);
    for (uint32_t d = 0; d < group->device_count; d++)
        group->record_keys[d][checkpoint_copy(number, 0)] = keys[d];
    mutex_unlock(&group->lock);
}

enum error checkpoint_record(struct group *group, const struct checkpoint *checkpoint)
{
    uint8_t keys[GROUP_DEVICES];
    for (uint32_t d = 0; d < group->device_count; d++) {
        const struct keyring *keyring = group_keyring(group, d);
        keys[d] = (uint8_t)keyring_current(keyring, KEY_KIND_LOG)->number;
        TRY(checkpoint_write(group->devices[d], &group->superblocks[d], keyring, checkpoint));
    }
    for (uint32_t d = 0; d < group->device_count; d++)
        group_device_written(group, d);
    TRY(group_flush_devices(group));
    record_keys_note(group, checkpoint->number, keys);
    return ERROR_NONE;
}

static void publish(struct group *group, struct merge *merge, struct freeze *freeze, const struct checkpoint *checkpoint,
                    struct view *fresh, uint32_t *freed, size_t freed_count)
{
    size_t figure_count;
    AUTO_FREE struct reservation_figures *figures = reservations_look(group, merge->roots, &figure_count);
    mutex_lock(&group->section->mutex);
    mutex_lock(&group->lock);
    struct view *old = group->view;
    *fresh = (struct view){.active = old->active};
    memcpy(fresh->roots, merge->roots, sizeof fresh->roots);
    old->freed = freed;
    old->freed_count = freed_count;
    old->emptied = old->frozen;
    view_exchange(group, fresh);
    freeze->view->references--;
    group->checkpoint = *checkpoint;
    group->published_generation = freeze->generation;
    cids_published(&group->cids, checkpoint->cid_end);
    group->frozen_bytes = 0;
    group->pace.gained += merge->gained;
    group->pace.time += clock_monotonic() - merge->began;
    group->cleaned_last = merge->gained > 0;
    reservations_publish(group, figures, figure_count);
    group->second_live = segments_live(&group->segments, SEGMENT_TWIN);
    group->segments.serial_lease = checkpoint->serial_lease;
    group->component_lease = checkpoint->component_lease;
    mutex_unlock(&group->lock);
    condition_broadcast(&group->section->changed);
    mutex_unlock(&group->section->mutex);
    atomic_fetch_add(&group->totals.checkpoints, 1);
}

static enum error fold(struct merge *merge, struct checkpoint *checkpoint)
{
    if (merge->folded)
        return ERROR_NONE;
    TRY(repair_merge(merge));
    TRY(maps_merge(merge));
    TRY(releases_store(merge, checkpoint));
    TRY(births_merge(merge));
    TRY(changes_apply(merge));
    mutex_lock(&merge->group->lock);
    merge->group->release_allowed = 0; /* all that it brought is written */
    mutex_unlock(&merge->group->lock);
    return ERROR_NONE;
}

/* The journal up to the freeze must be written before the record that replaces it: births point into it. */
static enum error merge_write(struct merge *merge, struct freeze *freeze, struct checkpoint *checkpoint,
                              uint32_t **freed, size_t *freed_count)
{
    struct group *group = merge->group;
    log_leave_outdated(&group->meta);
    log_leave_outdated(&group->twin);
    log_leave_outdated(&group->cold);
    TRY(log_advance(&group->journal));
    TRY(log_wait(&group->journal, freeze->ticket));
    victims_aim(group, &freeze->victims);
    TRY(fold(merge, checkpoint));
    TRY(victims_clean(merge, &freeze->victims));
    TRY(victims_free(group, freed, freed_count));
    TRY(segments_merge(merge, checkpoint));
    TRY(log_drain(group, &group->meta));
    TRY(log_drain(group, &group->twin));
    TRY(log_drain(group, &group->cold));
    TRY(group_flush_devices(group));
    mutex_lock(&group->lock);
    checkpoint->number++;
    checkpoint->epoch = group->config.epoch;
    checkpoint->serial_lease = group->segments.serial_next + SERIAL_LEASE;
    checkpoint->component_lease = group->component_next + SERIAL_LEASE;
    checkpoint->cid_end = group->cids.end;
    checkpoint->time = clock_seconds();
    if (group->audit.count > checkpoint->audit.count)
        checkpoint->audit = group->audit;
    mutex_unlock(&group->lock);
    memcpy(checkpoint->roots, merge->roots, sizeof checkpoint->roots);
    checkpoint->chunks_live = merge->chunks_live;
    checkpoint->blocks_mapped = merge->blocks_mapped;
    checkpoint->families = merge->families;
    if (!freeze->start_kept) {
        checkpoint->sequence = freeze->sequence;
        checkpoint->start = freeze->start;
        log_marked_tag(&group->journal, checkpoint->start_tag);
        checkpoint->joint_count = 0;
    }
    return checkpoint_record(group, checkpoint);
}

static enum error merge_run(struct group *group, struct freeze *freeze)
{
    struct merge merge = {
        .group = group,
        .view = freeze->view,
        .birth = sequence_of_birth(freeze->sequence),
        .chunks_live = group->checkpoint.chunks_live,
        .blocks_mapped = group->checkpoint.blocks_mapped,
        .changes = malloc(CHANGES_MAX * sizeof(struct change)),
        .families = group->checkpoint.families,
        .folded = freeze->folded,
        .began = clock_monotonic(),
    };
    struct checkpoint checkpoint = group->checkpoint;
    struct view *fresh = malloc(sizeof *fresh);
    uint32_t *freed = NULL;
    size_t freed_count = 0;
    memcpy(merge.roots, group->checkpoint.roots, sizeof merge.roots);
    releases_init(&merge.releases, &checkpoint);
    mutex_lock(&group->lock);
    merge.release_budget = group->release_allowed = freeze->folded ? 0 : group_release_budget(group);
    mutex_unlock(&group->lock);
    enum error error = merge.changes && fresh ? ERROR_NONE : ERROR_NO_MEMORY;
    if (!error)
        error = merge_write(&merge, freeze, &checkpoint, &freed, &freed_count);
    free(merge.changes);
    free(merge.adds);
    releases_deinit(&merge.releases);
    if (error) {
        free(merge.outdated);
        free(fresh);
        free(freed);
        if (error == ERROR_INTERRUPTED && group_is_stopping(group))
            return error;
        /* The journal has all of it. An open that merges does not wait, as the thread does, and comes to nothing. */
        if (error == ERROR_NO_SPACE && (group->opening || group_is_stopping(group)))
            return error_prefix(error, "group %s: the journal cannot be merged before it goes on", group_name(group));
        return group_fence(group, error_prefix(error, "group %s: merge", group_name(group)));
    }
    publish(group, &merge, freeze, &checkpoint, fresh, freed, freed_count);
    nodes_outdated_drop(&merge);
    free(merge.outdated);
    if (group->config.published)
        group->config.published(group->config.context, checkpoint.number, checkpoint.sequence);
    return ERROR_NONE;
}

/* What was not come to is for later. Where nothing could be emptied something else is to be chosen. */
static void left_keep(struct group *group, struct victims *victims, enum error error)
{
    if (error || victims->done == 0 || victims->harder)
        victims->count = victims->done = 0;
    free(group->clean_left);
    group->clean_left = victims->items;
    group->clean_left_count = victims->count - victims->done;
    for (size_t i = 0; i < group->clean_left_count; i++)
        group->clean_left[i] = victims->items[victims->done + i];
}

enum error group_merge_once(struct group *group)
{
    struct freeze freeze = {0};
    views_reap(group);
    TRY(victims_choose(group, &freeze.victims));
    recompress_choose(group, &freeze.victims);
    enum error error = freeze_try(group, &freeze);
    if (!error)
        error = merge_run(group, &freeze);
    left_keep(group, &freeze.victims, error);
    TRY(error);
    views_reap(group);
    return ERROR_NONE;
}

/* What died since, as a whole, was given back, and may be another segment by now. */
static size_t left_filter(struct group *group)
{
    size_t kept = 0;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < group->clean_left_count; i++) {
        const struct segment *segment = &group->segments.table[group->clean_left[i]];
        if (segment->victim && segment->state == SLOT_SEALED)
            group->clean_left[kept++] = group->clean_left[i];
    }
    mutex_unlock(&group->lock);
    return kept;
}

enum error group_clean_more(struct group *group)
{
    struct freeze freeze = {
        .generation = group->published_generation,
        .sequence = group->checkpoint.sequence,
        .start_kept = true,
        .folded = true,
        .victims = {.items = group->clean_left, .count = left_filter(group)},
    };
    group->clean_left = NULL;
    group->clean_left_count = 0;
    freeze.view = view_take(group);
    atomic_store(&group->merge_progress, 0);
    atomic_store(&group->merge_work, CLEAN_WORK * freeze.victims.count + 1);
    enum error error = merge_run(group, &freeze);
    left_keep(group, &freeze.victims, error);
    TRY(error);
    views_reap(group);
    return ERROR_NONE;
}

/* Folding a table twice is harmless: counts follow from differences of leaves, and those are the same afterwards. */
enum error group_merge_replayed(struct group *group)
{
    struct freeze freeze = {
        .generation = GENERATION_REPLAYED - 1,
        .sequence = group->section->sequence,
        .start_kept = true,
    };
    freeze.view = view_take(group);
    TRY(merge_run(group, &freeze));
    views_reap(group);
    return ERROR_NONE;
}

/* ---- the thread --------------------------------------------------------------------------------------------------------- */

#define PASS_TIME (1 * CLOCK_SECOND)
#define REST_TIME (1 * CLOCK_SECOND) /* without cleaning, before its reader ends */
#define RELEASE_PAUSE (20 * CLOCK_MILLISECOND) /* before the next merge while something is on the release list */
/* With something on the list, and commits coming in, so long at least until the next merge: each writes leaves anew. */
#define RELEASE_AGE (1 * CLOCK_SECOND)
#define LINKS_WAIT_MAX (4 * CLOCK_MILLISECOND) /* of each snapshot or clone, before it comes to waiting for a freeze */
#define LINKS_PATIENCE (60 * CLOCK_SECOND)
#define LINKS_LOOK (5 * CLOCK_MILLISECOND)
#define VIEW_LOOK (100 * CLOCK_MILLISECOND) /* while one is waited for: is the group to end? */
#define ENOUGH_LOOK (5 * CLOCK_MILLISECOND) /* who waits for something that another publish may bring before */
#define DROPS_AGE (5 * CLOCK_SECOND) /* of a table that drops nodes of maps: what they hold is to come back soon */

/* Where there is no space to release anything, segments that can be freed make some. */
static bool releases_are_due(const struct group *group, bool victims)
{
    return group_is_releasing(group) || (victims && group_has_releases(group));
}

/* Victims are left, and there is no reason to fold the active table in first. Under the group's lock. */
static bool more_is_due(const struct group *group)
{
    const struct recent *active = group->view->active;
    return !group->config.by_hand && group->clean_left_count && recent_room(active) >= recent_capacity(active) / 2 &&
           clean_may_go_on(group);
}

/* *more: else there is more to be cleaned. */
static bool freeze_is_due(struct group *group, bool wanted, bool *more)
{
    mutex_lock(&group->lock);
    struct recent *active = group->view->active;
    bool victims = has_victims(group), releases = releases_are_due(group, victims);
    bool cleaning = (clean_is_due(group) && !more_is_due(group)) || recompress_is_due(group) || group->reencrypted.lacking;
    bool leases = group->component_next >= group->component_lease; /* a publish gives new ones, whatever is in it */
    bool something =
        !recent_is_empty(active) || victims || releases || cleaning || leases || group->repair || reencrypt_folds(group);
    uint64_t age = clock_monotonic() - group->active_since;
    uint64_t size = segment_size(&group->segments), journal = group->journal.bytes;
    uint64_t worth = MAX(segments_writable(&group->segments) * size / 8, group_fold_segments(group) * size);
    bool drops = recent_drops_max(active) != 0 && age >= DROPS_AGE;
    bool deep = recent_link_depth(active) >= LINK_DEPTH_DUE;
    bool due = something && (wanted || deep || recent_room(active) < recent_capacity(active) / 8 + RECENT_BATCH_ROOM ||
                             journal > JOURNAL_BYTES_MAX || journal > worth ||
                             (releases && (recent_is_empty(active) || age >= RELEASE_AGE)) || drops || cleaning ||
                             age > 30 * CLOCK_SECOND);
    *more = more_is_due(group) || (reencrypt_is_due(group) && !group->config.by_hand);
    mutex_unlock(&group->lock);
    return group->config.by_hand ? something && wanted : due;
}

/* What a freeze lacks: views to go, a buffer (whose write nobody waited for yet), or a prepared segment. */
static void freeze_wait(struct group *group)
{
    mutex_lock(&group->lock);
    bool table = group->table_ready;
    mutex_unlock(&group->lock);
    if (!table && views_await(group, clock_monotonic() + VIEW_LOOK))
        return;
    /* Not left to the keeper: what it prepares may come too late, and waiting for it here gains nothing. */
    enum error error = log_prepare(&group->journal);
    group_room_changed(group); /* it was another's to wait for as well */
    if (log_wait_buffer(&group->journal) == ERROR_NONE || error)
        clock_sleep(CLOCK_MILLISECOND);
}

/* Runs the merges that are due; with one wanted, also where nothing else asks for it. */
static void merge_pass(struct group *group)
{
    mutex_lock(&group->thread_lock);
    uint64_t wanted = group->freezes_wanted;
    bool is_wanted = wanted > group->freezes_published;
    mutex_unlock(&group->thread_lock);
    views_reap(group);
    bool more, freezes = freeze_is_due(group, is_wanted, &more);
    if (freezes || more) {
        enum error error = freezes ? group_merge_once(group) : group_clean_more(group);
        if (error) {
            freeze_wait(group);
            return;
        }
    } else if (anchor_is_due(group) && anchor_write(group) != ERROR_NONE) {
        return; /* it is fenced */
    }
    mutex_lock(&group->thread_lock);
    group->freezes_published = MAX(group->freezes_published, wanted);
    condition_broadcast(&group->merge_done);
    mutex_unlock(&group->thread_lock);
    cids_collect(group); /* may read half a thousand pages: no publish waits for that but the next */
}

/* Until the next look at what is due. */
static uint64_t pause_time(struct group *group)
{
    uint64_t pause = PASS_TIME;
    mutex_lock(&group->lock);
    if (recent_link_depth(group->view->active) >= LINK_DEPTH_DUE || (group->cleaned_last && clean_is_due(group))) {
        pause = 0;
    } else if (group_is_releasing(group)) {
        uint64_t age = MIN(clock_monotonic() - group->active_since, RELEASE_AGE);
        pause = recent_is_empty(group->view->active) ? RELEASE_PAUSE : MAX(RELEASE_AGE - age, RELEASE_PAUSE);
    }
    mutex_unlock(&group->lock);
    return pause;
}

void group_merge_thread(void *argument)
{
    struct group *group = argument;
    uint64_t pause = PASS_TIME;
    thread_give_way();
    group->merge_is_patient = true;
    mutex_lock(&group->thread_lock);
    while (!group->stopping) {
        if (group->freezes_wanted <= group->freezes_published)
            condition_wait_until(&group->merge_wake, &group->thread_lock, clock_monotonic() + pause);
        if (group->stopping)
            break;
        mutex_unlock(&group->thread_lock);
        if (!group_is_fenced(group))
            merge_pass(group);
        else
            clock_sleep(100 * CLOCK_MILLISECOND);
        pause = pause_time(group);
        if (!group->config.by_hand) /* else others merge as well */
            clean_rest(group, REST_TIME);
        mutex_lock(&group->thread_lock);
    }
    mutex_unlock(&group->thread_lock);
}

static uint32_t link_depth(struct group *group)
{
    mutex_lock(&group->lock);
    uint32_t depth = recent_link_depth(group->view->active);
    mutex_unlock(&group->lock);
    return depth;
}

static void merge_wake(struct group *group)
{
    mutex_lock(&group->thread_lock);
    condition_signal(&group->merge_wake);
    mutex_unlock(&group->thread_lock);
}

void group_links_changed(struct group *group)
{
    if (link_depth(group) >= LINK_DEPTH_DUE)
        merge_wake(group);
}

/* Another table takes over at the next freeze: its merge need not be waited for, only the one before. Each waits a little
 * from the first link on that is due, so that hardly one has to wait for all of that. */
enum error group_links_await(struct group *group, uint32_t most)
{
    uint64_t begin = clock_monotonic();
    uint32_t depth = link_depth(group);
    if (depth > LINK_DEPTH_DUE && depth < most)
        clock_sleep(LINKS_WAIT_MAX * (depth - LINK_DEPTH_DUE) / (most - LINK_DEPTH_DUE));
    while (link_depth(group) >= most) {
        if (group_is_fenced(group) || clock_monotonic() - begin > LINKS_PATIENCE || atomic_load(&group->merge_waits))
            TRY(group_publish_needed(group)); /* which says what is the matter */
        merge_wake(group);
        mutex_lock(&group->section->mutex);
        condition_wait_until(&group->section->changed, &group->section->mutex, clock_monotonic() + LINKS_LOOK);
        mutex_unlock(&group->section->mutex);
    }
    return ERROR_NONE;
}

/* ERROR_TIMED_OUT after `patience`, or, unless `below`, where a merge waits for the file system below. */
static enum error publish_await(struct group *group, uint64_t patience, bool below, bool (*enough)(struct group *, void *),
                                void *context)
{
    uint64_t begin = clock_monotonic(), look = enough ? ENOUGH_LOOK : CLOCK_SECOND;
    bool has = false;
    mutex_lock(&group->thread_lock);
    uint64_t wanted = ++group->freezes_wanted;
    condition_signal(&group->merge_wake);
    while (!has && group->freezes_published < wanted && !group_is_fenced(group) && !group->stopping &&
           clock_monotonic() - begin < patience && (below || !atomic_load(&group->merge_waits))) {
        condition_wait_until(&group->merge_done, &group->thread_lock, clock_monotonic() + look);
        mutex_unlock(&group->thread_lock);
        has = enough && enough(group, context);
        mutex_lock(&group->thread_lock);
    }
    bool done = has || group->freezes_published >= wanted, stopped = group->stopping;
    mutex_unlock(&group->thread_lock);
    return done ? ERROR_NONE : group_is_fenced(group) || stopped ? ERROR_FENCED : ERROR_TIMED_OUT;
}

enum error group_publish_unless(struct group *group, bool (*enough)(struct group *, void *), void *context)
{
    enum error error = publish_await(group, UINT64_MAX, false, enough, context);
    if (error != ERROR_TIMED_OUT)
        return error;
    return error_explain(ERROR_NO_SPACE, "the file system below has no space for a merge, which must come first");
}

enum error group_publish_needed(struct group *group)
{
    return group_publish_unless(group, NULL, NULL);
}

enum error group_publish_within(struct group *group, uint64_t patience)
{
    return publish_await(group, patience, false, NULL, NULL);
}

enum error group_publish(struct group *group) { return publish_await(group, UINT64_MAX, true, NULL, NULL); }
