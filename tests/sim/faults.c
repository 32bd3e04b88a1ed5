/*
 * Faults are drawn with the dice of the world and counted. One thread.
 *
 * Allocation failures come in by the linker (--wrap): every memory_zeroed(), memory_aligned() and memory_map() of the
 * engine goes through here, and in a share of seeds every malloc(), calloc(), realloc(), strdup(), strndup(), asprintf() and
 * open_memstream() too. What libraries ask for (jansson, zstd, OpenSSL, libc) never fails: they are linked already, so --wrap
 * does not see them. What the tests themselves need, they take by session_take().
 *
 * A place that never could be read again would be lost with what a merge wanted from it, and no model knows what that
 * is. So bad sectors lie where only readers of data and of second copies come, and elsewhere no place fails more than
 * twice in a row, which a merge bears.
 */
#include "tests/sim/faults.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/device/kind.h"
#include "engine/group/format.h"
#include "tests/sim/heap.h"
#include "tests/sim/images.h"
#include "tests/sim/lies.h"

#define MILLION       1000000
#define EXCUSES_MAX   8  /* without work in between: then there are no faults until there is some */
#define ELSEWHERE     16 /* while nobody works, faults are rarer by so much */
#define AWAY_TIME_MAX (20 * CLOCK_SECOND)
#define FULL_TIME_MAX (8 * CLOCK_SECOND)
#define REPEATS_MAX   2
#define PLACES        4096
#define SECTORS_MAX   64
#define CLEANSED_MAX  (1u << 20)
#define BIT(fault)    (UINT64_C(1) << FAULT_##fault)

const char *const fault_names[FAULTS] = {"slow",       "stuck", "unreadable", "bad sectors", "failed writes",
                                         "failed flushes", "gone", "full", "no memory", "rotten", "misread",
                                         "lost writes", "stray writes", "first copies"};

/* Of all operations, reads, writes and flushes, allocations of space, allocations of memory, in millionths. */
static const unsigned rates[FAULTS][5] = {
    [FAULT_SLOW] = {0, 10000, 100000, 300000, 300000},
    [FAULT_STUCK] = {0, 200, 1000, 2000, 5000},
    [FAULT_READ] = {0, 1000, 10000, 50000, 200000},
    [FAULT_SECTOR] = {0, 0, 500, 5000, 20000},
    [FAULT_WRITE] = {0, 500, 2000, 8000, 20000},
    [FAULT_FLUSH] = {0, 5000, 20000, 80000, 250000},
    [FAULT_GONE] = {0, 0, 50, 200, 1000},
    [FAULT_FULL] = {0, 20000, 100000, 300000, 600000},
    [FAULT_ALLOCATION] = {0, 0, 500, 5000, 20000},
    [FAULT_ROT] = {0, 1000, 5000, 20000, 50000},
    [FAULT_MISREAD] = {0, 1000, 5000, 20000, 50000},
    [FAULT_LOST] = {0, 5000, 20000, 50000, 100000},
    [FAULT_ASTRAY] = {0, 5000, 20000, 50000, 100000},
    [FAULT_COPY] = {0, 0, 160000, 800000, 4000000},
};

/* Of this life, forgotten when the pool is opened. */
static struct sector {
    unsigned device;
    uint64_t offset;
} sectors[SECTORS_MAX];
static size_t sectors_count;
static struct place {
    uint64_t key;
    unsigned times;
} places[PLACES];

void faults_draw(void)
{
    for (unsigned f = 0; f < FAULTS; f++)
        world->faults.ppm[f] = rates[f][world_below(COUNT_OF(rates[f]))];
    if (world->plant != SIM_PLANT_SILENT)
        return;
    memset(world->faults.ppm, 0, sizeof(world->faults.ppm));
    world->faults.ppm[FAULT_WRITE] = rates[FAULT_WRITE][3];
    world->faults.ppm[FAULT_FLUSH] = rates[FAULT_FLUSH][3];
}

void faults_begin(bool at_work)
{
    struct faults *faults = &world->faults;
    faults->at_work = at_work;
    faults->excuses = 0;
    faults->full_end = 0;
    memset(faults->back, 0, sizeof(faults->back));
    world->session->faulty = at_work;
    sectors_count = 0;
    memset(places, 0, sizeof(places));
    lies_forget();
}

