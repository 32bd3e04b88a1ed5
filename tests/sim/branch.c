/*
 * A branch is an episode with copies of devices, model and clock as they are now, which are dropped afterwards. Files of
 * the pool directory, which the engine replaces as a whole, are copied.
 */
#include "tests/sim/branch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/episode.h"
#include "tests/sim/images.h"
#include "tests/sim/life.h"

static void copy_file(const char *from, const char *to)
{
    struct stat status;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &status) != 0)
        fail("%s: %s", from, strerror(errno));
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, status.st_mode & 07777);
    if (out < 0 || sendfile(out, in, NULL, (size_t)status.st_size) != status.st_size)
        fail("%s: %s", to, strerror(errno));
    close(in);
    close(out);
}

static void copy_pool(const char *from, const char *to)
{
    DIR *directory = opendir(from);
    if (directory == NULL || mkdir(to, 0700) != 0)
        fail("%s: %s", to, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char in[PATH_SIZE + 256], out[PATH_SIZE + 256];
        snprintf(in, sizeof(in), "%s/%s", from, entry->d_name);
        snprintf(out, sizeof(out), "%s/%s", to, entry->d_name);
        if (entry->d_type == DT_REG)
            copy_file(in, out);
    }
    closedir(directory);
}

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
    copy_pool(session->pool, pool);
    memcpy(session->pool, pool, sizeof(pool));
    if (episode_run(begin, &beginning) != EPISODE_ENDED)
        fail("a branch crashed by itself");
    world_give_back();
    directory_remove(pool);
}
