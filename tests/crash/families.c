/*
 * One thread changes families, so what an object holds is known: the last content that was answered, or any of those of
 * writes that failed since. A snapshot holds that of one moment, and so does a clone. Each of these calls is durable when
 * it returns, and with it everything that was answered before, since the journal has an order.
 *
 * Kill-safe: what a call makes of versions is prepared beside them, then counted, and copied over them once it is known
 * to have come about, which may be done twice. A restart finds out whether it did: by what exists, by sizes, else by
 * contents.
 */
#include "tests/crash/families.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/group/group.h"
#include "engine/pool/pool.h"
#include "tests/crash/content.h"

#define NAME_SIZE     64
#define RUN_BLOCKS    6 /* written together: done as a whole or not at all */
#define OBJECT        0 /* the version that can be written; behind it are snapshots */
#define MERGE_PERCENT 10

static const unsigned char zeros[BLOCK];

static struct version_state *version_of(struct session *session, unsigned family, unsigned version)
{
    return &session->families.versions[family][version];
}

static void version_name(unsigned family, unsigned version, char out[NAME_SIZE])
{
    if (version == OBJECT)
        snprintf(out, NAME_SIZE, "family-%u", family);
    else
        snprintf(out, NAME_SIZE, "family-%u@s%u", family, version);
}

bool families_know(const char *name)
{
    unsigned family;
    char more;
    return sscanf(name, "family-%u%c", &family, &more) == 1 && family < FAMILIES;
}

/* What one has of another it has at the same place. */
static const struct cell *written_to(const struct session *session, uint64_t block)
{
    return &session->families.versions[0][OBJECT].cells[block];
}

bool families_wrote(const struct session *session, uint64_t block, uint64_t hash)
{
    return hash == content_hash(zeros, BLOCK) ||
           (block < FAMILY_BLOCKS && cell_wrote(written_to(session, block), &session->clock, hash));
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

static struct version_state *change_add(struct session *session, unsigned *count, unsigned family, unsigned version)
{
    ASSERT(*count < FAMILY_CHANGES);
    struct family_change *change = &session->families.changes[(*count)++];
    change->family = family;
    change->version = version;
    return &change->next;
}

/* What a reader may see of the blocks that both have; zeros behind them. */
static void state_copy(struct session *session, struct version_state *to, const struct version_state *from,
                       uint64_t blocks)
{
    struct version_state made = {.exists = true, .blocks = blocks};
    for (uint64_t i = 0; i < FAMILY_BLOCKS; i++)
        if (i < MIN(blocks, from->blocks))
            cell_copy(&made.cells[i], &from->cells[i], &session->clock);
        else
            cell_settle(&made.cells[i], &session->clock, content_hash(zeros, BLOCK));
    *to = made;
}

/* It came about: with it, all that was answered before is durable. */
static void changes_apply(struct session *session, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct family_change *change = &session->families.changes[i];
        *version_of(session, change->family, change->version) = change->next;
    }
    for (unsigned f = 0; f < FAMILIES; f++)
        for (unsigned b = 0; b < FAMILY_BLOCKS && version_of(session, f, OBJECT)->exists; b++)
            cell_flush(&version_of(session, f, OBJECT)->cells[b]);
    atomic_store(&session->families.changes_count, 0);
}

static void changes_begin(struct session *session, unsigned count)
{
    atomic_store(&session->families.changes_count, count);
    atomic_fetch_add(&session->calls, 1);
}

/* It did all, or nothing. BUSY: what a shrink cut off is still being freed. Where the group went out of service, nobody
 * knows until it is opened again. */
static void changes_end(struct session *session, unsigned count, enum error error, const char *what)
{
    bool refused = error == ERROR_NO_SPACE || error == ERROR_BUSY;
    if (!refused && !succeeds(session, error, what) && atomic_load(&session->over))
        return;
    atomic_fetch_add(&session->full, error == ERROR_NO_SPACE);
    if (error != ERROR_NONE) {
        atomic_store(&session->families.changes_count, 0);
        return;
    }
    changes_apply(session, count);
    atomic_fetch_add(&session->objects, 1);
    atomic_fetch_add(&session->promises, 1);
}

