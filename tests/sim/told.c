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
#include "tests/crash/survey.h"
#include "tests/sim/appends.h"
#include "tests/sim/lies.h"
#include "tests/sim/plane.h"
#include "tests/sim/world.h"

#define FIELDS_BYTES 512 /* where the fields of records and headers are */
#define HEADER_BYTES 176
#define TWIN_TRIES   4096
#define TWIN_BLOCKS  64 /* of a segment: they are filled from the front */
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

/* Rot of one bit; a write that never came, where nothing was before; one that came from elsewhere in the segment. */
static const char *spoil_block(unsigned device, uint64_t offset, uint64_t fields)
{
    unsigned char *block = bytes_to_change(device, offset);
    uint64_t choice = world_below(3), segment = AREA_SIZE + (offset - AREA_SIZE) / SEGMENT * SEGMENT;
    if (choice == 0) {
        flip_one(block, fields);
        return "changed in one bit";
    }
    if (choice == 1) {
        memset(block, 0, BLOCK_SIZE);
        return "lost";
    }
    uint64_t from = segment + world_below(SEGMENT / BLOCK_SIZE) * BLOCK_SIZE;
    unsigned char other[BLOCK_SIZE];
    memcpy(other, world->images[device].current->bytes + (from == offset ? segment : from), BLOCK_SIZE);
    memcpy(block, other, BLOCK_SIZE);
    return "another's";
}

/* An append is no end of the journal where a later one says that a flush covered it. */
static bool spoil_append(void)
{
    struct appended append;
    struct pool_open_options options = child_open_options(world->session);
    struct pool *pool;
    if (!appends_draw_covered(checkpoint_sequence(), &append))
        return false;
    const char *how = spoil_block(append.device, append.offset, sizeof(struct append_format));
    enum error error = pool_open(world->session->pool, &options, &pool);
    if (error != ERROR_CORRUPT && error != ERROR_FORGED && error != ERROR_ROLLED_BACK)
        fail("the append at %llu of device %u, in segment %llu, was flushed and is %s, and of the pool is told: %s",
             (unsigned long long)append.offset, append.device, (unsigned long long)append.serial, how, error_name(error));
    return true;
}

/* ---- one of two copies -------------------------------------------------------------------------------------------- */

/* The other one serves, and nothing is missing. */
static void demand_all(const char *what, const char *how)
{
    struct survey survey = {0};
    child_survey(world->session, &survey);
    if (survey.refused != ERROR_NONE || survey.unreadable != 0 || survey.older != 0 || survey.read == 0)
        fail("one copy of %s is %s, and the pool is not what it was: %s; %llu blocks read, %llu older, %llu unreadable", what,
             how, error_name(survey.refused), (unsigned long long)survey.read, (unsigned long long)survey.older,
             (unsigned long long)survey.unreadable);
    free(survey.notes);
}

/* Of the newest checkpoint record, or what it should have replaced. */
static bool spoil_record_copy(void)
{
    uint64_t newest = newest_number();
    unsigned device = (unsigned)world_below(world->images_count), has[CHECKPOINT_COPIES], count = 0;
    for (unsigned copy = 0; copy < CHECKPOINT_COPIES; copy++)
        if (newest != 0 && record_number(device, copy) == newest)
            has[count++] = copy;
    if (count < 2)
        return false;
    unsigned copy = has[world_below(count)];
    unsigned char *record = bytes_to_change(device, record_offset(device, copy));
    bool stale = world_below(2) == 0 && record_number(device, copy ^ 1) != 0;
    if (stale)
        memcpy(record, world->images[device].current->bytes + record_offset(device, copy ^ 1), BLOCK_SIZE);
    else
        flip_one(record, FIELDS_BYTES);
    demand_all("the newest checkpoint record", stale ? "its neighbour's" : "changed in one bit");
    return true;
}

/* A block of a segment in which there are second copies alone. */
static bool spoil_second_copy(void)
{
    static const unsigned char zeros[BLOCK_SIZE];
    for (unsigned i = 0; i < TWIN_TRIES; i++) {
        unsigned device = (unsigned)world_below(world->images_count);
        uint64_t slots = (world->images[device].size - 2 * AREA_SIZE) / SEGMENT;
        uint64_t slot = AREA_SIZE + world_below(slots) * SEGMENT;
        uint64_t offset = slot + (1 + world_below(TWIN_BLOCKS)) * BLOCK_SIZE;
        if (lies_segment(device, offset) != SEGMENT_TWIN ||
            memcmp(world->images[device].current->bytes + offset, zeros, BLOCK_SIZE) == 0)
            continue;
        demand_all("a page", spoil_block(device, offset, BLOCK_SIZE));
        return true;
    }
    return false;
}

bool told_run(void)
{
    static bool (*const cases[])(void) = {lose_newest_record, spoil_header, spoil_append, spoil_record_copy, spoil_second_copy};
    child_begin(world->session);
    return cases[world_below(COUNT_OF(cases))]();
}
