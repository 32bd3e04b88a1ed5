/*
 * What was done with keys beside the daemon, until it is in the audit: the file `audit-pending` of the pool directory. The admin
 * command, which makes backups and changes coffer.conf by itself, adds a line for each; who has the pool open takes the lines into
 * the audit, where each says that it was `offline`, and when. Only he writes the audit, so that its chain has one end.
 *
 * A line is one of the audit (audit.h). Whoever had the pool's key at hand sealed it, behind a constant instead of an entry: no
 * line of the one file is one of the other. A line without that seal is taken all the same and says `unproven`: everybody who
 * can write the pool directory can write such a line. Nobody can prove that a line was removed before it was taken.
 */
#ifndef COFFER_ENGINE_POOL_AUDIT_PENDING_H
#define COFFER_ENGINE_POOL_AUDIT_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/kdf.h"
#include "engine/coffer.h"

#define AUDIT_PENDING_NAME "audit-pending"
#define AUDIT_PENDING_MAX  (256u << 10) /* bytes; more is refused */
#define AUDIT_PENDING_AT_ONCE 100 /* entries of one taking, each of which is written durably while the pool is locked by it */

struct audit;
struct k_pool;

/* What a result says at its end of an entry that was taken: when it was made beside the daemon, in seconds since 1970, and
 * whether a seal proved that. *made is 0 where the date is none that can be read. False: it is no such entry. */
bool audit_pending_mark_read(const char *result, uint64_t *made, bool *proved);
/* Of the result of what was done online, which key servers and others have a say in: what looks like such a mark is broken. */
void audit_pending_mark_break(char *result);

/* Adds a line, with the time of now, durable. `key`: audit_key_derive()'s, of that K_pool; NULL: it is not at hand. ERROR_TOO_LARGE. */
enum error audit_pending_add(const char *directory, const struct k_pool *key, const struct pool_audit_entry *entry) CHECKED;
/* The same in an open directory, whatever has its name by now; `directory` is for sentences. */
enum error audit_pending_add_in(int opened, const char *directory, const struct k_pool *key, const struct pool_audit_entry *entry) CHECKED;

/* Takes what is there, but no more than so many entries, into an audit that has begun, and cuts it off the file, or removes that.
 * After a crash in between lines are taken twice, never lost. Lines that are no entries become one, which counts them. What fails
 * is a message, and is tried again by the next call. Says whether the anchor moved. Waits for nobody. */
bool audit_pending_take(const char *directory, struct audit *audit);
/* What it does with the text of the file: how many bytes at the beginning were taken, and whether the anchor moved. */
size_t audit_pending_take_text(struct audit *audit, const char *text, size_t size, bool *moved);

#endif
