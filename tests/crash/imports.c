/*
 * What the engine must say of a target is known: it is there or not, which of its snapshots is the newest, and whether it
 * was written since. Where a write may have changed nothing, both are read.
 *
 * One thread, that of families. Kill-safe: the phase is set before a call that changes what a restart may find; what a
 * finish makes of the family is a change of families.c, and tells what became of the import.
 */
#include "tests/crash/imports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/crash/versions.h"

#define CREATED UINT64_C(1700000000)

bool imports_know(const char *name)
{
    return strncmp(name, IMPORT_NAME_PREFIX, strlen(IMPORT_NAME_PREFIX)) == 0;
}

static struct uuid uuid_draw(struct dice *dice)
{
    struct uuid uuid;
    uint64_t numbers[2] = {dice_throw(dice), dice_throw(dice) | 1};
    memcpy(&uuid, numbers, sizeof(uuid));
    return uuid;
}

static void import_name(const struct import_model *import, char out[VERSION_NAME_SIZE])
{
    char stream[UUID_TEXT_SIZE];
    uuid_format(import->stream, stream);
    snprintf(out, VERSION_NAME_SIZE, "%s%s", IMPORT_NAME_PREFIX, stream);
}

/* ---- what must be said of a target -------------------------------------------------------------------------------- */

static const struct version_state *newest_of(struct session *session, unsigned family)
{
    const struct version_state *newest = NULL;
    for (unsigned v = 1; v < family_versions(session); v++) {
        const struct version_state *one = version_of(session, family, v);
        if (one->exists && (newest == NULL || one->age > newest->age))
            newest = one;
    }
    return newest;
}

static unsigned number_of(struct session *session, unsigned family, const struct version_state *version)
{
    return (unsigned)(version - version_of(session, family, OBJECT));
}

/* An object and its newest snapshot, of one size. ERROR_AGAIN: it cannot be told. */
static enum error judge_contents(struct session *session, struct pool *pool, unsigned family,
                                 const struct version_state *newest)
{
    char name[VERSION_NAME_SIZE];
    uint64_t now[FAMILY_BLOCKS], then[FAMILY_BLOCKS], blocks = newest->blocks;
    version_name(family, OBJECT, name);
    if (!version_hashes(session, pool, name, blocks, false, now))
        return ERROR_AGAIN;
    version_name(family, number_of(session, family, newest), name);
    if (!version_hashes(session, pool, name, blocks, false, then))
        return ERROR_AGAIN;
    return memcmp(now, then, blocks * sizeof(now[0])) == 0 ? ERROR_AGAIN : ERROR_FOREIGN;
}

/* What import_begin() and import_finish() must come to. */
static enum error judge_target(struct session *session, struct pool *pool, const struct import_model *import)
{
    const struct version_state *object = version_of(session, import->family, OBJECT);
    const struct version_state *newest = newest_of(session, import->family);
    if (uuid_is_zero(import->base))
        return object->exists ? ERROR_EXISTS : ERROR_NONE;
    if (!object->exists)
        return ERROR_NOT_FOUND;
    const struct version_state *same = version_of(session, import->family, import->version);
    if (same->exists && uuid_equal(same->identity, import->identity))
        return ERROR_EXISTS; /* what it brings is there, whatever came after it */
    if (newest == NULL || newest->age != import->base_age)
        return ERROR_FOREIGN;
    if (same->exists)
        return ERROR_EXISTS;
    if (object->blocks != newest->blocks)
        return ERROR_FOREIGN;
    return object->same_age == newest->age ? ERROR_NONE : judge_contents(session, pool, import->family, newest);
}

static bool is_refusal(enum error error)
{
    return error == ERROR_EXISTS || error == ERROR_NOT_FOUND || error == ERROR_FOREIGN;
}

static void judge_answer(const struct import_model *import, enum error error, enum error wanted, const char *what)
{
    if (wanted != ERROR_AGAIN && (error == ERROR_NONE || is_refusal(error)) && error != wanted)
        fail("%s of an import into family-%u@s%u: %s, not %s", what, import->family, import->version, error_name(error),
             error_name(wanted));
}

/* ---- calls -------------------------------------------------------------------------------------------------------- */

struct names {
    char object[VERSION_NAME_SIZE], snapshot[VERSION_NAME_SIZE];
};

static struct import_request request_of(const struct import_model *import, struct names *names)
{
    version_name(import->family, OBJECT, names->object);
    snprintf(names->snapshot, sizeof(names->snapshot), "s%u", import->version);
    return (struct import_request){.stream = import->stream,
                                   .object = names->object,
                                   .base = import->base,
                                   .size = import->state.blocks * BLOCK,
                                   .snapshot = names->snapshot,
                                   .identity = import->identity,
                                   .created = CREATED};
}

