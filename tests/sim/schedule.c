/*
 * base/thread.h, base/clock.h and base/random.h on coroutines, in place of the files of those names: this object
 * defines every symbol of theirs and is linked before the library, so that they are not taken from it.
 *
 * Purpose: one seed decides each interleaving. Each thread that the engine starts is a coroutine with a stack of its
 * own; one runs at a time, and another may go on only at a point: lock, unlock, wait, signal, clock, random number,
 * and each submission or wait of a device. Time is virtual: a point takes a little, and where nobody can run it jumps
 * to the next deadline or completion. Where nothing is due either, that is a deadlock, told with what each waits for.
 *
 * What threads keep for themselves (_Thread_local) is shared by all coroutines. crypto/bulk.c, dedup/fingerprint.c and
 * dedup/unit.c use theirs between two points only; engine/pool/lookup.c keeps hints. The sentences of error_explain()
 * may be those of another coroutine: only the words of a failure suffer.
 *
 * Ranks are checked as in base/thread.c, by coroutine. No locks: one thread. A crash ends the process with all of this.
 */
#include "tests/sim/schedule.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"
#include "tests/sim/episode.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/world.h"

#define COROUTINES_MAX 64
#define HELD_MAX       16
#define POINTS_STOP    UINT64_C(4000000)   /* a life with hardly an event works no longer */
#define POINTS_MAX     UINT64_C(200000000) /* a life that comes by more goes round in a circle */
#define REALTIME_START (UINT64_C(1800000000) * CLOCK_SECOND)

struct coroutine {
    ucontext_t context;
    struct thread *thread;
    char name[16];
    bool used, finished;
    const char *why; /* it waits; NULL: it can run */
    const void *object;
    uint64_t deadline;
    const struct mutex *held[HELD_MAX];
    size_t held_count;
};

/* In the bytes of the system's mutex. */
struct sim_mutex {
    struct coroutine *owner;
};
_Static_assert(sizeof(struct sim_mutex) <= sizeof(pthread_mutex_t), "fits");

static struct coroutine coroutines[COROUTINES_MAX];
static size_t coroutines_count; /* places ever used */
static struct coroutine *running;
static uint64_t life_points;

/* ---- the choice ------------------------------------------------------------------------------------------------- */

static void deadlock(const char *what)
{
    for (size_t i = 0; i < coroutines_count; i++)
        if (coroutines[i].used && !coroutines[i].finished)
            fprintf(stderr, "    %s: %s %p\n", coroutines[i].name,
                    coroutines[i].why != NULL ? coroutines[i].why : "can run", coroutines[i].object);
    fail("%s", what);
}

static bool can_run(const struct coroutine *coroutine)
{
    return coroutine->used && !coroutine->finished && coroutine->why == NULL;
}

/* Wakes whose time has come; returns when the next is due, UINT64_MAX: none. */
static uint64_t wake_due(void)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < coroutines_count; i++) {
        struct coroutine *coroutine = &coroutines[i];
        if (!coroutine->used || coroutine->finished || coroutine->why == NULL || coroutine->deadline == 0)
            continue;
        if (coroutine->deadline <= world->now)
            coroutine->why = NULL;
        else
            next = MIN(next, coroutine->deadline);
    }
    return next;
}

static struct coroutine *choose(void)
{
    for (;;) {
        struct coroutine *able[COROUTINES_MAX];
        size_t count = 0;
        uint64_t device_due = sim_devices_complete(world->now), due = MIN(wake_due(), device_due);
        for (size_t i = 0; i < coroutines_count; i++)
            if (can_run(&coroutines[i]))
                able[count++] = &coroutines[i];
        if (count > 0)
            return able[world_below(count)];
        if (due == UINT64_MAX)
            deadlock("deadlock");
        world->now = due;
    }
}

static void switch_away(void)
{
    struct coroutine *self = running, *next = choose();
    if (next == self)
        return;
    world->switches++;
    trace((uint64_t)(next - coroutines));
    running = next;
    swapcontext(&self->context, &next->context);
}

