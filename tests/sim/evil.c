/*
 * A case makes one to three *moves*, each drawn from a table, on places that matter: superblocks, checkpoint records,
 * headers, blocks that hold something. Moves change the images of a branch and are gone with it.
 *
 * Behind a part of them the pool is repaired, and surveyed again; at some event of the repair the power goes, in a branch of its
 * own, and what that leaves is surveyed too, repaired once more or not. What could be read before can be read afterwards.
 *
 * One thread.
 */
#include "tests/sim/evil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "engine/group/format.h"
#include "tests/crash/child.h"
#include "tests/crash/survey.h"
#include "tests/sim/appends.h"
#include "tests/sim/branch.h"
#include "tests/sim/episode.h"
#include "tests/sim/images.h"
#include "tests/sim/told.h"

#define REMEMBERED_MAX   4
#define SEGMENT          (UINT64_C(4) << 20)
#define PLACE_TRIES      64
#define MOVES_MAX        3
#define TOLD_PERCENT     15
#define APPEND_PERCENT   20
#define REPAIR_PERCENT   50
#define REPAIR_EVENTS    200

struct place {
    unsigned device;
    uint64_t offset;
};

static struct plane *remembered[REMEMBERED_MAX][DEVICES_MAX];
static unsigned remembered_count, remembered_next;
static struct evil_tally *tally;
static uint64_t case_number;

/* ---- remembering ------------------------------------------------------------------------------------------------- */

