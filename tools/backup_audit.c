/*
 * An audit only grows, and has no limit; a backup has one. What is left out is the oldest part, in whole lines, so that what is
 * there is what a reader can verify: each entry is sealed upon the one before it (engine/pool/audit.c). Nobody can prove afterwards
 * that it was a backup that left it out, so a reader takes it for missing, as what somebody cut off. Nothing is written.
 */
#include "tools/backup_audit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "engine/pool/audit.h"

static enum error tail_read(int file, const char *path, off_t begin, char *data, size_t *size)
{
    size_t wanted = *size;
    for (*size = 0; *size < wanted;) {
        ssize_t got = pread(file, data + *size, wanted - *size, begin + (off_t)*size);
        if (got < 0 && errno != EINTR)
            return error_from_errno(errno, "read %s", path);
        if (got == 0)
            break;
        *size += got > 0 ? (size_t)got : 0;
    }
    return ERROR_NONE;
}

/* Without what begins before it: a line, or the rest of one. */
static void first_line_drop(char *data, size_t *size)
{
    const char *end = memchr(data, '\n', *size);
    size_t dropped = end == NULL ? *size : (size_t)(end + 1 - data);
    memmove(data, data + dropped, *size - dropped);
    *size -= dropped;
}

static uint64_t number_find(const char *data, size_t size)
{
    struct audit_line line;
    for (const char *at = data, *end; (end = memchr(at, '\n', size - (size_t)(at - data))) != NULL; at = end + 1) {
        if (audit_line_decode(at, (size_t)(end - at), &line) == ERROR_NONE)
            return line.entry.number;
        error_forget();
    }
    return UINT64_MAX;
}

enum error backup_audit_read(int directory, const char *name, const char *path, size_t size_max, struct stat *status, char **data,
                             size_t *size, uint64_t *first)
{
    int file;
    TRY(file_open_below(directory, name, path, status, &file));
    size_t there = (size_t)status->st_size, taken = MIN(there, size_max);
    char *made = malloc(taken + 1);
    enum error error = made == NULL ? ERROR_NO_MEMORY : tail_read(file, path, (off_t)(there - taken), made, &taken);
    close(file);
    if (error != ERROR_NONE) {
        free(made);
        return error;
    }
    if (there > size_max)
        first_line_drop(made, &taken);
    *first = there > size_max ? number_find(made, taken) : 0;
    *data = made;
    *size = taken;
    return ERROR_NONE;
}
