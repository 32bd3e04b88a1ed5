/* Where things lie in the volumes, and the plain calls that every part of the crash tests makes. */
#include "tests/crash/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define AGAIN_PAUSE (20 * CLOCK_MILLISECOND)

const char *const volume_names[VOLUMES] = {"dense", "spread"};

/* The spread volume has its areas far apart, on odd places of the map's nodes, with the last one near its end. */
#define SPREAD_BYTES (UINT64_C(7) << 40)

static uint64_t area_offset(unsigned volume, unsigned area)
{
    return volume == 0 ? (uint64_t)area * STRIPE_BLOCKS * BLOCK : area * (SPREAD_BYTES + 77 * BLOCK);
}

uint64_t stripe_offset(unsigned volume, unsigned worker)
{
    return area_offset(volume, worker);
}

uint64_t shared_offset(const struct session *session, unsigned volume)
{
    return area_offset(volume, session->settings.workers);
}

uint64_t split_offset(const struct session *session, unsigned volume)
{
    return shared_offset(session, volume) + SHARED_BLOCKS * BLOCK;
}

uint64_t stamp_offset(const struct session *session, unsigned volume)
{
    return split_offset(session, volume) + SPLIT_BLOCKS * BLOCK;
}

uint64_t volume_bytes(const struct session *session, unsigned volume)
{
    uint64_t dense = stamp_offset(session, 0) + (session_works(session, WORK_MOMENTS) ? BLOCK : 0);
    return volume == 0 ? dense : OBJECT_SIZE_MAX;
}

static bool excuse_none(enum error error)
{
    (void)error;
    return false;
}

static void open_as_always(void) {}

static bool excuse_none_since(enum error error, uint64_t moment)
{
    (void)error, (void)moment;
    return false;
}

static uint64_t moment_none(void)
{
    return 0;
}

static bool last_always(uint64_t moment)
{
    (void)moment;
    return true;
}

bool (*session_excuses)(enum error error) = excuse_none;
bool (*session_excuses_since)(enum error error, uint64_t moment) = excuse_none_since;
uint64_t (*session_moment)(void) = moment_none;
bool (*session_lasts_since)(uint64_t moment) = last_always;
void (*session_opens)(void) = open_as_always;
void (*session_clock_set)(int64_t seconds);

static bool meet_none(enum trouble trouble)
{
    (void)trouble;
    return false;
}

bool (*session_met)(enum trouble trouble) = meet_none;

static void keys_pass(struct pool *pool, const struct pool_key_status *status, bool one_dek)
{
    (void)pool, (void)status, (void)one_dek;
}

void (*session_keys_judge)(struct pool *pool, const struct pool_key_status *status, bool one_dek) = keys_pass;

static void say_nothing(void) {}

void (*session_fails)(void) = say_nothing;

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char sentence[1024];
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    fprintf(stderr, "crash: %s\n", sentence);
    session_fails();
    fflush(stderr);
    _exit(3);
}

void succeed(enum error error, const char *what)
{
    if (error != ERROR_NONE)
        fail("%s: %s: %s", what, error_name(error), error_sentence(error));
}

_Thread_local volatile bool session_takes;

void *session_take(size_t size)
{
    session_takes = true;
    void *taken = calloc(1, size);
    session_takes = false;
    ASSERT(taken != NULL);
    return taken;
}

static bool excused(struct session *session, enum error error, bool excuse, const char *what)
{
    if (!excuse)
        succeed(error, what);
    if (error == ERROR_FENCED)
        atomic_store(&session->over, true);
    return false;
}

bool succeeds(struct session *session, enum error error, const char *what)
{
    return error == ERROR_NONE || excused(session, error, session_excuses(error), what);
}

bool succeeds_since(struct session *session, enum error error, uint64_t moment, const char *what)
{
    return error == ERROR_NONE || excused(session, error, session_excuses_since(error, moment), what);
}

bool session_is_full(struct session *session, enum error error, const char *what)
{
    if (error != ERROR_NO_SPACE)
        return false;
    atomic_fetch_add(&session->done[DONE_FULL], 1);
    if (atomic_load(&session->ample) && !session_met(TROUBLE_SPACE))
        fail("%s: there is no space, and most of the pool is free: %s", what, error_sentence(error));
    return true;
}

bool session_refuses(struct session *session, enum error error, const char *what)
{
    atomic_fetch_add(&session->done[DONE_BUSY], error == ERROR_BUSY);
    return error == ERROR_BUSY || session_is_full(session, error, what);
}

bool session_again(struct session *session, enum error error, const char *what)
{
    if (succeeds(session, error, what) || atomic_load(&session->over))
        return false;
    clock_sleep(AGAIN_PAUSE);
    return true;
}

bool session_objects(struct session *session, struct pool *pool, struct object_info **infos, size_t *count)
{
    enum error error;
    do
        error = object_list(pool, infos, count);
    while (session_again(session, error, "list of objects"));
    return error == ERROR_NONE;
}

bool session_snapshots(struct session *session, struct pool *pool, struct snapshot_info **infos, size_t *count)
{
    enum error error;
    do
        error = snapshot_list(pool, NULL, NULL, infos, count);
    while (session_again(session, error, "list of snapshots"));
    return error == ERROR_NONE;
}

bool session_snapshot(struct session *session, struct pool *pool, const char *name, struct snapshot_info *info)
{
    enum error error;
    do
        error = snapshot_find(pool, name, info);
    while (session_again(session, error, "search for a snapshot"));
    return error == ERROR_NONE;
}

static void ignore_answer(struct request *request, void *context)
{
    (void)request, (void)context;
}

static enum error read_once(struct volume *volume, uint64_t offset, void *out, uint64_t length, char what[64])
{
    struct request request = {.type = REQUEST_READ, .offset = offset, .length = length, .data = out};
    volume_execute(volume, &request, 1, ignore_answer, NULL);
    snprintf(what, 64, "read of %llu bytes at %llu", (unsigned long long)length, (unsigned long long)offset);
    return request.error;
}

bool read_all(struct session *session, struct volume *volume, uint64_t offset, void *out, uint64_t length)
{
    char what[64];
    uint64_t moment = session_moment();
    enum error error = read_once(volume, offset, out, length, what);
    return succeeds_since(session, error, moment, what);
}

bool read_stubbornly(struct session *session, struct volume *volume, uint64_t offset, void *out, uint64_t length)
{
    char what[64];
    for (;;) {
        uint64_t moment = session_moment();
        enum error error = read_once(volume, offset, out, length, what);
        if (succeeds_since(session, error, moment, what))
            return true;
        if (atomic_load(&session->over))
            return false;
        clock_sleep(AGAIN_PAUSE);
    }
}
