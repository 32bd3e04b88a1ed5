/*
 * An open log: where items are appended. A group has a journal (whose appends carry records and are replayed), and
 * logs for the merge (meta), for second copies (twin) and for data that the cleaner moves (cold); one code for all.
 *
 * The life of a buffer, which is one append in the making:
 *   FREE -> OPEN      gets a ticket and a place; items are reserved in it, records entered; of the journal, an item whose
 *                     blocks are written again may be filled again (log_replace.c)
 *        -> CLOSED    nothing more is reserved; its length, and so the place of the append after it, is fixed
 *        -> WRITING   all fills are done: header and tag made, encrypted into the second buffer, submitted
 *        -> FREE      until then readers take the plaintext from here (log_read)
 * Buffers are sealed in order of their tickets, since a tag covers the tag before; written ones are reaped in order.
 *
 * Reserving, entering records and closing: under the group's lock (for the journal within the commit section as well).
 * Filling: under no lock, between log_reserve() and log_filled(); a thread that fills must not block.
 * Everything else: the log's own mutex inside.
 *
 * A crash loses what was not written and flushed; nothing that was written before is touched, since every address is
 * written once.
 */
#ifndef COFFER_ENGINE_GROUP_LOG_H
#define COFFER_ENGINE_GROUP_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"
#include "engine/device/device.h"
#include "engine/group/format.h"
#include "engine/group/segment.h"

struct group;
struct section;
struct summary;

#define LOG_BUFFERS_MAX 12
#define LOG_FURTHER_MAX 3 /* segments prepared beyond the next one */
#define LOG_TAIL_BYTES 65536u /* less than this left in a segment: the next append goes to the next one */
#define LOG_RECORDS_BYTES (256u << 10)
#define LOG_REPLACEABLE_MAX 1024 /* in one buffer; what comes behind them is not */
#define LOG_ITEM_BYTES_MAX (40u << 10) /* an item, its record and the header always fit into LOG_TAIL_BYTES */

enum buffer_state { BUFFER_FREE, BUFFER_OPEN, BUFFER_CLOSED, BUFFER_WRITING };

struct log_buffer {
    uint8_t *plain, *cipher, *records;
    enum buffer_state state;
    uint64_t ticket;
    uint64_t serial;
    uint32_t segment, block;     /* its place */
    uint32_t capacity;           /* bytes, to the end of the buffer or of the segment */
    uint32_t items_end;          /* bytes from the begin: header and items */
    uint32_t records_size;
    uint32_t summary_size;       /* kept free for the summary of the segment before; 0: this is not its first append */
    uint32_t frame;              /* offset of the last frame's header in `records` */
    uint32_t blocks;             /* of the append, once closed */
    struct place next;           /* once closed */
    uint64_t last_sequence;
    uint64_t opened;             /* clock_monotonic at the first reservation */
    _Atomic unsigned fills;      /* items reserved and not yet filled; down under the mutex */
    bool reaping;
    struct device_io io;
};

struct log {
    struct group *group;
    enum segment_kind kind;
    unsigned buffer_count;
    uint32_t buffer_bytes;
    struct log_buffer buffers[LOG_BUFFERS_MAX];
    /* under the group's lock */
    struct log_buffer *open;     /* NULL: none */
    uint32_t segment, block;     /* place of the next append; SEGMENT_NONE before the first */
    uint32_t prepared;           /* the segment after, header written; SEGMENT_NONE: not yet */
    uint32_t further[LOG_FURTHER_MAX]; /* journal: the ones after that, as well, in their order */
    unsigned further_count;      /* 0 where none is prepared */
    uint32_t reserved;           /* journal: the one after the last of these */
    bool preparing;              /* a thread writes the header of what will be the last of them */
    uint32_t predecessor;        /* journal: index of the segment before `segment` */
    uint64_t last_sequence;
    uint64_t tickets;            /* given */
    uint64_t bytes;              /* closed since the last freeze */
    uint64_t filling;            /* of a log that only the merge writes, by it: the ticket of the buffer of its last item */
    struct log_replaceable *replaceable; /* journal: items of the open buffer, by rising offset; NULL elsewhere */
    unsigned replaceable_count;
    uint64_t replaced;           /* items since the open */
    struct mutex mutex;
    struct condition changed;
    bool sealing GUARDED_BY(mutex);
    uint64_t sealed GUARDED_BY(mutex);  /* tickets up to here are sealed */
    uint64_t written GUARDED_BY(mutex); /* … are written */
    uint64_t written_sequence GUARDED_BY(mutex); /* the last of them; 0: none since the open */
    uint8_t previous[16];        /* tag of the last sealed append; by whoever seals */
    struct summary *summary;     /* journal: of the segment of the last sealed append; by whoever seals */
    uint64_t mark GUARDED_BY(mutex); /* the ticket whose tag log_marked_tag() tells */
    uint8_t marked_tag[16] GUARDED_BY(mutex);
    _Atomic uint64_t durable_stated; /* `durable` of the last sealed append */
};

