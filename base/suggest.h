/* What a person may have meant. */
#ifndef COFFER_BASE_SUGGEST_H
#define COFFER_BASE_SUGGEST_H

#include <stddef.h>

/* The candidate nearest to `word`: one that begins with it, or one that is few slips of a finger away, in capitals or
 * not; NULL where none is near. */
const char *suggest(const char *word, const char *const *candidates, size_t count);

/* Inserted, left out, exchanged and swapped neighbouring letters (optimal string alignment); words longer than 63
 * bytes are infinitely far. */
size_t suggest_distance(const char *a, const char *b);

#endif
