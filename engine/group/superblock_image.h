/*
 * One copy of a superblock as SUPERBLOCK_SIZE bytes in memory: built, checked and unwrapped here; superblock.c moves
 * copies to and from devices. The functions are in the order in which an open may call them (SECURITY 4).
 */
#ifndef COFFER_ENGINE_GROUP_SUPERBLOCK_IMAGE_H
#define COFFER_ENGINE_GROUP_SUPERBLOCK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/group/format.h"
#include "engine/group/keyring.h"
#include "engine/group/superblock.h"

/* Where copy 0 to 3 stands on a device of which `device_size` bytes are used. */
uint64_t superblock_offset(uint64_t device_size, uint32_t copy);

/* Magic, version, location, CRC and bounds of a fixed part read from `offset`. ERROR_NOT_FOUND: no magic;
 * ERROR_NEWER_FORMAT; ERROR_CORRUPT. No sentence is kept: the caller knows of all copies. */
enum error superblock_fixed_decode(const struct superblock_format *in, uint32_t copy, uint64_t offset,
                                   struct superblock *out) CHECKED;

/* Whether some MAC over the image is made under `kek`; then *wrapping tells which of the wrappings it is.
 * ERROR_FORGED where none is. The image is the same afterwards. */
enum error superblock_image_verify(uint8_t *image, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                   unsigned *wrapping) CHECKED;

/* Whether any key slot of the image, verified or not, unwraps under `kek`: a wrong key told from a damaged copy. */
bool superblock_image_is_wrapped_by(const uint8_t *image, const struct superblock *superblock,
                                    const uint8_t kek[KEY_SIZE]);

/* Unwraps key slots of the device that `superblock` names, by wrapping 0 or 1, into a new keyring; checks each slot and
 * that a current key of each kind is there. `peer`: whose K_pools the device has as well, being those of the pool; NULL: they
 * are among the slots. ERROR_CORRUPT, ERROR_WRONG_KEY, ERROR_FORGED. */
enum error superblock_slots_open(const struct key_slot_format *slots, uint32_t count,
                                 const struct superblock *superblock, const uint8_t kek[KEY_SIZE], unsigned wrapping,
                                 const struct keyring *peer, struct keyring **keyring) CHECKED;
/* Wraps one key as a slot of `device`, as wrapping 0 or 1; the other one stays as it is. */
enum error superblock_slot_wrap(const struct keyring_slot *slot, struct uuid device, const uint8_t wrap_key[KEY_SIZE],
                                unsigned wrapping, struct key_slot_format *out) CHECKED;

/* Of a verified image: features, reserved bytes, key slots, peers and JSON; fills superblock->wrapping, ->other, ->peers
 * and ->json. */
enum error superblock_image_open(const uint8_t *image, struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                 unsigned wrapping, struct keyring **keyring) CHECKED;

/* Fills `image` but for what differs between copies, which superblock_image_seal() adds. The KEKs
 * of ->wrapping and of ->other; NULL: there is no other. */
enum error superblock_image_build(const struct superblock *superblock, const struct keyring *keyring,
                                  const uint8_t kek[KEY_SIZE], const uint8_t other_kek[KEY_SIZE], uint8_t *image) CHECKED;
enum error superblock_image_seal(uint8_t *image, const struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                                 const uint8_t other_kek[KEY_SIZE], uint32_t copy) CHECKED;

#endif
