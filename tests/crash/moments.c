/*
 * What all workers write to is moved to other components under their hands, between the latch of a batch and its commit too.
 * What they wrote is judged by them; here, that a snapshot never changes, that it is there after a crash once it was answered,
 * and that several are of one moment: a number rises in a block of the dense volume, then in one of the spread volume, so
 * that at each moment the first is what the second is, or one more. A crash takes the last commits, so it is so behind one too.
 *
 * Two threads. A kill leaves a snapshot that nobody knows, which the next run deletes, or one that is known and compared.
 */
#include "tests/crash/moments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/content.h"

#define AREA_BLOCKS (SHARED_BLOCKS + SPLIT_BLOCKS + 1) /* what several write, and the stamp behind it */
#define AREA_BYTES  ((uint64_t)AREA_BLOCKS * BLOCK)
#define PAUSE_LEAST CLOCK_MILLISECOND /* as many of them as the seed says */
#define PAUSE_BITS  9
#define SERIES      6 /* of snapshots without a look, at most: what matters most is that there are many */
#define NAME_SIZE   32

struct look {
    uint64_t hashes[VOLUMES], stamps[VOLUMES];
};

static void snapshot_name(unsigned volume, unsigned number, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s@m%u", volume_names[volume], number);
}

static bool is_over(const struct session *session)
{
    return atomic_load(&session->stop) || atomic_load(&session->over);
}

/* At each moment. */
static void judge_stamps(const uint64_t stamps[VOLUMES], const char *where)
{
    if (stamps[0] != stamps[1] && stamps[0] != stamps[1] + 1)
        fail("the stamps of %s are %llu and %llu: not of one moment", where, (unsigned long long)stamps[0],
             (unsigned long long)stamps[1]);
}

static uint64_t stamp_of(const unsigned char *area)
{
    uint64_t stamp;
    memcpy(&stamp, area + AREA_BYTES - BLOCK, sizeof(stamp));
    return stamp;
}

/* ---- stamps -------------------------------------------------------------------------------------------------------- */

static void keep_error(struct request *request, void *context)
{
    *(enum error *)context = request->error;
}

/* As a whole block, or as a part of one, which needs a latch. */
static bool stamp_write(const struct moments_run *run, unsigned volume, uint64_t number, struct dice *dice)
{
    struct session *session = run->session;
    struct moment_model *model = &session->moments;
    unsigned char block[BLOCK] = {0};
    enum error error = ERROR_BUG;
    struct request request = {.type = REQUEST_WRITE,
                              .flags = dice_percent(dice, 10) ? REQUEST_FUA : 0,
                              .offset = stamp_offset(session, volume),
                              .length = dice_percent(dice, 50) ? BLOCK : sizeof(number),
                              .data = block};
    memcpy(block, &number, sizeof(number));
    model->most[volume] = number;
    volume_execute(run->volumes[volume], &request, 1, keep_error, &error);
    bool done = !session_is_full(session, error, "write of a stamp") && succeeds(session, error, "write of a stamp");
    if (done && (request.flags & REQUEST_FUA) != 0) {
        model->least[volume] = number;
        atomic_fetch_add(&session->promises, 1);
    }
    return done;
}

void stamps_run(void *argument)
{
    const struct moments_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 982451653 + session->round + atomic_load(&session->clock.now)};
    uint64_t pause = PAUSE_LEAST << session->settings.seed / 8 % PAUSE_BITS;
    uint64_t written[VOLUMES] = {session->moments.least[0], session->moments.least[1]};
    while (!is_over(session)) {
        unsigned volume = written[0] != written[1];
        uint64_t number = written[0] + (volume == 0);
        if (stamp_write(run, volume, number, &dice))
            written[volume] = number;
        clock_sleep(dice_below(&dice, pause));
    }
}

/* What a restart reads stays. */
static bool stamps_compare(struct session *session, struct volume *const volumes[VOLUMES])
{
    struct moment_model *model = &session->moments;
    uint64_t stamps[VOLUMES];
    for (unsigned v = 0; v < VOLUMES; v++) {
        if (!read_stubbornly(session, volumes[v], stamp_offset(session, v), &stamps[v], sizeof(stamps[v])))
            return false;
        if (stamps[v] < model->least[v] || stamps[v] > model->most[v])
            fail("the stamp of %s is %llu, and must be from %llu to %llu", volume_names[v], (unsigned long long)stamps[v],
                 (unsigned long long)model->least[v], (unsigned long long)model->most[v]);
    }
    judge_stamps(stamps, "the volumes");
    for (unsigned v = 0; v < VOLUMES; v++)
        model->least[v] = model->most[v] = stamps[v];
    return true;
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------- */

/* At snapshots of that number; false where a fault kept one from being read. */
static bool look_once(struct session *session, struct pool *pool, unsigned number, unsigned char *area, struct look *look)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        struct volume *volume;
        char name[NAME_SIZE];
        snapshot_name(v, number, name);
        if (!succeeds(session, volume_open(pool, name, true, &volume), "open of a snapshot of a volume"))
            return false;
        bool read = read_all(session, volume, shared_offset(session, v), area, AREA_BYTES);
        volume_close(volume);
        if (!read)
            return false;
        look->hashes[v] = content_hash(area, AREA_BYTES);
        look->stamps[v] = stamp_of(area);
    }
    return true;
}

