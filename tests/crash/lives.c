/*
 * Lives of objects, and what a crash may make of them.
 *
 * Each call of the engine on an object is durable when it returns, so a life is in the state that the last call left
 * or, while one is under way, in one of two. Blocks behind the end of an object, and all blocks of one that is not
 * there, are settled as zeros in the model: that is what they are when the object has grown, or is born, again.
 *
 * The blocks of every other life lie far apart, each in a leaf of its own below several nodes: a shrink or a deletion
 * drops whole subtrees, and what is released takes many merges. Merges are asked for here too: a life of seconds would
 * see few.
 *
 * Where the clock is set by weeks (WORK_EXPIRES), one in the trash may be gone once its time came, and never before. That it
 * went is believed of a restart alone: the pool may say so before it is durable.
 *
 * One thread changes lives; it needs no lock.
 */
#include "tests/crash/lives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/pool/pool.h"
#include "tests/crash/content.h"
#include "tests/crash/families.h"
#include "tests/crash/filler.h"
#include "tests/crash/grown.h"
#include "tests/crash/guards.h"
#include "tests/crash/imports.h"
#include "tests/crash/random.h"
#include "tests/crash/records.h"

#define NAME_SIZE     32
#define LIFE_RUN      8    /* blocks written together */
#define STRIDE_FAR    5003 /* blocks: 48 of them reach over eight nodes of 128 leaves */
#define MERGE_PERCENT 8
#define CLOCK_PERCENT 25
#define TRASH_TIME    (UINT64_C(7) * 86400) /* seconds, where the conf says nothing */
#define RECORDS_PERCENT 10

static const unsigned char zeros[BLOCK];

static struct life_state life_now(const struct life *life)
{
    return life->states[atomic_load(&life->current) & ~LIFE_PENDING];
}

static void life_name(const struct session *session, const struct life *life, unsigned name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "life-%u-%u", (unsigned)(life - session->lives), name);
}

/* From one block of the model to the next, in blocks of the object. */
static uint64_t life_stride(const struct session *session, const struct life *life)
{
    return (life - session->lives) % 2 ? STRIDE_FAR : 1;
}

uint64_t life_bytes(const struct session *session, const struct life *life, uint64_t blocks)
{
    return blocks * life_stride(session, life) * BLOCK;
}

static void settle_from(struct session *session, struct life *life, uint64_t first)
{
    for (uint64_t i = first; i < LIFE_BLOCKS; i++)
        cell_settle(&life->cells[i], &session->clock, content_hash(zeros, BLOCK));
}

/* ---- changing ------------------------------------------------------------------------------------------------------
 */

void lives_note_time(struct session *session)
{
    uint64_t now = clock_seconds();
    for (unsigned i = 0; i < LIVES; i++) {
        struct life *life = &session->lives[i];
        life->latest = MAX(life->latest, now);
        if (atomic_load(&life->current) & LIFE_PENDING)
            life->purge_at = MIN(life->purge_at, now + TRASH_TIME);
    }
}

/* Whether the janitor may have freed it. */
static bool may_have_expired(const struct session *session, const struct life *life)
{
    return session_works(session, WORK_EXPIRES) && MAX(life->latest, clock_seconds()) >= life->purge_at;
}

static void life_begin(struct session *session, struct life *life, struct life_state next)
{
    unsigned current = atomic_load(&life->current);
    if (next.kind == LIFE_TRASHED) {
        life->latest = clock_seconds();
        life->purge_at = life->latest + TRASH_TIME;
    }
    life->states[1 - current] = next;
    atomic_store(&life->current, current | LIFE_PENDING);
    atomic_fetch_add(&session->calls, 1);
}

/* A call came back: it did all or nothing. BUSY: what an earlier shrink cut off is still being freed. Where the group
 * went out of service, nobody knows until it is opened again. */
