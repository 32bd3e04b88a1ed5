/* The keys of control_fake.h: a passphrase that is compared, and a count of changes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/control_fake.h"

static enum error leave(struct pool *pool, enum error error)
{
    pthread_mutex_unlock(&pool->lock);
    return error;
}

enum error pool_unlock(struct pool *pool, const char *passphrase, size_t size)
{
    pthread_mutex_lock(&pool->lock);
    const char *wanted = pool->passphrase;
    if (wanted != NULL && passphrase == NULL)
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    if (wanted != NULL && (size != strlen(wanted) || memcmp(passphrase, wanted, size) != 0))
        return leave(pool, ERROR_WRONG_KEY);
    pool->status.locked = false;
    return leave(pool, ERROR_NONE);
}

enum error pool_unlock_by_key(struct pool *pool, const uint8_t *key)
{
    pthread_mutex_lock(&pool->lock);
    pool->status.locked = key == NULL;
    return leave(pool, ERROR_NONE);
}

/* For `coffer import`, whose pools are real ones. */
enum error pool_open(const char *directory, const struct pool_open_options *options, struct pool **pool)
{
    (void)options, (void)pool;
    return error_explain(ERROR_UNSUPPORTED, "%s: there are no disks here", directory);
}

enum error pool_close(struct pool *pool)
{
    (void)pool;
    return ERROR_NONE;
}

enum error pool_lock(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->status.locked = true;
    return leave(pool, ERROR_NONE);
}

enum error pool_rekey(struct pool *pool, const struct pool_rekey_options *options)
{
    pthread_mutex_lock(&pool->lock);
    const char *wanted = pool->passphrase;
    if (pool->status.locked || (wanted != NULL && options->passphrase == NULL))
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    if (wanted != NULL && (options->passphrase_size != strlen(wanted) ||
                           memcmp(options->passphrase, wanted, options->passphrase_size) != 0))
        return leave(pool, ERROR_WRONG_KEY);
    pool->dry_runs += options->dry_run;
    snprintf(pool->used, sizeof(pool->used), "%s", options->provider != NULL ? options->provider : "");
    snprintf(pool->new_passphrase, sizeof(pool->new_passphrase), "%.*s", (int)options->new_passphrase_size,
             options->new_passphrase != NULL ? options->new_passphrase : "");
    pool->kek_number += !options->dry_run;
    pool->roots += options->new_root;
    return leave(pool, ERROR_NONE);
}

enum error pool_key_retire(struct pool *pool, const struct pool_retire_options *options, uint64_t *count)
{
    pthread_mutex_lock(&pool->lock);
    *count = 0;
    if (options->number > pool->kek_number)
        return leave(pool, error_explain(ERROR_NOT_FOUND, "no such old key is known"));
    *count = options->number != 0 ? 1 : pool->kek_number;
    pool->destroyed = options->destroy;
    snprintf(pool->retired_provider, sizeof(pool->retired_provider), "%s", options->provider != NULL ? options->provider : "");
    return leave(pool, ERROR_NONE);
}

enum error pool_key_status(struct pool *pool, struct pool_key_status *status)
{
    pthread_mutex_lock(&pool->lock);
    *status = (struct pool_key_status){.encryption = pool->status.encryption,
                                       .provider = "native",
                                       .type = "native",
                                       .retained_count = pool->kek_number != 0,
                                       .retained = {{.provider = "kmip", .kek_number = 1}},
                                       .kek_number = pool->status.locked ? 0 : 1 + pool->kek_number,
                                       .key_slots = 3};
    snprintf(status->seal, sizeof(status->seal), "%s", pool->seal != NULL         ? pool->seal
                                                          : pool->passphrase != NULL ? "passphrase"
                                                                                     : "file");
    return leave(pool, ERROR_NONE);
}

/* ---- the audit: two entries, the second of the caller's ------------------------------------------------------------------ */

static _Thread_local uint32_t actor_uid, actor_pid;

void pool_audit_actor(uint32_t uid, uint32_t pid)
{
    actor_uid = uid;
    actor_pid = pid;
}

enum error pool_audit_read(struct pool *pool, pool_audit_visit *visit, void *context, struct pool_audit_verdict *verdict)
{
    struct pool_audit_entry entry = {.number = 1, .time = 1796000000, .operation = "pool.open", .target = "provider native",
                                     .key = "22222222-2222-4222-8222-222222222222/1", .result = "ok"};
    *verdict = (struct pool_audit_verdict){.entries = 2, .anchored = 2, .faults = pool->audit_fault != NULL};
    if (pool->audit_fault)
        snprintf(verdict->sentence, sizeof verdict->sentence, "%s", pool->audit_fault);
    if (pool->status.locked)
        return error_explain(ERROR_LOCKED, "the audit can be verified once the pool is unlocked");
    visit(context, &entry, true);
    entry.number = 2;
    entry.uid = actor_uid;
    entry.pid = actor_pid;
    snprintf(entry.operation, sizeof entry.operation, "key.rekey");
    snprintf(entry.result, sizeof entry.result, "%s", pool->audit_fault ? "ok; offline, 10000-01-01T00:00:00Z" : "ok");
    visit(context, &entry, pool->audit_fault == NULL);
    return ERROR_NONE;
}

void pool_audit_state(struct pool *pool, struct pool_audit_state *state)
{
    *state = (struct pool_audit_state){.entries = 2};
    if (pool->audit_fault)
        snprintf(state->fault, sizeof state->fault, "%s", pool->audit_fault);
}

enum error pool_erase(const char *directory, const struct pool_erase_options *options, char **certificate)
{
    (void)directory;
    if (!options->without_key && options->passphrase == NULL)
        return error_explain(ERROR_LOCKED, "a passphrase is needed");
    fake_offline.erases++;
    *certificate = strdup(options->without_key ? "{\"found\":\"ids\"}" : "{\"found\":\"key\"}");
    return *certificate == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

/* ---- keys by name: a device with one of each kind ------------------------------------------------------------------------ */

enum error pool_key_list(struct pool *pool, struct pool_key_list *list)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->status.locked)
        return leave(pool, error_explain(ERROR_LOCKED, "the pool is locked: type `coffer -C '/srv/a pool' unlock`"));
    *list = (struct pool_key_list){.created = 1796000000, .key_count = 3, .device_count = 1};
    list->keys = calloc(3, sizeof *list->keys);
    list->devices = calloc(1, sizeof *list->devices);
    for (unsigned i = 0; i < 3; i++)
        list->keys[i] = (struct pool_key){.kind = i + 1, .slot = 1, .current = true, .kcv = {0xab, (uint8_t)i}};
    snprintf(list->devices[0].path, sizeof list->devices[0].path, "/dev/disk0");
    list->devices[0].id.bytes[0] = 7;
    list->devices[0].kek_number = 1 + pool->kek_number;
    return leave(pool, ERROR_NONE);
}

void pool_audit_reason(const char *reason) { (void)reason; }

void pool_thread_end(void) {}
