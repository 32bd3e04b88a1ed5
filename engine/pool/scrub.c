/*
 * The story of a scrub: a thread of an open pool that reads all that is stored and checks it, while the pool serves.
 *
 *   begin        a publish: what was committed before is in the trees, where the scrub looks
 *   superblocks  all copies, and the newest checkpoint record
 *   headers      of segments that hold anything
 *   tables       every page in all copies
 *   chunks       the table of places names every unit and map node, dead ones in living segments too (a write may yet hit
 *                them): tag, descriptors, and that it decompresses
 *   maps         every node in all copies; what leads to a segment that is gone, or to damage found before, is entered into
 *                the ledger as blocks of the object
 *   confirm      known damage that this pass did not meet is looked at once more; what is good leaves the ledger
 *
 * Why there is no false alarm. An address (serial, offset) is written once, and a serial is never given again. What the
 * scrub learned of an address (from a page of places, some time ago) it asks of the segment table before it reads:
 * under one hold of the group's lock it takes the newest view and leaves out what lies in no segment that is open or
 * sealed. A segment that is, stays where it is, with its bytes, until that view is given back: the publish that frees
 * it is younger than the view (view.h). So what is read in between and fails is damage; what was freed before is left
 * out, and was nobody's. Entries of maps are read and judged under one view alike. A checkpoint record is judged only
 * while its number is the newest (scrub_roots.c), a header only of a segment that has anything in it. Deduplication,
 * merges, deletes and reuse of slots go on meanwhile; whatever is written after the begin is the next scrub's.
 *
 * Why nothing is passed over. What could not be read because the device goes out of service, or for want of memory, is
 * neither good nor damaged: the slice ends there, and is done again (scrub_learns_nothing()).
 *
 * A view is held for one slice of at most 1 MiB of reads, never while waiting: writers need the table that it keeps.
 *
 * Position, figures and known damage are saved in a file (scrub_file.c), together, so that no position is ever ahead of
 * what was found before it. A crash repeats what was done since the last save. All that the scrub writes is that file.
 *
 * Locks: scrub->mutex, a leaf, for the job; pool->lock for names and for whoever calls from outside.
 */
#include "engine/pool/scrub.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/size.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"

#define SAVE_PERIOD    (30 * CLOCK_SECOND) /* of the position: what a crash repeats */
#define REST           CLOCK_SECOND        /* between looks where there is nothing to do */
#define LOAD_SHARE     4                   /* with other load, one part in so many of the time */
#define LOAD_PAUSE_MAX (CLOCK_SECOND / 2)
#define BEGIN_PATIENCE (2 * CLOCK_SECOND)

static enum error begin(struct scrub *scrub, const struct scrub_job *job)
{
    enum error error = group_publish_within(scrub->pool->group, BEGIN_PATIENCE);
    if (!error)
        scrub_advance(scrub, job, SCRUB_SUPERBLOCKS, 0, 0);
    return error;
}

static const struct {
    const char *name;
    enum error (*slice)(struct scrub *scrub, const struct scrub_job *job);
} steps[SCRUB_STEPS] = {
    [SCRUB_BEGIN] = {"begin", begin},
    [SCRUB_SUPERBLOCKS] = {"superblocks", scrub_superblocks},
    [SCRUB_HEADERS] = {"headers of segments", scrub_headers},
    [SCRUB_TABLES] = {"tables", scrub_tables},
    [SCRUB_CHUNKS] = {"data", scrub_chunks},
    [SCRUB_MAPS] = {"maps of objects", scrub_maps},
    [SCRUB_CONFIRM] = {"known damage", scrub_confirm},
};

const char *scrub_step_name(enum scrub_step step)
{
    return steps[step].name;
}

/* ---- saving and telling --------------------------------------------------------------------------------------- */

static void save(struct scrub *scrub, const struct scrub_job *job, uint64_t changes)
{
    enum error error = scrub_save(scrub, job);
    if (error && !scrub->save_failed)
        message(MESSAGE_WARNING, "where the scrub is, and known damage, cannot be saved: %s; a restart forgets them",
                error_sentence(error));
    mutex_lock(&scrub->mutex);
    scrub->save_failed = error != ERROR_NONE;
    mutex_unlock(&scrub->mutex);
    scrub->saved_at = clock_monotonic();
    if (!error)
        scrub->saved_changes = changes;
}

