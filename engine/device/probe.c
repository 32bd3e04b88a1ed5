/*
 * What a path carries, before it becomes a device of a pool, and its removal for `--overwrite`.
 *
 * libblkid knows file systems, partition tables, RAID and LVM members, swap; Coffer's own superblock is told by its
 * first bytes; mounts and holders by exclusive.c. A signature that libblkid finds ambivalent (two at once) counts as
 * something, and so does one with a wrong checksum: it may be somebody's damaged data.
 *
 * Much that is worth keeping has no signature that libblkid knows: disk images (qcow2, VMDK, VHDX), archives, databases,
 * plain dm-crypt, a Coffer device whose first block is bad. So a path is empty only where its ends are zeros as well, as
 * they are in a new or sparse file and on a disk that was discarded. The ends are those that a wipe clears: what it left
 * is empty, and what is empty loses nothing by it.
 *
 * Wiping clears both ends, where superblocks and partition tables stand, then whatever libblkid still finds, and
 * believes itself only when a fresh probe finds nothing. A crash in between leaves a path that still carries something,
 * or nothing; the wipe can be repeated.
 */
#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/device/device.h"
#include "engine/device/exclusive.h"
#include "engine/device/kind.h"

/* At each end: covers all that keeps copies at the end of a disk (GPT, RAID, ZFS labels) and Coffer's own copies. */
#define END_BYTES   (UINT64_C(16) << 20)
#define END_PIECE   ((size_t)1 << 20)
/* More signatures than this on one device are not signatures any more. */
#define WIPE_ROUNDS 64

static void probe_free_scope(blkid_probe *probe)
{
    if (*probe != NULL)
        blkid_free_probe(*probe);
}
#define AUTO_PROBE __attribute__((cleanup(probe_free_scope)))

static blkid_probe probe_make(int file)
{
    blkid_probe probe = blkid_new_probe();
    if (probe == NULL)
        return NULL;
    if (blkid_probe_set_device(probe, file, 0, 0) != 0) {
        blkid_free_probe(probe);
        return NULL;
    }
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_USAGE |
                                                 BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(probe, 1);
    blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
    return probe;
}

