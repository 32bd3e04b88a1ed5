/*
 * Each block of the device has a word in the table:
 *
 *   plain  it stands in the device's file, as every block does at first
 *   run    it is 4096 bytes of two chunks of the generator that follow each other, from some byte of the first on
 *   cut    it is what a *cut* says: the end of one chunk, some bytes, the begin of another, where each may be missing
 *
 * A unit's header lies between two units' chunks, and an append's records behind its last: that is a cut, in the file of
 * cuts, which only grows. Chunks stand at any multiple of four bytes, since an item's descriptors go before them; they
 * are looked for, and compared whole, so what is made anew is what was written.
 *
 * Order: plain blocks and cuts first, then the words that name them. A process that is killed leaves blocks as they were
 * or as they became, as a disk without a cache would; a flush is one of the device's file, and what the other two hold is
 * the page cache's. Operations are complete when they were submitted.
 *
 * Locks: none. The cuts' end is atomic; nobody writes a block twice at a time.
 */
#include "bench/regenerated.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/memory.h"
#include "engine/device/kind.h"

#define CHUNK_ALIGNMENT 4
#define CUT_ALIGNMENT   8
#define TOGETHER_BLOCKS 16 /* of a read at most, and … */
#define TOGETHER_READS  64 /* … so many reads, that are handed to the file at once */

/* A word: what it is in the upper two bits, 12 bits of a place within a block below, 48 of a number. Of a run: where in
 * the first chunk the block begins, and its name. Of a cut: where it stands, in units of its alignment. */
enum word_kind { WORD_PLAIN = 0, WORD_RUN = 1, WORD_CUT = 2 };
#define NUMBER_BITS 48
#define KIND_SHIFT  62
#define NUMBER_MASK ((UINT64_C(1) << NUMBER_BITS) - 1)

/* Followed by the bytes between the two chunks, or, where there is no second one, up to the last that is not zero. */
struct cut_format {
    le64 before; /* a word of a run: the chunk that ends here, and where it begins; 0: none */
    le64 after;  /* … that begins here; 0: none */
    le16 first;  /* of the bytes in the block */
    le16 end;
    uint8_t reserved[4];
};
_Static_assert(sizeof(struct cut_format) == 24, "cut_format");

struct regenerated {
    struct device device;
    struct device *file;
    const struct generator *generator;
    int table, cuts;
    _Atomic uint64_t cuts_end; /* bytes */
};

/* ---- chunks have names of 48 bits: a stream, and a position in it ------------------------------------------------ */

#define STREAM_SHIFT   56 /* of a number of the generator */
#define POSITION_BITS  40

static bool name_of(uint64_t number, uint64_t *name)
{
    uint64_t position = number & ((UINT64_C(1) << STREAM_SHIFT) - 1);
    *name = number >> STREAM_SHIFT << POSITION_BITS | position;
    return position < UINT64_C(1) << POSITION_BITS;
}

static uint64_t number_of(uint64_t name)
{
    return name >> POSITION_BITS << STREAM_SHIFT | (name & ((UINT64_C(1) << POSITION_BITS) - 1));
}

static uint64_t word_make(enum word_kind kind, size_t place, uint64_t number)
{
    return (uint64_t)kind << KIND_SHIFT | (uint64_t)place << NUMBER_BITS | number;
}

static enum word_kind word_kind(uint64_t word) { return (enum word_kind)(word >> KIND_SHIFT); }
static size_t word_place(uint64_t word) { return word >> NUMBER_BITS & (DEVICE_BLOCK - 1); }

/* ---- files --------------------------------------------------------------------------------------------------------- */

