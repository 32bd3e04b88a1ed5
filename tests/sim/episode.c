/*
 * How an episode is undone: before it, everything that can be written is copied: the variables of the program and of all
 * libraries, those of the thread, what is in use on the heap's first level, and what the arena has mapped (which a branch
 * would write to). After it, it is copied back. The heap of the episode, and the stacks, are a level's own and are used
 * again. A fork would do the same and costs more: a new process faults in, page by page, all that it touches.
 *
 * What the engine keeps for a thread (contexts, buffers) may lie on the heap of the outer episode: an inner one begins
 * without it, as a new thread would. Descriptors that are open at the end are closed.
 *
 * The heap of an outer episode is not copied: nothing that begins anew has a pointer to it. One thread.
 */
#include "tests/sim/episode.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/sim/heap.h"
#include "tests/sim/schedule.h"
#include "tests/sim/world.h"

#define PARTS_MAX       64
#define CHUNKS_MAX      256
#define COPY_BYTES      (UINT64_C(256) << 20)
#define DESCRIPTORS_MAX 64
#define NAME_BYTES      160
#define SECONDS_MAX     120 /* of processor time, without an inner one: a machine may be busy, or stopped */
#define THREAD_BYTES    0x900 /* of the C library's record of a thread, behind its variables (struct pthread) */
#define STACKS          64
#define STACK_SIZE      (UINT64_C(1) << 20)
#define GUARD_SIZE      UINT64_C(65536)

struct part {
    void *start;
    size_t size;
};

/* In memory of their own: what they hold is not undone. */
static struct episodes {
    struct part parts[PARTS_MAX]; /* variables, the same in each episode */
    size_t count;
    struct part own; /* of the program, for each thread */
    unsigned level;
    struct {
        ucontext_t base;
        int status;
        unsigned char *copy; /* COPY_BYTES */
        uint64_t descriptors;
        char name[NAME_BYTES];
    } levels[HEAP_LEVELS];
} *episodes;

/* What the arena has, in order. */
static struct part chunks[CHUNKS_MAX];
static size_t chunks_count;

static unsigned char *stacks[HEAP_LEVELS];

/* ---- what is copied ---------------------------------------------------------------------------------------------- */

static void part_add(uintptr_t start, uintptr_t end)
{
    if (start >= end)
        return;
    ASSERT(episodes->count < PARTS_MAX);
    episodes->parts[episodes->count++] = (struct part){(void *)start, end - start};
}

static int object_add(struct dl_phdr_info *info, size_t size, void *main_seen)
{
    uintptr_t fixed = 0; /* what is read-only once it is relocated ends there */
    bool *seen = main_seen;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            fixed = ROUND_UP(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz, UINT64_C(4096));
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && (header->p_flags & PF_W) != 0 && strstr(info->dlpi_name, "ld-linux") == NULL)
            part_add(MAX(start, fixed), start + header->p_memsz);
        if (header->p_type == PT_TLS && !*seen)
            episodes->own = (struct part){info->dlpi_tls_data, header->p_memsz};
    }
    *seen = true;
    return 0;
}

static int lowest_add(struct dl_phdr_info *info, size_t size, void *lowest)
{
    uintptr_t *least = lowest, start = (uintptr_t)info->dlpi_tls_data;
    (void)size;
    if (start != 0)
        *least = MIN(*least, start);
    return 0;
}

