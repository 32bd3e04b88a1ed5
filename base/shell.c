/* Quoting for a POSIX shell. No state. */
#include "base/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

#define INVOCATION_MAX 400 /* it stands in a sentence, behind a path */

static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";

char *shell_quote(const char *word)
{
    if (word[0] != '\0' && strspn(word, plain) == strlen(word))
        return strdup(word);
    char *quoted = malloc(4 * strlen(word) + 3);
    if (quoted == NULL)
        return NULL;
    char *end = quoted;
    *end++ = '\'';
    for (; *word != '\0'; word++)
        end = *word == '\'' ? mempcpy(end, "'\\''", 4) : mempcpy(end, word, 1);
    memcpy(end, "'", 2);
    return quoted;
}

char *shell_path(const char *path)
{
    AUTO_FREE char *absolute = realpath(path, NULL);
    return shell_quote(absolute != NULL ? absolute : path);
}

char *shell_command(const char *directory)
{
    char *command;
    AUTO_FREE char *word = shell_path(directory);
    if (word == NULL || asprintf(&command, "coffer -C %s", word) < 0)
        return NULL;
    return command;
}

/* The words as the system keeps them, each with its zero; 0 where they do not fit. */
static size_t words_read(char *words, size_t room)
{
    int descriptor = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? 0 : read(descriptor, words, room);
    if (descriptor >= 0)
        close(descriptor);
    return got > 0 && (size_t)got < room && words[got - 1] == '\0' ? (size_t)got : 0;
}

char *shell_invocation(void)
{
    char words[INVOCATION_MAX];
    size_t size = words_read(words, sizeof words);
    char *line = shell_quote(size > 0 ? words : program_invocation_name);
    for (size_t at = size > 0 ? strlen(words) + 1 : 0; line != NULL && at < size; at += strlen(words + at) + 1) {
        AUTO_FREE char *before = line;
        AUTO_FREE char *word = shell_quote(words + at);
        if (word == NULL || asprintf(&line, "%s %s", before, word) < 0)
            line = NULL;
    }
    return line;
}
