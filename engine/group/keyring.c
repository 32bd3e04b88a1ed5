/*
 * The unwrapped keys of one device. They lie in the arena, which wipes what is freed, and never on a disk as they are:
 * superblock.c wraps and unwraps them, so a crash here loses nothing. Read-only once made: no locks.
 */
#include "engine/group/keyring.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/group/format.h"

static uint8_t *add_slot(struct keyring *keyring, enum key_kind kind, uint32_t number)
{
    for (size_t i = 0; i < keyring->count; i++)
        keyring->slots[i].current &= keyring->slots[i].kind != kind;
    struct keyring_slot *slot = &keyring->slots[keyring->count++];
    slot->kind = kind;
    slot->number = number;
    slot->current = true;
    return slot->key;
}

static enum error fill_new(struct keyring *keyring, const struct keyring_new *new)
{
    if (new->log_key)
        TRY(key_generate(add_slot(keyring, KEY_KIND_LOG, new->log_key)));
    if (new->pool_key)
        memcpy(add_slot(keyring, KEY_KIND_POOL, new->pool_key), new->k_pool, KEY_SIZE);
    if (new->data_key)
        TRY(key_generate(add_slot(keyring, KEY_KIND_DEK, new->data_key)));
    return ERROR_NONE;
}

enum error keyring_with_new(const struct keyring *keyring, const struct keyring_new *new, struct keyring **with)
{
    size_t size = sizeof *keyring + keyring->count * sizeof keyring->slots[0];
    size_t more = (new->data_key != 0) + (new->log_key != 0) + (new->pool_key != 0);
    ASSERT(!new->data_key || (keyring->encrypted && keyring_find(keyring, KEY_KIND_DEK, new->data_key) == NULL));
    ASSERT(!new->log_key || keyring_find(keyring, KEY_KIND_LOG, new->log_key) == NULL);
    ASSERT(!new->pool_key || keyring_find(keyring, KEY_KIND_POOL, new->pool_key) == NULL);
    if (keyring->count + more > KEY_SLOTS_MAX)
        return error_explain(ERROR_TOO_LARGE, "of the %d key slots of a device %zu are in use already", KEY_SLOTS_MAX, keyring->count);
    struct keyring *made = arena_allocate(size + more * sizeof made->slots[0]);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    memcpy(made, keyring, size);
    enum error error = fill_new(made, new);
    if (error != ERROR_NONE) {
        keyring_destroy(made);
        return error;
    }
    *with = made;
    return ERROR_NONE;
}

enum error keyring_create(bool encrypted, const uint8_t k_pool[KEY_SIZE], struct keyring **keyring)
{
    const struct keyring empty = {.encrypted = encrypted};
    return keyring_with_new(&empty, &(struct keyring_new){encrypted, 1, 1, k_pool}, keyring);
}

void keyring_destroy(struct keyring *keyring)
{
    arena_free(keyring);
}

static bool is_old(const struct keyring_slot *slot)
{
    return slot->kind == KEY_KIND_DEK && !slot->current;
}

static bool is_kept(const struct keyring_slot *slot, const struct keyring_needs *needs)
{
    if (slot->kind == KEY_KIND_LOG)
        return slot->current || needs->log_keys[slot->number];
    return needs->data_keys || !is_old(slot);
}

enum error keyring_without_old(const struct keyring *keyring, const struct keyring_needs *needs, struct keyring **without)
{
    struct keyring *new = arena_allocate(sizeof *keyring + keyring->count * sizeof keyring->slots[0]);
    if (new == NULL)
        return ERROR_NO_MEMORY;
    new->encrypted = keyring->encrypted;
    for (size_t i = 0; i < keyring->count; i++)
        if (is_kept(&keyring->slots[i], needs))
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

size_t keyring_count(const struct keyring *keyring, enum key_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < keyring->count; i++)
        count += keyring->slots[i].kind == kind;
    return count;
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