/* `now`: also where it is not due yet. */
static void keep_up(struct scrub *scrub, bool now)
{
    struct damages *damages = scrub->pool->damages;
    damage_tell(scrub->pool);
    uint64_t changes = atomic_load(&damages->changes);
    mutex_lock(&scrub->mutex);
    struct scrub_job job = scrub->job;
    bool asked = scrub->unsaved;
    scrub->unsaved = false;
    mutex_unlock(&scrub->mutex);
    uint64_t age = clock_monotonic() - scrub->saved_at;
    bool found = changes != scrub->saved_changes, moved = job.state == SCRUB_RUNNING || scrub->save_failed;
    if (asked || ((found || moved) && now) || (found && age >= REST) || (moved && age >= SAVE_PERIOD))
        save(scrub, &job, changes);
}

enum error scrub_rekey(struct scrub *scrub, const struct k_pools *k_pools)
{
    uint8_t key[KEY_SIZE];
    TRY(scrub_key_derive(k_pools_current(k_pools), scrub->pool->conf->pool, key));
    mutex_lock(&scrub->mutex);
    memcpy(scrub->key, key, KEY_SIZE);
    scrub->pool_key = k_pools->current;
    scrub->unsaved |= scrub->file_key != 0 && scrub->file_key != scrub->pool_key;
    condition_broadcast(&scrub->wake);
    mutex_unlock(&scrub->mutex);
    memory_cleanse(key, sizeof key);
    return ERROR_NONE;
}

enum error scrub_rekey_check(struct scrub *scrub)
{
    mutex_lock(&scrub->mutex);
    bool settled = scrub->file_key == 0 || scrub->file_key == scrub->pool_key, failed = !settled && scrub->save_failed;
    mutex_unlock(&scrub->mutex);
    if (failed)
        return error_explain(ERROR_IO, "%s cannot be written under the new key of the pool", scrub->path);
    return settled ? ERROR_NONE : ERROR_AGAIN;
}

/* ---- for the steps -------------------------------------------------------------------------------------------- */

static bool goes_on(const struct scrub *scrub, const struct scrub_job *job)
{
    return !scrub->stopping && scrub->job.state == SCRUB_RUNNING && scrub->job.pass == job->pass;
}

void scrub_advance(struct scrub *scrub, const struct scrub_job *job, enum scrub_step step, uint64_t part, uint64_t at)
{
    mutex_lock(&scrub->mutex);
    if (goes_on(scrub, job)) {
        if (step == SCRUB_CHUNKS && scrub->job.step != SCRUB_CHUNKS)
            scrub->job.bytes_before_chunks = scrub->job.bytes;
        scrub->job.step = step;
        scrub->job.part = part;
        scrub->job.at = at;
    }
    mutex_unlock(&scrub->mutex);
}

/* Requests of users that came since the last look, or writes that run now. */
static bool others_work(struct scrub *scrub)
{
    struct pool_totals *totals = &scrub->pool->totals;
    uint64_t requests = atomic_load(&totals->user_reads) + atomic_load(&totals->user_writes);
    bool busy = requests != scrub->user_requests || atomic_load(&scrub->pool->batches) != 0;
    scrub->user_requests = requests;
    return busy;
}

static uint64_t pause_after(struct scrub *scrub, uint64_t rate, uint64_t bytes, uint64_t elapsed)
{
    uint64_t fair = rate ? (uint64_t)((double)bytes * (double)CLOCK_SECOND / (double)rate) : 0;
    uint64_t pause = fair > elapsed ? fair - elapsed : 0;
    if (others_work(scrub))
        pause = MAX(pause, MIN((LOAD_SHARE - 1) * elapsed, LOAD_PAUSE_MAX));
    return pause;
}

