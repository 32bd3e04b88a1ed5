/*
 * An open log: what several threads reserve and fill is on the disk, whole and in order, and until it is there readers
 * get it from the buffers.
 */
#include "base/clock.h"
#include "tests/unit/group_fixture.h"

#define THREADS 4
#define WRITES  400

static bool settled; /* what log_read() told last */

/* Closes and writes what is open; nobody waits for it. */
static uint64_t close_unsealed(struct fixture *f)
{
    assert_int_equal(fixture_enter(f, false), ERROR_NONE);
    uint64_t ticket = log_close(&f->group->journal, false);
    fixture_leave(f);
    return ticket;
}

static uint64_t close_open(struct fixture *f)
{
    uint64_t ticket = close_unsealed(f);
    assert_int_equal(log_advance(&f->group->journal), ERROR_NONE);
    return ticket;
}

/* Block 1 is in an append that was written, block 2 in one that is closed and no more, whose ticket it returns. */
static uint64_t write_one_and_close_another(struct fixture *f)
{
    (void)fixture_write(f, COMPONENT, 1, 1);
    assert_int_equal(log_wait(&f->group->journal, close_open(f)), ERROR_NONE);
    (void)fixture_write(f, COMPONENT, 2, 2);
    return close_unsealed(f);
}

static void reopen(struct fixture *f)
{
    assert_int_equal(group_sync(f->group), ERROR_NONE);
    fixture_crash(f);
    fixture_open(f);
}

static _Atomic bool used_early; /* a log had a segment before its header was written */
static _Atomic bool without_memory; /* to write a header */
static _Atomic uint64_t last_salt; /* of a header of the cold log */
static _Atomic bool header_held; /* that of a journal segment is not written before this is false again */

enum error __real_segment_header_write(struct group *group, const struct segment_header *header);
enum error __wrap_segment_header_write(struct group *group, const struct segment_header *header);

enum error __wrap_segment_header_write(struct group *group, const struct segment_header *header)
{
    const struct log *logs[] = {&group->journal, &group->meta, &group->twin, &group->cold};
    mutex_lock(&group->lock);
    uint32_t index = segment_find(&group->segments, header->segment.serial);
    for (size_t i = 0; i < COUNT_OF(logs); i++)
        if (index != SEGMENT_NONE && (log_has_prepared(logs[i], index) || logs[i]->segment == index))
            atomic_store(&used_early, true);
    mutex_unlock(&group->lock);
    if (header->segment.kind == SEGMENT_COLD)
        atomic_store(&last_salt, header->segment.salt);
    while (atomic_load(&header_held) && header->segment.kind == SEGMENT_JOURNAL)
        clock_sleep(CLOCK_MILLISECOND);
    return atomic_load(&without_memory) ? ERROR_NO_MEMORY : __real_segment_header_write(group, header);
}

static void an_address_in_no_buffer_is_not_found(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[64];
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    struct log *journal = &f->group->journal;
    assert_true(log_read(journal, entry_serial(entry), entry_offset(entry), sizeof bytes, bytes, &settled));
    assert_false(log_read(journal, entry_serial(entry) + 1, entry_offset(entry), sizeof bytes, bytes, &settled));
    assert_false(log_read(journal, entry_serial(entry), 1, sizeof bytes, bytes, &settled));
    assert_false(log_read(&f->group->meta, entry_serial(entry), entry_offset(entry), sizeof bytes, bytes, &settled));
    assert_int_equal(log_wait(journal, close_open(f)), ERROR_NONE);
    assert_false(log_read(journal, entry_serial(entry), entry_offset(entry), sizeof bytes, bytes, &settled));
}

/* Nobody waits for the first append here, so a reader that waited for it would wait for long. */
static void what_stands_behind_an_append_in_flight_is_read_at_once(void **state)
{
    struct fixture *f = *state;
    uint8_t bytes[64];
    (void)fixture_write(f, COMPONENT, 1, 1);
    (void)close_open(f);
    struct map_entry entry = fixture_write(f, COMPONENT, 2, 2);
    assert_true(log_read(&f->group->journal, entry_serial(entry), entry_offset(entry), sizeof bytes, bytes, &settled));
    assert_int_equal(((struct item_format *)bytes)->kind, ITEM_UNIT);
    fixture_expect(f, COMPONENT, 2, 2);
    fixture_expect(f, COMPONENT, 1, 1);
}

struct filler {
    struct fixture *fixture;
    struct log_item item;
    struct segment_identity identity;
    bool filled;
};