static bool life_end(struct session *session, struct life *life, enum error error, const char *what)
{
    unsigned current = atomic_load(&life->current) & ~LIFE_PENDING;
    char call[64];
    snprintf(call, sizeof(call), "%s of life %u", what, (unsigned)(life - session->lives));
    bool expired = error == ERROR_NOT_FOUND && life->states[current].kind == LIFE_TRASHED && may_have_expired(session, life);
    if (!session_refuses(session, error, call) && !expired && !succeeds(session, error, call) &&
        atomic_load(&session->over))
        return false;
    if (error != ERROR_NONE) {
        atomic_fetch_add(&session->full, error == ERROR_NO_SPACE);
        atomic_store(&life->current, current);
        return false;
    }
    struct life_state next = life->states[1 - current];
    atomic_store(&life->current, 1 - current);
    if (next.kind != LIFE_TRASHED)
        settle_from(session, life, next.kind == LIFE_ALIVE ? next.blocks : 0);
    atomic_fetch_add(&session->objects, 1);
    atomic_fetch_add(&session->promises, 1);
    return true;
}

static void life_create(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    struct life_state next = {LIFE_ALIVE, (unsigned)dice_below(dice, LIFE_NAMES), 1 + dice_below(dice, LIFE_BLOCKS)};
    char name[NAME_SIZE];
    struct uuid uuid;
    life_name(session, life, next.name, name);
    life_begin(session, life, next);
    life_end(session, life, object_create(pool, name, life_bytes(session, life, next.blocks), &uuid), "create");
}

static void life_delete(struct session *session, struct pool *pool, struct life *life, bool now)
{
    struct life_state next = life_now(life);
    char name[NAME_SIZE];
    life_name(session, life, next.name, name);
    next.kind = now ? LIFE_ABSENT : LIFE_TRASHED;
    life_begin(session, life, next);
    life_end(session, life, object_delete(pool, name, now), now ? "delete" : "trash");
}

static void life_restore(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    struct life_state next = life_now(life);
    char name[NAME_SIZE], new_name[NAME_SIZE];
    life_name(session, life, next.name, name);
    next.kind = LIFE_ALIVE;
    next.name = (unsigned)dice_below(dice, LIFE_NAMES);
    life_name(session, life, next.name, new_name);
    life_begin(session, life, next);
    life_end(session, life, object_restore(pool, name, new_name), "restore");
}

static void life_rename(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    struct life_state next = life_now(life);
    char name[NAME_SIZE], new_name[NAME_SIZE];
    life_name(session, life, next.name, name);
    next.name = (next.name + 1 + (unsigned)dice_below(dice, LIFE_NAMES - 1)) % LIFE_NAMES;
    life_name(session, life, next.name, new_name);
    life_begin(session, life, next);
    life_end(session, life, object_rename(pool, name, new_name), "rename");
}

/* A shrink that found no space to free what it cut off has shrunk all the same. */
static bool has_size(struct pool *pool, const char *name, uint64_t bytes)
{
    struct object_info info;
    succeed(object_find(pool, name, &info), "search for a life");
    return info.size == bytes;
}

static void life_resize(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    struct life_state next = life_now(life);
    char name[NAME_SIZE];
    life_name(session, life, next.name, name);
    uint64_t before = next.blocks;
    next.blocks = 1 + dice_below(dice, LIFE_BLOCKS);
    uint64_t bytes = life_bytes(session, life, next.blocks);
    life_begin(session, life, next);
    enum error error = object_resize(pool, name, bytes, next.blocks < before);
    life_end(session, life, has_size(pool, name, bytes) ? ERROR_NONE : error, "resize");
}

/* Before anybody has gone on with what a crash may have left of a shrink. */
static void life_grow(struct session *session, struct pool *pool, struct life *life)
{
    struct life_state next = life_now(life);
    char name[NAME_SIZE];
    if (next.blocks == LIFE_BLOCKS)
        return;
    life_name(session, life, next.name, name);
    next.blocks = LIFE_BLOCKS;
    life_begin(session, life, next);
    life_end(session, life, object_resize(pool, name, life_bytes(session, life, next.blocks), false), "growth");
}

/* ---- writing and reading -------------------------------------------------------------------------------------------
 */

static void ignore_answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