/* Once more, where a crash or a fault came in between. What is refused is left: some of it may be there. */
static void begin(struct session *session, struct pool *pool, struct import_model *import)
{
    struct names names;
    struct import_request request = request_of(import, &names);
    struct import_info info;
    enum error wanted = judge_target(session, pool, import);
    if (atomic_load(&session->over))
        return;
    atomic_store(&import->phase, IMPORT_BEGINNING);
    atomic_fetch_add(&session->calls, 1);
    enum error error = import_begin(pool, &request, &info);
    judge_answer(import, error, wanted, "begin");
    bool refused = is_refusal(error) || session_refuses(session, error, "begin of an import");
    if (!refused && !succeeds(session, error, "begin of an import") && atomic_load(&session->over))
        return;
    if (error == ERROR_NONE && info.position != 0)
        fail("an import begins at %llu", (unsigned long long)info.position);
    if (error == ERROR_NONE)
        import->made = info.uuid;
    atomic_fetch_add(&session->promises, error == ERROR_NONE);
    atomic_store(&import->phase, error == ERROR_NONE ? IMPORT_OPEN : IMPORT_LEAVING);
}

/* The base is the newest snapshot, mostly, and the object what that is. */
static void base_draw(struct session *session, struct pool *pool, struct import_model *import, struct dice *dice)
{
    const struct version_state *newest = newest_of(session, import->family);
    char name[VERSION_NAME_SIZE];
    struct snapshot_info info;
    if (newest == NULL || dice_percent(dice, 10))
        return;
    if (dice_percent(dice, 70))
        object_go_back(session, pool, import->family, number_of(session, import->family, newest));
    if (atomic_load(&session->over))
        return;
    unsigned base = dice_percent(dice, 85) ? number_of(session, import->family, newest) : draw_snapshot(session, import->family, dice);
    version_name(import->family, base, name);
    if (!session_snapshot(session, pool, name, &info))
        return;
    import->base = info.identity;
    import->base_age = version_of(session, import->family, base)->age;
}

static void begin_new(struct session *session, struct pool *pool, struct import_model *import, unsigned family,
                      struct dice *dice)
{
    uint64_t blocks = 1 + dice_below(dice, FAMILY_BLOCKS);
    const struct version_state *from = &(struct version_state){0};
    unsigned absent = draw_absent(session, dice);
    if (newest_of(session, family) == NULL && absent < FAMILIES && dice_percent(dice, 80))
        family = absent; /* a stream that is whole makes it */
    *import = (struct import_model){.family = family,
                                    .version = 1 + (unsigned)dice_below(dice, family_versions(session) - 1),
                                    .stream = uuid_draw(dice),
                                    .identity = uuid_draw(dice)};
    base_draw(session, pool, import, dice);
    for (unsigned v = 1; v < family_versions(session) && !uuid_is_zero(import->base); v++)
        if (version_of(session, family, v)->exists && version_of(session, family, v)->age == import->base_age)
            from = version_of(session, family, v);
    state_copy(session, &import->state, from, blocks);
    if (!atomic_load(&session->over))
        begin(session, pool, import);
}

static void write_some(struct session *session, struct pool *pool, struct import_model *import, struct dice *dice)
{
    char name[VERSION_NAME_SIZE];
    struct volume *volume;
    uint64_t hashes[FAMILY_BLOCKS], began;
    import_name(import, name);
    if (!succeeds(session, volume_open(pool, name, false, &volume), "open of an import"))
        return;
    for (uint64_t writes = 1 + dice_below(dice, 5); writes > 0 && !atomic_load(&session->over); writes--)
        (void)blocks_change(session, volume, import->family, &import->state, dice);
    volume_close(volume);
    began = clock_tick(&session->clock);
    if (atomic_load(&session->over) || !version_hashes(session, pool, name, import->state.blocks, false, hashes))
        return;
    for (uint64_t b = 0; b < import->state.blocks; b++)
        judge_block(session, &import->state, name, b, hashes[b], began);
}

/* It is a commit: all that was answered before is durable with it. */
static void mark(struct session *session, struct pool *pool, struct import_model *import, struct dice *dice)
{
    import->marking = dice_below(dice, import->state.blocks + 1) * BLOCK;
    atomic_fetch_add(&session->calls, 1);
    enum error error = import_mark(pool, import->made, import->marking);
    if (!session_is_full(session, error, "mark of an import") && !succeeds(session, error, "mark of an import") && atomic_load(&session->over))
        return;
    if (error != ERROR_NONE) {
        import->marking = import->marked;
        return;
    }
    import->marked = import->marking;
    for (uint64_t b = 0; b < import->state.blocks; b++)
        cell_flush(&import->state.cells[b]);
    atomic_fetch_add(&session->promises, 1);
}