static void object_begin(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[NAME_SIZE];
    struct uuid uuid;
    unsigned count = 0;
    uint64_t blocks = 1 + dice_below(dice, FAMILY_BLOCKS);
    version_name(family, OBJECT, name);
    state_copy(session, change_add(session, &count, family, OBJECT), &(struct version_state){0}, blocks);
    changes_begin(session, count);
    changes_end(session, count, object_create(pool, name, blocks * BLOCK, &uuid), "create of a family's object");
}

/* With its snapshots. */
static void object_remove(struct session *session, struct pool *pool, unsigned family)
{
    char name[NAME_SIZE];
    unsigned count = 0;
    version_name(family, OBJECT, name);
    for (unsigned v = 0; v < FAMILY_VERSIONS; v++)
        if (version_of(session, family, v)->exists)
            *change_add(session, &count, family, v) = (struct version_state){0};
    changes_begin(session, count);
    changes_end(session, count, object_delete(pool, name, true), "delete of a family");
}

static void object_size(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[NAME_SIZE];
    unsigned count = 0;
    const struct version_state *now = version_of(session, family, OBJECT);
    uint64_t blocks = 1 + dice_below(dice, FAMILY_BLOCKS);
    struct object_info info;
    version_name(family, OBJECT, name);
    if (blocks == now->blocks)
        return;
    state_copy(session, change_add(session, &count, family, OBJECT), now, blocks);
    changes_begin(session, count);
    enum error error = object_resize(pool, name, blocks * BLOCK, blocks < now->blocks);
    /* A shrink that found no space to free what it cut off has shrunk all the same. */
    if (error != ERROR_NONE && !object_find(pool, name, &info) && info.size == blocks * BLOCK && !group_is_fenced(pool->group))
        error = ERROR_NONE;
    changes_end(session, count, error, "resize of a family's object");
}

static bool is_free(struct session *session, const unsigned *families, unsigned count, unsigned version)
{
    for (unsigned i = 0; i < count; i++)
        if (version_of(session, families[i], version)->exists)
            return false;
    return true;
}

/* Of one object or of several at one moment. */
static void snapshot_make(struct session *session, struct pool *pool, unsigned first, struct dice *dice)
{
    char names[FAMILIES][NAME_SIZE], snapshot[8];
    const char *pointers[FAMILIES];
    unsigned families[FAMILIES] = {first}, members = 1, count = 0, version = 1 + (unsigned)dice_below(dice, FAMILY_VERSIONS - 1);
    for (unsigned f = 0; f < FAMILIES; f++)
        if (f != first && version_of(session, f, OBJECT)->exists && dice_percent(dice, 30))
            families[members++] = f;
    if (!is_free(session, families, members, version))
        return;
    for (unsigned i = 0; i < members; i++) {
        const struct version_state *object = version_of(session, families[i], OBJECT);
        version_name(families[i], OBJECT, names[i]);
        pointers[i] = names[i];
        state_copy(session, change_add(session, &count, families[i], version), object, object->blocks);
    }
    snprintf(snapshot, sizeof(snapshot), "s%u", version);
    changes_begin(session, count);
    changes_end(session, count, object_snapshot(pool, pointers, members, snapshot, false, 0), "snapshot");
}

/* One of those that exist; 0: there is none. */
static unsigned draw_snapshot(struct session *session, unsigned family, struct dice *dice)
{
    unsigned found[FAMILY_VERSIONS], count = 0;
    for (unsigned v = 1; v < FAMILY_VERSIONS; v++)
        if (version_of(session, family, v)->exists)
            found[count++] = v;
    return count == 0 ? 0 : found[dice_below(dice, count)];
}

static void snapshot_remove(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[NAME_SIZE];
    unsigned count = 0, version = draw_snapshot(session, family, dice);
    if (version == 0)
        return;
    version_name(family, version, name);
    *change_add(session, &count, family, version) = (struct version_state){0};
    changes_begin(session, count);
    changes_end(session, count, snapshot_delete(pool, name), "delete of a snapshot");
}

