/*
 * The simulator: the engine in a world that is made from a seed and worse than the real one.
 *
 *     coffer-sim --seed N [--lives N] [--operations N] [--verbose]
 *     coffer-sim --seeds FROM..TO [--twice]
 *
 * The workload, the model and the processes are those of the crash test (tests/crash); threads, clock, random numbers
 * (schedule.c) and devices (sim_device.c) are simulated, so that a seed gives the same interleaving, the same crashes
 * and the same trace, of which a hash is printed. A life is a forked process; it ends where the power goes, the parent
 * decides what the devices keep, and the next life compares everything with the model.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/size.h"
#include "tests/crash/child.h"
#include "tests/sim/schedule.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/world.h"

#define LIFE_SECONDS_MAX 120 /* of real time */

struct world *world;

struct choices {
    uint64_t from, to, operations;
    unsigned lives;
    enum sim_plant plant;
    bool verbose, twice;
};

struct tally {
    uint64_t seeds, failed, lives, checks, crashes[PHASES], requests, flushes;
    uint64_t operations, failures, points, switches, stuck, torn, lost, trace;
};

static const char *const phase_names[PHASES] = {"start", "opening", "comparing", "working", "closing", "closed"};
static const char *const plant_names[] = {"none", "flush", "answer", "forget", "lost", "silent", "misdirect"};

/* ---- lives ------------------------------------------------------------------------------------------------------- */

/* After a write or flush failed the pool is fenced: whoever asks hears so, and that ends the life. */
static void take_error(enum error error)
{
    if (world->failed && world->plant != SIM_PLANT_SILENT && (error == ERROR_FENCED || error == ERROR_IO))
        _exit(EXIT_FENCED);
}

/* True where the power went, or the pool was fenced. */
static bool live(void (*run)(struct session *session))
{
    struct session *session = world->session;
    int status;
    atomic_store(&session->phase, PHASE_NONE);
    atomic_store(&session->stop, false);
    world->events = world->phase_events = 0;
    world->phase = PHASE_NONE;
    world->failed = false;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(LIFE_SECONDS_MAX);
        session_error = take_error;
        schedule_start();
        run(session);
        fflush(stderr);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        fail("waitpid: %s", strerror(errno));
    bool crashed = WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_CRASHED || WEXITSTATUS(status) == EXIT_FENCED);
    if (!crashed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail("life %u failed while %s (status %#x)", session->round, phase_names[atomic_load(&session->phase)],
             (unsigned)status);
    return crashed;
}

/* No power loss in this one. */
static void live_to_end(void (*run)(struct session *session))
{
    world->stop_event = UINT64_MAX;
    world->crash_phase = -1;
    world->fail_event = 0;
    if (live(run))
        fail("it crashed by itself");
}

/* Where the life shall stop working, and where the power goes: at some moment of its opening, of its work, or of its
 * end; or only when it is over. */
static void plan_life(uint64_t operations)
{
    uint64_t choice = world_below(100);
    world->fail_event = world_below(6) == 0 ? 1 + world_below(operations) : 0;
    world->stop_event = 1 + world_below(2 * operations);
    world->crash_phase = -1;
    world->crash_event = 1 + world_below(2 * operations);
    if (choice < 20) {
        world->crash_phase = PHASE_OPENING;
        world->crash_event = 1 + world_below(1 + world_below(300));
    } else if (choice < 24) {
        world->crash_phase = PHASE_COMPARING;
    } else if (choice < 74) {
        world->crash_phase = PHASE_WORKING;
        world->stop_event = UINT64_MAX;
    } else if (choice < 92) {
        world->crash_phase = PHASE_CLOSING;
        world->crash_event = 1 + world_below(60);
    }
}

static void run_life(const struct choices *choices, struct tally *tally)
{
    struct session *session = world->session;
    plan_life(choices->operations);
    bool crashed = live(child_work);
    tally->lives++;
    if (crashed)
        tally->crashes[atomic_load(&session->phase)]++;
    if (choices->verbose)
        fprintf(stderr, "life %u: %s while %s after %llu events, %zu changes pending, trace %016llx\n", session->round,
                crashed ? "crashed" : "ended", phase_names[atomic_load(&session->phase)],
                (unsigned long long)world->events, world->pending_count, (unsigned long long)world->trace);
    sim_images_crash();
    if (world_below(100) < session->settings.check_percent) {
        live_to_end(child_check);
        tally->checks++;
    }
}

