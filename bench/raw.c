/*
 * The raw device, as a driver of the workload.
 *
 * Depth kept full: a thread's requests are cut into groups, and only the oldest group is waited for and sent anew, so
 * that the device always has the others to work on. One group is the batched kind.
 *
 * A crash leaves a file in the temporary directory, nothing else.
 */
#include "bench/raw.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/device/device.h"

#define GROUPS_MAX     4
#define FILE_BYTES_MAX (UINT64_C(8) << 30)
#define FILL_BLOCK     (UINT64_C(1) << 20)

struct raw {
    struct device *device;
    uint64_t groups;
};

struct group {
    struct operation *operations;
    struct device_io *ios;
    struct device_io **submitted;
    size_t capacity, count;
};

static void io_prepare(struct device_io *io, const struct operation *operation, struct device *device)
{
    static const enum device_operation kinds[] = {
        [OPERATION_READ] = DEVICE_READ, [OPERATION_WRITE] = DEVICE_WRITE, [OPERATION_FLUSH] = DEVICE_FLUSH};
    *io = (struct device_io){.device = device,
                             .operation = kinds[operation->kind],
                             .offset = operation->offset,
                             .size = operation->length,
                             .buffer = operation->kind == OPERATION_FLUSH ? NULL : operation->data};
}

static void group_start(struct workload *workload, struct group *group)
{
    struct raw *raw = workload->driver;
    group->count = 0;
    while (group->count < group->capacity && workload_next(workload, &group->operations[group->count])) {
        io_prepare(&group->ios[group->count], &group->operations[group->count], raw->device);
        group->submitted[group->count] = &group->ios[group->count];
        group->count++;
        if (group->operations[group->count - 1].kind == OPERATION_FLUSH)
            break;
    }
    device_submit(group->submitted, group->count);
}

static void group_wait(struct workload *workload, struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        workload_done(workload, &group->operations[i], device_wait(&group->ios[i]));
}

static enum error group_init(struct group *group, size_t capacity, uint8_t *buffers, size_t stride)
{
    group->capacity = capacity;
    group->operations = memory_zeroed(capacity, sizeof *group->operations);
    group->ios = memory_zeroed(capacity, sizeof *group->ios);
    group->submitted = memory_zeroed(capacity, sizeof *group->submitted);
    if (!group->operations || !group->ios || !group->submitted)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < capacity; i++)
        group->operations[i].data = buffers + i * stride;
    return ERROR_NONE;
}

static void group_deinit(struct group *group)
{
    free(group->operations);
    free(group->ios);
    free(group->submitted);
}

static void groups_run(struct workload *workload, struct group *groups, size_t count)
{
    for (size_t i = 0; i < count; i++)
        group_start(workload, &groups[i]);
    for (size_t oldest = 0; groups[oldest].count; oldest = (oldest + 1) % count) {
        group_wait(workload, &groups[oldest]);
        group_start(workload, &groups[oldest]);
    }
    for (size_t i = 0; i < count; i++)
        group_wait(workload, &groups[i]);
}

static void raw_loop(struct workload *workload)
{
    struct raw *raw = workload->driver;
    struct group groups[GROUPS_MAX] = {0};
    size_t depth = options_thread_depth(workload->options), count = MIN(raw->groups, depth), stride;
    AUTO_FREE uint8_t *buffers = workload_buffers(workload->options, depth, &stride);
    enum error error = buffers ? ERROR_NONE : ERROR_NO_MEMORY;
    for (size_t i = 0; i < count && !error; i++) {
        size_t first = depth * i / count;
        error = group_init(&groups[i], depth * (i + 1) / count - first, buffers + first * stride, stride);
    }
    if (error)
        workload_fail(workload, error);
    else
        groups_run(workload, groups, count);
    for (size_t i = 0; i < count; i++)
        group_deinit(&groups[i]);
}

static enum error raw_finish(void *driver)
{
    struct raw *raw = driver;
    return device_flush(raw->device);
}

static const struct driver raw_driver = {raw_loop, raw_finish};

static enum error raw_fill(const struct bench_options *options, struct raw *raw)
{
    struct bench_options fill = *options;
    struct measure ignored;
    fill.pattern = PATTERN_SEQUENTIAL;
    fill.read_percent = 0;
    fill.block_size = MIN(FILL_BLOCK, ROUND_DOWN(options->size / options->threads, DEVICE_BLOCK));
    fill.bytes = options->size;
    fill.seconds = fill.flush_interval = 0;
    fill.compress_percent = fill.duplicate_percent = 0;
    fill.depth = 4 * options->threads;
    return workload_run(&fill, 1, &raw_driver, raw, &ignored);
}

static enum error raw_open(const char *path, uint64_t size, struct raw *raw)
{
    unlink(path);
    TRY(device_create_file(path, size));
    return device_open_file(path, 0, &raw->device);
}

static void raw_close(const char *path, struct raw *raw)
{
    if (raw->device)
        device_close(raw->device);
    raw->device = NULL;
    unlink(path);
}

/* Reads share one filled file. Writes get a fresh one each, as the pool's own device is fresh. */
static enum error raw_measure(const struct bench_options *options, const char *path, struct raw *raw,
                              struct raw_limits *limits)
{
    raw->groups = 1;
    TRY(raw_open(path, options->size, raw));
    if (options->read_percent)
        TRY(raw_fill(options, raw));
    TRY(workload_run(options, 0, &raw_driver, raw, &limits->batched));
    if (!options->read_percent) {
        raw_close(path, raw);
        TRY(raw_open(path, options->size, raw));
    }
    raw->groups = GROUPS_MAX;
    return workload_run(options, 0, &raw_driver, raw, &limits->full);
}

enum error raw_run(const struct bench_options *options, const char *directory, struct raw_limits *limits)
{
    struct bench_options shaped = *options;
    struct raw raw = {0};
    char path[PATH_MAX];
    limits->measured = options->block_size % DEVICE_BLOCK == 0;
    if (!limits->measured)
        return ERROR_NONE;
    shaped.size = MIN(options->size, FILE_BYTES_MAX);
    if (snprintf(path, sizeof path, "%s/coffer-bench-%ld.raw", directory, (long)getpid()) >= (int)sizeof path)
        return error_explain(ERROR_TOO_LARGE, "%s: the path is too long", directory);
    enum error error = raw_measure(&shaped, path, &raw, limits);
    raw_close(path, &raw);
    return error;
}
