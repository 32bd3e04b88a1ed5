/*
 * The unwrapped keys of one device, as its key slots hold them. Lives in the arena; wiped by keyring_destroy().
 * Read-only once made, so any thread may look keys up without a lock.
 */
#ifndef COFFER_ENGINE_GROUP_KEYRING_H
#define COFFER_ENGINE_GROUP_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/hierarchy.h"

struct keyring_slot {
    enum key_kind kind;
    uint32_t number;
    bool current;
    uint8_t key[KEY_SIZE];
};

struct keyring {
    bool encrypted;          /* false: a plaintext pool, key slot 0 is used and no DEK exists */
    size_t count;
    struct keyring_slot slots[]; /* KEY_SLOTS_MAX at most */
};

/* A new keyring of a new device: K_log 1, K_pool 1 (given, as it is the pool's) and, where encrypted, DEK 1. */
enum error keyring_create(bool encrypted, const uint8_t k_pool[KEY_SIZE], struct keyring **keyring) CHECKED;
void keyring_destroy(struct keyring *keyring);
/* Keys that come to a device at once, each the current one of its kind. A number of 0: none of that kind. */
struct keyring_new {
    uint32_t data_key, log_key, pool_key;
    const uint8_t *k_pool; /* of `pool_key`: the same for all devices of a pool; DEK and K_log are drawn */
};
/* The same keys and these. ERROR_TOO_LARGE: there are not enough slots. */
enum error keyring_with_new(const struct keyring *keyring, const struct keyring_new *new, struct keyring **with) CHECKED;
size_t keyring_count(const struct keyring *keyring, enum key_kind kind);
/* What is kept of the keys that are not current. */
struct keyring_needs {
    bool data_keys;
    bool log_keys[UINT8_MAX + 1]; /* by number */
};
/* The same keys without DEKs and K_logs that are neither current nor needed. */
enum error keyring_without_old(const struct keyring *keyring, const struct keyring_needs *needs, struct keyring **without) CHECKED;
bool keyring_has_old(const struct keyring *keyring); /* a DEK that is not current */
/* NULL where there is none. */
const uint8_t *keyring_find(const struct keyring *keyring, enum key_kind kind, uint32_t number);
/* Whether both hold the same keys, of the same kinds and numbers, in the same order. */
bool keyring_is_equal(const struct keyring *a, const struct keyring *b);
/* Whether they have a key in common, and the same under every kind and number that both have. */
bool keyring_agrees(const struct keyring *a, const struct keyring *b);
/* The current slot of a kind; NULL where there is none (the DEK of a plaintext pool). */
const struct keyring_slot *keyring_current(const struct keyring *keyring, enum key_kind kind);

#endif
