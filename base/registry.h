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
/* Whether a name in that directory is a pool's link. */
bool registry_is_entry(const char *name);
bool registry_is_entry_of(const char *name, struct uuid pool);

/* Links, having removed links to sockets that are gone. */
void registry_add(struct uuid pool, const char *socket_path);
void registry_remove(struct uuid pool);

#endif
