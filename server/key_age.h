/* How old the keys of a pool are: for `key status`, reports, and health (KEY_CRYPTOPERIOD). */
#ifndef COFFER_SERVER_KEY_AGE_H
#define COFFER_SERVER_KEY_AGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/pool/conf.h"

struct pool;
struct pool_key_list;
struct key_slot_info;
struct key_ages;

struct key_age_facts {
    bool known;
    uint64_t now, period;  /* seconds since 1970; coffer.conf's cryptoperiod, 0: any age */
    uint64_t data, root;   /* when the oldest data key that something is under, and the root key, was made; 0: none */
};

/* Records what keys there are, where that is new. What fails is a message; nothing while the pool is locked or its keys are being
 * changed. */
void key_age_note(struct pool *pool);

/* By the file alone: as though something were under each data key of it. */
void key_age_look(const struct pool_conf *conf, struct key_age_facts *facts);
/* Then, where the pool is open, by what is under which data key. */
void key_age_see(struct pool *pool, struct key_age_facts *facts);
/* What key_age_see() takes: the oldest data key with segments; 0: there is none. */
uint64_t key_age_oldest(const struct key_ages *ages, const struct pool_key_list *list, const struct key_slot_info *slots,
                        size_t count);

/* Adds to an answer of key.status when keys were made, `made` of each row of data_keys and retained too, and check values. */
void key_age_tell(struct pool *pool, json_t *json);

#endif