static void fill_later(void *argument)
{
    struct filler *filler = argument;
    const struct segment_keys *keys;
    uint8_t stored[100] = {7};
    le40 cid = le40_make(9);
    struct log *journal = &filler->fixture->group->journal;
    usleep(20000);
    enum error error = segment_keys_get(filler->fixture->group, &filler->identity, &keys);
    if (!error) {
        error =
            log_fill(journal, &filler->item, keys, ITEM_UNIT, STORED_RAW, 1, &cid, sizeof cid, stored, sizeof stored);
        segment_keys_put(filler->fixture->group, keys);
    }
    filler->filled = error == ERROR_NONE;
    log_filled(journal, filler->item.buffer, 1);
}

/* What an earlier life may have left in the buffers that are free now. */
static void poison(struct log *log)
{
    for (unsigned i = 0; i < log->buffer_count; i++)
        if (log->buffers[i].state == BUFFER_FREE)
            memset(log->buffers[i].plain, 0xee, log->buffer_bytes);
}

static void nothing_of_an_earlier_life_is_written(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    assert_int_equal(log_wait(journal, close_open(f)), ERROR_NONE);
    poison(journal);
    struct map_entry entry = fixture_write(f, COMPONENT, 1, 1);
    struct log_buffer *buffer = journal->open;
    assert_int_equal(log_wait(journal, close_open(f)), ERROR_NONE);
    const struct append_format *append = (const struct append_format *)buffer->plain;
    uint32_t end = le32_get(append->records_offset) + le32_get(append->records_size);
    for (uint32_t at = end; at < buffer->blocks * BLOCK_SIZE; at++)
        assert_int_equal(buffer->plain[at], 0);
    const uint8_t *item = buffer->plain + sizeof *append;
    const struct item_format *header = (const struct item_format *)item;
    size_t used = sizeof *header + item_descriptors_size(header) + le32_get(header->stored_size);
    for (size_t at = used; at < (size_t)entry_length(entry) * GRAIN_SIZE; at++)
        assert_int_equal(item[at], 0);
}

static void a_reader_waits_for_a_fill(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(log_wait(&f->group->journal, close_open(f)), ERROR_NONE);
    poison(&f->group->journal);
    struct filler filler = {.fixture = f};
    struct thread thread;
    uint8_t bytes[160];
    struct log *journal = &f->group->journal;
    assert_int_equal(fixture_enter(f, false), ERROR_NONE);
    log_reserve(journal, sizeof(struct item_format) + 5 + 100, 0, &filler.item);
    filler.identity = segment_identity(&f->group->segments, filler.item.buffer->segment);
    fixture_leave(f);
    assert_int_equal(thread_start(&thread, "filler", fill_later, &filler), ERROR_NONE);
    assert_true(log_read(journal, filler.item.serial, filler.item.offset, filler.item.size, bytes, &settled));
    thread_join(&thread);
    assert_true(filler.filled);
    assert_int_equal(((struct item_format *)bytes)->kind, ITEM_UNIT);
    assert_int_equal(bytes[sizeof(struct item_format) + 5], 7);
}

/* It may have a hole where a fill failed; and to seal one again that failed half way would use its nonce twice. */
static void a_group_that_is_out_of_service_writes_no_append(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    uint64_t ticket = write_one_and_close_another(f);
    assert_int_equal(group_fence(f->group, ERROR_NO_MEMORY), ERROR_FENCED);
    assert_int_equal(log_advance(journal), ERROR_FENCED);
    assert_true(journal->sealed < ticket);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 0);
}

/* ---- an encryption that finds no memory, and a thread that comes to the log in the moment in which the group is fenced */

static struct log *_Atomic failing; /* its next encryption fails; NULL: none */
static _Atomic unsigned encryptions;

enum error __real_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size);
enum error __wrap_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size);
enum error __real_group_fence(struct group *group, enum error error);
enum error __wrap_group_fence(struct group *group, enum error error);

enum error __wrap_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out, size_t size)
{
    if (atomic_load(&failing) && atomic_fetch_add(&encryptions, 1) == 0)
        return ERROR_NO_MEMORY;
    return __real_bulk_encrypt(keys, first_block, in, out, size);
}

static void advance(void *argument)
{
    (void)!log_advance(argument);
}

