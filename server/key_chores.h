/*
 * What the daemon does for a pool's keys by itself: it records how old they are, changes one that is due (rekey_every.h), and says
 * once a day what a person neglects (key_reminder.h).
 */
#ifndef COFFER_SERVER_KEY_CHORES_H
#define COFFER_SERVER_KEY_CHORES_H

#include "base/error.h"
#include "server/chores.h"
#include "server/rekey_every.h"

/* One a process. `pool` and `context` outlive it; before any thread that looks what rekey-every found. */
enum error key_chores_start(struct pool *pool, rekey_secret_find *find, void *context) CHECKED;
void key_chores_stop(void); /* also where it was not started */

/* The same chores without a thread, by this clock, for tests; behind rekey_every_init(). To be ended by chores_deinit(). */
void key_chores_init(struct chores *chores, struct pool *pool, uint64_t (*clock)(void));

#endif
