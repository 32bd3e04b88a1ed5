/*
 * The processes of a crash test that have a pool.
 *
 * Devices are volatile ones, so that a kill loses what was not flushed. With a *plant* they forget flushes, and the
 * test must find it out; a harness that does not is worth nothing.
 */
#include "tests/crash/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "engine/device/device.h"
#include "engine/device/kind.h"
#include "engine/device/volatile.h"
#include "engine/group/merge.h"
#include "tests/crash/compare.h"
#include "tests/crash/content.h"
#include "tests/crash/families.h"
#include "tests/crash/filler.h"
#include "tests/crash/grown.h"
#include "tests/crash/guards.h"
#include "tests/crash/lives.h"
#include "tests/crash/locks.h"
#include "tests/crash/moments.h"
#include "tests/crash/records.h"
#include "tests/crash/rekeys.h"
#include "tests/crash/scrubs.h"
#include "tests/crash/worker.h"

#define CACHE_BYTES   (UINT64_C(256) << 20)
#define MERGES_BESIDE 3

void session_device_path(const struct session *session, unsigned index, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/disk%u", session->settings.directory, index);
}

uint64_t session_device_bytes(const struct session *session, unsigned index)
{
    const struct settings *settings = &session->settings;
    unsigned from_least = settings->size_step < 0 ? settings->devices - 1 - index : index;
    return settings->size + from_least * (uint64_t)llabs(settings->size_step);
}

void session_cache_path(const struct session *session, unsigned index, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/cache%u", session->settings.directory, index);
}

/* ---- devices --------------------------------------------------------------------------------------------------------
 */

static const struct device_operations *honest;
static enum plant plant;

static void lying_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ios[i]->operation == DEVICE_FLUSH)
            io_complete(ios[i], ERROR_NONE, 0);
        else
            honest->submit(&ios[i], 1);
    }
}

static void plant_lie(struct device *device)
{
    static struct device_operations lying;
    if (plant != PLANT_LOST_FLUSH)
        return;
    honest = device->operations;
    lying = *honest;
    lying.submit = lying_submit;
    device->operations = &lying;
}

static enum error open_device(const char *path, unsigned flags, void *context, struct device **device)
{
    const struct session *session = context;
    char own[PATH_SIZE], cache[PATH_SIZE];
    (void)flags;
    for (unsigned i = 0; i < session->settings.devices; i++) {
        session_device_path(session, i, own);
        session_cache_path(session, i, cache);
        if (strcmp(own, path) != 0)
            continue;
        TRY(device_open_volatile(path, cache, device));
        plant_lie(*device);
        return ERROR_NONE;
    }
    return error_explain(ERROR_NOT_FOUND, "%s is no device of this test", path);
}

struct pool_open_options child_open_options(struct session *session)
{
    return (struct pool_open_options){
        .memory = session->settings.memory,
        .open_device = session->settings.open_device != NULL ? session->settings.open_device : open_device,
        .open_device_context = session};
}

/* ---- opening and closing --------------------------------------------------------------------------------------------
 */

void child_begin(struct session *session)
{
    static bool begun;
    if (!begun)
        succeed(arena_start(), "start of the arena");
    begun = true;
    message_level_set(session->settings.verbose ? MESSAGE_INFO : MESSAGE_ERROR);
    plant = session->settings.plant;
    content_repeats = session_works(session, WORK_REPEATS);
    content_has_one_length = session_works(session, WORK_REWRITES);
    /* In two of three rounds what is dropped waits long, so that crashes find it on the release list. In haste some merges take
     * nothing off it at all, as where space is short. */
    bool none = session_works(session, WORK_HASTE) && !session->settings.fills && session->round % 3 == 2;
    if (session->round % 3)
        atomic_store(&release_references, none ? 0 : 200);
}

