/*
 * Operations of the simulated devices.
 *
 * Each submission and completion, and each call of a file (files.c), is an *event*, numbered within the life and within its phase: the place where a life
 * is stopped, fails, loses its power, or is branched from. A crash ends the episode before an event; none is half done.
 *
 * What is in flight belongs to the life and is gone with it. No locks: one thread.
 */
#include "tests/sim/sim_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/device/kind.h"
#include "engine/group/format.h"
#include "tests/crash/child.h"
#include "tests/sim/episode.h"
#include "tests/sim/faults.h"
#include "tests/sim/images.h"
#include "tests/sim/lies.h"
#include "tests/sim/schedule.h"

#define SEGMENT       (UINT64_C(4) << 20)
#define IN_FLIGHT_MAX 4096
#define LATENCY_STUCK (20 * CLOCK_SECOND)
#define LATENCY_SLOW  30 /* times what it takes otherwise */

struct sim_device {
    struct device device;
    unsigned index;
    uint64_t departures; /* when it was opened */
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

static bool is_of_superblock(const struct device_io *io)
{
    const uint64_t end = SUPERBLOCK_COPIES / 2 * SUPERBLOCK_SIZE, tail = io->device->size - AREA_SIZE;
    return io->operation == DEVICE_FLUSH ||
           (io->operation == DEVICE_WRITE && (io->offset < end || (io->offset >= tail && io->offset < tail + end)));
}

static void happens(bool at_superblock)
{
    world->phase = atomic_load(&world->session->phase);
    uint64_t number = ++world->phase_events[world->phase];
    if (world->phase == PHASE_WORKING)
        world->faults.excuses = 0;
    if (++world->events == world->stop_total || (world->phase == PHASE_WORKING && number == world->stop_event))
        atomic_store(&world->session->stop, true);
    world->at_superblock = at_superblock;
    if (world->at_event != NULL)
        world->at_event();
    bool planned = world->phase == world->crash_phase && number == world->crash_event;
    bool promised = atomic_load(&world->session->promises) >= world->crash_promise;
    if (planned || promised || world->operations >= world->until)
        episode_leave(EPISODE_CRASHED);
}

static void event(const struct device_io *io, uint64_t what)
{
    trace(what + io->operation * 2u);
    trace(io->offset);
    trace(io->size);
    happens(is_of_superblock(io));
}

void file_event(uint64_t what)
{
    schedule_point();
    trace(UINT64_MAX - what);
    happens(true);
}

/* ---- submission ------------------------------------------------------------------------------------------------- */

static uint64_t latency(void)
{
    uint64_t most = 1 + world_below(world->latency_max);
    if (fault_stuck())
        return world_below(LATENCY_STUCK);
    if (fault_slow())
        most *= LATENCY_SLOW;
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

/* A segment is written to once its header is complete: the header of what a crash left is never missing. */
static void judge_order(const struct device_io *io)
{
    uint64_t segment = io->offset - (io->offset - AREA_SIZE) % SEGMENT;
    if (io->offset < AREA_SIZE || io->offset >= io->device->size - AREA_SIZE || io->offset == segment)
        return;
    for (size_t i = 0; i < flights_count; i++)
        if (flights[i].io->device == io->device && flights[i].io->operation == DEVICE_WRITE && flights[i].io->offset == segment)
            fail("a segment is written to, at %llu, while its header is being written", (unsigned long long)io->offset);
}

static bool is_gone(const struct device_io *io)
{
    return ((const struct sim_device *)io->device)->departures != fault_departures(index_of(io));
}

static void start(struct device_io *io)
{
    event(io, 0);
    *world->reached = ++world->operations;
    ASSERT(flights_count < IN_FLIGHT_MAX);
    struct flight flight = {.io = io, .due = world->now + latency(), .began = world->events};
    bool changes = (io->operation == DEVICE_WRITE || io->operation == DEVICE_DISCARD) && !is_gone(io);
    if (changes && io->operation == DEVICE_WRITE) {
        judge_order(io);
        take_space(io);
    }
    if (changes)
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

static void change(const struct flight *flight)
{
    struct device_io *io = flight->io;
    bool lost = world->plant == SIM_PLANT_LOST && io->operation == DEVICE_WRITE && world_below(50) == 0;
    if (io->operation == DEVICE_DISCARD)
        image_give_space(&world->images[index_of(io)], io->offset, io->size);
    lies_write(io, index_of(io));
    image_change_end(flight->change, !lost);
}

static void happen(const struct flight *flight)
{
    struct device_io *io = flight->io;
    if (flight->change != 0) {
        change(flight);
    } else if (io->operation == DEVICE_READ) {
        memcpy(io->buffer, world->images[index_of(io)].current->bytes + io->offset, io->size);
        lies_read(io, index_of(io));
    } else if (!forgets_flush()) {
        image_flush(index_of(io), flight->began);
    }
}

static void finish(struct flight flight)
{
    struct device_io *io = flight.io;
    event(io, 1);
    enum verdict verdict = fault_of(io, index_of(io), ((const struct sim_device *)io->device)->departures);
    if (verdict == HAPPENS)
        happen(&flight);
    io_complete(io, verdict == FAILS ? ERROR_IO : ERROR_NONE, verdict == FAILS ? EIO : 0);
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
    for (size_t i = 0; i < flights_count; i++)
        if (flights[i].io->device == device)
            fail("a device is closed while an operation is in flight");
    device_deinit(device);
    free(device);
}

static enum error sim_allocate(struct device *device, uint64_t offset, uint64_t size)
{
    struct image *image = &world->images[((const struct sim_device *)device)->index];
    schedule_point();
    if (image_has_space(image, offset, size))
        return ERROR_NONE;
    if (fault_refuses_space())
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
        if (fault_is_away(i))
            return error_explain(ERROR_NOT_FOUND, "%s is away", path);
        struct sim_device *made = session_take(sizeof(*made));
        ASSERT(made != NULL);
        made->index = i;
        made->departures = fault_departures(i);
        TRY(device_init(&made->device, &sim_operations, path, world->images[i].size, false));
        *device = &made->device;
        return ERROR_NONE;
    }
    return error_explain(ERROR_NOT_FOUND, "%s is no device of this world", path);
}
