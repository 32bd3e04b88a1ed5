/*
 * The simulator: the engine in a world that is made from a seed and worse than the real one.
 *
 *     coffer-sim --seed N [--lives N] [--operations N] [--until N] [--verbose]
 *     coffer-sim --seeds FROM..TO [--twice] [--jobs N]
 *     coffer-sim --seed N --points [--state K]
 *     coffer-sim --seed N --evil CASES
 *     coffer-sim --seeds FROM..TO --churn
 *     coffer-sim --seeds FROM..TO --rekeys [--points]
 *
 * The workload, the model and the processes are those of the crash test (tests/crash); threads, clock, random numbers
 * (schedule.c) and devices (sim_device.c) are simulated, so that a seed gives the same interleaving, the same crashes
 * and the same trace, of which a hash is printed. A seed is a forked process, a life an episode in it (episode.h): it ends
 * where the power goes, then is decided what the devices keep, and the next life compares everything with the model.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/size.h"
#include "engine/group/merge.h"
#include "engine/group/replay.h"
#include "tests/crash/child.h"
#include "tests/sim/branch.h"
#include "tests/sim/episode.h"
#include "tests/sim/evil.h"
#include "tests/sim/faults.h"
#include "tests/sim/files.h"
#include "tests/sim/images.h"
#include "tests/sim/life.h"
#include "tests/sim/points.h"
#include "tests/sim/sim_device.h"

struct choices {
    uint64_t from, to, operations;
    unsigned lives, jobs;
    enum sim_plant plant;
    bool verbose, twice, points, brief, churn, rekeys;
    uint64_t state, evil, until;
};

struct tally {
    uint64_t seeds, failed, lives, checks, crashes[PHASES], requests, flushes, calls, fillings, done[DONES];
    uint64_t operations, reached, faults[FAULTS], opens, both_tables, points, switches, torn, lost, trace;
    struct points_tally crash_points;
    struct evil_tally evil;
};

#define JOBS_MAX 64
#define CHURN_MIB UINT64_C(136) /* of a device, about the smallest */
#define MANY_DEVICES_MIN 4u
#define DEVICE_STEP      (INT64_C(9) << 20) /* no whole number of segments */

static const char *const plant_names[SIM_PLANTS] = {"none", "flush", "answer", "forget", "lost", "silent", "misdirect"};

/* ---- lives ------------------------------------------------------------------------------------------------------- */

static void crash(void)
{
    static const unsigned percents[] = {0, 3, 30, 50, 97, 100};
    struct crash_odds odds = {.lose_percent = percents[world_below(COUNT_OF(percents))],
                              .tear_percent = world_below(2) == 0 ? 0 : 30,
                              .one = world_below(3) == 0};
    if (odds.one)
        odds.tear_percent = world_below(2) == 0 ? 0 : 100;
    images_choose(odds);
    images_crash();
    files_crash();
}

/* The power goes, or only the process: then a later loss of power may take what this life wrote. */
static void end_life(const struct choices *choices)
{
    bool alone = world_percent(25) && !world->flush_failed && choices->evil == 0;
    alone ? images_outlive() : crash();
}

static void run_life(const struct choices *choices, struct tally *tally)
{
    struct session *session = world->session;
    life_plan(choices->operations, choices->until);
    bool crashed = life_run(child_work);
    tally->lives++;
    if (crashed)
        tally->crashes[atomic_load(&session->phase)]++;
    if (choices->verbose)
        fprintf(stderr, "life %u: %s while %s after %llu events, %zu changes pending, trace %016llx\n", session->round,
                crashed ? "crashed" : "ended", phase_names[atomic_load(&session->phase)],
                (unsigned long long)world->events, world->pending_count, (unsigned long long)world->trace);
    end_life(choices);
    if (choices->evil != 0) {
        evil_remember();
        evil_run(choices->evil, choices->state, &tally->evil);
    }
    /* An open that ended while it wrote a superblock anew left copies of two ages, which a check tells and the next open
     * ends. */
    bool opening = crashed && atomic_load(&session->phase) == PHASE_OPENING;
    if (world_below(100) < session->settings.check_percent && !opening) {
        life_run_to_end(child_check);
        tally->checks++;
    }
}

/* ---- a seed ------------------------------------------------------------------------------------------------------ */

/* Every second sixteen of seeds. */
static bool is_hasty(uint64_t seed)
{
    return seed / 16 % 2 == 1;
}

