/*
 * Metadata contexts of the handshake: base:allocation, and for each snapshot of the export's object what changed since
 * (coffer:changed:SNAPSHOT).
 */
#ifndef COFFER_SERVER_NBD_META_CONTEXT_H
#define COFFER_SERVER_NBD_META_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/coffer.h"
#include "server/nbd/protocol.h"

struct meta_context {
    char name[EXPORT_NAME_BYTES_MAX + 1]; /* of the export for which the contexts were asked */
    bool allocation;                      /* base:allocation is among them */
    bool all_changed;                     /* of a list: those of all snapshots */
    unsigned changed_count;               /* what is asked for beyond the limit is passed over */
    char changed[CHANGED_CONTEXTS_MAX][OBJECT_NAME_MAX + 1]; /* snapshots, as asked for: there may be none of the name */
};

/* Reads LIST_META_CONTEXT or (`set`) SET_META_CONTEXT; false where the lengths inside make no sense. A list may ask by
 * wildcard ("base:", "coffer:", "coffer:changed:") or for everything (no query at all), a choice may not. */
bool meta_context_decode(const uint8_t *data, size_t size, bool set, struct meta_context *context);

/* A choice is good only for the export it was made for. */
bool meta_context_holds(const struct meta_context *context, const char *name);

#endif
