/*
 * The cleaner: space in which little is alive comes back by moving that little away.
 *
 * It is a step of the merge. Where free segments are fewer than the group wants ahead (admission.c), the merge thread
 * chooses segments before its freeze, and marks them in the freeze: from then on nothing that is found in them is a
 * duplicate, so their chunks only lose references. When the frozen table is folded in and counts are final, what is still
 * counted in them is written again elsewhere (clean_segment.c), the chunk table gets the new places, and the same publish
 * frees the segments. Maps go on naming the old places; who finds a segment gone asks the chunk table (follow.h).
 *
 * Which: benefit over cost, (1 - u) / (1 + u) times the square root of the age, u being the part that is alive and the age
 * the segments that were begun since (Rosenblum and Ousterhout 1992, who take the age itself: data that is old and nearly
 * all alive would be moved for little before anything else). Only covered segments: replay needs them no more, and all
 * that was born in them is in the chunk table. What is moved is written apart from new data, so old data gathers.
 *
 * How much: no more than free segments allow beside the merge of all that is in the tables (group_clean_room). So cleaning
 * never makes a merge fail.
 *
 * Crashes: before the record is durable nothing has happened. The old copies are where they were, the new ones stand in
 * segments that nothing names. Afterwards the new places are in the chunk table, and the segments are free once no view
 * needs them. A segment is emptied whole or left as it is; so are all of a merge (clean_undo.c).
 *
 * The merge thread alone, but for what reads ahead for it (clean_read.c); no locks of its own.
 */
#include "engine/group/clean.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/order.h"
#include "dedup/unit.h"
#include "engine/group/view.h"

#define MOVES_MAX 65536 /* kept until they are entered into the table of places */
#define FULL_PERMILLE 900 /* of a segment is alive: not worth it */
#define FULL_SHORT    31 / 32 /* … nor where writers wait for space: its pages of places would cost what it brings */
#define FULL_SMALL    4u      /* this part of a segment goes to one other at most, whatever is written with it */
#define ROOM_USUAL    2u      /* segments of room, with which more than that is moved */
#define MOVED_PAGE_BYTES (BLOCK_SIZE + 64u) /* a page with its header and descriptor */
#define GAIN_LEAST 2 /* segments, for a merge of its own */
#define SLOTS_ASKED 4u /* segments emptied at a time for re-encryption, which uses their slots one after the other */
#define PIECE_GAIN 6u /* this part of what is to be free ahead is gained from publish to publish, */
#define PIECE_MOVE 4u /* and this part of it is moved at most: writers have the rest until it is published */
#define PIECE_ROOM 5u /* segments that are left to writers when a piece ends early, so that they need not wait for it */

/* ---- choosing -------------------------------------------------------------------------------------------------------- */

static uint64_t alive_bytes(const struct segment *segment) { return (uint64_t)segment->live + segment->pages; }

/* Bytes that are alive in a segment that is worth it, less than so many. Where nobody may write, whatever it brings is; where
 * hardly anything may be moved, what is soon moved. */
static uint64_t full_bytes(const struct group *group)
{
    uint64_t size = segment_size(&group->segments);
    if (group_clean_room(group) < ROOM_USUAL)
        return size / FULL_SMALL;
    return group_commit_room(group) ? size * FULL_PERMILLE / 1000 : size * FULL_SHORT;
}

static bool is_candidate(const struct group *group, const struct segment *segment, uint64_t full)
{
    uint64_t alive = alive_bytes(segment);
    return segment->state == SLOT_SEALED && segment->generation <= group->published_generation && !segment->stuck &&
           alive > 0 && alive < full;
}

_Atomic bool clean_always;

/* Segments that are to be gained until the next fold, in pieces, and as long as they are wanted. Under the group's lock. */
static uint64_t segments_wanted(const struct group *group)
{
    if (atomic_load(&group->closing))
        return 0;
    if (segments_writable(&group->segments) < group_clean_target(group))
        return group_fold_segments(group);
    return atomic_load(&clean_always) ? GAIN_LEAST : 0;
}

/* What is left of the segment that moved data goes to. */
static uint64_t cold_rest(const struct group *group)
{
    const struct log *cold = &group->cold;
    return cold->segment == SEGMENT_NONE ? 0 : segment_size(&group->segments) - (uint64_t)cold->block * BLOCK_SIZE;
}

