/*
 * Re-encryption in place, the part of the group: segments get another key, and nothing else about them changes.
 *
 *   choose    a sealed segment that replay does not need, and nothing of which waits in a log's buffer; a free slot of the
 *             same device, which has no serial yet, so that no look-up finds it. A device that has none is told to the cleaner
 *   copy      read and decrypted under the old key slot and salt, encrypted under the new key slot and a new salt, written, with
 *             a header of its own, under the K_log of today (reencrypt_copy.c). Tags cover what lies under XTS, so they stay right,
 *             whatever it is, and are under the K_log of the segment's birth as before
 *   enter     the merge exchanges the slots: the serial leads to the new one (segment_move), the old one has no serial any
 *             more. Both pages of the segment table are dirty, and written in that merge
 *   publish   all devices are flushed, then the checkpoint record names the new slot. The old slot belongs to the view that
 *             the publish replaces: it is given out again when no view is as old, and its discard is complete
 *   forget    in the end, what slots that were left still tell of old keys (reencrypt_forget.c)
 *
 * Invariants. A (key, block) never meets two contents: the salt is drawn for each attempt, and what an attempt wrote is
 * never gone on with. At each moment one slot is what a serial leads to, with the key slot and salt that belong to it:
 * all of that is exchanged under one hold of the group's lock, and who found the old one before holds a view that is as old
 * (item.h). A segment that the cleaner takes over meanwhile (victim), or that died, is left to it, and the copy forgotten.
 * Pages of the segment table need not be dirtied: the record lists the segments that hold them, slot and salt with them
 * (docs/design.md, departure 1).
 *
 * A crash before the record is durable leaves the old slot, untouched, as the segment: the copy lies in a slot that nothing
 * names. After it the copy is the segment, flushed before the record, and the old slot is free. Where it goes on is not
 * stored anywhere else: it is the key slots in the segment table.
 *
 * What cannot be read says nothing of the disk's future at first: the segment is passed over, and tried again later. At the
 * last try blocks that still cannot be read are written as zeros, told, and entered as damage (`lost`), else one bad sector
 * would keep an old key for ever. Their items fail their tags as before. That is done only where the device reads elsewhere,
 * before and after: one that is away for some seconds and comes back in the midst of it has lost nothing.
 *
 * Locks: the list of what is on its way under the group's lock; keyrings are exchanged under it, and read by one atomic
 * load (group_keyring). Nothing is held across I/O.
 */
#include "engine/group/reencrypt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/random.h"
#include "engine/group/group.h"

#define TRIES        3u
#define TRY_PAUSE    (2 * CLOCK_SECOND)
#define ASK_PAUSE    CLOCK_SECOND
#define ROOM_PART    4u /* of the segments that commits may take: so much of them is used at a time, */
#define ROOM_CLEANER 4u /* or, where those are few, what the cleaner has beyond so many */

