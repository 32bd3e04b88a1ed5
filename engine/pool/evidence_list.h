/* Files that repairs kept in a pool directory (evidence_file.c), to be named or removed. See evidence_list.c. */
#ifndef COFFER_ENGINE_POOL_EVIDENCE_LIST_H
#define COFFER_ENGINE_POOL_EVIDENCE_LIST_H

#include <stdint.h>

#include "base/error.h"

/* `bytes`: what it takes of its file system. The first error ends the listing. */
typedef enum error evidence_visit(int directory, const char *name, uint64_t bytes, void *context);
/* Of a directory that is not there: ERROR_NOT_FOUND. */
enum error evidence_list(const char *directory, evidence_visit *visit, void *context) CHECKED;

#endif
