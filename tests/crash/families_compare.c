/*
 * Families after a restart. Whether the call that was under way came about is found out by what exists, by sizes and
 * guards, else by contents; then every version is compared. One thread; a kill between two steps leaves them to the next.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/crash/families.h"
#include "tests/crash/versions.h"

struct found_version {
    bool exists, hold, hosts;
    uint64_t blocks, reserved, locked_until;
    struct uuid identity;
};

struct found {
    struct found_version versions[FAMILIES][FAMILY_VERSIONS];
};

static void find_one(struct found *found, const char *name, unsigned version, struct found_version is)
{
    unsigned family;
    if (sscanf(name, "family-%u", &family) != 1 || family >= FAMILIES || version >= FAMILY_VERSIONS)
        fail("'%s' was never made", name);
    if (found->versions[family][version].exists)
        fail("'%s' is there twice", name);
    found->versions[family][version] = is;
}

/* False where the group went out of service. */
static bool find_all(struct session *session, struct pool *pool, struct found *found)
{
    struct object_info *objects;
    struct snapshot_info *snapshots;
    size_t count;
    memset(found, 0, sizeof(*found));
    if (!session_objects(session, pool, &objects, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (families_know(objects[i].name) && !objects[i].deleting && objects[i].deleted == 0)
            find_one(found, objects[i].name, OBJECT,
                     (struct found_version){.exists = true,
                                            .blocks = objects[i].size / BLOCK,
                                            .hosts = strcmp(objects[i].hosts, FAMILY_HOSTS) == 0,
                                            .reserved = objects[i].reserved / BLOCK});
    free(objects);
    if (!session_snapshots(session, pool, &snapshots, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        unsigned version = 0;
        if (snapshots[i].deleting || !families_know(snapshots[i].object))
            continue;
        if (sscanf(snapshots[i].snapshot, "s%u", &version) != 1 || version == OBJECT)
            fail("'%s' was never made", snapshots[i].name);
        bool imported = !uuid_equal(snapshots[i].identity, snapshots[i].uuid);
        find_one(found, snapshots[i].object, version,
                 (struct found_version){.exists = true,
                                        .hold = snapshots[i].hold,
                                        .blocks = snapshots[i].size / BLOCK,
                                        .locked_until = snapshots[i].locked_until,
                                        .identity = imported ? snapshots[i].identity : (struct uuid){{0}}});
    }
    free(snapshots);
    return true;
}

static bool state_is(const struct found *found, unsigned family, unsigned version, const struct version_state *state)
{
    const struct found_version *is = &found->versions[family][version];
    bool same = is->blocks == state->blocks && is->reserved == state->reserved && is->hold == state->hold &&
                is->hosts == state->hosts &&
                is->locked_until == state->locked_until && uuid_equal(is->identity, state->identity);
    return is->exists == state->exists && (!state->exists || same);
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
    char name[VERSION_NAME_SIZE];
    const struct version_state *before = version_of(session, change->family, change->version);
    *happened = false;
    if (!before->exists)
        return true;
    version_name(change->family, change->version, name);
    if (!version_hashes(session, pool, name, before->blocks, true, hashes))
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
        family_changes_apply(session, count);
    atomic_store(&session->families.changes_count, 0);
    return true;
}

static void print_state(const char *what, const struct found_version *is)
{
    fprintf(stderr, "    %s: %s, %llu blocks, %llu of them reserved, %sheld, locked until %llu, %s\n", what,
            is->exists ? "there" : "absent", (unsigned long long)is->blocks, (unsigned long long)is->reserved,
            is->hold ? "" : "not ", (unsigned long long)is->locked_until,
            is->hosts ? "a disk of a provider" : "no disk of one");
}

static bool version_compare(struct session *session, struct pool *pool, const struct found *found, unsigned family,
                            unsigned version)
{
    char name[VERSION_NAME_SIZE];
    uint64_t hashes[FAMILY_BLOCKS];
    struct version_state *state = version_of(session, family, version);
    version_name(family, version, name);
    if (!state_is(found, family, version, state)) {
        print_state("found", &found->versions[family][version]);
        print_state("was", &(struct found_version){.exists = state->exists,
                                                   .hold = state->hold,
                                                   .hosts = state->hosts,
                                                   .blocks = state->blocks,
                                                   .reserved = state->reserved,
                                                   .locked_until = state->locked_until});
        fail("%s is not what it must be", name);
    }
    if (!state->exists)
        return true;
    if (!version_hashes(session, pool, name, state->blocks, true, hashes))
        return false;
    for (uint64_t i = 0; i < state->blocks; i++)
        judge_block(session, state, name, i, hashes[i], 0);
    return true;
}

bool families_compare(struct session *session, struct pool *pool)
{
    struct found found;
    bool all = find_all(session, pool, &found) && settle_changes(session, pool, &found);
    for (unsigned f = 0; f < FAMILIES && all; f++)
        for (unsigned v = 0; v < family_versions(session) && all; v++)
            all = version_compare(session, pool, &found, f, v);
    return all && imports_compare(session, pool);
}
