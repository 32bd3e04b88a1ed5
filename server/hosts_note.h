/* What an answer says of a tag `kms:NAME` whose provider there is not (yet). */
#ifndef COFFER_SERVER_HOSTS_NOTE_H
#define COFFER_SERVER_HOSTS_NOTE_H

#include <jansson.h>

struct pool;

/* Adds `note`, a sentence, to an object that has such a tag. Nothing where coffer.conf cannot be read. */
void hosts_note_add(struct pool *pool, json_t *object);

#endif
