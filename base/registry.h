/*
 * The list of running pools: a directory with a symbolic link UUID.pool to each control socket, so that `coffer` needs
 * no -C where one pool runs. The daemon writes it, the command reads it. It is a convenience: nothing fails where it
 * cannot be written.
 */
#ifndef COFFER_BASE_REGISTRY_H
#define COFFER_BASE_REGISTRY_H

#include <stdbool.h>

#include "base/uuid.h"

/* /run/coffer for root, coffer in $XDG_RUNTIME_DIR for others, $COFFER_RUN for tests; NULL where there is none.
 * malloc'ed. */
char *registry_directory(void) CHECKED;
/* Where root lists the pools that it runs, for others to look as well: one may let them in. NULL where that is the same, or for
 * tests. malloc'ed. */
char *registry_of_root(void) CHECKED;
/* Whether a name in that directory is a pool's link. */
bool registry_is_entry(const char *name);
bool registry_is_entry_of(const char *name, struct uuid pool);

/* Makes the directory, where it is missing: a control socket may lie in it. */
void registry_prepare(void);
/* Links, having removed links to sockets that are gone. */
void registry_add(struct uuid pool, const char *socket_path);
void registry_remove(struct uuid pool);

#endif