void evil_remember(void)
{
    unsigned slot = remembered_next++ % REMEMBERED_MAX;
    for (unsigned d = 0; d < world->images_count; d++) {
        struct plane **memory = &remembered[slot][d];
        if (*memory == NULL)
            *memory = plane_create(world->images[d].size);
        plane_copy(*memory, world->images[d].durable);
    }
    remembered_count = MIN(remembered_count + 1, (unsigned)REMEMBERED_MAX);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static uint64_t device_size(unsigned device)
{
    return world->images[device].size;
}

static bool holds_something(struct place place)
{
    static const unsigned char zeros[BLOCK];
    return memcmp(world->images[place.device].current->bytes + place.offset, zeros, BLOCK) != 0;
}

static uint64_t slots_count(unsigned device)
{
    return (device_size(device) - 2 * AREA_SIZE) / SEGMENT;
}

static uint64_t draw_offset(unsigned device)
{
    uint64_t choice = world_below(100), area = world_below(2) == 0 ? 0 : device_size(device) - AREA_SIZE;
    if (choice < 15)
        return area + world_below(SUPERBLOCK_COPIES / 2 * SUPERBLOCK_SIZE / BLOCK) * BLOCK;
    if (choice < 25)
        return area + CHECKPOINT_OFFSET + world_below(16) * BLOCK;
    uint64_t slot = AREA_SIZE + world_below(slots_count(device)) * SEGMENT;
    return choice < 45 ? slot : slot + world_below(SEGMENT / BLOCK) * BLOCK;
}

/* Of what replay reads: the last block, where records are, or any. */
static bool draw_append(struct place *place)
{
    struct appended append;
    if (world_below(100) >= APPEND_PERCENT || !appends_draw(&append))
        return false;
    uint64_t block = world_below(2) == 0 ? append.blocks - 1 : world_below(append.blocks);
    *place = (struct place){append.device, append.offset + block * BLOCK};
    return true;
}

/* A block, one that holds something if there is one. */
static struct place draw_place(void)
{
    struct place place = {0};
    if (draw_append(&place))
        return place;
    for (unsigned i = 0; i < PLACE_TRIES; i++) {
        place.device = (unsigned)world_below(world->images_count);
        place.offset = draw_offset(place.device);
        if (holds_something(place))
            break;
    }
    return place;
}

/* So many of which are about to be changed. */
static unsigned char *bytes_at(struct place place, uint64_t size)
{
    struct plane *plane = world->images[place.device].current;
    tally->edits++;
    plane_touch(plane, place.offset, size);
    return plane->bytes + place.offset;
}

/* From there on: sectors, blocks, the rest of an area or segment. */
static uint64_t draw_size(struct place place)
{
    static const uint64_t sizes[] = {16, SECTOR, BLOCK, 4 * BLOCK, 64 * BLOCK, SUPERBLOCK_SIZE, SEGMENT};
    uint64_t size = sizes[world_below(COUNT_OF(sizes))];
    return MIN(size, device_size(place.device) - place.offset);
}

static void fill_noise(unsigned char *bytes, uint64_t size)
{
    for (uint64_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t noise = dice_throw(&world->dice);
        memcpy(bytes + i, &noise, MIN(sizeof(noise), size - i));
    }
}

/* ---- moves ------------------------------------------------------------------------------------------------------- */

static void flip_bits(void)
{
    struct place place = draw_place();
    for (uint64_t count = 1 + world_below(4); count > 0; count--)
        bytes_at(place, BLOCK)[world_below(BLOCK)] ^= (unsigned char)(1u << world_below(8));
}

/* Of an append that replay may read: what it says of blocks and chunks. */
static void flip_records(void)
{
    struct appended append;
    if (!appends_draw(&append) || append.records_size == 0)
        return;
    struct place place = {append.device, append.offset + append.records};
    for (uint64_t count = 1 + world_below(2); count > 0; count--)
        bytes_at(place, append.records_size)[world_below(append.records_size)] ^= (unsigned char)(1u << world_below(8));
}

/* Bits here and there in what is stored: a disk that rots. */
static void rot(void)
{
    for (uint64_t count = 1 + world_below(200); count > 0; count--)
        bytes_at(draw_place(), BLOCK)[world_below(BLOCK)] ^= (unsigned char)(1u << world_below(8));
}

static void put_noise(void)
{
    struct place place = draw_place();
    uint64_t size = draw_size(place);
    fill_noise(bytes_at(place, size), size);
}

static void put_zeros(void)
{
    struct place place = draw_place();
    uint64_t size = draw_size(place);
    memset(bytes_at(place, size), 0, size);
}

/* The bytes of one place at another, of the same device or not. */
static void splice(void)
{
    struct place from = draw_place(), to = draw_place();
    uint64_t size = draw_size(from), most = draw_size(to);
    size = MIN(size, most);
    memmove(bytes_at(to, size), world->images[from.device].current->bytes + from.offset, size);
}

static void exchange(void)
{
    struct place one = draw_place(), other = draw_place();
    uint64_t size = draw_size(one), most = draw_size(other);
    unsigned char kept[SUPERBLOCK_SIZE];
    size = MIN(MIN(size, most), (uint64_t)SUPERBLOCK_SIZE);
    memcpy(kept, bytes_at(one, size), size);
    memmove(bytes_at(one, size), bytes_at(other, size), size);
    memcpy(bytes_at(other, size), kept, size);
}

static const unsigned char *older(unsigned device)
{
    return remembered[world_below(remembered_count)][device]->bytes;
}

/* What the same place held before. */
static void replay_old(void)
{
    struct place place = draw_place();
    uint64_t size = draw_size(place);
    const unsigned char *old = older(place.device) + place.offset;
    memcpy(bytes_at(place, size), old, size);
}

/* A whole head or tail area, with all its superblocks and checkpoint records, as it was; of both ends half the time. */
static void roll_back_area(void)
{
    unsigned device = (unsigned)world_below(world->images_count);
    const unsigned char *old = older(device);
    bool both = world_below(2) == 0;
    struct place head = {device, 0}, tail = {device, device_size(device) - AREA_SIZE};
    bool first = world_below(2) == 0;
    if (both || first)
        memcpy(bytes_at(head, AREA_SIZE), old, AREA_SIZE);
    if (both || !first)
        memcpy(bytes_at(tail, AREA_SIZE), old + tail.offset, AREA_SIZE);
}

static void roll_back_to(unsigned device, uint64_t generation)
{
    tally->edits++;
    plane_copy(world->images[device].current, remembered[generation][device]);
}

static void roll_back_device(void)
{
    unsigned device = (unsigned)world_below(world->images_count);
    roll_back_to(device, world_below(remembered_count));
}

static void roll_back_all(void)
{
    uint64_t generation = world_below(remembered_count);
    for (unsigned d = 0; d < world->images_count; d++)
        roll_back_to(d, generation);
}

/* One field of the binary part of every superblock copy: versions, feature flags, encryption, key slots, epochs. */
static void turn_flags(void)
{
    unsigned device = (unsigned)world_below(world->images_count);
    uint64_t field = world_below(512), value = world_below(3) == 0 ? 0xff : world_below(3);
    for (unsigned copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        uint64_t area = copy < SUPERBLOCK_COPIES / 2 ? 0 : device_size(device) - AREA_SIZE;
        struct place place = {device, area + copy % (SUPERBLOCK_COPIES / 2) * SUPERBLOCK_SIZE};
        bytes_at(place, BLOCK)[field] = (unsigned char)value;
    }
}

/* The same field of every segment's header: key slot, kind, salts, neighbours. */
static void turn_headers(void)
{
    uint64_t field = world_below(256), value = world_below(3) == 0 ? 0xff : world_below(3);
    for (unsigned d = 0; d < world->images_count; d++)
        for (uint64_t slot = 0; slot < slots_count(d); slot++) {
            struct place place = {d, AREA_SIZE + slot * SEGMENT};
            if (holds_something(place))
                bytes_at(place, BLOCK)[field] = (unsigned char)value;
        }
}

/* Devices that changed places. */
static void exchange_devices(void)
{
    unsigned one = (unsigned)world_below(world->images_count), other = (unsigned)world_below(world->images_count);
    struct plane *kept = world->images[one].current;
    world->images[one].current = world->images[other].current;
    world->images[other].current = kept;
    tally->edits++;
}

static const struct {
    const char *name;
    void (*make)(void);
} moves[] = {
    {"flipped bits", flip_bits},
    {"records", flip_records},
    {"rot", rot},
    {"noise", put_noise},
    {"zeros", put_zeros},
    {"splice", splice},
    {"exchange", exchange},
    {"replay", replay_old},
    {"area rolled back", roll_back_area},
    {"device rolled back", roll_back_device},
    {"all rolled back", roll_back_all},
    {"flags", turn_flags},
    {"headers", turn_headers},
    {"devices exchanged", exchange_devices},
};

/* ---- cases ------------------------------------------------------------------------------------------------------- */

static void count_survey(const struct survey *survey)
{
    bool opened = survey->read + survey->unreadable != 0;
    tally->refused += !opened;
    tally->opened += opened;
    tally->refused_closing += opened && survey->refused != ERROR_NONE;
    tally->read += survey->read;
    tally->unreadable += survey->unreadable;
    tally->older += survey->older;
}

/* ---- repairs ------------------------------------------------------------------------------------------------------- */

static struct survey before; /* what could be read of the damaged pool */
static uint64_t cut_event;

static void repair(void)
{
    struct pool_open_options options = child_open_options(world->session);
    static struct pool_repair_report report;
    enum error error = pool_repair(world->session->pool, &options, &report);
    if (error == ERROR_BUG || error == ERROR_NO_MEMORY)
        fail("repair of the pool: %s: %s", error_name(error), error_sentence(error));
    tally->repairs++;
}

static void survey_again(void)
{
    struct survey after = {0};
    child_survey(world->session, &after);
    survey_demand(&before, &after);
    free(after.notes);
}

static void look_at_cut(void *again)
{
    if (again != NULL)
        repair();
    survey_again();
}

static void cut_short(void)
{
    static const struct crash_odds odds[] = {{100, 0, false}, {0, 0, false}, {50, 30, false}, {100, 0, true}};
    if (world->events != cut_event)
        return;
    world->at_event = NULL;
    tally->cut_short++;
    images_choose(odds[world_below(COUNT_OF(odds))]);
    episode_name("a repair that was cut short, after which it");
    bool again = world_below(2) == 0;
    branch(dice_throw(&world->dice), BRANCH_LAST, look_at_cut, again ? tally : NULL);
}

/* A pool that did not open, or not to its end, may be given up in part. */
static void repair_and_look(const struct survey *survey)
{
    before = (struct survey){0};
    if (survey->refused == ERROR_NONE)
        before = *survey;
    cut_event = world->events + 1 + world_below(REPAIR_EVENTS);
    world->at_event = cut_short;
    repair();
    world->at_event = NULL;
    survey_again();
}

/* Whatever crash comes. */
static void edits_stay(void)
{
    for (unsigned d = 0; d < world->images_count; d++)
        plane_copy(world->images[d].durable, world->images[d].current);
}

static void run_case(void *verbose)
{
    struct survey survey = {0};
    if (world_percent(TOLD_PERCENT) && told_run()) {
        tally->told++;
        return;
    }
    for (uint64_t count = 1 + world_below(MOVES_MAX); count > 0; count--) {
        size_t move = world_below(COUNT_OF(moves));
        if (verbose != NULL)
            fprintf(stderr, "    move: %s\n", moves[move].name);
        moves[move].make();
    }
    edits_stay();
    child_survey(world->session, &survey);
    count_survey(&survey);
    if (world_percent(REPAIR_PERCENT))
        repair_and_look(&survey);
    free(survey.notes);
    if (verbose != NULL)
        fprintf(stderr, "case %llu: %s, %llu blocks read, %llu older, %llu unreadable\n",
                (unsigned long long)case_number, error_name(survey.refused), (unsigned long long)survey.read,
                (unsigned long long)survey.older, (unsigned long long)survey.unreadable);
}

void evil_run(uint64_t cases, uint64_t only, struct evil_tally *evil_tally)
{
    tally = evil_tally;
    for (uint64_t i = 0; i < cases; i++) {
        uint64_t dice = world_below(UINT64_MAX);
        if (only != 0 && only != i + 1)
            continue;
        case_number = i + 1;
        tally->cases++;
        images_choose((struct crash_odds){0});
        episode_name("case %llu of the evil disk after life %u", (unsigned long long)case_number,
                     world->session->round);
        branch(dice, BRANCH_CRASHES, run_case, world->session->settings.verbose ? tally : NULL);
    }
}
