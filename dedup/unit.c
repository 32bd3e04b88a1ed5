/*
 * Units: compression of a few chunks as one, and the look that spares random data the attempt.
 *
 * What is stored carries only what cannot be known otherwise: the number of chunks and the codec stand in the unit's
 * descriptor and a tag covers the stored bytes, so zstd leaves out its magic number, content size and checksum (9
 * bytes, half a grain of every unit), and lz4 is a bare block. The codec's output is bounded by the size from which
 * storing it would not pay, so that it gives up where it can see that it will not get there.
 *
 * The result depends on nothing but the arguments: contexts are reset before each use.
 *
 * No locks: contexts belong to a thread, are made when it first needs them, wiped and freed when it ends. Nothing here
 * reaches a disk, so there is nothing for a crash to harm. Decompression trusts no byte of its input: both libraries
 * are given the room there is, and any other length than the one asked for is damage.
 */
/* For the format without magic number, and for memory that is wiped; its functions are exported. */
#define ZSTD_STATIC_LINKING_ONLY
#include "dedup/unit.h"

#include <lz4.h>
#include <pthread.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/memory.h"

#define UNIT_GRAIN       16
#define UNIT_SAVING_MIN  32 /* one part in this many */
#define LZ4_ACCELERATION 1

struct unit_thread {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    int level;        /* of `compressor`, where there is one */
    LZ4_stream_t lz4; /* memory only: each use begins afresh */
    uint8_t gathered[UNIT_CHUNKS_MAX * CHUNK_SIZE];
};

static _Thread_local struct unit_thread *unit_of_thread;
static pthread_once_t unit_once = PTHREAD_ONCE_INIT;
static pthread_key_t unit_at_thread_end;

/* zstd's contexts keep literals of what went through them, which is users' plaintext. */
static void *codec_allocate(void *opaque, size_t size)
{
    (void)opaque;
    return malloc(size);
}

static void codec_free(void *opaque, void *memory)
{
    (void)opaque;
    memory_free_cleansed(memory);
}

static const ZSTD_customMem codec_memory = {codec_allocate, codec_free, NULL};

static void unit_thread_destroy(void *argument)
{
    struct unit_thread *thread = argument;

    ZSTD_freeCCtx(thread->compressor);
    ZSTD_freeDCtx(thread->decompressor);
    memory_free_cleansed(thread);
    unit_of_thread = NULL;
}

static void unit_once_init(void)
{
    ASSERT(pthread_key_create(&unit_at_thread_end, unit_thread_destroy) == 0);
}

void unit_thread_end(void)
{
    if (unit_of_thread == NULL)
        return;
    ASSERT(pthread_setspecific(unit_at_thread_end, NULL) == 0);
    unit_thread_destroy(unit_of_thread);
}

static struct unit_thread *unit_thread_get(void)
{
    struct unit_thread *thread = unit_of_thread;

    if (thread != NULL)
        return thread;
    pthread_once(&unit_once, unit_once_init);
    thread = memory_zeroed(1, sizeof *thread);
    if (thread == NULL)
        return NULL;
    if (pthread_setspecific(unit_at_thread_end, thread) != 0) {
        free(thread);
        return NULL;
    }
    unit_of_thread = thread;
    return thread;
}

static bool compressor_set_up(ZSTD_CCtx *compressor)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(compressor, ZSTD_c_format, ZSTD_f_zstd1_magicless)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(compressor, ZSTD_c_contentSizeFlag, 0)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 0));
}

static ZSTD_CCtx *compressor_get(struct unit_thread *thread, int level)
{
    if (thread->compressor == NULL) {
        ZSTD_CCtx *compressor = ZSTD_createCCtx_advanced(codec_memory);

        if (compressor == NULL || !compressor_set_up(compressor)) {
            ZSTD_freeCCtx(compressor);
            return NULL;
        }
        thread->compressor = compressor;
        thread->level = ZSTD_CLEVEL_DEFAULT;
    }
    if (thread->level != level) {
        if (ZSTD_isError(ZSTD_CCtx_setParameter(thread->compressor, ZSTD_c_compressionLevel, level)))
            return NULL;
        thread->level = level;
    }
    return thread->compressor;
}

