/* What a person kept of the pool's key, a backup or a recovery key, given to the daemon in place of what its provider has. */
#ifndef COFFER_TOOLS_UNLOCK_WAY_H
#define COFFER_TOOLS_UNLOCK_WAY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "tools/arguments.h"

/* As the parameters of a request have it. */
struct kept_key {
    char *member;     /* text of JSON, like "\"recovery\":true"; malloc'ed; NULL: none was given */
    char *passphrase; /* the backup's password, or the recovery key; in the arena */
    size_t size;
};

/* Of --key, --password-file and --recovery. `place`: the positional argument in which the recovery key's file may be. */
bool kept_key_is_given(const struct arguments *arguments);
/* One way at a time. ERROR_INVALID. */
enum error kept_key_check(const struct arguments *arguments, size_t place) CHECKED;
/* Reads it, or asks for it; a wrong password or file is told here. Empty where none was given. */
enum error kept_key_read(const struct arguments *arguments, size_t place, struct kept_key *kept) CHECKED;
void kept_key_forget(struct kept_key *kept);

#endif
