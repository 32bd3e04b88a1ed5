/*
 * The pool's side of the audit: whose doing an entry is, and where its anchor goes. An operation makes its entry when it has
 * ended, and what fails of that fails no operation: who cannot write its audit must still be able to lock his pool.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/group/anchor.h"
#include "engine/pool/audit.h"
#include "engine/pool/audit_pending.h"
#include "engine/pool/pool.h"

#define ANCHOR_PATIENCE CLOCK_SECOND /* of who changed a key: a merge may be under way, and the anchor comes behind it */
#define ROUNDS_MAX 64 /* more than a full file of pending entries needs; who adds to it without end is not waited for */

static _Thread_local struct {
    bool known;
    uint32_t uid, pid;
    const char *by;
} actor;

void pool_audit_actor(uint32_t uid, uint32_t pid)
{
    actor.known = true;
    actor.uid = uid;
    actor.pid = pid;
}

void pool_audit_actor_forget(void) { actor.known = false; }

void pool_audit_reason(const char *by) { actor.by = by; }

static bool is_kept(const struct pool *pool)
{
    return pool->conf->encryption != POOL_ENCRYPTION_OFF && !pool->read_only;
}

static void anchor_move(struct pool *pool)
{
    struct audit_anchor anchor;
    audit_anchor_get(pool->audit, &anchor);
    mutex_lock(&pool->witness_lock);
    if (anchor.count > pool->witness->audit.count)
        pool->witness->audit = anchor;
    enum error error = witness_save(pool->witness);
    mutex_unlock(&pool->witness_lock);
    if (error) {
        message(MESSAGE_WARNING, "pool %s: the witness does not know yet how far the audit is: %s", pool->directory,
                error_sentence(error));
        error_forget();
    }
    group_anchor_set(pool->group, &anchor);
}

/* The group is there, and stays. Whether there may be more. */
static bool pending_take(struct pool *pool)
{
    bool moved = audit_pending_take(pool->directory, pool->audit);
    if (moved)
        anchor_move(pool);
    return moved;
}

enum error pool_audit_begin(struct pool *pool)
{
    if (!is_kept(pool))
        return ERROR_NONE;
    const struct audit_anchor *stored = &pool->group->checkpoint.audit, *seen = &pool->witness->audit;
    struct audit_anchor anchor = stored->count > seen->count ? *stored : *seen;
    TRY(audit_begin(pool->audit, pool->conf->pool, pool->k_pools, &anchor));
    pending_take(pool);
    return ERROR_NONE;
}

static void key_name(struct pool *pool, char *text, size_t size)
{
    char id[UUID_TEXT_SIZE];
    mutex_lock(&pool->witness_lock);
    uuid_format(pool->witness->provider, id);
    snprintf(text, size, "%s/%llu", id, (unsigned long long)pool->witness->kek_number);
    mutex_unlock(&pool->witness_lock);
}

void pool_audit(struct pool *pool, const char *operation, enum error error)
{
    pool_audit_by(pool, operation, NULL, error);
}

void pool_audit_by(struct pool *pool, const char *operation, const char *by, enum error error)
{
    if (!is_kept(pool))
        return;
    struct pool_audit_entry entry = {.uid = actor.known ? actor.uid : (uint32_t)geteuid(),
                                     .pid = actor.known ? actor.pid : (uint32_t)getpid()};
    AUTO_FREE char *sentence = error ? strdup(error_sentence(error)) : NULL;
    snprintf(entry.operation, sizeof entry.operation, "%s", operation);
    by = by ? by : actor.by;
    snprintf(entry.target, sizeof entry.target, "provider %s%s%s", pool->provider->name, by ? ", by " : "", by ? by : "");
    if (pool->group)
        pending_take(pool);
    if (error)
        snprintf(entry.result, sizeof entry.result, "%s: %.*s", error_name(error), (int)sizeof entry.result,
                 sentence ? sentence : "");
    else
        snprintf(entry.result, sizeof entry.result, "ok");
    audit_pending_mark_break(entry.result);
    if (pool->witness)
        key_name(pool, entry.key, sizeof entry.key);
    bool moved = audit_add(pool->audit, &entry);
    if (moved && pool->group)
        anchor_move(pool);
    if (sentence)
        (void)!error_explain(error, "%s", sentence);
}

void pool_audit_anchor(struct pool *pool)
{
    if (is_kept(pool) && pool->group)
        group_anchor_publish(pool->group, ANCHOR_PATIENCE);
}

/* ---- for the server ------------------------------------------------------------------------------------------------------ */

/* One round of what is pending, which others of the pool need not wait for longer, and how far the audit is then. */
static enum error read_begin(struct pool *pool, struct audit_anchor *anchor, bool *more)
{
    *more = false;
    mutex_lock(&pool->lock);
    enum error error = pool_check_unlocked(pool);
    if (!error && !pool->changing && is_kept(pool)) /* else whoever changes it does */
        *more = pending_take(pool);
    if (!error) {
        mutex_lock(&pool->witness_lock);
        *anchor = pool->witness->audit;
        mutex_unlock(&pool->witness_lock);
    }
    mutex_unlock(&pool->lock);
    return error;
}

enum error pool_audit_read(struct pool *pool, pool_audit_visit *visit, void *context, struct pool_audit_verdict *verdict)
{
    struct audit_anchor anchor = {0};
    bool more = true;
    if (pool->conf->encryption == POOL_ENCRYPTION_OFF)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no keys, and so no audit", pool->directory);
    for (unsigned round = 0; more && round < ROUNDS_MAX; round++)
        TRY(read_begin(pool, &anchor, &more));
    return audit_read(pool->audit, &anchor, visit, context, verdict);
}

void pool_audit_publish(struct pool *pool)
{
    mutex_lock(&pool->lock);
    if (atomic_load(&pool->locked) || pool->changing || !is_kept(pool)) { /* whoever changes it does, or tomorrow will do */
        mutex_unlock(&pool->lock);
        return;
    }
    pending_take(pool);
    pool_group_use(pool);
    pool_audit_anchor(pool);
    pool_group_leave(pool);
    mutex_unlock(&pool->lock);
}

void pool_audit_state(struct pool *pool, struct pool_audit_state *state)
{
    audit_state(pool->audit, state);
}
