/*
 * The rules of the crash tests: model.h says them in words. No locks of its own.
 */
#include "tests/crash/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stddef.h>

#include "base/error.h"

uint64_t clock_tick(struct model_clock *clock)
{
    return atomic_fetch_add(&clock->now, 1) + 1;
}

static bool version_is_durable(const struct version *version, const struct model_clock *clock)
{
    uint64_t answered = atomic_load(&version->answered);
    if (atomic_load(&version->failed))
        return false;
    return atomic_load(&version->durable) || (answered != 0 && answered < atomic_load(&clock->durable));
}

/* Answered before the other began. */
static bool version_is_older(const struct version *version, const struct version *other)
{
    uint64_t answered = atomic_load(&version->answered);
    return answered != 0 && answered < other->began;
}

static bool version_is_gone(const struct cell *cell, const struct version *version, const struct model_clock *clock)
{
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *other = &cell->versions[i];
        if (atomic_load(&other->used) && version_is_durable(other, clock) && version_is_older(version, other))
            return true;
    }
    return false;
}

static struct version *version_put(struct version *version, uint64_t hash, uint64_t began)
{
    version->hash = hash;
    version->began = began;
    atomic_store(&version->answered, 0);
    atomic_store(&version->durable, false);
    atomic_store(&version->failed, false);
    atomic_store(&version->used, true);
    return version;
}

bool cell_has_room(struct cell *cell, const struct model_clock *clock)
{
    bool room = false;
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        struct version *version = &cell->versions[i];
        if (atomic_load(&version->used) && version_is_gone(cell, version, clock))
            atomic_store(&version->used, false);
        room |= !atomic_load(&version->used);
    }
    return room;
}

/* Where the pair is, or has its place. */
static _Atomic uint64_t *written_place(const struct cell *cell, const struct model_clock *clock, uint64_t hash,
                                       uint64_t *key)
{
    *key = (hash ^ (uint64_t)(uintptr_t)cell) * UINT64_C(0x9fb21c651e98df25);
    *key = (*key ^ *key >> 29) | 1;
    for (uint64_t place = *key >> 1;; place++) {
        _Atomic uint64_t *slot = &clock->written[place % WRITTEN_SLOTS];
        if (atomic_load(slot) == 0 || atomic_load(slot) == *key)
            return slot;
    }
}

/* The simulator's alone: one thread. */
void cell_note(const struct cell *cell, struct model_clock *clock, uint64_t hash)
{
    uint64_t key;
    if (clock->written == NULL)
        return;
    _Atomic uint64_t *slot = written_place(cell, clock, hash, &key);
    if (atomic_load(slot) == key)
        return;
    ASSERT(atomic_fetch_add(&clock->written_count, 1) < WRITTEN_SLOTS / 4 * 3);
    atomic_store(slot, key);
}

bool cell_wrote(const struct cell *cell, const struct model_clock *clock, uint64_t hash)
{
    uint64_t key;
    return atomic_load(written_place(cell, clock, hash, &key)) == key;
}

struct version *cell_begin(struct cell *cell, struct model_clock *clock, uint64_t hash)
{
    cell_note(cell, clock, hash);
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++)
        if (!atomic_load(&cell->versions[i].used))
            return version_put(&cell->versions[i], hash, clock_tick(clock));
    ASSERT(!"a cell has room");
    return NULL;
}

void cell_flush(struct cell *cell)
{
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++)
        if (atomic_load(&cell->versions[i].used) && atomic_load(&cell->versions[i].answered) != 0 &&
            !atomic_load(&cell->versions[i].failed))
            atomic_store(&cell->versions[i].durable, true);
}

void cell_settle(struct cell *cell, struct model_clock *clock, uint64_t hash)
{
    struct version *kept = NULL;
    for (size_t i = 0; i < CELL_VERSIONS_MAX && kept == NULL; i++)
        if (atomic_load(&cell->versions[i].used) && cell->versions[i].hash == hash)
            kept = &cell->versions[i];
    if (kept != NULL) {
        atomic_store(&kept->durable, true);
        atomic_store(&kept->failed, false);
        if (atomic_load(&kept->answered) == 0)
            atomic_store(&kept->answered, clock_tick(clock));
    }
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++)
        if (&cell->versions[i] != kept)
            atomic_store(&cell->versions[i].used, false);
    if (kept == NULL) {
        cell_note(cell, clock, hash);
        kept = version_put(&cell->versions[0], hash, clock_tick(clock));
        version_answer(kept, clock_tick(clock), true);
    }
}

void version_answer(struct version *version, uint64_t answered, bool durable)
{
    atomic_store(&version->answered, answered);
    if (durable)
        atomic_store(&version->durable, true);
}

void version_fail(struct version *version, uint64_t answered)
{
    atomic_store(&version->failed, true);
    atomic_store(&version->answered, answered);
}

void version_drop(struct version *version)
{
    atomic_store(&version->used, false);
}

bool cell_survives(const struct cell *cell, const struct model_clock *clock, uint64_t hash)
{
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *version = &cell->versions[i];
        if (atomic_load(&version->used) && version->hash == hash && !version_is_gone(cell, version, clock))
            return true;
    }
    return false;
}

/* Older than something that was answered when the read began. */
static bool version_is_hidden(const struct cell *cell, const struct version *version, uint64_t began)
{
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *other = &cell->versions[i];
        uint64_t answered = atomic_load(&other->answered);
        if (atomic_load(&other->used) && !atomic_load(&other->failed) && answered != 0 && answered < began &&
            version_is_older(version, other))
            return true;
    }
    return false;
}

bool cell_reads(const struct cell *cell, uint64_t began, uint64_t hash)
{
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *version = &cell->versions[i];
        if (atomic_load(&version->used) && version->hash == hash && !version_is_hidden(cell, version, began))
            return true;
    }
    return false;
}

void cell_copy(struct cell *to, const struct cell *from, struct model_clock *clock)
{
    struct cell made = {0};
    uint64_t now = clock_tick(clock);
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *version = &from->versions[i];
        if (!atomic_load(&version->used) || version_is_hidden(from, version, now))
            continue;
        version_answer(version_put(&made.versions[i], version->hash, now), now, true);
    }
    *to = made;
}

void cell_print(const struct cell *cell, const struct model_clock *clock)
{
    fprintf(stderr, "    flushed: what was answered before %" PRIu64 "\n", atomic_load(&clock->durable));
    for (size_t i = 0; i < CELL_VERSIONS_MAX; i++) {
        const struct version *version = &cell->versions[i];
        if (!atomic_load(&version->used))
            continue;
        fprintf(stderr, "    %016" PRIx64 " begun at %" PRIu64 ", answered at %" PRIu64 "%s%s%s\n", version->hash,
                version->began, atomic_load(&version->answered), atomic_load(&version->failed) ? ", failed" : "",
                version_is_durable(version, clock) ? ", durable" : "",
                version_is_gone(cell, version, clock) ? ", must be gone" : "");
    }
}

uint64_t flush_begin(struct model_clock *clock)
{
    return clock_tick(clock);
}

void flush_answer(struct model_clock *clock, uint64_t began)
{
    uint64_t durable = atomic_load(&clock->durable);
    while (durable < began && !atomic_compare_exchange_weak(&clock->durable, &durable, began))
        ;
}