/* The snapshot comes first: the object is what it is. */
static void finish(struct session *session, struct pool *pool, struct import_model *import)
{
    struct names names;
    struct import_request request = request_of(import, &names);
    struct uuid object;
    unsigned count = 0;
    enum error wanted = judge_target(session, pool, import);
    if (atomic_load(&session->over))
        return;
    struct version_state *made = family_change_add(session, &count, import->family, import->version);
    state_copy(session, made, &import->state, import->state.blocks);
    made->age = ++session->families.ages;
    made->identity = import->identity;
    struct version_state *target = family_change_add(session, &count, import->family, OBJECT);
    state_copy(session, target, &import->state, import->state.blocks);
    target->reserved = MIN(version_of(session, import->family, OBJECT)->reserved, target->blocks);
    target->hosts = version_of(session, import->family, OBJECT)->hosts;
    target->same_age = made->age;
    family_changes_begin(session, count);
    atomic_store(&import->phase, IMPORT_FINISHING);
    enum error error = import_finish(pool, &request, import->made, &object);
    judge_answer(import, error, wanted, "finish");
    family_changes_end(session, count, is_refusal(error) ? ERROR_BUSY : error, "finish of an import");
    if (!atomic_load(&session->over))
        atomic_store(&import->phase, error == ERROR_NONE ? IMPORT_NONE : IMPORT_OPEN);
}

static void leave(struct session *session, struct pool *pool, struct import_model *import)
{
    char name[VERSION_NAME_SIZE];
    import_name(import, name);
    atomic_store(&import->phase, IMPORT_LEAVING);
    enum error error = object_delete(pool, name, true);
    if (error == ERROR_NOT_FOUND || error == ERROR_NONE)
        atomic_store(&import->phase, IMPORT_NONE);
    else if (!session_refuses(session, error, "delete of an import"))
        (void)!succeeds(session, error, "delete of an import");
}

void import_step(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    struct import_model *import = &session->imports[dice_below(dice, IMPORTS)];
    uint64_t choice = dice_below(dice, 100);
    int phase = atomic_load(&import->phase);
    if (phase == IMPORT_NONE)
        begin_new(session, pool, import, family, dice);
    else if (phase == IMPORT_BEGINNING)
        begin(session, pool, import);
    else if (phase == IMPORT_LEAVING || choice < 10)
        leave(session, pool, import);
    else if (choice < 55)
        write_some(session, pool, import, dice);
    else if (choice < 70)
        mark(session, pool, import, dice);
    else
        finish(session, pool, import);
}

/* ---- after a restart ---------------------------------------------------------------------------------------------- */

static const struct object_info *info_find(const struct object_info *infos, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(infos[i].name, name) == 0 && infos[i].deleted == 0 && !infos[i].deleting)
            return &infos[i];
    return NULL;
}

static bool contents_compare(struct session *session, struct pool *pool, struct import_model *import,
                             const struct object_info *info)
{
    uint64_t hashes[FAMILY_BLOCKS];
    bool known = info->import_position == import->marked || info->import_position == import->marking;
    if (!info->importing || info->size != import->state.blocks * BLOCK || !known)
        fail("%s has %llu bytes and came to %llu; it must have %llu and be at %llu or %llu", info->name,
             (unsigned long long)info->size, (unsigned long long)info->import_position,
             (unsigned long long)import->state.blocks * BLOCK, (unsigned long long)import->marked,
             (unsigned long long)import->marking);
    import->marked = import->marking = info->import_position;
    if (!version_hashes(session, pool, info->name, import->state.blocks, true, hashes))
        return false;
    for (uint64_t b = 0; b < import->state.blocks; b++)
        judge_block(session, &import->state, info->name, b, hashes[b], 0);
    return true;
}

static bool import_compare(struct session *session, struct pool *pool, struct import_model *import,
                           const struct object_info *infos, size_t count)
{
    char name[VERSION_NAME_SIZE];
    int phase = atomic_load(&import->phase);
    import_name(import, name);
    const struct object_info *info = info_find(infos, count, name);
    const struct version_state *made = version_of(session, import->family, import->version);
    bool finished = made->exists && uuid_equal(made->identity, import->identity);
    if (phase == IMPORT_FINISHING)
        phase = finished ? IMPORT_NONE : IMPORT_OPEN;
    if ((phase == IMPORT_NONE && info != NULL) || (phase == IMPORT_OPEN && info == NULL))
        fail("%s is %s", name, info == NULL ? "lost" : "there, and must not be");
    atomic_store(&import->phase, info == NULL ? IMPORT_NONE : phase);
    return phase != IMPORT_OPEN || contents_compare(session, pool, import, info);
}

bool imports_compare(struct session *session, struct pool *pool)
{
    struct object_info *infos;
    size_t count, found = 0, known = 0;
    bool all = true;
    if (!session_objects(session, pool, &infos, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        found += imports_know(infos[i].name) && infos[i].deleted == 0 && !infos[i].deleting;
    for (unsigned i = 0; i < IMPORTS && all; i++)
        all = import_compare(session, pool, &session->imports[i], infos, count);
    for (unsigned i = 0; i < IMPORTS; i++)
        known += atomic_load(&session->imports[i].phase) != IMPORT_NONE;
    free(infos);
    if (all && found != known)
        fail("%zu imports are there, of %zu", found, known);
    return all;
}