static void object_go_back(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[NAME_SIZE];
    unsigned count = 0, version = draw_snapshot(session, family, dice);
    if (version == 0)
        return;
    const struct version_state *snapshot = version_of(session, family, version);
    version_name(family, version, name);
    state_copy(session, change_add(session, &count, family, OBJECT), snapshot, snapshot->blocks);
    changes_begin(session, count);
    changes_end(session, count, object_rollback(pool, name), "rollback");
}

/* Of an object or of a snapshot. */
static void clone_make(struct session *session, struct pool *pool, unsigned from, unsigned to, struct dice *dice)
{
    char name[NAME_SIZE], new_name[NAME_SIZE];
    struct uuid uuid;
    unsigned count = 0, version = dice_percent(dice, 30) ? OBJECT : draw_snapshot(session, from, dice);
    const struct version_state *source = version_of(session, from, version);
    version_name(from, version, name);
    version_name(to, OBJECT, new_name);
    state_copy(session, change_add(session, &count, to, OBJECT), source, source->blocks);
    changes_begin(session, count);
    changes_end(session, count, object_clone(pool, name, new_name, &uuid), "clone");
}

/* ---- writing and reading ----------------------------------------------------------------------------------------- */

static void answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

static void blocks_change(struct session *session, struct volume *volume, struct version_state *object,
                          struct dice *dice)
{
    unsigned char contents[RUN_BLOCKS * BLOCK] = {0};
    struct version *versions[RUN_BLOCKS];
    uint64_t first = dice_below(dice, object->blocks);
    uint64_t count = dice_small(dice, MIN(object->blocks - first, (uint64_t)RUN_BLOCKS));
    bool trims = dice_percent(dice, 20);
    struct request request = {.type = trims ? REQUEST_TRIM : REQUEST_WRITE,
                              .offset = first * BLOCK,
                              .length = count * BLOCK,
                              .data = trims ? NULL : contents};
    for (uint64_t i = 0; i < count; i++)
        if (!cell_has_room(&object->cells[first + i], &session->clock))
            return;
    if (!trims)
        content_fill(dice, contents, count * BLOCK);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = content_hash(contents + i * BLOCK, BLOCK);
        cell_note(written_to(session, first + i), &session->clock, hash);
        versions[i] = cell_begin(&object->cells[first + i], &session->clock, hash);
    }
    volume_execute(volume, &request, 1, answer, NULL);
    atomic_fetch_add(&session->requests, 1);
    bool told = request.error == ERROR_NO_SPACE || succeeds(session, request.error, "write to a family's object");
    atomic_fetch_add(&session->full, request.error == ERROR_NO_SPACE);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t now = clock_tick(&session->clock);
        if (!told)
            version_fail(versions[i], now);
        else if (request.error == ERROR_NONE)
            version_answer(versions[i], now, false);
        else
            version_drop(versions[i]);
    }
}

static void judge_block(struct session *session, struct version_state *state, unsigned family, unsigned version,
                        uint64_t block, uint64_t hash, uint64_t began)
{
    char name[NAME_SIZE];
    struct cell *cell = &state->cells[block];
    bool restarted = began == 0;
    if (restarted ? cell_survives(cell, &session->clock, hash) : cell_reads(cell, began, hash)) {
        if (restarted)
            cell_settle(cell, &session->clock, hash);
        return;
    }
    version_name(family, version, name);
    cell_print(cell, &session->clock);
    fail("block %llu of %s holds %016llx%s", (unsigned long long)block, name, (unsigned long long)hash,
         hash == content_hash(zeros, BLOCK) ? ", zeros" : "");
}

/* Of one that exists, hashes of all blocks; false where it cannot be read. */
static bool version_hashes(struct session *session, struct pool *pool, unsigned family, unsigned version, uint64_t blocks,
                           bool restarted, uint64_t hashes[FAMILY_BLOCKS])
{
    char name[NAME_SIZE];
    unsigned char contents[FAMILY_BLOCKS * BLOCK];
    struct volume *volume;
    enum error error;
    version_name(family, version, name);
    do
        error = volume_open(pool, name, version != OBJECT, &volume);
    while (session_again(session, error, "open of a version") && restarted);
    if (error)
        return false;
    if (volume_size(volume) != blocks * BLOCK)
        fail("%s has %llu bytes, not %llu", name, (unsigned long long)volume_size(volume),
             (unsigned long long)blocks * BLOCK);
    bool read = (restarted ? read_stubbornly : read_all)(session, volume, 0, contents, blocks * BLOCK);
    volume_close(volume);
    for (uint64_t i = 0; i < blocks && read; i++)
        hashes[i] = content_hash(contents + i * BLOCK, BLOCK);
    return read;
}

