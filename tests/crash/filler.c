/*
 * The filler has no model: each of its blocks begins with its own number, so one that was lost, or given to somebody
 * else, is found where it is read; what the others hold in a full pool their models say.
 *
 * One thread. A kill leaves it as it is; the next life goes on with what it finds.
 */
#include "tests/crash/filler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/crash/random.h"

#define FILLER_BYTES  (UINT64_C(1) << 30)
#define PIECE_BLOCKS  64
#define SAMPLES       24
#define FULL_PAUSE    (200 * CLOCK_MILLISECOND)
#define AGAIN_PART    4
#define SNAPSHOT_NAME FILLER_NAME "@full"
#define MARK          UINT64_C(0x66696c6c65720000)

static void answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

static bool is_over(struct session *session)
{
    return atomic_load(&session->stop) || atomic_load(&session->over);
}

/* NO_SPACE and BUSY (something is still being freed) are answers like others. */
static bool done(struct session *session, enum error error, const char *what)
{
    atomic_fetch_add(&session->calls, 1);
    return !session_refuses(session, error, what) && succeeds(session, error, what);
}

static bool exists(struct pool *pool, const char *name)
{
    struct object_info info;
    struct snapshot_info snapshot;
    return strchr(name, '@') == NULL ? object_find(pool, name, &info) == ERROR_NONE && info.deleted == 0 && !info.deleting
                                     : snapshot_find(pool, name, &snapshot) == ERROR_NONE;
}

static void piece_make(struct dice *dice, uint64_t first, unsigned char *piece)
{
    for (uint64_t b = 0; b < PIECE_BLOCKS; b++)
        for (uint64_t at = 0; at < BLOCK; at += sizeof(uint64_t)) {
            uint64_t number = at == 0 ? MARK + first + b : dice_throw(dice);
            memcpy(piece + b * BLOCK + at, &number, sizeof(number));
        }
}

/* From its beginning, over what it had before; *written is where it ended. Whether it ended because the pool was full. */
static bool fill(struct session *session, struct volume *volume, struct dice *dice, uint64_t *written)
{
    static unsigned char piece[PIECE_BLOCKS * BLOCK];
    enum error error = ERROR_NONE;
    uint64_t at;
    for (at = 0; at < FILLER_BYTES && error == ERROR_NONE && !is_over(session); at += sizeof(piece)) {
        struct request request = {.type = REQUEST_WRITE, .offset = at, .length = sizeof(piece), .data = piece};
        piece_make(dice, at / BLOCK, piece);
        volume_execute(volume, &request, 1, answer, NULL);
        atomic_fetch_add(&session->requests, 1);
        error = request.error;
        if (!session_is_full(session, error, "write to the filler"))
            (void)!succeeds(session, error, "write to the filler");
    }
    bool full = error == ERROR_NO_SPACE && !session_met(TROUBLE_SPACE); /* else what is below is full */
    atomic_fetch_add(&session->fillings, full);
    atomic_fetch_add(&session->full, error == ERROR_NO_SPACE);
    *written = at;
    return full;
}

/* What was trimmed is zeros at once: the first block, and some others. Whether it was. */
static bool trim(struct session *session, struct volume *volume, uint64_t start, uint64_t end, struct dice *dice)
{
    unsigned char block[BLOCK];
    struct request request = {.type = REQUEST_TRIM, .offset = start, .length = end - start};
    volume_execute(volume, &request, 1, answer, NULL);
    bool trimmed = done(session, request.error, "trim of the filler");
    for (unsigned i = 0; i < SAMPLES / 2 && trimmed && !atomic_load(&session->over); i++) {
        uint64_t number = (i == 0 ? 0 : dice_small(dice, (end - start) / BLOCK / 16) - 1), at = start + number * BLOCK;
        if (read_all(session, volume, at, block, BLOCK) && !memory_is_zero(block, BLOCK))
            fail("byte %llu of the filler was trimmed, and is not zero", (unsigned long long)at);
    }
    return trimmed;
}

