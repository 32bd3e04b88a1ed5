/*
 * What a superblock holds of the group's other devices, so that one whose copies are all damaged can be made again:
 * their key slots in use, wrapped for them under the KEK of the superblock that holds them, and, in the JSON, their
 * places in the group and their sizes.
 */
#ifndef COFFER_ENGINE_GROUP_SUPERBLOCK_PEER_H
#define COFFER_ENGINE_GROUP_SUPERBLOCK_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/keyring.h"
#include "engine/group/superblock.h"

/* The key slots of all devices of a group, but for K_pools, which all have: for each its current ones, then old ones from the
 * newest. Whoever holds them, they are wrapped in the same way, so they are wrapped once for all superblocks. */
struct group_slots {
    struct peer_slot_format *slots;
    uint32_t count;
};

/* Whether the superblock of each device has room for its own keys and for those of all others, however many K_pools are yet to
 * come. */
bool group_slots_fit(struct keyring *const *keyrings, uint32_t count);

/* `kek`: the one under which the superblocks are to be written; `other_kek`: that of their other wrapping, or NULL.
 * ERROR_TOO_LARGE: one has more keys than a peer can hold. */
enum error group_slots_make(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                            const uint8_t kek[KEY_SIZE], const uint8_t *other_kek, struct group_slots *slots) CHECKED;
void group_slots_free(struct group_slots *slots);

/* Those of all devices but the holder's own take the place of holder->peers. */
enum error superblock_peers_take(const struct group_slots *slots, struct superblock *holder) CHECKED;

/* Both for one superblock, that of device `own`. */
enum error superblock_peers_make(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                                 uint32_t own, const uint8_t kek[KEY_SIZE], struct superblock *holder) CHECKED;

/* Whether superblocks[own] holds the peers as they should be. Wrapping is deterministic (KWP), so equal bytes are equal
 * keys. `kek`: the one that it is written under. Pools of before they were written hold none. */
enum error superblock_peers_verify(const struct superblock *superblocks, struct keyring *const *keyrings, uint32_t count,
                                   uint32_t own, const uint8_t kek[KEY_SIZE], bool *equal) CHECKED;

/* The superblock of `device`, whose own copies are all lost, from the authentic one of a peer, and its keys: those that the peer
 * holds for it, and the pool's, which are the peer's own (`peer_keyring`). It has the
 * peer's epoch, and no peers of its own yet. Nothing says yet that a device at hand is this one: its checkpoint records
 * must verify under the keyring. ERROR_NOT_FOUND: the peer does not hold what is needed; ERROR_CORRUPT: it holds
 * nonsense. superblock_forget() and keyring_destroy() are the caller's. */
enum error superblock_revive(const struct superblock *peer, const struct keyring *peer_keyring, struct uuid device,
                             const uint8_t kek[KEY_SIZE], struct superblock *superblock, struct keyring **keyring) CHECKED;

#endif
