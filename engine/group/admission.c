/*
 * Admission: what a commit needs before it may be made, so that it cannot fail or wait once it began, and so that the
 * merge of all that is in the tables always has space.
 *
 * Two bounds. Of bytes: what is alive, and what was committed since and may turn out to be, stays below the capacity,
 * which is the raw space less a reserve of a tenth, more of a small group. An overwrite brings nothing in the end, so it
 * may go beyond that by a part of the reserve. What a segment that cannot be emptied has besides counts as alive. Of
 * segments: so many stay free as the merge of all that is in the tables can need (merge_bytes.c), and some more, for the
 * cleaner; it turns the first bound into the second: while less is alive than the capacity it always finds something to
 * gain, so who meets the second waits. Slots that wait for views, discard or wipe are not free.
 *
 * Files are sparse, so a slot that is free here may have no space in the file system below. The keeper gives some free
 * slots space ahead of need, as many as the merge could want; where it cannot, ordinary writes end before the merge
 * would.
 *
 * What a trim or a deletion frees comes back by merges that take it off the release list (release.c). So with something
 * to be released, in the list or in a table, one more merge is foreseen beside those of the tables. Only a small release is
 * foreseen in each; a merge releases more where there is space for it beside that, and beside what the cleaner may need,
 * and what it was let is kept free until it has released it. So it always can be made, and the list goes on becoming less
 * without a writer's help; and neither a writer nor the cleaner stops for a large release that may as well be a small
 * one. Who waits for space waits for that as well.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/merge.h"
#include "engine/group/view.h"

#define RESERVE_SEGMENTS 8u  /* for the cleaner */
#define PROMISED_SEGMENTS 2u /* of these, for what is reserved for objects */
/* Of a small group: the merge's, the cleaner's, and those that logs have open; a part of it is slack for the cleaner to
 * gain from, without which all segments are full of what is alive. */
#define RESERVE_LEAST 20u
#define RESERVE_SLACK 20u
#define PACKED           31 / 32 /* of a segment; the rest is its header, ends of appends, what does not fit */
/* Beside the bytes of a merge: meta and twin each begin one and prepare one early; the journal goes on in one, and
 * after a crash in another. */
#define OPEN_SEGMENTS    6u
#define RELEASE_SEGMENTS 2u             /* of one more merge: meta and twin may go on in another one each */
#define RELEASE_LEAST    UINT64_C(4096) /* references: fewer are not worth a merge */
#define CLEAN_AHEAD      32u            /* this part of a group is free when the cleaner begins, */
#define CLEAN_AHEAD_LEAST 4u            /* or so many segments, beside what merges and the cleaner need */
#define FOLD_PART        32u            /* of a group: so much journal is folded in at once, */
#define FOLD_LEAST       4u             /* or so many segments */
#define HOPELESS_TIME    CLOCK_SECOND
/* Where merges take apart what is on the release list, or clean, and no segment comes of it (what is dropped may be
 * shared). */
#define SPACE_PATIENCE (30 * CLOCK_SECOND)
#define ROOM_LOOK      (600 * CLOCK_SECOND) /* while the table is full: may something else be lacking by now? */
#define VIEW_LOOK (20 * CLOCK_MILLISECOND) /* while views hold what is free: the cleaner may have gained something */
#define OVERWRITE_PART 4 /* of the reserve: by so much overwrites may exceed the capacity until a merge counts */
/* Slots given space at a time: the file system lets no write to the file through meanwhile, so it is done rarely. */
#define AHEAD_STEP       16u

static bool will_release(const struct group *group)
{
    const struct view *view = group->view;
    return group_has_releases(group) || recent_drops_max(view->active) ||
           (view->frozen && recent_drops_max(view->frozen));
}

/* References that a merge must be able to release. More is what release_budget() finds space for. */
static uint64_t release_least(void)
{
    return MIN(RELEASE_LEAST, release_references);
}

static uint64_t merge_segments(const struct group *group)
{
    const struct view *view = group->view;
    uint64_t least = release_least(), allowed = MAX(least, group->release_allowed);
    uint64_t bytes = group_merge_bytes(group, view->active, view->frozen, least) +
                     (view->frozen ? group_merge_bytes(group, view->frozen, NULL, allowed) : 0);
    if (will_release(group)) {
        const struct recent *before = recent_drops_max(view->active) || !view->frozen ? view->active : view->frozen;
        bytes += group_merge_bytes(group, NULL, before, least);
        bytes += RELEASE_SEGMENTS * segment_size(&group->segments);
    }
    return bytes / segment_size(&group->segments) + OPEN_SEGMENTS;
}

uint64_t group_clean_ahead(const struct group *group)
{
    return MAX(group->segments.count / CLEAN_AHEAD, CLEAN_AHEAD_LEAST);
}

