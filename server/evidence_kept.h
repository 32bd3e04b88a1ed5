/* What repairs kept in the pool directory (engine/pool/evidence_file.c), for health: it takes room, and says what the disks held. */
#ifndef COFFER_SERVER_EVIDENCE_KEPT_H
#define COFFER_SERVER_EVIDENCE_KEPT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

struct evidence_kept {
    size_t count;
    uint64_t bytes;
    char command[PATH_MAX + 64]; /* that removes them, as far as it fits */
};

void evidence_kept_look(const char *directory, struct evidence_kept *kept);

#endif
