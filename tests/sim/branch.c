/*
 * A branch is an episode with copies of devices, model and clock as they are now, which are dropped afterwards. The pool
 * directory is copied, as the crash leaves it (files.c).
 */
#include "tests/sim/branch.h"

#include <ftw.h>
#include <stdio.h>

#include "tests/sim/episode.h"
#include "tests/sim/files.h"
#include "tests/sim/images.h"
#include "tests/sim/life.h"

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

void directory_remove(const char *path)
{
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct beginning {
    uint64_t dice;
    void (*run)(void *argument);
    void *argument;
};

/* In the episode, so that what this changes beside world and model is undone with it. */
static void begin(void *argument)
{
    const struct beginning *beginning = argument;
    life_begin();
    life_plan_none();
    world->dice.state = beginning->dice;
    world->at_event = NULL;
    beginning->run(beginning->argument);
    episode_leave(EPISODE_ENDED);
}

void branch(uint64_t dice, enum branch_kind kind, void (*run)(void *argument), void *argument)
{
    struct beginning beginning = {dice, run, argument};
    struct session *session = world->session;
    char pool[PATH_SIZE];
    world_keep();
    images_branch(kind == BRANCH_LAST);
    images_crash();
    world_data_renew();
    snprintf(pool, sizeof(pool), "%s/branch%u", session->settings.directory, world->branches);
    files_branch(pool);
    if (episode_run(begin, &beginning) != EPISODE_ENDED)
        fail("a branch crashed by itself");
    world_give_back();
    files_remove(pool);
}
