/*
 * The unwrapped keys of one device. They lie in the arena, which wipes what is freed, and never on a disk as they are:
 * superblock.c wraps and unwraps them, so a crash here loses nothing. Read-only once made: no locks.
 */
#include "engine/group/keyring.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"

#define NEW_SLOTS_MAX 3

static uint8_t *add_slot(struct keyring *keyring, enum key_kind kind)
{
    struct keyring_slot *slot = &keyring->slots[keyring->count++];
    slot->kind = kind;
    slot->number = 1;
    slot->current = true;
    return slot->key;
}

static enum error fill_new(struct keyring *keyring, const uint8_t k_pool[KEY_SIZE])
{
    TRY(key_generate(add_slot(keyring, KEY_KIND_LOG)));
    memcpy(add_slot(keyring, KEY_KIND_POOL), k_pool, KEY_SIZE);
    if (keyring->encrypted)
        TRY(key_generate(add_slot(keyring, KEY_KIND_DEK)));
    return ERROR_NONE;
}

enum error keyring_create(bool encrypted, const uint8_t k_pool[KEY_SIZE], struct keyring **keyring)
{
    struct keyring *new = arena_allocate(sizeof *new + NEW_SLOTS_MAX * sizeof new->slots[0]);
    if (new == NULL)
        return ERROR_NO_MEMORY;
    new->encrypted = encrypted;
    enum error error = fill_new(new, k_pool);
    if (error != ERROR_NONE) {
        keyring_destroy(new);
        return error;
    }
    *keyring = new;
    return ERROR_NONE;
}

void keyring_destroy(struct keyring *keyring)
{
    arena_free(keyring);
}

const uint8_t *keyring_find(const struct keyring *keyring, enum key_kind kind, uint32_t number)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (keyring->slots[i].kind == kind && keyring->slots[i].number == number)
            return keyring->slots[i].key;
    return NULL;
}

const struct keyring_slot *keyring_current(const struct keyring *keyring, enum key_kind kind)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (keyring->slots[i].kind == kind && keyring->slots[i].current)
            return &keyring->slots[i];
    return NULL;
}

bool keyring_is_equal(const struct keyring *a, const struct keyring *b)
{
    bool equal = a->encrypted == b->encrypted && a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        const struct keyring_slot *one = &a->slots[i], *other = &b->slots[i];
        equal = one->kind == other->kind && one->number == other->number && one->current == other->current &&
                memory_compare_constant_time(one->key, other->key, KEY_SIZE) == 0;
    }
    return equal;
}
