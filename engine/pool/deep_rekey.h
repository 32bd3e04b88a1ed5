/*
 * The deep rekey of a pool in use: new data keys, and all that is stored encrypted anew under them. deep_rekey.c tells the
 * story, engine/group/reencrypt.c how a segment gets another key.
 */
#ifndef COFFER_ENGINE_POOL_DEEP_REKEY_H
#define COFFER_ENGINE_POOL_DEEP_REKEY_H

#include "engine/group/reencrypt.h"
#include "engine/pool/pool.h"

struct deep_rekey {
    struct pool *pool;
    struct thread thread;
    struct mutex mutex; /* RANK_LEAF */
    struct condition wake;
    enum deep_rekey_state state;  /* under the mutex, as all to `stopping` */
    uint64_t rate;
    uint64_t bytes, nanoseconds;  /* of segments that were written, and the time it took, pauses of the throttle included */
    uint64_t started;             /* seconds since 1970 */
    uint64_t blocks_lost;
    bool log_key_stays;           /* it brings no new K_log */
    enum error holdup;            /* what the last turn met */
    bool armed; /* the slots are there, and `kek` */
    bool stopping;
    uint8_t *kek;                 /* in the arena: the one in force when it began; by whoever holds pool->changing */
    /* the thread's own */
    struct reencrypt reencrypt;
    bool journal_left;
    uint64_t folded_at, user_requests;
    uint64_t fold;     /* a merge that is awaited; 0: none */
    uint64_t end_rest; /* where nothing can be moved now */
    enum error told;
    bool told_unread;
    uint64_t slots_pause; /* behind a writing of key slots that failed; 0: none did */
    uint64_t holdup_rest; /* behind the last turn */
};

/* What a person said to a job, as the pool directory keeps it (deep_rekey_file.c). */
#define DEEP_REKEY_NAME "deep-rekey"
struct deep_rekey_orders {
    uint32_t data_key; /* that the job brings */
    uint64_t rate;
    bool paused;
};
/* False where there are none of that job; what cannot be understood is told. */
bool deep_rekey_orders_load(const char *directory, uint32_t data_key, struct deep_rekey_orders *orders);
enum error deep_rekey_orders_save(const char *directory, const struct deep_rekey_orders *orders) CHECKED;
/* The same of a job that is to begin; where there is nothing to say, only over what another left. */
enum error deep_rekey_orders_begin(const char *directory, const struct deep_rekey_orders *orders) CHECKED;
void deep_rekey_orders_forget(const char *directory);
/* The orders of the job that is under way, as they are now, to the pool directory. Under pool->lock. */
enum error deep_rekey_orders_keep(struct pool *pool) CHECKED;

/* deep_rekey_keys.c. The highest number of a current key of any device; whether all devices have the highest of every
 * kind. By whoever holds pool->changing, or pool->lock. */
uint32_t deep_rekey_number(const struct group *group, enum key_kind kind);
bool deep_rekey_keys_are_level(const struct group *group);
/* The keys of each device with those of these numbers as current ones, or without what nothing needs any more, when headers and
 * records are under the current K_log; into GROUP_DEVICES places. A K_log is new only where all find room for it. Of `k_pools`
 * each gets what it lacks. */
struct k_pools;
enum error deep_rekey_keys_with(struct group *group, const struct keyring_new *numbers, const struct k_pools *k_pools,
                                struct keyring **keyrings) CHECKED;
enum error deep_rekey_keys_without(struct group *group, struct keyring **keyrings) CHECKED;
/* Those of them that are not the group's are freed. */
void deep_rekey_keys_drop(struct group *group, struct keyring **keyrings);
/* Whether the job that is under way brings no new K_log: as long as it is, a new one is not demanded yet. */
bool deep_rekey_log_key_stays(const struct group *group);

/* At an open: goes on with what is under old keys. `kek`: the one in force. */
enum error deep_rekey_start(struct pool *pool, const uint8_t kek[KEY_SIZE]) CHECKED;
/* Whether a device has a DEK that is not its current one. */
bool deep_rekey_is_unfinished(const struct group *group);
/* Before the group closes. */
void deep_rekey_stop(struct pool *pool);
/* Another KEK is in force. By whoever holds pool->changing. */
void deep_rekey_kek_changed(struct pool *pool, const uint8_t kek[KEY_SIZE]);

#endif
