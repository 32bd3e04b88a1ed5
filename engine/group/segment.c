/*
 * The segment table in memory. See segment.h for states and locks. A crash loses what the last published table does
 * not say: slots opened since are free again, and those that replay walks are entered from their headers.
 */
#include "engine/group/segment.h"

#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "base/random.h"

#define FAIR_PART 4u /* of what is free */

enum error segments_init(struct segments *s, uint32_t device_count, const uint32_t *slot_counts, uint32_t segment_shift)
{
    *s = (struct segments){.device_count = device_count, .segment_shift = segment_shift, .serial_next = 1};
    uint32_t slots_most = 0;
    for (uint32_t d = 0; d < device_count; d++) {
        s->slot_first[d] = s->count;
        s->slot_count[d] = slot_counts[d];
        s->count += slot_counts[d];
        s->free_count[d] = slot_counts[d];
        slots_most = MAX(slots_most, slot_counts[d]);
    }
    s->free_total = s->count;
    uint32_t heads = 64;
    while (heads < s->count)
        heads *= 2;
    s->mask = heads - 1;
    s->pages_of_device = SLOTS_MAX / 128;
    s->table = memory_map(s->count * sizeof *s->table);
    s->heads = memory_map(heads * sizeof *s->heads);
    s->dirty = memory_zeroed(device_count, s->pages_of_device);
    if (!s->table || !s->heads || !s->dirty) {
        segments_deinit(s);
        return ERROR_NO_MEMORY;
    }
    return ERROR_NONE;
}

void segments_deinit(struct segments *s)
{
    if (s->table)
        memory_unmap(s->table, s->count * sizeof *s->table);
    if (s->heads)
        memory_unmap(s->heads, ((size_t)s->mask + 1) * sizeof *s->heads);
    free(s->dirty);
    s->table = NULL;
    s->heads = NULL;
    s->dirty = NULL;
}

uint32_t segment_device(const struct segments *s, uint32_t index)
{
    uint32_t d = 0;
    while (d + 1 < s->device_count && index >= s->slot_first[d + 1])
        d++;
    return d;
}

uint32_t segment_slot(const struct segments *s, uint32_t index)
{
    return index - s->slot_first[segment_device(s, index)];
}

uint64_t segment_offset(const struct segments *s, uint32_t index)
{
    return AREA_SIZE + ((uint64_t)segment_slot(s, index) << s->segment_shift);
}

void segment_dirty(struct segments *s, uint32_t index)
{
    s->dirty[segment_device(s, index) * s->pages_of_device + segment_slot(s, index) / 128] = 1;
}

static uint32_t *serial_link(const struct segments *s, uint64_t serial)
{
    uint32_t *link = &s->heads[(uint32_t)((serial * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & s->mask];
    while (*link && s->table[*link - 1].serial != serial)
        link = &s->table[*link - 1].next;
    return link;
}

uint32_t segment_find(const struct segments *s, uint64_t serial)
{
    uint32_t found = *serial_link(s, serial);
    return found ? found - 1 : SEGMENT_NONE;
}

bool segment_is_left(const struct segments *s, uint64_t serial)
{
    uint32_t index = segment_find(s, serial);
    return index == SEGMENT_NONE || s->table[index].state == SLOT_FREEING;
}

static void allocated_count(struct segments *s, uint32_t index, int change)
{
    s->free_allocated += (uint32_t)change;
    s->free_allocated_of[segment_device(s, index)] += (uint32_t)change;
}

static void count_taken(struct segments *s, uint32_t index)
{
    s->free_count[segment_device(s, index)]--;
    s->free_total--;
    if (s->table[index].allocated)
        allocated_count(s, index, -1);
}

static void serial_enter(struct segments *s, uint32_t index)
{
    uint32_t *link = serial_link(s, s->table[index].serial);
    ASSERT(*link == 0);
    s->table[index].next = 0;
    *link = index + 1;
    segment_dirty(s, index);
}

static bool is_full(const struct segments *s, uint32_t device)
{
    return s->full >> device & 1;
}

/* One with space below goes before one that may get some, and that one before one that is full, then the one with the most
 * free slots. */
static bool is_better(const struct segments *s, uint32_t d, uint32_t best)
{
    bool d_has = s->free_allocated_of[d] > 0, best_has = s->free_allocated_of[best] > 0;
    if (d_has != best_has)
        return d_has;
    if (!d_has && is_full(s, d) != is_full(s, best))
        return is_full(s, best);
    return s->free_count[d] > s->free_count[best];
}

static uint32_t device_choose(const struct segments *s, uint64_t avoid)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t d = 0; d < s->device_count; d++)
        if (!(avoid >> d & 1) && s->free_count[d] && (best == UINT32_MAX || is_better(s, d, best)))
            best = d;
    return best == UINT32_MAX && avoid ? device_choose(s, 0) : best;
}

