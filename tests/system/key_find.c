/*
 * Looks for keys in files, of which a disk may be one, or a core: in all that they hold at any byte, holes left out, for the
 * tests that say where no key must be. On its input a name and hexadecimal digits a line, on its output a name, a file and an
 * offset for the first place of each in each file.
 *
 *     key_find FILE... <KEYS
 *
 * Rows are sorted by their first bytes; a bit for each of a million values of these leaves hardly anything to be looked up. No
 * locks, nothing is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#define NEEDLE_MIN  8u
#define NEEDLE_MAX  512u
#define NAME_SIZE   64u
#define FILTER_BITS 20u
#define WINDOW_SIZE (1u << 20)

struct needle {
    char name[NAME_SIZE];
    uint8_t bytes[NEEDLE_MAX];
    size_t size;
    bool found; /* in the file that is looked at */
};

static struct needle *needles;
static size_t needle_count, needle_size_max;
static uint8_t filter[(1u << FILTER_BITS) / 8];

static void __attribute__((noreturn)) fail(const char *what)
{
    fprintf(stderr, "key_find: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t filter_bit(const uint8_t *bytes)
{
    uint32_t first;
    memcpy(&first, bytes, sizeof first);
    return first * 2654435761u >> (32 - FILTER_BITS);
}

static int needle_compare(const void *left, const void *right)
{
    return memcmp(((const struct needle *)left)->bytes, ((const struct needle *)right)->bytes, NEEDLE_MIN);
}

static void needle_take(const char *line)
{
    struct needle needle = {.size = 0};
    int at;
    ASSERT(sscanf(line, "%63s %n", needle.name, &at) == 1);
    unsigned byte;
    for (line += at; needle.size < NEEDLE_MAX && sscanf(line, "%2x", &byte) == 1; line += 2)
        needle.bytes[needle.size++] = (uint8_t)byte;
    ASSERT(needle.size >= NEEDLE_MIN && (*line == '\n' || *line == '\0'));
    if ((needle_count & (needle_count - 1)) == 0) {
        needles = realloc(needles, MAX(2 * needle_count, 1) * sizeof *needles);
        ASSERT(needles != NULL);
    }
    uint32_t bit = filter_bit(needle.bytes);
    filter[bit / 8] |= (uint8_t)(1u << bit % 8);
    needle_size_max = MAX(needle_size_max, needle.size);
    needles[needle_count++] = needle;
}

static void needles_take(void)
{
    char line[NAME_SIZE + 2 * NEEDLE_MAX + 3];
    while (fgets(line, sizeof line, stdin) != NULL)
        needle_take(line);
    ASSERT(needle_count > 0);
    qsort(needles, needle_count, sizeof *needles, needle_compare);
}

/* The first that begins as these bytes, or the end. */
static size_t needle_first(const uint8_t *bytes)
{
    size_t low = 0, high = needle_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(needles[middle].bytes, bytes, NEEDLE_MIN) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void place_look(const char *path, const uint8_t *bytes, size_t left, off_t offset)
{
    for (size_t i = needle_first(bytes); i < needle_count && memcmp(needles[i].bytes, bytes, NEEDLE_MIN) == 0; i++) {
        struct needle *needle = &needles[i];
        if (needle->found || needle->size > left || memcmp(needle->bytes, bytes, needle->size) != 0)
            continue;
        needle->found = true;
        printf("%s %s %jd\n", needle->name, path, (intmax_t)offset);
    }
}

/* What reaches beyond the window is found by the next one, which begins with the end of this one. */
static void window_look(const char *path, const uint8_t *bytes, size_t size, off_t offset)
{
    for (size_t i = 0; i + NEEDLE_MIN <= size; i++) {
        uint32_t bit = filter_bit(bytes + i);
        if (filter[bit / 8] >> bit % 8 & 1)
            place_look(path, bytes + i, size - i, offset + (off_t)i);
    }
}

static void extent_look(const char *path, int file, off_t offset, off_t end)
{
    static uint8_t window[NEEDLE_MAX + WINDOW_SIZE];
    size_t kept = 0;
    while (offset < end) {
        ssize_t got = pread(file, window + kept, (size_t)MIN(end - offset, (off_t)WINDOW_SIZE), offset);
        if (got < 0)
            fail(path);
        if (got == 0)
            return;
        size_t size = kept + (size_t)got;
        window_look(path, window, size, offset - (off_t)kept);
        offset += got;
        kept = MIN(size, needle_size_max - 1);
        memmove(window, window + size - kept, kept);
    }
}

static void file_look(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail(path);
    for (size_t i = 0; i < needle_count; i++)
        needles[i].found = false;
    for (off_t end = 0, begin; (begin = lseek(file, end, SEEK_DATA)) >= 0;) {
        end = lseek(file, begin, SEEK_HOLE);
        if (end < 0)
            fail(path);
        extent_look(path, file, begin, end);
    }
    if (errno != ENXIO) /* no more data */
        fail(path);
    close(file);
}

int main(int count, char **arguments)
{
    needles_take();
    for (int i = 1; i < count; i++)
        file_look(arguments[i]);
    free(needles);
    return 0;
}
