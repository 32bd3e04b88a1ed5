/*
 * A thread that unlocks a pool once its key is there.
 *
 * It goes on while what stands against the open may pass: the key is not there, is still being copied, has a wrong mode
 * or is another one, another process holds the devices (pool_unlock_awaited() judges). Each such state but absence is
 * told when it begins; that of the start was told then. Whatever else it is (a wrong passphrase, devices that were
 * rolled back) is told and left to a person, and the pool awaits its key no more. Who unlocks, and perhaps locks again,
 * has the last word: pool_unlock_awaited() does nothing then. The lock is held for waiting only; a crash loses nothing.
 */
#include "server/key_wait.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/random.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "engine/coffer.h"
#include "server/key_watch.h"

#define PAUSE_FIRST CLOCK_SECOND
#define PAUSE_MOST  (48 * CLOCK_SECOND) /* with a quarter more a minute: a person who plugs the medium in may wait as long */

struct key_wait {
    struct pool *pool;
    key_secret *secret;
    void *context;
    struct thread thread;
    char *told;        /* the thread's: what was said last, at the start or by it; NULL: no memory */
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition changed;
    bool stopping GUARDED_BY(lock);
};

/* Up to a quarter more: daemons that one power cut started together do not ask a key server together. */
static uint64_t jittered(uint64_t time)
{
    return time + random_u64() % (time / 4);
}

/* False where it is to end. */
static bool pause_for(struct key_wait *wait, uint64_t time)
{
    uint64_t until = clock_monotonic() + jittered(time);
    mutex_lock(&wait->lock);
    while (!wait->stopping && condition_wait_until(&wait->changed, &wait->lock, until))
        ;
    bool go_on = !wait->stopping;
    mutex_unlock(&wait->lock);
    return go_on;
}

/* The passphrase's file may lie beside the key: where it cannot be had, that may pass too. */
static enum error try_once(struct key_wait *wait, bool *again)
{
    char *passphrase = NULL;
    size_t size = 0;
    error_forget();
    *again = true;
    TRY(wait->secret(wait->context, &passphrase, &size));
    enum error error = pool_unlock_awaited(wait->pool, passphrase, size, again);
    arena_free(passphrase);
    return error;
}

/* Absence was told at the start, and who unlocks right now knows it. */
static void tell_state(struct key_wait *wait, enum error error)
{
    const char *sentence = error_sentence(error);
    if (error == ERROR_KEY_ABSENT || error == ERROR_BUSY || (wait->told != NULL && strcmp(wait->told, sentence) == 0))
        return;
    message(MESSAGE_WARNING, "%s; the pool stays locked, and it is tried again at least once a minute", sentence);
    free(wait->told);
    wait->told = strdup(sentence);
}

static void tell_end(const struct key_wait *wait, enum error error)
{
    if (error == ERROR_EXISTS)
        return; /* somebody was faster */
    if (error == ERROR_NONE) {
        message(MESSAGE_NOTICE, "the key is there: the pool is unlocked");
        key_watch_wake();
        sd_notify(0, "STATUS=Serving");
        return;
    }
    message(MESSAGE_ERROR, "%s; the pool stays locked: type `%s unlock`", error_sentence(error),
            pool_command(wait->pool));
}

static void run(void *argument)
{
    struct key_wait *wait = argument;
    uint64_t pause = PAUSE_FIRST;
    while (pause_for(wait, pause)) {
        bool again;
        enum error error = try_once(wait, &again);
        if (!again) {
            tell_end(wait, error);
            return;
        }
        tell_state(wait, error);
        pause = MIN(2 * pause, PAUSE_MOST);
    }
}

/* `*told`: what was said at the start of the key that is awaited; NULL where none is. The caller's. */
static enum error awaits(struct pool *pool, char **told)
{
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof(*status));
    if (status == NULL)
        return ERROR_NO_MEMORY;
    TRY(pool_status(pool, status));
    *told = status->awaits_key ? strdup(status->why_locked) : NULL;
    return *told == NULL && status->awaits_key ? ERROR_NO_MEMORY : ERROR_NONE;
}

static void wait_free(struct key_wait *wait)
{
    mutex_deinit(&wait->lock);
    condition_deinit(&wait->changed);
    free(wait->told);
    free(wait);
}

enum error key_wait_start(struct pool *pool, key_secret *secret, void *context, struct key_wait **wait)
{
    char *told;
    TRY(awaits(pool, &told));
    *wait = NULL;
    if (told == NULL)
        return ERROR_NONE;
    struct key_wait *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL) {
        free(told);
        return ERROR_NO_MEMORY;
    }
    made->pool = pool;
    made->told = told;
    made->secret = secret;
    made->context = context;
    mutex_init(&made->lock, RANK_LEAF);
    condition_init(&made->changed);
    enum error error = thread_start(&made->thread, "key-wait", run, made);
    if (error != ERROR_NONE) {
        wait_free(made);
        return error;
    }
    *wait = made;
    return ERROR_NONE;
}

void key_wait_stop(struct key_wait *wait)
{
    if (wait == NULL)
        return;
    mutex_lock(&wait->lock);
    wait->stopping = true;
    condition_broadcast(&wait->changed);
    mutex_unlock(&wait->lock);
    thread_join(&wait->thread);
    wait_free(wait);
}
