/*
 * One thread changes families, so what an object holds is known: the last content that was answered, or any of those of
 * writes that failed since. A snapshot holds that of one moment, and so does a clone. Each of these calls is durable when
 * it returns, and with it everything that was answered before, since the journal has an order.
 *
 * Kill-safe: what a call makes of versions is prepared beside them, then counted, and copied over them once it is known
 * to have come about, which may be done twice. A restart finds out whether it did (families_compare.c).
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
#include "tests/crash/versions.h"

#define RUN_BLOCKS    6 /* written together: done as a whole or not at all */
#define MERGE_PERCENT 10
#define MORE_PERCENT  50 /* of what is done, where there is more work than that of all sessions */
#define SERIES_LEAST  8

static const unsigned char zeros[BLOCK];

struct version_state *version_of(struct session *session, unsigned family, unsigned version)
{
    return &session->families.versions[family][version];
}

unsigned family_versions(const struct session *session)
{
    return session_works(session, WORK_DEEP) ? FAMILY_VERSIONS : FAMILY_VERSIONS_FEW;
}

void version_name(unsigned family, unsigned version, char out[VERSION_NAME_SIZE])
{
    if (version == OBJECT)
        snprintf(out, VERSION_NAME_SIZE, "family-%u", family);
    else
        snprintf(out, VERSION_NAME_SIZE, "family-%u@s%u", family, version);
}

static bool is_over(struct session *session)
{
    return atomic_load(&session->over);
}

bool families_know(const char *name)
{
    unsigned family;
    char more;
    return sscanf(name, "family-%u%c", &family, &more) == 1 && family < FAMILIES;
}

/* What one has of another it has at the same place. */
static const struct cell *written_to(const struct session *session, unsigned family, uint64_t block)
{
    return &session->families.versions[family][OBJECT].cells[block];
}

bool families_wrote(const struct session *session, unsigned family, uint64_t block, uint64_t hash)
{
    if (hash == content_hash(zeros, BLOCK))
        return true;
    unsigned sources = family == FAMILIES ? ~0u : session->families.sources[family] | 1u << family;
    for (unsigned f = 0; f < FAMILIES && block < FAMILY_BLOCKS; f++)
        if ((sources >> f & 1) != 0 && cell_wrote(written_to(session, f, block), &session->clock, hash))
            return true;
    return false;
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

struct version_state *family_change_add(struct session *session, unsigned *count, unsigned family, unsigned version)
{
    ASSERT(*count < FAMILY_CHANGES);
    struct family_change *change = &session->families.changes[(*count)++];
    change->family = family;
    change->version = version;
    return &change->next;
}

void state_copy(struct session *session, struct version_state *to, const struct version_state *from, uint64_t blocks)
{
    struct version_state made = {.exists = true, .blocks = blocks};
    for (uint64_t i = 0; i < FAMILY_BLOCKS; i++)
        if (i < MIN(blocks, from->blocks))
            cell_copy(&made.cells[i], &from->cells[i], &session->clock);
        else
            cell_settle(&made.cells[i], &session->clock, content_hash(zeros, BLOCK));
    *to = made;
}

void family_changes_apply(struct session *session, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct family_change *change = &session->families.changes[i];
        struct version_state *version = version_of(session, change->family, change->version);
        if (change->version != OBJECT && change->next.exists && !version->exists)
            version_of(session, change->family, OBJECT)->same_age = change->next.age;
        *version = change->next;
    }
    for (unsigned f = 0; f < FAMILIES; f++)
        for (unsigned b = 0; b < FAMILY_BLOCKS && version_of(session, f, OBJECT)->exists; b++)
            cell_flush(&version_of(session, f, OBJECT)->cells[b]);
    atomic_store(&session->families.changes_count, 0);
}

void family_changes_begin(struct session *session, unsigned count)
{
    atomic_store(&session->families.changes_count, count);
    atomic_fetch_add(&session->calls, 1);
}

/* It did all, or nothing. BUSY: what a shrink cut off is still being freed. Where the group went out of service, nobody
 * knows until it is opened again. */
