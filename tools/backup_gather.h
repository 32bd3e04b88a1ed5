/* What of a pool directory a backup holds. */
#ifndef COFFER_TOOLS_BACKUP_GATHER_H
#define COFFER_TOOLS_BACKUP_GATHER_H

#include "engine/pool/conf.h"
#include "stream/bundle.h"

/*
 * coffer.conf, the files of its providers that lie in the directory (sealed keys as they are, those of a change of keys
 * that is under way too, certificates), recovery.json, deep-rekey, key-dates, key-ages, the audit, and of each device one
 * superblock. What a provider needs and lies elsewhere, and a device that cannot be read, is named as absent. Never in it: the witness, disks.
 * Read beside a daemon until nothing changed meanwhile. ERROR_BUSY: it goes on changing.
 */
enum error backup_gather(const struct pool_conf *conf, struct bundle **bundle) CHECKED;

/* What of the audit is not in it stands among what is absent, by such a name: the oldest part where not all had room. It
 * outdates no backup. */
#define BACKUP_RECORD "audit"
bool backup_is_of_record(const struct bundle_item *absent);

/* Whether both hold the same, whenever they were made; else *what is a name of what differs. */
bool backup_is_same(const struct bundle *a, const struct bundle *b, const char **what);
/* Whether what the backup is good for is as it was: without the audit, dates, ages and orders. */
bool backup_is_current(const struct bundle *backup, const struct bundle *now, const char **what);

#endif