/* What was trimmed is there for who comes next, who waits for a merge that brings it; only what others took is gone. */
static void fill_again(struct session *session, struct volume *volume, uint64_t before, struct dice *dice)
{
    uint64_t written;
    bool full = fill(session, volume, dice, &written);
    if (full && written < before / AGAIN_PART)
        fail("%llu bytes filled the pool, where %llu bytes had been trimmed", (unsigned long long)written,
             (unsigned long long)before);
}

static void fill_and_trim(struct session *session, struct pool *pool, struct dice *dice)
{
    struct volume *volume;
    if (!done(session, volume_open(pool, FILLER_NAME, false, &volume), "open of the filler"))
        return;
    uint64_t written;
    bool full = fill(session, volume, dice, &written);
    uint64_t choice = dice_below(dice, 4), cut = dice_below(dice, FILLER_BYTES / BLOCK) * BLOCK;
    bool again = full && session_works(session, WORK_GROWS) && !session_works(session, WORK_REKEYS) &&
                 !exists(pool, SNAPSHOT_NAME); /* which holds what is trimmed; a deep rekey takes space, too */
    if (choice == 0 && trim(session, volume, 0, FILLER_BYTES, dice) && again)
        fill_again(session, volume, written, dice);
    else if (choice == 1)
        trim(session, volume, cut / 16, FILLER_BYTES, dice);
    volume_close(volume);
}

/* What was trimmed, or deleted, is held by the snapshot until that goes too, before or after. */
static void give_back(struct session *session, struct pool *pool, struct dice *dice)
{
    const char *const name = FILLER_NAME;
    uint64_t choice = dice_below(dice, 6);
    bool snapshot = exists(pool, SNAPSHOT_NAME);
    if (choice == 0 && !snapshot && exists(pool, FILLER_NAME))
        done(session, object_snapshot(pool, &name, 1, "full", false, 0), "snapshot of the filler");
    else if (choice < 3 && snapshot)
        done(session, snapshot_delete(pool, SNAPSHOT_NAME), "delete of the filler's snapshot");
    else if (choice == 3 && snapshot)
        done(session, object_rollback(pool, SNAPSHOT_NAME, NULL, true), "rollback of the filler");
    else if (choice == 4 && exists(pool, FILLER_NAME))
        done(session, object_delete(pool, FILLER_NAME, true), "delete of the filler");
}

void filler_run(void *argument)
{
    const struct filler_run *run = argument;
    struct session *session = run->session;
    struct dice dice = {session->settings.seed * 15485863 + session->round};
    struct uuid uuid;
    while (!is_over(session)) {
        if (!exists(run->pool, FILLER_NAME))
            done(session, object_create(run->pool, FILLER_NAME, FILLER_BYTES, &uuid), "create of the filler");
        if (!is_over(session) && exists(run->pool, FILLER_NAME))
            fill_and_trim(session, run->pool, &dice);
        if (!is_over(session))
            give_back(session, run->pool, &dice);
        clock_sleep(FULL_PAUSE);
    }
}

/* ---- after a restart ----------------------------------------------------------------------------------------------- */

static bool samples_compare(struct session *session, struct volume *volume, const char *name, struct dice *dice)
{
    unsigned char block[BLOCK];
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t number = dice_small(dice, FILLER_BYTES / BLOCK / 16) - 1, found;
        if (!read_stubbornly(session, volume, number * BLOCK, block, BLOCK))
            return false;
        memcpy(&found, block, sizeof(found));
        if (found != MARK + number && !memory_is_zero(block, BLOCK))
            fail("block %llu of %s begins with %016llx", (unsigned long long)number, name, (unsigned long long)found);
    }
    return true;
}

bool filler_compare(struct session *session, struct pool *pool)
{
    static const char *const names[] = {FILLER_NAME, SNAPSHOT_NAME};
    struct dice dice = {session->settings.seed + session->round};
    bool all = true;
    for (size_t i = 0; i < COUNT_OF(names) && all; i++) {
        struct volume *volume;
        enum error error;
        if (!exists(pool, names[i]))
            continue;
        do
            error = volume_open(pool, names[i], true, &volume);
        while (session_again(session, error, "open of the filler"));
        all = error == ERROR_NONE && samples_compare(session, volume, names[i], &dice);
        if (error == ERROR_NONE)
            volume_close(volume);
    }
    return all;
}