/* A part of what it would have, were all as full. */
static bool has_fair_part(const struct segments *s, uint32_t device)
{
    return (uint64_t)s->free_count[device] * s->count * FAIR_PART >= (uint64_t)s->free_total * s->slot_count[device];
}

uint64_t segments_turn(const struct segments *s, uint32_t device)
{
    uint64_t fair = 0, all = UINT64_MAX >> (64 - s->device_count), own = UINT64_C(1) << device;
    for (uint32_t d = 0; d < s->device_count; d++)
        if (has_fair_part(s, d))
            fair |= UINT64_C(1) << d;
    return all & ~(fair & ~own ? fair & ~own : own);
}

/* From the cursor on, one that has space below goes first. */
static uint32_t slot_choose(const struct segments *s, uint32_t device)
{
    const struct segment *table = s->table + s->slot_first[device];
    uint32_t count = s->slot_count[device], found = SEGMENT_NONE;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t slot = (s->cursor[device] + n) % count;
        if (table[slot].state != SLOT_FREE)
            continue;
        if (table[slot].allocated || s->free_allocated_of[device] == 0)
            return slot;
        if (found == SEGMENT_NONE)
            found = slot;
    }
    return found;
}

/* One that is free, of a device that has any. */
static uint32_t index_choose(struct segments *s, uint32_t device)
{
    uint32_t slot = slot_choose(s, device);
    s->cursor[device] = slot + 1 == s->slot_count[device] ? 0 : slot + 1;
    return s->slot_first[device] + slot;
}

void segment_take_free(struct segments *s, uint32_t index)
{
    ASSERT(s->table[index].state == SLOT_FREE);
    s->table[index] = (struct segment){.state = SLOT_RESERVED, .allocated = s->table[index].allocated};
    count_taken(s, index);
}

uint32_t segment_take_slot(struct segments *s, uint32_t device)
{
    if (s->free_count[device] == 0)
        return SEGMENT_NONE;
    uint32_t index = index_choose(s, device);
    segment_take_free(s, index);
    return index;
}

uint32_t segment_take_unnamed(struct segments *s, uint64_t avoid)
{
    uint32_t device = device_choose(s, avoid);
    return device == UINT32_MAX ? SEGMENT_NONE : segment_take_slot(s, device);
}

static bool has_serial(const struct segments *s)
{
    return s->serial_next < s->serial_lease && s->serial_next <= SERIAL_MAX;
}

bool segment_name(struct segments *s, uint32_t index, enum segment_kind kind)
{
    struct segment *segment = &s->table[index];
    ASSERT(segment->state == SLOT_RESERVED && segment->serial == 0);
    if (!has_serial(s))
        return false;
    segment->serial = s->serial_next++;
    segment->order = s->order_next++;
    segment->kind = (uint8_t)kind;
    serial_enter(s, index);
    return true;
}

uint32_t segment_take(struct segments *s, enum segment_kind kind, enum slot_state state, uint64_t avoid)
{
    uint32_t index = has_serial(s) ? segment_take_unnamed(s, avoid) : SEGMENT_NONE;
    if (index == SEGMENT_NONE || !segment_name(s, index, kind))
        return SEGMENT_NONE;
    s->table[index].state = (uint8_t)state;
    return index;
}

bool segments_have_next(const struct segments *s)
{
    return s->free_total > 0 && has_serial(s);
}