/* An item that has one record, and the place of that in the buffer's records. */
struct log_replaceable {
    uint32_t offset;        /* grains */
    uint32_t record, size;  /* of the record, in bytes */
    bool kept;              /* it is referred to elsewhere */
};

struct log_item {
    struct log_buffer *buffer;
    uint8_t *at;
    uint64_t serial;
    uint32_t offset; /* grains */
    uint32_t size;   /* bytes, a multiple of a grain */
};

/* What one commit (or one call of the merge) has entered so far. */
struct log_commit {
    struct section *section;
    uint64_t ticket;   /* of the buffer that holds its last frame; 0: none yet */
    uint64_t sequence; /* of its last frame */
};

enum error log_init(struct log *log, struct group *group, enum segment_kind kind, unsigned buffers,
                    uint32_t buffer_bytes) CHECKED;
void log_deinit(struct log *log);

/* Blocks of its append, were it closed now. */
static inline uint32_t log_buffer_blocks(const struct log_buffer *b)
{
    return (b->items_end + b->summary_size + b->records_size + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

/* True where a commit can go on without waiting: two free buffers, and no segment lacks. Under the group's lock. */
bool log_is_ready(struct log *log);
/* The same for a commit that may be little, of the journal: it stores at most COMMIT_BLOCKS_LITTLE blocks, and none of it must be
 * whole. So it goes on in a segment longer than others while the header of the next one is written. */
bool log_is_ready_for(struct log *log, bool little);
/* True where the open buffer can be closed now, or there is none: that cannot take the log out of its segment, or the
 * next one is prepared. Under the group's lock. */
bool log_can_close(const struct log *log);
/* Makes a free buffer by waiting for the oldest write in flight (or for its sealing). Under no lock. */
enum error log_wait_buffer(struct log *log) CHECKED;
/* log_segment.c. Whether a commit may have to go on in a segment that nobody prepared yet; goes on in the prepared one. Under
 * the group's lock. */
bool log_lacks_segment(const struct log *log);
bool log_lacks_segment_for(const struct log *log, bool little);
void log_change_segment(struct log *log);
/* Whether the log will go on in this segment, whose header is written. Under the group's lock. */
bool log_has_prepared(const struct log *log, uint32_t index);
/* Whether the segment that it writes, or one that is prepared, is under a key that is not the current one of its device.
 * Under the group's lock. */
bool log_is_outdated(const struct log *log);
/* Of the merge's logs, between two merges: leaves such segments, and begins anew with the next append. Under no lock. */
void log_leave_outdated(struct log *log);
/* Reserves the slot that the log will go on in, with space below it, so that its place may be named before anything is
 * written there. Under no lock. ERROR_NO_SPACE where there is none. */
enum error log_reserve_slot(struct log *log) CHECKED;
/* Opens the segment after the current one and writes its header, where the log may soon have to go on there (the journal
 * always has one ahead, and some more where there is much space), none is prepared and no other thread is at it; else does
 * nothing. Under no lock. ERROR_NO_SPACE where no slot is free, or none has space below. */
enum error log_prepare(struct log *log) CHECKED;

/* The slot that the log goes on in where it has no header yet, else SEGMENT_NONE: nobody writes it one until it is returned. Under
 * no lock. ERROR_AGAIN where somebody is at it. */
enum error log_reserved_borrow(struct log *log, uint32_t *index) CHECKED;
void log_reserved_return(struct log *log);

/* The same somewhat before, where cleaning would not miss the slot: for who has time to wait for the header. Errors are for who
 * needs it. */
void log_prepare_ahead(struct log *log);

/* Reserves an item of `size` bytes (rounded up to a grain) and room for a record; closes the open buffer and opens the
 * next where it does not fit. The caller fills item->at and calls log_filled() for each item. `size` 0: only room for a
 * record (no log_filled). */
void log_reserve(struct log *log, size_t size, size_t record_size, struct log_item *item);
/* Makes sure that the next items, of `item_bytes` together, and records of one frame, for which `record_bytes` are reserved
 * together, lie in one append; an empty append names the next segment where the rest of this one is too short. May use
 * up two buffers: log_is_ready() is needed again. */
void log_require_whole(struct log *log, size_t item_bytes, size_t record_bytes);
/* Enters a record that was reserved last, in a frame of the commit. */
void log_record(struct log *log, struct log_commit *commit, const void *record, size_t size);
/* The sequence of the frame in which that record will stand; between log_reserve() and log_record(). */
uint64_t log_sequence(const struct log *log, const struct log_commit *commit);
/* Writes header (its kind last), descriptors and stored bytes of an item with its tag. */
enum error log_fill(struct log *log, const struct log_item *item, const struct segment_keys *keys, enum item_kind kind,
                    uint8_t codec, uint8_t count, const void *descriptors, size_t descriptors_size, const void *stored,
                    size_t stored_size) CHECKED;
/* `count` items of the buffer are filled. */
void log_filled(struct log *log, struct log_buffer *buffer, unsigned count);

/* Closes the open buffer, where it has anything (or `even_empty`); returns the ticket that covers all so far. Under the
 * group's lock, log_is_ready() true. Afterwards call log_advance(). */
uint64_t log_close(struct log *log, bool even_empty);
/* Seals and submits what can be. Under no lock. */
enum error log_advance(struct log *log) CHECKED;
/* Whether there is something to seal, and nobody is at it. Under no lock. */
bool log_is_sealable(struct log *log);
/* Waits until all buffers up to `ticket` are written. Under no lock. */
enum error log_wait(struct log *log, uint64_t ticket) CHECKED;

/* Whether a buffer has anything of this segment that is not written yet. Under the group's lock. */
bool log_has_buffer_of(struct log *log, uint64_t serial);
/* Goes on in the prepared segment, where there is one and log_is_ready(), by an empty append if need be. Under the group's
 * lock, for the journal in the commit section; afterwards call log_advance(). */
void log_leave_segment(struct log *log);

/* The last sequence whose append is written, and all before it: what a flush of the devices that begins now covers. */
uint64_t log_written_sequence(struct log *log);

/* Waits for all writes in flight, whatever became of them; for closing. */
void log_drain_writes(struct log *log);

/* Keeps the tag of the append with this ticket (the last one closed), once it is sealed. Under the group's lock. */
void log_mark(struct log *log, uint64_t ticket);
void log_marked_tag(struct log *log, uint8_t tag[16]);

/* Copies `size` bytes at an address out of a buffer that is not written yet; false where it is in none. Waits for its
 * fill. *settled: what is read stays; else it may be replaced, and must not be kept. */
bool log_read(struct log *log, uint64_t serial, uint32_t offset, size_t size, void *out, bool *settled);

/* log_replace.c, of the journal. All under the group's lock. */

/* The item that was reserved last, whose record of `record_size` bytes was entered last, may be replaced until log_keep(). */
void log_may_replace(struct log *log, const struct log_item *item, size_t record_size);
/* The item of this address, or each, is referred to by more than its record from now on. */
void log_keep(struct log *log, uint64_t serial, uint32_t offset);
void log_keep_all(struct log *log);
/* The size of the record of the item at this address, if that may be replaced: it stands in the open buffer, is filled and was not
 * kept; else 0. */
size_t log_replaceable_record(const struct log *log, uint64_t serial, uint32_t offset);
/* Such an item, of `size` bytes, is to be filled again (log_fill, log_filled); its record becomes `record`, of the same size. */
void log_replace(struct log *log, uint64_t serial, uint32_t offset, size_t size, const void *record, size_t record_size,
                 struct log_item *item);

/* What may still be replaced as things are, and how many were. */
struct log_unsettled {
    uint64_t serial;
    uint32_t offset; /* grains; of this segment what stands from here on */
    uint64_t replaced;
};
struct log_unsettled log_unsettled(const struct log *log);
/* Whether what stood at this address then may have been replaced since. */
bool log_was_replaced(const struct log *log, const struct log_unsettled *then, uint64_t serial, uint32_t offset);

/* The nonce of a tag at an offset in grains. */
void log_nonce(uint64_t offset, enum item_kind kind, uint8_t nonce[TAG_NONCE_SIZE]);

#endif