static void version_read(struct session *session, struct pool *pool, unsigned family, unsigned version)
{
    struct version_state *state = version_of(session, family, version);
    uint64_t hashes[FAMILY_BLOCKS], began = clock_tick(&session->clock);
    if (!version_hashes(session, pool, family, version, state->blocks, false, hashes))
        return;
    for (uint64_t i = 0; i < state->blocks; i++)
        judge_block(session, state, family, version, i, hashes[i], began);
}

/* Some of it unflushed when a snapshot of it is made. */
static void object_use(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[NAME_SIZE];
    struct volume *volume;
    struct version_state *object = version_of(session, family, OBJECT);
    version_name(family, OBJECT, name);
    if (!succeeds(session, volume_open(pool, name, false, &volume), "open of a family's object"))
        return;
    for (uint64_t writes = 1 + dice_below(dice, 6); writes > 0 && !atomic_load(&session->over); writes--)
        blocks_change(session, volume, object, dice);
    if (dice_percent(dice, 50) && !atomic_load(&session->over))
        snapshot_make(session, pool, family, dice);
    for (uint64_t writes = dice_below(dice, 4); writes > 0 && !atomic_load(&session->over); writes--)
        blocks_change(session, volume, object, dice);
    volume_close(volume);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static unsigned draw_absent(struct session *session, struct dice *dice)
{
    unsigned first = (unsigned)dice_below(dice, FAMILIES);
    for (unsigned i = 0; i < FAMILIES; i++)
        if (!version_of(session, (first + i) % FAMILIES, OBJECT)->exists)
            return (first + i) % FAMILIES;
    return FAMILIES;
}

static void live(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    uint64_t choice = dice_below(dice, 100);
    unsigned absent = draw_absent(session, dice);
    if (!version_of(session, family, OBJECT)->exists)
        object_begin(session, pool, family, dice);
    else if (choice < 40)
        object_use(session, pool, family, dice);
    else if (choice < 52)
        snapshot_make(session, pool, family, dice);
    else if (choice < 62)
        object_go_back(session, pool, family, dice);
    else if (choice < 74)
        snapshot_remove(session, pool, family, dice);
    else if (choice < 84 && absent < FAMILIES)
        clone_make(session, pool, family, absent, dice);
    else if (choice < 88)
        object_size(session, pool, family, dice);
    else if (choice < 93)
        object_remove(session, pool, family);
    else
        version_read(session, pool, family, draw_snapshot(session, family, dice));
}

void families_run(void *argument)
{
    const struct families_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 104729 + session->round};
    uint64_t pause = MAX(session->settings.lives_pause / 8, 1u) * CLOCK_MILLISECOND;
    while (!atomic_load(&session->stop) && !atomic_load(&session->over)) {
        live(session, run->pool, (unsigned)dice_below(&dice, FAMILIES), &dice);
        if (dice_percent(&dice, MERGE_PERCENT) && !atomic_load(&session->over))
            (void)!succeeds(session, group_publish(run->pool->group), "merge");
        clock_sleep(dice_below(&dice, pause));
    }
}

/* ---- after a restart ----------------------------------------------------------------------------------------------- */

struct found {
    bool exists[FAMILIES][FAMILY_VERSIONS];
    uint64_t blocks[FAMILIES][FAMILY_VERSIONS];
};

static void find_one(struct found *found, const char *name, unsigned version, uint64_t size)
{
    unsigned family;
    if (sscanf(name, "family-%u", &family) != 1 || family >= FAMILIES || version >= FAMILY_VERSIONS)
        fail("'%s' was never made", name);
    if (found->exists[family][version])
        fail("'%s' is there twice", name);
    found->exists[family][version] = true;
    found->blocks[family][version] = size / BLOCK;
}