/* Until it succeeds; with `pool` that is locked, it is unlocked. */
static struct pool *open_pool(struct session *session, struct pool *pool)
{
    struct pool_open_options options = child_open_options(session);
    bool locked = pool != NULL;
    enum error error;
    atomic_store(&session->phase, PHASE_OPENING);
    do {
        session_opens();
        atomic_store(&session->over, false);
        atomic_store(&session->locking, false);
        if (!locked) /* a pool that is unlocked goes on with the clock that it has */
            guards_opening(session);
        error = locked ? pool_unlock(pool, NULL, 0) : pool_open(session->pool, &options, &pool);
        if (!locked)
            guards_opened(session);
    } while (error == ERROR_FENCED ? !succeeds(session, error, "open of the pool")
                                   : session_again(session, error, "open of the pool"));
    atomic_store(&session->phase, PHASE_COMPARING);
    return pool;
}

static bool open_volumes(struct session *session, struct pool *pool, struct volume *volumes[VOLUMES])
{
    enum error error = ERROR_NONE;
    for (unsigned v = 0; v < VOLUMES && !error; v++)
        do
            error = volume_open(pool, volume_names[v], false, &volumes[v]);
        while (session_again(session, error, "open of a volume"));
    return error == ERROR_NONE;
}

static void volumes_close(struct volume *volumes[VOLUMES])
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        if (volumes[v] != NULL)
            volume_close(volumes[v]);
        volumes[v] = NULL;
    }
}

/* All that was answered before a close that succeeded is durable; but of what an earlier open answered, and lost, only a
 * comparison tells. */
static void close_pool(struct session *session, struct pool *pool, struct volume *volumes[VOLUMES], bool compared)
{
    uint64_t began = flush_begin(&session->clock);
    atomic_store(&session->phase, PHASE_CLOSING);
    volumes_close(volumes);
    if (succeeds(session, pool_close(pool), "close of the pool") && compared)
        flush_answer(&session->clock, began);
    atomic_store(&session->phase, PHASE_CLOSED);
}

static void note_replay(struct session *session, struct pool *pool)
{
    struct pool_status *status = session_take(sizeof(*status));
    if (succeeds(session, pool_status(pool, status), "status") && status->replay_bytes > session->replayed_max)
        session->replayed_max = status->replay_bytes;
    free(status);
}

/* False where the group went out of service meanwhile, as below. */
static bool compare(struct session *session, struct pool *pool, struct volume *const volumes[VOLUMES])
{
    return volumes_compare(session, volumes) && lives_compare(session, pool) && families_compare(session, pool) &&
           moments_compare(session, pool, volumes) && grown_compare(session, pool) && filler_compare(session, pool) &&
           volumes_compare_usage(session, pool);
}

struct merging {
    struct session *session;
    struct pool *pool;
};

static void merge_some(void *argument)
{
    const struct merging *merging = argument;
    for (unsigned i = 0; i < MERGES_BESIDE && !atomic_load(&merging->session->over); i++)
        lives_merge(merging->session, merging->pool);
}

/* What is read is moved, freed and given back meanwhile. */
static bool compare_beside_merges(struct session *session, struct pool *pool, struct volume *const volumes[VOLUMES])
{
    struct merging merging = {session, pool};
    struct thread thread;
    succeed(thread_start(&thread, "merges", merge_some, &merging), "start a thread");
    bool same = compare(session, pool, volumes);
    thread_join(&thread);
    return same && !atomic_load(&session->over);
}

static bool compare_all(struct session *session, struct pool *pool, struct volume *volumes[VOLUMES])
{
    if (!open_volumes(session, pool, volumes))
        return false;
    note_replay(session, pool);
    if (session_works(session, WORK_SCRUBS) && !scrubs_compare(session, pool))
        return false;
    if (session_works(session, WORK_REKEYS))
        rekeys_compare(session, pool);
    if (session_works(session, WORK_RECORDS))
        records_judge(session, pool);
    bool beside = session_works(session, WORK_HASTE) && session->round % 2 == 0;
    if (!(beside ? compare_beside_merges : compare)(session, pool, volumes))
        return false;
    /* A merge of what was replayed changes nothing, and neither does a freed segment. */
    return session->round % 2 == 0 ||
           (lives_merge(session, pool) && lives_merge(session, pool) && compare(session, pool, volumes));
}