enum error __wrap_group_fence(struct group *group, enum error error)
{
    struct log *log = atomic_load(&failing);
    struct thread other;
    if (log && atomic_load(&encryptions) == 1 && !group_is_fenced(group)) {
        assert_int_equal(thread_start(&other, "other", advance, log), ERROR_NONE);
        thread_join(&other);
    }
    return __real_group_fence(group, error);
}

/* Its tag was made, and the bytes would be others: `durable` may have risen. */
static void what_could_not_be_encrypted_is_sealed_by_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    uint64_t ticket = write_one_and_close_another(f);
    atomic_store(&failing, journal);
    enum error error = log_advance(journal);
    atomic_store(&failing, NULL);
    assert_int_equal(error, ERROR_FENCED);
    assert_int_equal(atomic_load(&encryptions), 1);
    assert_true(journal->sealed < ticket);
    fixture_crash(f);
    fixture_open(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 0);
}

static void nothing_open_is_nothing_to_close(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(log_wait(&f->group->journal, close_open(f)), ERROR_NONE);
    uint64_t before = f->group->journal.tickets;
    assert_int_equal(close_open(f), before);
    assert_int_equal(f->group->journal.tickets, before);
}

static void an_empty_append_carries_the_chain_on(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    fixture_write(f, COMPONENT, 1, 1);
    for (unsigned i = 0; i < 5; i++) {
        (void)close_open(f);
        assert_int_equal(fixture_enter(f, false), ERROR_NONE);
        uint64_t ticket = log_close(journal, true);
        fixture_leave(f);
        assert_int_equal(log_wait(journal, ticket), ERROR_NONE);
    }
    fixture_write(f, COMPONENT, 2, 2);
    reopen(f);
    fixture_expect(f, COMPONENT, 1, 1);
    fixture_expect(f, COMPONENT, 2, 2);
}

static void a_log_goes_on_from_segment_to_segment(void **state)
{
    struct fixture *f = *state;
    uint64_t serial = 0, segments = 0;
    for (uint64_t i = 0; i < 2000; i++) {
        struct map_entry entries[4];
        uint64_t seeds[4] = {4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4};
        assert_int_equal(fixture_try_write(f, COMPONENT, 4 * i, seeds, 4, entries), ERROR_NONE);
        segments += entry_serial(entries[0]) != serial;
        serial = entry_serial(entries[0]);
        assert_true((uint64_t)(entry_offset(entries[0]) + entry_length(entries[0])) * GRAIN_SIZE <=
                    segment_size(&f->group->segments));
    }
    assert_true(segments > 4);
    assert_int_equal(group_publish(f->group), ERROR_NONE);
    assert_false(atomic_load(&used_early));
    reopen(f);
    for (uint64_t i = 0; i < 8000; i += 7)
        fixture_expect(f, COMPONENT, i, i + 1);
}

/* Slots that are open: the logs' current segments, and those after them. */
static unsigned open_count(struct fixture *f)
{
    unsigned count = 0;
    mutex_lock(&f->group->lock);
    for (uint32_t i = 0; i < f->group->segments.count; i++)
        count += f->group->segments.table[i].state == SLOT_OPEN;
    mutex_unlock(&f->group->lock);
    return count;
}

static bool is_ahead(struct fixture *f, unsigned further)
{
    mutex_lock(&f->group->lock);
    bool is = f->group->journal.further_count == further && f->group->journal.prepared != SEGMENT_NONE;
    mutex_unlock(&f->group->lock);
    return is;
}

/* A keeper that nobody wakes looks every 100 ms. */
static void ahead_await(struct fixture *f, unsigned further)
{
    for (unsigned i = 0; i < 1000 && !is_ahead(f, further); i++)
        usleep(10000);
    assert_true(is_ahead(f, further));
}

/* Nobody would give it back before the next open. */
static void a_slot_whose_header_is_not_written_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct log *cold = &f->group->cold;
    ahead_await(f, LOG_FURTHER_MAX);
    unsigned open = open_count(f);
    uint32_t free_total = f->group->segments.free_total;
    assert_int_equal(cold->segment, SEGMENT_NONE);
    atomic_store(&without_memory, true);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(log_prepare(cold), ERROR_NO_MEMORY);
    assert_int_equal(open_count(f), open);
    uint64_t salt = atomic_load(&last_salt); /* a publish may have stored it, and replay believes that */
    atomic_store(&without_memory, false);
    assert_int_equal(log_prepare(cold), ERROR_NONE);
    assert_true(atomic_load(&last_salt) == salt);
    assert_int_equal(open_count(f), open + 1);
    assert_int_equal(f->group->segments.free_total, free_total - 1);
}