void family_changes_end(struct session *session, unsigned count, enum error error, const char *what)
{
    bool refused = session_refuses(session, error, what);
    if (!refused && !succeeds(session, error, what) && atomic_load(&session->over))
        return;
    atomic_fetch_add(&session->full, error == ERROR_NO_SPACE);
    if (error != ERROR_NONE) {
        atomic_store(&session->families.changes_count, 0);
        return;
    }
    family_changes_apply(session, count);
    atomic_fetch_add(&session->objects, 1);
    atomic_fetch_add(&session->promises, 1);
}

static enum error create(struct pool *pool, const char *name, const struct version_state *state, struct uuid *uuid)
{
    uint64_t bytes = state->blocks * BLOCK, reserved = state->reserved * BLOCK;
    if (state->hosts)
        return object_create_hosting(pool, name, bytes, reserved, FAMILY_HOSTS, uuid);
    return reserved != 0 ? object_create_reserved(pool, name, bytes, reserved, uuid) : object_create(pool, name, bytes, uuid);
}

static void object_begin(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    struct uuid uuid;
    unsigned count = 0;
    uint64_t blocks = 1 + dice_below(dice, FAMILY_BLOCKS);
    version_name(family, OBJECT, name);
    struct version_state *next = family_change_add(session, &count, family, OBJECT);
    state_copy(session, next, &(struct version_state){0}, blocks);
    if (session_works(session, WORK_KEEPS)) {
        next->reserved = dice_percent(dice, 40) ? dice_below(dice, blocks + 1) : 0;
        next->hosts = dice_percent(dice, 40);
    }
    family_changes_begin(session, count);
    family_changes_end(session, count, create(pool, name, next, &uuid), "create of a family's object");
}

/* Says of what it is the disk, or that it is none any more. */
static void object_tag(struct session *session, struct pool *pool, unsigned family)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0;
    const struct version_state *object = version_of(session, family, OBJECT);
    version_name(family, OBJECT, name);
    struct version_state *next = family_change_add(session, &count, family, OBJECT);
    *next = *object;
    next->hosts = !object->hosts;
    family_changes_begin(session, count);
    enum error error = object_set_hosts(pool, name, next->hosts ? FAMILY_HOSTS : NULL);
    atomic_fetch_add(&session->done[DONE_TAGS], error == ERROR_NONE);
    family_changes_end(session, count, error, "tag of a disk");
}

/* With its snapshots. */
static void object_remove(struct session *session, struct pool *pool, unsigned family)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0;
    version_name(family, OBJECT, name);
    struct guarded guarded = guarded_begin(session);
    for (unsigned v = 0; v < family_versions(session); v++) {
        const struct version_state *version = version_of(session, family, v);
        guarded_add(&guarded, version);
        if (version->exists)
            *family_change_add(session, &count, family, v) = (struct version_state){0};
    }
    family_changes_begin(session, count);
    enum error error = object_delete(pool, name, true);
    guarded_end(&guarded, error, name);
    family_changes_end(session, count, error, "delete of a family");
}

static void object_size(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0;
    const struct version_state *now = version_of(session, family, OBJECT);
    uint64_t blocks = 1 + dice_below(dice, FAMILY_BLOCKS);
    struct object_info info;
    version_name(family, OBJECT, name);
    if (blocks == now->blocks)
        return;
    struct version_state *next = family_change_add(session, &count, family, OBJECT);
    state_copy(session, next, now, blocks);
    next->reserved = now->reserved == now->blocks ? blocks : MIN(now->reserved, blocks); /* a whole one stays so */
    next->hosts = now->hosts;
    family_changes_begin(session, count);
    enum error error = object_resize(pool, name, blocks * BLOCK, blocks < now->blocks);
    /* A shrink that found no space to free what it cut off has shrunk all the same. */
    if (error != ERROR_NONE && !object_find(pool, name, &info) && info.size == blocks * BLOCK && !group_is_fenced(pool->group))
        error = ERROR_NONE;
    family_changes_end(session, count, error, "resize of a family's object");
}

static bool is_free(struct session *session, const unsigned *families, unsigned count, unsigned version)
{
    for (unsigned i = 0; i < count; i++)
        if (version_of(session, families[i], version)->exists)
            return false;
    return true;
}