/* Bytes that are to be gained. Where somebody waits who cannot write, one segment is worth it, with what fits into one that is
 * taken already. */
static uint64_t gain_wanted(const struct group *group)
{
    uint64_t size = segment_size(&group->segments);
    bool awaited = group->space_waiters && group_commit_room(group) == 0;
    return awaited ? MAX(size - MIN(size, cold_rest(group)), 1) : GAIN_LEAST * size;
}

bool clean_is_due(const struct group *group)
{
    uint64_t gain = 0, size = segment_size(&group->segments), full = full_bytes(group), wanted = gain_wanted(group);
    if (atomic_load(&group->closing) || segments_writable(&group->segments) >= group_clean_target(group) || group_clean_room(group) < 1)
        return false;
    for (uint32_t i = 0; i < group->segments.count && gain < wanted; i++)
        if (is_candidate(group, &group->segments.table[i], full))
            gain += size - alive_bytes(&group->segments.table[i]);
    return gain >= wanted;
}

/* What a merge of no table writes beside what it moves; that of others is kept for them anyway. */
static uint64_t fixed_bytes(const struct merge *merge)
{
    return merge->folded ? group_merge_bytes(merge->group, NULL, NULL, 0) : 0;
}

bool clean_may_go_on(const struct group *group)
{
    uint64_t room = group_clean_room(group), size = segment_size(&group->segments);
    return clean_is_due(group) && room > 2 + group_merge_bytes(group, NULL, NULL, 0) / size;
}

struct candidate {
    uint32_t index;
    uint32_t alive;
    double worth;
};

static double worth_of(const struct segments *segments, const struct segment *segment)
{
    double used = (double)alive_bytes(segment) / (double)segment_size(segments);
    double age = (double)(segments->order_next - segment->order);
    return (1 - used) / (1 + used) * sqrt(age);
}

static int worth_order(const void *a, const void *b)
{
    double x = ((const struct candidate *)a)->worth, y = ((const struct candidate *)b)->worth;
    return x > y ? -1 : x < y;
}

/* What is to be chosen: of which devices, what is how full, until it brings so much or there are so many. */
struct choice {
    uint64_t devices, full, gain;
    size_t most;
};

/* Slots that re-encryption lacks on a device are not for writers: where those wait for space they go first. */
static struct choice choice_make(struct group *group) REQUIRES(group->lock)
{
    uint64_t lacking = group->reencrypted.lacking, wanted = segments_wanted(group);
    group->reencrypted.lacking = 0; /* it asks again */
    if (group_clean_room(group) == 0 || atomic_load(&group->closing))
        return (struct choice){0};
    if (lacking && !group->space_waiters)
        return (struct choice){lacking, UINT64_MAX, UINT64_MAX, SLOTS_ASKED};
    if (wanted == 0)
        return (struct choice){0};
    return (struct choice){UINT64_MAX, full_bytes(group), wanted * segment_size(&group->segments), SIZE_MAX};
}

/* Under the group's lock. */
static size_t candidates_find(const struct group *group, const struct choice *choice, struct candidate *candidates)
{
    const struct segments *segments = &group->segments;
    size_t count = 0;
    for (uint32_t i = 0; i < segments->count; i++)
        if (is_candidate(group, &segments->table[i], choice->full) && choice->devices >> segment_device(segments, i) & 1)
            candidates[count++] = (struct candidate){i, (uint32_t)alive_bytes(&segments->table[i]),
                                                     worth_of(segments, &segments->table[i])};
    return count;
}

/* How many of them there is room for shows when their turn comes. */
static void candidates_take(const struct candidate *candidates, size_t count, uint64_t size, const struct choice *choice,
                            struct victims *victims)
{
    uint64_t gain = 0;
    for (size_t i = 0; i < MIN(count, choice->most) && gain < choice->gain; i++) {
        gain += size - MIN(size, (uint64_t)candidates[i].alive);
        victims->items[victims->count++] = candidates[i].index;
    }
}