static ZSTD_DCtx *decompressor_get(struct unit_thread *thread)
{
    if (thread->decompressor == NULL) {
        ZSTD_DCtx *decompressor = ZSTD_createDCtx_advanced(codec_memory);

        if (decompressor == NULL ||
            ZSTD_isError(ZSTD_DCtx_setParameter(decompressor, ZSTD_d_format, ZSTD_f_zstd1_magicless))) {
            ZSTD_freeDCtx(decompressor);
            return NULL;
        }
        thread->decompressor = decompressor;
    }
    return thread->decompressor;
}

static bool chunks_are_contiguous(const void *const *chunks, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if ((const uint8_t *)chunks[i] != (const uint8_t *)chunks[i - 1] + CHUNK_SIZE)
            return false;
    }
    return true;
}

static void chunks_copy(const void *const *chunks, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++)
        memcpy(out + i * CHUNK_SIZE, chunks[i], CHUNK_SIZE);
}

static const void *chunks_gather(struct unit_thread *thread, const void *const *chunks, size_t count)
{
    if (chunks_are_contiguous(chunks, count))
        return chunks[0];
    chunks_copy(chunks, count, thread->gathered);
    return thread->gathered;
}

/* Ends at the first chunk that is worth an attempt: one look for most units, `count` for random ones. */
static bool chunks_look_random(const void *const *chunks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!chunk_looks_random(chunks[i]))
            return false;
    }
    return true;
}

/* The three below write *size; 0 says that the result did not fit into `capacity`. */
static enum error compress_lz4(struct unit_thread *thread, const void *in, size_t in_size, void *out, size_t capacity,
                               size_t *size)
{
    int written = LZ4_compress_fast_extState(&thread->lz4, in, out, (int)in_size, (int)capacity, LZ4_ACCELERATION);

    *size = written > 0 ? (size_t)written : 0;
    return ERROR_NONE;
}

static enum error compress_zstd(struct unit_thread *thread, int level, const void *in, size_t in_size, void *out,
                                size_t capacity, size_t *size)
{
    ZSTD_CCtx *compressor = compressor_get(thread, level);
    size_t written;

    if (compressor == NULL)
        return error_explain(ERROR_NO_MEMORY, "no memory for a zstd context");
    written = ZSTD_compress2(compressor, out, capacity, in, in_size);
    if (!ZSTD_isError(written)) {
        *size = written;
        return ERROR_NONE;
    }
    *size = 0;
    if (ZSTD_getErrorCode(written) == ZSTD_error_dstSize_tooSmall)
        return ERROR_NONE;
    return error_explain(ERROR_NO_MEMORY, "zstd could not compress: %s", ZSTD_getErrorName(written));
}

static enum error compress(enum codec wanted, int level, const void *const *chunks, size_t count, void *out,
                           size_t capacity, size_t *size)
{
    struct unit_thread *thread = unit_thread_get();
    const void *in;

    if (thread == NULL)
        return error_explain(ERROR_NO_MEMORY, "no memory to compress");
    in = chunks_gather(thread, chunks, count);
    if (wanted == CODEC_LZ4)
        return compress_lz4(thread, in, count * CHUNK_SIZE, out, capacity, size);
    return compress_zstd(thread, level, in, count * CHUNK_SIZE, out, capacity, size);
}

enum error unit_compress(enum codec wanted, int level, const void *const *chunks, size_t count, void *out,
                         size_t capacity, size_t *size, enum codec *used)
{
    size_t whole = count * CHUNK_SIZE;
    size_t worth = ROUND_DOWN(whole - whole / UNIT_SAVING_MIN, UNIT_GRAIN);
    size_t compressed = 0;

    ASSERT(count > 0 && count <= UNIT_CHUNKS_MAX && capacity >= whole);
    ASSERT(wanted == CODEC_RAW || wanted == CODEC_LZ4 || wanted == CODEC_ZSTD);
    if (wanted != CODEC_RAW && !chunks_look_random(chunks, count))
        TRY(compress(wanted, level, chunks, count, out, worth, &compressed));
    if (compressed > 0) {
        *size = compressed;
        *used = wanted;
        return ERROR_NONE;
    }
    chunks_copy(chunks, count, out);
    *size = whole;
    *used = CODEC_RAW;
    return ERROR_NONE;
}

