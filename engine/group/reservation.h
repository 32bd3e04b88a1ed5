/*
 * Reservations: bytes of the capacity that are kept for one object, for as many of its blocks as were promised to it.
 *
 * What the object stores counts against its promise: the figures of its component in the component table (`mapped`,
 * `stored`), as of the last publish, so that they change in the same moment as the live bytes that admission counts.
 * What is missing to the promise, at the price of blocks that neither compress nor repeat, is *held*: nobody else may
 * have it. After a snapshot the figures begin anew, and with them what is held, since each block may come to be stored
 * once more. Blocks that were committed since the last publish are not in the figures: they are in what is used, and
 * still held, until they are merged.
 *
 * An object that stores more blocks than it was promised is as any other until it stores fewer.
 *
 * Everything is under the group's lock. In memory only: the promises stand in the catalog (engine/pool/reserve.c).
 */
#ifndef COFFER_ENGINE_GROUP_RESERVATION_H
#define COFFER_ENGINE_GROUP_RESERVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct group;
struct root;

struct reservation {
    struct reservation *next;          /* of the group's, while something is promised */
    const _Atomic uint64_t *component; /* where the object's stands */
    uint64_t blocks;                   /* promised; 0: nothing */
    uint64_t bytes;                    /* that those take at most */
    uint64_t mapped, stored;           /* blocks and bytes of the component that count, as of the last publish */
    uint64_t written, written_frozen;  /* blocks committed since, overwritten ones included: of each table */
    bool trimmed, trimmed_frozen;      /* blocks of it were unmapped since: `mapped` may be too many; of each table */
    bool anew;                         /* what the component stores counts no more, until the object goes on as another one */
};

struct reservations {
    struct reservation *first;
    uint64_t held; /* the sum */
};

/* What the trees say of a component; 0 and 0 where they do not know it. */
struct reservation_figures {
    uint64_t component, mapped, stored;
    uint64_t checkpoint; /* number of that whose trees said so; 0: they were not asked, since none of it counts any more */
};

/* What so many blocks of an object can take at most, tables and map included, wherever they lie. */
uint64_t reservation_bytes(uint64_t blocks, uint64_t object_blocks);

/* Promises `blocks` (0: no more) of an object's in the place of what was promised. */
void reservation_set(struct group *group, struct reservation *reservation, uint64_t blocks, uint64_t object_blocks,
                     const struct reservation_figures *figures);
/* The most blocks that can be promised beside what is used and held by others. */
uint64_t reservation_most(const struct group *group, const struct reservation *reservation, uint64_t object_blocks,
                          const struct reservation_figures *figures);
/* What is held for all but this one (NULL: for all). */
uint64_t reservations_held(const struct group *group, const struct reservation *but);
/* Whether so many new blocks more are surely within the promise; whether they may be once all is merged. */
bool reservation_covers(const struct reservation *reservation, uint64_t blocks);
bool reservation_may_cover(const struct reservation *reservation, uint64_t blocks);
/* Whether the object stores no more than was promised, so that its overwrites are within it; whether that may be so once all
 * is merged. */
bool reservation_is_open(const struct reservation *reservation);
bool reservation_may_be_open(const struct reservation *reservation);
/* Blocks of this component are unmapped. */
void reservations_trim(struct group *group, uint64_t component);
/* The object at `component` goes on as another component, which shares all that it has. */
void reservations_move(struct group *group, const _Atomic uint64_t *component);

/* ---- by the merge ---- */

void reservations_freeze(struct group *group);
/* Under no lock: the figures of all, as these roots have them; sorted, the caller's to free. Without memory NULL and 0,
 * which leaves more held than need be. */
struct reservation_figures *reservations_look(struct group *group, const struct root *roots, size_t *count);
void reservations_publish(struct group *group, const struct reservation_figures *figures, size_t count);
/* The figures of one component, in the newest view. Under no lock: before they are used, under it, it is to be asked
 * whether nothing was published meanwhile. */
struct reservation_figures reservation_look(struct group *group, uint64_t component);
bool reservation_is_current(const struct group *group, const struct reservation_figures *figures);

#endif