enum error victims_choose(struct group *group, struct victims *victims)
{
    *victims = (struct victims){0};
    mutex_lock(&group->lock);
    const struct choice choice = choice_make(group);
    uint64_t size = segment_size(&group->segments);
    uint32_t all = group->segments.count;
    mutex_unlock(&group->lock);
    if (choice.devices == 0)
        return ERROR_NONE;
    AUTO_FREE struct candidate *candidates = malloc(all * sizeof *candidates);
    victims->items = malloc(all * sizeof *victims->items);
    if (!candidates || !victims->items) {
        free(victims->items);
        victims->items = NULL;
        return ERROR_NO_MEMORY;
    }
    mutex_lock(&group->lock);
    size_t count = candidates_find(group, &choice, candidates);
    mutex_unlock(&group->lock);
    qsort(candidates, count, sizeof *candidates, worth_order);
    candidates_take(candidates, count, size, &choice, victims);
    victims->asked = choice.most == SLOTS_ASKED;
    return ERROR_NONE;
}

/* ---- pages of tables ------------------------------------------------------------------------------------------------------ */

static enum error page_keep(struct merge *merge, void *context, uint64_t number, const uint8_t *old, uint8_t *page)
{
    (void)merge, (void)context, (void)number;
    memcpy(page, old, BLOCK_SIZE);
    return ERROR_NONE;
}

static size_t numbers_take(const struct clean *clean, enum table table, bool inner, uint64_t *numbers)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < clean->moved_page_count; i++)
        if (clean->moved_pages[i].table == table && clean->moved_pages[i].inner == inner)
            numbers[count++] = clean->moved_pages[i].leaf;
    qsort(numbers, count, sizeof *numbers, number_order);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    return kept;
}

static enum error pages_rewrite(struct clean *clean, enum table table, bool inner)
{
    struct merge *merge = clean->merge;
    if (clean->moved_page_count == 0)
        return ERROR_NONE;
    AUTO_FREE uint64_t *numbers = malloc(clean->moved_page_count * sizeof *numbers);
    if (!numbers)
        return ERROR_NO_MEMORY;
    size_t count = numbers_take(clean, table, inner, numbers);
    if (count == 0)
        return ERROR_NONE;
    struct tree tree = tree_of_table(table, &merge->roots[table - 1]);
    struct tree_update update = {.tree = &tree, .numbers = numbers, .count = count, .apply = page_keep, .inner = inner};
    TRY(tree_update(merge, &update));
    merge->roots[table - 1] = tree.root;
    return ERROR_NONE;
}

/* They are written with all others that are dirty, before it is told which segments are free. */
static void segment_pages_mark(struct clean *clean)
{
    struct group *group = clean->merge->group;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < clean->moved_page_count; i++)
        if (clean->moved_pages[i].table == TABLE_SEGMENTS)
            group->segments.dirty[clean->moved_pages[i].leaf] = 1;
    mutex_unlock(&group->lock);
}

static bool has_segment_pages(const struct clean *clean)
{
    for (size_t i = 0; i < clean->moved_page_count; i++)
        if (clean->moved_pages[i].table == TABLE_SEGMENTS)
            return true;
    return false;
}

static enum error pages_move(struct clean *clean)
{
    for (unsigned table = TABLE_PLACES; table <= TABLE_LAST; table++) {
        if (table == TABLE_SEGMENTS)
            continue;
        TRY(pages_rewrite(clean, (enum table)table, false));
        TRY(pages_rewrite(clean, (enum table)table, true));
    }
    if (!has_segment_pages(clean))
        return ERROR_NONE;
    segment_pages_mark(clean);
    return segment_pages_write(clean->merge);
}

/* ---- cleaning -------------------------------------------------------------------------------------------------------------- */

static enum error moves_enter(struct clean *clean)
{
    TRY(moves_apply(clean->merge, clean->moves, clean->move_count));
    clean->move_count = 0;
    return ERROR_NONE;
}

/* What is yet to be written of what was noted: each page of places that a move changes, and pages of tables, are written
 * twice; the pages above them too, which are fewer. Under the group's lock. */
static uint64_t owed_bytes(const struct clean *clean)
{
    uint64_t places = clean->merge->group->cids.end / MAP_LEAF_ENTRIES + 1;
    return (2 * MIN(clean->move_count, places) + 3 * clean->moved_page_count) * MOVED_PAGE_BYTES;
}

