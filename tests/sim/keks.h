/* Which KEKs open what lies on the devices, whatever the engine says of it. */
#ifndef COFFER_TESTS_SIM_KEKS_H
#define COFFER_TESTS_SIM_KEKS_H

#include <stdbool.h>

#include "engine/coffer.h"

/* Begins to note every KEK that anything is wrapped or opened under. */
void keks_begin(void);

/* What a crash left, before anything is opened: the KEK that the witness names opens every device. Where the last change was
 * answered well no other KEK of this world unwraps anything, and where the last deep rekey ended no device has two data keys, or takes
 * a K_pool that was replaced, and every superblock and checkpoint record is of the new K_log. The K_pool of the witness is on every
 * device. */
void keks_judge_crash(void);
/* Behind an open: every copy of every superblock is opened by one KEK, that in force, and by no other that there ever was.
 * `one_dek`: and holds one data key, and demands the newest K_pool; and every header of a segment is under the newest K_log, as is
 * every record. */
void keks_judge_open(struct pool *pool, const struct pool_key_status *status, bool one_dek);

/* One device is away: the pool is refused, and nothing is written, neither to the others nor to the pool directory. */
void keks_try_absent(unsigned device);

#endif
