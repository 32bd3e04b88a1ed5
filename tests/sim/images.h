/*
 * The bytes of the simulated devices. The *durable* image is what survives whatever the seed decides, the *current* one
 * what a read sees, and the pending changes lie between them. A crash keeps, loses or tears each of these.
 */
#ifndef COFFER_TESTS_SIM_IMAGES_H
#define COFFER_TESTS_SIM_IMAGES_H

#include "engine/device/device.h"
#include "tests/sim/plane.h"
#include "tests/sim/world.h"

#define SECTOR 512

/* Takes the files that pool_create() formatted. */
void images_map(void);

/* A write or discard begins, at `offset`, which may not be the one that it asks for; its number. */
uint64_t image_change_begin(const struct device_io *io, unsigned device, uint64_t offset);
/* It is complete: what was asked happened, and reads see it; or nothing did. */
void image_change_end(uint64_t number, bool happened);
/* Changes that were complete before the event become durable; or the flush fails, and some of them never will. */
void image_flush(unsigned device, uint64_t before);
void image_flush_fails(unsigned device, uint64_t before);

/* Before the pool is opened once more: writes that failed happened or not, in whole or in part; what a failed flush
 * gave up is gone, since nothing is left that would show it. */
void images_settle_failed(void);
/* A device went away, with all that no flush had covered but what a crash would have kept. */
void image_device_lost(unsigned device);

/* What the file system below has given space for; discards give it back. */
bool image_has_space(const struct image *image, uint64_t offset, uint64_t size);
void image_take_space(struct image *image, uint64_t offset, uint64_t size);
void image_give_space(struct image *image, uint64_t offset, uint64_t size);

struct crash_odds {
    unsigned lose_percent, tear_percent; /* of changes, of those that are not lost */
    bool one;                            /* of a single change, mostly one of the last; all others are kept */
};

/* Decides for each pending change what a crash keeps; returns a hash of what the devices would hold. */
uint64_t images_choose(struct crash_odds odds);
/* From here on changes are made to images of a branch, which begin as what is durable and pending is now. After its first
 * crash there is no other if it is the last one, and one image of a device does. */
void images_branch(bool last);
/* The crash: nothing is pending afterwards. */
void images_crash(void);
/* Only the process died: what it had submitted happens or not, and is as volatile as before. */
void images_outlive(void);

#endif