/* Until there is memory again nothing is prepared; then the journal goes on where the segment before says. */
static void a_journal_goes_on_where_a_header_was_not_written_at_first(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    ahead_await(f, LOG_FURTHER_MAX);
    unsigned open = open_count(f);
    uint64_t blocks = 0;
    atomic_store(&without_memory, true);
    for (bool prepared = true; prepared; blocks++) {
        fixture_write(f, COMPONENT, blocks, blocks + 1);
        mutex_lock(&f->group->lock);
        prepared = journal->prepared != SEGMENT_NONE;
        mutex_unlock(&f->group->lock);
    }
    for (unsigned i = 0; i < 5; i++)
        (void)!log_prepare(journal);
    assert_int_equal(open_count(f), open - 1 - LOG_FURTHER_MAX);
    atomic_store(&without_memory, false);
    for (uint64_t end = blocks + 3000; blocks < end; blocks++)
        fixture_write(f, COMPONENT, blocks, blocks + 1);
    assert_true(open_count(f) <= open);
    reopen(f);
    for (uint64_t i = 0; i < blocks; i += 7)
        fixture_expect(f, COMPONENT, i, i + 1);
}

/* Each says which comes before and which after it, and the journal goes on in them in this order. */
static void a_journal_has_several_segments_ahead(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    uint32_t chain[2 + LOG_FURTHER_MAX];
    ahead_await(f, LOG_FURTHER_MAX);
    chain[0] = journal->segment;
    chain[1] = journal->prepared;
    memcpy(chain + 2, journal->further, sizeof journal->further);
    for (size_t i = 0; i < COUNT_OF(chain); i++) {
        struct segments *segments = &f->group->segments;
        struct segment_header header;
        assert_int_equal(segment_header_read(f->group, segment_device(segments, chain[i]), segment_slot(segments, chain[i]),
                                             segments->table[chain[i]].serial, &header), ERROR_NONE);
        uint32_t next = i + 1 < COUNT_OF(chain) ? chain[i + 1] : journal->reserved;
        assert_true(header.successor.serial == segments->table[next].serial);
        assert_true(i == 0 || header.predecessor.serial == segments->table[chain[i - 1]].serial);
    }
    uint64_t blocks = 0;
    for (size_t i = 0; i < COUNT_OF(chain); i++)
        for (bool there = false; !there; blocks++) {
            fixture_write(f, COMPONENT, blocks % 8192, blocks + 1);
            mutex_lock(&f->group->lock);
            there = journal->segment == chain[i];
            mutex_unlock(&f->group->lock);
            assert_true(blocks < 20000);
        }
    reopen(f);
    for (uint64_t i = 0; i < MIN(blocks, 8192); i += 7)
        fixture_expect(f, COMPONENT, i, i + 1 + (blocks - 1 - i) / 8192 * 8192);
}