/* ---- the processes
 * ---------------------------------------------------------------------------------------------------- */

void child_format(struct session *session)
{
    child_begin(session);
    char devices[DEVICES_MAX][PATH_SIZE], cache[PATH_SIZE];
    const char *device_paths[DEVICES_MAX];
    for (unsigned i = 0; i < session->settings.devices; i++) {
        session_device_path(session, i, devices[i]);
        session_cache_path(session, i, cache);
        device_paths[i] = devices[i];
        succeed(device_create_file(devices[i], session_device_bytes(session, i)), "make a device");
        if (session->settings.open_device == NULL)
            succeed(volatile_cache_create(cache, CACHE_BYTES), "make a cache");
    }
    struct pool_create_options options = {.directory = session->pool,
                                          .device_paths = device_paths,
                                          .device_count = session->settings.devices,
                                          .encryption = session->settings.encryption,
                                          .fingerprint = session->settings.fingerprint,
                                          .seal = "file"};
    succeed(pool_create(&options), "create the pool");
    if (session_works(session, WORK_REKEYS))
        rekeys_prepare(session);
}

void child_populate(struct session *session)
{
    struct pool_open_options options = child_open_options(session);
    struct pool *pool;
    struct uuid uuid;
    child_begin(session);
    plant = PLANT_NONE;
    succeed(pool_open(session->pool, &options, &pool), "first open of the pool");
    for (unsigned v = 0; v < VOLUMES; v++)
        succeed(object_create(pool, volume_names[v], volume_bytes(session, v), &uuid), "create a volume");
    if (session_works(session, WORK_GROWS))
        grown_create(pool);
    succeed(pool_close(pool), "first close of the pool");
}

static void work(struct session *session, struct pool *pool, struct volume *const volumes[VOLUMES])
{
    struct thread threads[WORKERS_MAX], lives_thread, families_thread, filler_thread, scrubs_thread, rekeys_thread,
        locks_thread, moments_thread, stamps_thread, grower_thread, grown_writer_thread;
    struct worker *workers[WORKERS_MAX];
    struct lives_run lives = {session, pool};
    struct families_run families = {session, pool};
    struct filler_run filler = {session, pool};
    struct scrubs_run scrubs = {session, pool};
    struct rekeys_run rekeys = {session, pool};
    struct locks_run locks = {session, pool};
    struct moments_run moments = {session, pool, volumes};
    struct grown_run grown = {session, pool};
    struct mutex shared;
    unsigned count = session->settings.workers;
    struct volume *own[WORKERS_MAX][VOLUMES] = {{NULL}};
    mutex_init(&shared, RANK_SERVER);
    for (unsigned w = 0; w < count; w++) {
        bool apart = session_works(session, WORK_APART) && open_volumes(session, pool, own[w]);
        workers[w] = worker_create(session, apart ? own[w] : volumes, &shared, w);
    }
    atomic_store(&session->phase, PHASE_WORKING);
    for (unsigned w = 0; w < count; w++)
        succeed(thread_start(&threads[w], "worker", worker_run, workers[w]), "start a thread");
    succeed(thread_start(&lives_thread, "lives", lives_run, &lives), "start a thread");
    succeed(thread_start(&families_thread, "families", families_run, &families), "start a thread");
    if (session_works(session, WORK_SCRUBS))
        succeed(thread_start(&scrubs_thread, "scrubs", scrubs_run, &scrubs), "start a thread");
    if (session_works(session, WORK_REKEYS))
        succeed(thread_start(&rekeys_thread, "rekeys", rekeys_run, &rekeys), "start a thread");
    if (session_works(session, WORK_LOCKS))
        succeed(thread_start(&locks_thread, "locks", locks_run, &locks), "start a thread");
    if (session_works(session, WORK_MOMENTS)) {
        succeed(thread_start(&moments_thread, "moments", moments_run, &moments), "start a thread");
        succeed(thread_start(&stamps_thread, "stamps", stamps_run, &moments), "start a thread");
    }
    if (session_works(session, WORK_GROWS)) {
        succeed(thread_start(&grower_thread, "grower", grower_run, &grown), "start a thread");
        succeed(thread_start(&grown_writer_thread, "end", grown_writer_run, &grown), "start a thread");
    }
    if (session->settings.fills) {
        succeed(thread_start(&filler_thread, "filler", filler_run, &filler), "start a thread");
        thread_join(&filler_thread);
    }
    if (session_works(session, WORK_SCRUBS))
        thread_join(&scrubs_thread);
    if (session_works(session, WORK_REKEYS))
        thread_join(&rekeys_thread);
    if (session_works(session, WORK_LOCKS))
        thread_join(&locks_thread);
    if (session_works(session, WORK_MOMENTS)) {
        thread_join(&moments_thread);
        thread_join(&stamps_thread);
    }
    if (session_works(session, WORK_GROWS)) {
        thread_join(&grower_thread);
        thread_join(&grown_writer_thread);
    }
    thread_join(&lives_thread);
    thread_join(&families_thread);
    for (unsigned w = 0; w < count; w++) {
        thread_join(&threads[w]);
        worker_destroy(workers[w]);
    }
    for (unsigned w = 0; w < count; w++)
        volumes_close(own[w]);
    mutex_deinit(&shared);
}

