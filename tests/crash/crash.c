/*
 * The crash test: a pool on devices that lose what was not flushed, changed by many threads, killed at random moments.
 *
 *     crash --rounds N [--seed N] [--devices N] [--size BYTES] …
 *
 * Each round forks a process that opens the pool, compares everything with the model, and works. It is killed by
 * SIGKILL at a random moment: while it opens (so that recovery itself crashes), compares, works, or closes. Then the
 * parent decides what the caches of the devices keep, and the next round begins. The parent never touches the pool or
 * OpenSSL: whatever a crash may leave behind in a process is gone with it.
 *
 * A seed gives the same settings, moments and choices, but not the same interleaving of threads.
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
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/size.h"
#include "engine/device/volatile.h"
#include "tests/crash/child.h"
#include "tests/crash/random.h"

#define HANG_NANOSECONDS (180 * CLOCK_SECOND)

static const char *const phase_names[PHASES] = {"start", "opening", "comparing", "working", "closing", "closed"};

struct tally {
    unsigned kills[PHASES];
    unsigned checks;
};

/* ---- processes
 * ---------------------------------------------------------------------------------------------------------- */

static pid_t start(struct session *session, void (*run)(struct session *session))
{
    atomic_store(&session->phase, PHASE_NONE);
    atomic_store(&session->stop, false);
    pid_t child = fork();
    if (child < 0)
        fail("fork: %s", strerror(errno));
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    run(session);
    exit(0);
}

/* Ends the process's existence; it must not have failed. */
static void reap(const struct session *session, pid_t child, int phase)
{
    int status;
    if (waitpid(child, &status, 0) != child)
        fail("waitpid: %s", strerror(errno));
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail("round %u: the process failed while %s (status %#x)", session->round, phase_names[phase], status);
}

/* Leaves a process that ended where it is, so that its number stays its own. */
static bool has_ended(pid_t child)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
}

static void hang(const struct session *session, pid_t child)
{
    fprintf(stderr, "crash: round %u: process %d hangs while %s\n", session->round, (int)child,
            phase_names[atomic_load(&session->phase)]);
    if (session->settings.keep)
        pause();
    kill(child, SIGKILL);
    fail("it hung");
}

static void finish(const struct session *session, pid_t child)
{
    uint64_t deadline = clock_monotonic() + HANG_NANOSECONDS;
    while (!has_ended(child)) {
        if (clock_monotonic() > deadline)
            hang(session, child);
        clock_sleep(CLOCK_MILLISECOND);
    }
    reap(session, child, atomic_load(&session->phase));
}

static void run_to_end(struct session *session, void (*run)(struct session *session))
{
    finish(session, start(session, run));
}

/* False where it ended before. */
static bool wait_for_phase(const struct session *session, pid_t child, enum phase phase)
{
    uint64_t deadline = clock_monotonic() + HANG_NANOSECONDS;
    while (atomic_load(&session->phase) < (int)phase) {
        if (has_ended(child))
            return false;
        if (clock_monotonic() > deadline)
            hang(session, child);
        clock_sleep(CLOCK_MILLISECOND / 10);
    }
    return true;
}

/* ---- rounds
 * ------------------------------------------------------------------------------------------------------------- */

static void sleep_random(struct dice *dice, unsigned milliseconds)
{
    clock_sleep(dice_below(dice, milliseconds * CLOCK_MILLISECOND));
}

/* Lets the process come to some moment. */
static void wait_for_moment(struct session *session, struct dice *dice, pid_t child)
{
    uint64_t choice = dice_below(dice, 100);
    if (choice < 12) {
        wait_for_phase(session, child, PHASE_OPENING);
        sleep_random(dice, 60);
        return;
    }
    if (choice < 16) {
        wait_for_phase(session, child, PHASE_COMPARING);
        sleep_random(dice, 30);
        return;
    }
    if (!wait_for_phase(session, child, PHASE_WORKING))
        return;
    sleep_random(dice, session->settings.milliseconds);
    if (choice >= 84) {
        atomic_store(&session->stop, true);
        wait_for_phase(session, child, choice < 92 ? PHASE_CLOSING : PHASE_CLOSED);
        sleep_random(dice, 50);
    }
}

static void kill_child(struct session *session, pid_t child, struct tally *tally)
{
    int phase = atomic_load(&session->phase);
    kill(child, SIGKILL);
    reap(session, child, phase);
    tally->kills[phase]++;
}

