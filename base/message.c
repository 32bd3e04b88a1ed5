/*
 * Messages: one line, one write(2), so that lines of several threads never mix and none waits in a buffer when the
 * process dies. Control characters become '?': a name that came from outside cannot forge a line or a terminal
 * sequence. No locks: the level is an atomic, and an alias is set while there is one thread.
 */
#include "base/message.h"
#include "base/message_alias.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define LINE_SIZE 2048

static atomic_int level_max = MESSAGE_INFO;
static const char *alias_spelled, *alias_shown;

/* systemd names the journal's socket by device and inode: standard error may have been redirected since. */
static bool goes_to_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    char text[64];
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(text, stream) == 0;
}

static const char *level_word(enum message_level level)
{
    switch (level) {
    case MESSAGE_ERROR:
        return "error: ";
    case MESSAGE_WARNING:
        return "warning: ";
    default:
        return "";
    }
}

static void write_whole(const char *line, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, line, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        line += written;
        size -= (size_t)written;
    }
}

void message_alias_set(const char *spelled, const char *shown)
{
    alias_spelled = spelled;
    alias_shown = shown;
}

void message_alias_apply(char *text, size_t size)
{
    size_t spelled = alias_spelled == NULL ? 0 : strlen(alias_spelled), shown = alias_shown == NULL ? 0 : strlen(alias_shown);
    for (char *at = text; spelled != 0 && (at = strstr(at, alias_spelled)) != NULL;) {
        char *rest = at + spelled;
        if (isdigit((unsigned char)*rest) != 0) { /* another descriptor */
            at = rest;
            continue;
        }
        size_t room = size - (size_t)(at - text) - 1, put = MIN(shown, room), left = MIN(strlen(rest), room - put);
        memmove(at + put, rest, left);
        memcpy(at, alias_shown, put);
        at += put;
        at[left] = '\0';
    }
}

void message(enum message_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;

    int errno_kept = errno;
    char line[LINE_SIZE];
    int start = goes_to_journal()
                    ? snprintf(line, sizeof line, "<%d>", (int)level)
                    : snprintf(line, sizeof line, "%s: %s", program_invocation_short_name, level_word(level));
    size_t length = MIN((size_t)MAX(start, 0), sizeof line / 2);
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    length = MIN(length + (size_t)MAX(more, 0), sizeof line - 1);
    message_alias_apply(line, sizeof line);
    length = alias_spelled == NULL ? length : strlen(line);
    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)line[i]))
            line[i] = '?';
    line[length] = '\n';
    write_whole(line, length + 1);
    errno = errno_kept;
}

void message_level_set(enum message_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}