/* Together, one request a block where they lie apart: each has an error of its own. */
static void blocks_write(struct volume *volume, uint64_t first, uint64_t stride, unsigned char *contents, uint64_t count,
                         enum error errors[LIFE_RUN])
{
    struct request requests[LIFE_RUN];
    uint64_t parts = stride == 1 ? 1 : count;
    for (uint64_t i = 0; i < parts; i++)
        requests[i] = (struct request){.type = REQUEST_WRITE,
                                       .offset = (first + i) * stride * BLOCK,
                                       .length = count / parts * BLOCK,
                                       .data = contents + i * BLOCK};
    volume_execute(volume, requests, parts, ignore_answer, NULL);
    for (uint64_t i = 0; i < count; i++)
        errors[i] = requests[stride == 1 ? 0 : i].error;
}

static void version_end(struct session *session, struct version *version, enum error error)
{
    bool told = session_is_full(session, error, "write to a life") || succeeds(session, error, "write to a life");
    uint64_t now = clock_tick(&session->clock);
    if (error == ERROR_NONE)
        version_answer(version, now, false);
    else if (told)
        version_drop(version);
    else
        version_fail(version, now);
}

static void life_write(struct session *session, struct volume *volume, struct life *life, struct dice *dice)
{
    unsigned char contents[LIFE_RUN * BLOCK];
    uint64_t blocks = life_now(life).blocks, first = dice_below(dice, blocks);
    uint64_t count = dice_small(dice, MIN(blocks - first, (uint64_t)LIFE_RUN));
    struct version *versions[LIFE_RUN];
    for (uint64_t i = 0; i < count; i++)
        if (!cell_has_room(&life->cells[first + i], &session->clock))
            return;
    content_fill(dice, contents, count * BLOCK);
    for (uint64_t i = 0; i < count; i++)
        versions[i] = cell_begin(&life->cells[first + i], &session->clock, content_hash(contents + i * BLOCK, BLOCK));
    enum error errors[LIFE_RUN];
    blocks_write(volume, first, life_stride(session, life), contents, count, errors);
    for (uint64_t i = 0; i < count; i++)
        version_end(session, versions[i], errors[i]);
}

/* False where the group went out of service; before that, what is damaged is passed over, but after a restart. */
static bool life_read(struct session *session, struct volume *volume, struct life *life, bool restarted)
{
    unsigned char content[BLOCK];
    uint64_t blocks = life_now(life).blocks;
    uint64_t bytes = life_bytes(session, life, blocks);
    if (volume_size(volume) != bytes)
        fail("life %u has %llu bytes, not %llu", (unsigned)(life - session->lives),
             (unsigned long long)volume_size(volume), (unsigned long long)bytes);
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t began = clock_tick(&session->clock);
        uint64_t offset = life_bytes(session, life, i);
        bool read = (restarted ? read_stubbornly : read_all)(session, volume, offset, content, BLOCK);
        if (!read && atomic_load(&session->over))
            return false;
        if (!read)
            continue;
        uint64_t hash = content_hash(content, BLOCK);
        const struct cell *cell = &life->cells[i];
        if (!(restarted ? cell_survives(cell, &session->clock, hash) : cell_reads(cell, began, hash))) {
            cell_print(cell, &session->clock);
            fail("block %llu of life %u holds %016llx%s", (unsigned long long)i, (unsigned)(life - session->lives),
                 (unsigned long long)hash, hash == content_hash(zeros, BLOCK) ? ", zeros" : "");
        }
        if (restarted)
            cell_settle(&life->cells[i], &session->clock, hash);
    }
    return true;
}

/* A hole reads as zeros. Blocks that lie apart are in leaves of their own, each of which is asked for. */
static void life_extents(struct session *session, struct volume *volume, const struct life *life)
{
    struct extent extents[LIFE_BLOCKS];
    uint64_t bytes = volume_size(volume), stride = life_bytes(session, life, 1);
    for (uint64_t at = 0; at < bytes;) {
        uint64_t began = clock_tick(&session->clock);
        size_t count;
        enum error error = volume_extents(volume, at, bytes - at, extents, COUNT_OF(extents), &count);
        if (!succeeds(session, error, "block status of a life"))
            return;
        for (size_t i = 0; i < count; at += extents[i++].length)
            for (uint64_t b = ROUND_UP(at, stride) / stride; extents[i].hole && b * stride < at + extents[i].length; b++)
                if (!cell_reads(&life->cells[b], began, content_hash(zeros, BLOCK)))
                    fail("block %llu of life %u is told to be a hole", (unsigned long long)b,
                         (unsigned)(life - session->lives));
    }
}

