/*
 * Simulated devices.
 *
 * Invariants: the *durable* image is what survives whatever the seed decides, the *current* one what a read sees, and
 * the list of pending changes lies between them: applying its complete ones in order to the durable image gives the
 * current one. Two changes that overlap are never in flight together, which the engine must not do either (asserted),
 * so the order of submission is the order of completion wherever it matters.
 *
 * What is in flight belongs to the life and is gone with it; images and pending changes are shared with the parent.
 * A crash is an _exit() between two events; no event is half done then. No locks: one thread.
 */
#include "tests/sim/sim_device.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/device/kind.h"
#include "tests/crash/child.h"
#include "tests/sim/schedule.h"

#define IN_FLIGHT_MAX  4096
#define SECTOR         512
#define DATA_LOOSE_MAX (UINT64_C(16) << 20) /* bytes up to here may have holes */
#define NOISE_BYTES    UINT64_C(65536)
#define NO_PENDING     SIZE_MAX
#define LATENCY_STUCK  (20 * CLOCK_SECOND)

enum discard_result { DISCARD_OLD, DISCARD_ZEROS, DISCARD_NOISE };

struct sim_device {
    struct device device;
    unsigned index;
};

struct flight {
    struct device_io *io;
    uint64_t due, began; /* began: event number */
    size_t pending;
};

static struct flight flights[IN_FLIGHT_MAX];
static size_t flights_count;
static uint64_t completed_at[PENDING_MAX]; /* event at which the pending change was complete */

/* ---- pending changes -------------------------------------------------------------------------------------------- */

static void apply_range(unsigned char *image, const struct pending *change, uint64_t start, uint64_t size)
{
    const unsigned char *data = world->data + change->data;
    if (!change->discard) {
        memcpy(image + change->offset + start, data + start, size);
        return;
    }
    if (data[0] == DISCARD_ZEROS && madvise(image + change->offset + start, size, MADV_REMOVE) != 0)
        memset(image + change->offset + start, 0, size);
    if (data[0] == DISCARD_NOISE)
        memset(image + change->offset + start, 0xdb, MIN(size, NOISE_BYTES));
}

static void apply(unsigned char *image, const struct pending *change)
{
    apply_range(image, change, 0, change->size);
}

/* Moves what stays together, after some changes were marked by a size of zero. */
static void pending_compact(void)
{
    size_t kept = 0;
    static size_t places[PENDING_MAX];
    uint64_t used = 0;
    bool move = world->data_used > DATA_LOOSE_MAX;
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending change = world->pending[i];
        places[i] = kept;
        if (change.size == 0)
            continue;
        uint64_t bytes = change.discard ? SECTOR : change.size;
        if (move) {
            memmove(world->data + used, world->data + change.data, bytes);
            change.data = used;
        }
        used = change.data + bytes;
        completed_at[kept] = completed_at[i];
        world->pending[kept++] = change;
    }
    for (size_t i = 0; i < flights_count; i++)
        if (flights[i].pending != NO_PENDING)
            flights[i].pending = places[flights[i].pending];
    world->pending_count = kept;
    world->data_used = used;
}

/* Complete changes before the event become durable. */
static void write_back(unsigned device, uint64_t before)
{
    for (size_t i = 0; i < world->pending_count; i++) {
        struct pending *change = &world->pending[i];
        if (change->device != device || !change->complete || completed_at[i] >= before)
            continue;
        apply(world->images[device].durable, change);
        change->size = 0;
    }
    pending_compact();
}

static void assert_alone(const struct pending *change)
{
    for (size_t i = 0; i < world->pending_count; i++) {
        const struct pending *other = &world->pending[i];
        if (other->complete || other->device != change->device || other->offset >= change->offset + change->size ||
            change->offset >= other->offset + other->size)
            continue;
        fail("device %u: %s of %llu bytes at %llu while a %s of %llu at %llu is in flight", change->device,
             change->discard ? "discard" : "write", (unsigned long long)change->size,
             (unsigned long long)change->offset, other->discard ? "discard" : "write", (unsigned long long)other->size,
             (unsigned long long)other->offset);
    }
}

