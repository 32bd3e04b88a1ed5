/*
 * The one place where a thread of the daemon starts, waits for what is to be done next, and ends.
 *
 * Chores of one thread are done one after the other, in their order where several are due, and a pause counts from the end of
 * what was done: so none is ever done twice at once, nor does one that took long make up for what it missed. What may take as
 * long as others answer (key servers, a resolver) therefore has a thread of its own, where somebody else must not wait for it.
 * Between two chores the end is looked for; a chore itself is not cut short here.
 *
 * The lock is held for waiting and copying only, never while a chore is done. Nothing is stored: after a crash the next start
 * counts anew, and a chore that must know when it was done last (the change of keys, say) goes by files of its own.
 */
#include "server/chores.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

void chores_init(struct chores *chores, const struct chore *list, size_t count, void *context, uint64_t (*clock)(void))
{
    ASSERT(count <= CHORES_MAX);
    *chores = (struct chores){.count = count, .context = context, .clock = clock};
    memcpy(chores->list, list, count * sizeof *list);
    for (size_t i = 0; i < count; i++)
        chores->due[i] = clock() + list[i].first;
    mutex_init(&chores->lock, RANK_LEAF);
    condition_init(&chores->changed);
}

void chores_deinit(struct chores *chores)
{
    mutex_deinit(&chores->lock);
    condition_deinit(&chores->changed);
}

static bool is_stopping(struct chores *chores)
{
    mutex_lock(&chores->lock);
    bool stopping = chores->stopping;
    mutex_unlock(&chores->lock);
    return stopping;
}

static bool was_woken(struct chores *chores)
{
    mutex_lock(&chores->lock);
    bool woken = chores->woken;
    chores->woken = false;
    mutex_unlock(&chores->lock);
    return woken;
}

uint64_t chores_round(struct chores *chores)
{
    uint64_t next = CHORE_NEVER;
    bool woken = was_woken(chores);
    for (size_t i = 0; i < chores->count && !is_stopping(chores); i++) {
        if (chores->due[i] != CHORE_NEVER && (woken || chores->due[i] <= chores->clock())) {
            uint64_t pause = chores->list[i].run(chores->context);
            chores->due[i] = pause == CHORE_NEVER ? CHORE_NEVER : chores->clock() + pause;
        }
        next = MIN(next, chores->due[i]);
    }
    return next;
}

/* False where it is to end. */
static bool wait_until(struct chores *chores, uint64_t until)
{
    mutex_lock(&chores->lock);
    while (!chores->stopping && !chores->woken && condition_wait_until(&chores->changed, &chores->lock, until))
        ;
    bool go_on = !chores->stopping;
    mutex_unlock(&chores->lock);
    return go_on;
}

static void run(void *argument)
{
    struct chores *chores = argument;
    uint64_t next = chores_round(chores);
    while (next != CHORE_NEVER && wait_until(chores, next))
        next = chores_round(chores);
}

enum error chores_start(struct chores *chores, const char *name, const struct chore *list, size_t count, void *context)
{
    ASSERT(!chores->running);
    chores_init(chores, list, count, context, clock_monotonic);
    enum error error = thread_start(&chores->thread, name, run, chores);
    if (error != ERROR_NONE)
        chores_deinit(chores);
    chores->running = error == ERROR_NONE;
    return error;
}

/* Sets one of the flags, and tells the thread. */
static void tell(struct chores *chores, bool *flag)
{
    mutex_lock(&chores->lock);
    *flag = true;
    condition_broadcast(&chores->changed);
    mutex_unlock(&chores->lock);
}

void chores_wake(struct chores *chores)
{
    if (chores->running)
        tell(chores, &chores->woken);
}

void chores_leave(struct chores *chores)
{
    if (chores->running)
        tell(chores, &chores->stopping);
}

void chores_stop(struct chores *chores)
{
    if (!chores->running)
        return;
    chores_leave(chores);
    thread_join(&chores->thread);
    chores->running = false;
    chores_deinit(chores);
}
