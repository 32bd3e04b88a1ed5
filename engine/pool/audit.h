/*
 * The audit: who did what with the keys of a pool, in the file `audit` of the pool directory, which only grows. An entry is
 * one line of JSON; its seal is an HMAC, under a key derived from K_pool, over the seal before it and the entry. So an
 * entry that was changed, taken out or put in shows; that the end was cut off, or the whole replaced, shows by the
 * *anchors*, the number of the last entry and its seal, which stand in the witness at once and on every device in each
 * checkpoint record, one of which each change of keys has written, and the daemon once a day (not in the superblock: to write that needs the KEK, which nobody keeps). Who holds K_pool can forge an
 * audit, but not the anchors of an earlier day that were copied elsewhere.
 *
 * A deep rekey makes another K_pool, by whose key entries are sealed from then on; each says the number of its own. Numbers never
 * fall, and behind the anchor none may be lower than what the superblocks demand: so who keeps an old K_pool can neither go on
 * under it behind the change, nor cut the change off and go on, for the anchors, which he cannot make, tell of it.
 * Entries under a replaced key are proved by those behind them alone.
 *
 * What happens while no key is there is entered once one is. What cannot be written is kept, up to a limit, and told.
 *
 * Threads: any; a mutex of its own, which is held over the write of a line.
 */
#ifndef COFFER_ENGINE_POOL_AUDIT_H
#define COFFER_ENGINE_POOL_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/kdf.h"
#include "engine/coffer.h"
#include "engine/group/checkpoint.h"
#include "engine/pool/k_pools.h"

#define AUDIT_NAME     "audit"
#define AUDIT_LINE_MAX 1024 /* bytes, with its newline */
#define AUDIT_WAITING_MAX 256 /* entries that are kept until they can be written */

/* One line, without its newline. Decoding checks form and ranges, not the seal. ERROR_CORRUPT. */
struct audit_line {
    struct pool_audit_entry entry;
    uint8_t seal[32];
};
enum error audit_line_decode(const char *text, size_t size, struct audit_line *line) CHECKED;
/* The seal of an entry behind another; zeros before the first. */
enum error audit_seal(const uint8_t key[KEY_SIZE], const uint8_t before[32], const struct pool_audit_entry *entry,
                      uint8_t seal[32]) CHECKED;
/* Sets its time, and what is not ASCII in it to '?': others' texts come in here, and what is not UTF-8 would make no JSON. */
void audit_entry_clean(struct pool_audit_entry *entry);
/* With its newline; malloc'ed. */
enum error audit_line_encode(const struct audit_line *line, char **text) CHECKED;

struct audit;

struct audit *audit_create(const char *directory); /* NULL: no memory */
void audit_destroy(struct audit *audit); /* NULL is allowed */

/* From here on entries are written: first what waits. `anchor` is the furthest that is known. A file that is not as the
 * anchor says is left as it is and told; entries go on behind it, the first of them says what was found. */
enum error audit_begin(struct audit *audit, struct uuid pool, const struct k_pools *k_pools,
                       const struct audit_anchor *anchor) CHECKED;
/* Other K_pools are there, current or demanded, from now on. Nothing to do before audit_begin(). */
enum error audit_rekey(struct audit *audit, struct uuid pool, const struct k_pools *k_pools) CHECKED;
void audit_end(struct audit *audit); /* the key is forgotten; entries wait again */

/* Makes the entry durable, its number, time and K_pool being set here, or keeps it. Says whether the anchor moved. */
bool audit_add(struct audit *audit, const struct pool_audit_entry *entry);
/* Whether the line is sealed behind `before` by a key of the audit that is not replaced; false while there is none. */
bool audit_proves(struct audit *audit, const uint8_t before[32], const struct audit_line *line);
/* How far it is; count 0: nothing was written yet. */
void audit_anchor_get(struct audit *audit, struct audit_anchor *anchor);

/* What is wrong with it, as pool_audit_state says. */
void audit_state(struct audit *audit, struct pool_audit_state *state);

/* Reads the file from its beginning and verifies it against the anchor; tells each entry. `verdict`: see pool_audit_read(). */
enum error audit_read(struct audit *audit, const struct audit_anchor *anchor, pool_audit_visit *visit, void *context,
                      struct pool_audit_verdict *verdict) CHECKED;

#endif
