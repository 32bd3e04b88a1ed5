/* What a command does with keys by itself, beside the daemon, for the audit (engine/pool/audit_pending.h). */
#ifndef COFFER_TOOLS_OFFLINE_AUDIT_H
#define COFFER_TOOLS_OFFLINE_AUDIT_H

#include <stdbool.h>

#include "tools/tool.h"

struct key_backup;
struct pool_conf;

/*
 * Records that `operation` ended in `result`, whose sentence stays the thread's. `key`: the pool's key, where it is at hand, as
 * the proof of the line; or NULL. `target` NULL: the provider in force. Of a plaintext pool nothing is recorded, nor is what was
 * mistyped (ERROR_INVALID). What cannot be
 * recorded is told where the operation succeeded, and fails nothing. Says whether it is recorded.
 */
bool offline_audit(struct tool *tool, const struct pool_conf *conf, const struct key_backup *key, const char *operation,
                   const char *target, enum error result);

/* The same in an open directory, whatever has the name of the conf's by now. */
bool offline_audit_in(struct tool *tool, int directory, const struct pool_conf *conf, const struct key_backup *key,
                      const char *operation, const char *target, enum error result);

#endif