void faults_forget(void)
{
    world->hit = 0;
    world->meta_failed = false;
    world->flush_failed = false;
    sectors_count = 0;
    memset(places, 0, sizeof(places));
    lies_forget();
    images_settle_failed();
}

#define FENCES (BIT(WRITE) | BIT(FLUSH) | BIT(GONE) | BIT(ALLOCATION))

/* What may have led to an error. Of no space a client hears by other ways; an open may need some. */
static uint64_t reasons(enum error error, bool opens)
{
    const uint64_t lies = BIT(ROT) | BIT(MISREAD) | BIT(LOST) | BIT(ASTRAY);
    bool second = (world->hit & (lies | BIT(READ) | BIT(SECTOR))) != 0;
    bool both = (world->hit & BIT(COPY)) != 0 && second; /* of two copies neither may have been good */
    switch (error) {
    case ERROR_IO:
        return BIT(READ) | BIT(SECTOR) | BIT(WRITE) | BIT(FLUSH) | BIT(GONE) | (both ? BIT(COPY) : 0);
    case ERROR_CORRUPT:
        return lies;
    case ERROR_NO_MEMORY:
        return BIT(ALLOCATION);
    case ERROR_FENCED:
        return FENCES | (opens && both ? BIT(COPY) : 0);
    case ERROR_NOT_FOUND:
        return opens ? BIT(GONE) : 0;
    case ERROR_NO_SPACE:
        return opens ? BIT(FULL) : 0;
    default:
        return 0;
    }
}

/* Who only reads from a device that went away would go on for ever: nothing takes the group out of service. */
static void give_up_reading(enum error error, int phase)
{
    if (phase == PHASE_COMPARING && error == ERROR_IO && (world->hit & BIT(GONE)) != 0)
        atomic_store(&world->session->over, true);
}

bool faults_excuse(enum error error)
{
    int phase = atomic_load(&world->session->phase);
    bool opens = phase == PHASE_OPENING;
    world->faults.excuses++;
    give_up_reading(error, phase);
    bool met = (world->hit & reasons(error, opens)) != 0 || (error == ERROR_FENCED && world->meta_failed);
    return world->plant != SIM_PLANT_SILENT && met;
}

static uint64_t hit_since(uint64_t moment)
{
    uint64_t since = 0;
    for (unsigned f = 0; f < FAULTS; f++)
        if (world->hit_at[f] > moment)
            since |= UINT64_C(1) << f;
    return since;
}

uint64_t faults_moment(void)
{
    return world->hit_count;
}

/* Of a request. What took a device out of service stays so. */
bool faults_excuse_since(enum error error, uint64_t moment)
{
    int phase = atomic_load(&world->session->phase);
    uint64_t hit = hit_since(moment) | (world->hit & (BIT(WRITE) | BIT(FLUSH) | BIT(GONE)));
    if (error == ERROR_FENCED)
        return faults_excuse(error);
    world->faults.excuses++;
    give_up_reading(error, phase);
    return world->plant != SIM_PLANT_SILENT && (hit & reasons(error, false)) != 0;
}

bool faults_last_since(uint64_t moment)
{
    uint64_t lasting = BIT(SLOW) | BIT(STUCK) | BIT(SECTOR) | BIT(ROT) | BIT(LOST) | BIT(ASTRAY) | BIT(FULL);
    return (hit_since(moment) & ~lasting) == 0 && world->cures <= moment;
}

bool faults_met(enum trouble trouble)
{
    uint64_t reads = BIT(READ) | BIT(SECTOR) | BIT(GONE) | BIT(ROT) | BIT(MISREAD) | BIT(LOST) | BIT(ASTRAY) | BIT(COPY);
    uint64_t met[] = {[TROUBLE_SPACE] = BIT(FULL), [TROUBLE_READS] = reads, [TROUBLE_MEMORY] = BIT(ALLOCATION)};
    return (world->hit & met[trouble]) != 0;
}

void fault_happens(enum fault fault)
{
    world->hit |= UINT64_C(1) << fault;
    world->hit_at[fault] = ++world->hit_count;
    world->faults_done[fault]++;
}

void fault_cured(void)
{
    world->cures = ++world->hit_count;
}

/* Data has its own errors; without the rest a group cannot go on. */
void fault_of_read(unsigned device, uint64_t offset)
{
    int kind = lies_segment(device, offset);
    world->meta_failed |= kind != SEGMENT_JOURNAL && kind != SEGMENT_TWIN && kind != SEGMENT_COLD;
}