void schedule_point(void)
{
    if (running == NULL)
        return;
    world->points++;
    if (++life_points == POINTS_STOP)
        atomic_store(&world->session->stop, true);
    if (life_points > POINTS_MAX)
        deadlock("it goes round in a circle");
    world->now += 1 + dice_below(&world->dice, world->step_max);
    if (dice_below(&world->dice, world->switch_chance) == 0)
        switch_away();
}

void schedule_wait(const char *why, const void *object, uint64_t deadline)
{
    running->why = why;
    running->object = object;
    running->deadline = deadline;
    switch_away();
    running->object = NULL;
}

void schedule_wake(const void *object)
{
    for (size_t i = 0; i < coroutines_count; i++)
        if (coroutines[i].used && coroutines[i].why != NULL && coroutines[i].object == object)
            coroutines[i].why = NULL;
}

/* ---- coroutines -------------------------------------------------------------------------------------------------- */

static void coroutine_main(void)
{
    running->thread->run(running->thread->argument);
    ASSERT(running->held_count == 0);
    running->finished = true;
    schedule_wake(running->thread);
    switch_away();
}

static struct coroutine *coroutine_free(void)
{
    for (size_t i = 0; i < coroutines_count; i++)
        if (!coroutines[i].used)
            return &coroutines[i];
    if (coroutines_count == COROUTINES_MAX)
        fail("more than %d coroutines", COROUTINES_MAX);
    return &coroutines[coroutines_count++];
}

static void coroutine_make(struct thread *thread, const char *name, void (*run)(void *), void *argument)
{
    struct coroutine *made = coroutine_free();
    thread->run = run;
    thread->argument = argument;
    *made = (struct coroutine){.used = true, .thread = thread};
    snprintf(made->name, sizeof(made->name), "%s", name);
    ASSERT(getcontext(&made->context) == 0);
    made->context.uc_stack.ss_sp = episode_stack((size_t)(made - coroutines), &made->context.uc_stack.ss_size);
    makecontext(&made->context, coroutine_main, 0);
}

static struct thread first_thread;

void schedule_restart(ucontext_t *base, void (*run)(void *argument), void *argument)
{
    coroutines_count = 0;
    life_points = 0;
    running = NULL;
    sim_devices_forget();
    coroutine_make(&first_thread, "main", run, argument);
    running = &coroutines[0];
    swapcontext(base, &running->context);
}

/* ---- base/thread.h ---------------------------------------------------------------------------------------------- */

static struct sim_mutex *sim_of(struct mutex *mutex)
{
    return (struct sim_mutex *)(void *)&mutex->os;
}

static void held_push(const struct mutex *mutex)
{
    ASSERT(running->held_count < HELD_MAX);
    ASSERT(running->held_count == 0 || running->held[running->held_count - 1]->rank < mutex->rank);
    running->held[running->held_count++] = mutex;
}

static void held_remove(const struct mutex *mutex)
{
    size_t index = running->held_count;
    while (index > 0 && running->held[index - 1] != mutex)
        index--;
    ASSERT(index > 0);
    for (; index < running->held_count; index++)
        running->held[index - 1] = running->held[index];
    running->held_count--;
}

void mutex_init(struct mutex *mutex, enum mutex_rank rank)
{
    mutex->rank = (int)rank;
    sim_of(mutex)->owner = NULL;
}

void mutex_deinit(struct mutex *mutex)
{
    ASSERT(sim_of(mutex)->owner == NULL);
}

static void acquire(struct mutex *mutex)
{
    while (sim_of(mutex)->owner != NULL)
        schedule_wait("waits for the mutex", mutex, 0);
    sim_of(mutex)->owner = running;
}

void mutex_lock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
    held_push(mutex);
    schedule_point();
    acquire(mutex);
}