static int read_all(int file, void *bytes, size_t size, uint64_t offset)
{
    memset(bytes, 0, size);
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(file, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            return 0; /* beyond its end: zeros */
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int write_all(int file, const void *bytes, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(file, (const uint8_t *)bytes + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno != EINTR)
            return errno;
        done += put > 0 ? (size_t)put : 0;
    }
    return 0;
}

/* Blocks that follow each other, of the device's own file. */
static int file_run(struct regenerated *device, const struct device_io *io, size_t first, size_t count)
{
    struct device_io part = {.device = device->file,
                             .operation = io->operation,
                             .flags = io->flags,
                             .offset = io->offset + first * DEVICE_BLOCK,
                             .size = count * DEVICE_BLOCK,
                             .buffer = (uint8_t *)io->buffer + first * DEVICE_BLOCK};
    return device_run(&part, 1) == ERROR_NONE ? 0 : part.os_error ? part.os_error : EIO;
}

/* All blocks whose word is 0, as few operations as they make. */
static int plain_run(struct regenerated *device, const struct device_io *io, const le64 *words)
{
    size_t count = io->size / DEVICE_BLOCK, end;
    for (size_t first = 0; first < count; first = end) {
        bool plain = le64_get(words[first]) == 0;
        for (end = first + 1; end < count && (le64_get(words[end]) == 0) == plain; end++)
            ;
        int number = plain ? file_run(device, io, first, end - first) : 0;
        if (number)
            return number;
    }
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

/* From some byte of a chunk on, as much as the block has room for. */
static void chunk_part(const struct regenerated *device, uint64_t name, size_t from, uint8_t *to, size_t size)
{
    uint8_t chunk[GENERATOR_CHUNK];
    generator_make(device->generator, number_of(name & NUMBER_MASK), chunk);
    memcpy(to, chunk + from, MIN(size, GENERATOR_CHUNK - from));
}

static void run_read(const struct regenerated *device, uint64_t word, uint8_t *block)
{
    size_t place = word_place(word), left = GENERATOR_CHUNK - place;
    chunk_part(device, word, place, block, left);
    if (left < DEVICE_BLOCK)
        chunk_part(device, word + 1, 0, block + left, DEVICE_BLOCK - left);
}

static int cut_read(const struct regenerated *device, uint64_t word, uint8_t *block)
{
    uint8_t bytes[sizeof(struct cut_format) + DEVICE_BLOCK];
    const struct cut_format *cut = (const struct cut_format *)bytes;
    int number = read_all(device->cuts, bytes, sizeof bytes, (word & NUMBER_MASK) * CUT_ALIGNMENT);
    size_t first = le16_get(cut->first), end = le16_get(cut->end);
    uint64_t before = le64_get(cut->before), after = le64_get(cut->after);
    if (number || first > end || end > DEVICE_BLOCK)
        return number ? number : EIO;
    memset(block, 0, DEVICE_BLOCK);
    if (before)
        chunk_part(device, before, word_place(before), block, first);
    memcpy(block + first, cut + 1, end - first);
    if (after)
        chunk_part(device, after, 0, block + end, DEVICE_BLOCK - end);
    return 0;
}

static int blocks_read(struct regenerated *device, const struct device_io *io, le64 *words)
{
    size_t count = io->size / DEVICE_BLOCK;
    int number = read_all(device->table, words, count * sizeof *words, io->offset / DEVICE_BLOCK * sizeof *words);
    if (!number)
        number = plain_run(device, io, words);
    for (size_t i = 0; i < count && !number; i++) {
        uint64_t word = le64_get(words[i]);
        uint8_t *block = (uint8_t *)io->buffer + i * DEVICE_BLOCK;
        if (word_kind(word) == WORD_RUN)
            run_read(device, word, block);
        else if (word_kind(word) == WORD_CUT)
            number = cut_read(device, word, block);
    }
    return number;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

/* A chunk in the bytes of a write; `name` is a word of a run. */
struct found {
    size_t at;
    uint64_t name;
};

/* The next chunk at `from` or behind; false where there is none. */
static bool chunk_find(const struct regenerated *device, const struct device_io *io, size_t from, struct found *found)
{
    const uint8_t *bytes = io->buffer;
    uint64_t number, name;
    for (size_t at = from; at + GENERATOR_CHUNK <= io->size; at += CHUNK_ALIGNMENT)
        if (generator_recognise(device->generator, bytes + at, &number) && name_of(number, &name)) {
            *found = (struct found){at, word_make(WORD_RUN, 0, name)};
            return true;
        }
    return false;
}

/* Cuts that a write makes; until their place in the file is known words name the place in here. */
struct cuts {
    uint8_t *bytes;
    size_t size;
};

/* The block at `at` of the write: `before` reaches into it, `after` begins in it; either may be NULL, not both. */
static uint64_t cut_make(const struct device_io *io, size_t at, const struct found *before, const struct found *after,
                         struct cuts *cuts)
{
    const uint8_t *block = (const uint8_t *)io->buffer + at;
    size_t first = before ? before->at + GENERATOR_CHUNK - at : 0, end = after ? after->at - at : DEVICE_BLOCK;
    while (!after && end > first && block[end - 1] == 0)
        end--;
    struct cut_format *cut = (struct cut_format *)(cuts->bytes + cuts->size);
    *cut = (struct cut_format){
        .before = le64_make(before ? before->name | (uint64_t)(at - before->at) << NUMBER_BITS : 0),
        .after = le64_make(after ? after->name : 0),
        .first = le16_make((uint16_t)first),
        .end = le16_make((uint16_t)end),
    };
    memcpy(cut + 1, block + first, end - first);
    uint64_t word = word_make(WORD_CUT, 0, cuts->size / CUT_ALIGNMENT);
    cuts->size += ROUND_UP(sizeof *cut + end - first, CUT_ALIGNMENT);
    return word;
}

/* `one` reaches into the block from before, `two` begins in it; NULL: none. */
static uint64_t word_of(const struct device_io *io, size_t at, const struct found *one, const struct found *two,
                        struct cuts *cuts)
{
    if (!one && !two)
        return 0;
    if (two && two->at == at)
        return two->name;
    bool follows = one && two && two->name == one->name + 1 && two->at == one->at + GENERATOR_CHUNK;
    return follows ? one->name | (uint64_t)(at - one->at) << NUMBER_BITS : cut_make(io, at, one, two, cuts);
}

/* Words of all blocks of a write; a block has two chunks at most, since each is as long as it. */
static void words_make(const struct regenerated *device, const struct device_io *io, le64 *words, struct cuts *cuts)
{
    struct found last = {0}, next = {0};
    bool has_last = false, has_next = chunk_find(device, io, 0, &next);
    for (size_t at = 0; at < io->size; at += DEVICE_BLOCK) {
        const struct found *one = has_last && last.at + GENERATOR_CHUNK > at ? &last : NULL;
        bool begins = has_next && next.at < at + DEVICE_BLOCK;
        words[at / DEVICE_BLOCK] = le64_make(word_of(io, at, one, begins ? &next : NULL, cuts));
        if (!begins)
            continue;
        last = next;
        has_last = true;
        has_next = chunk_find(device, io, last.at + GENERATOR_CHUNK, &next);
    }
}

static int cuts_write(struct regenerated *device, const struct cuts *cuts, le64 *words, size_t count)
{
    uint64_t place = cuts->size ? atomic_fetch_add(&device->cuts_end, cuts->size) : 0;
    for (size_t i = 0; i < count; i++)
        if (word_kind(le64_get(words[i])) == WORD_CUT)
            words[i] = le64_make(le64_get(words[i]) + place / CUT_ALIGNMENT);
    return write_all(device->cuts, cuts->bytes, cuts->size, place);
}

static int blocks_write(struct regenerated *device, const struct device_io *io, le64 *words)
{
    size_t count = io->size / DEVICE_BLOCK;
    struct cuts cuts = {memory_aligned(count * (sizeof(struct cut_format) + DEVICE_BLOCK)), 0};
    if (!cuts.bytes)
        return ENOMEM;
    words_make(device, io, words, &cuts);
    int number = plain_run(device, io, words);
    if (!number)
        number = cuts_write(device, &cuts, words, count);
    free(cuts.bytes);
    return number ? number
                  : write_all(device->table, words, count * sizeof *words, io->offset / DEVICE_BLOCK * sizeof *words);
}

static int discard(struct regenerated *device, const struct device_io *io)
{
    uint64_t first = io->offset / DEVICE_BLOCK * sizeof(le64), size = io->size / DEVICE_BLOCK * sizeof(le64);
    enum error error = device_discard(device->file, io->offset, io->size);
    if (error && error != ERROR_UNSUPPORTED)
        return EIO;
    return fallocate(device->table, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first, (off_t)size) ? errno : 0;
}

/* ---- the device ---------------------------------------------------------------------------------------------------- */

static int execute(struct regenerated *device, const struct device_io *io)
{
    if (io->operation == DEVICE_FLUSH)
        return device_flush(device->file) == ERROR_NONE ? 0 : EIO;
    if (io->operation == DEVICE_DISCARD)
        return discard(device, io);
    AUTO_FREE le64 *words = memory_zeroed(io->size / DEVICE_BLOCK, sizeof *words);
    if (!words)
        return ENOMEM;
    return io->operation == DEVICE_READ ? blocks_read(device, io, words) : blocks_write(device, io, words);
}

/* ---- reads together ------------------------------------------------------------------------------------------------ */

/* All blocks of a read are plain: so are those of maps and tables, mostly, of which many are read at once. */
static bool is_plain_read(const struct device_io *io)
{
    const struct regenerated *device = (const struct regenerated *)io->device;
    le64 words[TOGETHER_BLOCKS];
    size_t count = io->size / DEVICE_BLOCK;
    if (io->operation != DEVICE_READ || count > TOGETHER_BLOCKS ||
        read_all(device->table, words, count * sizeof *words, io->offset / DEVICE_BLOCK * sizeof *words) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (le64_get(words[i]) != 0)
            return false;
    return true;
}

static void together_run(struct device_io **ios, struct device_io *parts, size_t count)
{
    (void)!device_run(parts, count);
    for (size_t i = 0; i < count; i++)
        io_complete(ios[i], parts[i].error, parts[i].os_error);
}

/* Reads what can be read together; what is left, in its order, is `*count` afterwards. */
static void plain_reads_run(struct device_io **ios, size_t *count)
{
    struct device_io *taken[TOGETHER_READS], parts[TOGETHER_READS];
    size_t left = 0, together = 0;
    for (size_t i = 0; i < *count; i++) {
        struct device_io *io = ios[i];
        if (!is_plain_read(io)) {
            ios[left++] = io;
            continue;
        }
        taken[together] = io;
        parts[together++] = (struct device_io){.device = ((struct regenerated *)io->device)->file,
                                               .operation = DEVICE_READ,
                                               .offset = io->offset,
                                               .size = io->size,
                                               .buffer = io->buffer};
        if (together == TOGETHER_READS) {
            together_run(taken, parts, together);
            together = 0;
        }
    }
    together_run(taken, parts, together);
    *count = left;
}

static void regenerated_submit(struct device_io **ios, size_t count)
{
    plain_reads_run(ios, &count);
    for (size_t i = 0; i < count; i++) {
        int number = execute((struct regenerated *)ios[i]->device, ios[i]);
        if (number && (ios[i]->operation == DEVICE_WRITE || ios[i]->operation == DEVICE_FLUSH))
            device_fence(ios[i], number);
        io_complete(ios[i], number ? ERROR_IO : ERROR_NONE, number);
    }
}

static void regenerated_wait(struct device_io *io)
{
    ASSERT(io_is_complete(io));
}

static void regenerated_close(struct device *opened)
{
    struct regenerated *device = (struct regenerated *)opened;
    device_close(device->file);
    if (device->table >= 0)
        close(device->table);
    if (device->cuts >= 0)
        close(device->cuts);
    device_deinit(opened);
    free(device);
}

static const struct device_operations regenerated_operations = {
    .kind = "regenerated",
    .submit = regenerated_submit,
    .wait = regenerated_wait,
    .close = regenerated_close,
};

static enum error beside_open(const char *path, const char *suffix, int *file)
{
    char beside[PATH_MAX];
    if (snprintf(beside, sizeof beside, "%s.%s", path, suffix) >= PATH_MAX)
        return error_explain(ERROR_TOO_LARGE, "%s: the path is too long", path);
    *file = open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return *file < 0 ? error_from_errno(errno, "open %s", beside) : ERROR_NONE;
}

static enum error files_open(struct regenerated *device, const char *path)
{
    TRY(beside_open(path, "table", &device->table));
    TRY(beside_open(path, "cuts", &device->cuts));
    off_t end = lseek(device->cuts, 0, SEEK_END);
    if (end < 0)
        return error_from_errno(errno, "find the end of %s.cuts", path);
    atomic_store(&device->cuts_end, ROUND_UP((uint64_t)end, CUT_ALIGNMENT));
    return device_init(&device->device, &regenerated_operations, path, device->file->size, device->file->read_only);
}

enum error regenerated_open(const char *path, unsigned flags, void *context, struct device **out)
{
    struct regenerated *device = memory_zeroed(1, sizeof *device);
    if (!device)
        return ERROR_NO_MEMORY;
    device->table = device->cuts = -1;
    device->generator = context;
    enum error error = device_open_file(path, flags, &device->file);
    if (!error)
        error = files_open(device, path);
    if (error)
        regenerated_close(&device->device);
    else
        *out = &device->device;
    return error;
}
