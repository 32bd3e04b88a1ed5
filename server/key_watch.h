/*
 * Whether a pool that is open could be opened again: a thread asks the KMIP servers of its provider twice a minute for all
 * but the key, and once a day for the key as well; of a key file it looks as often whether it is there and holds the key in
 * force, which its check value tells without the key; the TPM that sealed one is asked as key_sealed.c says. `health` tells (UNLOCK_READY). The pool itself never waits for it.
 */
#ifndef COFFER_SERVER_KEY_WATCH_H
#define COFFER_SERVER_KEY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/pool/key_needs.h"

struct pool;

#define KEY_WATCH_TEXT 1100

/* What the last look found. */
struct key_watch_facts {
    bool looked;                   /* else nothing is known: no look yet, or no key server */
    bool file;                     /* the key is in a file, and not on servers */
    bool tpm, pin;                 /* a TPM sealed that file's key; and it has a PIN, which was not tried */
    uint64_t time_taken;           /* seconds since 1970: when the TPM gave the key last; 0: it was not asked for it */
    unsigned servers, ready;       /* asked, and those that would give the key */
    bool inactive;                 /* one of them calls the key Deactivated or Compromised */
    uint64_t time, time_fetched;   /* seconds since 1970: of the look, and of the last that fetched the key */
    char devices[KEY_NEEDS_SIZE];  /* that need a key which no server has any more; empty where that is not so */
    char cache_failure[400];       /* why the TPM does not cache the key; empty where it does, or is not asked to */
    char sentences[KEY_WATCH_TEXT]; /* of those that failed or call it inactive; empty where there is none */
};

/* One watch a process. `pool` outlives it. */
enum error key_watch_start(struct pool *pool) CHECKED;
void key_watch_stop(void); /* also where it was not started */
/* A look now: another key is in force, or the pool was opened. Also where it was not started. Any thread. */
void key_watch_wake(void);

/* Any thread that was started later. */
void key_watch_look(struct key_watch_facts *facts);

#endif