/* They are written to before a commit finds no space. */
static void a_journal_has_one_segment_ahead_where_space_is_short(void **state)
{
    struct fixture *f = *state;
    enum error error = ERROR_NONE;
    ahead_await(f, LOG_FURTHER_MAX);
    for (uint64_t i = 0; error == ERROR_NONE; i++)
        error = fixture_try_write(f, COMPONENT, i, (uint64_t[]){i + 1}, 1, NULL);
    assert_int_equal(error, ERROR_NO_SPACE);
    assert_true(is_ahead(f, 0));
    uint64_t left = f->group->segments.free_total;
    assert_true(left > 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(log_prepare(&f->group->journal), ERROR_NONE);
    assert_true(is_ahead(f, 0) && f->group->segments.free_total == left);
}

static void four_write(struct fixture *f, uint64_t unit)
{
    uint64_t seeds[UNIT_CHUNKS] = {4 * unit + 1, 4 * unit + 2, 4 * unit + 3, 4 * unit + 4};
    assert_int_equal(fixture_try_write(f, COMPONENT, unit * UNIT_CHUNKS, seeds, UNIT_CHUNKS, NULL), ERROR_NONE);
}

/* As they are where memory is not small. */
static void an_append_of_two_mib_is_replayed(void **state)
{
    struct fixture *f = *state;
    uint64_t units = 0;
    f->memory = UINT64_C(160) << 20;
    reopen(f);
    struct log *journal = &f->group->journal;
    assert_int_equal(journal->buffer_bytes, 2u << 20);
    fixture_write(f, COMPONENT, 0, 1); /* the last buffer of a segment is shorter, so more than two are filled */
    for (uint64_t first = journal->tickets; journal->tickets < first + 4; units++)
        four_write(f, units);
    uint32_t longest = 0;
    for (unsigned i = 0; i < journal->buffer_count; i++)
        longest = MAX(longest, journal->buffers[i].blocks);
    assert_true(longest > (1u << 20) / BLOCK_SIZE);
    reopen(f);
    for (uint64_t i = 0; i < units * UNIT_CHUNKS; i++)
        fixture_expect(f, COMPONENT, i, i + 1);
}

static void what_must_be_whole_lies_in_one_append(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    const size_t whole = 256 << 10;
    for (unsigned i = 0; i < 60; i++) { /* 15 MiB: over several ends of segments */
        struct log_item item;
        assert_int_equal(fixture_enter(f, false), ERROR_NONE);
        log_require_whole(journal, whole, 100);
        uint64_t ticket = journal->open->ticket;
        for (size_t bytes = 0; bytes + (32 << 10) <= whole; bytes += 32 << 10) {
            log_reserve(journal, 32 << 10, 0, &item);
            assert_int_equal(item.buffer->ticket, ticket);
            log_filled(journal, item.buffer, 1);
        }
        fixture_leave(f);
        assert_int_equal(log_advance(journal), ERROR_NONE);
    }
    assert_true(f->group->segments.serial_next > 4);
}

/* Enters references of one block as a commit of its own, as long as they take no more than `end` bytes of the records of
 * the buffer; returns the ticket of the last one. */
static uint64_t records_fill(struct fixture *f, uint32_t end)
{
    struct log *journal = &f->group->journal;
    struct log_commit commit = {.section = &f->section};
    struct map_entry hole = {0};
    uint8_t bytes[RECORD_REFERENCE_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    struct log_item none;
    record_reference_encode(&out, COMPONENT, 1, &hole, 1);
    size_t size = (size_t)(out.next - bytes);
    do {
        log_reserve(journal, 0, size, &none);
        log_record(journal, &commit, bytes, size);
    } while (journal->open->records_size + size + sizeof(struct frame_format) <= end);
    return none.buffer->ticket;
}

static void what_must_be_whole_has_room_for_its_records(void **state)
{
    struct fixture *f = *state;
    struct log *journal = &f->group->journal;
    const uint32_t room = 4096;
    assert_int_equal(log_wait(journal, close_open(f)), ERROR_NONE);
    assert_int_equal(fixture_enter(f, false), ERROR_NONE);
    uint64_t before = records_fill(f, LOG_RECORDS_BYTES - 100);
    assert_true(journal->open->records_size > LOG_RECORDS_BYTES - 200);
    log_require_whole(journal, 100, room);
    uint64_t ticket = journal->open->ticket;
    assert_int_equal(records_fill(f, journal->open->records_size + room), ticket);
    assert_true(ticket > before);
    fixture_leave(f);
    assert_int_equal(log_advance(journal), ERROR_NONE);
}

static uint32_t journal_segment(struct fixture *f)
{
    mutex_lock(&f->group->lock);
    uint32_t segment = f->group->journal.prepared == SEGMENT_NONE ? SEGMENT_NONE : f->group->journal.segment;
    mutex_unlock(&f->group->lock);
    return segment;
}

/* Whether a commit need not wait for a segment. */
static bool has_room(struct fixture *f, bool little)
{
    enum error error = ERROR_AGAIN;
    while (error == ERROR_AGAIN) {
        mutex_lock(&f->section.mutex);
        mutex_lock(&f->group->lock);
        error = group_room(f->group, (struct commit_need){COMMIT_GROWS, NULL, little});
        bool lacks = log_lacks_segment_for(&f->group->journal, little);
        mutex_unlock(&f->group->lock);
        mutex_unlock(&f->section.mutex);
        if (lacks)
            return false;
        if (error == ERROR_AGAIN)
            assert_int_equal(log_wait_buffer(&f->group->journal), ERROR_NONE);
    }
    assert_int_equal(error, ERROR_NONE);
    return true;
}

/* As long as what one can need is left in the segment, a little one longer; then they wait, and go on where it is written. */
static void commits_go_on_while_the_next_header_is_written(void **state)
{
    struct fixture *f = *state;
    uint64_t unit = 0, held = 0, little = 0;
    uint32_t before;
    while ((before = journal_segment(f)) == SEGMENT_NONE)
        clock_sleep(CLOCK_MILLISECOND);
    atomic_store(&header_held, true);
    while (f->group->journal.segment == before)
        four_write(f, unit++);
    for (; has_room(f, false); held++)
        four_write(f, unit++);
    uint32_t left = segment_blocks(&f->group->segments) - f->group->journal.block;
    f->little = true;
    for (; has_room(f, true); little++)
        four_write(f, unit++);
    f->little = false;
    uint32_t left_last = segment_blocks(&f->group->segments) - f->group->journal.block;
    bool prepared = f->group->journal.prepared != SEGMENT_NONE;
    atomic_store(&header_held, false);
    assert_false(prepared);
    assert_true(held > 16);
    assert_true((uint64_t)left * BLOCK_SIZE >= 2 * f->group->journal.buffer_bytes);
    assert_true(little > 16);
    assert_true((uint64_t)left_last * BLOCK_SIZE >= f->group->journal.buffer_bytes);
    for (uint64_t end = unit + 1000; unit < end; unit++)
        four_write(f, unit);
    reopen(f);
    for (uint64_t block = 0; block < unit * UNIT_CHUNKS; block++)
        fixture_expect(f, COMPONENT, block, block + 1);
}

/* ---- several threads ----------------------------------------------------------------------------------------------
 */

struct writer {
    struct fixture *fixture;
    uint64_t number;
    enum error error;
};

static uint64_t seed_of(uint64_t writer, uint64_t i)
{
    return 1 + writer * 1000000 + i;
}

static void write_many(void *argument)
{
    struct writer *writer = argument;
    struct fixture *f = writer->fixture;
    for (uint64_t i = 0; i < WRITES && !writer->error; i++) {
        uint64_t seeds[4], block = (i * THREADS + writer->number) * 4;
        for (unsigned n = 0; n < 4; n++)
            seeds[n] = seed_of(writer->number, 4 * i + n);
        writer->error = fixture_try_write(f, COMPONENT, block, seeds, 4, NULL);
        if (!writer->error && i % 40 == writer->number * 10)
            writer->error = group_sync(f->group);
        if (!writer->error && i % 100 == 50 && writer->number == 0)
            writer->error = group_publish(f->group);
        if (!writer->error && i % 5 == 0)
            fixture_expect(f, COMPONENT, block + 3, seeds[3]);
    }
}

static void all_that_threads_wrote_is_replayed(void **state)
{
    struct fixture *f = *state;
    struct writer writers[THREADS];
    struct thread threads[THREADS];
    for (uint64_t w = 0; w < THREADS; w++) {
        writers[w] = (struct writer){f, w, ERROR_NONE};
        assert_int_equal(thread_start(&threads[w], "writer", write_many, &writers[w]), ERROR_NONE);
    }
    for (uint64_t w = 0; w < THREADS; w++)
        thread_join(&threads[w]);
    for (uint64_t w = 0; w < THREADS; w++)
        assert_int_equal(writers[w].error, ERROR_NONE);
    reopen(f);
    for (uint64_t i = 0; i < WRITES; i += 3)
        for (uint64_t w = 0; w < THREADS; w++)
            fixture_expect(f, COMPONENT, (i * THREADS + w) * 4 + 1, seed_of(w, 4 * i + 1));
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TEST_TWO(name) cmocka_unit_test_setup_teardown(name, fixture_setup_two, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_address_in_no_buffer_is_not_found),
        TEST(what_stands_behind_an_append_in_flight_is_read_at_once),
        TEST(nothing_of_an_earlier_life_is_written),
        TEST(a_reader_waits_for_a_fill),
        TEST(a_group_that_is_out_of_service_writes_no_append),
        TEST(what_could_not_be_encrypted_is_sealed_by_nobody_else),
        TEST(nothing_open_is_nothing_to_close),
        TEST(an_empty_append_carries_the_chain_on),
        TEST(a_log_goes_on_from_segment_to_segment),
        TEST(a_slot_whose_header_is_not_written_is_not_lost),
        TEST(a_journal_has_several_segments_ahead),
        TEST(a_journal_has_one_segment_ahead_where_space_is_short),
        TEST(an_append_of_two_mib_is_replayed),
        TEST(a_journal_goes_on_where_a_header_was_not_written_at_first),
        TEST(what_must_be_whole_lies_in_one_append),
        TEST(what_must_be_whole_has_room_for_its_records),
        TEST(commits_go_on_while_the_next_header_is_written),
        TEST(all_that_threads_wrote_is_replayed),
        TEST_TWO(all_that_threads_wrote_is_replayed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
