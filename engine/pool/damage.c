/*
 * The ledger's rows: sorted intervals. damage.h says what they mean and who may lose them. One mutex, a leaf; nothing
 * is read or written under it.
 */
#include "engine/pool/damage.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

void damages_init(struct damages *damages)
{
    mutex_init(&damages->mutex, RANK_LEAF);
}

void damages_deinit(struct damages *damages)
{
    mutex_deinit(&damages->mutex);
    free(damages->rows);
    damages->rows = NULL;
}

void damages_clear(struct damages *damages)
{
    mutex_lock(&damages->mutex);
    atomic_store(&damages->count, 0);
    atomic_store(&damages->stored, 0);
    atomic_store(&damages->untold, false);
    atomic_store(&damages->unlisted, false);
    damages->more = false;
    mutex_unlock(&damages->mutex);
}

/* ---- rows: under the mutex ------------------------------------------------------------------------------------ */

static int key_order(const struct damage *a, const struct damage *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->owner != b->owner)
        return a->owner < b->owner ? -1 : 1;
    return (int)a->level - (int)b->level;
}

/* The first row of this key that ends behind `first`, or where one would stand. */
static size_t row_find(const struct damages *damages, const struct damage *key, uint64_t first)
{
    size_t low = 0, high = damages->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = key_order(&damages->rows[middle], key);
        if (order < 0 || (order == 0 && damages->rows[middle].end <= first))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool row_overlaps(const struct damages *damages, size_t i, const struct damage *key, uint64_t end)
{
    return i < damages->count && key_order(&damages->rows[i], key) == 0 && damages->rows[i].first < end;
}

static void rows_remove(struct damages *damages, size_t i)
{
    damages->stored -= damages->rows[i].kind == DAMAGE_STORED;
    memmove(&damages->rows[i], &damages->rows[i + 1], (damages->count - i - 1) * sizeof *damages->rows);
    damages->count--;
}

/* What stands side by side and is alike in all that a person asks for is one row. */
static bool rows_join(const struct damage *a, const struct damage *b)
{
    bool ranges = a->kind == DAMAGE_BLOCKS || a->kind == DAMAGE_STORED;
    return ranges && key_order(a, b) == 0 && a->end == b->first && a->serial == b->serial && a->fault == b->fault &&
           a->pass == b->pass && a->told == b->told && a->named == b->named;
}

static void row_join_next(struct damages *damages, size_t i)
{
    if (i + 1 >= damages->count || !rows_join(&damages->rows[i], &damages->rows[i + 1]))
        return;
    damages->rows[i].end = damages->rows[i + 1].end;
    damages->rows[i].found = MIN(damages->rows[i].found, damages->rows[i + 1].found);
    rows_remove(damages, i + 1);
}

static bool row_insert(struct damages *damages, const struct damage *row)
{
    if (!damages->rows)
        damages->rows = memory_zeroed(DAMAGES_MAX, sizeof *damages->rows);
    if (!damages->rows || damages->count == DAMAGES_MAX) {
        damages->more = true;
        return false;
    }
    size_t i = row_find(damages, row, row->first);
    memmove(&damages->rows[i + 1], &damages->rows[i], (damages->count - i) * sizeof *row);
    damages->rows[i] = *row;
    damages->count++;
    damages->stored += row->kind == DAMAGE_STORED;
    row_join_next(damages, i);
    if (i > 0)
        row_join_next(damages, i - 1);
    return true;
}

/* Takes [first, end) out of the row. Where a full ledger has no room for the part behind, the row stays as it is: too
 * much is known as damaged rather than too little, and `more` says that the ledger is not exact. False then. */
static bool row_cut(struct damages *damages, size_t i, uint64_t first, uint64_t end)
{
    struct damage *row = &damages->rows[i], behind = *row;
    if (row->first >= first && row->end <= end) {
        rows_remove(damages, i);
    } else if (row->first >= first) {
        row->first = end;
    } else if (row->end <= end) {
        row->end = first;
    } else if (damages->count == DAMAGES_MAX) {
        damages->more = true;
        return false;
    } else {
        row->end = first;
        behind.first = end;
        row_insert(damages, &behind);
    }
    return true;
}

static void range_cut(struct damages *damages, const struct damage *key, uint64_t first, uint64_t end)
{
    for (size_t i; row_overlaps(damages, i = row_find(damages, key, first), key, end);)
        if (!row_cut(damages, i, first, end))
            return;
}

/* Whether a row can take the place of what it overlaps: none of that may be cut for one that then finds no room. */
static bool row_fits(const struct damages *damages, const struct damage *row)
{
    size_t i = damages->count ? row_find(damages, row, row->first) : 0, more = 1;
    for (; row_overlaps(damages, i, row, row->end); i++) {
        const struct damage *known = &damages->rows[i];
        if (known->first >= row->first && known->end <= row->end)
            return true;
        more += known->first < row->first && known->end > row->end;
    }
    return damages->count + more <= DAMAGES_MAX;
}

static void row_leave_out(struct damages *damages, const struct damage *row, bool covered)
{
    damages->more = true;
    if (row->kind != DAMAGE_STORED || covered)
        return;
    damages->unlisted_pass = atomic_load(&damages->pass);
    atomic_store(&damages->unlisted, true);
}

/* Instead of cutting them: this pass found rows that overlap `row` again, if only in part. */
static void overlapped_keep(struct damages *damages, const struct damage *row)
{
    bool covered = false;
    for (size_t i = row_find(damages, row, row->first); row_overlaps(damages, i, row, row->end); i++) {
        damages->rows[i].pass = row->pass;
        covered |= damages->rows[i].first <= row->first && damages->rows[i].end >= row->end;
    }
    row_leave_out(damages, row, covered);
}

static void changed(struct damages *damages)
{
    atomic_fetch_add(&damages->changes, 1);
}

/* ---- the ledger ----------------------------------------------------------------------------------------------- */

void damages_set_pass(struct damages *damages, uint64_t pass, bool runs, bool is_new)
{
    mutex_lock(&damages->mutex);
    atomic_store(&damages->pass, pass);
    atomic_store(&damages->naming, runs);
    damages->more &= !is_new;
    mutex_unlock(&damages->mutex);
}

/* What was known of the whole range goes on: when it was found, by whom, and that it was told. */
static void known_keep(const struct damages *damages, struct damage *row)
{
    size_t i = damages->count ? row_find(damages, row, row->first) : 0;
    if (!row_overlaps(damages, i, row, row->end))
        return;
    const struct damage *known = &damages->rows[i];
    if (known->first > row->first || known->end < row->end)
        return;
    row->found = known->found;
    row->by_scrub = known->by_scrub;
    row->told = known->told;
    row->named |= known->named;
}

void damages_add(struct damages *damages, const struct damage *damage)
{
    struct damage row = *damage;
    ASSERT(row.first < row.end);
    row.found = clock_realtime() / CLOCK_SECOND;
    row.told = false;
    row.pass = atomic_load(&damages->pass);
    mutex_lock(&damages->mutex);
    if (row_fits(damages, &row)) {
        known_keep(damages, &row);
        range_cut(damages, &row, row.first, row.end);
        if (!row_insert(damages, &row))
            row_leave_out(damages, &row, false);
        else if (!row.told)
            atomic_store(&damages->untold, true);
    } else {
        overlapped_keep(damages, &row);
    }
    changed(damages);
    mutex_unlock(&damages->mutex);
}

void damages_set_more(struct damages *damages)
{
    mutex_lock(&damages->mutex);
    row_leave_out(damages, &(struct damage){.kind = DAMAGE_STORED}, false); /* it may have been one of these */
    mutex_unlock(&damages->mutex);
}

bool damages_restore(struct damages *damages, const struct damage *damage)
{
    mutex_lock(&damages->mutex);
    range_cut(damages, damage, damage->first, damage->end);
    bool entered = row_insert(damages, damage);
    if (entered && !damage->told)
        atomic_store(&damages->untold, true);
    mutex_unlock(&damages->mutex);
    return entered;
}

void damages_cut(struct damages *damages, enum damage_kind kind, uint64_t owner, uint8_t level, uint64_t first,
                 uint64_t end)
{
    const struct damage key = {.kind = (uint8_t)kind, .owner = owner, .level = level};
    if (atomic_load(&damages->count) == 0)
        return;
    mutex_lock(&damages->mutex);
    if (row_overlaps(damages, row_find(damages, &key, first), &key, end)) {
        range_cut(damages, &key, first, end);
        changed(damages);
    }
    mutex_unlock(&damages->mutex);
}

void damages_name(struct damages *damages, uint64_t serial, uint64_t first, uint64_t end)
{
    const struct damage key = {.kind = DAMAGE_STORED, .owner = serial};
    mutex_lock(&damages->mutex);
    for (size_t i = row_find(damages, &key, first); row_overlaps(damages, i, &key, end); i++) {
        struct damage part = damages->rows[i];
        if (part.named)
            continue;
        part.first = MAX(part.first, first);
        part.end = MIN(part.end, end);
        part.named = true;
        if (!row_fits(damages, &part))
            continue; /* shown as nobody's, rather than forgotten */
        range_cut(damages, &key, part.first, part.end);
        row_insert(damages, &part);
        changed(damages);
        i = row_find(damages, &key, part.first);
    }
    mutex_unlock(&damages->mutex);
}

static void older_drop(struct damages *damages, uint64_t pass)
{
    size_t kept = 0, stored = 0;
    for (size_t i = 0; i < damages->count; i++) {
        if (damages->rows[i].pass < pass)
            continue;
        stored += damages->rows[i].kind == DAMAGE_STORED;
        damages->rows[kept++] = damages->rows[i];
    }
    damages->count = kept;
    damages->stored = stored;
    if (damages->unlisted_pass < pass)
        atomic_store(&damages->unlisted, false);
    changed(damages);
}

bool damages_end_pass(struct damages *damages, uint64_t pass)
{
    mutex_lock(&damages->mutex);
    bool ends = atomic_load(&damages->pass) == pass;
    if (ends) {
        older_drop(damages, pass);
        atomic_store(&damages->naming, false);
    }
    mutex_unlock(&damages->mutex);
    return ends;
}

static void neighbours_join(struct damages *damages)
{
    for (size_t i = 0; i + 1 < damages->count;) {
        size_t before = damages->count;
        row_join_next(damages, i);
        i += damages->count == before;
    }
}

struct damage *damages_take_untold(struct damages *damages, size_t *count)
{
    *count = 0;
    if (!atomic_load(&damages->untold))
        return NULL;
    mutex_lock(&damages->mutex);
    struct damage *untold = malloc((damages->count + 1) * sizeof *untold);
    for (size_t i = 0; i < damages->count && untold; i++) {
        if (!damages->rows[i].told && damage_is_shown(&damages->rows[i]))
            untold[(*count)++] = damages->rows[i];
        damages->rows[i].told = true;
    }
    if (untold) {
        atomic_store(&damages->untold, false);
        neighbours_join(damages);
        changed(damages);
    }
    mutex_unlock(&damages->mutex);
    return untold;
}

bool damages_holds(struct damages *damages, uint64_t serial, uint32_t offset)
{
    const struct damage key = {.kind = DAMAGE_STORED, .owner = serial};
    if (atomic_load(&damages->unlisted))
        return true;
    if (atomic_load(&damages->stored) == 0)
        return false;
    mutex_lock(&damages->mutex);
    bool holds = row_overlaps(damages, row_find(damages, &key, offset), &key, (uint64_t)offset + 1);
    mutex_unlock(&damages->mutex);
    return holds;
}

bool damages_know(struct damages *damages, const struct damage *damage)
{
    if (atomic_load(&damages->count) == 0)
        return false;
    mutex_lock(&damages->mutex);
    size_t i = row_find(damages, damage, damage->first);
    const struct damage *known = row_overlaps(damages, i, damage, damage->end) ? &damages->rows[i] : NULL;
    bool knows = known && known->first <= damage->first && known->end >= damage->end && known->fault == damage->fault;
    mutex_unlock(&damages->mutex);
    return knows;
}

enum error damages_copy(struct damages *damages, bool all, struct damage **out, size_t *count, bool *more)
{
    mutex_lock(&damages->mutex);
    size_t n = 0, rows_count = damages->count;
    struct damage *rows = rows_count ? malloc(rows_count * sizeof *rows) : NULL;
    for (size_t i = 0; i < rows_count && rows; i++)
        if (all || damage_is_shown(&damages->rows[i]))
            rows[n++] = damages->rows[i];
    *more = damages->more;
    mutex_unlock(&damages->mutex);
    if (rows_count && !rows)
        return ERROR_NO_MEMORY;
    *out = rows;
    *count = n;
    return ERROR_NONE;
}
