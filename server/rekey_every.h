/*
 * `rekey-every` of coffer.conf: the daemon makes a new key encryption key by itself when the one in force is that old, as `key
 * rekey --shallow` does. What fails is tried again, told in messages and the audit, and by health until it is done.
 */
#ifndef COFFER_SERVER_REKEY_EVERY_H
#define COFFER_SERVER_REKEY_EVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pool;

#define REKEY_EVERY_TEXT 512

/* What the last look found; times in seconds since 1970. */
struct rekey_every_facts {
    bool looked;
    uint64_t period;      /* of coffer.conf; 0: off */
    uint64_t since, due;  /* in force since; to be changed at; 0: not known yet */
    uint64_t to_come;     /* since then `since` has been a time still to come; 0: it is not */
    unsigned failures;    /* one after the other */
    uint64_t again;       /* when it is tried again */
    char sentence[REKEY_EVERY_TEXT]; /* why the last one failed; empty: none did */
    bool full;            /* that was for the number of old keys that nobody retired */
};

/* A passphrase that the daemon was given for its starts, as key_wait.h; *passphrase stays NULL where there is none. */
typedef enum error rekey_secret_find(void *context, char **passphrase, size_t *size);

/* One a process. `pool` and `context` outlive what follows. */
void rekey_every_init(struct pool *pool, rekey_secret_find *find, void *context);
/* A look now, and the change of keys where it is due; one thread at a time. */
void rekey_every_run(void);
/* What that found last. Any thread that was started later; nothing where it was not begun. */
void rekey_every_look(struct rekey_every_facts *facts);

/* One look, as though it were this time, with facts of the caller's. */
void rekey_every_step(struct pool *pool, rekey_secret_find *find, void *context, uint64_t now, struct rekey_every_facts *facts);

#endif
