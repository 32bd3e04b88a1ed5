/*
 * An object or snapshot of a running pool, read and written over NBD as any client would: it takes no other right.
 *
 * Requests are pipelined: up to DISK_DEPTH, and DISK_BYTES of data, are on their way, and each is done in the order in which they were made. What fails
 * stays the oldest, so all that was done is all before it.
 */
#ifndef COFFER_TOOLS_DISK_H
#define COFFER_TOOLS_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/arguments.h"
#include "tools/tool.h"

#define DISK_PIECE (1u << 20) /* of one read or write */
#define DISK_DEPTH 64         /* requests on their way: small ones wait for answers, not for bytes */
#define DISK_BYTES (2u << 20) /* of their data: one piece is taken while the next comes; more only falls out of caches */

struct disk;

/* A part of what was asked for. DISK_NOTE asks nothing: it is done in its turn. */
enum disk_action { DISK_READ, DISK_WRITE, DISK_ZERO, DISK_NOTE };
struct disk_piece {
    enum disk_action action;
    uint64_t offset, length;
    const uint8_t *data; /* of DISK_READ; until the function returns */
};
/* Called in order, by whatever waits or asks for more; an error ends that. */
typedef enum error disk_done(void *context, const struct disk_piece *piece);

/* Opens the export; `context` (may be NULL) is the metadata context that disk_ranges() reads. Where cofferd serves is what
 * --nbd says, else the conf. */
enum error disk_open(struct tool *tool, const struct arguments *arguments, const char *export, const char *context,
                     struct disk **disk) CHECKED;
/* Who is told what was done; before the first request. */
void disk_tell(struct disk *disk, disk_done *done, void *context);
/* Returns once the server has let go of it. NULL is allowed. */
void disk_close(struct disk *disk);

/* What the context says of a range: runs from `offset` on, which may end before the range does. Waits for the answer, not for
 * requests on their way. */
struct disk_range { uint64_t offset, length; uint32_t state; };
#define DISK_RANGES_MAX 1024
enum error disk_ranges(struct disk *disk, uint64_t offset, uint64_t length, struct disk_range *ranges, size_t *count) CHECKED;

/* Asks; `data` (at most DISK_PIECE bytes) is copied. An error may be that of an earlier request. */
enum error disk_read(struct disk *disk, uint64_t offset, uint64_t length) CHECKED;
enum error disk_write(struct disk *disk, uint64_t offset, const void *data, size_t size) CHECKED;
enum error disk_zero(struct disk *disk, uint64_t offset, uint64_t length) CHECKED;
enum error disk_note(struct disk *disk, uint64_t offset, uint64_t length) CHECKED;
/* Waits until all is done. */
enum error disk_settle(struct disk *disk) CHECKED;
/* What was done is durable. */
enum error disk_flush(struct disk *disk) CHECKED;

#endif
