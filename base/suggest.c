/* Nearest words by edit distance. Pure functions. A capital is no slip of the finger: it is taken for its small letter. */
#include "base/suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

#define WORD_MAX 63

/* Of ASCII: whatever the locale, and no part of a longer UTF-8 sequence. */
static char small(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

static bool same(char a, char b)
{
    return small(a) == small(b);
}

static bool begins_with(const char *word, const char *beginning)
{
    while (*beginning != '\0' && same(*word, *beginning))
        word++, beginning++;
    return *beginning == '\0';
}

size_t suggest_distance(const char *a, const char *b)
{
    size_t table[WORD_MAX + 1][WORD_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_length; i++)
        table[i][0] = i;
    for (size_t j = 0; j <= b_length; j++)
        table[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            size_t exchanged = table[i - 1][j - 1] + !same(a[i - 1], b[j - 1]);
            size_t best = MIN(exchanged, MIN(table[i - 1][j], table[i][j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                best = MIN(best, table[i - 2][j - 2] + 1);
            table[i][j] = best;
        }
    }
    return table[a_length][b_length];
}

const char *suggest(const char *word, const char *const *candidates, size_t count)
{
    size_t length = strlen(word), nearest = MAX(length / 3, 1) + 1;
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = suggest_distance(word, candidates[i]);
        if (length >= 2 && begins_with(candidates[i], word))
            distance = 0;
        if (distance < nearest && distance < strlen(candidates[i])) {
            nearest = distance;
            found = candidates[i];
        }
    }
    return found;
}