void segment_move(struct segments *s, uint32_t from, uint32_t to, uint64_t salt, uint32_t key_slot)
{
    uint32_t *link = serial_link(s, s->table[from].serial);
    ASSERT(*link == from + 1 && s->table[to].serial == 0 && s->table[to].state == SLOT_RESERVED);
    struct segment left = {.kind = s->table[from].kind, .key_slot = s->table[from].key_slot, .log_key = s->table[from].log_key,
                           .state = SLOT_FREEING, .allocated = s->table[from].allocated};
    *link = to + 1;
    s->table[to] = s->table[from];
    s->table[to].salt = salt;
    s->table[to].key_slot = key_slot;
    s->table[to].allocated = true;
    s->table[from] = left;
    segment_dirty(s, from);
    segment_dirty(s, to);
}

static int serial_order(const void *a, const void *b)
{
    return order_of((*(const struct segment *const *)a)->serial, (*(const struct segment *const *)b)->serial);
}

/* Each open gives serials from the lease of the one before on, ten thousands further; as ages such leaps would make all
 * that was there before equally, and endlessly, old. What was given between two that are left, and died, still counts, but
 * no more than there are slots. */
enum error segments_order(struct segments *s)
{
    uint32_t count = 0;
    uint64_t before = 0;
    AUTO_FREE struct segment **used = malloc(s->count * sizeof *used);
    if (!used)
        return ERROR_NO_MEMORY;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->table[i].state != SLOT_FREE)
            used[count++] = &s->table[i];
    qsort(used, count, sizeof *used, serial_order);
    for (uint32_t i = 0; i < count; i++) {
        s->order_next += MIN(used[i]->serial - before, (uint64_t)s->count);
        used[i]->order = s->order_next;
        before = used[i]->serial;
    }
    s->order_next++;
    return ERROR_NONE;
}

void segment_salts_draw(struct segments *s, uint32_t index)
{
    s->table[index].salt = random_u64();
    s->table[index].birth_salt = random_u64();
    segment_dirty(s, index);
}

enum error segment_adopt(struct segments *s, uint32_t device, uint32_t slot, const struct segment *segment)
{
    if (device >= s->device_count || slot >= s->slot_count[device] || segment->serial == 0)
        return ERROR_CORRUPT;
    uint32_t index = s->slot_first[device] + slot;
    uint32_t known = segment_find(s, segment->serial);
    if (known == index)
        return ERROR_NONE;
    if (known != SEGMENT_NONE || s->table[index].state != SLOT_FREE)
        return ERROR_CORRUPT;
    bool allocated = s->table[index].allocated;
    s->table[index] = *segment;
    s->table[index].allocated = allocated;
    s->live_total += segment->live;
    count_taken(s, index);
    serial_enter(s, index);
    return ERROR_NONE;
}

static bool lacks_space(const struct segment *segment)
{
    return segment->state == SLOT_FREE && !segment->allocated;
}

bool segment_lacks_space(const struct segments *s, uint32_t index)
{
    return lacks_space(&s->table[index]);
}

uint32_t segment_unallocated(const struct segments *s, uint64_t avoid, uint32_t count_max, uint32_t *count)
{
    uint32_t device = UINT32_MAX;
    for (uint32_t d = 0; d < s->device_count; d++)
        if (!(avoid >> d & 1) && s->free_allocated_of[d] < s->free_count[d] &&
            (device == UINT32_MAX || s->free_allocated_of[d] < s->free_allocated_of[device]))
            device = d;
    if (device == UINT32_MAX)
        return SEGMENT_NONE;
    const struct segment *table = &s->table[s->slot_first[device]];
    uint32_t first = 0, end;
    while (first < s->slot_count[device] && !lacks_space(&table[first]))
        first++;
    if (first == s->slot_count[device])
        return SEGMENT_NONE;
    for (end = first; end < s->slot_count[device] && end - first < count_max && lacks_space(&table[end]);)
        end++;
    *count = end - first;
    return s->slot_first[device] + first;
}

void segment_set_allocated(struct segments *s, uint32_t index)
{
    if (s->table[index].state == SLOT_FREE && !s->table[index].allocated)
        allocated_count(s, index, +1);
    s->table[index].allocated = true;
}

void segments_set_full(struct segments *s, uint32_t device, bool *first)
{
    *first = !is_full(s, device);
    if (*first)
        s->full = UINT64_MAX >> (64 - s->device_count);
}

void segments_set_roomy(struct segments *s, uint32_t device)
{
    s->full &= ~(UINT64_C(1) << device);
}