/* What is alive goes to a segment more than it fills; so do the pages of places. A little of both takes one at most. */
static bool has_room_now(const struct clean *clean, uint32_t index)
{
    struct group *group = clean->merge->group;
    mutex_lock(&group->lock);
    uint64_t alive = alive_bytes(&group->segments.table[index]), size = segment_size(&group->segments);
    uint64_t bytes = alive + owed_bytes(clean) + fixed_bytes(clean->merge);
    bool has = group_clean_room(group) >= (bytes < size / 2 ? 1 : 2 + (bytes + size / 8) / size);
    mutex_unlock(&group->lock);
    return has;
}

/* Moves that are entered need less than was kept for them. */
static enum error has_room(struct clean *clean, uint32_t index, bool *has)
{
    *has = has_room_now(clean, index);
    if (!*has && clean->move_count) {
        TRY(moves_enter(clean));
        *has = has_room_now(clean, index);
    }
    return ERROR_NONE;
}

/* What takes space elsewhere. */
static uint64_t kept_bytes(const struct clean *clean)
{
    return clean->bytes_copied + clean->bytes_paged;
}

static uint64_t gained(const struct clean *clean)
{
    uint64_t emptied = clean->emptied_count * segment_size(&clean->merge->group->segments);
    return emptied - MIN(emptied, kept_bytes(clean));
}

/* The publish gives the next ones. In the largest groups a piece would take them all, and nobody could begin a segment. */
static bool lacks_serials(const struct segments *s)
{
    return s->serial_lease - s->serial_next <= SERIAL_LEASE / 2;
}

/* What is emptied is to be published before more is. */
static bool is_piece(const struct clean *clean) REQUIRES(clean->merge->group->lock)
{
    const struct group *group = clean->merge->group;
    uint64_t size = segment_size(&group->segments), ahead = group_clean_ahead(group) * size, gain = gained(clean);
    if (gain < size)
        return false;
    return gain >= MAX(ahead / PIECE_GAIN, GAIN_LEAST * size) || kept_bytes(clean) >= ahead / PIECE_MOVE ||
           group_commit_room(group) < PIECE_ROOM || lacks_serials(&group->segments);
}

/* What was moved so far is complete at any time. It is a piece; or writers who wait for the table wait for this merge, so it
 * ends early where they will soon, one segment being gained. What is compressed harder has time, and ends with any commit. */
static bool is_enough(const struct clean *clean)
{
    struct group *group = clean->merge->group;
    if (clean->level)
        return recompress_is_disturbed(group);
    if (atomic_load(&group->closing))
        return true;
    mutex_lock(&clean->merge->group->lock);
    const struct recent *active = group->view->active;
    bool filling = recent_room(active) < recent_capacity(active) / 2;
    bool enough = (filling && clean->emptied_count) || is_piece(clean);
    mutex_unlock(&clean->merge->group->lock);
    return enough;
}

/* To who waits in commits: what is empty is as good as free. */
static void emptied_tell(const struct clean *clean)
{
    struct group *group = clean->merge->group;
    mutex_lock(&group->lock);
    group->pace.emptied = clean->level ? 0 : (uint32_t)clean->emptied_count;
    mutex_unlock(&group->lock);
}

static enum error segments_empty(struct clean *clean, struct victims *victims)
{
    struct group *group = clean->merge->group;
    for (size_t i = 0; i < victims->count && !is_enough(clean); i++) {
        bool has, emptied;
        TRY(has_room(clean, victims->items[i], &has));
        if (!has)
            break;
        TRY(clean_segment(clean, &victims->items[i], victims->count - i, &emptied));
        victims->done = i + 1;
        if (emptied)
            clean->emptied[clean->emptied_count++] = victims->items[i];
        emptied_tell(clean);
        if (clean->move_count >= MOVES_MAX)
            TRY(moves_enter(clean));
        atomic_fetch_add(&group->merge_progress, CLEAN_WORK);
    }
    clean_reader_aim(clean->reader, &victims->items[victims->done], victims->count - victims->done);
    return ERROR_NONE;
}

