/*
 * The cache of the key in force in the TPM (crypto/key_cache.h), as the daemon keeps it: renewed where a server gives the key,
 * destroyed where one says that the key has come to its end, or, once one answers, where it is too old. For health and `key status`, too.
 */
#ifndef COFFER_SERVER_KEY_CACHED_H
#define COFFER_SERVER_KEY_CACHED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/pool/kek_number.h"

struct pool;

#define KEY_CACHED_TEXT 400

struct key_cached_facts {
    bool on;                 /* the key in force is on servers, and coffer.conf says tpm-cache */
    bool present;            /* and it is cached, and would open the pool now, as far as its file says */
    uint64_t now;            /* seconds since 1970, as all of these */
    uint64_t fetched, until; /* when a server gave it last; when it opens nothing any more */
    char why_not[KEY_CACHED_TEXT]; /* where it is on and not present */
};

/* What files say, without the TPM. Any thread. */
void key_cached_look(const struct pool_conf *conf, struct key_cached_facts *facts);
/* Adds "cache" to the answer: null where it is off. */
void key_cached_tell(struct pool *pool, json_t *json);

/* The watch's part, one thread's. */
struct key_cached {
    uint64_t retry;                /* clock_monotonic(): not before that, where the TPM failed */
    char failure[KEY_CACHED_TEXT]; /* what it failed for; empty where it did not */
    struct uuid ended_provider;    /* the key that a server said came to its end, the last time that one answered: it is */
    uint64_t ended_number;         /* not fetched for the cache; 0: none did */
    size_t left_count;
    struct uuid left[POOL_PROVIDERS_MAX]; /* whose cache cannot be destroyed, which was told */
};

/* Whether the key is to be fetched for the cache. */
bool key_cached_wants(const struct key_cached *cached, const struct kek_expected *expected, const struct provider_kek *which);
/* What the servers answered. `kek`: where a report says that it was kept. True: it was cached; then key_cached_confirm() is next. */
bool key_cached_settle(struct key_cached *cached, struct pool *pool, const struct kek_expected *expected,
                       const struct provider_kek *which, const struct kmip_report *reports, const uint8_t kek[KEY_SIZE]);
/* The servers were asked, and the TPM, of a key that was in force before: where it is not any more, it may have been retired
 * meanwhile, and its cache goes. `conf` is that of `expected`. */
void key_cached_confirm(struct key_cached *cached, const struct pool_conf *conf, const struct kek_expected *expected);
/* No key but that in force is cached. */
void key_cached_clear(struct key_cached *cached, const struct pool_conf *conf, const struct kek_expected *expected);

#endif