/* A disk writes back whenever it likes; this one when it is full. */
static void make_room(uint64_t bytes)
{
    if (world->pending_count < PENDING_MAX && world->data_used + bytes <= PENDING_BYTES)
        return;
    for (unsigned d = 0; d < world->images_count; d++)
        write_back(d, UINT64_MAX);
    if (world->pending_count == PENDING_MAX || world->data_used + bytes > PENDING_BYTES)
        fail("too much is in flight");
}

static size_t pending_add(const struct device_io *io, unsigned device)
{
    bool discard = io->operation == DEVICE_DISCARD;
    uint64_t bytes = discard ? SECTOR : io->size;
    make_room(bytes);
    struct pending change = {.offset = io->offset,
                             .size = io->size,
                             .data = world->data_used,
                             .device = device,
                             .discard = discard,
                             .durable = (io->flags & DEVICE_DURABLE) != 0};
    assert_alone(&change);
    if (discard)
        world->data[change.data] = (unsigned char)world_below(3);
    else
        memcpy(world->data + change.data, io->buffer, io->size);
    if (!discard && world->plant == SIM_PLANT_MISDIRECT && world_below(50) == 0 &&
        change.offset + change.size + DEVICE_BLOCK <= world->images[device].size)
        change.offset += DEVICE_BLOCK;
    world->data_used += bytes;
    world->pending[world->pending_count] = change;
    return world->pending_count++;
}

/* ---- operations ------------------------------------------------------------------------------------------------- */

static unsigned index_of(const struct device_io *io)
{
    return ((const struct sim_device *)io->device)->index;
}

/* Submissions and completions are counted, and at one of them the power goes. */
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
    if (world->phase == world->crash_phase && world->phase_events == world->crash_event)
        _exit(EXIT_CRASHED);
}

static uint64_t latency(void)
{
    uint64_t most = 1 + world_below(world->latency_max);
    if (world_below(1000) < world->stuck_permille) {
        world->stuck++;
        return world_below(LATENCY_STUCK);
    }
    return 1000 + world_below(most);
}

static void start(struct device_io *io)
{
    event(io, 0);
    if (io->operation == DEVICE_WRITE)
        trace(XXH3_64bits(io->buffer, io->size));
    world->operations++;
    ASSERT(flights_count < IN_FLIGHT_MAX);
    struct flight flight = {.io = io, .due = world->now + latency(), .began = world->events, .pending = NO_PENDING};
    if (io->operation == DEVICE_WRITE || io->operation == DEVICE_DISCARD)
        flight.pending = pending_add(io, index_of(io));
    flights[flights_count++] = flight;
}

static void finish_change(const struct flight *flight)
{
    struct pending *change = &world->pending[flight->pending];
    change->complete = true;
    completed_at[flight->pending] = world->events;
    if (!change->discard && world->plant == SIM_PLANT_LOST && world_below(50) == 0) {
        change->size = 0;
        pending_compact();
        return;
    }
    apply(world->images[change->device].current, change);
}

/* A failed write may have happened in whole or in part: it stays in flight until the crash decides. */
static bool fails(struct device_io *io)
{
    bool can_fail = io->operation == DEVICE_WRITE || io->operation == DEVICE_FLUSH;
    if (!can_fail || world->failed || world->fail_event == 0 || world->phase != PHASE_WORKING ||
        world->phase_events < world->fail_event)
        return false;
    world->failed = true;
    world->failures++;
    if (world->plant != SIM_PLANT_SILENT)
        device_fence(io, EIO);
    return true;
}

static bool forgets_flush(void)
{
    return world->plant == SIM_PLANT_FLUSH || (world->plant == SIM_PLANT_FORGET && world_below(4) == 0);
}

