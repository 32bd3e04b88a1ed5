/* What a single check of health.c fills in, and the checks that have a file of their own. */
#ifndef COFFER_SERVER_HEALTH_CHECK_H
#define COFFER_SERVER_HEALTH_CHECK_H

#include <limits.h>
#include <stdio.h>

#include "server/health.h"

struct finding {
    const char *severity;
    char evidence[PATH_MAX + 1280 + KEY_NEEDS_SIZE];
    char command[2 * PATH_MAX + 128]; /* the pool's directory and another path */
};

static inline void finding_good(struct finding *finding, const char *evidence)
{
    finding->severity = "ok";
    snprintf(finding->evidence, sizeof(finding->evidence), "%s", evidence);
}

/* key_care.c */
void check_backup(const struct health_facts *facts, struct finding *finding);
void check_drill(const struct health_facts *facts, struct finding *finding);
void check_key_age(const struct health_facts *facts, struct finding *finding);
void check_recovery(const struct health_facts *facts, struct finding *finding);
/* key_age.c */
void check_cryptoperiod(const struct health_facts *facts, struct finding *finding);
/* rekey_every.c */
void check_rekey_due(const struct health_facts *facts, struct finding *finding);
/* kms_cycle.c */
void check_kms_on_pool(const struct health_facts *facts, struct finding *finding);

/* evidence_kept.c */
void check_evidence(const struct health_facts *facts, struct finding *finding);

/* key_cached.c */
void check_key_cached(const struct health_facts *facts, struct finding *finding);

#endif
