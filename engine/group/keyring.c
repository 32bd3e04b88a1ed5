/*
 * The unwrapped keys of one device. They lie in the arena, which wipes what is freed, and never on a disk as they are:
 * superblock.c wraps and unwraps them, so a crash here loses nothing. Read-only once made: no locks.
 */
#include "engine/group/keyring.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/group/format.h"

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

static bool is_old(const struct keyring_slot *slot)
{
    return slot->kind == KEY_KIND_DEK && !slot->current;
}

enum error keyring_with_dek(const struct keyring *keyring, uint32_t number, struct keyring **with)
{
    ASSERT(keyring->encrypted && keyring_find(keyring, KEY_KIND_DEK, number) == NULL);
    if (keyring->count == KEY_SLOTS_MAX)
        return error_explain(ERROR_TOO_LARGE, "all %d key slots of a device are in use", KEY_SLOTS_MAX);
    size_t size = sizeof *keyring + keyring->count * sizeof keyring->slots[0];
    struct keyring *new = arena_allocate(size + sizeof keyring->slots[0]);
    if (new == NULL)
        return ERROR_NO_MEMORY;
    memcpy(new, keyring, size);
    for (size_t i = 0; i < new->count; i++)
        new->slots[i].current = new->slots[i].current && new->slots[i].kind != KEY_KIND_DEK;
    struct keyring_slot *slot = &new->slots[new->count++];
    *slot = (struct keyring_slot){.kind = KEY_KIND_DEK, .number = number, .current = true};
    enum error error = key_generate(slot->key);
    if (error != ERROR_NONE) {
        keyring_destroy(new);
        return error;
    }
    *with = new;
    return ERROR_NONE;
}

enum error keyring_without_old(const struct keyring *keyring, struct keyring **without)
{
    struct keyring *new = arena_allocate(sizeof *keyring + keyring->count * sizeof keyring->slots[0]);
    if (new == NULL)
        return ERROR_NO_MEMORY;
    new->encrypted = keyring->encrypted;
    for (size_t i = 0; i < keyring->count; i++)
        if (!is_old(&keyring->slots[i]))
            new->slots[new->count++] = keyring->slots[i];
    *without = new;
    return ERROR_NONE;
}

bool keyring_has_old(const struct keyring *keyring)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (is_old(&keyring->slots[i]))
            return true;
    return false;
}

const uint8_t *keyring_find(const struct keyring *keyring, enum key_kind kind, uint32_t number)
{
    for (size_t i = 0; i < keyring->count; i++)
        if (keyring->slots[i].kind == kind && keyring->slots[i].number == number)
            return keyring->slots[i].key;
    return NULL;
}

bool keyring_agrees(const struct keyring *a, const struct keyring *b)
{
    size_t common = 0;
    for (size_t i = 0; i < a->count; i++) {
        const uint8_t *other = keyring_find(b, a->slots[i].kind, a->slots[i].number);
        if (other && memory_compare_constant_time(a->slots[i].key, other, KEY_SIZE) != 0)
            return false;
        common += other != NULL;
    }
    return common > 0;
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
