/* What a pool is doing, gathered from its parts. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/memory.h"
#include "engine/pool/object_table.h"

static const char *key_state(const struct pool *pool)
{
    static const char *const names[] = {"active", "deactivated", "compromised", "unasked", "cached"};
    return names[atomic_load(&pool->kek_state)];
}

static void devices_fill(const struct pool *pool, struct pool_status *status)
{
    const struct group *group = pool->group;
    status->device_count = group->device_count;
    for (uint32_t d = 0; d < group->device_count; d++) {
        const struct device *device = group->devices[d];
        struct device_info *info = &status->devices[d];
        info->uuid = group->superblocks[d].device;
        snprintf(info->path, sizeof info->path, "%s", device->path);
        info->size = group->superblocks[d].device_size;
        info->fenced = atomic_load(&device->fenced);
        info->reads = atomic_load(&device->stats.reads);
        info->read_bytes = atomic_load(&device->stats.read_bytes);
        info->writes = atomic_load(&device->stats.writes);
        info->write_bytes = atomic_load(&device->stats.write_bytes);
        info->flushes = atomic_load(&device->stats.flushes);
        info->discards = atomic_load(&device->stats.discards);
    }
}

/* What the file systems below can still take in sparse files, the space within them that no segment uses included;
 * UINT64_MAX where a device is no file. */
static uint64_t space_below(const struct pool_status *status, uint64_t taken)
{
    uint64_t allocated = 0, size = 0, room = 0;
    dev_t known[GROUP_DEVICES_MAX];
    size_t known_count = 0;
    for (size_t d = 0; d < status->device_count; d++) {
        struct stat file;
        struct statvfs below;
        const char *path = status->devices[d].path;
        if (stat(path, &file) != 0 || !S_ISREG(file.st_mode) || statvfs(path, &below) != 0)
            return UINT64_MAX;
        allocated += (uint64_t)file.st_blocks * 512;
        size += (uint64_t)file.st_size;
        size_t i = 0;
        while (i < known_count && known[i] != file.st_dev)
            i++;
        if (i < known_count)
            continue;
        known[known_count++] = file.st_dev;
        room += (uint64_t)below.f_bavail * below.f_frsize;
    }
    return allocated >= size ? UINT64_MAX : room + (allocated > taken ? allocated - taken : 0);
}

static void space_fill(struct pool *pool, struct pool_status *status)
{
    struct group_figures f;
    group_figures(pool->group, &f);
    status->raw_bytes = f.segments * f.segment_bytes;
    status->reserve_bytes = status->raw_bytes - f.capacity_bytes;
    status->capacity_bytes = f.capacity_bytes;
    status->used_bytes = MIN(f.used_bytes, f.capacity_bytes);
    status->reserved_bytes = MIN(f.reserved_bytes, status->capacity_bytes - status->used_bytes);
    status->free_bytes = status->capacity_bytes - status->used_bytes - status->reserved_bytes;
    uint64_t taken = (f.segments - f.segments_free) * f.segment_bytes;
    status->reclaimable_bytes = taken - MIN(f.used_bytes, taken);
    status->writable_bytes = f.below_full ? 0 : MIN(f.writable_bytes, space_below(status, taken));
    status->live_bytes = f.live_data_bytes + f.live_meta_bytes;
    status->data_stored_bytes = f.live_data_bytes;
    status->meta_stored_bytes = f.live_meta_bytes;
    status->chunks_live = f.chunks_live;
    status->blocks_mapped = f.blocks_mapped;
    status->journal_bytes = f.journal_bytes;
    status->checkpoint_last = f.checkpoint_time;
    status->memory_used = f.memory_used + pool_memory_lent(pool);
    status->below_full = f.below_full;
}

static void totals_fill(struct pool *pool, struct pool_status *status)
{
    struct group_totals *totals = &pool->group->totals;
    status->user_read_bytes = atomic_load(&pool->totals.user_read_bytes);
    status->user_write_bytes = atomic_load(&pool->totals.user_write_bytes);
    status->user_reads = atomic_load(&pool->totals.user_reads);
    status->user_writes = atomic_load(&pool->totals.user_writes);
    status->user_flushes = atomic_load(&pool->totals.user_flushes);
    status->chunks_written = atomic_load(&totals->chunks_written);
    status->chunks_zero = atomic_load(&totals->chunks_zero);
    status->chunks_hit = atomic_load(&totals->chunks_hit);
    status->chunks_false_hit = atomic_load(&totals->chunks_false_hit);
    status->chunks_random = atomic_load(&totals->chunks_random);
    status->unit_bytes_in = atomic_load(&totals->unit_bytes_in);
    status->unit_bytes_out = atomic_load(&totals->unit_bytes_out);
    status->data_written_bytes = atomic_load(&totals->data_written);
    status->meta_written_bytes = atomic_load(&totals->meta_written);
    status->checkpoints = atomic_load(&totals->checkpoints);
    status->read_errors = atomic_load(&totals->read_errors);
    status->index_full = atomic_load(&pool->group->index_full);
    status->replay_bytes = pool->group->replay_bytes;
    status->replay_nanoseconds = pool->group->replay_nanoseconds;
}

static void objects_count(const struct pool *pool, struct pool_status *status)
{
    status->snapshots = pool->table->snapshot_count;
    for (const struct object *object = pool->objects; object; object = object->next) {
        bool snapshot = object_is_snapshot(object), living = object_is_living(object);
        status->objects += !snapshot && living;
        status->objects_trashed += !snapshot && !living;
        status->object_bytes += !snapshot && living ? object->size : 0;
        status->snapshot_bytes += snapshot ? object->size : 0;
    }
}

enum error pool_status(struct pool *pool, struct pool_status *status)
{
    const struct pool_conf_group *group = &pool->conf->groups[0];
    memset(status, 0, sizeof *status);
    mutex_lock(&pool->lock);
    status->uuid = pool->conf->pool;
    status->locked = atomic_load(&pool->locked);
    status->awaits_key = status->locked && pool->awaits_key;
    status->trying = status->locked && pool->trying_awaited;
    if (status->locked && pool->why_locked)
        snprintf(status->why_locked, sizeof status->why_locked, "%s", pool->why_locked);
    status->encryption = pool->conf->encryption != POOL_ENCRYPTION_OFF;
    status->read_only = pool->read_only;
    status->key_state = key_state(pool);
    status->fingerprint = pool->conf->fingerprint;
    snprintf(status->group_name, sizeof status->group_name, "%s", group->name);
    status->group_uuid = group->id;
    status->memory_setting = pool->options.memory ? pool->options.memory : pool->conf->memory;
    if (!status->locked) {
        status->fenced = group_is_fenced(pool->group);
        status->epoch = pool->epoch;
        objects_count(pool, status);
        devices_fill(pool, status);
        space_fill(pool, status);
        totals_fill(pool, status);
    }
    mutex_unlock(&pool->lock);
    return ERROR_NONE;
}
