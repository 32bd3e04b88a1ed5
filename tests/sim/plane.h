/*
 * The bytes of one device, as blocks of which it is known whether they may hold something, and, of a plane that is made
 * after another, whether they may differ from that one's.
 */
#ifndef COFFER_TESTS_SIM_PLANE_H
#define COFFER_TESTS_SIM_PLANE_H

#include <stdbool.h>
#include <stdint.h>

#define PLANE_HEIRS 2
#define PLANE_WORDS (UINT64_C(1) << 12) /* devices up to 1 GiB */

struct plane {
    unsigned char *bytes; /* read only but by the functions below */
    uint64_t size;
    uint64_t filled[PLANE_WORDS]; /* a bit a block: else it is zero */
    uint64_t stale[PLANE_WORDS];  /* of an heir: else it is as the block of its origin */
    struct plane *heirs[PLANE_HEIRS];
};

/* All zeros, in memory that no episode undoes. */
struct plane *plane_create(uint64_t size);
/* Of the same size; nothing is copied yet. */
struct plane *plane_heir(struct plane *origin);
/* Makes it as its origin is. */
void plane_follow(struct plane *heir, const struct plane *origin);
/* Makes it as another is, which is not its origin. */
void plane_copy(struct plane *to, const struct plane *from);

/* Whoever changes bytes by himself says so. */
void plane_touch(struct plane *plane, uint64_t offset, uint64_t size);
void plane_write(struct plane *plane, uint64_t offset, const void *data, uint64_t size);
void plane_fill(struct plane *plane, uint64_t offset, unsigned char byte, uint64_t size);
void plane_zero(struct plane *plane, uint64_t offset, uint64_t size);
/* The bytes of another plane at the same place. */
void plane_take(struct plane *to, const struct plane *from, uint64_t offset, uint64_t size);

#endif