static bool does_later(uint64_t seed)
{
    return seed % 8 == 5 || seed % 8 == 6;
}

static void draw_world(const struct choices *choices, uint64_t seed)
{
    world->dice.state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    world->now = UINT64_C(1000000000000);
    world->switch_chance = UINT64_C(2) << world_below(6);
    world->step_max = UINT64_C(16) << world_below(16);
    world->latency_max = UINT64_C(1000) << world_below(15);
    world->spurious_chance = world_below(3) == 0 ? 20 : 0;
    world->plant = choices->plant;
    world->refuses_memory = does_later(seed);
    atomic_store(&recompress_idle, seed / 2 % 2 ? 0 : RECOMPRESS_IDLE); /* else a life has too few quiet seconds */
    atomic_store(&clean_always, seed % 2); /* pools seldom become short of space within a life */
    if (is_hasty(seed)) { /* lives are short: what takes much of a journal is to come with little */
        atomic_store(&flush_ahead_bytes, UINT64_C(16384) << seed / 2 % 4);
        atomic_store(&replay_table_bytes, UINT64_C(1024) << seed / 2 % 8);
    }
    faults_draw();
}

/* One of four, of different kinds of work: those that came to it while few were known by what they find. */
static bool has_what_grows(uint64_t seed)
{
    return seed % 16 == 5 || seed % 16 == 10 || seed % 16 == 12 || seed % 16 == 15;
}

/* A third, of different kinds of work: what is written again before the device has it takes the place of what was there. */
static bool rewrites(uint64_t seed)
{
    return seed % 16 == 1 || seed % 16 == 2 || seed % 16 == 5 || seed % 16 == 9 || seed % 16 == 14;
}

/* Of eight seeds four do what all do, and nothing else; those of remainder 5 and 6 also what came last to the workload, and
 * those of 6 change keys, but for a crash at each event, which would be too many. */
static unsigned work_of(const struct choices *choices, uint64_t seed)
{
    unsigned work = seed % 8 < 4 ? 0 : (unsigned)(hash_mix(seed, WORK_ALL) % WORK_ALL + 1);
    if (does_later(seed))
        work |= (unsigned)(hash_mix(seed, WORK_LATER) % (WORK_LATER / WORK_KEEPS) + 1) * WORK_KEEPS;
    if (seed % 8 >= 4)
        work |= WORK_MOMENTS;
    if (has_what_grows(seed))
        work |= WORK_GROWS;
    if (rewrites(seed))
        work |= WORK_REWRITES;
    return work | (choices->rekeys || (seed % 8 == 6 && !choices->points) ? WORK_REKEYS : 0);
}

/* A device has a least size, so of a pool that is to be filled two are seldom. */
static unsigned draw_devices(const struct choices *choices)
{
    if (choices->churn)
        return world_below(8) != 0 ? 1 : 2;
    return world_below(3) != 0 ? 1 : 2 + (unsigned)world_below(2);
}

/* Three of sixteen, which are of different kinds of work. */
static bool has_many_devices(uint64_t seed)
{
    return seed % 16 == 6 || seed % 16 == 10 || seed % 16 == 12;
}

/* Drawn from the seed alone, so that the others mean what they did. Three of five have devices of different sizes. */
static void draw_many_devices(struct settings *settings)
{
    static const int steps[] = {0, 1, -1, 5, 0};
    struct dice dice = {.state = hash_mix(settings->seed, DEVICES_MAX)};
    settings->devices = MANY_DEVICES_MIN + (unsigned)dice_below(&dice, DEVICES_MAX - MANY_DEVICES_MIN + 1);
    settings->size_step = steps[dice_below(&dice, COUNT_OF(steps))] * DEVICE_STEP;
}