/* What the active table needs for its own merge stays free, and `spare` segments; beside more than the least also what the
 * cleaner, and who commits meanwhile, may take. */
static uint64_t release_budget(const struct group *group, uint64_t spare)
{
    const struct view *view = group->view;
    uint64_t active = group_merge_bytes(group, view->active, view->frozen, 0);
    uint64_t least = release_least(), others = RESERVE_SEGMENTS + group_clean_ahead(group);
    for (uint64_t budget = release_references; budget > 0 && budget >= least; budget /= 4) {
        uint64_t bytes = active + group_merge_bytes(group, view->frozen, NULL, budget);
        uint64_t kept = spare + (budget / 4 >= least ? others : 0);
        if (bytes / segment_size(&group->segments) + OPEN_SEGMENTS + kept <= segments_writable(&group->segments))
            return budget;
    }
    return 0;
}

uint64_t group_release_budget(const struct group *group)
{
    return release_budget(group, 0);
}

bool group_is_releasing(const struct group *group)
{
    return group_has_releases(group) && release_budget(group, 1) > 0;
}

uint64_t group_clean_room(const struct group *group)
{
    uint64_t merge = merge_segments(group), writable = segments_writable(&group->segments);
    return writable > merge ? writable - merge : 0;
}

uint64_t group_commit_least(const struct group *group)
{
    return merge_segments(group) + RESERVE_SEGMENTS;
}

uint64_t group_clean_target(const struct group *group)
{
    return group_commit_least(group) + (uint64_t)((double)group_clean_ahead(group) * CLEAN_BEGIN);
}

uint64_t group_commit_room(const struct group *group)
{
    uint64_t least = group_commit_least(group), writable = segments_writable(&group->segments);
    return writable > least ? writable - least : 0;
}

static uint64_t reserve_segments(const struct group *group)
{
    return MAX(group->segments.count / 10, RESERVE_LEAST + group->segments.count / RESERVE_SLACK);
}

uint64_t group_capacity(const struct group *group)
{
    return (group->segments.count - reserve_segments(group)) * segment_size(&group->segments) * PACKED;
}

uint64_t group_used(const struct group *group)
{
    const struct log *journal = &group->journal;
    uint64_t open = journal->open ? journal->open->items_end : 0;
    return group->segments.live_total + group->segments.kept_total + group->frozen_bytes + journal->bytes + open;
}

uint64_t group_writable(const struct group *group)
{
    uint64_t capacity = group_capacity(group), used = group_used(group) + reservations_held(group, NULL);
    return used < capacity ? (capacity - used) / CHUNK_COST * CHUNK_SIZE : 0;
}

static uint64_t over_bytes(const struct group *group)
{
    return reserve_segments(group) * segment_size(&group->segments) / OVERWRITE_PART;
}

uint64_t group_over_capacity(const struct group *group)
{
    uint64_t over = over_bytes(group), begin = group_capacity(group) - over;
    uint64_t taken = group_used(group) + reservations_held(group, NULL);
    return taken > begin ? MIN((taken - begin) * 1000 / (2 * over), 1000u) : 0;
}

/* At the capacity commits soon wait for the merge that counts what died. */
uint64_t group_fold_segments(const struct group *group)
{
    bool is_full = group_over_capacity(group) >= 500;
    return is_full ? FOLD_LEAST : MAX(group->segments.count / FOLD_PART, FOLD_LEAST);
}

/* Overwrites of blocks that others share bring something all the same. So that they cannot take what is held for
 * objects, half of what they may exceed the capacity by is left to those. */
static bool fits_capacity(const struct group *group, struct commit_need need)
{
    uint64_t over = over_bytes(group);
    uint64_t limit = group_capacity(group);
    if (need.own)
        limit += over;
    else if (need.class == COMMIT_OVERWRITES)
        limit += group->reservations.first ? over / 2 : over;
    return need.class == COMMIT_FREES || group_used(group) + reservations_held(group, need.own) < limit;
}

/* What was promised may be written where segments are not packed as well as bytes are counted: where logs have just begun new
 * ones, or little is to be gained from each. */
static uint64_t spare_segments(struct commit_need need)
{
    if (need.class == COMMIT_FREES)
        return RESERVE_SEGMENTS / 2;
    return need.own ? RESERVE_SEGMENTS - PROMISED_SEGMENTS : RESERVE_SEGMENTS;
}

/* Whether a file system below is full, and what can be written all the same does not suffice. */
static bool lacks_below(const struct group *group, enum commit_class class)
{
    uint64_t needed = merge_segments(group) + (class == COMMIT_FREES ? 0 : RESERVE_SEGMENTS / 2);
    uint32_t writable = segments_writable(&group->segments);
    bool none_gets_more = writable == group->segments.free_allocated;
    return group->segments.full && (writable <= needed || (none_gets_more && group->journal.prepared == SEGMENT_NONE));
}