bool fault_hits(enum fault fault)
{
    const struct faults *faults = &world->faults;
    bool works = atomic_load(&world->session->phase) == PHASE_WORKING;
    uint64_t ppm = faults->at_work ? faults->ppm[fault] : 0;
    if (!works && fault != FAULT_SLOW)
        ppm = faults->excuses < EXCUSES_MAX ? ppm / ELSEWHERE : 0;
    if (ppm == 0 || world_below(MILLION) >= ppm)
        return false;
    fault_happens(fault);
    return true;
}

bool fault_slow(void)
{
    return fault_hits(FAULT_SLOW);
}

bool fault_stuck(void)
{
    return fault_hits(FAULT_STUCK);
}

/* ---- operations of devices --------------------------------------------------------------------------------------- */

bool fault_may_repeat(unsigned device, uint64_t offset)
{
    uint64_t key = hash_mix(offset, device) | 1;
    struct place *place = &places[(key >> 1) % PLACES];
    if (place->key != key)
        *place = (struct place){.key = key};
    return ++place->times <= REPEATS_MAX;
}

static bool is_change(const struct device_io *io)
{
    return io->operation == DEVICE_WRITE || io->operation == DEVICE_FLUSH;
}

/* A failed write may have happened in whole or in part: it stays in flight until the pool is opened, or a crash. */
static enum verdict fail_change(struct device_io *io, unsigned device)
{
    world->flush_failed |= io->operation == DEVICE_FLUSH;
    if (io->operation == DEVICE_FLUSH)
        image_flush_fails(device, world->events);
    if (world->plant == SIM_PLANT_SILENT)
        return IGNORED;
    device_fence(io, EIO);
    return FAILS;
}

/* With what its cache had. */
void fault_depart(unsigned device)
{
    world->faults.departures[device]++;
    world->faults.back[device] = world->now + world_below(AWAY_TIME_MAX);
    image_device_lost(device);
}

static enum verdict fail_gone(struct device_io *io)
{
    if (is_change(io))
        device_fence(io, EIO);
    return FAILS;
}

/* A write gives a bad sector another place. */
static bool meets_bad_sector(const struct device_io *io, unsigned device)
{
    bool meets = false;
    for (size_t i = 0; i < sectors_count; i++) {
        if (sectors[i].device != device || sectors[i].offset < io->offset || sectors[i].offset >= io->offset + io->size)
            continue;
        meets = io->operation == DEVICE_READ;
        if (io->operation == DEVICE_WRITE || io->operation == DEVICE_DISCARD)
            sectors[i--] = sectors[--sectors_count], fault_cured();
    }
    return meets;
}

static bool sector_breaks(const struct device_io *io, unsigned device)
{
    uint64_t offset = io->offset + world_below(io->size / DEVICE_BLOCK) * DEVICE_BLOCK;
    if (sectors_count == SECTORS_MAX || !lies_may_stand(device, offset) || !fault_hits(FAULT_SECTOR))
        return false;
    sectors[sectors_count++] = (struct sector){device, offset};
    return true;
}

/* Excuses nothing: the second copy is whole, and what has none is asked for again. */
static bool first_copy_fails(const struct device_io *io, unsigned device)
{
    return atomic_load(&world->session->phase) == PHASE_OPENING && lies_segment(device, io->offset) == SEGMENT_META &&
           fault_hits(FAULT_COPY) && fault_may_repeat(device, io->offset);
}

static bool read_fails(const struct device_io *io, unsigned device)
{
    if (first_copy_fails(io, device))
        return true;
    if (world->faults.at_work && atomic_load(&world->session->phase) == PHASE_WORKING && sector_breaks(io, device))
        return true;
    if (!fault_hits(FAULT_READ) || !fault_may_repeat(device, io->offset))
        return false;
    fault_of_read(device, io->offset);
    return true;
}

enum verdict fault_of(struct device_io *io, unsigned device, uint64_t departures)
{
    bool gone = departures != world->faults.departures[device];
    if (gone)
        fault_happens(FAULT_GONE);
    else if (fault_hits(FAULT_GONE))
        fault_depart(device);
    if (departures != world->faults.departures[device])
        return fail_gone(io);
    if (is_change(io) && fault_hits(io->operation == DEVICE_WRITE ? FAULT_WRITE : FAULT_FLUSH))
        return fail_change(io, device);
    if (meets_bad_sector(io, device)) {
        fault_happens(FAULT_SECTOR);
        return FAILS;
    }
    return io->operation == DEVICE_READ && read_fails(io, device) ? FAILS : HAPPENS;
}