/* A close tells no error: where something went wrong, a flush says whether it was durable. */
static bool close_flushed(struct session *session, struct pool *pool)
{
    return !session_excuses(ERROR_FENCED) || succeeds(session, group_sync(pool->group), "flush");
}

/* The last close of an object flushes it. */
static void life_use(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    char name[NAME_SIZE];
    struct volume *volume;
    uint64_t writes = dice_below(dice, 6);
    life_name(session, life, life_now(life).name, name);
    if (!succeeds(session, volume_open(pool, name, false, &volume), "open of a life"))
        return;
    for (uint64_t i = 0; i < writes; i++)
        life_write(session, volume, life, dice);
    if (dice_percent(dice, 30))
        life_read(session, volume, life, false);
    if (session_works(session, WORK_DIFFERENCES) && !atomic_load(&session->over))
        life_extents(session, volume, life);
    volume_close(volume);
    if (!close_flushed(session, pool))
        return;
    for (unsigned i = 0; i < LIFE_BLOCKS; i++)
        cell_flush(&life->cells[i]);
    atomic_fetch_add(&session->promises, 1);
}

static void live(struct session *session, struct pool *pool, struct life *life, struct dice *dice)
{
    enum life_kind kind = life_now(life).kind;
    uint64_t choice = dice_below(dice, 10);
    if (kind == LIFE_ABSENT)
        life_create(session, pool, life, dice);
    else if (kind == LIFE_TRASHED)
        choice < 5 ? life_restore(session, pool, life, dice) : life_delete(session, pool, life, true);
    else if (choice < 5)
        life_use(session, pool, life, dice);
    else if (choice < 7)
        life_resize(session, pool, life, dice);
    else if (choice < 8)
        life_rename(session, pool, life, dice);
    else
        life_delete(session, pool, life, choice < 9);
}

static void note_status(struct session *session, struct pool *pool)
{
    struct pool_status *status = session_take(sizeof(*status));
    bool told = succeeds(session, pool_status(pool, status), "status");
    if (told)
        atomic_store(&session->ample, !session->settings.fills && status->free_bytes > status->capacity_bytes / 2);
    if (told)
        atomic_store(&session->checkpoints_open, status->checkpoints);
    if (status->memory_used > session->settings.memory)
        fail("%llu bytes of memory are used, %llu were allowed", (unsigned long long)status->memory_used,
             (unsigned long long)session->settings.memory);
    free(status);
}

bool lives_merge(struct session *session, struct pool *pool)
{
    return succeeds(session, group_publish(pool->group), "merge");
}

void lives_run(void *argument)
{
    const struct lives_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 7919 + session->round};
    /* In one round of three hardly anything is made durable here, so that more is pending when the crash comes. */
    unsigned milliseconds = session->settings.lives_pause;
    uint64_t pause = (session->round % 3 == 2 ? MAX(milliseconds, 200u) : milliseconds) * CLOCK_MILLISECOND;
    while (!atomic_load(&session->stop) && !atomic_load(&session->over)) {
        live(session, run->pool, &session->lives[dice_below(&dice, LIVES)], &dice);
        note_status(session, run->pool);
        if (session_works(session, WORK_EXPIRES) && session_clock_set != NULL && dice_percent(&dice, CLOCK_PERCENT))
            guards_set_clock(session, (int64_t)dice_below(&dice, 2 * TRASH_TIME));
        if (session_works(session, WORK_RECORDS) && dice_percent(&dice, RECORDS_PERCENT) && !atomic_load(&session->over))
            records_judge(session, run->pool);
        if (dice_percent(&dice, MERGE_PERCENT))
            lives_merge(session, run->pool);
        clock_sleep(dice_below(&dice, pause));
    }
}

/* ---- after a restart ------------------------------------------------------------------------------------------------
 */

