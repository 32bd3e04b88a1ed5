/*
 * Roles on the control socket: the lines of [control], the users and groups of this host that they name, and who asks.
 *
 * The conf is read again when its file is another one or was written since (device, inode, times, size), which a stat for each
 * question finds out. Whether anybody is let in follows from it alone. Names are asked for by a thread of its own that nobody
 * waits for, with no lock held, for a directory service may take for ever, and its server may be a guest of this very pool; the
 * next question takes the answer. They are asked for again after a minute: a service may come up later than the daemon, a
 * name go, and its number become somebody else's. A name that this host does not know gives nobody anything and is told once.
 * A conf that is wrong, or gone, lets nobody in but those whom it cannot shut out, and is tried again after a minute, too;
 * storage does not depend on it.
 *
 * Roles do not contain each other, but that who may do anything may also look: who changes disks has no keys, and who has keys
 * no disks. `lock` is held while the conf is read, never while names are asked for or a method runs. Nothing is stored.
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
    if (grant->state != GRANT_KNOWN)
        return false;
    if (!grant->group)
        return grant->id == peer->uid;
    bool found = grant->id == peer->gid;
    for (size_t i = 0; i < peer->group_count && !found; i++)
        found = grant->id == peer->groups[i];
    return found;
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

/* What a thread finds out. Whoever is the last to leave frees it: the thread, or who has the roles. */
struct lookup {
    struct mutex lock; /* RANK_LEAF; guards what follows, and the answers */
    bool done, left;
    size_t count;
    struct wanted {
        char *name;
        bool group, found;
        uint32_t id;
    } wanted[];
};

/* One question with this much room: ERANGE wants more. *found stays false where there is no such name. */
static int ask(struct wanted *wanted, char *room, size_t size)
{
    struct passwd user, *user_found = NULL;
    struct group group, *group_found = NULL;
    int number = wanted->group ? getgrnam_r(wanted->name, &group, room, size, &group_found)
                               : getpwnam_r(wanted->name, &user, room, size, &user_found);
    wanted->found = user_found != NULL || group_found != NULL;
    if (wanted->found)
        wanted->id = wanted->group ? group.gr_gid : user.pw_uid;
    return number;
}

static void ask_for(struct wanted *wanted)
{
    int number = ERANGE;
    for (size_t size = ENTRY_SIZE_FIRST; number == ERANGE && size <= ENTRY_SIZE_MAX; size *= 4) {
        AUTO_FREE char *room = malloc(size);
        if (room == NULL)
            return;
        number = ask(wanted, room, size);
    }
}

static void lookup_free(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++)
        free(lookup->wanted[i].name);
    mutex_deinit(&lookup->lock);
    free(lookup);
}

static void lookup_run(void *argument)
{
    struct lookup *lookup = argument;
    for (size_t i = 0; i < lookup->count; i++)
        ask_for(&lookup->wanted[i]);
    mutex_lock(&lookup->lock);
    lookup->done = true;
    bool left = lookup->left;
    mutex_unlock(&lookup->lock);
    if (left)
        lookup_free(lookup);
}

/* NULL where memory is short, or there is no name. */
static struct lookup *lookup_make(const struct roles *roles) REQUIRES(roles->lock)
{
    struct lookup *made = memory_zeroed(1, sizeof *made + roles->grant_count * sizeof made->wanted[0]);
    if (made == NULL)
        return NULL;
    mutex_init(&made->lock, RANK_LEAF);
    for (size_t i = 0; i < roles->grant_count; i++) {
        struct wanted *wanted = &made->wanted[made->count];
        if (roles->grants[i].name == NULL || (wanted->name = strdup(roles->grants[i].name)) == NULL)
            continue;
        wanted->group = roles->grants[i].group;
        made->count++;
    }
    if (made->count > 0)
        return made;
    lookup_free(made);
    return NULL;
}

static void names_ask(struct roles *roles) REQUIRES(roles->lock)
{
    uint64_t now = clock_monotonic();
    struct lookup *made = lookup_make(roles);
    roles->retry = now + ROLES_RETRY_SECONDS * CLOCK_SECOND;
    if (made == NULL)
        return;
    if (thread_start_detached("roles-names", lookup_run, made)) {
        lookup_free(made);
        return;
    }
    roles->lookup = made;
    roles->patience = now + ROLES_PATIENCE_SECONDS * CLOCK_SECOND;
}

static const struct wanted *answer_for(const struct lookup *lookup, const struct grant *grant)
{
    for (size_t i = 0; i < lookup->count; i++)
        if (lookup->wanted[i].group == grant->group && strcmp(lookup->wanted[i].name, grant->name) == 0)
            return &lookup->wanted[i];
    return NULL;
}

static void answer_take(struct roles *roles, struct grant *grant, const struct wanted *answer) REQUIRES(roles->lock)
{
    if (answer->found) {
        grant->id = answer->id;
        grant->state = GRANT_KNOWN;
        return;
    }
    if (grant->state != GRANT_UNKNOWN)
        message(MESSAGE_WARNING,
                "control: this host knows no %s \"%s\", to whom %s/" POOL_CONF_NAME " gives a role in [control]",
                grant->group ? "group" : "user", grant->name, roles->directory);
    grant->state = GRANT_UNKNOWN;
}

