/* How old the keys of a pool are: for `key status`, reports, and health (KEY_CRYPTOPERIOD). */
#ifndef COFFER_SERVER_KEY_AGE_H
#define COFFER_SERVER_KEY_AGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/pool/conf.h"

struct pool;

struct key_age_facts {
    bool known;
    uint64_t now, period;  /* seconds since 1970; coffer.conf's cryptoperiod, 0: any age */
    uint64_t data, root;   /* when the current data key of the device that has it longest, and the root key, was made; 0: none */
};

/* Records what keys there are, where that is new. What fails is a message; nothing while the pool is locked or its keys are being
 * changed. */
void key_age_note(struct pool *pool);

/* By the file alone. */
void key_age_look(const struct pool_conf *conf, struct key_age_facts *facts);

/* Adds to an answer of key.status when keys were made, `made` of each row of data_keys and retained too, and check values. */
void key_age_tell(struct pool *pool, json_t *json);

#endif
