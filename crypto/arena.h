/*
 * Where secrets live: a locked arena that is left out of core dumps and wiped in a forked child (MADV_DONTDUMP,
 * MADV_WIPEONFORK, mlock). OpenSSL keeps round keys on its ordinary heap, so the arena stands in for OpenSSL's
 * allocator as well (CRYPTO_set_mem_functions), which works only before OpenSSL's first allocation: arena_start() is
 * the first statement of main. It also sets PR_SET_DUMPABLE to 0 and RLIMIT_CORE to 0.
 */
#ifndef COFFER_CRYPTO_ARENA_H
#define COFFER_CRYPTO_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Must be called first in main, once. Where locking fails for lack of RLIMIT_MEMLOCK, the arena works unlocked and
 * arena_is_locked() says so. */
enum error arena_start(void) CHECKED;
bool arena_is_locked(void);

/* Zeroed memory for secrets, wiped when freed; NULL when out of memory. Works (on the ordinary heap, wiped all the
 * same) where arena_start() was never called, as in unit tests. */
void *arena_allocate(size_t size) CHECKED;
void arena_free(void *secret);

#endif