enum error scrub_breathe(struct scrub *scrub, const struct scrub_job *job, uint64_t bytes, uint64_t since)
{
    mutex_lock(&scrub->mutex);
    uint64_t rate = scrub->job.rate, now = clock_monotonic();
    uint64_t deadline = now + pause_after(scrub, rate, bytes, now - since);
    while (goes_on(scrub, job) && scrub->job.rate == rate && clock_monotonic() < deadline)
        condition_wait_until(&scrub->wake, &scrub->mutex, deadline);
    if (scrub->job.pass == job->pass) {
        scrub->job.bytes += bytes;
        scrub->job.nanoseconds += clock_monotonic() - since;
    }
    bool on = goes_on(scrub, job);
    mutex_unlock(&scrub->mutex);
    keep_up(scrub, false);
    return on ? ERROR_NONE : ERROR_INTERRUPTED;
}

enum error scrub_node(struct scrub *scrub, enum damage_kind kind, const struct walk_node *node, uint64_t *bytes)
{
    const struct node_pointer *pointer = &node->pointer;
    bool doubled = pointer->second_serial != 0, first = node->errors[0] != ERROR_NONE, second = node->errors[1] != ERROR_NONE;
    for (unsigned copy = 0; copy < 2; copy++)
        if (scrub_learns_nothing(node->errors[copy]))
            return node->errors[copy];
    struct damage damage = {
        .kind = (uint8_t)kind,
        .level = node->identity.level,
        .lost = node->bytes == NULL,
        .by_scrub = true,
        .owner = node->identity.owner,
        .first = node->identity.number,
        .end = node->identity.number + 1,
        .serial = second && !first ? pointer->second_serial : entry_serial(pointer->first),
        .offset = second && !first ? pointer->second_offset : entry_offset(pointer->first),
        .fault = (uint8_t)damage_fault_of(node->errors[second && !first]),
    };
    if (first || second || node->differ) {
        damage_place(scrub->pool->group, &damage);
        damages_add(scrub->pool->damages, &damage);
    } else if (node->bytes) {
        damages_cut(scrub->pool->damages, kind, damage.owner, damage.level, damage.first, damage.end);
    }
    *bytes += (uint64_t)entry_length(pointer->first) * GRAIN_SIZE * (1 + doubled);
    return ERROR_NONE;
}

/* ---- the thread ----------------------------------------------------------------------------------------------- */

static void finish(struct scrub *scrub, const struct scrub_job *job)
{
    struct damages *damages = scrub->pool->damages;
    char bytes[32];
    AUTO_FREE struct damage *rows = NULL;
    size_t found = 0;
    bool more;
    if (!damages_end_pass(damages, job->pass))
        return;
    if (damages_copy(damages, false, &rows, &found, &more))
        found = atomic_load(&damages->count); /* no memory: too many rather than none */
    mutex_lock(&scrub->mutex);
    bool ends = goes_on(scrub, job);
    if (ends) {
        struct scrub_job *own = &scrub->job;
        own->state = SCRUB_COMPLETE;
        own->completed = clock_realtime() / CLOCK_SECOND;
        own->completed_bytes = own->bytes;
        own->completed_seconds = own->nanoseconds / CLOCK_SECOND;
        own->completed_damages = found;
        scrub->unsaved = true;
    }
    uint64_t verified = scrub->job.bytes;
    mutex_unlock(&scrub->mutex);
    if (ends && found)
        message(MESSAGE_ERROR, "the scrub has come to its end: %zu ranges are damaged; `%s scrub status` lists them",
                found, pool_command(scrub->pool));
    else if (ends)
        message(MESSAGE_NOTICE, "the scrub has come to its end: %s verified, nothing is damaged",
                size_format(verified, bytes, sizeof bytes));
}

static bool may_work(struct scrub *scrub, struct scrub_job *job)
{
    mutex_lock(&scrub->mutex);
    *job = scrub->job;
    bool may = goes_on(scrub, job);
    mutex_unlock(&scrub->mutex);
    return may && !atomic_load(&scrub->pool->locked) && !group_is_fenced(scrub->pool->group);
}

static void rest(struct scrub *scrub)
{
    uint64_t deadline = clock_monotonic() + REST;
    mutex_lock(&scrub->mutex);
    if (!scrub->stopping && !scrub->unsaved)
        condition_wait_until(&scrub->wake, &scrub->mutex, deadline);
    mutex_unlock(&scrub->mutex);
}

