/*
 * The superblocks of a pool in use, written under other keys: under two KEKs at once while a change of keys is under way, under
 * one when it is complete (SECURITY 6). rekey.c tells what for.
 */
#ifndef COFFER_ENGINE_POOL_REWRAP_H
#define COFFER_ENGINE_POOL_REWRAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/kdf.h"
#include "engine/group/group.h"
#include "engine/group/superblock.h"

struct pool;

/* pool->changing is held, and the group is in use. */
struct rewrap {
    struct pool *pool;
    struct group *group;
    struct keyring *const *keyrings; /* what superblocks are to hold; NULL: the keys that the group works with */
    bool demands_newest; /* from now on headers, records and what K_pool seals are good under the current keys alone */
    uint64_t epoch; /* of the superblocks that were written last */
};

/* Every superblock, in all copies, under `kek`, whose wrapping it has, and under `next_kek` as well. */
enum error rewrap_under_both(struct rewrap *rewrap, const uint8_t kek[KEY_SIZE], const struct wrapping *next,
                             const uint8_t next_kek[KEY_SIZE]) CHECKED;
/* Every superblock under `kek` alone, read back; then the witness knows that none is half written. */
enum error rewrap_under_one(struct rewrap *rewrap, const struct wrapping *wrapping, const uint8_t kek[KEY_SIZE]) CHECKED;
/* Whether `kek` opens the superblock of every device, read anew, and gives those keys.
 * `as_written`: all copies are to be of the last writing; else any may serve. ERROR_CORRUPT, ERROR_IO, superblock_open()'s. */
enum error rewrap_open_all(struct rewrap *rewrap, const uint8_t kek[KEY_SIZE], bool as_written) CHECKED;
/* Whether a superblock is still under two KEKs, of a change that was not completed. */
bool rewrap_is_half_done(const struct group *group);

#endif
