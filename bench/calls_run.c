/*
 * How long the rare calls take: each so many times, one after the other, in a pool as large as one likes. What they make
 * is deleted for good in the end. A crash leaves objects of the names below behind.
 *
 * The sync that a call which writes is held against is one of a file beside the pool: a write of 8 KiB and fdatasync.
 */
#include "bench/runs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "bench/opened.h"

#define PROBE_BYTES 8192

struct caller {
    const struct bench_options *options;
    struct pool *pool;
    int probe;
    uint64_t round;
};

static enum error sync_call(struct caller *caller)
{
    static const uint8_t bytes[PROBE_BYTES];
    off_t place = (off_t)(caller->round * sizeof bytes);
    if (pwrite(caller->probe, bytes, sizeof bytes, place) != sizeof bytes || fdatasync(caller->probe))
        return error_from_errno(errno, "write and sync a file in %s", caller->options->directory);
    return ERROR_NONE;
}

static enum error list_call(struct caller *caller)
{
    AUTO_FREE struct object_info *infos = NULL;
    size_t count;
    return object_list(caller->pool, &infos, &count);
}

static enum error snapshots_call(struct caller *caller)
{
    AUTO_FREE struct snapshot_info *infos = NULL;
    size_t count;
    return snapshot_list(caller->pool, caller->options->object, NULL, &infos, &count);
}

static enum error status_call(struct caller *caller)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    return status ? pool_status(caller->pool, status) : ERROR_NO_MEMORY;
}

static const char *name_of(const struct caller *caller, const char *kind, char name[OBJECT_NAME_MAX + 1])
{
    snprintf(name, OBJECT_NAME_MAX + 1, "bench-%s-%llu", kind, (unsigned long long)caller->round);
    return name;
}

static enum error create_call(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1];
    struct uuid uuid;
    return object_create(caller->pool, name_of(caller, "object", name), UINT64_C(1) << 40, &uuid);
}

static enum error snapshot_call(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1];
    const char *objects[] = {caller->options->object};
    return object_snapshot(caller->pool, objects, 1, name_of(caller, "snapshot", name), false, 0);
}

static enum error clone_call(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1];
    struct uuid uuid;
    return object_clone(caller->pool, caller->options->object, name_of(caller, "clone", name), &uuid);
}

static enum error create_undo(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1];
    return object_delete(caller->pool, name_of(caller, "object", name), true);
}

static enum error clone_undo(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1];
    return object_delete(caller->pool, name_of(caller, "clone", name), true);
}

static enum error snapshot_undo(struct caller *caller)
{
    char name[OBJECT_NAME_MAX + 1], whole[VERSION_NAME_MAX + 1];
    snprintf(whole, sizeof whole, "%.255s@%.255s", caller->options->object, name_of(caller, "snapshot", name));
    return snapshot_delete(caller->pool, whole);
}

static const struct call {
    const char *name;
    enum error (*run)(struct caller *caller);
} calls[CALLS] = {
    {"sync", sync_call},         {"status", status_call}, {"list", list_call},
    {"create", create_call},     {"snapshot", snapshot_call}, {"list_snapshots", snapshots_call},
    {"clone", clone_call},       {"delete_clone", clone_undo}, {"delete_snapshot", snapshot_undo},
    {"delete_object", create_undo},
};

const char *call_name(size_t call) { return calls[call].name; }

static enum error calls_make(struct caller *caller, struct calls_result *result)
{
    for (size_t i = 0; i < CALLS; i++)
        for (caller->round = 0; caller->round < caller->options->rounds; caller->round++) {
            uint64_t begin = clock_monotonic();
            TRY(calls[i].run(caller));
            histogram_add(&result->times[i], clock_monotonic() - begin);
        }
    return ERROR_NONE;
}

enum error calls_run(const struct bench_options *options, struct calls_result *result)
{
    struct opened opened;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/coffer-bench-probe", options->directory);
    TRY(opened_open(options, options->directory, &opened));
    struct caller caller = {.options = options, .pool = opened.pool};
    caller.probe = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum error error = caller.probe < 0 ? error_from_errno(errno, "create %s", path) : calls_make(&caller, result);
    result->opening = opened.opening;
    result->index_filling = opened.index_filling;
    if (caller.probe >= 0) {
        close(caller.probe);
        unlink(path);
    }
    uint64_t begin = clock_monotonic();
    enum error closed = opened_close(&opened);
    result->closing = clock_monotonic() - begin;
    return error ? error : closed;
}