static bool has_enough_allocated(const struct group *group)
{
    return group->segments.free_allocated > merge_segments(group) + 2 * RESERVE_SEGMENTS;
}

bool group_is_full_below(const struct group *group)
{
    const struct segments *segments = &group->segments;
    return segments->full && segments_writable(segments) == segments->free_allocated && !has_enough_allocated(group);
}

enum error group_allocate(struct group *group, struct device *device, uint64_t offset, uint32_t index, uint32_t count)
{
    enum error error = device_allocate(device, offset, count * segment_size(&group->segments));
    if (error == ERROR_NO_SPACE && count > 1)
        return error; /* perhaps for fewer */
    mutex_lock(&group->lock);
    bool first = false;
    if (error == ERROR_NO_SPACE)
        segments_set_full(&group->segments, segment_device(&group->segments, index), &first);
    else if (!error)
        segments_set_roomy(&group->segments, segment_device(&group->segments, index));
    for (uint32_t i = 0; i < count && !error; i++)
        segment_set_allocated(&group->segments, index + i);
    if (first && group->device_count > 1)
        group_keeper_wake(group); /* it asks the others */
    mutex_unlock(&group->lock);
    if (first)
        message(MESSAGE_WARNING, "group %s: %s: %swrites get \"no space\" until it has some again", group_name(group),
                error_sentence(error), group->device_count > 1 ? "where the other devices have none either, " : "");
    return error;
}

void group_find_allocated(struct group *group)
{
    struct segments *segments = &group->segments;
    uint32_t found = 0;
    for (uint32_t i = 0; i < segments->count && found < SLOTS_KEPT; i++) {
        mutex_lock(&group->lock);
        struct device *device = group->devices[segment_device(segments, i)];
        uint64_t offset = segment_offset(segments, i);
        bool asks = segment_lacks_space(segments, i);
        mutex_unlock(&group->lock);
        if (!asks || device_allocate(device, offset, segment_size(segments)))
            continue;
        mutex_lock(&group->lock);
        segment_set_allocated(segments, i);
        mutex_unlock(&group->lock);
        found++;
    }
    error_forget();
}

/* The next to ask, of a device that is not in `asked`: while there is enough only those are asked that were full, for one
 * segment. */
static uint32_t unallocated_choose(const struct group *group, uint64_t asked, uint32_t step, uint32_t *count)
{
    bool enough = has_enough_allocated(group);
    return segment_unallocated(&group->segments, asked | (enough ? ~group->segments.full : 0), enough ? 1 : step, count);
}

void group_allocate_ahead(struct group *group)
{
    uint64_t asked = 0;
    uint32_t step = AHEAD_STEP;
    for (unsigned n = 0; n < AHEAD_STEP + 2 * group->device_count; n++) {
        uint32_t count = 0, d = 0;
        mutex_lock(&group->lock);
        uint32_t index = unallocated_choose(group, asked, step, &count);
        if (index != SEGMENT_NONE)
            d = segment_device(&group->segments, index);
        uint64_t offset = index == SEGMENT_NONE ? 0 : segment_offset(&group->segments, index);
        mutex_unlock(&group->lock);
        if (index == SEGMENT_NONE)
            return;
        enum error error = group_allocate(group, group->devices[d], offset, index, count);
        if (error && error != ERROR_NO_SPACE)
            return;
        if (error && count == 1)
            asked |= UINT64_C(1) << d;
        step = error && count > 1 ? 1 : AHEAD_STEP;
    }
}

static bool has_segments(const struct group *group, struct commit_need need)
{
    return group->segments.free_total > merge_segments(group) + spare_segments(need);
}

bool group_has_space(const struct group *group, struct commit_need need)
{
    return has_segments(group, need) && fits_capacity(group, need);
}

enum error group_room(struct group *group, struct commit_need need)
{
    if (group_is_fenced(group))
        return ERROR_FENCED;
    if (lacks_below(group, need.class))
        return ERROR_NO_SPACE;
    if (recent_room(group->view->active) < RECENT_BATCH_ROOM || !log_is_ready_for(&group->journal, need.little))
        return ERROR_AGAIN;
    return group_has_space(group, need) ? ERROR_NONE : ERROR_NO_SPACE;
}

