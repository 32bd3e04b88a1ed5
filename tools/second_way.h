/*
 * A second way in beside the provider that a pool's key goes to, asked for at the swap as `coffer create` asks for it at the
 * beginning: a key that a TPM or key servers have is lost with them, and what was kept of the key of before opens nothing more.
 */
#ifndef COFFER_TOOLS_SECOND_WAY_H
#define COFFER_TOOLS_SECOND_WAY_H

#include "engine/pool/conf.h"
#include "tools/arguments.h"
#include "tools/tool.h"

struct second_way {
    const char *recovery;  /* "print", or a file to be made; NULL: no recovery key */
    const char *copy;      /* a file to be made, of a key in a TPM; NULL: none */
    char *copy_passphrase; /* in the arena; NULL: none */
    size_t copy_size;
};

/* Of --new-recovery, --no-recovery, --copy, --copy-passphrase-file and --no-copy, for a swap of the pool in `directory` to
 * `provider`: everything that can be known to fail is refused here, before the swap. ERROR_INVALID where a way is demanded and neither made nor declined; a
 * `rehearsal` needs none, makes none and asks for no passphrase. second_way_forget() whatever it returns. */
enum error second_way_take(const struct tool *tool, const struct arguments *arguments, const char *directory,
                           const struct provider_config *provider, bool rehearsal, struct second_way *way) CHECKED;
/* Makes them, after the swap, which stays what it is where this fails. `secret` (may be NULL) opens the key in force. */
enum error second_way_make(struct tool *tool, const char *directory, const struct second_way *way,
                           const struct provider_secret *secret) CHECKED;
void second_way_forget(struct second_way *way);

#endif
