/* Which of its providers' keys a pool that may be locked is under, as far as its directory says, and whether one is it. */
#ifndef COFFER_ENGINE_POOL_KEK_NUMBER_H
#define COFFER_ENGINE_POOL_KEK_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/provider_kmip.h"
#include "engine/pool/conf.h"
#include "engine/pool/witness_key.h"

struct kek_expected {
    const struct provider_config *provider; /* of the conf */
    uint64_t number; /* of its key in force, else of its newest old one; 0: it keeps none that is known */
    bool in_force;
    struct witness_kcv kek_kcv, root_kcv; /* of the key in force */
};

/* What the witness says of a provider, NULL: of the one in force. Nothing of it is verified: a false number finds no key, or
 * one that opens nothing. Where the witness is lost, the conf's line and key 1. Errors as witness_load(). Any thread, whatever
 * the pool does. */
enum error kek_expect(const struct pool_conf *conf, const struct provider_config *provider,
                      struct kek_expected *expected) CHECKED;

/* All that the witness says of keys; likewise unverified. `known` false: it is lost, and the rest is empty. */
struct key_facts {
    bool known;
    struct uuid provider; /* of the key in force */
    uint64_t kek_number;
    bool half_done; /* a change of keys is under way or was cut short */
    size_t retained_count;
    struct witness_retained retained[WITNESS_RETAINED_MAX]; /* oldest first */
};
enum error key_facts_read(const struct pool_conf *conf, struct key_facts *facts) CHECKED;

/* Reports of servers that gave another key than the one in force get the error ERROR_WRONG_KEY. */
void kek_compare(const struct kek_expected *expected, struct kmip_report *reports);
/* The same of a key file, by the check value of its KDK. */
enum error root_compare(const struct kek_expected *expected, const uint8_t kcv[KCV_SIZE]) CHECKED;
/* Whether the key file of a provider in force is there, may be read, and holds the key in force. ERROR_KEY_ABSENT,
 * ERROR_WRONG_KEY, and native_key_load()'s; ERROR_NONE also of a provider without a file. */
enum error root_check(const struct kek_expected *expected) CHECKED;

#endif
