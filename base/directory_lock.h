/* A lock of all processes on what lies in a directory. It goes with the process; nothing of it is on disk. */
#ifndef COFFER_BASE_DIRECTORY_LOCK_H
#define COFFER_BASE_DIRECTORY_LOCK_H

#include "base/error.h"

/* Waits a while for others, also of this process; ERROR_BUSY: they did not end. It is not to be taken twice: it waits for itself. */
enum error directory_lock(const char *directory, int *lock) CHECKED;
void directory_unlock(int lock);

#endif
