/*
 * The engine's files are real ones, in a directory of the run; what would be left of them is modelled.
 *
 * Modelled: POSIX promises bytes once fsync() of the file is answered, and a name, its end or another meaning of it, once fsync() of
 * the directory is. So noted is, at the first, what the file holds (a copy beside the directory, named by the inode); at the second,
 * what names there are. A loss of power leaves, of each name that differs, the old meaning or the new one; names that a file wandered
 * between (rename, link) go together, as a journal of ext4 or XFS has them in one transaction, and otherwise in any order, which
 * these two do not do and POSIX allows. Of bytes that were not synced it leaves those that were, or all, or of a file that is new or
 * grew a part: file systems that allocate late write a length with some of its bytes, or none. That fsync() of a file keeps its new
 * name too, as on ext4, nothing here relies on. Each fsync(), rename() and linkat() is an event before it happens (--wrap), at which a
 * life may end and from which branches go.
 *
 * Not modelled: blocks in the middle of a file that are lost by themselves (nothing but keys that are overwritten is written there),
 * names that came and went between two events, and owners and modes. The death of the process alone takes nothing.
 *
 * A branch has a directory of its own, in which all is durable, with inodes and copies of its own. One thread.
 */
#include "tests/sim/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/memory.h"
#include "tests/sim/branch.h"
#include "tests/sim/sim_device.h"

#define FILE_BYTES (UINT64_C(128) << 20) /* far above an audit of many lives, and what a repair keeps of many journals */
#define LONG_PATH  (PATH_SIZE + FILE_NAME_SIZE + 32)

/* A name before and behind what is not durable; inode 0: there is none. */
struct change {
    const char *name;
    uint64_t before, after;
    size_t unit; /* of the names that go together */
};

/* Bytes that could be read; of no file: none. */
struct content {
    bool known;
    uint64_t size;
    unsigned char *bytes;
};

static unsigned char *buffers[2]; /* one for each of two that are compared */

/* ---- the directory --------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct file_name *)a)->name, ((const struct file_name *)b)->name);
}

static void names_read(struct file_names *names)
{
    DIR *directory = opendir(world->session->pool);
    struct stat status;
    if (directory == NULL)
        fail("%s: %s", world->session->pool, strerror(errno));
    names->count = 0;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
            continue;
        if (names->count == FILES_MAX || strlen(entry->d_name) >= FILE_NAME_SIZE)
            fail("%s has too many files", world->session->pool);
        struct file_name *name = &names->items[names->count++];
        snprintf(name->name, sizeof(name->name), "%s", entry->d_name);
        name->inode = status.st_ino;
    }
    closedir(directory);
    qsort(names->items, names->count, sizeof(names->items[0]), by_name);
}

static uint64_t inode_of(const struct file_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].name, name) == 0)
            return names->items[i].inode;
    return 0;
}

static const char *name_of(const struct file_names *names, uint64_t inode)
{
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].inode == inode)
            return names->items[i].name;
    return NULL;
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------ */

static void synced_path(char path[LONG_PATH], uint64_t inode)
{
    snprintf(path, LONG_PATH, "%s.synced/%llu", world->session->pool, (unsigned long long)inode);
}

static struct content content_read(int file, unsigned char *buffer)
{
    ssize_t size = file < 0 ? 0 : pread(file, buffer, FILE_BYTES, 0);
    if (size < 0 || size == (ssize_t)FILE_BYTES)
        fail("a file of %s has too much", world->session->pool);
    return (struct content){.known = file >= 0, .size = (uint64_t)size, .bytes = buffer};
}

static struct content content_of(const char *path, unsigned char *buffer)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct content content = content_read(file, buffer);
    if (file >= 0)
        close(file);
    return content;
}

static void content_write(const char *path, const struct content *content)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || write(file, content->bytes, content->size) != (ssize_t)content->size)
        fail("%s: %s", path, strerror(errno));
    close(file);
}

static struct content content_synced(uint64_t inode)
{
    char path[LONG_PATH];
    synced_path(path, inode);
    return content_of(path, buffers[0]);
}

/* As whoever reads it now finds it; it may have another name, or none. */
static struct content content_now(const struct file_names *names, uint64_t inode)
{
    char path[LONG_PATH];
    const char *name = name_of(names, inode);
    if (name == NULL)
        return (struct content){.bytes = buffers[1]};
    snprintf(path, sizeof(path), "%s/%s", world->session->pool, name);
    return content_of(path, buffers[1]);
}

