/*
 * Whether the TPM would open the pool again, where it seals the key: the watch's part (key_watch.c) that asks it, and remembers
 * what it said until it is asked again.
 */
#ifndef COFFER_SERVER_KEY_SEALED_H
#define COFFER_SERVER_KEY_SEALED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/pool/kek_number.h"

/* All zeros: it was never asked. */
struct key_sealed {
    struct uuid provider; /* of the key that it was asked for */
    uint64_t number;
    bool asked, taken, pin; /* at all; for the key itself; the key has a PIN, which was not tried */
    uint64_t asked_at, taken_at; /* clock_monotonic */
    uint64_t time_taken; /* seconds since 1970; 0: never */
    enum error error;
    char sentence[800]; /* where there is an error */
};

/* Whether the key is sealed in a TPM. */
bool key_sealed_is(const struct kek_expected *expected);

/* Asks the TPM where that is due, or `now`; the error, with its sentence, is that of the last time it was asked. */
enum error key_sealed_look(struct key_sealed *sealed, const struct kek_expected *expected, bool now) CHECKED;

#endif