static void find_all(struct pool *pool, struct found *found)
{
    struct object_info *objects;
    struct snapshot_info *snapshots;
    size_t count;
    memset(found, 0, sizeof(*found));
    succeed(object_list(pool, &objects, &count), "list of objects");
    for (size_t i = 0; i < count; i++)
        if (families_know(objects[i].name) && !objects[i].deleting && objects[i].deleted == 0)
            find_one(found, objects[i].name, OBJECT, objects[i].size);
    free(objects);
    succeed(snapshot_list(pool, NULL, &snapshots, &count), "list of snapshots");
    for (size_t i = 0; i < count; i++) {
        unsigned version = 0;
        if (snapshots[i].deleting || !families_know(snapshots[i].object))
            continue;
        if (sscanf(snapshots[i].snapshot, "s%u", &version) != 1 || version == OBJECT)
            fail("'%s' was never made", snapshots[i].name);
        find_one(found, snapshots[i].object, version, snapshots[i].size);
    }
    free(snapshots);
}

static bool state_is(const struct found *found, unsigned family, unsigned version, const struct version_state *state)
{
    return found->exists[family][version] == state->exists &&
           (!state->exists || found->blocks[family][version] == state->blocks);
}

static bool holds(struct session *session, const struct version_state *state, const uint64_t hashes[FAMILY_BLOCKS])
{
    for (uint64_t i = 0; i < state->blocks; i++)
        if (!cell_survives(&state->cells[i], &session->clock, hashes[i]))
            return false;
    return true;
}

/* Where neither what exists nor a size tells: a rollback, of which all or nothing can be read. */
static bool decide_by_contents(struct session *session, struct pool *pool, const struct family_change *change,
                               bool *happened)
{
    uint64_t hashes[FAMILY_BLOCKS];
    const struct version_state *before = version_of(session, change->family, change->version);
    *happened = false;
    if (!before->exists)
        return true;
    if (!version_hashes(session, pool, change->family, change->version, before->blocks, true, hashes))
        return false;
    *happened = !holds(session, before, hashes) && holds(session, &change->next, hashes);
    return true;
}

/* What the call that was under way came to; false where the group went out of service. */
static bool settle_changes(struct session *session, struct pool *pool, const struct found *found)
{
    unsigned count = atomic_load(&session->families.changes_count);
    bool before = true, after = true, happened;
    for (unsigned i = 0; i < count; i++) {
        const struct family_change *change = &session->families.changes[i];
        before &= state_is(found, change->family, change->version, version_of(session, change->family, change->version));
        after &= state_is(found, change->family, change->version, &change->next);
    }
    if (!before && !after)
        fail("a call on %u versions happened in part", count);
    happened = after && !before;
    if (before && after && count != 0 &&
        !decide_by_contents(session, pool, &session->families.changes[0], &happened))
        return false;
    if (happened)
        changes_apply(session, count);
    atomic_store(&session->families.changes_count, 0);
    return true;
}

static bool version_compare(struct session *session, struct pool *pool, const struct found *found, unsigned family,
                            unsigned version)
{
    char name[NAME_SIZE];
    uint64_t hashes[FAMILY_BLOCKS];
    struct version_state *state = version_of(session, family, version);
    version_name(family, version, name);
    if (!state_is(found, family, version, state))
        fail("%s %s, with %llu blocks, and must be %s, with %llu", name, found->exists[family][version] ? "exists" : "is absent",
             (unsigned long long)found->blocks[family][version], state->exists ? "there" : "absent",
             (unsigned long long)state->blocks);
    if (!state->exists)
        return true;
    if (!version_hashes(session, pool, family, version, state->blocks, true, hashes))
        return false;
    for (uint64_t i = 0; i < state->blocks; i++)
        judge_block(session, state, family, version, i, hashes[i], 0);
    return true;
}

bool families_compare(struct session *session, struct pool *pool)
{
    struct found found;
    find_all(pool, &found);
    bool all = settle_changes(session, pool, &found);
    for (unsigned f = 0; f < FAMILIES && all; f++)
        for (unsigned v = 0; v < FAMILY_VERSIONS && all; v++)
            all = version_compare(session, pool, &found, f, v);
    return all;
}