static bool same(const struct content *a, const struct content *b)
{
    return a->known == b->known && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* ---- what is promised -------------------------------------------------------------------------------------------------- */

static void file_synced(int file, uint64_t inode)
{
    char path[LONG_PATH], again[32];
    snprintf(again, sizeof(again), "/proc/self/fd/%d", file); /* it may be open for writing only */
    struct content content = content_of(again, buffers[1]);
    synced_path(path, inode);
    content_write(path, &content);
}

void files_begin(void)
{
    struct files *files = &world->files;
    char path[LONG_PATH];
    for (size_t i = 0; i < COUNT_OF(buffers); i++)
        if (buffers[i] == NULL)
            buffers[i] = world_map(FILE_BYTES);
    snprintf(path, sizeof(path), "%s.synced", world->session->pool);
    directory_remove(path);
    if (mkdir(path, 0700) != 0)
        fail("%s: %s", path, strerror(errno));
    names_read(&files->durable);
    for (size_t i = 0; i < files->durable.count; i++) {
        struct content content = content_now(&files->durable, files->durable.items[i].inode);
        synced_path(path, files->durable.items[i].inode);
        content_write(path, &content);
    }
    files->begun = true;
    files->chosen_count = 0;
    files->chosen = false;
}

/* ---- what a crash leaves ------------------------------------------------------------------------------------------------ */

static void unit_merge(struct change *changes, size_t count, size_t from, size_t to)
{
    for (size_t i = 0; i < count && from != to; i++)
        if (changes[i].unit == from)
            changes[i].unit = to;
}

static bool meet(uint64_t inode, const struct change *other)
{
    return inode != 0 && (inode == other->before || inode == other->after);
}

/* Every name that there is, or was. */
static size_t changes_find(struct change changes[2 * FILES_MAX], const struct file_names *now)
{
    const struct file_names *durable = &world->files.durable;
    size_t count = 0;
    for (size_t i = 0; i < durable->count; i++, count++)
        changes[count] = (struct change){durable->items[i].name, durable->items[i].inode, inode_of(now, durable->items[i].name), count};
    for (size_t i = 0; i < now->count; i++)
        if (inode_of(durable, now->items[i].name) == 0) {
            changes[count] = (struct change){now->items[i].name, 0, now->items[i].inode, count};
            count++;
        }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (meet(changes[i].before, &changes[k]) || meet(changes[i].after, &changes[k]))
                unit_merge(changes, count, changes[i].unit, changes[k].unit);
    return count;
}

/* What it is that is left of a file that has a name. */
static struct content content_choose(const struct file_names *now, uint64_t inode, unsigned lose_percent)
{
    struct content synced = content_synced(inode), latest = content_now(now, inode);
    if (!latest.known || same(&synced, &latest))
        return synced;
    if (world_percent(lose_percent))
        return synced;
    if (lose_percent != 0 && latest.size > synced.size)
        latest.size = synced.size + world_below(latest.size - synced.size + 1);
    return latest;
}

/* The devices keep what they like: that all of them is lost and nothing here, or the other way round, says most. */
static unsigned lose_percent_draw(struct crash_odds odds)
{
    if (odds.one || odds.lose_percent == 100)
        return world_below(2) == 0 ? 100 : 0;
    return odds.lose_percent == 0 && odds.tear_percent == 0 ? 0 : 50;
}

static void choose_name(const struct file_names *now, const char *name, uint64_t inode, unsigned lose_percent, uint64_t *hash)
{
    struct files *files = &world->files;
    struct content content = content_choose(now, inode, lose_percent);
    struct file_choice *choice = &files->choices[files->chosen_count++];
    const char *from = name_of(now, inode);
    ASSERT(files->chosen_count < COUNT_OF(files->choices));
    snprintf(choice->name, sizeof(choice->name), "%s", name);
    snprintf(choice->from, sizeof(choice->from), "%s", content.bytes == buffers[1] && from != NULL ? from : "");
    choice->inode = inode;
    choice->size = content.size;
    *hash = hash_mix(*hash, XXH3_64bits(name, strlen(name)));
    *hash = hash_mix(*hash, XXH3_64bits(content.bytes, content.size));
}

uint64_t files_choose(struct crash_odds odds)
{
    struct files *files = &world->files;
    struct change changes[2 * FILES_MAX];
    bool lost[2 * FILES_MAX];
    uint64_t hash = 0;
    if (!files->begun)
        return 0;
    unsigned lose_percent = files_are_pending() ? lose_percent_draw(odds) : 0;
    struct file_names *now = &files->now;
    size_t count = changes_find(changes, now);
    for (size_t i = 0; i < count; i++)
        lost[i] = changes[i].before != changes[i].after && world_percent(lose_percent);
    files->chosen_count = 0;
    files->chosen = true;
    for (size_t i = 0; i < count; i++) {
        uint64_t inode = lost[changes[i].unit] ? changes[i].before : changes[i].after;
        if (inode != 0)
            choose_name(now, changes[i].name, inode, lose_percent, &hash);
    }
    return hash;
}

bool files_are_pending(void)
{
    struct files *files = &world->files;
    if (!files->begun)
        return false;
    names_read(&files->now);
    bool pending = files->now.count != files->durable.count;
    for (size_t i = 0; i < files->now.count && !pending; i++) {
        uint64_t inode = files->now.items[i].inode;
        struct content synced = content_synced(inode), latest = content_now(&files->now, inode);
        pending = inode != inode_of(&files->durable, files->now.items[i].name) || !same(&synced, &latest);
    }
    return pending;
}

static void make(const struct file_choice *choice, const char *directory)
{
    char from[LONG_PATH], to[LONG_PATH];
    snprintf(to, sizeof(to), "%s/%s", directory, choice->name);
    if (choice->from[0] == '\0')
        synced_path(from, choice->inode);
    else
        snprintf(from, sizeof(from), "%s/%s", world->session->pool, choice->from);
    struct content content = content_of(from, buffers[0]);
    content.size = MIN(content.size, choice->size);
    content_write(to, &content);
}

static void made(const char *directory)
{
    struct files *files = &world->files;
    if (!files->chosen)
        (void)files_choose((struct crash_odds){0});
    if (mkdir(directory, 0700) != 0)
        fail("%s: %s", directory, strerror(errno));
    for (size_t i = 0; i < files->chosen_count; i++)
        make(&files->choices[i], directory);
}

int __real_rename(const char *from, const char *to);

void files_crash(void)
{
    char path[LONG_PATH];
    const char *pool = world->session->pool;
    snprintf(path, sizeof(path), "%s.left", pool);
    made(path);
    directory_remove(pool);
    if (__real_rename(path, pool) != 0)
        fail("%s: %s", path, strerror(errno));
    files_begin();
}

void files_branch(const char *directory)
{
    made(directory);
    snprintf(world->session->pool, sizeof(world->session->pool), "%s", directory);
    files_begin();
}

void files_remove(const char *directory)
{
    char path[LONG_PATH];
    directory_remove(directory);
    snprintf(path, sizeof(path), "%s.synced", directory);
    directory_remove(path);
}

/* ---- the calls ---------------------------------------------------------------------------------------------------------- */

int __real_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags);
int __real_fsync(int file);
int __wrap_rename(const char *from, const char *to);
int __wrap_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags);
int __wrap_fsync(int file);

/* Of the pool directory, or within. */
static bool is_ours(const char *path)
{
    if (world == NULL || world->session == NULL || !world->files.begun)
        return false;
    size_t size = strlen(world->session->pool);
    return strncmp(path, world->session->pool, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static bool is_open_in_ours(int file, struct stat *status)
{
    char link[32], path[LONG_PATH];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    path[MAX(size, 0)] = '\0';
    return is_ours(path) && fstat(file, status) == 0;
}

int __wrap_fsync(int file)
{
    struct stat status;
    if (!is_open_in_ours(file, &status))
        return __real_fsync(file);
    file_event(0);
    if (S_ISDIR(status.st_mode))
        names_read(&world->files.durable);
    else
        file_synced(file, status.st_ino);
    return 0;
}

int __wrap_rename(const char *from, const char *to)
{
    if (is_ours(to))
        file_event(1);
    return __real_rename(from, to);
}

int __wrap_linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
    struct stat status;
    if (is_open_in_ours(to_directory, &status))
        file_event(2);
    return __real_linkat(from_directory, from, to_directory, to, flags);
}