enum error reencrypt_init(struct reencrypt *r, struct group *group)
{
    *r = (struct reencrypt){.group = group, .again = memory_aligned(REENCRYPT_PIECE)};
    bool whole = r->again != NULL;
    for (size_t i = 0; i < COUNT_OF(r->windows); i++)
        whole &= (r->windows[i].bytes = memory_aligned(REENCRYPT_WINDOW)) != NULL;
    if (!whole)
        reencrypt_deinit(r);
    return whole ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* Users' plaintext was in them. */
void reencrypt_deinit(struct reencrypt *r)
{
    if (r->in_flight && reencrypt_writes_end(r, &r->before))
        error_forget(); /* the group is out of service by it */
    r->in_flight = false;
    r->has_next = false;
    for (size_t i = 0; i < COUNT_OF(r->windows); i++) {
        reencrypt_read_forget(r, &(struct reencrypt_copy){.window = (uint8_t)i});
        if (r->windows[i].bytes)
            memory_free_cleansed(r->windows[i].bytes);
        r->windows[i].bytes = NULL;
    }
    if (r->again)
        memory_free_cleansed(r->again);
    r->again = NULL;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

static struct reencrypt_trouble *trouble_find(struct reencrypt *r, uint64_t serial)
{
    for (size_t i = 0; i < r->trouble_count; i++)
        if (r->troubles[i].serial == serial)
            return &r->troubles[i];
    return NULL;
}

/* The next look at it is later. Where there is no room to remember that, it is just the next one's turn. */
static void trouble_note(struct reencrypt *r, uint64_t serial, bool unread, bool counts)
{
    struct reencrypt_trouble *trouble = trouble_find(r, serial);
    if (!trouble && r->trouble_count < COUNT_OF(r->troubles)) {
        trouble = &r->troubles[r->trouble_count++];
        *trouble = (struct reencrypt_trouble){.serial = serial};
    }
    if (!trouble)
        return;
    trouble->unread = unread;
    trouble->tries += counts;
    trouble->again = clock_monotonic() + TRY_PAUSE;
}

static void trouble_forget(struct reencrypt *r, uint64_t serial)
{
    struct reencrypt_trouble *trouble = trouble_find(r, serial);
    if (trouble)
        *trouble = r->troubles[--r->trouble_count];
}

static bool is_on_its_way(const struct group *group, uint64_t serial)
{
    for (size_t i = 0; i < group->reencrypted.count; i++)
        if (group->reencrypted.items[i].serial == serial)
            return true;
    return false;
}

static bool is_in_a_buffer(struct group *group, uint64_t serial)
{
    return log_has_buffer_of(&group->journal, serial) || log_has_buffer_of(&group->meta, serial) ||
           log_has_buffer_of(&group->twin, serial) || log_has_buffer_of(&group->cold, serial);
}

static bool is_outdated(const struct group *group, uint32_t index)
{
    const struct segment *segment = &group->segments.table[index];
    if (segment->state == SLOT_FREE || segment->key_slot == 0)
        return false;
    const struct keyring *keyring = group_keyring(group, segment_device(&group->segments, index));
    return segment->key_slot != keyring_current(keyring, KEY_KIND_DEK)->number;
}

/* Those that died, or that the cleaner emptied, are nobody's trouble any more. */
size_t reencrypt_unread(struct reencrypt *r)
{
    struct group *group = r->group;
    size_t kept = 0, unread = 0;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < r->trouble_count; i++) {
        uint32_t index = segment_find(&group->segments, r->troubles[i].serial);
        if (index == SEGMENT_NONE || !is_outdated(group, index))
            continue;
        unread += r->troubles[i].unread;
        r->troubles[kept++] = r->troubles[i];
    }
    r->trouble_count = kept;
    mutex_unlock(&group->lock);
    return unread;
}

static bool has_slot(const struct group *group, uint32_t index)
{
    return group->segments.free_count[segment_device(&group->segments, index)] > 0;
}

/* There may be no slot for it. */
static bool is_candidate(struct reencrypt *r, uint32_t index)
{
    struct group *group = r->group;
    const struct segment *segment = &group->segments.table[index];
    if (segment->state != SLOT_SEALED || !is_outdated(group, index) || segment->victim ||
        segment->generation > group->published_generation)
        return false;
    const struct reencrypt_trouble *trouble = trouble_find(r, segment->serial);
    return (!trouble || trouble->again <= clock_monotonic()) && !is_on_its_way(group, segment->serial) &&
           !is_in_a_buffer(group, segment->serial);
}

/* A device may be full long before its group is, which alone calls the cleaner. Slots that are given back soon will do as well. */
static void slots_ask(struct reencrypt *r, uint64_t lacking)
{
    struct group *group = r->group;
    if (!lacking || group->reencrypted.count || group->pace.freeing || clock_monotonic() - r->asked < ASK_PAUSE)
        return;
    group->reencrypted.lacking = lacking;
    r->asked = clock_monotonic();
}

static uint32_t choose(struct reencrypt *r)
{
    const struct segments *segments = &r->group->segments;
    uint64_t lacking = 0;
    for (uint32_t n = 0; n < segments->count; n++) {
        uint32_t index = (r->cursor + n) % segments->count;
        if (!is_candidate(r, index))
            continue;
        if (has_slot(r->group, index)) {
            r->cursor = index + 1;
            return index;
        }
        lacking |= UINT64_C(1) << segment_device(segments, index);
    }
    slots_ask(r, lacking);
    return SEGMENT_NONE;
}

/* Slots that are taken come back by the publish, so writers lack them for a moment only: they keep most of what they may
 * take. Where that is little, it is the cleaner's that is used. */
bool reencrypt_has_room(const struct group *group)
{
    size_t under_way = group->reencrypted.count + group->pace.freeing;
    if (group->reencrypted.count == REENCRYPTED_MAX || (group->segments.full && group_clean_room(group) <= under_way))
        return false;
    return (group_commit_room(group) + under_way) / ROOM_PART > under_way || group_clean_room(group) > ROOM_CLEANER + under_way;
}

static enum error copy_begin(struct reencrypt *r, struct reencrypt_copy *copy) REQUIRES(r->group->lock)
{
    struct group *group = r->group;
    struct segments *segments = &group->segments;
    if (!reencrypt_has_room(group))
        return ERROR_AGAIN;
    uint32_t from = choose(r);
    if (from == SEGMENT_NONE)
        return ERROR_NOT_FOUND;
    const struct segment *segment = &segments->table[from];
    uint32_t device = segment_device(segments, from), to = segment_take_slot(segments, device);
    const struct reencrypt_trouble *trouble = trouble_find(r, segment->serial);
    copy->old = copy->new = segment_identity(segments, from);
    copy->new.salt = random_u64();
    copy->new.key_slot = keyring_current(group_keyring(group, device), KEY_KIND_DEK)->number;
    copy->device = group->devices[device];
    copy->from = segment_offset(segments, from);
    copy->to = segment_offset(segments, to);
    copy->kind = segment->kind;
    copy->window = r->turn = (uint8_t)((r->turn + 1u) % COUNT_OF(r->windows));
    copy->last_try = trouble && trouble->tries + 1 >= TRIES;
    segments->table[to].key_slot = copy->new.key_slot;
    copy->move = (struct reencrypted){segment->serial, copy->new.salt, from, to, copy->new.key_slot, false};
    group->reencrypted.items[group->reencrypted.count++] = copy->move;
    return ERROR_NONE;
}

static struct reencrypted *item_of(struct group *group, uint64_t serial)
{
    for (size_t i = 0; i < group->reencrypted.count; i++)
        if (group->reencrypted.items[i].serial == serial)
            return &group->reencrypted.items[i];
    ASSERT(!"a copy that is not ready stays in the list");
    return NULL;
}

static void copy_end(struct group *group, const struct reencrypt_copy *copy, bool whole)
{
    struct reencrypted_list *list = &group->reencrypted;
    mutex_lock(&group->lock);
    struct reencrypted *item = item_of(group, copy->move.serial);
    if (whole) {
        item->ready = true;
    } else {
        bool allocated = group->segments.table[item->to].allocated;
        segment_free(&group->segments, item->to, allocated);
        *item = list->items[--list->count];
    }
    mutex_unlock(&group->lock);
    if (!whole)
        group_room_changed(group);
}

/* ---- one segment ------------------------------------------------------------------------------------------------- */

static enum error space_get(struct group *group, const struct reencrypt_copy *copy)
{
    mutex_lock(&group->lock);
    bool allocated = group->segments.table[copy->move.to].allocated;
    mutex_unlock(&group->lock);
    return allocated ? ERROR_NONE : group_allocate(group, copy->device, copy->to, copy->move.to, 1);
}

/* The segment may have died, or become a victim, since its reads began. */
static bool is_still_wanted(struct reencrypt *r, const struct reencrypt_copy *copy) REQUIRES(r->group->lock)
{
    const struct segment *segment = &r->group->segments.table[copy->move.from];
    return segment->serial == copy->move.serial && segment->state == SLOT_SEALED && !segment->victim;
}

/* The one that is read already, where there is such a one, else the next that is chosen. */
static enum error copy_take(struct reencrypt *r, struct reencrypt_copy *copy)
{
    struct group *group = r->group;
    bool had = r->has_next, wanted = false;
    r->has_next = false;
    *copy = r->next;
    mutex_lock(&r->group->lock);
    enum error error = group_is_fenced(group) ? ERROR_FENCED : ERROR_NONE;
    if (had)
        wanted = !error && is_still_wanted(r, copy);
    else if (!error)
        error = copy_begin(r, copy);
    mutex_unlock(&r->group->lock);
    if (had && !wanted)
        reencrypt_read_forget(r, copy);
    if (error || !had || wanted)
        return error;
    copy_end(group, copy, false);
    r->turn = (uint8_t)((copy->window + COUNT_OF(r->windows) - 1) % COUNT_OF(r->windows)); /* another one takes its window */
    return copy_take(r, copy);
}

/* While one segment is decrypted, verified and encrypted the device has the next to read. What keeps that one from being begun is
 * told when its turn comes. */
static void next_begin(struct reencrypt *r)
{
    struct group *group = r->group;
    if (r->gently || r->has_next)
        return;
    mutex_lock(&r->group->lock);
    r->has_next = !group_is_fenced(group) && copy_begin(r, &r->next) == ERROR_NONE;
    mutex_unlock(&r->group->lock);
    if (r->has_next)
        reencrypt_read_ahead(r, &r->next);
}

/* The copy before, whose writes were left in flight, is ready. */
static enum error before_end(struct reencrypt *r)
{
    if (!r->in_flight)
        return ERROR_NONE;
    r->in_flight = false;
    enum error error = reencrypt_writes_end(r, &r->before);
    copy_end(r->group, &r->before, error == ERROR_NONE);
    return error;
}

static void lost_tell(struct reencrypt *r, const struct reencrypt_copy *copy)
{
    if (r->segment_lost == 0)
        return;
    r->blocks_lost += r->segment_lost;
    message(MESSAGE_WARNING,
            "%s: %" PRIu32 " blocks of segment %" PRIu64 ", the first at byte %" PRIu64 ", cannot be read: they are zeros under the "
            "new key, and lost (%" PRIu64 " of all segments so far); a scrub tells what they belong to",
            copy->device->path, r->segment_lost, copy->move.serial, copy->from + (uint64_t)r->first_lost * BLOCK_SIZE,
            r->blocks_lost);
}

static enum error copy_judge(struct reencrypt *r, const struct reencrypt_copy *copy, enum error error)
{
    if (error)
        copy_end(r->group, copy, false);
    if (group_is_fenced(r->group))
        return ERROR_FENCED;
    if (error == ERROR_INTERRUPTED)
        return error;
    if (!error) {
        trouble_forget(r, copy->move.serial);
        lost_tell(r, copy);
        return ERROR_NONE;
    }
    trouble_note(r, copy->move.serial, error == ERROR_IO, error == ERROR_IO && !r->silent);
    return error == ERROR_NO_SPACE ? ERROR_AGAIN : error == ERROR_IO ? ERROR_NONE : error;
}

enum error reencrypt_segment(struct reencrypt *r)
{
    struct group *group = r->group;
    struct reencrypt_copy copy;
    enum error error = copy_take(r, &copy);
    if (error) {
        enum error before = before_end(r);
        return before ? before : error;
    }
    next_begin(r);
    error = space_get(group, &copy);
    if (!error)
        error = reencrypt_read(r, &copy);
    else
        reencrypt_read_forget(r, &copy);
    enum error before = before_end(r);
    if (!error && !before)
        error = reencrypt_write(r, &copy);
    if (!error && !before) {
        r->before = copy;
        r->in_flight = true;
    }
    return copy_judge(r, &copy, error ? error : before);
}

/* ---- the merge's part -------------------------------------------------------------------------------------------- */

void reencrypt_enter(struct group *group, uint32_t *freed, size_t *count)
{
    struct reencrypted_list *list = &group->reencrypted;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct reencrypted *item = &list->items[i];
        const struct segment *from = &group->segments.table[item->from];
        if (!item->ready) {
            list->items[kept++] = *item;
        } else if (from->serial == item->serial && from->state == SLOT_SEALED && !from->victim) {
            segment_move(&group->segments, item->from, item->to, item->salt, item->key_slot);
            freed[(*count)++] = item->from;
        } else {
            segment_free(&group->segments, item->to, true); /* it is the cleaner's, or gone */
        }
    }
    list->count = kept;
    list->wanted = false;
}