/* ---- a seed ------------------------------------------------------------------------------------------------------ */

static void *map_shared(size_t size)
{
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory for the world");
    return start;
}

static void draw_world(const struct choices *choices, uint64_t seed)
{
    world->dice.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world->now = UINT64_C(1000000000000);
    world->switch_chance = UINT64_C(2) << world_below(6);
    world->step_max = UINT64_C(16) << world_below(10);
    world->latency_max = UINT64_C(1000) << world_below(12);
    world->stuck_permille = world_below(4) == 0 ? 1 + (unsigned)world_below(20) : 0;
    world->spurious_chance = world_below(3) == 0 ? 20 : 0;
    world->plant = choices->plant;
}

static struct settings draw_settings(const struct choices *choices, uint64_t seed, const char *directory)
{
    struct settings settings = {
        .seed = seed,
        .size = UINT64_C(256) << 20,
        .memory = UINT64_C(96) << 20,
        .rounds = choices->lives,
        .devices = world_below(3) != 0 ? 1 : 2 + (unsigned)world_below(2),
        .workers = 1 + (unsigned)world_below(4),
        .check_percent = 20,
        .sparing_percent =
            choices->plant == SIM_PLANT_ANSWER || world_below(3) == 0 ? 0 : 80 + (unsigned)world_below(21),
        .fingerprint = world_below(2) == 0 ? POOL_FINGERPRINT_XXH3 : POOL_FINGERPRINT_HMAC_SHA256,
        .encryption = world_below(5) != 0,
        .verbose = choices->verbose,
        .plant = choices->plant == SIM_PLANT_ANSWER ? PLANT_EARLY_ANSWER : PLANT_NONE,
        .open_device = sim_device_open,
    };
    snprintf(settings.directory, sizeof(settings.directory), "%s", directory);
    return settings;
}

static void run_seed(const struct choices *choices, uint64_t seed, const char *directory, struct tally *tally)
{
    world = map_shared(sizeof(*world));
    world->data = map_shared(PENDING_BYTES);
    draw_world(choices, seed);
    struct settings settings = draw_settings(choices, seed, directory);
    world->session = session_make(&settings);
    live_to_end(child_format);
    sim_images_map();
    live_to_end(child_populate);
    sim_images_crash();
    for (world->session->round = 1; world->session->round <= choices->lives; world->session->round++)
        run_life(choices, tally);
    live_to_end(child_compare);
    live_to_end(child_check);
    tally->requests += atomic_load(&world->session->requests);
    tally->flushes += atomic_load(&world->session->flushes);
    tally->operations += world->operations;
    tally->failures += world->failures;
    tally->points += world->points;
    tally->switches += world->switches;
    tally->stuck += world->stuck;
    tally->torn += world->torn;
    tally->lost += world->lost;
    tally->trace ^= world->trace;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

/* In a process of its own, which may fail. */
static bool try_seed(const struct choices *choices, uint64_t seed, struct tally *tally)
{
    char directory[64];
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof(directory), "%s/coffer-sim-XXXXXX", parent);
    if (mkdtemp(directory) == NULL)
        fail("no directory %s", directory);
    fflush(stdout);
    pid_t runner = fork();
    if (runner == 0) {
        run_seed(choices, seed, directory, tally);
        _exit(0);
    }
    int status;
    bool passed = runner > 0 && waitpid(runner, &status, 0) == runner && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    tally->seeds++;
    tally->failed += !passed;
    if (!passed)
        printf("seed %llu failed; again: coffer-sim --seed %llu --lives %u --operations %llu --plant %s --verbose\n",
               (unsigned long long)seed, (unsigned long long)seed, choices->lives,
               (unsigned long long)choices->operations, plant_names[choices->plant]);
    return passed;
}

static void print_tally(const struct tally *tally, double seconds)
{
    printf("%llu seeds, %llu failed; %llu lives, crashes:", (unsigned long long)tally->seeds,
           (unsigned long long)tally->failed, (unsigned long long)tally->lives);
    for (unsigned p = 0; p < PHASES; p++)
        if (tally->crashes[p] != 0)
            printf(" %llu %s", (unsigned long long)tally->crashes[p], phase_names[p]);
    printf("; %llu checks, %llu requests, %llu flushes, %llu operations of devices (%llu stuck, %llu failed), %llu "
           "points, %llu "
           "switches, %llu changes lost and %llu torn; %.1f seconds\n",
           (unsigned long long)tally->checks, (unsigned long long)tally->requests, (unsigned long long)tally->flushes,
           (unsigned long long)tally->operations, (unsigned long long)tally->stuck, (unsigned long long)tally->failures,
           (unsigned long long)tally->points, (unsigned long long)tally->switches, (unsigned long long)tally->lost,
           (unsigned long long)tally->torn, seconds);
    printf("trace %016llx\n", (unsigned long long)tally->trace);
}