static void lose_power(struct session *session, struct dice *dice)
{
    enum volatile_crash kind = session->settings.crash >= 0 ? (enum volatile_crash)session->settings.crash
                                                            : (enum volatile_crash)dice_below(dice, 4);
    uint64_t seed = dice_throw(dice);
    char device[PATH_SIZE], cache[PATH_SIZE];
    for (unsigned i = 0; i < session->settings.devices; i++) {
        session_device_path(session, i, device);
        session_cache_path(session, i, cache);
        succeed(volatile_crash_apply(device, cache, kind, seed), "crash of a device");
    }
    if (session->settings.verbose)
        fprintf(stderr, "round %u: killed while %s, crash kind %d\n", session->round,
                phase_names[atomic_load(&session->phase)], (int)kind);
}

static void check(struct session *session, struct tally *tally)
{
    int phase = atomic_load(&session->phase);
    run_to_end(session, child_check);
    atomic_store(&session->phase, phase);
    tally->checks++;
}

static void run_round(struct session *session, struct dice *dice, struct tally *tally)
{
    atomic_store(&session->checkpoints_open, 0);
    pid_t child = start(session, child_work);
    wait_for_moment(session, dice, child);
    kill_child(session, child, tally);
    session->checkpoints += atomic_load(&session->checkpoints_open);
    lose_power(session, dice);
    if (dice_percent(dice, session->settings.check_percent))
        check(session, tally);
}

static void print_tally(const struct session *session, const struct tally *tally)
{
    printf("%u rounds with seed %llu: killed", session->settings.rounds, (unsigned long long)session->settings.seed);
    for (unsigned p = 0; p < PHASES; p++)
        if (tally->kills[p] != 0)
            printf(" %u %s", tally->kills[p], phase_names[p]);
    printf("; %llu requests, %llu flushes, %llu changes of objects, %llu without space, %llu checkpoints, "
           "at most %llu bytes replayed, %u checks\n",
           (unsigned long long)atomic_load(&session->requests), (unsigned long long)atomic_load(&session->flushes),
           (unsigned long long)atomic_load(&session->objects), (unsigned long long)atomic_load(&session->full),
           (unsigned long long)session->checkpoints, (unsigned long long)session->replayed_max, tally->checks);
}

static void run_rounds(struct session *session)
{
    struct dice dice = {session->settings.seed};
    struct tally tally = {0};
    run_to_end(session, child_format);
    run_to_end(session, child_populate);
    for (session->round = 1; session->round <= session->settings.rounds; session->round++)
        run_round(session, &dice, &tally);
    run_to_end(session, child_compare);
    check(session, &tally);
    run_to_end(session, child_compare);
    print_tally(session, &tally);
}

