/*
 * Lives. A life is an episode, so that a crash is its end and nothing that the engine kept in memory is left. It leaves
 * images, model and dice in the world.
 */
#include "tests/sim/life.h"

#include <stdio.h>
#include <string.h>

#include "engine/group/group.h"
#include "tests/sim/episode.h"
#include "tests/sim/faults.h"
#include "tests/sim/keks.h"

/* Where the pool is opened again and again, a life works little; it stops all the same. */
#define OPENS_FACTOR     8
#define PROMISES_MAX     60
#define OPENS_EVENTS     20000

const char *const phase_names[PHASES] = {"start", "opening", "comparing", "working", "closing", "closed"};

/* What a pool that was closed had in flight is complete. */
static void begin_anew(void)
{
    world->opens++;
    faults_forget();
    keks_judge_crash();
}

static void set_clock(int64_t seconds)
{
    world->clock_offset = seconds;
}

/* Replay filled both tables (--wrap). */
enum error __real_group_merge_replayed(struct group *group);
enum error __wrap_group_merge_replayed(struct group *group);
enum error __wrap_group_merge_replayed(struct group *group)
{
    world->both_tables++;
    return __real_group_merge_replayed(group);
}

struct living {
    void (*run)(struct session *session);
};

static void live(void *argument)
{
    const struct living *living = argument;
    session_excuses = faults_excuse;
    session_excuses_since = faults_excuse_since;
    session_moment = faults_moment;
    session_lasts_since = faults_last_since;
    session_opens = begin_anew;
    session_clock_set = set_clock;
    session_met = faults_met;
    session_keys_judge = keks_judge_open;
    living->run(world->session);
    fflush(stderr);
    episode_leave(EPISODE_ENDED);
}

void life_begin(void)
{
    struct session *session = world->session;
    atomic_store(&session->phase, PHASE_NONE);
    atomic_store(&session->stop, false);
    atomic_store(&session->over, false);
    world->events = 0;
    memset(world->phase_events, 0, sizeof(world->phase_events));
    world->phase = PHASE_NONE;
    world->hit = 0;
    world->meta_failed = false;
    world->flush_failed = false;
}

void life_plan_none(void)
{
    world->stop_event = world->stop_total = world->until = world->crash_promise = UINT64_MAX;
    world->crash_phase = -1;
    faults_begin(false);
}

bool life_run(void (*run)(struct session *session))
{
    struct living living = {run};
    life_begin();
    episode_name("life %u", world->session->round);
    return episode_run(live, &living) == EPISODE_CRASHED;
}

void life_run_to_end(void (*run)(struct session *session))
{
    life_plan_none();
    if (life_run(run))
        fail("it crashed by itself");
}

void life_plan(uint64_t operations, uint64_t until)
{
    /* Where the pool is filled each life is to crash. */
    uint64_t choice = world_below(world->session->settings.fills ? 92 : 100), promises = atomic_load(&world->session->promises);
    world->until = until;
    faults_begin(world_below(5) != 0);
    world->stop_event = 1 + world_below(2 * operations);
    world->stop_total = OPENS_FACTOR * operations + OPENS_EVENTS;
    world->crash_phase = -1;
    world->crash_event = 1 + world_below(2 * operations);
    world->crash_promise = UINT64_MAX;
    if (choice < 20) {
        world->crash_phase = PHASE_OPENING;
        world->crash_event = 1 + world_below(1 + world_below(300));
    } else if (choice < 24) {
        world->crash_phase = PHASE_COMPARING;
    } else if (choice < 74) {
        world->crash_phase = PHASE_WORKING;
        world->stop_event = UINT64_MAX;
        if (choice < 50) /* when somebody has just been told that something is durable */
            world->crash_promise = promises + 1 + world_below(1 + world_below(PROMISES_MAX));
    } else if (choice < 92) {
        world->crash_phase = PHASE_CLOSING;
        world->crash_event = 1 + world_below(60);
    }
}