static struct settings draw_settings(const struct choices *choices, uint64_t seed, const char *directory)
{
    unsigned work = work_of(choices, seed);
    struct settings settings = {
        .seed = seed,
        .size = (choices->churn ? CHURN_MIB + world_below(3) * 8 : UINT64_C(192) + world_below(9) * 8) << 20,
        .memory = UINT64_C(52) << 20,
        .stripe_blocks = choices->points || choices->evil != 0 || choices->churn ? 64 : 0,
        .fills = choices->churn,
        .work = work | (choices->churn ? WORK_RESERVES : 0) | (is_hasty(seed) ? WORK_HASTE : 0),
        .rounds = choices->lives,
        .devices = draw_devices(choices),
        .workers = 1 + (unsigned)world_below(choices->points || choices->evil != 0 || choices->churn ? 2 : 4),
        .lives_pause = 4u << world_below(choices->churn ? 8 : 14),
        .check_percent = 20,
        .sparing_percent =
            choices->plant == SIM_PLANT_ANSWER || world_below(3) == 0 ? 0 : 80 + (unsigned)world_below(21),
        .fingerprint = world_below(2) == 0 ? POOL_FINGERPRINT_XXH3 : POOL_FINGERPRINT_HMAC_SHA256,
        .encryption = world_below(5) != 0 || (work & WORK_REKEYS) != 0,
        .awaits_deep = choices->rekeys && choices->points,
        .verbose = choices->verbose,
        .plant = choices->plant == SIM_PLANT_ANSWER ? PLANT_EARLY_ANSWER : PLANT_NONE,
        .open_device = sim_device_open,
        .keep_written = choices->evil != 0,
    };
    if (choices->rekeys && choices->points)
        settings.devices = 1 + (unsigned)(hash_mix(seed, WORK_REKEYS) % 3);
    if (has_many_devices(seed) && !choices->churn) /* which nobody would fill */
        draw_many_devices(&settings);
    if ((work & WORK_MOMENTS) != 0) /* who meet */
        settings.workers = MAX(settings.workers, 2u);
    snprintf(settings.directory, sizeof(settings.directory), "%s", directory);
    return settings;
}

static void add_world(struct tally *tally)
{
    tally->requests += atomic_load(&world->session->requests);
    tally->flushes += atomic_load(&world->session->flushes);
    tally->calls += atomic_load(&world->session->calls);
    tally->fillings += atomic_load(&world->session->fillings);
    for (unsigned d = 0; d < DONES; d++)
        tally->done[d] += atomic_load(&world->session->done[d]);
    tally->operations += world->operations;
    for (unsigned f = 0; f < FAULTS; f++)
        tally->faults[f] += world->faults_done[f];
    tally->opens += world->opens;
    tally->both_tables += world->both_tables;
    tally->points += world->points;
    tally->switches += world->switches;
    tally->torn += world->torn;
    tally->lost += world->lost;
    tally->trace ^= world->trace;
}

/* A small index: each open makes one. */
static void shrink_index(void)
{
    char path[PATH_SIZE + 16];
    snprintf(path, sizeof(path), "%s/coffer.conf", world->session->pool);
    FILE *conf = fopen(path, "ae");
    if (conf == NULL || fputs("\n[pool]\nindex-memory = 1M\n", conf) < 0 || fclose(conf) != 0)
        fail("%s cannot be changed", path);
}

static void run_seed(const struct choices *choices, uint64_t seed, const char *directory, struct tally *tally)
{
    world_create();
    episodes_begin();
    draw_world(choices, seed);
    world->reached = &tally->reached;
    struct settings settings = draw_settings(choices, seed, directory);
    world->session = session_make(&settings);
    life_run_to_end(child_format);
    shrink_index();
    images_map();
    files_begin();
    life_run_to_end(child_populate);
    crash();
    for (world->session->round = 1; world->session->round <= choices->lives; world->session->round++)
        if (world->operations < choices->until)
            run_life(choices, tally);
    if (choices->points) {
        points_run(&(struct points_choice){.events = choices->operations, .only = choices->state},
                   &tally->crash_points);
    } else {
        life_run_to_end(child_compare);
        life_run_to_end(child_check);
    }
    add_world(tally);
}

/* All of its fields are counts, and the trace one more number that does not care about the order. */
static void tally_add(struct tally *total, const struct tally *tally)
{
    uint64_t *sums = (uint64_t *)total;
    const uint64_t *counts = (const uint64_t *)tally;
    for (size_t i = 0; i < sizeof(*total) / sizeof(*sums); i++)
        sums[i] += counts[i];
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

/* A seed at work in a process of its own, which may fail. */
struct runner {
    pid_t process; /* 0: none */
    uint64_t seed;
    char directory[64];
    struct tally *tally; /* what this seed comes to */
};

static void runner_start(struct runner *runner, const struct choices *choices, uint64_t seed)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(runner->directory, sizeof(runner->directory), "%s/coffer-sim-XXXXXX", parent);
    if (mkdtemp(runner->directory) == NULL)
        fail("no directory %s", runner->directory);
    memset(runner->tally, 0, sizeof(*runner->tally));
    runner->seed = seed;
    fflush(stdout);
    runner->process = fork();
    if (runner->process < 0)
        fail("no process for a seed");
    if (runner->process == 0) {
        run_seed(choices, seed, runner->directory, runner->tally);
        _exit(0);
    }
}