/* Of one object or, if it need not be alone, of several at one moment. */
static void snapshot_make(struct session *session, struct pool *pool, unsigned first, unsigned version, bool alone,
                          struct dice *dice)
{
    char names[FAMILIES][VERSION_NAME_SIZE], snapshot[16];
    const char *pointers[FAMILIES];
    unsigned families[FAMILIES] = {first}, members = 1, count = 0;
    struct guard guard = guard_draw(session, dice);
    for (unsigned f = 0; f < FAMILIES && !alone; f++)
        if (f != first && version_of(session, f, OBJECT)->exists && dice_percent(dice, 30))
            families[members++] = f;
    if (!is_free(session, families, members, version))
        return;
    for (unsigned i = 0; i < members; i++) {
        const struct version_state *object = version_of(session, families[i], OBJECT);
        version_name(families[i], OBJECT, names[i]);
        pointers[i] = names[i];
        struct version_state *made = family_change_add(session, &count, families[i], version);
        state_copy(session, made, object, object->blocks);
        made->age = ++session->families.ages;
        made->hold = guard.hold;
        made->locked_until = guard.locked_until;
    }
    snprintf(snapshot, sizeof(snapshot), "s%u", version);
    family_changes_begin(session, count);
    enum error error = object_snapshot(pool, pointers, members, snapshot, guard.hold, guard.locked_until);
    family_changes_end(session, count, guard_refuses(session, &guard, error) ? ERROR_BUSY : error, "snapshot");
}

static unsigned draw_version(struct session *session, struct dice *dice)
{
    return 1 + (unsigned)dice_below(dice, family_versions(session) - 1);
}

unsigned draw_snapshot(struct session *session, unsigned family, struct dice *dice)
{
    unsigned found[FAMILY_VERSIONS], count = 0;
    for (unsigned v = 1; v < family_versions(session); v++)
        if (version_of(session, family, v)->exists)
            found[count++] = v;
    return count == 0 ? 0 : found[dice_below(dice, count)];
}

static void snapshot_remove(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0, version = draw_snapshot(session, family, dice);
    if (version == 0)
        return;
    version_name(family, version, name);
    struct guarded guarded = guarded_begin(session);
    guarded_add(&guarded, version_of(session, family, version));
    *family_change_add(session, &count, family, version) = (struct version_state){0};
    family_changes_begin(session, count);
    enum error error = snapshot_delete(pool, name);
    guarded_end(&guarded, error, name);
    family_changes_end(session, count, error, "delete of a snapshot");
}

/* To a snapshot; what it held becomes the snapshot `keep`, or is gone (0). */
static void go_back(struct session *session, struct pool *pool, unsigned family, unsigned version, unsigned keep)
{
    char name[VERSION_NAME_SIZE], kept[16];
    unsigned count = 0;
    if (version == 0)
        return;
    const struct version_state *snapshot = version_of(session, family, version), *object = version_of(session, family, OBJECT);
    version_name(family, version, name);
    snprintf(kept, sizeof(kept), "s%u", keep);
    if (keep != 0) {
        struct version_state *made = family_change_add(session, &count, family, keep);
        state_copy(session, made, object, object->blocks);
        made->age = ++session->families.ages;
    }
    struct version_state *next = family_change_add(session, &count, family, OBJECT);
    state_copy(session, next, snapshot, snapshot->blocks);
    next->reserved = MIN(object->reserved, snapshot->blocks);
    next->hosts = object->hosts;
    next->same_age = snapshot->age;
    family_changes_begin(session, count);
    enum error error = object_rollback(pool, name, keep != 0 ? kept : NULL, keep == 0);
    atomic_fetch_add(&session->done[DONE_KEPT], keep != 0 && error == ERROR_NONE);
    family_changes_end(session, count, error, "rollback");
}

void object_go_back(struct session *session, struct pool *pool, unsigned family, unsigned version)
{
    go_back(session, pool, family, version, 0);
}

/* A number that no snapshot of it has; 0: there is none. */
static unsigned draw_free_version(struct session *session, unsigned family, struct dice *dice)
{
    unsigned first = (unsigned)dice_below(dice, family_versions(session));
    for (unsigned i = 0; i < family_versions(session); i++) {
        unsigned version = (first + i) % family_versions(session);
        if (version != OBJECT && !version_of(session, family, version)->exists)
            return version;
    }
    return 0;
}

static void object_go_back_keeping(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    unsigned version = draw_snapshot(session, family, dice), keep = draw_free_version(session, family, dice);
    if (keep != 0)
        go_back(session, pool, family, version, keep);
}

