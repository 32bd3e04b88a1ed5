/* Making a recovery key, of `coffer key recovery` and `coffer create --recovery`. */
#ifndef COFFER_TOOLS_KEY_RECOVERY_H
#define COFFER_TOOLS_KEY_RECOVERY_H

#include "crypto/provider.h"
#include "engine/pool/conf.h"
#include "tools/tool.h"

/* Whether `to` ("print", or a file that is to be made, outside of the pool directory) will do, before anything else is done. */
enum error recovery_target_check(const struct tool *tool, const char *directory, const char *to) CHECKED;
/* Whether the directory of the file `to` takes new files: before a pool, or a change of its key, whose file could not be made. */
enum error recovery_parent_check(const char *to) CHECKED;
/* A new recovery key of the pool, printed or written to that file; the pool directory gets what it unwraps, in place of
 * what the last one did. `secret` (may be NULL) opens the provider's key. */
enum error recovery_make(struct tool *tool, const struct pool_conf *conf, const struct provider_secret *secret,
                         const char *to) CHECKED;

#endif
