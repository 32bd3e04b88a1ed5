/*
 * Two roots at once. While a change of keys brings a new KDK, it lies beside the old one: the file of the provider is
 * PATH, that of the new KDK PATH.next-N, where N is the number of the first KEK made of it. KEK N is asked of PATH.next-N where
 * there is one, every other KEK of PATH; when the change is complete PATH.next-N takes the place of PATH. Providers that have no
 * file (kmip) have nothing to choose: the last two do nothing for them.
 */
#ifndef COFFER_CRYPTO_PROVIDER_ROOT_H
#define COFFER_CRYPTO_PROVIDER_ROOT_H

#include <stdint.h>

#include "base/error.h"
#include "crypto/provider.h"

#define ROOT_PATH_MAX 4096

struct provider_root {
    struct provider_config config; /* what the provider's operations get; ->path may be `path` */
    char base[ROOT_PATH_MAX];      /* PATH, behind all links */
    char path[ROOT_PATH_MAX];      /* PATH.next-N */
};

/* Where the KDK of KEK `number` lies; not in what was overwritten. ERROR_TOO_LARGE: the path is too long. */
enum error provider_root_choose(const struct provider_config *config, uint64_t number, struct provider_root *root) CHECKED;
/* Where a new KDK for KEK `number` is to be made. */
enum error provider_root_new(const struct provider_config *config, uint64_t number, struct provider_root *root) CHECKED;
/* The new KDK takes the place of the old one, whose bytes are overwritten before: KEK `number` is in force, and nothing is
 * under an older one any more. Does nothing where there is no PATH.next-number, or one that was overwritten, which goes.
 * ERROR_FOREIGN, ERROR_CORRUPT: one of the two is no key of this provider, and both are left alone. `directory` is the pool's,
 * whose lock keeps others from PATH meanwhile. */
enum error provider_root_settle(const struct provider_config *config, uint64_t number, const char *directory) CHECKED;
/* Overwrites and removes PATH.next-number: its change of keys did not happen. Does nothing where there is none, or
 * another provider's. */
enum error provider_root_forget(const struct provider_config *config, uint64_t number) CHECKED;

/* Overwrites and removes PATH, every PATH.next-N, and PATH.new and PATH.next-N.new, which a crash may leave: nothing needs what
 * is under these keys, or it is given up. ERROR_NONE where there is none; zeros of a crash go too. ERROR_FOREIGN,
 * ERROR_CORRUPT: what lies there is not this provider's key, and left alone. */
enum error provider_root_destroy(const struct provider_config *config) CHECKED;

#endif
