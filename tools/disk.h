/* An object or snapshot of a running pool, read and written over NBD as any client would: it takes no other right. */
#ifndef COFFER_TOOLS_DISK_H
#define COFFER_TOOLS_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/arguments.h"
#include "tools/tool.h"

#define DISK_PIECE (1u << 20) /* of one read or write */

struct disk;

/* Opens the export; `context` (may be NULL) is the metadata context that disk_ranges() reads. Where cofferd serves is what
 * --nbd says, else the conf. */
enum error disk_open(struct tool *tool, const struct arguments *arguments, const char *export, const char *context,
                     struct disk **disk) CHECKED;
/* Returns once the server has let go of it. NULL is allowed. */
void disk_close(struct disk *disk);

/* What the context says of a range: runs from `offset` on, which may end before the range does. */
struct disk_range { uint64_t offset, length; uint32_t state; };
#define DISK_RANGES_MAX 1024
enum error disk_ranges(struct disk *disk, uint64_t offset, uint64_t length, struct disk_range *ranges, size_t *count) CHECKED;

enum error disk_read(struct disk *disk, uint64_t offset, void *data, size_t size) CHECKED;
enum error disk_write(struct disk *disk, uint64_t offset, const void *data, size_t size) CHECKED;
enum error disk_zero(struct disk *disk, uint64_t offset, uint64_t length) CHECKED;
enum error disk_flush(struct disk *disk) CHECKED;

#endif