void reencrypt_publish(struct group *group)
{
    mutex_lock(&group->lock);
    for (size_t i = 0; i < group->reencrypted.count; i++)
        group->reencrypted.wanted |= group->reencrypted.items[i].ready;
    bool wanted = group->reencrypted.wanted || group->reencrypted.lacking;
    mutex_unlock(&group->lock);
    if (wanted) {
        mutex_lock(&group->thread_lock);
        condition_signal(&group->merge_wake);
        mutex_unlock(&group->thread_lock);
    }
}

size_t reencrypt_ready(struct group *group)
{
    size_t ready = 0;
    mutex_lock(&group->lock);
    for (size_t i = 0; i < group->reencrypted.count; i++)
        ready += group->reencrypted.items[i].ready;
    mutex_unlock(&group->lock);
    return ready;
}

uint64_t reencrypt_fold_begin(struct group *group)
{
    mutex_lock(&group->lock);
    group->reencrypted.folds = true;
    mutex_unlock(&group->lock);
    mutex_lock(&group->thread_lock);
    uint64_t wanted = ++group->freezes_wanted;
    condition_signal(&group->merge_wake);
    mutex_unlock(&group->thread_lock);
    return wanted;
}

bool reencrypt_fold_is_over(struct group *group, uint64_t wanted)
{
    mutex_lock(&group->thread_lock);
    bool over = group->freezes_published >= wanted;
    mutex_unlock(&group->thread_lock);
    if (!over)
        return false;
    mutex_lock(&group->lock);
    group->reencrypted.folds = false;
    mutex_unlock(&group->lock);
    return true;
}