/* The conf may be another one than when the thread began: what it did not ask for is asked for at once. */
static void names_take(struct roles *roles) REQUIRES(roles->lock)
{
    struct lookup *lookup = roles->lookup;
    if (lookup == NULL)
        return;
    mutex_lock(&lookup->lock);
    bool done = lookup->done;
    mutex_unlock(&lookup->lock);
    if (!done)
        return;
    for (size_t i = 0; i < roles->grant_count; i++) {
        struct grant *grant = &roles->grants[i];
        const struct wanted *answer = grant->name == NULL ? NULL : answer_for(lookup, grant);
        if (answer != NULL)
            answer_take(roles, grant, answer);
        else if (grant->name != NULL)
            roles->retry = 0;
    }
    lookup_free(lookup);
    roles->lookup = NULL;
}

/* ---- the conf ----------------------------------------------------------------------------------------------------- */

static void grants_free(struct grant *grants, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(grants[i].name);
    free(grants);
}

static void forget(struct roles *roles) REQUIRES(roles->lock)
{
    grants_free(roles->grants, roles->grant_count);
    roles->grants = NULL;
    roles->grant_count = 0;
}

/* What was known of that name before the conf changed, until the answer comes. */
static void known_keep(struct grant *grant, const struct grant *before, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (before[i].name != NULL && before[i].group == grant->group && before[i].state == GRANT_KNOWN &&
            strcmp(before[i].name, grant->name) == 0) {
            grant->state = GRANT_KNOWN;
            grant->id = before[i].id;
        }
}

static bool take(struct roles *roles, const struct pool_conf *conf) REQUIRES(roles->lock)
{
    const struct pool_conf_grants *wanted = &conf->grants;
    struct grant *before = roles->grants;
    size_t before_count = roles->grant_count;
    bool taken = true;
    roles->grants = memory_zeroed(MAX(wanted->count, (size_t)1), sizeof *roles->grants);
    roles->grant_count = roles->grants == NULL ? 0 : wanted->count;
    for (size_t i = 0; i < roles->grant_count; i++) {
        const struct pool_conf_grant *one = &wanted->list[i];
        struct grant *grant = &roles->grants[i];
        *grant = (struct grant){.group = one->group, .id = one->id, .state = one->by_name ? GRANT_UNKNOWN : GRANT_KNOWN};
        grant->roles = 1u << one->role | ROLE_OBSERVE;
        if (!one->by_name)
            continue;
        taken = taken && (grant->name = strdup(one->name)) != NULL;
        if (grant->name == NULL)
            continue;
        grant->state = GRANT_ASKED_FOR;
        known_keep(grant, before, before_count);
    }
    grants_free(before, before_count);
    return taken && roles->grants != NULL;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           memcmp(&a->st_mtim, &b->st_mtim, sizeof a->st_mtim) == 0 && memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim) == 0;
}

static void complain(struct roles *roles, const char *sentence) REQUIRES(roles->lock)
{
    if (!roles->told)
        message(MESSAGE_WARNING, "control: only root and the user of cofferd are let in: %s", sentence);
    roles->told = true;
}

static void read_again(struct roles *roles, const struct stat *now) REQUIRES(roles->lock)
{
    struct pool_conf *conf;
    roles->told = roles->told && is_same(now, &roles->seen);
    roles->looked = true;
    roles->seen = *now;
    roles->retry = 0;
    enum error error = pool_conf_read(roles->directory, &conf);
    roles->read = error == ERROR_NONE && take(roles, conf);
    if (error == ERROR_NONE) {
        if (conf->grants.fault != NULL)
            complain(roles, conf->grants.fault);
        pool_conf_destroy(conf);
        return;
    }
    forget(roles);
    complain(roles, error_sentence(error));
    error_forget();
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
    if (!roles->looked || !is_same(&now, &roles->seen) || (!roles->read && clock_monotonic() >= roles->retry))
        read_again(roles, &now);
    names_take(roles);
    if (roles->lookup == NULL && clock_monotonic() >= roles->retry)
        names_ask(roles);
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

void roles_init(struct roles *roles, const char *directory)
{
    *roles = (struct roles){.directory = directory};
    mutex_init(&roles->lock, RANK_CONTROL);
}

void roles_deinit(struct roles *roles)
{
    struct lookup *lookup = roles->lookup;
    if (lookup != NULL) {
        mutex_lock(&lookup->lock);
        bool done = lookup->done;
        lookup->left = true;
        mutex_unlock(&lookup->lock);
        if (done)
            lookup_free(lookup);
    }
    grants_free(roles->grants, roles->grant_count);
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

bool roles_pending(struct roles *roles)
{
    bool asked_for = false;
    mutex_lock(&roles->lock);
    refresh(roles);
    for (size_t i = 0; i < roles->grant_count; i++)
        asked_for |= roles->grants[i].state == GRANT_ASKED_FOR;
    bool pending = asked_for && roles->lookup != NULL && clock_monotonic() < roles->patience;
    mutex_unlock(&roles->lock);
    return pending;
}

bool roles_let_in(struct roles *roles)
{
    mutex_lock(&roles->lock);
    refresh(roles);
    bool lets_in = roles->grant_count > 0;
    mutex_unlock(&roles->lock);
    return lets_in;
}
