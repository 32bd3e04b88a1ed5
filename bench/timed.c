/*
 * Only who waits is timed: an operation that is complete before anybody asks for it has kept nobody. Several that are run at
 * once are one wait, told as of the kind of the first. Any thread; what is remembered is atomic.
 */
#include "bench/timed.h"

#include "base/clock.h"
#include "engine/device/kind.h"

static const struct device_operations *honest;
static struct device_operations timed;
static _Atomic uint64_t longest[DEVICE_DISCARD + 1];

static void note(enum device_operation operation, uint64_t begin)
{
    uint64_t time = clock_monotonic() - begin, known = atomic_load(&longest[operation]);
    while (time > known && !atomic_compare_exchange_weak(&longest[operation], &known, time))
        ;
}

static void timed_wait(struct device_io *io)
{
    enum device_operation operation = io->operation; /* its owner may free it once it is complete */
    uint64_t begin = clock_monotonic();
    honest->wait(io);
    note(operation, begin);
}

static void timed_run(struct device_io **ios, size_t count)
{
    enum device_operation operation = ios[0]->operation;
    uint64_t begin = clock_monotonic();
    honest->run(ios, count);
    note(operation, begin);
}

enum error timed_open(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    honest = (*device)->operations;
    timed = *honest;
    timed.wait = timed_wait;
    timed.run = honest->run ? timed_run : NULL;
    (*device)->operations = &timed;
    return ERROR_NONE;
}

struct timed_longest timed_longest(void)
{
    return (struct timed_longest){atomic_load(&longest[DEVICE_READ]), atomic_load(&longest[DEVICE_WRITE]),
                                  atomic_load(&longest[DEVICE_FLUSH])};
}

void timed_forget(void)
{
    for (size_t i = 0; i <= DEVICE_DISCARD; i++)
        atomic_store(&longest[i], 0);
}
