/*
 * libnbd, with its errors as rows of Coffer's table. One connection and a ring of requests on their way, which the server
 * answers in any order; each is done when it is the oldest. One thread; what was written and not flushed may be lost.
 */
#include "tools/disk.h"

#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tools/place.h"
#include "tools/uri.h"

#define ZERO_PIECE         (UINT64_C(1) << 30)
#define LEAVE_MILLISECONDS 10000 /* between two answers of a server that is left */

struct slot {
    struct disk_piece piece;
    uint8_t *buffer; /* of DISK_PIECE bytes; NULL where it carries nothing */
    bool answered;
    int error; /* errno */
};

struct disk {
    struct nbd_handle *handle;
    disk_done *done;
    void *done_context;
    uint64_t oldest, next; /* numbers of requests; each has the slot of its number modulo DISK_DEPTH */
    struct slot slots[DISK_DEPTH];
    uint64_t bytes;               /* of data on their way */
    uint8_t *spare[DISK_DEPTH];   /* buffers that no slot has; the last one is the warmest */
    size_t spare_count;
    char *context;
    struct disk_range *ranges; /* of the block status that runs */
    size_t range_count;
    uint64_t range_end;
};

/* The server's sentence does not come through libnbd; its number does. */
static enum error failed_with(int number, const char *text, const char *what)
{
    switch (number) {
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

static enum error failed(const char *what)
{
    return failed_with(nbd_get_errno(), nbd_get_error(), what);
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

void disk_tell(struct disk *disk, disk_done *done, void *context)
{
    disk->done = done;
    disk->done_context = context;
}

void disk_close(struct disk *disk)
{
    if (disk == NULL)
        return;
    /* What is on its way is waited for: a server that is asked for more lets go of nothing. */
    while (disk->handle != NULL && nbd_aio_in_flight(disk->handle) > 0 && nbd_poll(disk->handle, LEAVE_MILLISECONDS) > 0)
        continue;
    if (disk->handle != NULL && nbd_aio_is_ready(disk->handle) == 1)
        nbd_shutdown(disk->handle, 0);
    nbd_close(disk->handle);
    for (size_t i = 0; i < DISK_DEPTH; i++)
        memory_free_cleansed(disk->slots[i].buffer);
    while (disk->spare_count > 0)
        memory_free_cleansed(disk->spare[--disk->spare_count]);
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

/* ---- requests -------------------------------------------------------------------------------------------------------- */

static struct slot *slot_of(struct disk *disk, uint64_t number)
{
    return &disk->slots[number % DISK_DEPTH];
}

static enum error piece_failed(const struct disk_piece *piece, int number, const char *text)
{
    char what[64] = "write to the pool";
    if (piece->action == DISK_READ)
        snprintf(what, sizeof(what), "read at %llu", (unsigned long long)piece->offset);
    return failed_with(number, text, what);
}

static int answered(void *user, int *error)
{
    struct slot *slot = user;
    slot->error = *error;
    slot->answered = true;
    return 1; /* libnbd forgets it */
}

static uint64_t bytes_carried(enum disk_action action, uint64_t length)
{
    return action == DISK_READ || action == DISK_WRITE ? length : 0;
}

/* Tells of the oldest, which was answered. */
static enum error oldest_end(struct disk *disk)
{
    struct slot *slot = slot_of(disk, disk->oldest);
    if (slot->error != 0)
        return piece_failed(&slot->piece, slot->error, strerrordesc_np(slot->error));
    TRY(disk->done(disk->done_context, &slot->piece));
    disk->bytes -= bytes_carried(slot->piece.action, slot->piece.length);
    if (slot->buffer != NULL)
        disk->spare[disk->spare_count++] = slot->buffer;
    slot->buffer = NULL;
    disk->oldest++;
    return ERROR_NONE;
}

/* Ends what was answered, and waits until no more than so many, and so many bytes, are on their way. */
static enum error queue_drain(struct disk *disk, uint64_t most, uint64_t bytes_most)
{
    while (disk->oldest < disk->next) {
        const struct slot *slot = slot_of(disk, disk->oldest);
        if (slot->answered)
            TRY(oldest_end(disk));
        else if (disk->next - disk->oldest <= most && disk->bytes <= bytes_most)
            break;
        else if (nbd_poll(disk->handle, -1) < 0 && !slot->answered)
            return piece_failed(&slot->piece, nbd_get_errno(), nbd_get_error());
    }
    return ERROR_NONE;
}

static int64_t slot_send(struct disk *disk, struct slot *slot, const void *data)
{
    const struct disk_piece *piece = &slot->piece;
    nbd_completion_callback callback = {.callback = answered, .user_data = slot};
    switch (piece->action) {
    case DISK_READ:
        return nbd_aio_pread(disk->handle, slot->buffer, piece->length, piece->offset, callback, 0);
    case DISK_WRITE:
        memcpy(slot->buffer, data, piece->length);
        return nbd_aio_pwrite(disk->handle, slot->buffer, piece->length, piece->offset, callback, 0);
    case DISK_ZERO:
        return nbd_aio_zero(disk->handle, piece->length, piece->offset, callback, 0);
    default:
        slot->answered = true;
        return 0;
    }
}

static enum error slot_fill(struct disk *disk, struct slot *slot, enum disk_action action, uint64_t offset, uint64_t length)
{
    bool carries = bytes_carried(action, length) > 0;
    if (carries && slot->buffer == NULL)
        slot->buffer = disk->spare_count > 0 ? disk->spare[--disk->spare_count] : malloc(DISK_PIECE);
    slot->piece = (struct disk_piece){action, offset, length, slot->buffer};
    slot->answered = false;
    slot->error = 0;
    return carries && slot->buffer == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error ask(struct disk *disk, enum disk_action action, uint64_t offset, uint64_t length, const void *data)
{
    TRY(queue_drain(disk, DISK_DEPTH - 1, DISK_BYTES - bytes_carried(action, length)));
    struct slot *slot = slot_of(disk, disk->next);
    TRY(slot_fill(disk, slot, action, offset, length));
    if (slot_send(disk, slot, data) < 0)
        return piece_failed(&slot->piece, nbd_get_errno(), nbd_get_error());
    disk->next++;
    disk->bytes += bytes_carried(action, length);
    if (action != DISK_NOTE && nbd_poll(disk->handle, 0) < 0 && !slot->answered)
        return piece_failed(&slot->piece, nbd_get_errno(), nbd_get_error());
    return ERROR_NONE;
}

static enum error ask_in_pieces(struct disk *disk, enum disk_action action, uint64_t offset, uint64_t length, uint64_t most)
{
    for (uint64_t done = 0; done < length; done += MIN(length - done, most))
        TRY(ask(disk, action, offset + done, MIN(length - done, most), NULL));
    return ERROR_NONE;
}

enum error disk_read(struct disk *disk, uint64_t offset, uint64_t length)
{
    return ask_in_pieces(disk, DISK_READ, offset, length, DISK_PIECE);
}

enum error disk_write(struct disk *disk, uint64_t offset, const void *data, size_t size)
{
    ASSERT(size <= DISK_PIECE);
    return ask(disk, DISK_WRITE, offset, size, data);
}

enum error disk_zero(struct disk *disk, uint64_t offset, uint64_t length)
{
    return ask_in_pieces(disk, DISK_ZERO, offset, length, ZERO_PIECE);
}

enum error disk_note(struct disk *disk, uint64_t offset, uint64_t length)
{
    return ask(disk, DISK_NOTE, offset, length, NULL);
}

enum error disk_settle(struct disk *disk)
{
    return queue_drain(disk, 0, 0);
}

enum error disk_flush(struct disk *disk)
{
    return nbd_flush(disk->handle, 0) == 0 ? ERROR_NONE : failed("write to the pool");
}
