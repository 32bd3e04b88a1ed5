/* Which block devices are parts of one another. */
#ifndef COFFER_TOOLS_PARTITION_H
#define COFFER_TOOLS_PARTITION_H

#include <stdbool.h>
#include <sys/types.h>

#define PARTITION_SYSFS "/sys/dev/block"

/* Whether what is written to one is in the other: they are the same, or one is a partition of the other. `sysfs`:
 * PARTITION_SYSFS, or a test's. */
bool partition_overlaps(const char *sysfs, dev_t one, dev_t other);

#endif