/* What the pool has of a life, which it must not have twice. */
static struct life_state life_found(const struct session *session, const struct life *life,
                                    const struct object_info *infos, size_t count)
{
    struct life_state found = {LIFE_ABSENT};
    for (size_t i = 0; i < count; i++) {
        char name[NAME_SIZE];
        for (unsigned n = 0; n < LIFE_NAMES && !infos[i].deleting; n++) {
            life_name(session, life, n, name);
            if (strcmp(infos[i].name, name) != 0)
                continue;
            if (found.kind != LIFE_ABSENT)
                fail("life %u is there twice", (unsigned)(life - session->lives));
            found = (struct life_state){infos[i].deleted != 0 ? LIFE_TRASHED : LIFE_ALIVE, n,
                                        infos[i].size / life_bytes(session, life, 1)};
        }
    }
    return found;
}

static bool states_agree(struct life_state a, struct life_state b)
{
    return a.kind == b.kind && (a.kind == LIFE_ABSENT || (a.name == b.name && a.blocks == b.blocks));
}

static void print_state(const char *what, struct life_state state)
{
    static const char *const kinds[] = {"absent", "alive", "trashed"};
    fprintf(stderr, "    %s: %s, name %u, %llu blocks\n", what, kinds[state.kind], state.name,
            (unsigned long long)state.blocks);
}

static void judge_state(struct session *session, const struct life *life, struct life_state found)
{
    unsigned current = atomic_load(&life->current);
    bool pending = (current & LIFE_PENDING) != 0;
    current &= ~LIFE_PENDING;
    bool trashed = life->states[current].kind == LIFE_TRASHED || (pending && life->states[1 - current].kind == LIFE_TRASHED);
    if (found.kind == LIFE_ABSENT && trashed && may_have_expired(session, life)) {
        atomic_fetch_add(&session->done[DONE_EXPIRED], 1);
        return;
    }
    if (states_agree(found, life->states[current]) || (pending && states_agree(found, life->states[1 - current])))
        return;
    print_state("found", found);
    print_state("was", life->states[current]);
    if (pending)
        print_state("or", life->states[1 - current]);
    fail("life %u is in a state that it cannot have", (unsigned)(life - session->lives));
}

static bool life_compare(struct session *session, struct pool *pool, struct life *life, const struct object_info *infos,
                         size_t count)
{
    struct life_state found = life_found(session, life, infos, count);
    char name[NAME_SIZE];
    struct volume *volume;
    judge_state(session, life, found);
    unsigned other = 1 - (atomic_load(&life->current) & ~LIFE_PENDING);
    if (found.kind != LIFE_TRASHED)
        settle_from(session, life, found.kind == LIFE_ALIVE ? found.blocks : 0);
    life->states[other] = found;
    atomic_store(&life->current, other);
    if (found.kind == LIFE_ALIVE && session_works(session, WORK_HASTE))
        life_grow(session, pool, life);
    if (atomic_load(&session->over))
        return false;
    if (found.kind != LIFE_ALIVE)
        return true;
    life_name(session, life, found.name, name);
    enum error error;
    do
        error = volume_open(pool, name, false, &volume);
    while (session_again(session, error, "open of a life"));
    if (error)
        return false;
    bool all = life_read(session, volume, life, true);
    volume_close(volume);
    return all;
}

static void judge_strangers(const struct session *session, const struct object_info *infos, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned number, name;
        bool known = sscanf(infos[i].name, "life-%u-%u", &number, &name) == 2 && number < LIVES;
        for (unsigned v = 0; v < VOLUMES; v++)
            known |= strcmp(infos[i].name, volume_names[v]) == 0;
        known |= families_know(infos[i].name) || imports_know(infos[i].name) || strcmp(infos[i].name, FILLER_NAME) == 0 ||
                 (session_works(session, WORK_GROWS) && grown_knows(infos[i].name));
        if (!known)
            fail("the object '%s' was never created", infos[i].name);
    }
}

bool lives_compare(struct session *session, struct pool *pool)
{
    struct object_info *infos;
    size_t count;
    bool all = true;
    if (!session_objects(session, pool, &infos, &count))
        return false;
    judge_strangers(session, infos, count);
    for (unsigned i = 0; i < LIVES && all; i++)
        all = life_compare(session, pool, &session->lives[i], infos, count);
    free(infos);
    return all;
}