static void release(struct mutex *mutex)
{
    ASSERT(sim_of(mutex)->owner == running);
    sim_of(mutex)->owner = NULL;
    schedule_wake(mutex);
}

void mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
    held_remove(mutex);
    release(mutex);
    schedule_point();
}

void condition_init(struct condition *condition)
{
    (void)condition;
}

void condition_deinit(struct condition *condition)
{
    (void)condition;
}

/* Some waits wake for nothing, as real ones may. */
static void wait_on(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    ASSERT(running->held_count > 0 && running->held[running->held_count - 1] == mutex);
    release(mutex);
    if (world->spurious_chance != 0 && world_below(world->spurious_chance) == 0)
        schedule_point();
    else
        schedule_wait("waits for the condition", condition, deadline);
    acquire(mutex);
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    wait_on(condition, mutex, 0);
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, uint64_t deadline)
{
    wait_on(condition, mutex, MAX(deadline, 1));
    return world->now < deadline;
}

/* One of those that wait, whichever the seed says. */
void condition_signal(struct condition *condition)
{
    struct coroutine *waiting[COROUTINES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < coroutines_count; i++)
        if (coroutines[i].used && coroutines[i].why != NULL && coroutines[i].object == condition)
            waiting[count++] = &coroutines[i];
    if (count > 0)
        waiting[world_below(count)]->why = NULL;
    schedule_point();
}

void condition_broadcast(struct condition *condition)
{
    schedule_wake(condition);
    schedule_point();
}

static struct coroutine *coroutine_of(const struct thread *thread)
{
    for (size_t i = 0; i < coroutines_count; i++)
        if (coroutines[i].used && coroutines[i].thread == thread)
            return &coroutines[i];
    fail("a thread is joined that was never started");
}

enum error thread_start(struct thread *thread, const char *name, void (*run)(void *), void *argument)
{
    coroutine_make(thread, name, run, argument);
    schedule_point();
    return ERROR_NONE;
}

/* Of what no simulated pool does: it has no key server. */
enum error thread_start_detached(const char *name, void (*run)(void *), void *argument)
{
    (void)name, (void)run, (void)argument;
    fail("a thread without an end is started");
}

void thread_join(struct thread *thread)
{
    struct coroutine *other = coroutine_of(thread);
    schedule_point();
    while (!other->finished)
        schedule_wait("joins", thread, 0);
    other->used = false;
}

void thread_lower_priority(void) {}
void thread_give_way(void) {}

/* ---- base/clock.h and base/random.h ------------------------------------------------------------------------------ */

uint64_t clock_monotonic(void)
{
    schedule_point();
    return world->now;
}

uint64_t clock_realtime(void)
{
    schedule_point();
    return REALTIME_START + world->now + (uint64_t)world->clock_offset * CLOCK_SECOND;
}

void clock_sleep(uint64_t nanoseconds)
{
    uint64_t end = world->now + MAX(nanoseconds, 1);
    while (world->now < end)
        schedule_wait("sleeps", NULL, end);
}

void random_bytes(void *out, size_t size)
{
    schedule_point();
    for (size_t done = 0; done < size; done += sizeof(uint64_t)) {
        uint64_t number = dice_throw(&world->dice);
        memcpy((char *)out + done, &number, MIN(sizeof(number), size - done));
    }
}

uint64_t random_u64(void)
{
    uint64_t number;
    random_bytes(&number, sizeof number);
    return number;
}

/* A branch of the world goes on with what its parent's process had, OpenSSL's state in the arena too. */
int madvise(void *start, size_t size, int advice)
{
    return advice == MADV_WIPEONFORK ? 0 : (int)syscall(SYS_madvise, start, size, advice);
}

/* Keys too come from the seed: the executable's definitions stand before those of libcrypto. */
int RAND_bytes(unsigned char *out, int size)
{
    random_bytes(out, (size_t)size);
    return 1;
}

int RAND_priv_bytes(unsigned char *out, int size)
{
    return RAND_bytes(out, size);
}
