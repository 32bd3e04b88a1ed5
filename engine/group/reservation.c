/* Held bytes as sums over the list of promises, which is short; one walk of it when something changes. */
#include "engine/group/reservation.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/group.h"
#include "engine/group/view.h"

#define LEAF_BYTES    80u                /* of a leaf beside its entries */
#define ENTRY_BYTES   24u                /* of an entry in a leaf that compresses, with the hole before it */
#define INNER_BYTES   160u               /* of an inner node beside its pointers */
#define POINTER_BYTES 48u
#define PAGE_BYTES    (BLOCK_SIZE + 64u) /* an item that did not compress */
#define TABLE_BYTES   (CHUNK_COST - CHUNK_SIZE - ENTRY_BYTES) /* a unit's header, and the chunk's part of the tables */

/* ---- what a promise costs -------------------------------------------------------------------------------------------- */

/* Each block in a leaf of its own, as long as there are leaves, and those below as many inner nodes; inner ones twice. */
uint64_t reservation_bytes(uint64_t blocks, uint64_t object_blocks)
{
    uint64_t below = MIN(blocks, object_blocks / MAP_LEAF_ENTRIES + 1), span = MAP_LEAF_ENTRIES;
    uint64_t bytes = blocks * (CHUNK_SIZE + TABLE_BYTES) + MIN(below * LEAF_BYTES + blocks * ENTRY_BYTES, below * PAGE_BYTES);
    for (unsigned level = 1; level < NODE_LEVELS_MAX && blocks; level++) {
        span *= NODE_FANOUT;
        uint64_t nodes = MIN(blocks, object_blocks / span + 1);
        bytes += 2 * MIN(nodes * INNER_BYTES + below * POINTER_BYTES, nodes * PAGE_BYTES);
        below = nodes;
    }
    return bytes;
}

static uint64_t missing(uint64_t blocks, uint64_t bytes, const struct reservation_figures *figures)
{
    uint64_t there = figures->stored + figures->mapped * (TABLE_BYTES + ENTRY_BYTES);
    return figures->mapped > blocks ? 0 : bytes - MIN(there, bytes);
}

static uint64_t held_by(const struct reservation *reservation)
{
    return missing(reservation->blocks, reservation->bytes,
                   &(struct reservation_figures){.mapped = reservation->mapped, .stored = reservation->stored});
}

uint64_t reservations_held(const struct group *group, const struct reservation *but)
{
    return group->reservations.held - (but && but->blocks ? held_by(but) : 0);
}

static void held_sum(struct group *group)
{
    group->reservations.held = 0;
    for (const struct reservation *one = group->reservations.first; one; one = one->next)
        group->reservations.held += held_by(one);
}

/* ---- promising ----------------------------------------------------------------------------------------------------------- */

static void unlink_from(struct reservations *all, struct reservation *reservation)
{
    struct reservation **at = &all->first;
    while (*at && *at != reservation)
        at = &(*at)->next;
    if (*at)
        *at = reservation->next;
    reservation->next = NULL;
}

void reservation_set(struct group *group, struct reservation *reservation, uint64_t blocks, uint64_t object_blocks,
                     const struct reservation_figures *figures)
{
    unlink_from(&group->reservations, reservation);
    reservation->blocks = blocks;
    reservation->bytes = reservation_bytes(blocks, object_blocks);
    bool known = figures->component == atomic_load(reservation->component);
    reservation->mapped = known ? figures->mapped : 0;
    reservation->stored = known ? figures->stored : 0;
    reservation->anew = figures->checkpoint == 0;
    reservation->written = recent_points_count(group->view->active); /* some may be its own */
    reservation->written_frozen = group->view->frozen ? recent_points_count(group->view->frozen) : 0;
    reservation->trimmed = reservation->trimmed_frozen = true; /* likewise */
    if (blocks) {
        reservation->next = group->reservations.first;
        group->reservations.first = reservation;
    }
    held_sum(group);
}