/* Asked under the section's mutex, under which is told that it is there. */
static void segment_await(struct group *group)
{
    mutex_lock(&group->section->mutex);
    mutex_lock(&group->lock);
    bool lacks = log_lacks_segment(&group->journal);
    mutex_unlock(&group->lock);
    if (lacks)
        condition_wait_until(&group->section->changed, &group->section->mutex,
                             clock_monotonic() + 20 * CLOCK_MILLISECOND);
    mutex_unlock(&group->section->mutex);
}

/* What group_room() lacked comes by a merge (table), by a write (buffer) or by the keeper (segment). */
enum error group_wait_room(struct group *group)
{
    if (group_is_fenced(group))
        return ERROR_FENCED;
    mutex_lock(&group->lock);
    bool table = recent_room(group->view->active) < RECENT_BATCH_ROOM;
    bool segment = log_lacks_segment(&group->journal);
    mutex_unlock(&group->lock);
    /* The segment first: the merge that makes room in the table may need one. */
    if (table && !segment) {
        enum error error = group_publish_within(group, ROOM_LOOK);
        return error == ERROR_TIMED_OUT ? ERROR_NONE : error; /* group_room() says what is lacking */
    }
    if (segment) {
        /* Not left to the keeper alone: who waits may as well do it. */
        enum error error = log_prepare(&group->journal);
        if (error && error != ERROR_NO_SPACE)
            return error;
        mutex_lock(&group->lock);
        bool prepared = !log_lacks_segment(&group->journal);
        mutex_unlock(&group->lock);
        if (prepared) {
            group_room_changed(group);
            return ERROR_NONE;
        }
        segment_await(group);
        return ERROR_NONE;
    }
    return log_wait_buffer(&group->journal);
}

/* Whether there is room for a commit, and space below it. */
static bool has_space_below(const struct group *group, struct commit_need need)
{
    return !lacks_below(group, need.class) && group_has_space(group, need);
}

/* Segments will come free without anybody's help: by what is on the release list, by the cleaner, or where views are gone that
 * need what a publish freed. */
static bool is_making_space(const struct group *group, struct commit_need need)
{
    return group_is_releasing(group) || (fits_capacity(group, need) && (clean_is_due(group) || group->pace.freeing));
}

static bool is_enough(struct group *group, void *need)
{
    mutex_lock(&group->lock);
    bool enough = has_space_below(group, *(const struct commit_need *)need);
    mutex_unlock(&group->lock);
    return enough;
}

/* The first publish counts what died, the second frees it, if the cleaner has not gained enough in the first, or before.
 * Where both free no segment, they have still emptied the tables, and with them what is kept for their merge. */
static enum error publish_for_space(struct group *group, struct commit_need need)
{
    bool enough = false;
    for (unsigned i = 0; i < 2 && !enough; i++) {
        TRY(group_publish_unless(group, is_enough, &need));
        enough = is_enough(group, &need);
    }
    return ERROR_NONE;
}

/* Which of the two: more room is made in another place. */
static enum error explain_full(const struct group *group, bool below)
{
    return below ? error_explain(ERROR_NO_SPACE, "the file system below group %s is full", group_name(group))
                 : error_explain(ERROR_NO_SPACE, "the pool is full");
}

/* *gained: more segments are free than `before`, or there is room. */
static enum error space_await(struct group *group, struct commit_need need, uint32_t before, bool *gained)
{
    uint64_t begin = clock_monotonic();
    bool waits;
    do {
        TRY(publish_for_space(group, need));
        mutex_lock(&group->lock);
        *gained = group->segments.free_total > before || has_space_below(group, need);
        waits = is_making_space(group, need);
        bool held = group->pace.freeing != 0;
        mutex_unlock(&group->lock);
        if (!*gained && waits && held)
            (void)views_await(group, clock_monotonic() + VIEW_LOOK);
    } while (!*gained && waits && clock_monotonic() - begin < SPACE_PATIENCE);
    return ERROR_NONE;
}

enum error group_wait_space(struct group *group, struct commit_need need)
{
    mutex_lock(&group->lock);
    bool hopeless = group->hopeless_since && (int)need.class <= group->hopeless_class && !need.own &&
                    clock_monotonic() - group->hopeless_since < HOPELESS_TIME;
    bool below = lacks_below(group, need.class), gained = false;
    uint32_t before = group->segments.free_total;
    group->space_waiters += !hopeless;
    mutex_unlock(&group->lock);
    if (hopeless)
        return explain_full(group, below);
    enum error error = space_await(group, need, before, &gained);
    mutex_lock(&group->lock);
    group->space_waiters--;
    if (error) {
        mutex_unlock(&group->lock);
        return error;
    }
    group->hopeless_since = gained ? 0 : clock_monotonic();
    group->hopeless_class = (int)need.class;
    below = lacks_below(group, need.class);
    mutex_unlock(&group->lock);
    return gained ? ERROR_NONE : explain_full(group, below);
}