/* ---- settings
 * ------------------------------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static const char help[] = "Usage: crash [OPTION]…\n"
                           "  --rounds N          kills (default 20)\n"
                           "  --seed N            default: from the clock\n"
                           "  --devices N         of the group, 1 to 8 (default 1)\n"
                           "  --size SIZE         of each device (default 512M)\n"
                           "  --memory SIZE       of the pool (default 96M)\n"
                           "  --workers N         threads, 1 to 8 (default 4)\n"
                           "  --milliseconds N    a round works so long at most (default 700)\n"
                           "  --check PERCENT     of rounds after which the checker runs (default 20)\n"
                           "  --crash KIND        drop, keep, subset or torn (default: any)\n"
                           "  --fingerprint KIND  xxh3 or hmac-sha256\n"
                           "  --no-encryption\n"
                           "  --plant LIE         flush: the devices forget flushes; answer: flushes are answered\n"
                           "                      and not made; the test must find it out\n"
                           "  --keep              leave everything behind\n"
                           "  --verbose\n";

enum option_key {
    KEY_ROUNDS = 1,
    KEY_SEED,
    KEY_DEVICES,
    KEY_SIZE,
    KEY_MEMORY,
    KEY_WORKERS,
    KEY_MILLISECONDS,
    KEY_CHECK,
    KEY_CRASH,
    KEY_FINGERPRINT,
    KEY_NO_ENCRYPTION,
    KEY_PLANT,
    KEY_KEEP,
    KEY_VERBOSE,
    KEY_HELP,
};

static const struct option options[] = {
    {"rounds", required_argument, NULL, KEY_ROUNDS},
    {"seed", required_argument, NULL, KEY_SEED},
    {"devices", required_argument, NULL, KEY_DEVICES},
    {"size", required_argument, NULL, KEY_SIZE},
    {"memory", required_argument, NULL, KEY_MEMORY},
    {"workers", required_argument, NULL, KEY_WORKERS},
    {"milliseconds", required_argument, NULL, KEY_MILLISECONDS},
    {"check", required_argument, NULL, KEY_CHECK},
    {"crash", required_argument, NULL, KEY_CRASH},
    {"fingerprint", required_argument, NULL, KEY_FINGERPRINT},
    {"no-encryption", no_argument, NULL, KEY_NO_ENCRYPTION},
    {"plant", required_argument, NULL, KEY_PLANT},
    {"keep", no_argument, NULL, KEY_KEEP},
    {"verbose", no_argument, NULL, KEY_VERBOSE},
    {"help", no_argument, NULL, KEY_HELP},
    {NULL, 0, NULL, 0},
};

static _Noreturn void usage(void)
{
    fputs(help, stderr);
    exit(2);
}

static int choose(const char *value, const char *const *choices, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(value, choices[i]) == 0)
            return (int)i;
    usage();
}

static uint64_t number(const char *value, uint64_t least, uint64_t most)
{
    uint64_t parsed;
    if (size_parse(value, &parsed) != ERROR_NONE || parsed < least || parsed > most)
        usage();
    return parsed;
}

static void take_choice(struct settings *settings, int key, const char *value)
{
    static const char *const crashes[] = {"drop", "keep", "subset", "torn"};
    static const char *const fingerprints[] = {"xxh3", "hmac-sha256"}, *const plants[] = {"flush", "answer"};
    if (key == KEY_CRASH)
        settings->crash = choose(value, crashes, COUNT_OF(crashes));
    else if (key == KEY_FINGERPRINT)
        settings->fingerprint =
            choose(value, fingerprints, 2) == 0 ? POOL_FINGERPRINT_XXH3 : POOL_FINGERPRINT_HMAC_SHA256;
    else if (key == KEY_PLANT)
        settings->plant = choose(value, plants, 2) == 0 ? PLANT_LOST_FLUSH : PLANT_EARLY_ANSWER;
    else if (key == KEY_NO_ENCRYPTION)
        settings->encryption = false;
    else if (key == KEY_KEEP)
        settings->keep = true;
    else if (key == KEY_VERBOSE)
        settings->verbose = true;
    else
        usage();
}

static void take_option(struct settings *settings, int key, const char *value)
{
    switch (key) {
    case KEY_ROUNDS:
        settings->rounds = (unsigned)number(value, 1, 1000000);
        break;
    case KEY_SEED:
        settings->seed = number(value, 0, UINT64_MAX);
        break;
    case KEY_DEVICES:
        settings->devices = (unsigned)number(value, 1, DEVICES_MAX);
        break;
    case KEY_SIZE:
        settings->size = number(value, UINT64_C(128) << 20, UINT64_C(1) << 40);
        break;
    case KEY_MEMORY:
        settings->memory = number(value, UINT64_C(64) << 20, UINT64_C(1) << 40);
        break;
    case KEY_WORKERS:
        settings->workers = (unsigned)number(value, 1, WORKERS_MAX);
        break;
    case KEY_MILLISECONDS:
        settings->milliseconds = (unsigned)number(value, 1, 3600000);
        break;
    case KEY_CHECK:
        settings->check_percent = (unsigned)number(value, 0, 100);
        break;
    default:
        take_choice(settings, key, value);
    }
}

int main(int count, char **arguments)
{
    struct settings settings = {
        .seed = clock_realtime() / CLOCK_MILLISECOND % 1000000,
        .size = UINT64_C(512) << 20,
        .memory = UINT64_C(96) << 20,
        .rounds = 20,
        .devices = 1,
        .workers = 4,
        .milliseconds = 700,
        .check_percent = 20,
        .crash = -1,
        .fingerprint = POOL_FINGERPRINT_XXH3,
        .encryption = true,
    };
    const char *parent = getenv("TMPDIR");
    for (int key; (key = getopt_long(count, arguments, "", options, NULL)) != -1;)
        take_option(&settings, key, optarg);
    if (optind != count)
        usage();
    snprintf(settings.directory, sizeof(settings.directory), "%.128s/coffer-crash-XXXXXX",
             parent != NULL ? parent : "/tmp");
    if (mkdtemp(settings.directory) == NULL)
        fail("no directory %s", settings.directory);
    printf("seed %llu, in %s\n", (unsigned long long)settings.seed, settings.directory);
    fflush(stdout);

    pid_t runner = fork();
    if (runner == 0) {
        run_rounds(session_make(&settings));
        exit(0);
    }
    int status;
    bool passed = runner > 0 && waitpid(runner, &status, 0) == runner && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!settings.keep)
        nftw(settings.directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (settings.plant != PLANT_NONE) {
        printf(passed ? "the lie was not found out\n" : "the lie was found out\n");
        return passed ? 1 : 0;
    }
    return passed ? 0 : 1;
}
