/* The name of a device that is still its name after the next start of the machine. */
#ifndef COFFER_ENGINE_POOL_STABLE_PATH_H
#define COFFER_ENGINE_POOL_STABLE_PATH_H

#include "base/error.h"

/* malloc'ed and absolute: of a block device a link in /dev/disk where there is one, of anything else the real path. */
enum error stable_path(const char *path, char **stable) CHECKED;

#endif
