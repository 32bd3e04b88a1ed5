/* Files that hold keys are overwritten before they go. What a file system that copies on write, or a disk's spare cells, keep of
 * them is out of reach: docs/security.md says so. */
#ifndef COFFER_CRYPTO_OVERWRITE_H
#define COFFER_CRYPTO_OVERWRITE_H

#include <stddef.h>

#include "base/error.h"

/* Opens what has this name now, so that its bytes can be overwritten once another file has the name. `*descriptor` -1: there is
 * nothing, or the file has other names (told), whose it is to stay. */
enum error overwrite_begin(const char *path, int *descriptor) CHECKED;
/* Zeros over all of it, durable; closes. `path` is for the sentence. */
enum error overwrite_end(const char *path, int descriptor) CHECKED;
/* Both. */
enum error overwrite(const char *path) CHECKED;
/* file_replace() of the file behind `path`: a link stays one. The bytes of the one before, and what a crash left in PATH.new, are
 * overwritten; where those of the one before cannot be, that is told and no error, since the new file is there. */
enum error overwrite_replace(const char *path, const void *data, size_t size) CHECKED;
/* The same of a file that overwrite_begin() opened, if any, which ends it. */
enum error overwrite_behind(const char *path, int descriptor, const void *data, size_t size) CHECKED;
/* And the name goes as well. ERROR_NONE where there is none. */
enum error overwrite_and_remove(const char *path) CHECKED;

#endif
