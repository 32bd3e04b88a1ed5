/*
 * Operations of the simulated devices.
 *
 * Each submission and completion is an *event*, numbered within the life and within its phase: the place where a life
 * is stopped, fails, loses its power, or is branched from. A crash is an _exit() before an event; none is half done.
 *
 * What is in flight belongs to the life and is gone with it. No locks: one thread.
 */
#include "tests/sim/sim_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/device/kind.h"
#include "tests/crash/child.h"
#include "tests/sim/faults.h"
#include "tests/sim/images.h"
#include "tests/sim/life.h"
#include "tests/sim/schedule.h"

#define IN_FLIGHT_MAX 4096
#define LATENCY_STUCK (20 * CLOCK_SECOND)

struct sim_device {
    struct device device;
    unsigned index;
};

struct flight {
    struct device_io *io;
    uint64_t due, began; /* began: event */
    uint64_t change;     /* 0: it changes nothing */
};

static struct flight flights[IN_FLIGHT_MAX];
static size_t flights_count;

void sim_devices_forget(void)
{
    flights_count = 0;
}

static unsigned index_of(const struct device_io *io)
{
    return ((const struct sim_device *)io->device)->index;
}

static void event(const struct device_io *io, uint64_t what)
{
    trace(what + io->operation * 2u);
    trace(io->offset);
    trace(io->size);
    world->events++;
    if (world->phase != atomic_load(&world->session->phase)) {
        world->phase = atomic_load(&world->session->phase);
        world->phase_events = 0;
    }
    world->phase_events++;
    if (world->phase == PHASE_WORKING && world->phase_events == world->stop_event)
        atomic_store(&world->session->stop, true);
    if (world->at_event != NULL)
        world->at_event();
    if (world->phase == world->crash_phase && world->phase_events == world->crash_event)
        _exit(EXIT_CRASHED);
}

/* ---- submission ------------------------------------------------------------------------------------------------- */

static uint64_t latency(void)
{
    uint64_t most = 1 + world_below(world->latency_max);
    if (world_below(1000) < world->stuck_permille) {
        world->stuck++;
        return world_below(LATENCY_STUCK);
    }
    return 1000 + world_below(most);
}

/* Where a write goes: one that is misdirected, to the next block. */
static uint64_t target(const struct device_io *io)
{
    bool strays = io->operation == DEVICE_WRITE && world->plant == SIM_PLANT_MISDIRECT && world_below(50) == 0;
    return strays && io->offset + io->size + DEVICE_BLOCK <= io->device->size ? io->offset + DEVICE_BLOCK : io->offset;
}

/* The engine asks for space before it writes. */
static void take_space(const struct device_io *io)
{
    struct image *image = &world->images[index_of(io)];
    if (image_has_space(image, io->offset, io->size))
        return;
    if (fault_host_is_full())
        fail("a write of %zu bytes at %llu needs space that was never asked for", io->size,
             (unsigned long long)io->offset);
    image_take_space(image, io->offset, io->size);
}

static void start(struct device_io *io)
{
    event(io, 0);
    world->operations++;
    ASSERT(flights_count < IN_FLIGHT_MAX);
    struct flight flight = {.io = io, .due = world->now + latency(), .began = world->events};
    if (io->operation == DEVICE_WRITE)
        take_space(io);
    if (io->operation == DEVICE_WRITE || io->operation == DEVICE_DISCARD)
        flight.change = image_change_begin(io, index_of(io), target(io));
    flights[flights_count++] = flight;
}

static void sim_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        schedule_point();
        start(ios[i]);
    }
    schedule_point();
}

/* ---- completion ------------------------------------------------------------------------------------------------- */

static bool forgets_flush(void)
{
    return world->plant == SIM_PLANT_FLUSH || (world->plant == SIM_PLANT_FORGET && world_below(4) == 0);
}

static void happen(const struct flight *flight)
{
    struct device_io *io = flight->io;
    if (io->operation == DEVICE_DISCARD)
        image_give_space(&world->images[index_of(io)], io->offset, io->size);
    bool lost = world->plant == SIM_PLANT_LOST && io->operation == DEVICE_WRITE && world_below(50) == 0;
    if (flight->change != 0)
        image_change_end(flight->change, !lost);
    else if (io->operation == DEVICE_READ)
        memcpy(io->buffer, world->images[index_of(io)].current + io->offset, io->size);
    else if (!forgets_flush())
        image_flush(index_of(io), flight->began);
}

static void finish(struct flight flight)
{
    struct device_io *io = flight.io;
    event(io, 1);
    uint64_t before = world->failures;
    enum error error = fault_of(io, index_of(io));
    if (world->failures == before)
        happen(&flight);
    io_complete(io, error, error == ERROR_NONE ? 0 : EIO);
    schedule_wake(io);
}

/* The earliest first; the one that is complete leaves the list before anything else happens. */
uint64_t sim_devices_complete(uint64_t now)
{
    for (;;) {
        size_t first = 0;
        if (flights_count == 0)
            return UINT64_MAX;
        for (size_t i = 1; i < flights_count; i++)
            if (flights[i].due < flights[first].due)
                first = i;
        if (flights[first].due > now)
            return flights[first].due;
        struct flight flight = flights[first];
        flights[first] = flights[--flights_count];
        finish(flight);
    }
}

static void sim_wait(struct device_io *io)
{
    schedule_point();
    while (!io_is_complete(io))
        schedule_wait("waits for an operation of a device", io, 0);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void sim_close(struct device *device)
{
    device_deinit(device);
    free(device);
}

static enum error sim_allocate(struct device *device, uint64_t offset, uint64_t size)
{
    struct image *image = &world->images[((const struct sim_device *)device)->index];
    schedule_point();
    if (image_has_space(image, offset, size))
        return ERROR_NONE;
    if (fault_host_is_full())
        return ERROR_NO_SPACE;
    image_take_space(image, offset, size);
    return ERROR_NONE;
}

static const struct device_operations sim_operations = {
    .kind = "simulated", .submit = sim_submit, .wait = sim_wait, .close = sim_close, .allocate = sim_allocate};

enum error sim_device_open(const char *path, unsigned flags, void *context, struct device **device)
{
    char own[PATH_SIZE];
    (void)flags;
    for (unsigned i = 0; i < world->images_count; i++) {
        session_device_path(context, i, own);
        if (strcmp(own, path) != 0)
            continue;
        struct sim_device *made = calloc(1, sizeof(*made));
        ASSERT(made != NULL);
        made->index = i;
        TRY(device_init(&made->device, &sim_operations, path, world->images[i].size, false));
        *device = &made->device;
        return ERROR_NONE;
    }
    return error_explain(ERROR_NOT_FOUND, "%s is no device of this world", path);
}
