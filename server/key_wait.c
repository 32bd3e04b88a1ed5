/*
 * A thread that unlocks a pool once its key is there.
 *
 * It goes on while what stands against the open may pass: the key is not there, is still being copied, has a wrong mode
 * or is another one, another process holds the devices (pool_unlock_awaited() judges). Each such state but absence is
 * told when it begins; that of the start was told then. Whatever else it is (a wrong passphrase, devices that were
 * rolled back) is told and left to a person, and the pool awaits its key no more. Who unlocks, and perhaps locks again,
 * has the last word: pool_unlock_awaited() does nothing then. The thread (chores.h) has nothing else to do, since a try may take as
 * long as key servers do, and an open as its journal. No locks of its own; a crash loses nothing.
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
#include "crypto/arena.h"
#include "engine/coffer.h"
#include "server/chores.h"
#include "server/key_watch.h"

#define PAUSE_FIRST CLOCK_SECOND
#define PAUSE_MOST  (48 * CLOCK_SECOND) /* with a quarter more a minute: a person who plugs the medium in may wait as long */

struct key_wait {
    struct pool *pool;
    key_secret *secret;
    void *context;
    struct chores chores;
    char *told;     /* the thread's: what was said last, at the start or by it; NULL: no memory */
    uint64_t pause; /* the thread's: to the next try */
};

/* Up to a quarter more: daemons that one power cut started together do not ask a key server together. */
static uint64_t jittered(uint64_t time)
{
    return time + random_u64() % (time / 4);
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

static uint64_t run(void *context)
{
    struct key_wait *wait = context;
    bool again;
    enum error error = try_once(wait, &again);
    if (!again) {
        tell_end(wait, error);
        return CHORE_NEVER;
    }
    tell_state(wait, error);
    wait->pause = MIN(2 * wait->pause, PAUSE_MOST);
    return jittered(wait->pause);
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
    made->pause = PAUSE_FIRST;
    const struct chore chore = {run, jittered(PAUSE_FIRST)};
    enum error error = chores_start(&made->chores, "key-wait", &chore, 1, made);
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
    chores_stop(&wait->chores);
    wait_free(wait);
}