/* Locks the pool, with nobody at work, and unlocks it. */
static void lock_and_unlock(struct session *session, struct pool *pool, struct volume *volumes[VOLUMES], bool compared)
{
    atomic_store(&session->locking, false);
    atomic_store(&session->over, false);
    lock_be_refused(pool);
    atomic_store(&session->phase, PHASE_CLOSING);
    volumes_close(volumes);
    lock_pool(session, pool, compared);
    open_pool(session, pool);
}

/* A group that went out of service is opened again, and then everything is as after a crash of the process alone. */
void child_work(struct session *session)
{
    child_begin(session);
    do {
        struct volume *volumes[VOLUMES] = {NULL};
        struct pool *pool = open_pool(session, NULL);
        bool compared = compare_all(session, pool, volumes);
        if (compared)
            work(session, pool, volumes);
        while (locks_wanted(session)) {
            lock_and_unlock(session, pool, volumes, compared);
            compared = compare_all(session, pool, volumes);
            if (compared)
                work(session, pool, volumes);
        }
        close_pool(session, pool, volumes, compared);
    } while (atomic_load(&session->over) && !atomic_load(&session->stop));
}

void child_compare(struct session *session)
{
    struct volume *volumes[VOLUMES] = {NULL};
    child_begin(session);
    plant = PLANT_NONE;
    struct pool *pool = open_pool(session, NULL);
    bool compared = compare_all(session, pool, volumes);
    close_pool(session, pool, volumes, compared);
}

void child_look(struct session *session)
{
    struct volume *volumes[VOLUMES] = {NULL};
    child_begin(session);
    plant = PLANT_NONE;
    compare_all(session, open_pool(session, NULL), volumes);
}

static void print_finding(const char *sentence, void *context)
{
    (void)context;
    fprintf(stderr, "    found: %s\n", sentence);
}

void child_check(struct session *session)
{
    struct pool_open_options options = child_open_options(session);
    struct check_report report = {0};
    child_begin(session);
    plant = PLANT_NONE;
    succeed(pool_check(session->pool, &options, &(struct check_listener){.found = print_finding}, &report),
            "check of the pool");
    if (report.errors != 0)
        fail("the check has %llu findings", (unsigned long long)report.errors);
}