static void finish(struct flight flight)
{
    struct device_io *io = flight.io;
    event(io, 1);
    if (fails(io)) {
        bool silent = world->plant == SIM_PLANT_SILENT;
        io_complete(io, silent ? ERROR_NONE : ERROR_IO, silent ? 0 : EIO);
        schedule_wake(io);
        return;
    }
    if (flight.pending != NO_PENDING)
        finish_change(&flight);
    else if (io->operation == DEVICE_READ)
        memcpy(io->buffer, world->images[index_of(io)].current + io->offset, io->size);
    else if (!forgets_flush())
        write_back(index_of(io), flight.began);
    io_complete(io, ERROR_NONE, 0);
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

static void sim_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        schedule_point();
        start(ios[i]);
    }
    schedule_point();
}

static void sim_wait(struct device_io *io)
{
    schedule_point();
    while (!io_is_complete(io))
        schedule_wait("waits for an operation of a device", io, 0);
}

static void sim_close(struct device *device)
{
    device_deinit(device);
    free(device);
}

static const struct device_operations sim_operations = {
    .kind = "simulated", .submit = sim_submit, .wait = sim_wait, .close = sim_close};

enum error sim_device_open(const char *path, unsigned flags, void *context, struct device **device)
{
    char own[PATH_SIZE];
    (void)flags;
    for (unsigned i = 0; i < world->images_count; i++) {
        session_device_path(context, i, own);
        if (strcmp(own, path) != 0)
            continue;
        struct sim_device *made = memory_zeroed(1, sizeof(*made));
        ASSERT(made != NULL);
        made->index = i;
        TRY(device_init(&made->device, &sim_operations, path, world->images[i].size, false));
        *device = &made->device;
        return ERROR_NONE;
    }
    return error_explain(ERROR_NOT_FOUND, "%s is no device of this world", path);
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

static unsigned char *map_shared_memory(int file, uint64_t size)
{
    unsigned char *start =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    if (start == MAP_FAILED)
        fail("an image of %llu bytes cannot be mapped", (unsigned long long)size);
    return start;
}

/* What the file has; its holes stay holes of memory. */
static void copy_used(int file, const struct sim_image *image)
{
    off_t start = 0, end = 0;
    while ((start = lseek(file, end, SEEK_DATA)) >= 0) {
        end = lseek(file, start, SEEK_HOLE);
        memcpy(image->durable + start, image->current + start, (size_t)(end - start));
    }
}

/* The file that pool_create() formats is the current image; the durable one begins as its copy. */
void sim_images_map(void)
{
    const struct session *session = world->session;
    char path[PATH_SIZE];
    world->images_count = session->settings.devices;
    for (unsigned i = 0; i < world->images_count; i++) {
        struct sim_image *image = &world->images[i];
        image->size = session->settings.size;
        session_device_path(session, i, path);
        int file = open(path, O_RDWR | O_CLOEXEC);
        if (file < 0)
            fail("%s cannot be opened", path);
        image->current = map_shared_memory(file, image->size);
        image->durable = map_shared_memory(-1, image->size);
        copy_used(file, image);
        close(file);
    }
}

static void keep_some(const struct pending *change, unsigned lose_percent, unsigned tear_percent)
{
    unsigned char *durable = world->images[change->device].durable;
    bool must = change->durable && change->complete;
    if (must || world_below(100) >= lose_percent) {
        if (must || world_below(100) >= tear_percent) {
            apply(durable, change);
            return;
        }
        uint64_t sectors = change->size / SECTOR, cut = world_below(sectors + 1);
        bool front = world_below(2) == 0;
        world->torn++;
        apply_range(durable, change, front ? 0 : cut * SECTOR, (front ? cut : sectors - cut) * SECTOR);
        return;
    }
    world->lost++;
}

void sim_images_crash(void)
{
    static const unsigned percents[] = {0, 3, 30, 50, 97, 100};
    unsigned lose = percents[world_below(COUNT_OF(percents))], tear = world_below(2) == 0 ? 0 : 30;
    for (size_t i = 0; i < world->pending_count; i++)
        if (world->pending[i].size != 0)
            keep_some(&world->pending[i], lose, tear);
    for (size_t i = 0; i < world->pending_count; i++) {
        const struct pending *change = &world->pending[i];
        const struct sim_image *image = &world->images[change->device];
        memcpy(image->current + change->offset, image->durable + change->offset, change->size);
    }
    world->pending_count = 0;
    world->data_used = 0;
}
