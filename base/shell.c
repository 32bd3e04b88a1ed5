/* Quoting for a POSIX shell. No state. */
#include "base/shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

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

char *shell_command(const char *directory)
{
    char *command;
    AUTO_FREE char *absolute = realpath(directory, NULL);
    AUTO_FREE char *word = shell_quote(absolute != NULL ? absolute : directory);
    if (word == NULL || asprintf(&command, "coffer -C %s", word) < 0)
        return NULL;
    return command;
}