uint64_t fault_departures(unsigned device)
{
    return world->faults.departures[device];
}

bool fault_is_away(unsigned device)
{
    bool away = world->now < world->faults.back[device] && world->faults.excuses < EXCUSES_MAX;
    if (away)
        fault_happens(FAULT_GONE);
    return away;
}

/* ---- space ------------------------------------------------------------------------------------------------------- */

bool fault_host_is_full(void)
{
    bool calm = atomic_load(&world->session->phase) != PHASE_WORKING && world->faults.excuses >= EXCUSES_MAX;
    return world->now < world->faults.full_end && !calm;
}

bool fault_refuses_space(void)
{
    if (fault_host_is_full())
        fault_happens(FAULT_FULL);
    else if (fault_hits(FAULT_FULL))
        world->faults.full_end = world->now + world_below(FULL_TIME_MAX);
    else
        return false;
    return true;
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

void *__real_memory_zeroed(size_t count, size_t size);
void *__real_memory_aligned(size_t size);
void *__wrap_memory_zeroed(size_t count, size_t size);
void *__wrap_memory_aligned(size_t size);
void *__wrap_memory_map(size_t size);
void *__wrap_memory_map_unset(size_t size);

static bool allocation_fails(void)
{
    return world != NULL && world->session != NULL && fault_hits(FAULT_ALLOCATION);
}

/* Of what does not say by its name that it may fail. */
static bool plain_allocation_fails(void)
{
    bool fails = world != NULL && world->refuses_memory && !session_takes && allocation_fails();
    if (fails)
        errno = ENOMEM;
    return fails;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    return plain_allocation_fails() ? NULL : __real_malloc(size);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    return plain_allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
    return plain_allocation_fails() ? NULL : __real_realloc(memory, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return plain_allocation_fails() ? NULL : __real_strdup(text);
}

char *__real_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size);
char *__wrap_strndup(const char *text, size_t size)
{
    return plain_allocation_fails() ? NULL : __real_strndup(text, size);
}

int __wrap_asprintf(char **text, const char *format, ...) PRINTF(2, 3);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    if (plain_allocation_fails()) {
        *text = NULL;
        return -1;
    }
    va_start(arguments, format);
    int length = vasprintf(text, format, arguments);
    va_end(arguments);
    return length;
}

FILE *__real_open_memstream(char **text, size_t *size);
FILE *__wrap_open_memstream(char **text, size_t *size);
FILE *__wrap_open_memstream(char **text, size_t *size)
{
    return plain_allocation_fails() ? NULL : __real_open_memstream(text, size);
}

void *__wrap_memory_zeroed(size_t count, size_t size)
{
    if (allocation_fails())
        return NULL;
    bool takes = session_takes; /* it asks calloc(), which has its own chance */
    session_takes = true;
    void *memory = __real_memory_zeroed(count, size);
    session_takes = takes;
    return memory;
}

void *__wrap_memory_aligned(size_t size)
{
    return allocation_fails() ? NULL : __real_memory_aligned(size);
}

void *__wrap_memory_map(size_t size)
{
    return allocation_fails() ? NULL : heap_pages(MAX(size, (size_t)1), true);
}

void *__wrap_memory_map_unset(size_t size)
{
    return allocation_fails() ? NULL : heap_pages(MAX(size, (size_t)1), false);
}

void __wrap_memory_unmap(void *start, size_t size);
void __wrap_memory_unmap(void *start, size_t size)
{
    (void)size;
    free(start);
}

/* What is freed is not overwritten first, which takes a tenth of the time of a life; but the arena relies on it. */
void __wrap_memory_free_cleansed(void *start);
void __wrap_memory_free_cleansed(void *start)
{
    free(start);
}

void __real_memory_cleanse(void *start, size_t size);
void __wrap_memory_cleanse(void *start, size_t size);
void __wrap_memory_cleanse(void *start, size_t size)
{
    if (size < CLEANSED_MAX)
        __real_memory_cleanse(start, size);
}