/* Of an object or of a snapshot. */
static void clone_make(struct session *session, struct pool *pool, unsigned from, unsigned to, struct dice *dice)
{
    char name[VERSION_NAME_SIZE], new_name[VERSION_NAME_SIZE];
    struct uuid uuid;
    unsigned count = 0, version = dice_percent(dice, 30) ? OBJECT : draw_snapshot(session, from, dice);
    const struct version_state *source = version_of(session, from, version);
    version_name(from, version, name);
    version_name(to, OBJECT, new_name);
    state_copy(session, family_change_add(session, &count, to, OBJECT), source, source->blocks);
    session->families.sources[to] |= session->families.sources[from] | 1u << from;
    family_changes_begin(session, count);
    family_changes_end(session, count, object_clone(pool, name, new_name, &uuid), "clone");
}

/* ---- writing and reading ----------------------------------------------------------------------------------------- */

static void answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

enum error blocks_change(struct session *session, struct volume *volume, unsigned family, struct version_state *object,
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
            return ERROR_NONE;
    object->same_age = 0;
    if (!trims)
        content_fill(dice, contents, count * BLOCK);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hash = content_hash(contents + i * BLOCK, BLOCK);
        cell_note(written_to(session, family, first + i), &session->clock, hash);
        versions[i] = cell_begin(&object->cells[first + i], &session->clock, hash);
    }
    volume_execute(volume, &request, 1, answer, NULL);
    atomic_fetch_add(&session->requests, 1);
    const char *what = "write to a family's object";
    bool told = session_is_full(session, request.error, what) || succeeds(session, request.error, what);
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
    return request.error;
}

void judge_block(struct session *session, struct version_state *state, const char *name, uint64_t block, uint64_t hash,
                 uint64_t began)
{
    struct cell *cell = &state->cells[block];
    bool restarted = began == 0;
    if (restarted ? cell_survives(cell, &session->clock, hash) : cell_reads(cell, began, hash)) {
        if (restarted)
            cell_settle(cell, &session->clock, hash);
        return;
    }
    cell_print(cell, &session->clock);
    fail("block %llu of %s holds %016llx%s", (unsigned long long)block, name, (unsigned long long)hash,
         hash == content_hash(zeros, BLOCK) ? ", zeros" : "");
}

bool version_hashes(struct session *session, struct pool *pool, const char *name, uint64_t blocks, bool restarted,
                    uint64_t hashes[FAMILY_BLOCKS])
{
    unsigned char contents[FAMILY_BLOCKS * BLOCK];
    struct volume *volume;
    enum error error;
    do
        error = volume_open(pool, name, strchr(name, '@') != NULL, &volume);
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
    char name[VERSION_NAME_SIZE];
    struct version_state *state = version_of(session, family, version);
    uint64_t hashes[FAMILY_BLOCKS], began = clock_tick(&session->clock);
    version_name(family, version, name);
    if (!version_hashes(session, pool, name, state->blocks, false, hashes))
        return;
    for (uint64_t i = 0; i < state->blocks; i++)
        judge_block(session, state, name, i, hashes[i], began);
}

/* A segment was found that cannot be emptied, after what it keeps had been promised or written to. */
static bool damage_took_space(struct group *group)
{
    mutex_lock(&group->lock);
    bool takes = group->segments.kept_total != 0 && group_used(group) + reservations_held(group, NULL) > group_capacity(group);
    mutex_unlock(&group->lock);
    return takes;
}

/* What is reserved as a whole can be written whatever others wrote. */
static void object_change(struct session *session, struct pool *pool, struct volume *volume, unsigned family, struct dice *dice)
{
    struct version_state *object = version_of(session, family, OBJECT);
    error_forget();
    enum error error = blocks_change(session, volume, family, object, dice);
    if (error == ERROR_NO_SPACE && object->reserved == object->blocks && !session_met(TROUBLE_SPACE) &&
        !damage_took_space(pool->group))
        fail("family-%u is reserved as a whole, and a write to it found no space: %s", family, error_sentence(error));
}

