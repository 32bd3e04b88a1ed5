/*
 * An append as it lies in a log, decrypted: its bounds, its tag, the tags of its units. Pure functions: whether it is
 * the next one of a chain is replay's to say.
 */
#ifndef COFFER_ENGINE_GROUP_APPEND_H
#define COFFER_ENGINE_GROUP_APPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/bulk.h"
#include "engine/group/format.h"

#define APPEND_BYTES_MAX (4u << 20) /* a log's buffer has 2 MiB at most; a reader takes no more than this */

/* Of one block: whether it can be the header of an append of segment `serial`, of this kind, at block `offset`. Says
 * nothing of its tag; afterwards its lengths lie within `segment_blocks`. */
bool append_is_possible(const struct append_format *append, enum segment_kind kind, uint64_t serial, uint32_t offset,
                        uint32_t segment_blocks);
/* Of a whole append that is possible: ERROR_NOT_FOUND where its tag does not fit. */
enum error append_check(const struct append_format *append, const struct segment_keys *keys) CHECKED;
/* Of an append whose tag fits: ERROR_CORRUPT where a unit does not stand where it says, or its tag does not fit. */
enum error append_units_check(const struct append_format *append, const struct segment_keys *keys) CHECKED;
/* Whether they are known to. */
static inline bool append_units_are_sound(const struct append_format *append, const struct segment_keys *keys)
{
    return append_units_check(append, keys) == ERROR_NONE;
}

#endif