static bool carries_coffer(int file)
{
    char magic[sizeof(DEVICE_COFFER_MAGIC) - 1];
    return pread(file, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
           memcmp(magic, DEVICE_COFFER_MAGIC, sizeof(magic)) == 0;
}

bool device_is_coffer(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return false;
    bool found = carries_coffer(file);
    close(file);
    return found;
}

static const char *probe_value(blkid_probe probe, const char *name)
{
    const char *value = NULL;
    return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

static enum error name_what_was_found(const char *path, blkid_probe probe)
{
    const char *type = probe_value(probe, "TYPE"), *table = probe_value(probe, "PTTYPE");
    const char *label = probe_value(probe, "LABEL");
    const char *advice = "name it with --overwrite to destroy that";
    if (type != NULL && label != NULL)
        return error_explain(ERROR_NOT_EMPTY, "%s carries %s with the label '%s': %s", path, type, label, advice);
    if (type != NULL)
        return error_explain(ERROR_NOT_EMPTY, "%s carries %s: %s", path, type, advice);
    return error_explain(ERROR_NOT_EMPTY, "%s carries a partition table (%s): %s", path, table != NULL ? table : "?",
                         advice);
}

enum error device_signatures_check(const char *path, int file)
{
    if (carries_coffer(file))
        return error_explain(ERROR_NOT_EMPTY,
                             "%s belongs to a Coffer pool: name it with --overwrite to destroy what it holds", path);
    AUTO_PROBE blkid_probe probe = probe_make(file);
    if (probe == NULL)
        return error_explain(ERROR_IO, "%s cannot be examined for what it carries", path);
    switch (blkid_do_safeprobe(probe)) {
    case 0:
        return name_what_was_found(path, probe);
    case 1:
        return ERROR_NONE;
    case -2:
        return error_explain(ERROR_NOT_EMPTY,
                             "%s carries several things at once: name it with --overwrite to destroy them", path);
    default:
        return error_explain(ERROR_IO, "%s cannot be read to see what it carries", path);
    }
}

static enum error name_what_has_none(const char *path, uint64_t offset)
{
    return error_explain(ERROR_NOT_EMPTY,
                         "%s carries data of an unknown kind (a disk image, an archive, a damaged pool?) at byte %" PRIu64
                         ": name it with --overwrite to destroy that",
                         path, offset);
}

/* Reads as far as the file goes. */
static enum error check_zeros(const char *path, int file, uint64_t offset, uint64_t size)
{
    AUTO_FREE unsigned char *piece = malloc(END_PIECE);
    if (piece == NULL)
        return ERROR_NO_MEMORY;
    for (uint64_t end = offset + size; offset < end;) {
        ssize_t got = pread(file, piece, MIN(end - offset, END_PIECE), (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_from_errno(errno, "read %s to see what it carries", path);
        if (got == 0)
            return ERROR_NONE;
        for (ssize_t i = 0; i < got; i++)
            if (piece[i] != 0)
                return name_what_has_none(path, offset + (uint64_t)i);
        offset += (uint64_t)got;
    }
    return ERROR_NONE;
}

enum error device_emptiness_check(const char *path, int file, uint64_t size)
{
    uint64_t end = MIN(size, END_BYTES);
    TRY(device_signatures_check(path, file));
    TRY(check_zeros(path, file, 0, end));
    return check_zeros(path, file, size - end, end);
}

enum error device_probe_empty(const char *path)
{
    TRY(exclusive_check_holders(path));
    struct opened_file opened;
    TRY(exclusive_open(path, O_RDONLY, &opened));
    enum error error = device_emptiness_check(path, opened.file, opened.size);
    close(opened.file);
    return error;
}

static int clear_range(int file, uint64_t offset, uint64_t size)
{
    AUTO_FREE void *zeros = memory_zeroed(1, END_PIECE);
    if (zeros == NULL)
        return ENOMEM;
    for (uint64_t end = offset + size; offset < end;) {
        ssize_t written = pwrite(file, zeros, MIN(end - offset, END_PIECE), (off_t)offset);
        if (written == 0 || (written < 0 && errno != EINTR))
            return written < 0 ? errno : EIO;
        offset += written > 0 ? (uint64_t)written : 0;
    }
    return 0;
}

static int clear_ends(const struct opened_file *opened)
{
    uint64_t size = MIN(opened->size, END_BYTES);
    int number = clear_range(opened->file, 0, size);
    return number != 0 ? number : clear_range(opened->file, opened->size - size, size);
}

/* What stands elsewhere than at the ends. */
static enum error clear_signatures(const char *path, int file)
{
    AUTO_PROBE blkid_probe probe = probe_make(file);
    if (probe == NULL)
        return error_explain(ERROR_IO, "%s cannot be examined for what it carries", path);
    for (int round = 0; round < WIPE_ROUNDS && blkid_do_probe(probe) == 0; round++)
        if (blkid_do_wipe(probe, 0) != 0)
            return error_explain(ERROR_IO, "%s: a signature cannot be wiped", path);
    return ERROR_NONE;
}

static enum error wipe(const char *path, const struct opened_file *opened)
{
    int number = clear_ends(opened);
    if (number != 0)
        return error_from_errno(number, "wipe %s", path);
    TRY(clear_signatures(path, opened->file));
    if (fsync(opened->file) != 0)
        return error_from_errno(errno, "wipe %s", path);
    /* Else the kernel keeps the partitions of a table that is gone; a device that cannot have any refuses. */
    if (opened->block)
        (void)ioctl(opened->file, BLKRRPART);
    return device_emptiness_check(path, opened->file, opened->size);
}

enum error device_wipe_signatures(const char *path)
{
    TRY(exclusive_check_holders(path));
    struct opened_file opened;
    TRY(exclusive_open(path, O_RDWR, &opened));
    enum error error = wipe(path, &opened);
    close(opened.file);
    return error;
}
