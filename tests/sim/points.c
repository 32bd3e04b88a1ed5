/*
 * Each state is a branch of the life (branch.c), one at a time. One seed gives the same states in the same order, so a
 * state has a number.
 *
 * Two states are the same where devices and pool directory hold the same bytes and the model promises the same: the hash of
 * these is mixed with the count of answers that say something of what is durable, and with what is promised of keys.
 */
#include "tests/sim/points.h"

#include "base/memory.h"
#include "tests/crash/child.h"
#include "tests/sim/branch.h"
#include "tests/sim/episode.h"
#include "tests/sim/faults.h"
#include "tests/sim/files.h"
#include "tests/sim/images.h"
#include "tests/sim/keks.h"
#include "tests/sim/life.h"

#define SEEN_COUNT        (UINT64_C(1) << 20)
#define CLOSE_PERCENT     35 /* the others end as they are */
#define CHECK_PERCENT     35
#define LOOK_PERCENT      35  /* of those closed: what was published is read anew */
#define ROUNDS            6   /* of which a restart knows what it does beside comparing (child.c) */
#define AGAIN_PERCENT     30  /* of states: a second crash, if it comes to that event */
#define AGAIN_EVENTS      160 /* about what an open, compare and close take */
#define ABSENT_PERCENT    40  /* of states of changes of keys, where there are several devices */
#define DEPARTURE_PERCENT 50  /* of such lives */
#define DEPARTURE_EVENTS  600
#define MOVES_THINNED     12  /* of such events one */

static struct points_tally *tally;
static const struct points_choice *choice;
static uint64_t *seen, states;
static uint64_t departs_at; /* or at the first event of a change of keys behind it; 0: no device does */

static const struct {
    const char *name;
    struct crash_odds odds;
} variants[] = {
    {"nothing", {100, 0, false}},    {"all", {0, 0, false}},        {"a part", {50, 0, false}},
    {"a torn part", {25, 50, false}}, {"all but one", {100, 0, true}}, {"all, one of it torn,", {0, 100, true}},
};

/* False where it was there. */
static bool see(uint64_t key)
{
    key |= 1;
    for (uint64_t place = key >> 1, tried = 0; tried < SEEN_COUNT / 2; place++, tried++) {
        uint64_t *slot = &seen[place % SEEN_COUNT];
        if (*slot == key)
            return false;
        if (*slot == 0) {
            *slot = key;
            return true;
        }
    }
    return true;
}

static bool has_many_devices(void)
{
    return session_works(world->session, WORK_REKEYS) && world->images_count > 1;
}

static void verify(void)
{
    world->session->round = 1 + (unsigned)world_below(ROUNDS);
    if (has_many_devices() && world_percent(ABSENT_PERCENT)) {
        tally->absent++;
        child_begin(world->session);
        keks_try_absent((unsigned)world_below(world->images_count));
    }
    bool closes = world_percent(CLOSE_PERCENT);
    closes ? child_compare(world->session) : child_look(world->session);
    if (closes && world_percent(CHECK_PERCENT)) {
        tally->checks++;
        child_check(world->session);
    }
    if (closes && world_percent(LOOK_PERCENT)) /* last: the pool stays open */
        child_look(world->session);
}

/* ---- the second crash -------------------------------------------------------------------------------------------- */

static uint64_t again_event;

static void verify_last(void *unused)
{
    (void)unused;
    verify();
}

static void crash_again(void)
{
    if (world->events != again_event)
        return;
    size_t variant = world_below(COUNT_OF(variants));
    tally->again++;
    images_choose(variants[variant].odds);
    episode_name("and again, with %s of what was pending, it", variants[variant].name);
    branch(dice_throw(&world->dice), BRANCH_LAST, verify_last, NULL);
}

static void verify_first(void *unused)
{
    (void)unused;
    again_event = 1 + world_below(AGAIN_EVENTS);
    world->at_event = crash_again;
    verify();
}

/* ---- the life ---------------------------------------------------------------------------------------------------- */

/* Of all that a change of keys says by what it sets, too. */
static uint64_t promises_hash(const struct session *session)
{
    const struct key_model *keys = &session->keys;
    const uint64_t says[] = {keys->least,         keys->most,  keys->provider_of_least, keys->provider_of_most,
                             keys->deep_possible, keys->whole, keys->one_dek};
    uint64_t hash = atomic_load(&session->promises);
    for (size_t i = 0; i < COUNT_OF(says); i++)
        hash = hash_mix(hash, says[i]);
    return hash;
}

static void try_state(size_t variant)
{
    uint64_t key = hash_mix(images_choose(variants[variant].odds), promises_hash(world->session));
    if (!see(key)) {
        tally->skipped++;
        return;
    }
    states++;
    if (choice->only != 0 && choice->only != states)
        return;
    const struct key_model *keys = &world->session->keys;
    tally->states++;
    tally->keys[keys->doing]++;
    tally->deep += keys->doing == KEYS_STAND && !keys->one_dek && session_works(world->session, WORK_REKEYS);
    uint64_t dice = hash_mix(states, world->session->settings.seed);
    bool again = dice % 100 < AGAIN_PERCENT;
    episode_name("state %llu, with %s of what was pending,", (unsigned long long)states, variants[variant].name);
    branch(dice, again ? BRANCH_CRASHES : BRANCH_LAST, again ? verify_first : verify_last, NULL);
}

/* With what it was doing, and what its cache had. */
static void depart(void)
{
    if (departs_at == 0 || world->events < departs_at || world->session->keys.doing == KEYS_STAND)
        return;
    departs_at = 0;
    tally->departed++;
    fault_depart((unsigned)world_below(world->images_count));
}

/* While segments are encrypted anew all is much alike, but where superblocks and checkpoints are written. */
static bool is_passed_over(void)
{
    const struct key_model *keys = &world->session->keys;
    bool moves = session_works(world->session, WORK_REKEYS) && keys->doing == KEYS_STAND && !keys->one_dek;
    return moves && !world->at_superblock && hash_mix(world->events, world->session->settings.seed) % MOVES_THINNED != 0;
}

static void crash_here(void)
{
    depart();
    if (is_passed_over())
        return;
    size_t count = world->pending_count == 0 && !files_are_pending() ? 1 : COUNT_OF(variants);
    tally->events++;
    for (size_t v = 0; v < count; v++)
        try_state(v);
}

static void work(struct session *session)
{
    life_plan_none();
    world->stop_event = choice->events;
    world->at_event = crash_here;
    if (has_many_devices() && world_percent(DEPARTURE_PERCENT))
        departs_at = 1 + world_below(DEPARTURE_EVENTS);
    child_work(session);
    tally->deep_ends = session->keys.deep_ends;
}

void points_run(const struct points_choice *points_choice, struct points_tally *points_tally)
{
    tally = points_tally;
    choice = points_choice;
    seen = world_map(SEEN_COUNT * sizeof(*seen));
    if (life_run(work))
        fail("it crashed by itself");
}
