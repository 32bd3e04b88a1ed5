/*
 * Comparing after a restart. One thread; a kill between two cells leaves the rest of the model as it was.
 */
#include "tests/crash/compare.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "tests/crash/content.h"

static void print_bytes(const unsigned char *content, uint64_t grain)
{
    for (uint64_t at = 0; at < grain; at += 512) {
        fprintf(stderr, "    at %4llu:", (unsigned long long)at);
        for (unsigned i = 0; i < 16; i++)
            fprintf(stderr, " %02x", content[at + i]);
        fputc('\n', stderr);
    }
}

static bool is_zero(const unsigned char *block)
{
    static const unsigned char zeros[BLOCK];
    return memcmp(block, zeros, BLOCK) == 0;
}

static void compare_cell(struct session *session, struct cell *cell, const unsigned char *content, uint64_t grain,
                         const char *what, uint64_t offset)
{
    uint64_t hash = content_hash(content, grain);
    if (!cell_survives(cell, &session->clock, hash)) {
        cell_print(cell, &session->clock);
        print_bytes(content, grain);
        fail("%s holds at %llu what no crash may leave: %016llx", what, (unsigned long long)offset,
             (unsigned long long)hash);
    }
    cell_settle(cell, &session->clock, hash);
}

static bool compare_stripe(struct session *session, struct volume *volume, unsigned index, unsigned worker)
{
    struct volume_model *model = &session->volumes[index];
    uint64_t offset = stripe_offset(index, worker);
    unsigned char *contents = (unsigned char *)model->stripe_contents[worker];
    if (!read_stubbornly(session, volume, offset, contents, (uint64_t)session->settings.stripe_blocks * BLOCK))
        return false;
    for (uint64_t b = 0; b < session->settings.stripe_blocks; b++)
        compare_cell(session, &model->stripes[worker][b], contents + b * BLOCK, BLOCK, volume_names[index],
                     offset + b * BLOCK);
    return true;
}

static bool compare_shared(struct session *session, struct volume *volume, unsigned index)
{
    struct volume_model *model = &session->volumes[index];
    uint64_t offset = shared_offset(session, index);
    if (!read_stubbornly(session, volume, offset, model->shared_contents, sizeof(model->shared_contents)))
        return false;
    for (uint64_t b = 0; b < SHARED_BLOCKS; b++)
        compare_cell(session, &model->shared[b], model->shared_contents[b], BLOCK, volume_names[index],
                     offset + b * BLOCK);
    return true;
}

static bool compare_split(struct session *session, struct volume *volume, unsigned index)
{
    struct volume_model *model = &session->volumes[index];
    uint64_t offset = split_offset(session, index);
    unsigned char *contents = (unsigned char *)model->split_contents;
    if (!read_stubbornly(session, volume, offset, contents, sizeof(model->split_contents)))
        return false;
    for (uint64_t q = 0; q < SPLIT_BLOCKS * QUARTERS; q++)
        compare_cell(session, &model->split[q / QUARTERS][q % QUARTERS], contents + q * QUARTER, QUARTER,
                     volume_names[index], offset + q * QUARTER);
    return true;
}

bool volumes_compare(struct session *session, struct volume *const volumes[VOLUMES])
{
    bool all = true;
    for (unsigned v = 0; v < VOLUMES && all; v++) {
        for (unsigned w = 0; w < session->settings.workers && all; w++)
            all = compare_stripe(session, volumes[v], v, w);
        all = all && compare_shared(session, volumes[v], v) && compare_split(session, volumes[v], v);
    }
    return all;
}

/* A block of zeros is a hole, whatever made it so. */
static uint64_t mapped_blocks(const struct session *session, unsigned volume)
{
    const struct volume_model *model = &session->volumes[volume];
    uint64_t count = session->moments.least[volume] != 0; /* the block of the stamp, as it was just read */
    for (uint64_t w = 0; w < session->settings.workers; w++)
        for (uint64_t b = 0; b < session->settings.stripe_blocks; b++)
            count += !is_zero(model->stripe_contents[w][b]);
    for (uint64_t b = 0; b < SHARED_BLOCKS; b++)
        count += !is_zero(model->shared_contents[b]);
    for (uint64_t b = 0; b < SPLIT_BLOCKS; b++)
        count += !is_zero(model->split_contents[b]);
    return count;
}

#define USAGE_TRIES 20

/* A walk that holds a view in which an object begins as a snapshot, while that one is emptied, takes the holes for those of the
 * object: what it says is wrong until the view is gone. Only a snapshot of volumes that goes brings that about. */
static bool may_be_wrong(const struct session *session, unsigned tries)
{
    return session_works(session, WORK_MOMENTS) && tries < USAGE_TRIES;
}

bool volumes_compare_usage(struct session *session, struct pool *pool)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        struct object_usage usage;
        uint64_t mapped = mapped_blocks(session, v);
        enum error error;
        unsigned tries = 0;
        do
            error = object_usage(pool, volume_names[v], &usage);
        while (session_again(session, error, "usage") ||
               (!error && usage.logical_bytes != mapped * BLOCK && may_be_wrong(session, tries++)));
        if (error)
            return false;
        if (usage.logical_bytes != mapped * BLOCK || usage.unique_bytes > usage.logical_bytes)
            fail("%s is said to hold %llu bytes, %llu of them unique; %llu were read", volume_names[v],
                 (unsigned long long)usage.logical_bytes, (unsigned long long)usage.unique_bytes,
                 (unsigned long long)mapped * BLOCK);
    }
    return true;
}
