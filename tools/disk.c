/*
 * libnbd, with its errors as rows of Coffer's table. One connection, one request at a time: the server reads ahead and packs
 * a request of DISK_PIECE by itself. One thread; what was written and not flushed may be lost.
 */
#include "tools/disk.h"

#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tools/place.h"
#include "tools/uri.h"

#define ZERO_PIECE (UINT64_C(1) << 30)

struct disk {
    struct nbd_handle *handle;
    char *context;
    struct disk_range *ranges; /* of the block status that runs */
    size_t range_count;
    uint64_t range_end;
};

/* The server's sentence does not come through libnbd; its number does. */
static enum error failed(const char *what)
{
    const char *text = nbd_get_error();
    switch (nbd_get_errno()) {
    case ENOSPC:
        return error_explain(ERROR_NO_SPACE, "%s: no space left in the pool", what);
    case EIO:
        return error_explain(ERROR_IO, "%s: cofferd cannot read or write there: `coffer scrub status` and its messages "
                                       "say what is damaged",
                             what);
    case EPERM:
    case EROFS:
        return error_explain(ERROR_READ_ONLY, "%s: the export is read-only", what);
    default:
        return error_explain(ERROR_CLOSED, "%s: %s", what, text != NULL ? text : "failed");
    }
}

static enum error connect_to(struct disk *disk, const char *uri, const char *context)
{
    disk->handle = nbd_create();
    if (disk->handle == NULL)
        return ERROR_NO_MEMORY;
    if (context != NULL && nbd_add_meta_context(disk->handle, context) != 0)
        return failed("ask for a context");
    if (nbd_connect_uri(disk->handle, uri) != 0)
        return error_explain(ERROR_CLOSED, "cannot open %s: %s", uri, nbd_get_error());
    if (context != NULL && nbd_can_meta_context(disk->handle, context) != 1)
        return error_explain(ERROR_UNSUPPORTED, "cofferd does not tell %s of this export: are both of one version?", context);
    return ERROR_NONE;
}

enum error disk_open(struct tool *tool, const struct arguments *arguments, const char *export, const char *context,
                     struct disk **disk)
{
    AUTO_FREE char *address = NULL;
    AUTO_FREE char *uri = NULL;
    TRY(place_nbd_told(tool, argument_value(arguments, "nbd", NULL), &address));
    TRY(uri_make(address, export, &uri));
    struct disk *made = memory_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->context = context == NULL ? NULL : strdup(context);
    enum error error = context != NULL && made->context == NULL ? ERROR_NO_MEMORY : connect_to(made, uri, context);
    if (error != ERROR_NONE) {
        disk_close(made);
        return error;
    }
    *disk = made;
    return ERROR_NONE;
}

void disk_close(struct disk *disk)
{
    if (disk == NULL)
        return;
    if (disk->handle != NULL && nbd_aio_is_ready(disk->handle) == 1)
        nbd_shutdown(disk->handle, 0);
    nbd_close(disk->handle);
    free(disk->context);
    free(disk);
}

/* ---- what a context says --------------------------------------------------------------------------------------------- */

static int ranges_take(void *user, const char *context, uint64_t offset, uint32_t *entries, size_t entry_count, int *error)
{
    struct disk *disk = user;
    (void)error;
    if (strcmp(context, disk->context) != 0)
        return 0;
    for (size_t i = 0; i + 1 < entry_count && disk->range_count < DISK_RANGES_MAX && offset < disk->range_end; i += 2) {
        uint64_t length = MIN((uint64_t)entries[i], disk->range_end - offset);
        disk->ranges[disk->range_count++] = (struct disk_range){offset, length, entries[i + 1]};
        offset += entries[i];
    }
    return 0;
}

enum error disk_ranges(struct disk *disk, uint64_t offset, uint64_t length, struct disk_range *ranges, size_t *count)
{
    disk->ranges = ranges;
    disk->range_count = 0;
    length = MIN(length, ZERO_PIECE);
    disk->range_end = offset + length;
    nbd_extent_callback callback = {.callback = ranges_take, .user_data = disk};
    if (nbd_block_status(disk->handle, length, offset, callback, 0) != 0)
        return failed("ask what is to be exported");
    if (disk->range_count == 0)
        return error_explain(ERROR_PROTOCOL, "cofferd said nothing of a range");
    *count = disk->range_count;
    return ERROR_NONE;
}

/* ---- data ------------------------------------------------------------------------------------------------------------ */

enum error disk_read(struct disk *disk, uint64_t offset, void *data, size_t size)
{
    if (nbd_pread(disk->handle, data, size, offset, 0) == 0)
        return ERROR_NONE;
    char what[64];
    snprintf(what, sizeof(what), "read at %llu", (unsigned long long)offset);
    return failed(what);
}

enum error disk_write(struct disk *disk, uint64_t offset, const void *data, size_t size)
{
    return nbd_pwrite(disk->handle, data, size, offset, 0) == 0 ? ERROR_NONE : failed("write to the pool");
}

enum error disk_zero(struct disk *disk, uint64_t offset, uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        uint64_t part = MIN(length - done, ZERO_PIECE);
        if (nbd_zero(disk->handle, part, offset + done, 0) != 0)
            return failed("write to the pool");
        done += part;
    }
    return ERROR_NONE;
}

enum error disk_flush(struct disk *disk)
{
    return nbd_flush(disk->handle, 0) == 0 ? ERROR_NONE : failed("write to the pool");
}
