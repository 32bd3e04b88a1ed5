/*
 * coffer.conf of a pool directory, read and checked whole, and written at creation. It says which devices, groups and
 * key providers there are: a disk never chooses any of them (SECURITY 4).
 *
 * A conf is immutable once read: any thread may use it. Relative paths were joined to the pool directory.
 */
#ifndef COFFER_ENGINE_POOL_CONF_H
#define COFFER_ENGINE_POOL_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/provider.h"
#include "engine/coffer.h"
#include "engine/pool/conf_grants.h"

#define POOL_CONF_NAME        "coffer.conf"
#define POOL_MEMORY_DEFAULT   (UINT64_C(256) << 20)
#define POOL_MEMORY_MIN       (UINT64_C(64) << 20)
#define POOL_MEMORY_MAX       (UINT64_C(16) << 40)
#define POOL_INDEX_MEMORY_MIN (UINT64_C(1) << 20)
#define POOL_RECOMPRESS_DEFAULT 6
#define POOL_TRASH_DEFAULT    (UINT64_C(7) * 86400)
#define POOL_KEY_PERIOD_DEFAULT (UINT64_C(365) * 86400)
#define POOL_CRYPTOPERIOD_DEFAULT (UINT64_C(730) * 86400) /* NIST SP 800-57 part 1: two years of encrypting */
#define POOL_REKEY_EVERY_MIN (UINT64_C(3600))
#define POOL_GROUPS_MAX       64
#define POOL_PROVIDERS_MAX    64

/* `required`: as on, and a conversion to plaintext is refused while the line stands. */
enum pool_encryption { POOL_ENCRYPTION_ON, POOL_ENCRYPTION_REQUIRED, POOL_ENCRYPTION_OFF };

struct pool_conf_device {
    struct uuid id;
    char *path;
};

struct pool_conf_group {
    char name[GROUP_NAME_MAX + 1];
    struct uuid id;
    size_t device_count;              /* 1 to GROUP_DEVICES_MAX */
    struct pool_conf_device *devices; /* in the order of their index */
};

struct pool_conf {
    char *directory;
    struct uuid pool;
    enum pool_encryption encryption;
    enum fingerprint_choice fingerprint;
    const struct provider_config *provider; /* the current one; NULL where encryption is off */
    uint64_t memory, index_memory;          /* bytes */
    uint64_t trash;                         /* seconds */
    uint64_t cryptoperiod;                  /* seconds: how long root key and data keys are to be used; 0: for ever */
    uint64_t rekey_every;                   /* seconds: how old a KEK becomes before the daemon makes a new one; 0: it does not */
    uint64_t key_period;                    /* seconds: how long one key encryption key is to be used; 0: for ever */
    enum codec_choice codec;
    int recompress; /* 0, or 1 to 19: the level of zstd for old data that LZ4 compressed */
    int zstd_level; /* 1 to 19 where codec is POOL_CODEC_ZSTD */
    size_t nbd_count;
    char **nbd; /* "unix:PATH" or "tcp:HOST:PORT" */
    char *control;
    struct pool_conf_grants grants; /* of the control socket, beside root and the daemon's user */
    bool insecure;
    size_t provider_count;
    struct provider_config *providers;
    size_t group_count;
    struct pool_conf_group *groups;
    struct conf *source; /* owns the texts that others point to */
};

/* Reads DIR/coffer.conf. ERROR_NOT_FOUND: not a pool directory; ERROR_INVALID: says file, line and key. */
enum error pool_conf_read(const char *directory, struct pool_conf **conf) CHECKED;
/* The same from memory, for the copy in a superblock and for tests. */
enum error pool_conf_parse(const char *directory, const char *text, struct pool_conf **conf) CHECKED;
void pool_conf_destroy(struct pool_conf *conf); /* NULL is allowed */

/* What a new pool's conf says. */
struct pool_conf_new {
    struct uuid pool;
    enum fingerprint_choice fingerprint;
    const struct provider_config *provider; /* NULL: encryption = off; its path as it is to be written */
    const char *group_name;
    struct uuid group;
    uint64_t memory; /* whole MiB; 0: the default does */
    size_t device_count;
    const char *const *device_paths; /* as they are to be written: pool_conf_can_hold() */
    const struct uuid *device_ids;
};

/* The text of a new conf, with comments; malloc'ed. */
enum error pool_conf_compose(const struct pool_conf_new *new, char **text) CHECKED;
/* The section of a provider in it, an empty line before; malloc'ed. */
enum error pool_conf_provider_compose(const struct provider_config *provider, char **text) CHECKED;
/* Whether a path can stand in a conf: without comma, control characters and blanks at its ends, and not too long. */
bool pool_conf_can_hold(const char *path);
/* Names of groups and providers: letters, digits, '-', '_' and '.', not beginning with '-' or '.'. */
bool pool_conf_name_is_valid(const char *name, size_t size_max);

#endif