static void decompress_lz4(const void *in, size_t size, void *out, size_t out_size, size_t *written)
{
    int result = LZ4_decompress_safe(in, out, (int)size, (int)out_size);

    *written = result > 0 ? (size_t)result : 0;
}

static enum error decompress_zstd(const void *in, size_t size, void *out, size_t out_size, size_t *written)
{
    struct unit_thread *thread = unit_thread_get();
    ZSTD_DCtx *decompressor = thread != NULL ? decompressor_get(thread) : NULL;

    if (decompressor == NULL)
        return error_explain(ERROR_NO_MEMORY, "no memory to decompress");
    *written = ZSTD_decompressDCtx(decompressor, out, out_size, in, size);
    if (ZSTD_isError(*written))
        *written = 0;
    return ERROR_NONE;
}

enum error unit_decompress(enum codec codec, const void *in, size_t size, void *out, size_t count)
{
    size_t whole = count * CHUNK_SIZE;
    size_t written = 0;

    if (count == 0 || count > UNIT_CHUNKS_MAX || size == 0 || size > whole)
        return error_explain(ERROR_CORRUPT, "a unit cannot have %zu chunks in %zu bytes", count, size);
    switch (codec) {
    case CODEC_RAW:
        if (size == whole)
            memcpy(out, in, whole);
        written = size;
        break;
    case CODEC_LZ4:
        decompress_lz4(in, size, out, whole, &written);
        break;
    case CODEC_ZSTD:
        TRY(decompress_zstd(in, size, out, whole, &written));
        break;
    default:
        return error_explain(ERROR_CORRUPT, "codec %d does not exist", (int)codec);
    }
    if (written != whole)
        return error_explain(ERROR_CORRUPT, "a unit of %zu bytes does not decompress to its %zu chunks", size, count);
    return ERROR_NONE;
}

/*
 * The sum of squares of byte counts is n (n - 1) / 256 + n = 1534 for n = 512 random bytes, with a deviation of 45;
 * repetition raises it, and bytes that are spread too evenly (counters, tables) fall below. The sample is taken in
 * pieces from the whole chunk, so that a header, a chunk that is random in part or one that repeats random bytes does
 * not deceive it.
 *
 * Measured: of 1,048,576 chunks of random bytes all lay between 1356 and 1772, so none was missed. Of 44,800 units of
 * 16 KiB from /usr/lib, 488 had only chunks within the limits and none of these compressed by a thirty-second at
 * zstd 1; 98 of the 586 that did not were attempted in vain. With an upper limit of 2200 that falls to 25, but 10
 * compressible units are lost. Asking the first chunk alone would have lost 153 of 708.
 */
#define SAMPLE_PIECES      8
#define SAMPLE_PIECE_BYTES 64
#define SAMPLE_SQUARES_MIN 1300
#define SAMPLE_SQUARES_MAX 1800

bool chunk_looks_random(const void *chunk)
{
    const uint8_t *bytes = chunk;
    uint16_t counts[256] = {0};
    unsigned squares = 0;

    for (size_t piece = 0; piece < SAMPLE_PIECES; piece++) {
        const uint8_t *from = bytes + piece * (CHUNK_SIZE / SAMPLE_PIECES);

        for (size_t i = 0; i < SAMPLE_PIECE_BYTES; i++)
            squares += 2u * counts[from[i]]++ + 1;
        if (squares > SAMPLE_SQUARES_MAX)
            return false;
    }
    return squares >= SAMPLE_SQUARES_MIN;
}
