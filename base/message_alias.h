/*
 * Names for people. Who works in an open directory spells it "/proc/self/fd/N", which leads to that very one whatever takes its
 * name meanwhile; what is told has the name that was given.
 */
#ifndef COFFER_BASE_MESSAGE_ALIAS_H
#define COFFER_BASE_MESSAGE_ALIAS_H

#include <stddef.h>

/* Messages say `shown` where they would say `spelled`. Both are the caller's and stay until they are taken back (NULL, NULL). Set
 * while no other thread runs. */
void message_alias_set(const char *spelled, const char *shown);

/* The same in a text of at most `size` bytes with its zero; what does not fit is cut off. */
void message_alias_apply(char *text, size_t size);

#endif
