/* The audit of a pool directory, as much of it as a backup takes. */
#ifndef COFFER_TOOLS_BACKUP_AUDIT_H
#define COFFER_TOOLS_BACKUP_AUDIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

/*
 * Of the file `name` in an open directory, by no link, the newest whole lines that have room in `size_max` bytes. *first: the
 * number of the first entry where some were left out; 0: none was; UINT64_MAX: some were, and no line left tells a number. *data is
 * malloc'ed. ERROR_NOT_FOUND; ERROR_INVALID: it is no regular file. `path` is for sentences.
 */
enum error backup_audit_read(int directory, const char *name, const char *path, size_t size_max, struct stat *status, char **data,
                             size_t *size, uint64_t *first) CHECKED;

#endif
