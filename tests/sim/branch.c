/*
 * A branch is a fork: the child has a copy of devices, model and clock as they are now, and forgets the coroutines of
 * the engine that was at work, with all that it kept in memory. Files of the pool directory, which the engine replaces
 * as a whole, are copied; the descriptors that hold its lock are closed.
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
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/images.h"
#include "tests/sim/life.h"
#include "tests/sim/schedule.h"

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

static void pool_of_process(char out[PATH_SIZE], pid_t process)
{
    snprintf(out, PATH_SIZE, "%s/branch%ld", world->session->settings.directory, (long)process);
}

static _Noreturn void begin(uint64_t dice, enum branch_kind kind, void (*run)(void *argument), void *argument)
{
    char pool[PATH_SIZE];
    struct session *session = world->session;
    close_range(STDERR_FILENO + 1, ~0u, 0);
    if (kind == BRANCH_LAST)
        images_unite();
    images_crash();
    pool_of_process(pool, getpid());
    copy_pool(session->pool, pool);
    memcpy(session->pool, pool, sizeof(pool));
    life_begin();
    life_plan_none();
    world->dice.state = dice;
    world->at_event = NULL;
    schedule_restart(run, argument);
}

int branch(uint64_t dice, enum branch_kind kind, void (*run)(void *argument), void *argument)
{
    char pool[PATH_SIZE];
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child == 0)
        begin(dice, kind, run, argument);
    if (waitpid(child, &status, 0) != child)
        fail("waitpid: %s", strerror(errno));
    pool_of_process(pool, child);
    directory_remove(pool);
    return status;
}
