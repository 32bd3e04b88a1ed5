/*
 * A write that finds no space fails in a guest, which may be paused for it or not say so; `coffer health` knows only while it
 * is so. So the daemon's messages tell it, too, but not for each of the writes that fail.
 *
 * One number, of the whole daemon, without a lock: who changes it tells. Nothing on disk.
 */
#include <stdatomic.h>

#include "base/message.h"
#include "server/nbd/no_space.h"

static _Atomic uint64_t again_at;

bool no_space_tell(uint64_t now)
{
    uint64_t until = atomic_load(&again_at);
    if (now < until || !atomic_compare_exchange_strong(&again_at, &until, now + NO_SPACE_PAUSE))
        return false;
    message(MESSAGE_WARNING, "the pool is full: writes are answered with \"no space\" (`coffer health` tells more; this is told "
                             "again after ten minutes, where it goes on)");
    return true;
}
