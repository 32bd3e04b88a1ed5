/*
 * Faults are drawn with the dice of the world and counted. One thread.
 *
 * Allocation failures come in by the linker (--wrap): every memory_zeroed(), memory_aligned() and memory_map() of the
 * engine goes through here. What the tests themselves need, they take from calloc().
 */
#include "tests/sim/faults.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/device/kind.h"
#include "tests/sim/images.h"

#define MILLION 1000000

void faults_clear(void)
{
    memset(&world->faults, 0, sizeof(world->faults));
}

void faults_draw(uint64_t events)
{
    struct faults *faults = &world->faults;
    faults_clear();
    faults->fail_event = world_below(6) == 0 ? 1 + world_below(events) : 0;
    faults->gone_event = world_below(12) == 0 ? 1 + world_below(events) : 0;
    faults->gone_device = (unsigned)world_below(world->images_count);
    faults->read_ppm = world_below(5) == 0 ? 1u << world_below(15) : 0;
    faults->allocation_ppm = world_below(12) == 0 ? 1u << world_below(12) : 0;
    if (world_below(6) == 0) {
        faults->full_from = 1 + world_below(events);
        faults->full_time = world_below(8 * CLOCK_SECOND);
    }
}

static void fault_happens(void)
{
    world->failed = true;
    world->failures++;
}

static bool is_change(const struct device_io *io)
{
    return io->operation == DEVICE_WRITE || io->operation == DEVICE_FLUSH;
}

/* From an event on the first change fails; of half of the events, which are odd, the first flush: there are few. */
static bool fails_here(const struct device_io *io)
{
    uint64_t event = world->faults.fail_event;
    return event != 0 && world->phase == PHASE_WORKING && world->phase_events >= event &&
           (event % 2 == 0 ? is_change(io) : io->operation == DEVICE_FLUSH);
}

/* A failed write may have happened in whole or in part: it stays in flight until the crash decides. */
static enum error fail_change(struct device_io *io, unsigned device)
{
    fault_happens();
    world->flush_failed |= io->operation == DEVICE_FLUSH;
    if (io->operation == DEVICE_FLUSH)
        image_flush_fails(device, world->events);
    if (world->plant == SIM_PLANT_SILENT)
        return ERROR_NONE;
    device_fence(io, EIO);
    return ERROR_IO;
}

static bool is_gone(unsigned device)
{
    const struct faults *faults = &world->faults;
    return faults->gone_event != 0 && world->events >= faults->gone_event && device == faults->gone_device;
}

enum error fault_of(struct device_io *io, unsigned device)
{
    struct faults *faults = &world->faults;
    if (is_gone(device) && io->operation != DEVICE_DISCARD) {
        if (is_change(io))
            return fail_change(io, device);
        fault_happens();
        return ERROR_IO;
    }
    if (fails_here(io)) {
        faults->fail_event = 0;
        return fail_change(io, device);
    }
    if (io->operation == DEVICE_READ && faults->read_ppm != 0 && world_below(MILLION) < faults->read_ppm) {
        fault_happens();
        return ERROR_IO;
    }
    return ERROR_NONE;
}

bool fault_host_is_full(void)
{
    struct faults *faults = &world->faults;
    if (faults->full_from == 0 || world->events < faults->full_from)
        return false;
    if (faults->full_end == 0)
        faults->full_end = world->now + faults->full_time;
    bool full = world->now < faults->full_end;
    world->refused_space += full;
    return full;
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

void *__real_memory_zeroed(size_t count, size_t size);
void *__real_memory_aligned(size_t size);
void *__real_memory_map(size_t size);
void *__wrap_memory_zeroed(size_t count, size_t size);
void *__wrap_memory_aligned(size_t size);
void *__wrap_memory_map(size_t size);

static bool allocation_fails(void)
{
    if (world == NULL || world->faults.allocation_ppm == 0 || world_below(MILLION) >= world->faults.allocation_ppm)
        return false;
    fault_happens();
    return true;
}

void *__wrap_memory_zeroed(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_memory_zeroed(count, size);
}

void *__wrap_memory_aligned(size_t size)
{
    return allocation_fails() ? NULL : __real_memory_aligned(size);
}

void *__wrap_memory_map(size_t size)
{
    return allocation_fails() ? NULL : __real_memory_map(size);
}

/* What is freed is not overwritten first, which takes a tenth of the time of a life. */
void __wrap_memory_free_cleansed(void *start);
void __wrap_memory_free_cleansed(void *start)
{
    free(start);
}