uint32_t segments_writable(const struct segments *s)
{
    uint32_t count = s->full ? 0 : s->free_total;
    for (uint32_t d = 0; d < s->device_count && s->full; d++)
        count += is_full(s, d) ? s->free_allocated_of[d] : s->free_count[d];
    return count;
}

static uint64_t kept_bytes(const struct segments *s, uint32_t index)
{
    const struct segment *segment = &s->table[index];
    return segment->stuck ? segment_size(s) - MIN((uint64_t)segment->live, segment_size(s)) : 0;
}

void segment_stick(struct segments *s, uint32_t index)
{
    s->kept_total -= kept_bytes(s, index);
    s->table[index].stuck = true;
    s->kept_total += kept_bytes(s, index);
}

void segment_free(struct segments *s, uint32_t index, bool allocated)
{
    if (s->table[index].serial) {
        uint32_t *link = serial_link(s, s->table[index].serial);
        ASSERT(*link == index + 1);
        *link = s->table[index].next;
    }
    s->live_total -= s->table[index].live;
    s->kept_total -= kept_bytes(s, index);
    s->table[index] = (struct segment){.allocated = allocated};
    s->free_count[segment_device(s, index)]++;
    s->free_total++;
    if (allocated)
        allocated_count(s, index, +1);
    segment_dirty(s, index);
}

enum error segment_live_add(struct segments *s, uint32_t index, int64_t bytes)
{
    int64_t live = (int64_t)s->table[index].live + bytes, most = 2 * (int64_t)segment_size(s);
    if (live < 0 || live > most) /* shares fill it once, pins once more (page_loss.c) */
        return error_explain(ERROR_CORRUPT, "segment %llu would have %lld live bytes",
                             (unsigned long long)s->table[index].serial, (long long)live);
    segment_live_set(s, index, (uint32_t)live);
    segment_dirty(s, index);
    return ERROR_NONE;
}

void segment_live_set(struct segments *s, uint32_t index, uint32_t live)
{
    s->live_total += (uint64_t)live - s->table[index].live;
    s->kept_total -= kept_bytes(s, index);
    s->table[index].live = live;
    s->kept_total += kept_bytes(s, index);
}

uint64_t segments_live(const struct segments *s, enum segment_kind kind)
{
    uint64_t live = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->table[i].kind == kind)
            live += s->table[i].live;
    return live;
}

struct segment_identity segment_identity(const struct segments *s, uint32_t index)
{
    const struct segment *segment = &s->table[index];
    return (struct segment_identity){
        .device = segment_device(s, index),
        .serial = segment->serial,
        .salt = segment->salt,
        .birth_salt = segment->birth_salt,
        .key_slot = segment->key_slot,
        .log_key = segment->log_key,
    };
}

void segment_entry_encode(const struct segment *segment, struct segment_entry_format *out)
{
    memset(out, 0, sizeof *out);
    if (segment->state != SLOT_OPEN && segment->state != SLOT_SEALED)
        return;
    out->serial = le40_make(segment->serial);
    out->live = le32_make(segment->live);
    out->kind_state = (uint8_t)(segment->kind << 4 | (segment->state == SLOT_OPEN ? SEGMENT_OPEN : SEGMENT_SEALED));
    out->key_slot = le32_make(segment->key_slot);
    out->salt = le64_make(segment->salt);
    out->birth_salt = le64_make(segment->birth_salt);
    out->log_key = segment->log_key;
    out->settled = segment->settled;
}

bool segment_entry_decode(const struct segment_entry_format *in, struct segment *segment, bool *sound)
{
    static const struct segment_entry_format zero;
    *sound = true;
    if (memcmp(in, &zero, sizeof zero) == 0)
        return false;
    unsigned kind = in->kind_state >> 4, state = in->kind_state & 15;
    *segment = (struct segment){
        .serial = le40_get(in->serial),
        .live = le32_get(in->live),
        .kind = (uint8_t)kind,
        .state = SLOT_SEALED,
        .key_slot = le32_get(in->key_slot),
        .salt = le64_get(in->salt),
        .birth_salt = le64_get(in->birth_salt),
        .log_key = in->log_key,
        .settled = in->settled,
    };
    *sound = segment->serial && kind >= SEGMENT_JOURNAL && kind <= SEGMENT_COLD && in->settled <= 1 &&
             (state == SEGMENT_OPEN || state == SEGMENT_SEALED);
    return true;
}
