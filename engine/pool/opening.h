/*
 * The first half of an open: from the conf to devices, superblocks and keys that are authentic, and to a witness that
 * agrees with them. open.c goes on with the group; a repair ends here.
 */
#ifndef COFFER_ENGINE_POOL_OPENING_H
#define COFFER_ENGINE_POOL_OPENING_H

#include "crypto/provider.h"
#include "engine/pool/pool.h"

/* In the arena: a KEK, asked for once for all devices that are under it. */
struct opening_key {
    uint8_t kek[KEY_SIZE];
    bool known;
    bool other;               /* it is not the one whose check value the witness has: it will fit nothing */
    enum kek_state state;     /* but for active, nothing new is wrapped with it */
    enum error error;         /* why the provider did not give it */
    struct wrapping wrapping; /* under which the KEK was asked for, also where it did not come */
};

/* What an open has in its hands before it becomes the group's. One thread. */
struct opening {
    struct pool *pool;
    const struct provider_secret *secret; /* NULL: none was given */
    const struct pool_conf_group *conf;
    struct device *devices[GROUP_DEVICES_MAX];
    struct superblock superblocks[GROUP_DEVICES_MAX];
    struct keyring *keyrings[GROUP_DEVICES_MAX];
    struct superblock_probe *probes;
    struct opening_key *key;
    unsigned copies_bad[GROUP_DEVICES_MAX];
    bool peers_bad[GROUP_DEVICES_MAX]; /* it does not hold the others' key slots as they are */
    struct { enum error error; char *sentence; } lost[GROUP_DEVICES_MAX]; /* why its own superblock is of no use */
    uint64_t checkpoint_seen;
    size_t count;
    bool repairs; /* pool_repair(): a device that lost all copies of its superblock gets new ones */
};

enum error opening_begin(struct opening *opening, struct pool *pool, const struct provider_secret *secret) CHECKED;
/* Devices locked, superblocks and witness verified, ages compared. Writes nothing. */
enum error opening_authenticate(struct opening *opening) CHECKED;
/* Whether opening_mend() has nothing to do. */
bool opening_is_whole(const struct opening *opening);
/* Writes superblocks of which copies are damaged, or which hold stale keys of others, or which are revived; after
 * opening_authenticate() and under an epoch that was reserved. */
enum error opening_mend(struct opening *opening) CHECKED;
/* Closes what is still its own. */
void opening_forget(struct opening *opening);

/* ---- opening_key.c ---------------------------------------------------------------------------------------------- */

/* The KEK that a superblock, which nobody need have vouched for yet (keys.c), says it is under; into opening->key. */
enum error opening_key_take(struct opening *opening, const struct superblock *superblock) CHECKED;
/* All superblocks are authentic for what follows. The one whose key is in force by the devices alone. */
const struct superblock *opening_key_newest(const struct opening *opening);
/* The first that is under the key which the witness names; NULL: none is. */
const struct superblock *opening_key_in_force(const struct opening *opening);
/* With --accept-rollback: where the witness does not agree with all devices it names the key that is in force by them. */
enum error opening_key_accept(struct opening *opening) CHECKED;

/* ---- opening_revive.c ------------------------------------------------------------------------------------------- */

/* Keeps the sentence of `error` for device i, whose superblock is of no use. */
enum error opening_lose(struct opening *opening, size_t i, enum error error) CHECKED;
/* For each lost device its superblock and keys from a peer, once the device has proved to be the right one. Without
 * `repairs` an error that says so. Nothing is written. */
enum error opening_revive(struct opening *opening) CHECKED;

#endif