static void judge_same(const struct look *before, const struct look *after, const char *when)
{
    for (unsigned v = 0; v < VOLUMES; v++)
        if (before->hashes[v] != after->hashes[v])
            fail("a snapshot of %s, stamped %llu, is another %s: stamped %llu, %016llx and not %016llx", volume_names[v],
                 (unsigned long long)before->stamps[v], when, (unsigned long long)after->stamps[v],
                 (unsigned long long)after->hashes[v], (unsigned long long)before->hashes[v]);
}

/* Of snapshots that were just made. */
static void watch(const struct moments_run *run, unsigned number, unsigned char *area, uint64_t pause, struct dice *dice)
{
    struct moment_model *model = &run->session->moments;
    struct look first, second;
    if (!look_once(run->session, run->pool, number, area, &first))
        return;
    judge_stamps(first.stamps, "two snapshots");
    memcpy(model->hashes, first.hashes, sizeof(model->hashes));
    model->number = number;
    atomic_store(&model->known, true);
    clock_sleep(dice_below(dice, pause));
    if (is_over(run->session) || !look_once(run->session, run->pool, number, area, &second))
        return;
    judge_same(&first, &second, "a moment later");
    atomic_fetch_add(&run->session->done[DONE_MOMENTS], 1);
}

/* BUSY: what had it open is about to close. NOT_FOUND: it was not made this time. */
static void give_up(const struct moments_run *run)
{
    atomic_store(&run->session->moments.known, false);
    for (unsigned i = 0; i < SERIES * VOLUMES && !is_over(run->session); i++) {
        char name[NAME_SIZE];
        snapshot_name(i % VOLUMES, i / VOLUMES, name);
        enum error error = snapshot_delete(run->pool, name);
        if (error != ERROR_NOT_FOUND && !session_refuses(run->session, error, "delete of a snapshot of a volume"))
            succeeds(run->session, error, "delete of a snapshot of a volume");
    }
}

/* EXISTS: a crash left it. */
static bool snapshots_make(const struct moments_run *run, unsigned number)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "m%u", number);
    enum error error = object_snapshot(run->pool, volume_names, VOLUMES, name, false, 0);
    atomic_fetch_add(&run->session->calls, 1);
    if (error != ERROR_EXISTS && !session_refuses(run->session, error, "snapshot of the volumes"))
        succeeds(run->session, error, "snapshot of the volumes");
    return error == ERROR_NONE;
}

void moments_run(void *argument)
{
    const struct moments_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 67867967 + session->round + atomic_load(&session->clock.now)};
    uint64_t pause = PAUSE_LEAST << session->settings.seed / 8 % PAUSE_BITS;
    unsigned char *area = session_take(AREA_BYTES);
    while (!is_over(session)) {
        unsigned count = 1 + (unsigned)dice_below(&dice, SERIES);
        for (unsigned i = 0; i < count && !is_over(session); i++) {
            bool made = snapshots_make(run, i);
            if (made && i + 1 == count)
                watch(run, i, area, pause, &dice);
            clock_sleep(dice_below(&dice, pause));
        }
        if (!is_over(session))
            give_up(run);
    }
    free(area);
}

bool moments_compare(struct session *session, struct pool *pool, struct volume *const volumes[VOLUMES])
{
    struct moment_model *model = &session->moments;
    struct look before = {0}, now;
    if (!session_works(session, WORK_MOMENTS))
        return true;
    if (!stamps_compare(session, volumes))
        return false;
    if (!atomic_load(&model->known))
        return true;
    memcpy(before.hashes, model->hashes, sizeof(before.hashes));
    unsigned char *area = session_take(AREA_BYTES);
    bool looked;
    do
        looked = look_once(session, pool, model->number, area, &now);
    while (!looked && !atomic_load(&session->over));
    free(area);
    if (looked)
        judge_same(&before, &now, "behind a restart");
    return looked;
}