/* Some of it unflushed when a snapshot of it is made. */
static void object_use(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    struct volume *volume;
    version_name(family, OBJECT, name);
    if (!succeeds(session, volume_open(pool, name, false, &volume), "open of a family's object"))
        return;
    for (uint64_t writes = 1 + dice_below(dice, 6); writes > 0 && !is_over(session); writes--)
        object_change(session, pool, volume, family, dice);
    if (dice_percent(dice, 50) && !is_over(session))
        snapshot_make(session, pool, family, draw_version(session, dice), false, dice);
    for (uint64_t writes = dice_below(dice, 4); writes > 0 && !is_over(session); writes--)
        object_change(session, pool, volume, family, dice);
    volume_close(volume);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

/* Snapshots of one object, with something written between them: as many as it can have, and no merge in between. */
static void series_make(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    struct volume *volume;
    version_name(family, OBJECT, name);
    if (!succeeds(session, volume_open(pool, name, false, &volume), "open of a family's object"))
        return;
    uint64_t count = SERIES_LEAST + dice_below(dice, FAMILY_VERSIONS - SERIES_LEAST);
    for (unsigned v = 1; v < family_versions(session) && count > 0; v++) {
        if (is_over(session) || version_of(session, family, v)->exists)
            continue;
        object_change(session, pool, volume, family, dice);
        if (!is_over(session))
            snapshot_make(session, pool, family, v, true, dice);
        count--;
    }
    volume_close(volume);
}

/* So much of it, nothing, or all. */
static void object_hold_space(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    unsigned count = 0;
    const struct version_state *object = version_of(session, family, OBJECT);
    uint64_t choice = dice_below(dice, 4), blocks = choice == 0 ? dice_below(dice, object->blocks) : choice == 1 ? 0 : object->blocks;
    version_name(family, OBJECT, name);
    struct version_state *next = family_change_add(session, &count, family, OBJECT);
    *next = *object;
    next->reserved = blocks;
    family_changes_begin(session, count);
    family_changes_end(session, count, object_reserve(pool, name, choice == 2 ? OBJECT_RESERVE_FULL : blocks * BLOCK), "reserve");
}

/* One of what this thread has to do beside. */
static enum work draw_work(const struct session *session, struct dice *dice)
{
    static const enum work works[] = {WORK_DEEP, WORK_GUARDS, WORK_DIFFERENCES, WORK_IMPORTS, WORK_RESERVES, WORK_KEEPS,
                                      WORK_EXPORTS};
    enum work has[COUNT_OF(works)];
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(works); i++)
        if (session_works(session, works[i]))
            has[count++] = works[i];
    return count == 0 ? WORK_NONE : has[dice_below(dice, count)];
}

/* What not every session does. False where this time it is to be what all do. */
static bool live_more(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    if (session->settings.work == WORK_NONE || !dice_percent(dice, MORE_PERCENT))
        return false;
    enum work work = draw_work(session, dice);
    bool exists = version_of(session, family, OBJECT)->exists;
    if (work == WORK_NONE || (!exists && work != WORK_IMPORTS))
        return false;
    if (work == WORK_DEEP)
        series_make(session, pool, family, dice);
    else if (work == WORK_GUARDS)
        guard_change(session, pool, family, dice);
    else if (work == WORK_DIFFERENCES)
        difference_look(session, pool, family, dice);
    else if (work == WORK_IMPORTS)
        import_step(session, pool, family, dice);
    else if (work == WORK_EXPORTS)
        export_look(session, pool, family, dice);
    else if (work == WORK_KEEPS)
        dice_percent(dice, 40) ? object_tag(session, pool, family) : object_go_back_keeping(session, pool, family, dice);
    else
        object_hold_space(session, pool, family, dice);
    return true;
}

unsigned draw_absent(struct session *session, struct dice *dice)
{
    unsigned first = (unsigned)dice_below(dice, FAMILIES);
    for (unsigned i = 0; i < FAMILIES; i++)
        if (!version_of(session, (first + i) % FAMILIES, OBJECT)->exists)
            return (first + i) % FAMILIES;
    return FAMILIES;
}

static void live(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    if (live_more(session, pool, family, dice))
        return;
    uint64_t choice = dice_below(dice, 100);
    unsigned absent = draw_absent(session, dice);
    if (!version_of(session, family, OBJECT)->exists)
        object_begin(session, pool, family, dice);
    else if (choice < 40)
        object_use(session, pool, family, dice);
    else if (choice < 52)
        snapshot_make(session, pool, family, draw_version(session, dice), false, dice);
    else if (choice < 62)
        object_go_back(session, pool, family, draw_snapshot(session, family, dice));
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