/* What to type: of states and attacks those that went well before need not be tried again. */
static void print_failed(const struct choices *choices, uint64_t seed, const struct tally *tally)
{
    bool evil = choices->evil != 0;
    uint64_t state = evil ? (tally->evil.cases - 1) % choices->evil + 1 : tally->crash_points.states;
    printf("seed %llu failed; again: coffer-sim --seed %llu --lives %u --operations %llu", (unsigned long long)seed,
           (unsigned long long)seed, choices->lives, (unsigned long long)choices->operations);
    if (choices->plant != SIM_PLANT_NONE)
        printf(" --plant %s", plant_names[choices->plant]);
    if (choices->churn)
        fputs(" --churn", stdout);
    if (choices->rekeys)
        fputs(" --rekeys", stdout);
    if (choices->points)
        fputs(" --points", stdout);
    if (evil)
        printf(" --evil %llu", (unsigned long long)choices->evil);
    if (choices->state == 0 && (evil ? tally->evil.cases : tally->crash_points.states) != 0)
        printf(" --state %llu", (unsigned long long)state);
    puts(" --verbose");
}

static bool is_passed(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Without words. */
static bool prefix_fails(const struct choices *choices, uint64_t seed, uint64_t until, struct tally *tally)
{
    struct choices shorter = *choices;
    struct runner runner = {.tally = tally};
    int status, words = dup(STDERR_FILENO), nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    shorter.until = until;
    shorter.verbose = false;
    if (words < 0 || nothing < 0 || dup2(nothing, STDERR_FILENO) < 0)
        fail("no /dev/null");
    runner_start(&runner, &shorter, seed);
    if (waitpid(runner.process, &status, 0) != runner.process || dup2(words, STDERR_FILENO) < 0)
        fail("waitpid");
    close(words);
    close(nothing);
    directory_remove(runner.directory);
    return !is_passed(status);
}

/* The power goes before an operation, and what is left is compared and checked: the earliest one with which that fails,
 * as far as halving finds it. */
static void print_prefix(const struct choices *choices, uint64_t seed, struct tally *tally)
{
    uint64_t reached = tally->reached, passes = 0, fails = reached + 1;
    while (fails - passes > 1) {
        uint64_t middle = passes + (fails - passes) / 2;
        *(prefix_fails(choices, seed, middle, tally) ? &fails : &passes) = middle;
    }
    if (fails <= reached)
        printf("the shortest prefix that fails: --until %llu, of its %llu operations\n", (unsigned long long)fails,
               (unsigned long long)reached);
    else
        printf("the shortest prefix that fails: all of its %llu operations\n", (unsigned long long)reached);
}

static bool runner_finish(struct runner *runner, const struct choices *choices, int status, struct tally *total)
{
    bool passed = is_passed(status), shortens = !choices->points && choices->evil == 0 && !choices->brief;
    directory_remove(runner->directory);
    runner->process = 0;
    runner->tally->seeds = 1;
    runner->tally->failed = !passed;
    tally_add(total, runner->tally);
    if (!passed)
        print_failed(choices, runner->seed, runner->tally);
    if (!passed && shortens && choices->plant == SIM_PLANT_NONE)
        print_prefix(choices, runner->seed, runner->tally);
    return passed;
}

static struct runner *runner_wait(struct runner *runners, unsigned count, int *status)
{
    pid_t process = wait(status);
    for (unsigned i = 0; i < count; i++)
        if (process > 0 && runners[i].process == process)
            return &runners[i];
    fail("a process that nobody started ended");
}

/* All seeds, so many at a time; with a planted bug, until one finds it. */
static bool run_seeds(const struct choices *choices, struct tally *total)
{
    struct runner runners[JOBS_MAX] = {0};
    bool passed = true;
    unsigned running = 0;
    for (unsigned i = 0; i < choices->jobs; i++)
        runners[i].tally = world_map(sizeof(struct tally));
    for (uint64_t seed = choices->from; seed <= choices->to || running > 0;) {
        bool more = seed <= choices->to && (passed || choices->plant == SIM_PLANT_NONE);
        if (!more && running == 0)
            break;
        for (unsigned i = 0; i < choices->jobs && more && running < choices->jobs; i++) {
            if (runners[i].process != 0)
                continue;
            runner_start(&runners[i], choices, seed++);
            running++;
            more = seed <= choices->to;
        }
        int status;
        struct runner *ended = runner_wait(runners, choices->jobs, &status);
        passed &= runner_finish(ended, choices, status, total);
        running--;
    }
    return passed;
}

/* The second time each must come to the same trace. */
static bool run_twice(const struct choices *choices, struct tally *total)
{
    struct tally first = {0}, second = {0};
    bool passed = run_seeds(choices, &first) && run_seeds(choices, &second);
    if (passed && first.trace != second.trace) {
        puts("the seeds have two traces");
        passed = false;
    }
    tally_add(total, &first);
    tally_add(total, &second);
    return passed;
}

static void print_faults(const struct tally *tally)
{
    uint64_t total = 0;
    for (unsigned f = 0; f < FAULTS; f++)
        total += tally->faults[f];
    printf("%llu faults:", (unsigned long long)total);
    for (unsigned f = 0; f < FAULTS; f++)
        printf("%s %llu %s", f == 0 ? "" : ",", (unsigned long long)tally->faults[f], fault_names[f]);
    putchar('\n');
}

static void print_done(const struct tally *tally)
{
    static const char *const names[DONES] = {"locks",        "exports",        "objects that expired in the trash",
                                             "rollbacks that kept", "tags of disks", "audits read",
                                             "orders to deep rekeys", "old keys retired", "moments of the volumes",
                                             "growths", "units replaced in their buffer", "answers of no space", "answers of busy"};
    uint64_t total = 0;
    for (unsigned d = 0; d < DONES; d++)
        total += tally->done[d];
    for (unsigned d = 0; d < DONES && total != 0; d++)
        printf("%s%llu %s", d == 0 ? "done: " : ", ", (unsigned long long)tally->done[d], names[d]);
    if (total != 0)
        putchar('\n');
}

static void print_tally(const struct tally *tally, double seconds)
{
    printf("%llu seeds, %llu failed; %llu lives, crashes:", (unsigned long long)tally->seeds,
           (unsigned long long)tally->failed, (unsigned long long)tally->lives);
    for (unsigned p = 0; p < PHASES; p++)
        if (tally->crashes[p] != 0)
            printf(" %llu %s", (unsigned long long)tally->crashes[p], phase_names[p]);
    printf("; %llu opens (%llu of which filled both tables), %llu checks, %llu requests, %llu flushes, %llu calls on objects and versions, %llu fillings of the pool, %llu operations of devices, %llu points, %llu "
           "switches, %llu changes lost and %llu torn; %.1f seconds\n",
           (unsigned long long)tally->opens, (unsigned long long)tally->both_tables,
           (unsigned long long)tally->checks, (unsigned long long)tally->requests,
           (unsigned long long)tally->flushes, (unsigned long long)tally->calls,
           (unsigned long long)tally->fillings, (unsigned long long)tally->operations, (unsigned long long)tally->points,
           (unsigned long long)tally->switches, (unsigned long long)tally->lost, (unsigned long long)tally->torn,
           seconds);
    print_done(tally);
    print_faults(tally);
    if (tally->crash_points.states != 0)
        printf("%llu crash states, after each of %llu events; %llu more were seen before; %llu crashes while one was "
               "recovered; %llu checks\n",
               (unsigned long long)tally->crash_points.states, (unsigned long long)tally->crash_points.events,
               (unsigned long long)tally->crash_points.skipped, (unsigned long long)tally->crash_points.again,
               (unsigned long long)tally->crash_points.checks);
    const struct points_tally *points = &tally->crash_points;
    if (points->states != points->keys[KEYS_STAND] + points->deep)
        printf("%llu states while the key changed (%llu of the same root, %llu of a new one, %llu to another provider), %llu while a deep "
               "rekey began, %llu while one ran, of which %llu ended; %llu opened with a device away at first; in %llu lives one went "
               "away meanwhile\n",
               (unsigned long long)(points->keys[KEYS_SHALLOW] + points->keys[KEYS_ROOT] + points->keys[KEYS_SWAP]),
               (unsigned long long)points->keys[KEYS_SHALLOW], (unsigned long long)points->keys[KEYS_ROOT],
               (unsigned long long)points->keys[KEYS_SWAP], (unsigned long long)points->keys[KEYS_DEEP],
               (unsigned long long)points->deep, (unsigned long long)points->deep_ends, (unsigned long long)points->absent,
               (unsigned long long)points->departed);
    if (tally->evil.cases != 0)
        printf(
            "%llu attacks, %llu edits: %llu refused, %llu opened (%llu of them not closed), %llu told as they must be; "
            "%llu blocks read, %llu of them older than promised, %llu unreadable\n",
            (unsigned long long)tally->evil.cases, (unsigned long long)tally->evil.edits,
            (unsigned long long)tally->evil.refused, (unsigned long long)tally->evil.opened,
            (unsigned long long)tally->evil.refused_closing, (unsigned long long)tally->evil.told,
            (unsigned long long)tally->evil.read,
            (unsigned long long)tally->evil.older, (unsigned long long)tally->evil.unreadable);
    if (tally->evil.repairs != 0)
        printf("%llu repairs, %llu of them cut short by a crash\n", (unsigned long long)tally->evil.repairs,
               (unsigned long long)tally->evil.cut_short);
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
          "  --jobs N          seeds at a time (default 1)\n"
          "  --points          after the lives of a seed one more, with a crash before each event of its devices\n"
          "  --evil CASES      after each life so many attacks on a copy of the devices\n"
          "  --state K         of those crashes or attacks only this one\n"
          "  --churn           small pools that are filled again and again\n"
          "  --rekeys          the keys change again and again\n"
          "  --twice           each seed, which must give the same trace\n"
          "  --until N         the power goes before that operation, and no life comes after\n"
          "  --brief           do not look for the shortest part of a seed that fails\n"
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

enum option_key {
    KEY_SEED = 1,
    KEY_SEEDS,
    KEY_LIVES,
    KEY_OPERATIONS,
    KEY_PLANT,
    KEY_TWICE,
    KEY_VERBOSE,
    KEY_JOBS,
    KEY_POINTS,
    KEY_STATE,
    KEY_EVIL,
    KEY_UNTIL,
    KEY_BRIEF,
    KEY_CHURN,
    KEY_REKEYS
};

static const struct option options[] = {
    {"seed", required_argument, NULL, KEY_SEED},   {"seeds", required_argument, NULL, KEY_SEEDS},
    {"lives", required_argument, NULL, KEY_LIVES}, {"operations", required_argument, NULL, KEY_OPERATIONS},
    {"plant", required_argument, NULL, KEY_PLANT}, {"twice", no_argument, NULL, KEY_TWICE},
    {"verbose", no_argument, NULL, KEY_VERBOSE},   {"jobs", required_argument, NULL, KEY_JOBS},
    {"points", no_argument, NULL, KEY_POINTS},     {"state", required_argument, NULL, KEY_STATE},
    {"evil", required_argument, NULL, KEY_EVIL},   {"until", required_argument, NULL, KEY_UNTIL},
    {"brief", no_argument, NULL, KEY_BRIEF},       {"churn", no_argument, NULL, KEY_CHURN},
    {"rekeys", no_argument, NULL, KEY_REKEYS},
    {NULL, 0, NULL, 0},
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
    else if (key == KEY_POINTS)
        choices->points = true;
    else if (key == KEY_STATE)
        choices->state = number(value);
    else if (key == KEY_EVIL)
        choices->evil = number(value);
    else if (key == KEY_UNTIL)
        choices->until = number(value);
    else if (key == KEY_BRIEF)
        choices->brief = true;
    else if (key == KEY_REKEYS)
        choices->rekeys = true;
    else if (key == KEY_CHURN)
        choices->churn = true;
    else if (key == KEY_JOBS)
        choices->jobs = (unsigned)MIN(MAX(number(value), (uint64_t)1), (uint64_t)JOBS_MAX);
    else if (key == KEY_VERBOSE)
        choices->verbose = true;
    else
        usage();
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
    struct choices choices = {.from = 1, .to = 1, .operations = 2000, .lives = 10, .jobs = 1, .until = UINT64_MAX};
    for (int key; (key = getopt_long(count, arguments, "", options, NULL)) != -1;)
        take_option(&choices, key, optarg);
    if (optind != count)
        usage();
    double began = seconds_now();
    struct tally tally = {0};
    bool passed = choices.twice ? run_twice(&choices, &tally) : run_seeds(&choices, &tally);
    print_tally(&tally, seconds_now() - began);
    if (choices.plant == SIM_PLANT_NONE)
        return passed ? 0 : 1;
    printf(passed ? "the bug was not found out\n" : "the bug was found out\n");
    return passed ? 1 : 0;
}
