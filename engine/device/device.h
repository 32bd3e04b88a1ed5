/*
 * Devices: block storage behind one small table of operations. Nothing above may assume that a device is local, fast
 * or a file: a call may take long or fail, and I/O is batched.
 *
 * Kinds: `file` (regular file or block device, io_uring, O_DIRECT; file_device.c), `volatile` (keeps writes in memory
 * until a flush; for crash tests; volatile.c). A failed write or flush takes the device out of service for good: every later
 * operation fails with ERROR_FENCED; nothing is ever retried into success (a failed fsync may have dropped the dirty
 * pages, https://wiki.postgresql.org/wiki/Fsync_Errors).
 *
 * An operation is an I/O descriptor owned by the caller. device_submit() starts it and returns; device_wait() returns
 * when it is complete, from any thread; a buffer must stay untouched until then, also where the caller lost interest.
 *
 * Order and durability: operations in flight have no order. A write is durable when a DEVICE_FLUSH submitted after the
 * write's completion has completed, or when it was submitted with DEVICE_DURABLE (which says nothing of other writes).
 */
#ifndef COFFER_ENGINE_DEVICE_DEVICE_H
#define COFFER_ENGINE_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DEVICE_BLOCK 4096 /* grain of offsets, sizes and buffers of all I/O */

enum device_operation { DEVICE_READ, DEVICE_WRITE, DEVICE_FLUSH, DEVICE_DISCARD };
enum { DEVICE_DURABLE = 1 }; /* flags of a write: RWF_DSYNC, goes out as FUA */

struct device;

struct device_io {
    /* set by the caller */
    struct device *device;
    enum device_operation operation;
    unsigned flags;
    uint64_t offset;  /* multiple of DEVICE_BLOCK */
    size_t size;      /* multiple of DEVICE_BLOCK */
    void *buffer;     /* aligned to DEVICE_BLOCK */
    /* set by the device */
    enum error error; /* valid after device_wait() */
    _Atomic int state; /* device's own */
    size_t done;       /* device's own: bytes of a short transfer */
    void *context;     /* device's own */
    int os_error;      /* device's own: errno behind `error`, 0 where there was none */
};

struct device_operations {
    const char *kind;
    void (*submit)(struct device_io **ios, size_t count); /* all of one kind, perhaps of several devices */
    void (*wait)(struct device_io *io);
    void (*run)(struct device_io **ios, size_t count); /* submit, then wait for all; NULL: those two are called */
    void (*close)(struct device *device);
    enum error (*allocate)(struct device *device, uint64_t offset, uint64_t size); /* NULL: nothing to do */
};

struct device_stats { _Atomic uint64_t reads, read_bytes, writes, write_bytes, flushes, discards; };

/* The head of every kind's own struct. */
struct device {
    const struct device_operations *operations;
    char *path;             /* for messages */
    uint64_t size;          /* bytes, a multiple of DEVICE_BLOCK */
    bool read_only;
    _Atomic bool fenced;    /* a write or flush failed */
    struct device_stats stats;
};

enum device_open_flags {
    DEVICE_OPEN_READ_ONLY = 1, /* shared lock */
    DEVICE_OPEN_BESIDE = 2,    /* for reading, without any lock, while another process may write: for superblocks only */
};

/* Opens and locks a regular file or block device. ERROR_IN_USE where another process holds it (flock on files;
 * O_EXCL on block devices, so a mounted one is refused as well). */
enum error device_open_file(const char *path, unsigned flags, struct device **device) CHECKED;

/* What fstat(2) says of the file or block device that is open, whatever has its path by now; of device_open_file()'s only. */
struct stat;
enum error device_file_status(const struct device *device, struct stat *status) CHECKED;

/* Creates a sparse regular file of `size` bytes, mode 0600; ERROR_EXISTS where it exists. */
enum error device_create_file(const char *path, uint64_t size) CHECKED;

/* Refuses a path that carries a file system, partition table, RAID member or anything else that libblkid knows, or a
 * Coffer superblock, or other bytes than zeros in the first or last 16 MiB, or that is mounted or held: ERROR_NOT_EMPTY or
 * ERROR_IN_USE with a sentence that names what was found. A missing path is ERROR_NOT_FOUND. */
enum error device_probe_empty(const char *path) CHECKED;

/* The same of what device_open_file() opened, holders left out: it is locked. */
enum error device_check_empty(const struct device *device) CHECKED;

/* Of that as well, but looks for signatures and superblocks only. */
enum error device_check_signatures(const struct device *device) CHECKED;

/* Whether the first 8 bytes are the magic of Coffer's superblock; false also where they cannot be read. */
#define DEVICE_COFFER_MAGIC "COFFERSB"
bool device_is_coffer(const char *path);

/* Wipes every signature that the probe knows and both ends, for `--overwrite`: it is empty then. */
enum error device_wipe_signatures(const char *path) CHECKED;

void device_close(struct device *device);

/* Starts `count` operations; groups them by device and thread for one system call where it can. Never fails: an
 * operation that could not be started is complete with its error. */
void device_submit(struct device_io *ios[], size_t count);
/* Waits for one operation and returns its error. A short read at the end of a truncated file is ERROR_IO. */
enum error device_wait(struct device_io *io) CHECKED;
/* Submits all, waits for all; returns the first error in order. */
enum error device_run(struct device_io *ios, size_t count) CHECKED;

/* One operation each, start to end. */
enum error device_read(struct device *device, uint64_t offset, void *buffer, size_t size) CHECKED;
enum error device_write(struct device *device, uint64_t offset, void *buffer, size_t size, unsigned flags) CHECKED;
enum error device_flush(struct device *device) CHECKED;
/* Punches a hole or sends BLKDISCARD. ERROR_UNSUPPORTED: the device or file system below cannot, and nothing was done, which who
 * only gives space back need not mind. Contents are undefined after it. */
enum error device_discard(struct device *device, uint64_t offset, uint64_t size) CHECKED;
/* Makes sure that a later write of this range cannot fail for lack of space in the file system below: ERROR_NO_SPACE
 * where it has none. Contents stay. Of a block device, and where unsupported, does nothing. Blocks. */
enum error device_allocate(struct device *device, uint64_t offset, uint64_t size) CHECKED;

#endif
