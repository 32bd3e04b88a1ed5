/*
 * Calls on an object that meet others, and writes, on the same one: what each of them left is judged elsewhere, where one
 * thread makes them one after the other.
 *
 * One thread makes the object larger, by a few blocks each time, gives it its other name, makes a snapshot of it and deletes
 * that. The other opens the object by whatever name it has, writes rising numbers to the block that is its last just then, with
 * FUA, and opens and reads the snapshot. A write that was answered is there behind a crash, and so is the size that it needs,
 * also where the call that made the object larger was not answered.
 */
#include "tests/crash/grown.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/random.h"

#define GROWTH_MAX  4
#define WRITES_MAX  12 /* before it is opened anew */
#define PAUSE_LEAST CLOCK_MILLISECOND /* as many of them as the seed says */
#define PAUSE_BITS  8
#define NAME_SIZE   32
#define SNAPSHOT    "s"

static bool is_over(const struct session *session)
{
    return atomic_load(&session->stop) || atomic_load(&session->over);
}

static uint64_t pause_of(const struct session *session)
{
    return PAUSE_LEAST << session->settings.seed / 16 % PAUSE_BITS;
}

static void name_make(unsigned name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "grown-%u", name);
}

static void snapshot_name_make(unsigned name, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "grown-%u@" SNAPSHOT, name);
}

bool grown_knows(const char *name)
{
    return strcmp(name, "grown-0") == 0 || strcmp(name, "grown-1") == 0;
}

void grown_create(struct pool *pool)
{
    struct uuid uuid;
    succeed(object_create(pool, "grown-0", BLOCK, &uuid), "create what grows");
}

static bool told(struct session *session, enum error error, uint64_t moment, const char *what)
{
    return !session_is_full(session, error, what) && succeeds_since(session, error, moment, what);
}

/* ---- calls --------------------------------------------------------------------------------------------------------- */

/* One that failed may have come about; the next asks for the same. */
static void grow(const struct grown_run *run, struct dice *dice)
{
    struct grown_model *model = &run->session->grown;
    uint64_t moment = session_moment(), least = atomic_load(&model->blocks_least), most = atomic_load(&model->blocks_most);
    uint64_t larger = least + dice_small(dice, GROWTH_MAX);
    char name[NAME_SIZE];
    if (most == least)
        most = MIN(larger, (uint64_t)GROWN_BLOCKS);
    if (most == least)
        return;
    name_make(atomic_load(&model->name), name);
    atomic_store(&model->blocks_most, most);
    if (!told(run->session, object_resize(run->pool, name, most * BLOCK, false), moment, "growth of what is written to"))
        return;
    atomic_store(&model->blocks_least, most);
    atomic_fetch_add(&run->session->promises, 1);
    atomic_fetch_add(&run->session->done[DONE_GROWN], 1);
}

/* What failed may have come about: then it is found by a restart, or by the next one, which nothing has the name for. */
static void rename_it(const struct grown_run *run)
{
    struct grown_model *model = &run->session->grown;
    uint64_t moment = session_moment();
    unsigned name = atomic_load(&model->name);
    char old[NAME_SIZE], new[NAME_SIZE];
    name_make(name, old);
    name_make(1 - name, new);
    atomic_store(&model->renaming, true);
    enum error error = object_rename(run->pool, old, new);
    if (told(run->session, error, moment, "rename of what is written to"))
        atomic_store(&model->name, 1 - name);
    if (!atomic_load(&run->session->over))
        atomic_store(&model->renaming, false);
    atomic_fetch_add(&run->session->promises, error == ERROR_NONE);
}

/* EXISTS: it was made before. NOT_FOUND: it was not. BUSY: it is being read. */
static void snapshot(const struct grown_run *run, bool make)
{
    uint64_t moment = session_moment();
    unsigned number = atomic_load(&run->session->grown.name);
    char name[NAME_SIZE], snapshot_name[NAME_SIZE];
    const char *const names[] = {name};
    name_make(number, name);
    snapshot_name_make(number, snapshot_name);
    enum error error = make ? object_snapshot(run->pool, names, 1, SNAPSHOT, false, 0)
                            : snapshot_delete(run->pool, snapshot_name);
    if (error != (make ? ERROR_EXISTS : ERROR_NOT_FOUND) && error != ERROR_BUSY)
        (void)told(run->session, error, moment, "a snapshot of what is written to");
}

void grower_run(void *argument)
{
    const struct grown_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 433494437 + session->round + atomic_load(&session->clock.now)};
    while (!is_over(session)) {
        uint64_t choice = dice_below(&dice, 8);
        if (choice == 0)
            rename_it(run);
        else if (choice < 4)
            snapshot(run, choice == 1);
        else
            grow(run, &dice);
        atomic_fetch_add(&session->calls, 1);
        clock_sleep(dice_below(&dice, pause_of(session)));
    }
}

/* ---- writes -------------------------------------------------------------------------------------------------------- */

static void keep_error(struct request *request, void *context)
{
    *(enum error *)context = request->error;
}

/* What needs a size that was not promised yet promises it. */
static void raise(_Atomic uint64_t *least, uint64_t value)
{
    uint64_t before = atomic_load(least);
    while (before < value && !atomic_compare_exchange_weak(least, &before, value)) {
    }
}

