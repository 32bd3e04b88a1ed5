/*
 * Old data compressed harder while nobody writes: what the load of the moment stored by LZ4 is stored by zstd instead.
 *
 * It is the cleaner's work on segments that need no cleaning. Where nothing was committed for a while, and space is not
 * short, the merge thread reads some segments, the oldest first. One of whose live bytes a part is units of LZ4 becomes a
 * victim, and the cleaner compresses those anew as it moves them (clean_segment.c). One that has none, or little, is
 * *settled*: nobody looks into it again, after a restart either, since the segment table says so. What comes of a victim
 * has no LZ4 in it, is read once more and settled. So it ends, whatever the level, and is begun again by new data only.
 *
 * Throttle: each round is a small merge of its own, at the merge thread's low priority, and behind each nothing may be
 * committed for as long again. The first commit ends it: while segments are looked into at once, then with the victim that is
 * at work, so that this was not for nothing; but at once, too, where somebody waits for the merge or soon will. A segment may
 * be large: both are asked after each window of it.
 *
 * The merge thread alone; the group's lock for looks. A crash forgets what was settled since the last publish, and what
 * the cleaner says of crashes holds.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/clean.h"
#include "engine/group/view.h"

#define ROUND_VICTIMS 8u                 /* of a round at most: of the smallest segments; of larger ones fewer, one at least */
#define ROUND_READS   32u
#define GAIN_PART     4 /* of the live bytes: less in units of LZ4 is not worth moving the rest */

_Atomic uint64_t recompress_idle = RECOMPRESS_IDLE;

static bool is_candidate(const struct group *group, const struct segment *segment)
{
    return segment->state == SLOT_SEALED && segment_has_units(segment) &&
           segment->generation <= group->published_generation && !segment->stuck && !segment->settled && segment->live > 0;
}

/* Each victim takes no more than it gives back, once it is published. */
static bool has_room(const struct group *group)
{
    return segments_writable(&group->segments) > group_clean_target(group) + ROUND_VICTIMS &&
           group_clean_room(group) > ROUND_VICTIMS + 2;
}

bool recompress_is_due(const struct group *group)
{
    if (group->config.recompress == 0 || !recent_is_empty(group->view->active) || group_is_releasing(group) ||
        clock_monotonic() - group->active_since < atomic_load(&recompress_idle) || !has_room(group))
        return false;
    for (uint32_t i = 0; i < group->segments.count; i++)
        if (is_candidate(group, &group->segments.table[i]))
            return true;
    return false;
}

/* ---- ending ---------------------------------------------------------------------------------------------------------- */

/* Somebody waits for the merge, and for no more than that. */
static bool is_awaited(struct group *group)
{
    mutex_lock(&group->thread_lock);
    bool awaited = group->freezes_wanted > group->freezes_published;
    mutex_unlock(&group->thread_lock);
    return awaited;
}

bool recompress_is_pressed(struct group *group)
{
    mutex_lock(&group->lock);
    bool filling = recent_room(group->view->active) < recent_capacity(group->view->active) / 2;
    mutex_unlock(&group->lock);
    return filling || atomic_load(&group->closing) || is_awaited(group);
}

bool recompress_is_disturbed(struct group *group)
{
    mutex_lock(&group->lock);
    bool idle = recent_is_empty(group->view->active);
    mutex_unlock(&group->lock);
    return !idle || atomic_load(&group->closing) || is_awaited(group);
}

/* ---- looking into a segment ------------------------------------------------------------------------------------------ */

struct look {
    struct group *group;
    uint64_t harder; /* bytes of units that can be compressed harder */
    uint32_t window;
};

static enum error item_look(void *context, const struct item_read *read)
{
    struct look *look = context;
    uint32_t window = read->offset / (SEGMENT_WINDOW / GRAIN_SIZE);
    if (window != look->window && recompress_is_disturbed(look->group))
        return ERROR_INTERRUPTED;
    look->window = window;
    if (read->kind == ITEM_UNIT && read->header->codec == STORED_LZ4)
        look->harder += (uint64_t)read->length * GRAIN_SIZE;
    return ERROR_NONE;
}

/* What cannot be read is not worth it either: a scrub tells of it. ERROR_INTERRUPTED. */
static enum error segment_look(struct group *group, uint32_t index, uint8_t *bytes, uint64_t live, bool *worth)
{
    struct look look = {.group = group};
    enum error error = segment_items(group, index, bytes, item_look, &look);
    if (error)
        error_forget();
    *worth = !error && look.harder * GAIN_PART >= live;
    return error == ERROR_INTERRUPTED ? error : ERROR_NONE;
}

/* ---- choosing -------------------------------------------------------------------------------------------------------- */

/* The oldest that nobody looked into; SEGMENT_NONE. */
static uint32_t oldest_find(const struct group *group, uint64_t after)
{
    const struct segments *segments = &group->segments;
    uint32_t found = SEGMENT_NONE;
    for (uint32_t i = 0; i < segments->count; i++)
        if (is_candidate(group, &segments->table[i]) && segments->table[i].serial > after &&
            (found == SEGMENT_NONE || segments->table[i].serial < segments->table[found].serial))
            found = i;
    return found;
}

static void settle(struct group *group, uint32_t index)
{
    mutex_lock(&group->lock);
    group->segments.table[index].settled = true;
    segment_dirty(&group->segments, index);
    mutex_unlock(&group->lock);
}

/* As many as of the smallest segments would be as large. */
static unsigned round_part(const struct group *group, unsigned count)
{
    return MAX(count >> (group->segments.segment_shift - SEGMENT_SHIFT_MIN), 1u);
}

/* Where it is disturbed there are no victims, but what was settled is. */
static void segments_choose(struct group *group, uint8_t *bytes, struct victims *victims)
{
    uint64_t after = 0;
    unsigned reads = round_part(group, ROUND_READS), most = round_part(group, ROUND_VICTIMS);
    for (; reads > 0 && victims->count < most; reads--) {
        mutex_lock(&group->lock);
        uint32_t index = oldest_find(group, after);
        const struct segment *segment = index == SEGMENT_NONE ? NULL : &group->segments.table[index];
        uint64_t live = segment ? segment->live : 0;
        after = segment ? segment->serial : after;
        mutex_unlock(&group->lock);
        bool worth;
        if (!segment)
            return;
        if (segment_look(group, index, bytes, live, &worth) || recompress_is_disturbed(group)) {
            victims->count = 0;
            return;
        }
        if (worth)
            victims->items[victims->count++] = index;
        else
            settle(group, index);
    }
}

void recompress_choose(struct group *group, struct victims *victims)
{
    mutex_lock(&group->lock);
    bool due = victims->count == 0 && recompress_is_due(group);
    mutex_unlock(&group->lock);
    uint8_t *bytes = due && !is_awaited(group) ? memory_aligned(SEGMENT_WINDOW) : NULL;
    uint32_t *items = bytes ? malloc(ROUND_VICTIMS * sizeof *items) : NULL;
    if (items) {
        free(victims->items);
        *victims = (struct victims){.items = items, .harder = true};
        segments_choose(group, bytes, victims);
    }
    memory_free_cleansed(bytes);
}
