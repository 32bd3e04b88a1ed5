/*
 * The witness is read as the text that it is, checkpoint records as what stands in the clear; which segments are in use
 * says the engine, in a first open. One thread.
 */
#include "tests/sim/told.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/checkpoint.h"
#include "engine/pool/pool.h"
#include "tests/crash/child.h"
#include "tests/sim/appends.h"
#include "tests/sim/plane.h"
#include "tests/sim/world.h"

#define FIELDS_BYTES 512 /* where the fields of records and headers are */
#define HEADER_BYTES 176
#define SEGMENT      (UINT64_C(4) << 20)

static void flip_one(unsigned char *bytes, uint64_t size)
{
    bytes[world_below(size)] ^= (unsigned char)(1u << world_below(8));
}

static void ignore_finding(const char *sentence, void *context)
{
    (void)sentence, (void)context;
}

static enum error check_quietly(uint64_t *errors)
{
    struct pool_open_options options = child_open_options(world->session);
    struct check_report report = {0};
    enum error error = pool_check(world->session->pool, &options, &(struct check_listener){.found = ignore_finding}, &report);
    *errors = report.errors;
    return error;
}

/* ---- the newest checkpoint --------------------------------------------------------------------------------------- */

static uint64_t record_offset(unsigned device, unsigned copy)
{
    uint64_t area = copy < CHECKPOINT_COPIES / 2 ? 0 : world->images[device].size - AREA_SIZE;
    return area + CHECKPOINT_OFFSET + copy % 2 * CHECKPOINT_STRIDE;
}

static unsigned char *bytes_to_change(unsigned device, uint64_t offset)
{
    struct plane *plane = world->images[device].current;
    plane_touch(plane, offset, BLOCK_SIZE);
    return plane->bytes + offset;
}

/* 0: none is there. */
static uint64_t record_number(unsigned device, unsigned copy)
{
    struct checkpoint_format record;
    memcpy(&record, world->images[device].current->bytes + record_offset(device, copy), sizeof(record));
    return memcmp(record.magic, CHECKPOINT_MAGIC, sizeof(record.magic)) == 0 ? le64_get(record.number) : 0;
}

static uint64_t newest_number(void)
{
    uint64_t newest = 0;
    for (unsigned d = 0; d < world->images_count; d++)
        for (unsigned copy = 0; copy < CHECKPOINT_COPIES; copy++)
            newest = MAX(newest, record_number(d, copy));
    return newest;
}

/* The latest up to which any record says that replay skips. */
static uint64_t checkpoint_sequence(void)
{
    uint64_t latest = 0;
    for (unsigned d = 0; d < world->images_count; d++)
        for (unsigned copy = 0; copy < CHECKPOINT_COPIES; copy++) {
            struct checkpoint_format record;
            memcpy(&record, world->images[d].current->bytes + record_offset(d, copy), sizeof(record));
            if (record_number(d, copy) != 0)
                latest = MAX(latest, le64_get(record.sequence));
        }
    return latest;
}

/* Of the devices, the one of which the least was seen. */
static uint64_t witness_number(void)
{
    char path[PATH_SIZE + 16], text[65536];
    snprintf(path, sizeof(path), "%s/witness", world->session->pool);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    uint64_t least = UINT64_MAX;
    for (const char *at = text; (at = strstr(at, "\"checkpoint\":")) != NULL;) {
        at += strlen("\"checkpoint\":");
        uint64_t number = strtoull(at, NULL, 10);
        least = MIN(least, number);
    }
    return least == UINT64_MAX ? 0 : least;
}

/* Taken away, or changed in one bit, wherever it stands: what is left is older than what was seen. */
static bool lose_newest_record(void)
{
    uint64_t newest = newest_number();
    bool whole = world_below(2) == 0;
    if (newest == 0 || witness_number() < newest)
        return false;
    for (unsigned d = 0; d < world->images_count; d++)
        for (unsigned copy = 0; copy < CHECKPOINT_COPIES; copy++)
            if (record_number(d, copy) == newest) {
                unsigned char *record = bytes_to_change(d, record_offset(d, copy));
                whole ? memset(record, 0, BLOCK_SIZE) : flip_one(record, FIELDS_BYTES);
            }
    struct pool_open_options options = child_open_options(world->session);
    struct pool *pool;
    if (pool_open(world->session->pool, &options, &pool) == ERROR_NONE)
        fail("a pool opens whose newest checkpoint record, %llu, is %s everywhere", (unsigned long long)newest,
             whole ? "gone" : "changed");
    return true;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

/* Of a segment with something in it. */
static unsigned char *draw_header(struct group *group)
{
    const struct segments *segments = &group->segments;
    uint32_t used[4096];
    size_t count = 0;
    for (uint32_t i = 0; i < segments->count && count < COUNT_OF(used); i++)
        if (segments->table[i].state != SLOT_FREE && segments->table[i].live != 0)
            used[count++] = i;
    if (count == 0)
        return NULL;
    uint32_t index = used[world_below(count)];
    return bytes_to_change(segment_device(segments, index), AREA_SIZE + segment_slot(segments, index) * SEGMENT);
}

static bool spoil_header(void)
{
    struct pool_open_options options = child_open_options(world->session);
    struct pool *pool;
    uint64_t errors;
    options.read_only = true;
    if (pool_open(world->session->pool, &options, &pool) != ERROR_NONE)
        fail("a pool does not open before anything was spoilt");
    unsigned char *header = draw_header(pool->group);
    succeed(pool_close(pool), "close of the pool");
    if (header == NULL)
        return false;
    flip_one(header, HEADER_BYTES);
    if (check_quietly(&errors) == ERROR_NONE && errors == 0)
        fail("a check finds nothing where a bit of a segment's header is another");
    return true;
}

/* ---- the journal -------------------------------------------------------------------------------------------------- */

/* An append is no end of the journal where a later one says that a flush covered it. */
static bool spoil_append(void)
{
    struct appended append;
    struct pool_open_options options = child_open_options(world->session);
    struct pool *pool;
    if (!appends_draw_covered(checkpoint_sequence(), &append))
        return false;
    flip_one(bytes_to_change(append.device, append.offset), sizeof(struct append_format));
    if (pool_open(world->session->pool, &options, &pool) == ERROR_NONE)
        fail("a pool opens though the append at %llu of device %u, in segment %llu, was flushed and is damaged",
             (unsigned long long)append.offset, append.device, (unsigned long long)append.serial);
    return true;
}

bool told_run(void)
{
    static bool (*const cases[])(void) = {lose_newest_record, spoil_header, spoil_append};
    child_begin(world->session);
    return cases[world_below(COUNT_OF(cases))]();
}