static void write_to_the_end(const struct grown_run *run, struct volume *volume, struct dice *dice)
{
    struct session *session = run->session;
    struct grown_model *model = &session->grown;
    uint64_t moment = session_moment(), blocks = volume_size(volume) / BLOCK, number = ++model->number;
    unsigned char block[BLOCK] = {0};
    enum error error = ERROR_BUG;
    if (blocks == 0 || blocks > atomic_load(&model->blocks_most))
        fail("what grows has %llu blocks, which nobody made of it", (unsigned long long)blocks);
    struct request request = {.type = REQUEST_WRITE,
                              .flags = REQUEST_FUA,
                              .offset = (blocks - 1) * BLOCK,
                              .length = dice_percent(dice, 50) ? BLOCK : sizeof(number),
                              .data = block};
    memcpy(block, &number, sizeof(number));
    model->most[blocks - 1] = number;
    volume_execute(volume, &request, 1, keep_error, &error);
    if (!told(session, error, moment, "write to the end of what grows"))
        return;
    model->least[blocks - 1] = number;
    raise(&model->blocks_least, blocks);
    atomic_fetch_add(&session->promises, 1);
}

/* By its name of this moment; NULL where it is given another, or a fault is in the way. */
static struct volume *open_it(const struct grown_run *run, bool of_snapshot)
{
    uint64_t moment = session_moment();
    struct volume *volume;
    char name[NAME_SIZE];
    (of_snapshot ? snapshot_name_make : name_make)(atomic_load(&run->session->grown.name), name);
    enum error error = volume_open(run->pool, name, of_snapshot, &volume);
    if (error == ERROR_NOT_FOUND || !told(run->session, error, moment, "open of what grows"))
        return NULL;
    return volume;
}

static void read_snapshot(const struct grown_run *run, unsigned char *first, unsigned char *second)
{
    struct volume *volume = open_it(run, true);
    if (volume == NULL)
        return;
    uint64_t size = volume_size(volume);
    if (size > GROWN_BLOCKS * BLOCK)
        fail("a snapshot of what grows has %llu bytes", (unsigned long long)size);
    if (read_all(run->session, volume, 0, first, size) && read_all(run->session, volume, 0, second, size) &&
        memcmp(first, second, size) != 0)
        fail("a snapshot of what grows reads in two ways");
    volume_close(volume);
}

void grown_writer_run(void *argument)
{
    const struct grown_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 179424673 + session->round + atomic_load(&session->clock.now)};
    unsigned char *room = session_take(2 * (size_t)GROWN_BLOCKS * BLOCK);
    while (!is_over(session)) {
        struct volume *volume = open_it(run, false);
        for (uint64_t i = dice_below(&dice, WRITES_MAX); i > 0 && volume != NULL && !is_over(session); i--) {
            write_to_the_end(run, volume, &dice);
            clock_sleep(dice_below(&dice, pause_of(session)));
        }
        if (volume != NULL)
            volume_close(volume);
        if (!is_over(session))
            read_snapshot(run, room, room + (size_t)GROWN_BLOCKS * BLOCK);
        clock_sleep(dice_below(&dice, pause_of(session)));
    }
    free(room);
}

/* ---- after a restart ----------------------------------------------------------------------------------------------- */

static uint64_t judge_found(struct grown_model *model, const struct object_info *infos, size_t count)
{
    unsigned found = 0, name = 0;
    uint64_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        if (!grown_knows(infos[i].name) || infos[i].deleted != 0)
            continue;
        found++;
        name = strcmp(infos[i].name, "grown-1") == 0;
        blocks = infos[i].size / BLOCK;
    }
    if (found != 1)
        fail("what grows is there %u times", found);
    if (name != atomic_load(&model->name) && !atomic_load(&model->renaming))
        fail("what grows has a name that nobody gave it");
    uint64_t least = atomic_load(&model->blocks_least), most = atomic_load(&model->blocks_most);
    if (blocks < least || blocks > most)
        fail("what grows has %llu blocks, and must have from %llu to %llu", (unsigned long long)blocks,
             (unsigned long long)least, (unsigned long long)most);
    atomic_store(&model->name, name);
    atomic_store(&model->renaming, false);
    atomic_store(&model->blocks_least, blocks);
    atomic_store(&model->blocks_most, blocks);
    return blocks;
}

static bool judge_numbers(struct session *session, struct volume *volume, uint64_t blocks)
{
    struct grown_model *model = &session->grown;
    for (uint64_t b = 0; b < blocks; b++) {
        uint64_t number;
        if (!read_stubbornly(session, volume, b * BLOCK, &number, sizeof(number)))
            return false;
        if (number < model->least[b] || number > model->most[b])
            fail("block %llu of what grows holds %llu, and must hold from %llu to %llu", (unsigned long long)b,
                 (unsigned long long)number, (unsigned long long)model->least[b], (unsigned long long)model->most[b]);
        model->least[b] = model->most[b] = number;
    }
    return true;
}

bool grown_compare(struct session *session, struct pool *pool)
{
    struct object_info *infos;
    struct volume *volume;
    size_t count;
    char name[NAME_SIZE];
    enum error error;
    if (!session_works(session, WORK_GROWS))
        return true;
    if (!session_objects(session, pool, &infos, &count))
        return false;
    uint64_t blocks = judge_found(&session->grown, infos, count);
    free(infos);
    name_make(atomic_load(&session->grown.name), name);
    do
        error = volume_open(pool, name, true, &volume);
    while (session_again(session, error, "open of what grows"));
    if (error)
        return false;
    bool all = judge_numbers(session, volume, blocks);
    volume_close(volume);
    return all;
}