uint64_t reservation_most(const struct group *group, const struct reservation *reservation, uint64_t object_blocks,
                          const struct reservation_figures *figures)
{
    uint64_t taken = group_used(group) + reservations_held(group, reservation), capacity = group_capacity(group);
    uint64_t room = capacity - MIN(taken, capacity), low = 0, high = object_blocks;
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (missing(middle, reservation_bytes(middle, object_blocks), figures) <= room)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

bool reservation_is_open(const struct reservation *reservation)
{
    return reservation && reservation->blocks && reservation->mapped <= reservation->blocks;
}

bool reservation_covers(const struct reservation *reservation, uint64_t blocks)
{
    return reservation && reservation->blocks &&
           reservation->mapped + reservation->written + reservation->written_frozen + blocks <= reservation->blocks;
}

static bool is_trimmed(const struct reservation *reservation)
{
    return reservation->trimmed || reservation->trimmed_frozen;
}

bool reservation_may_cover(const struct reservation *reservation, uint64_t blocks)
{
    return reservation && reservation->blocks &&
           (is_trimmed(reservation) ? blocks : reservation->mapped + blocks) <= reservation->blocks;
}

bool reservation_may_be_open(const struct reservation *reservation)
{
    return reservation && reservation->blocks && (is_trimmed(reservation) || reservation_is_open(reservation));
}

void reservations_trim(struct group *group, uint64_t component)
{
    for (struct reservation *one = group->reservations.first; one; one = one->next)
        one->trimmed = one->trimmed || atomic_load(one->component) == component;
}

void reservations_move(struct group *group, const _Atomic uint64_t *component)
{
    for (struct reservation *one = group->reservations.first; one; one = one->next)
        if (one->component == component) {
            one->mapped = one->stored = 0;
            one->anew = false;
        }
    held_sum(group);
}

/* ---- by the merge ---------------------------------------------------------------------------------------------------------- */

void reservations_freeze(struct group *group)
{
    for (struct reservation *one = group->reservations.first; one; one = one->next) {
        one->written_frozen = one->written;
        one->written = 0;
        one->trimmed_frozen = one->trimmed;
        one->trimmed = false;
    }
}

static int component_order(const void *a, const void *b)
{
    uint64_t x = ((const struct reservation_figures *)a)->component,
             y = ((const struct reservation_figures *)b)->component;
    return order_of(x, y);
}

/* The figures are of the units as they were written. What compressed may be compressed harder since, by half at most as
 * is supposed here, and frees the less when it is overwritten. */
static uint64_t stored_bytes(const struct group *group, const struct component_format *format)
{
    uint64_t stored = le64_get(format->stored), random = MIN(le64_get(format->random) * CHUNK_SIZE, stored);
    return group->config.recompress ? random + (stored - random) / 2 : stored;
}

/* What cannot be read counts for nothing. */
static void figures_read(struct group *group, const struct view *view, struct reservation_figures *figures)
{
    struct component_format format;
    enum error error = view_component(group, view, figures->component, &format);
    figures->mapped = error ? 0 : le64_get(format.mapped);
    figures->stored = error ? 0 : stored_bytes(group, &format);
    if (error)
        error_forget();
}

struct reservation_figures reservation_look(struct group *group, uint64_t component)
{
    mutex_lock(&group->lock);
    struct view *view = view_get(group);
    struct reservation_figures figures = {.component = component, .checkpoint = group->checkpoint.number};
    mutex_unlock(&group->lock);
    figures_read(group, view, &figures);
    view_put(group, view);
    return figures;
}

bool reservation_is_current(const struct group *group, const struct reservation_figures *figures)
{
    return figures->checkpoint == 0 || figures->checkpoint == group->checkpoint.number;
}

static struct reservation_figures *components_take(struct group *group, size_t *count)
{
    size_t all = 0;
    mutex_lock(&group->lock);
    for (const struct reservation *one = group->reservations.first; one; one = one->next)
        all++;
    struct reservation_figures *figures = all ? memory_zeroed(all, sizeof *figures) : NULL;
    *count = figures ? all : 0;
    all = 0;
    for (const struct reservation *one = group->reservations.first; one && figures; one = one->next)
        figures[all++].component = atomic_load(one->component);
    mutex_unlock(&group->lock);
    return figures;
}

struct reservation_figures *reservations_look(struct group *group, const struct root *roots, size_t *count)
{
    struct view view = {0};
    struct reservation_figures *figures = components_take(group, count);
    memcpy(view.roots, roots, sizeof view.roots);
    for (size_t i = 0; i < *count; i++)
        figures_read(group, &view, &figures[i]);
    if (figures)
        qsort(figures, *count, sizeof *figures, component_order);
    return figures;
}

void reservations_publish(struct group *group, const struct reservation_figures *figures, size_t count)
{
    for (struct reservation *one = group->reservations.first; one; one = one->next) {
        struct reservation_figures wanted = {.component = atomic_load(one->component)};
        const struct reservation_figures *found =
            count && !one->anew ? bsearch(&wanted, figures, count, sizeof *figures, component_order) : NULL;
        one->mapped = found ? found->mapped : 0;
        one->stored = found ? found->stored : 0;
        one->written_frozen = 0;
        one->trimmed_frozen = false;
    }
    held_sum(group);
}