/* A page that was lost while it was moved keeps its segment (clean_undo.c). */
static enum error emptied_check(const struct clean *clean)
{
    struct group *group = clean->merge->group;
    uint64_t kept = 0;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < clean->emptied_count; i++) {
        struct segment *segment = &group->segments.table[clean->emptied[i]];
        if (alive_bytes(segment) == 0)
            continue;
        segment_stick(&group->segments, clean->emptied[i]);
        kept = segment->serial;
    }
    mutex_unlock(&group->lock);
    return kept ? error_explain(ERROR_CORRUPT, "segment %llu is not empty with all moved that is in it",
                                (unsigned long long)kept)
                : ERROR_NONE;
}

static enum error segments_clean(struct clean *clean, struct victims *victims)
{
    TRY(segments_empty(clean, victims));
    TRY(moves_enter(clean));
    TRY(pages_move(clean));
    return emptied_check(clean);
}

/* What is short now may be there the next time. Else it would be tried for ever: what was chosen waits for the next open,
 * if it is not known which it was. */
static void clean_give_up(struct group *group, const struct victims *victims, enum error error)
{
    bool known = false;
    if (error == ERROR_NO_MEMORY || error == ERROR_NO_SPACE) {
        error_forget();
        return;
    }
    message(MESSAGE_WARNING, "group %s: what was cleaned stays as it was: %s", group_name(group), error_sentence(error));
    mutex_lock(&group->lock);
    for (size_t i = 0; i < victims->count; i++)
        known = known || group->segments.table[victims->items[i]].stuck;
    for (size_t i = 0; i < victims->count && !known; i++)
        segment_stick(&group->segments, victims->items[i]);
    mutex_unlock(&group->lock);
}

static enum error clean_finish(struct clean *clean, const struct victims *victims, const struct clean_before *before,
                               enum error error)
{
    struct group *group = clean->merge->group;
    if (group_is_fenced(group))
        return error;
    if (error) {
        clean_undo(clean->merge, before);
        clean_give_up(group, victims, error);
        clean->emptied_count = 0;
        emptied_tell(clean);
        return ERROR_NONE;
    }
    clean->merge->gained = clean->level || victims->asked ? 0 : gained(clean);
    atomic_fetch_add(&group->totals.segments_cleaned, clean->emptied_count);
    atomic_fetch_add(&group->totals.bytes_moved, clean->bytes_copied);
    return ERROR_NONE;
}

/* It stays until it was not needed for a while: what comes after this piece is read while this one is published. NULL:
 * another time. */
static struct clean_reader *reader_of(struct group *group)
{
    if (!group->clean_reader && clean_reader_open(group, &group->clean_reader))
        error_forget();
    return group->clean_reader;
}

void victims_aim(struct group *group, const struct victims *victims)
{
    struct clean_reader *reader = victims->count ? reader_of(group) : NULL;
    if (reader)
        clean_reader_aim(reader, victims->items, victims->count);
}

void clean_rest(struct group *group, uint64_t patience)
{
    if (!group->clean_reader || clock_monotonic() - clean_reader_used(group->clean_reader) < patience)
        return;
    clean_reader_close(group->clean_reader);
    group->clean_reader = NULL;
}

enum error victims_clean(struct merge *merge, struct victims *victims)
{
    victims->done = 0;
    if (victims->count == 0)
        return ERROR_NONE;
    struct clean_before before;
    struct clean clean = {
        .merge = merge,
        .reader = reader_of(merge->group),
        .level = victims->harder ? merge->group->config.recompress : 0,
        .chunks = malloc((size_t)UNIT_CHUNKS_MAX * CHUNK_SIZE),
        .stored = malloc((size_t)UNIT_CHUNKS_MAX * CHUNK_SIZE),
        .queue = malloc(sizeof *clean.queue),
        .emptied = malloc(victims->count * sizeof *clean.emptied),
    };
    enum error error = clean_before_keep(merge, &before);
    if (!error && clean.reader && clean.chunks && clean.stored && clean.queue && clean.emptied) {
        error = segments_clean(&clean, victims);
        error = clean_finish(&clean, victims, &before, error);
    } else {
        error = ERROR_NONE; /* another time */
    }
    memory_free_cleansed(clean.chunks);
    memory_free_cleansed(clean.stored);
    free(clean.queue);
    free(clean.moves);
    free(clean.moved_pages);
    free(clean.emptied);
    free(before.accounts);
    return error;
}
