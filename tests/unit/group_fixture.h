/*
 * What the tests of engine/group share: a group of real devices (sparse files in a folder that comes and goes with each
 * test), opened without a pool, and a small write path of their own: one unit, one reference or one range a commit.
 */
#ifndef COFFER_TESTS_GROUP_FIXTURE_H
#define COFFER_TESTS_GROUP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "dedup/unit.h"
#include "engine/group/group.h"
#include "engine/group/item.h"
#include "engine/group/record.h"
#include "engine/group/view.h"

#define FIXTURE_DEVICES_MAX 4
#define FIXTURE_DEVICE_SIZE ((UINT64_C(64) << 22) + 2 * AREA_SIZE) /* 64 segments */
#define FIXTURE_MEMORY      (UINT64_C(72) << 20)
#define COMPONENT           2 /* what most tests write to; created by fixture_begin() */

struct fixture {
    char folder[64];
    char paths[FIXTURE_DEVICES_MAX][128];
    uint64_t device_size, memory;
    uint32_t device_count;
    struct superblock superblocks[FIXTURE_DEVICES_MAX];
    struct keyring *keyrings[FIXTURE_DEVICES_MAX];
    struct section section;
    uint64_t epoch;
    struct group *group;                             /* NULL: closed */
    void (*devices_opened)(struct fixture *fixture); /* called when the next open has its devices; NULL */
    uint64_t cut;                                    /* for it */
    bool by_hand;                                    /* as of the group, when it is opened next */
    bool overwrites;                                 /* what is written from now on brings nothing in the end */
    bool little;                                     /* … comes in little commits */
    void (*published)(void *context, uint64_t checkpoint, uint64_t sequence); /* as of the group; NULL */
    enum error (*open_device)(struct fixture *fixture, uint32_t index, struct device **device); /* NULL: as a file */
};

/* Formats `device_count` devices of `device_size` bytes and opens the group. */
struct fixture *fixture_begin(uint32_t device_count, uint64_t device_size, bool encrypted);
/* Closes what is open (as a crash would) and removes everything. */
void fixture_end(struct fixture *fixture);
/* cmocka's: one encrypted device, two encrypted devices, one in plaintext. */
int fixture_setup(void **state);
int fixture_setup_two(void **state);
int fixture_setup_plaintext(void **state);
int fixture_teardown(void **state);

/* With the next epoch. */
enum error fixture_try_open(struct fixture *fixture);
void fixture_open(struct fixture *fixture);
/* Clean, or as after a kill: what was not written is lost, what was is not. */
void fixture_close(struct fixture *fixture);
void fixture_crash(struct fixture *fixture);

/* Takes section and group lock with room for a commit; ERROR_NO_SPACE, ERROR_FENCED. */
enum error fixture_enter(struct fixture *fixture, bool frees);
void fixture_leave(struct fixture *fixture);

/* 4096 bytes that `seed` decides: half of them compress. Seed 0 is not for writing. */
void fixture_chunk(uint64_t seed, uint8_t *bytes);
/* One unit of `count` (1 to 4) new chunks with these seeds. entries (may be NULL) gets where they are. */
enum error fixture_try_write(struct fixture *fixture, uint64_t component, uint64_t block, const uint64_t *seeds,
                             unsigned count, struct map_entry *entries);
struct map_entry fixture_write(struct fixture *fixture, uint64_t component, uint64_t block, uint64_t seed);
void fixture_refer(struct fixture *fixture, uint64_t component, uint64_t block, struct map_entry entry);
enum error fixture_try_holes(struct fixture *fixture, uint64_t component, uint64_t first, uint64_t end);
void fixture_holes(struct fixture *fixture, uint64_t component, uint64_t first, uint64_t end);
void fixture_component(struct fixture *fixture, uint64_t id, enum component_state state);
/* A component that begins as `base` is now, and that from now on nobody may change before it is published. */
void fixture_heir(struct fixture *fixture, uint64_t id, uint64_t base, enum component_state state);

/* What a block maps to; a hole where nothing. */
struct map_entry fixture_entry(struct fixture *fixture, uint64_t component, uint64_t block);
enum error fixture_read(struct fixture *fixture, uint64_t component, uint64_t block, uint8_t *bytes);
/* Fails the test where the block does not hold the chunk of this seed; 0: a hole. */
void fixture_expect(struct fixture *fixture, uint64_t component, uint64_t block, uint64_t seed);
/* Empties both caches of what nobody holds, so that the next read goes to the device. */
void fixture_forget_cached(struct fixture *fixture);

/* Flips one bit on a device, under the group's feet. */
void fixture_flip(struct fixture *fixture, uint32_t device, uint64_t offset);
/* Where an address stands. */
uint32_t fixture_device(struct fixture *fixture, uint64_t serial);
uint64_t fixture_offset(struct fixture *fixture, uint64_t serial, uint32_t grains);

/* From now on device 0 refuses the next `times` reads of anything between `offset` and `offset + size`. */
void fixture_refuse_reads(struct fixture *fixture, uint64_t offset, uint64_t size, int times);
int fixture_refusals_left(void);
void fixture_refuse_no_more(void);

/* A seeded generator of the test's own, so that a failure happens again. */
uint64_t fixture_random(uint64_t *state);
static inline uint64_t fixture_below(uint64_t *state, uint64_t end)
{
    return fixture_random(state) % end;
}

#endif
