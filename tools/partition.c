/*
 * Disks and their partitions, as sysfs tells them: the folder of a partition lies in its disk's and has a file `partition`. What
 * cannot be read there is taken for a whole disk. No locks; nothing is written.
 */
#include "tools/partition.h"

#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The disk that a partition is of; any other device itself. */
static dev_t disk_of(const char *sysfs, dev_t number)
{
    char file[PATH_MAX];
    unsigned major_number, minor_number;
    snprintf(file, sizeof file, "%s/%u:%u/partition", sysfs, major(number), minor(number));
    if (access(file, F_OK) != 0)
        return number;
    snprintf(file, sizeof file, "%s/%u:%u/../dev", sysfs, major(number), minor(number));
    FILE *stream = fopen(file, "re");
    if (stream == NULL)
        return number;
    int found = fscanf(stream, "%u:%u", &major_number, &minor_number);
    fclose(stream);
    return found == 2 ? makedev(major_number, minor_number) : number;
}

bool partition_overlaps(const char *sysfs, dev_t one, dev_t other)
{
    return one == other || disk_of(sysfs, one) == other || disk_of(sysfs, other) == one;
}
