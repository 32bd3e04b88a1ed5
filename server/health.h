/*
 * Health: every check by a stable id, with its severity, the evidence and the command that mends it. The checks are
 * pure functions of gathered facts.
 */
#ifndef COFFER_SERVER_HEALTH_H
#define COFFER_SERVER_HEALTH_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>

#include "engine/coffer.h"
#include "server/key_cached.h"
#include "server/key_age.h"
#include "server/key_care.h"
#include "server/key_watch.h"
#include "server/kms_cycle.h"
#include "server/evidence_kept.h"
#include "server/modes.h"
#include "server/rekey_every.h"

struct health_facts {
    const struct pool_status *status;
    const char *self;     /* pool_command() */
    bool scrubs; /* `scrub` is known: the pool is open for writing */
    struct scrub_status scrub;
    const struct damage_info *damages; /* what is known to be damaged */
    size_t damage_count;
    bool damage_more;
    bool arena_locked;
    bool swap_plaintext;  /* swap is on, on a device that is not an encrypted mapping */
    bool looked;          /* what follows is known: the conf, which names the files, could be read */
    bool key_beside_data; /* a key that needs no passphrase, on a file system that holds the pool's data too */
    char key_path[PATH_MAX]; /* of that key, or empty */
    char key_old[PROVIDER_NAME_MAX + 1]; /* the provider whose old key it is; empty: it is the key in force */
    char key_file[PATH_MAX]; /* the pool's first key file, or empty */
    char roles_fault[768]; /* the sentence of a wrong line in [control] of the conf, or empty */
    struct modes modes;
    struct evidence_kept kept;
    struct key_watch_facts unlock;
    struct pool_audit_state audit;
    struct key_care_facts care;
    struct key_cached_facts cached;
    struct kms_cycle_facts cycle;
    struct key_age_facts age;
    struct rekey_every_facts every;
    struct deep_rekey_status deep;
};

/* Fills in what is not in the status, from the pool directory. */
void health_facts_gather(struct health_facts *facts, const char *directory);

/* An array of {id, severity: "ok" | "note" | "warning" | "error", evidence, command}; NULL when out of memory. */
json_t *health_json(const struct health_facts *facts) __attribute__((warn_unused_result));

#endif