static bool stops(struct scrub *scrub)
{
    mutex_lock(&scrub->mutex);
    bool stopping = scrub->stopping;
    mutex_unlock(&scrub->mutex);
    return stopping;
}

/* What holds a step up is told once, not at each try. */
static void holdup_tell(struct scrub *scrub, const struct scrub_job *job, enum error error)
{
    bool holds_up = error != ERROR_NONE && error != ERROR_INTERRUPTED && error != ERROR_AGAIN;
    if (holds_up && error != scrub->holdup)
        message(MESSAGE_ERROR, "the scrub, at \"%s\", cannot go on: %s; it tries again every second",
                scrub_step_name(job->step), error_sentence(error));
    scrub->holdup = holds_up ? error : ERROR_NONE;
}

static void scrub_run(void *argument)
{
    struct scrub *scrub = argument;
    struct scrub_job job;
    thread_lower_priority();
    while (!stops(scrub)) {
        enum error error = ERROR_AGAIN;
        if (may_work(scrub, &job)) {
            error_forget();
            error = steps[job.step].slice(scrub, &job);
            if (!error && job.step == SCRUB_CONFIRM)
                finish(scrub, &job);
            holdup_tell(scrub, &job, error);
        }
        keep_up(scrub, false);
        if (error && error != ERROR_INTERRUPTED)
            rest(scrub);
    }
}

/* ---- beginning and end of an open ----------------------------------------------------------------------------- */

static void scrub_free(struct scrub *scrub)
{
    mutex_deinit(&scrub->mutex);
    condition_deinit(&scrub->wake);
    arena_free(scrub->key);
    free(scrub->path);
    free(scrub);
}

/* What cannot be read says nothing: a scrub then begins anew, when somebody starts it. */
static enum error prepare(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    scrub->job.rate = SCRUB_RATE_DEFAULT;
    scrub->path = file_join(pool->directory, SCRUB_FILE);
    scrub->key = arena_allocate(KEY_SIZE);
    if (!scrub->path || !scrub->key)
        return ERROR_NO_MEMORY;
    TRY(scrub_rekey(scrub, pool->k_pools));
    enum error error = scrub_load(scrub);
    if (error == ERROR_NO_MEMORY)
        return error;
    if (error && error != ERROR_NOT_FOUND)
        message(MESSAGE_WARNING, "%s; a scrub will begin anew", error_sentence(error));
    mutex_lock(&scrub->mutex);
    scrub->unsaved = scrub->file_key != 0 && scrub->file_key != scrub->pool_key; /* a crash before it was written anew */
    mutex_unlock(&scrub->mutex);
    scrub->saved_at = clock_monotonic();
    scrub->saved_changes = atomic_load(&pool->damages->changes);
    return ERROR_NONE;
}

enum error scrub_start(struct pool *pool)
{
    struct scrub *scrub = memory_zeroed(1, sizeof *scrub);
    if (!scrub)
        return ERROR_NO_MEMORY;
    scrub->pool = pool;
    mutex_init(&scrub->mutex, RANK_LEAF);
    condition_init(&scrub->wake);
    enum error error = prepare(scrub);
    if (!error)
        error = thread_start(&scrub->thread, "scrub", scrub_run, scrub);
    if (error) {
        scrub_free(scrub);
        return error;
    }
    mutex_lock(&pool->lock);
    pool->scrub = scrub;
    mutex_unlock(&pool->lock);
    return ERROR_NONE;
}

void scrub_stop(struct pool *pool, bool crash)
{
    mutex_lock(&pool->lock);
    struct scrub *scrub = pool->scrub;
    pool->scrub = NULL;
    mutex_unlock(&pool->lock);
    if (!scrub)
        return;
    mutex_lock(&scrub->mutex);
    scrub->stopping = true;
    condition_broadcast(&scrub->wake);
    mutex_unlock(&scrub->mutex);
    thread_join(&scrub->thread);
    if (!crash)
        keep_up(scrub, true);
    damages_clear(pool->damages);
    scrub_free(scrub);
}
