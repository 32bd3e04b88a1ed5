/*
 * Each state is a branch of the life (branch.c), one at a time. One seed gives the same states in the same order, so a
 * state has a number.
 *
 * Two states are the same where the devices hold the same bytes and the model promises the same: the hash of images is
 * mixed with the count of answers that say something of what is durable.
 */
#include "tests/sim/points.h"

#include "base/memory.h"
#include "tests/crash/child.h"
#include "tests/sim/branch.h"
#include "tests/sim/episode.h"
#include "tests/sim/images.h"
#include "tests/sim/life.h"

#define SEEN_COUNT        (UINT64_C(1) << 20)
#define CLOSE_PERCENT     35 /* the others end as they are */
#define CHECK_PERCENT     35
#define AGAIN_PERCENT     30  /* of states: a second crash, if it comes to that event */
#define AGAIN_EVENTS      160 /* about what an open, compare and close take */

static struct points_tally *tally;
static const struct points_choice *choice;
static uint64_t *seen, states;

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

static void verify(void)
{
    bool closes = world_percent(CLOSE_PERCENT);
    closes ? child_compare(world->session) : child_look(world->session);
    if (closes && world_percent(CHECK_PERCENT)) {
        tally->checks++;
        child_check(world->session);
    }
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

static void try_state(size_t variant)
{
    uint64_t key = hash_mix(images_choose(variants[variant].odds), atomic_load(&world->session->promises));
    if (!see(key)) {
        tally->skipped++;
        return;
    }
    states++;
    if (choice->only != 0 && choice->only != states)
        return;
    tally->states++;
    uint64_t dice = hash_mix(states, world->session->settings.seed);
    bool again = dice % 100 < AGAIN_PERCENT;
    episode_name("state %llu, with %s of what was pending,", (unsigned long long)states, variants[variant].name);
    branch(dice, again ? BRANCH_CRASHES : BRANCH_LAST, again ? verify_first : verify_last, NULL);
}

static void crash_here(void)
{
    size_t count = world->pending_count == 0 ? 1 : COUNT_OF(variants);
    tally->events++;
    for (size_t v = 0; v < count; v++)
        try_state(v);
}

static void work(struct session *session)
{
    life_plan_none();
    world->stop_event = choice->events;
    world->at_event = crash_here;
    child_work(session);
}

void points_run(const struct points_choice *points_choice, struct points_tally *points_tally)
{
    tally = points_tally;
    choice = points_choice;
    seen = world_map(SEEN_COUNT * sizeof(*seen));
    if (life_run(work))
        fail("it crashed by itself");
}
