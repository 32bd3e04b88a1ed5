/* What the witness says of keys: for who reads it without the rest of the engine, too. */
#ifndef COFFER_ENGINE_POOL_WITNESS_KEY_H
#define COFFER_ENGINE_POOL_WITNESS_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "crypto/hierarchy.h"

#define WITNESS_RETAINED_MAX 64 /* keys: who changes them each week has a year to retire them */

/* What tells a key from another one without being one. */
struct witness_kcv {
    bool known; /* by versions of before it was not */
    uint8_t bytes[KCV_SIZE];
};

/* A key that was in force and that its provider may still keep. */
struct witness_retained {
    struct uuid provider;
    uint64_t kek_number;
};

#endif
