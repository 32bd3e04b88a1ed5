/*
 * Roles on the control socket: the lines of [control], the users and groups of this host that they name, and who asks.
 *
 * The conf is read again when its file is another one or was written since (device, inode, times, size), which a stat for each
 * question finds out; names are asked for then, not when somebody connects, so that no slow directory service stands between a
 * known peer and an answer. A name that this host does not know gives nobody anything, is told once, and is asked for again
 * after a minute: a service may have come up later than the daemon. A conf that is wrong, or gone, lets nobody in but those whom
 * it cannot shut out; storage does not depend on it.
 *
 * Roles do not contain each other, but that who may do anything may also look: who changes disks has no keys, and who has keys
 * no disks. `lock` is held while the conf is read and names are asked for, never while a method runs. Nothing is stored.
 */
#include "server/roles.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/conf.h"
#include "server/methods.h"

#define ENTRY_SIZE_FIRST 1024
#define ENTRY_SIZE_MAX   (1u << 20) /* a group of many members; beyond it, a directory service has gone mad */
#define GROUPS_FIRST     32

_Static_assert(ROLE_OBSERVE == 1 << POOL_ROLE_OBSERVE && ROLE_OPERATE == 1 << POOL_ROLE_OPERATE &&
                   ROLE_KEYS == 1 << POOL_ROLE_KEYS,
               "roles have the same numbers in the conf and in the table of methods");

/* ---- the other end ------------------------------------------------------------------------------------------------ */

/* Who has groups that cannot be told has none. */
static void groups_take(int descriptor, struct peer *peer)
{
    socklen_t size = GROUPS_FIRST * sizeof(uint32_t);
    for (;;) {
        uint32_t *grown = realloc(peer->groups, size);
        if (grown == NULL)
            return;
        peer->groups = grown;
        if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, grown, &size) == 0) {
            peer->group_count = size / sizeof(uint32_t);
            return;
        }
        if (errno != ERANGE) /* which says how many there are */
            return;
    }
}

void peer_take(int descriptor, struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    *peer = (struct peer){.uid = UINT32_MAX, .gid = UINT32_MAX};
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return;
    peer->uid = credentials.uid;
    peer->gid = credentials.gid;
    peer->pid = (uint32_t)credentials.pid;
    groups_take(descriptor, peer);
}

void peer_forget(struct peer *peer)
{
    free(peer->groups);
    peer->groups = NULL;
    peer->group_count = 0;
}

bool peer_is_owner(const struct peer *peer)
{
    return peer->uid == 0 || peer->uid == geteuid();
}

static bool is_meant(const struct grant *grant, const struct peer *peer)
{
    if (!grant->group)
        return grant->id == peer->uid;
    bool found = grant->id == peer->gid;
    for (size_t i = 0; i < peer->group_count && !found; i++)
        found = grant->id == peer->groups[i];
    return found;
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

/* One question with this much room: ERANGE wants more. *found stays false where there is no such name. */
static int ask(const struct pool_conf_grant *wanted, char *room, size_t size, bool *found, uint32_t *id)
{
    struct passwd user, *user_found = NULL;
    struct group group, *group_found = NULL;
    int number = wanted->group ? getgrnam_r(wanted->name, &group, room, size, &group_found)
                               : getpwnam_r(wanted->name, &user, room, size, &user_found);
    *found = user_found != NULL || group_found != NULL;
    if (*found)
        *id = wanted->group ? group.gr_gid : user.pw_uid;
    return number;
}

static bool number_of(const struct pool_conf_grant *wanted, uint32_t *id)
{
    bool found = false;
    int number = ERANGE;
    *id = wanted->id;
    if (!wanted->by_name)
        return true;
    for (size_t size = ENTRY_SIZE_FIRST; number == ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
        AUTO_FREE char *room = malloc(size);
        if (room == NULL)
            return false;
        number = ask(wanted, room, size, &found, id);
    }
    return found;
}

/* ---- the conf ----------------------------------------------------------------------------------------------------- */

static void take(struct roles *roles, const struct pool_conf *conf) REQUIRES(roles->lock)
{
    const struct pool_conf_grants *wanted = &conf->grants;
    struct grant *grants = memory_zeroed(MAX(wanted->count, (size_t)1), sizeof *grants);
    bool told = roles->unknown > 0;
    roles->grants = grants;
    roles->lets_in = wanted->count > 0;
    roles->unknown = 0;
    for (size_t i = 0; i < wanted->count && grants != NULL; i++) {
        const struct pool_conf_grant *one = &wanted->list[i];
        struct grant *grant = &grants[roles->grant_count];
        if (number_of(one, &grant->id)) {
            grant->roles = 1u << one->role | ROLE_OBSERVE;
            grant->group = one->group;
            roles->grant_count++;
            continue;
        }
        roles->unknown++;
        if (!told)
            message(MESSAGE_WARNING,
                    "control: this host knows no %s \"%s\", to whom %s/" POOL_CONF_NAME " gives the role %s in [control]",
                    one->group ? "group" : "user", one->name, conf->directory, pool_role_name(one->role));
    }
    roles->retry = clock_monotonic() + ROLES_RETRY_SECONDS * CLOCK_SECOND;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           memcmp(&a->st_mtim, &b->st_mtim, sizeof a->st_mtim) == 0 && memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

static void forget(struct roles *roles) REQUIRES(roles->lock)
{
    free(roles->grants);
    roles->grants = NULL;
    roles->grant_count = 0;
    roles->lets_in = false;
}

static void read_again(struct roles *roles, const struct stat *now) REQUIRES(roles->lock)
{
    struct pool_conf *conf;
    if (!is_same(now, &roles->seen))
        roles->unknown = 0; /* to be told anew */
    forget(roles);
    roles->read = true;
    roles->seen = *now;
    enum error error = pool_conf_read(roles->directory, &conf);
    if (error != ERROR_NONE) {
        message(MESSAGE_WARNING, "control: only root and the user of cofferd are let in: %s", error_sentence(error));
        error_forget();
        return;
    }
    take(roles, conf);
    pool_conf_destroy(conf);
}

/* Of a conf that cannot be looked at everything is zero: once it is told, then it is like one that stays the same. */
static void refresh(struct roles *roles) REQUIRES(roles->lock)
{
    struct stat now = {0};
    AUTO_FREE char *path = roles->directory == NULL ? NULL : file_join(roles->directory, POOL_CONF_NAME);
    if (path == NULL) {
        forget(roles);
        return;
    }
    if (stat(path, &now) != 0)
        now = (struct stat){0};
    if (!roles->read || !is_same(&now, &roles->seen) || (roles->unknown > 0 && clock_monotonic() >= roles->retry))
        read_again(roles, &now);
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

void roles_init(struct roles *roles, const char *directory)
{
    *roles = (struct roles){.directory = directory};
    mutex_init(&roles->lock, RANK_CONTROL);
}

void roles_deinit(struct roles *roles)
{
    free(roles->grants);
    mutex_deinit(&roles->lock);
}

unsigned roles_of(struct roles *roles, const struct peer *peer)
{
    unsigned found = 0;
    if (peer_is_owner(peer))
        return ROLE_ALL;
    mutex_lock(&roles->lock);
    refresh(roles);
    for (size_t i = 0; i < roles->grant_count; i++)
        if (is_meant(&roles->grants[i], peer))
            found |= roles->grants[i].roles;
    mutex_unlock(&roles->lock);
    return found;
}

bool roles_let_in(struct roles *roles)
{
    mutex_lock(&roles->lock);
    refresh(roles);
    bool lets_in = roles->lets_in;
    mutex_unlock(&roles->lock);
    return lets_in;
}
