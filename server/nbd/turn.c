/*
 * Turns. Waking a sleeping thread and going to sleep oneself costs more than a small batch; so a turn may be given up
 * without waking anybody, where the thread that gives it up is soon back.
 */
#include "server/nbd/turn.h"

void turn_init(struct turn *turn)
{
    *turn = (struct turn){.taken = false};
    mutex_init(&turn->lock, RANK_SERVER);
    condition_init(&turn->free);
}

void turn_deinit(struct turn *turn)
{
    condition_deinit(&turn->free);
    mutex_deinit(&turn->lock);
}

void turn_take(struct turn *turn) NO_THREAD_SAFETY_ANALYSIS
{
    mutex_lock(&turn->lock);
    turn->waiting++;
    while (turn->taken)
        condition_wait(&turn->free, &turn->lock);
    turn->waiting--;
    turn->taken = true;
    mutex_unlock(&turn->lock);
}

void turn_give(struct turn *turn, bool hand_on) NO_THREAD_SAFETY_ANALYSIS
{
    mutex_lock(&turn->lock);
    turn->taken = false;
    bool wake = hand_on && turn->waiting > 0;
    mutex_unlock(&turn->lock);
    if (wake)
        condition_signal(&turn->free);
}

bool turn_is_unwanted(struct turn *turn)
{
    mutex_lock(&turn->lock);
    bool unwanted = turn->waiting == 0;
    mutex_unlock(&turn->lock);
    return unwanted;
}