static void variables_find(void)
{
    bool main_seen = false;
    uintptr_t lowest = (uintptr_t)__builtin_thread_pointer(), record = lowest;
    dl_iterate_phdr(object_add, &main_seen);
    dl_iterate_phdr(lowest_add, &lowest);
    part_add(lowest, record + THREAD_BYTES);
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

static size_t parts_all(struct part *parts)
{
    size_t count = episodes->count;
    memcpy(parts, episodes->parts, count * sizeof(*parts));
    heap_used(0, &parts[count].start, &parts[count].size);
    count++;
    for (size_t i = 0; i < chunks_count; i++) {
        const unsigned char *start = parts[episodes->count].start, *chunk = chunks[i].start;
        bool within = chunk >= start && chunk < start + parts[episodes->count].size;
        if (!within)
            parts[count++] = chunks[i];
    }
    return count;
}

static void save(unsigned level, struct part *parts, size_t *count)
{
    unsigned char *to = episodes->levels[level].copy;
    *count = parts_all(parts);
    for (size_t i = 0; i < *count; i++) {
        if (parts[i].size > COPY_BYTES - (size_t)(to - episodes->levels[level].copy))
            fail("too much is to be copied for an episode");
        memcpy(to, parts[i].start, parts[i].size);
        to += parts[i].size;
    }
}

static void restore(unsigned level, const struct part *parts, size_t count)
{
    const unsigned char *from = episodes->levels[level].copy;
    for (size_t i = 0; i < count; i++) {
        memcpy(parts[i].start, from, parts[i].size);
        from += parts[i].size;
    }
}

static uint64_t descriptors_open(void)
{
    uint64_t open = 0;
    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        if (fcntl(i, F_GETFD) >= 0)
            open |= UINT64_C(1) << i;
    return open;
}

static void descriptors_close(uint64_t kept)
{
    uint64_t open = descriptors_open() & ~kept;
    for (int i = 0; i < DESCRIPTORS_MAX; i++)
        if (open >> i & 1)
            close(i);
    close_range(DESCRIPTORS_MAX, ~0u, 0);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* From now on; 0: no end. One thread cannot wait for anything but itself, so what never ends costs processor time. */
static void time_limit(time_t seconds)
{
    struct itimerval limit = {.it_value = {.tv_sec = seconds}};
    if (setitimer(ITIMER_PROF, &limit, NULL) != 0)
        fail("setitimer: %s", strerror(errno));
}

int episode_run(void (*run)(void *argument), void *argument)
{
    struct part parts[PARTS_MAX + 1 + CHUNKS_MAX];
    size_t count;
    unsigned level = ++episodes->level;
    ASSERT(level < HEAP_LEVELS);
    save(level, parts, &count);
    episodes->levels[level].descriptors = descriptors_open();
    heap_enter(level);
    time_limit(SECONDS_MAX);
    memset(episodes->own.start, 0, episodes->own.size); /* the program's variables of a thread begin as zeros */
    schedule_restart(&episodes->levels[level].base, run, argument);
    restore(level, parts, count);
    descriptors_close(episodes->levels[level].descriptors);
    time_limit(--episodes->level > 0 ? SECONDS_MAX : 0);
    return episodes->levels[level].status;
}

void episode_leave(int status)
{
    episodes->levels[episodes->level].status = status;
    setcontext(&episodes->levels[episodes->level].base);
    fail("an episode does not end");
}

unsigned episode_level(void)
{
    return episodes == NULL ? 0 : episodes->level;
}

void *episode_stack(size_t index, size_t *size)
{
    unsigned char *start = stacks[episodes->level] + index * (STACK_SIZE + GUARD_SIZE) + GUARD_SIZE;
    if (index >= STACKS)
        fail("more than %d coroutines", STACKS);
    *size = STACK_SIZE;
    return start;
}

/* ---- what fails -------------------------------------------------------------------------------------------------- */

void episode_name(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(episodes->levels[episodes->level + 1].name, NAME_BYTES, format, arguments);
    va_end(arguments);
}

static void say_where(void)
{
    for (unsigned level = 1; episodes != NULL && level <= episodes->level; level++)
        fprintf(stderr, "%s is wrong\n", episodes->levels[level].name);
    fflush(stderr);
}

static void die_by(int number)
{
    fprintf(stderr, "%s\n", number == SIGPROF ? "it takes too long" : strsignal(number));
    say_where();
    signal(number, SIG_DFL);
    raise(number);
}

/* Coroutines have little stack, and may have none left. */
static void signals_take(void)
{
    static const int numbers[] = {SIGPROF, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static unsigned char stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        sigaction(numbers[i], &(struct sigaction){.sa_handler = die_by, .sa_flags = SA_ONSTACK | SA_NODEFER}, NULL);
}

static unsigned char *map_level(size_t size)
{
    unsigned char *start = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        fail("no memory for an episode");
    return start;
}

void episodes_begin(void)
{
    heap_prepare();
    episodes = world_map(sizeof(*episodes));
    for (unsigned level = 1; level < HEAP_LEVELS; level++) {
        episodes->levels[level].copy = map_level(COPY_BYTES);
        stacks[level] = map_level(STACKS * (STACK_SIZE + GUARD_SIZE));
        for (size_t i = 0; i < STACKS; i++)
            ASSERT(mprotect(stacks[level] + i * (STACK_SIZE + GUARD_SIZE), GUARD_SIZE, PROT_NONE) == 0);
    }
    session_fails = say_where;
    signals_take();
    variables_find();
}

/* ---- the arena's memory ------------------------------------------------------------------------------------------ */

void *__real_mmap64(void *start, size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void *start, size_t size);
void *__wrap_mmap64(void *start, size_t size, int protection, int flags, int file, off_t offset);
int __wrap_munmap(void *start, size_t size);

/* What is neither reserved nor shared is the arena's. */
void *__wrap_mmap64(void *start, size_t size, int protection, int flags, int file, off_t offset)
{
    if (flags != (MAP_PRIVATE | MAP_ANONYMOUS) || episodes == NULL)
        return __real_mmap64(start, size, protection, flags, file, offset);
    ASSERT(chunks_count < CHUNKS_MAX);
    void *memory = heap_pages(size, true);
    if (memory == NULL)
        return MAP_FAILED;
    chunks[chunks_count++] = (struct part){memory, size};
    return memory;
}

int __wrap_munmap(void *start, size_t size)
{
    if (!heap_has(start))
        return __real_munmap(start, size);
    for (size_t i = 0; i < chunks_count; i++)
        if (chunks[i].start == start)
            chunks[i--] = chunks[--chunks_count];
    free(start);
    return 0;
}

/* Locked memory would be a mapping of its own. */
int mlock(const void *start, size_t size)
{
    (void)start, (void)size;
    return 0;
}
