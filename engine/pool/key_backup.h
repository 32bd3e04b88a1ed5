/*
 * A backup of a pool's key: the key itself (the KDK, or where servers keep KEKs the KEK in force), and what else it takes to
 * open the disks by it alone: ids, the wrapped key slots of all devices, coffer.conf. On a medium it is a PKCS#12 file
 * (crypto/pkcs12.h), whose second bag is a JSON text of all that is not the key.
 *
 * Made and proved by whoever asks the provider for the key, which is the admin command: the daemon keeps no KDK, and
 * none crosses the control socket. Devices are read beside a daemon that has them, superblocks only.
 */
#ifndef COFFER_ENGINE_POOL_KEY_BACKUP_H
#define COFFER_ENGINE_POOL_KEY_BACKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/provider.h"
#include "engine/group/format.h"
#include "engine/pool/conf.h"
#include "engine/pool/k_pools.h"

#define KEY_BACKUP_FILE_MAX (1u << 20)

struct key_backup_device {
    struct uuid id;
    uint32_t slot_count;
    struct key_slot_format *slots; /* wrapped under the KEK of kek_number; malloc'ed */
};

/* In the arena: key_backup_destroy(). */
struct key_backup {
    struct uuid pool, provider;
    char provider_name[PROVIDER_NAME_MAX + 1];
    bool is_kek;                   /* `key` is a KEK, which a change of keys outdates; else a KDK, which --new-root does */
    uint64_t kek_number, kek_salt; /* of the KEK that was in force */
    uint64_t made;                 /* seconds since 1970 */
    uint8_t kcv[KCV_SIZE];
    uint8_t key[KEY_SIZE];
    char *conf;                    /* coffer.conf; NULL: it is not in it */
    size_t device_count;
    struct key_backup_device *devices;
};

struct key_backup_proof { size_t devices, slots; };

/* From the pool's directory, provider and devices: asks for the key with `secret` (may be NULL) and unwraps all with it.
 * ERROR_INVALID: the pool is not encrypted; else the provider's and superblock_open()'s. */
enum error key_backup_make(const struct pool_conf *conf, const struct provider_secret *secret,
                           struct key_backup **backup) CHECKED;
void key_backup_destroy(struct key_backup *backup); /* NULL is allowed */

/* Which device of the pool lies at `path`, as a superblock says that its key opens. ERROR_FOREIGN: none of the pool. */
enum error key_backup_identify(const struct key_backup *backup, const char *path, struct uuid *device) CHECKED;

/* The key of the pool's audit, which the devices hold under it. Errors as key_backup_prove()'s. */
enum error key_backup_audit_key(const struct key_backup *backup, const struct pool_conf *conf, struct k_pool *key) CHECKED;

/* Whether its key alone opens everything: the key slots in it, and the superblock of each device as it lies there now.
 * Changes nothing. ERROR_FOREIGN: another pool's; ERROR_WRONG_KEY: the pool's key is a newer one; superblock_open()'s. */
enum error key_backup_prove(const struct key_backup *backup, const struct pool_conf *conf,
                            struct key_backup_proof *proof) CHECKED;
/* Whether it is of the pool. ERROR_FOREIGN names both. */
enum error key_backup_check_pool(const struct key_backup *backup, struct uuid pool) CHECKED;

/* ---- key_backup_text.c ---------------------------------------------------------------------------------------------- */

/* The PKCS#12 file, malloc'ed. `brief`: without conf and devices, which a daemon needs not. */
enum error key_backup_encode(const struct key_backup *backup, bool brief, const struct provider_secret *password,
                             uint8_t **data, size_t *size) CHECKED;
/* Errors as pkcs12_decode()'s; what passes is sound: the key fits its check value. */
enum error key_backup_decode(const void *data, size_t size, const struct provider_secret *password,
                             struct key_backup **backup) CHECKED;

#endif
