/*
 * Whose turn it is at a connection's socket: at most one thread's. A turn is held while its thread waits for the
 * client, so it is no mutex; clang's analysis checks it like one.
 */
#ifndef COFFER_SERVER_NBD_TURN_H
#define COFFER_SERVER_NBD_TURN_H

#include <stdbool.h>

#include "base/thread.h"

struct CAPABILITY("turn") turn {
    struct mutex lock; /* RANK_SERVER, never held while another is taken */
    struct condition free;
    bool taken GUARDED_BY(lock);
    unsigned waiting GUARDED_BY(lock); /* threads in turn_take */
};

void turn_init(struct turn *turn);
void turn_deinit(struct turn *turn);
void turn_take(struct turn *turn) ACQUIRE(turn);
/* Without `hand_on` a thread that waits goes on sleeping, and the turn goes to whoever comes next. Only a thread that
 * will come back may do so. */
void turn_give(struct turn *turn, bool hand_on) RELEASE(turn);
/* Does nobody wait? */
bool turn_is_unwanted(struct turn *turn);

#endif