bool reencrypt_is_due(const struct group *group)
{
    return group->reencrypted.wanted;
}

bool reencrypt_folds(const struct group *group)
{
    return group->reencrypted.folds;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* Nobody derives anything from them: no segment names them. */
static void gone_wipe(struct keyring *left, const struct keyring *now)
{
    for (size_t i = 0; i < left->count; i++)
        if (!keyring_find(now, left->slots[i].kind, left->slots[i].number))
            memory_cleanse(left->slots[i].key, sizeof left->slots[i].key);
}

/* A slot that is reserved has no header yet, nor has anything been encrypted for it. */
static void reserved_rekey(struct group *group)
{
    struct segments *segments = &group->segments;
    for (uint32_t i = 0; i < segments->count; i++) {
        struct segment *segment = &segments->table[i];
        if (segment->state != SLOT_RESERVED || !segment->serial || segment->salt != 0)
            continue;
        const struct keyring *keyring = group_keyring(group, segment_device(segments, i));
        segment->key_slot = keyring_current(keyring, KEY_KIND_DEK)->number;
        segment->log_key = (uint8_t)keyring_current(keyring, KEY_KIND_LOG)->number;
    }
}

enum error group_keyrings_exchange(struct group *group, struct keyring *const *keyrings)
{
    size_t count = group->keyrings_left_count;
    struct keyring_left *left = realloc(group->keyrings_left, (count + group->device_count) * sizeof *left);
    if (!left)
        return ERROR_NO_MEMORY;
    group->keyrings_left = left;
    mutex_lock(&group->lock);
    for (uint32_t d = 0; d < group->device_count; d++) {
        if (keyrings[d] == group->keyrings[d])
            continue;
        left[count++] = (struct keyring_left){d, group->keyrings[d]};
        __atomic_store_n(&group->keyrings[d], keyrings[d], __ATOMIC_RELEASE);
    }
    group->keyrings_left_count = count;
    reserved_rekey(group);
    mutex_unlock(&group->lock);
    for (size_t i = 0; i < group->keyrings_left_count; i++)
        gone_wipe(left[i].keyring, keyrings[left[i].device]);
    segment_keys_forget(group);
    return ERROR_NONE;
}

void group_log_keys_needed(struct group *group, uint32_t device, uint8_t demanded, struct keyring_needs *needs)
{
    const struct segments *segments = &group->segments;
    for (unsigned number = 0; number <= UINT8_MAX; number++)
        needs->log_keys[number] = number >= demanded;
    mutex_lock(&group->lock);
    for (uint32_t i = segments->slot_first[device]; i < segments->slot_first[device] + segments->slot_count[device]; i++)
        if (segments->table[i].state != SLOT_FREE)
            needs->log_keys[segments->table[i].log_key] = true;
    mutex_unlock(&group->lock);
}

static uint32_t number_of(const struct segment *segment, enum key_kind kind)
{
    return kind == KEY_KIND_DEK ? segment->key_slot : segment->log_key;
}

size_t group_key_shares(struct group *group, enum key_kind kind, struct key_share *shares, size_t capacity)
{
    const struct segments *segments = &group->segments;
    size_t count = 0;
    mutex_lock(&group->lock);
    for (uint32_t d = 0; d < group->device_count; d++) {
        const struct keyring *keyring = group_keyring(group, d);
        for (size_t i = 0; i < keyring->count; i++) {
            if (keyring->slots[i].kind != kind)
                continue;
            struct key_share share = {d, keyring->slots[i].number, keyring->slots[i].current, 0, 0};
            for (uint32_t s = segments->slot_first[d]; s < segments->slot_first[d] + segments->slot_count[d]; s++)
                if (segments->table[s].state != SLOT_FREE && number_of(&segments->table[s], kind) == share.number) {
                    share.segments++;
                    share.bytes += segments->table[s].live + segments->table[s].pages;
                }
            if (count < capacity)
                shares[count] = share;
            count++;
        }
    }
    mutex_unlock(&group->lock);
    return count;
}

/* At each end of a device there are two, and the newest covers one of them. */
static bool records_are_new(const struct group *group)
{
    for (uint32_t d = 0; d < group->device_count; d++)
        for (size_t i = 0; i < COUNT_OF(group->record_keys[d]); i++)
            if (group->record_keys[d][i] != keyring_current(group_keyring(group, d), KEY_KIND_LOG)->number)
                return false;
    return true;
}

bool group_has_no_old_share(struct group *group)
{
    mutex_lock(&group->lock);
    bool none = records_are_new(group);
    for (uint32_t i = 0; i < group->segments.count && none; i++)
        none = !is_outdated(group, i);
    mutex_unlock(&group->lock);
    return none;
}

static bool waits_for_fold(const struct group *group, uint32_t index)
{
    const struct segment *segment = &group->segments.table[index];
    bool sealed = segment->state == SLOT_SEALED;
    bool waits = segment->state == SLOT_OPEN || segment->state == SLOT_RESERVED ||
                 (sealed && (segment->victim || segment->generation > group->published_generation));
    return waits && is_outdated(group, index);
}

bool reencrypt_needs_fold(struct group *group)
{
    mutex_lock(&group->lock);
    bool needs = !records_are_new(group);
    for (uint32_t i = 0; i < group->segments.count && !needs; i++)
        needs = waits_for_fold(group, i);
    mutex_unlock(&group->lock);
    return needs;
}

enum error group_leave_journal(struct group *group, bool *left)
{
    mutex_lock(&group->section->mutex);
    mutex_lock(&group->lock);
    bool leaves = log_is_outdated(&group->journal);
    for (unsigned i = 0; i < 2 + LOG_FURTHER_MAX && log_is_outdated(&group->journal); i++) /* and what was prepared ahead */
        log_leave_segment(&group->journal);
    *left = !log_is_outdated(&group->journal);
    bool lacks_buffers = !*left && !log_lacks_segment(&group->journal) && !log_is_ready(&group->journal);
    mutex_unlock(&group->lock);
    condition_broadcast(&group->section->changed);
    mutex_unlock(&group->section->mutex);
    group_keeper_wake(group);
    if (leaves)
        TRY(log_advance(&group->journal));
    return lacks_buffers ? log_wait_buffer(&group->journal) : ERROR_NONE; /* where nobody commits nobody else does */
}