/* ---- choices ----------------------------------------------------------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("Usage: coffer-sim [OPTION]…\n"
          "  --seed N, --seeds FROM..TO\n"
          "  --lives N         of each seed (default 10)\n"
          "  --operations N    of devices in a life, at most about (default 2000)\n"
          "  --plant BUG       none, flush, answer, forget, lost, silent or misdirect: must be found out\n"
          "  --twice           each seed, which must give the same trace\n"
          "  --verbose\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *value)
{
    uint64_t parsed;
    if (size_parse(value, &parsed) != ERROR_NONE)
        usage();
    return parsed;
}

static void take_seeds(struct choices *choices, char *value)
{
    char *dots = strstr(value, "..");
    if (dots == NULL)
        usage();
    *dots = '\0';
    choices->from = number(value);
    choices->to = number(dots + 2);
}

static enum sim_plant plant_of(const char *value)
{
    for (size_t i = 0; i < COUNT_OF(plant_names); i++)
        if (strcmp(value, plant_names[i]) == 0)
            return (enum sim_plant)i;
    usage();
}

enum option_key { KEY_SEED = 1, KEY_SEEDS, KEY_LIVES, KEY_OPERATIONS, KEY_PLANT, KEY_TWICE, KEY_VERBOSE };

static const struct option options[] = {
    {"seed", required_argument, NULL, KEY_SEED},   {"seeds", required_argument, NULL, KEY_SEEDS},
    {"lives", required_argument, NULL, KEY_LIVES}, {"operations", required_argument, NULL, KEY_OPERATIONS},
    {"plant", required_argument, NULL, KEY_PLANT}, {"twice", no_argument, NULL, KEY_TWICE},
    {"verbose", no_argument, NULL, KEY_VERBOSE},   {NULL, 0, NULL, 0},
};

static void take_option(struct choices *choices, int key, char *value)
{
    if (key == KEY_SEED)
        choices->from = choices->to = number(value);
    else if (key == KEY_SEEDS)
        take_seeds(choices, value);
    else if (key == KEY_LIVES)
        choices->lives = (unsigned)number(value);
    else if (key == KEY_OPERATIONS)
        choices->operations = MAX(number(value), (uint64_t)1);
    else if (key == KEY_PLANT)
        choices->plant = plant_of(value);
    else if (key == KEY_TWICE)
        choices->twice = true;
    else if (key == KEY_VERBOSE)
        choices->verbose = true;
    else
        usage();
}

/* The second time it must come to the same trace. */
static bool repeat_seed(const struct choices *choices, uint64_t seed, struct tally *tally, struct tally *again)
{
    memset(again, 0, sizeof(*again));
    uint64_t before = tally->trace;
    bool passed = try_seed(choices, seed, tally) && try_seed(choices, seed, again);
    if (passed && again->trace != (tally->trace ^ before)) {
        printf("seed %llu has two traces\n", (unsigned long long)seed);
        return false;
    }
    return passed;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
    struct choices choices = {.from = 1, .to = 1, .operations = 2000, .lives = 10};
    for (int key; (key = getopt_long(count, arguments, "", options, NULL)) != -1;)
        take_option(&choices, key, optarg);
    if (optind != count)
        usage();
    double began = seconds_now();
    struct tally *tally = map_shared(sizeof(*tally)), *again = map_shared(sizeof(*again));
    bool passed = true;
    for (uint64_t seed = choices.from; seed <= choices.to && (passed || choices.plant == SIM_PLANT_NONE); seed++)
        passed &= choices.twice ? repeat_seed(&choices, seed, tally, again) : try_seed(&choices, seed, tally);
    print_tally(tally, seconds_now() - began);
    if (choices.plant == SIM_PLANT_NONE)
        return passed ? 0 : 1;
    printf(passed ? "the bug was not found out\n" : "the bug was found out\n");
    return passed ? 1 : 0;
}
