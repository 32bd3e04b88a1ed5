/*
 * flock(2) on an open directory, since the files in it are replaced. It is held for reading and writing a small file or two,
 * so who waits longer than for that waits for something that hangs. A crash takes it back.
 */
#include "base/directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"

#define LOCK_WAIT  (10 * CLOCK_SECOND)
#define LOCK_PAUSE (20 * CLOCK_MILLISECOND)

enum error directory_lock(const char *directory, int *lock)
{
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), number = 0;
    if (opened < 0)
        return error_from_errno(errno, "open %s", directory);
    for (uint64_t until = clock_monotonic() + LOCK_WAIT;;) {
        number = flock(opened, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
        if ((number != EWOULDBLOCK && number != EINTR) || clock_monotonic() >= until)
            break;
        clock_sleep(LOCK_PAUSE);
    }
    if (number == 0) {
        *lock = opened;
        return ERROR_NONE;
    }
    close(opened);
    return number == EWOULDBLOCK
               ? error_explain(ERROR_BUSY, "another process is changing files of %s right now: try again", directory)
               : error_from_errno(number, "lock %s", directory);
}

void directory_unlock(int lock) { close(lock); }
