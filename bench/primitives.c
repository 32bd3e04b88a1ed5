/*
 * The bare primitives, as a driver of the workload.
 *
 * What a write compresses to is gathered in a buffer of one device write and encrypted there when it is full, each 4
 * KiB under its own tweak, as the log does. A read decrypts and decompresses one of 64 units prepared from the same
 * data; a request of one chunk pays for the whole unit, as it does where neighbours were written together.
 *
 * Locks: none; each thread has its own contexts.
 */
#include "bench/primitives.h"

#include <string.h>

#include <lz4.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/endian.h"
#include "base/memory.h"

#define CHUNK          GENERATOR_CHUNK
#define UNIT_CHUNKS    4
#define UNIT_BYTES     (UNIT_CHUNKS * CHUNK)
#define LOG_BYTES      (1u << 20)
#define SAMPLES        64
#define SECRET_BYTES   192
#define HMAC_KEY_BYTES 32

struct sample {
    size_t size; /* compressed; UNIT_BYTES: stored as it is */
    uint8_t bytes[UNIT_BYTES];
};

struct bench {
    const struct bench_options *options;
    uint8_t secret[SECRET_BYTES]; /* its first bytes are the keys of HMAC and XTS */
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    EVP_CIPHER_CTX *encryption, *decryption;
    EVP_MAC_CTX *mac;
    uint8_t *log; /* LOG_BYTES, and room for one unit */
    size_t log_used;
    struct sample *samples;
    uint8_t *unit;          /* UNIT_BYTES */
    size_t unit_filled;     /* by requests smaller than a unit that follow each other */
    volatile uint64_t sink; /* keeps results alive */
};

static enum error openssl_failed(const char *what)
{
    return error_explain(ERROR_BUG, "OpenSSL refused %s", what);
}

static EVP_CIPHER_CTX *cipher_create(const uint8_t *key, int encrypts)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_CipherInit_ex(context, EVP_aes_256_xts(), NULL, key, NULL, encrypts) == 1)
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

static EVP_MAC_CTX *mac_create(const uint8_t *key)
{
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
                               OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (context && EVP_MAC_init(context, key, HMAC_KEY_BYTES, parameters) == 1)
        return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}

static void bench_deinit(struct bench *bench)
{
    ZSTD_freeCCtx(bench->compressor);
    ZSTD_freeDCtx(bench->decompressor);
    EVP_CIPHER_CTX_free(bench->encryption);
    EVP_CIPHER_CTX_free(bench->decryption);
    EVP_MAC_CTX_free(bench->mac);
    free(bench->log);
    free(bench->samples);
    free(bench->unit);
}

static enum error bench_init(struct bench *bench, const struct bench_options *options)
{
    bench->options = options;
    if (RAND_bytes(bench->secret, sizeof bench->secret) != 1)
        return openssl_failed("random bytes");
    bench->compressor = ZSTD_createCCtx();
    bench->decompressor = ZSTD_createDCtx();
    bench->encryption = cipher_create(bench->secret, 1);
    bench->decryption = cipher_create(bench->secret, 0);
    bench->mac = mac_create(bench->secret);
    bench->log = memory_aligned(LOG_BYTES + UNIT_BYTES);
    bench->samples = memory_zeroed(SAMPLES, sizeof *bench->samples);
    bench->unit = memory_aligned(UNIT_BYTES);
    if (!bench->encryption || !bench->decryption || !bench->mac)
        return openssl_failed("AES-256-XTS or HMAC");
    if (!bench->compressor || !bench->decompressor || !bench->log || !bench->samples || !bench->unit)
        return ERROR_NO_MEMORY;
    return ERROR_NONE;
}

static enum error chunk_hash(struct bench *bench, const uint8_t *chunk)
{
    uint8_t digest[32];
    size_t size;
    if (bench->options->fingerprint == POOL_FINGERPRINT_XXH3) {
        bench->sink += XXH3_128bits_withSecret(chunk, CHUNK, bench->secret, sizeof bench->secret).low64;
        return ERROR_NONE;
    }
    if (EVP_MAC_init(bench->mac, NULL, 0, NULL) != 1 || EVP_MAC_update(bench->mac, chunk, CHUNK) != 1 ||
        EVP_MAC_final(bench->mac, digest, &size, sizeof digest) != 1)
        return openssl_failed("an HMAC");
    bench->sink += digest[0];
    return ERROR_NONE;
}

/* Returns what is stored: less than `size`, or `size` where compression gained nothing and the bytes were copied. */
static size_t unit_compress_bare(struct bench *bench, const uint8_t *in, size_t size, uint8_t *out)
{
    size_t made = 0;
    if (bench->options->codec == POOL_CODEC_ZSTD) {
        made = ZSTD_compressCCtx(bench->compressor, out, size, in, size, bench->options->level);
        if (ZSTD_isError(made))
            made = 0;
    } else if (bench->options->codec != POOL_CODEC_NONE) {
        made = (size_t)LZ4_compress_default((const char *)in, (char *)out, (int)size, (int)size);
    }
    if (made > 0 && made < size)
        return made;
    memcpy(out, in, size);
    return size;
}

static enum error unit_decompress_bare(struct bench *bench, const uint8_t *in, size_t size, uint8_t *out)
{
    size_t made = UNIT_BYTES;
    if (size == UNIT_BYTES)
        memcpy(out, in, UNIT_BYTES);
    else if (bench->options->codec == POOL_CODEC_ZSTD)
        made = ZSTD_decompressDCtx(bench->decompressor, out, UNIT_BYTES, in, size);
    else
        made = (size_t)LZ4_decompress_safe((const char *)in, (char *)out, (int)size, UNIT_BYTES);
    return made == UNIT_BYTES ? ERROR_NONE : error_explain(ERROR_BUG, "a codec did not return what it was given");
}

/* In place; each 4 KiB is a data unit of its own. */
static enum error blocks_cipher(struct bench *bench, EVP_CIPHER_CTX *context, uint8_t *bytes, size_t size)
{
    if (bench->options->no_encryption)
        return ERROR_NONE;
    for (size_t i = 0; i < size; i += CHUNK) {
        le64 tweak[2] = {le64_make(i / CHUNK), le64_make(0)};
        int made;
        if (EVP_CipherInit_ex(context, NULL, NULL, NULL, (const uint8_t *)tweak, -1) != 1 ||
            EVP_CipherUpdate(context, bytes + i, &made, bytes + i, CHUNK) != 1)
            return openssl_failed("a block");
    }
    return ERROR_NONE;
}

static enum error log_seal(struct bench *bench)
{
    size_t size = ROUND_UP(bench->log_used, CHUNK);
    bench->log_used = 0;
    return blocks_cipher(bench, bench->encryption, bench->log, size);
}

static enum error unit_store(struct bench *bench, const uint8_t *data, size_t size)
{
    bench->log_used += unit_compress_bare(bench, data, size, bench->log + bench->log_used);
    return bench->log_used >= LOG_BYTES ? log_seal(bench) : ERROR_NONE;
}

/* Small sequential requests are neighbours, which the engine finds in one batch and stores together. */
static enum error neighbours_store(struct bench *bench, const uint8_t *data, size_t size)
{
    memcpy(bench->unit + bench->unit_filled, data, size);
    bench->unit_filled += size;
    if (bench->unit_filled + size <= UNIT_BYTES)
        return ERROR_NONE;
    size_t filled = bench->unit_filled;
    bench->unit_filled = 0;
    return unit_store(bench, bench->unit, filled);
}

static enum error bench_write(struct bench *bench, const uint8_t *data, size_t size)
{
    size = ROUND_UP(size, CHUNK);
    for (size_t i = 0; i < size; i += CHUNK)
        TRY(chunk_hash(bench, data + i));
    if (size < UNIT_BYTES && bench->options->pattern == PATTERN_SEQUENTIAL && !bench->options->read_percent)
        return neighbours_store(bench, data, size);
    for (size_t i = 0; i < size; i += UNIT_BYTES)
        TRY(unit_store(bench, data + i, MIN(size - i, UNIT_BYTES)));
    return ERROR_NONE;
}

static enum error bench_read(struct bench *bench, uint8_t *data, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i += UNIT_BYTES) {
        struct sample *sample = &bench->samples[(offset + i) / UNIT_BYTES % SAMPLES];
        memcpy(bench->log, sample->bytes, UNIT_BYTES);
        TRY(blocks_cipher(bench, bench->decryption, bench->log, ROUND_UP(sample->size, CHUNK)));
        TRY(unit_decompress_bare(bench, bench->log, sample->size, bench->unit));
        memcpy(data + i, bench->unit, MIN(size - i, UNIT_BYTES));
    }
    return ERROR_NONE;
}

static enum error samples_prepare(struct bench *bench, const struct workload *workload)
{
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct sample *sample = &bench->samples[i];
        generator_fill(workload->generator, workload->thread, (uint64_t)i * UNIT_CHUNKS, bench->unit, UNIT_CHUNKS);
        sample->size = unit_compress_bare(bench, bench->unit, UNIT_BYTES, sample->bytes);
        TRY(blocks_cipher(bench, bench->encryption, sample->bytes, UNIT_BYTES));
    }
    return ERROR_NONE;
}

static enum error operations_run(struct workload *workload, struct bench *bench, void *buffer)
{
    struct operation operation = {.data = buffer};
    if (workload->options->read_percent)
        TRY(samples_prepare(bench, workload));
    while (workload_next(workload, &operation)) {
        enum error error = ERROR_NONE;
        if (operation.kind == OPERATION_WRITE)
            error = bench_write(bench, operation.data, operation.length);
        else if (operation.kind == OPERATION_READ)
            error = bench_read(bench, operation.data, operation.offset, operation.length);
        workload_done(workload, &operation, error);
    }
    return bench->log_used ? log_seal(bench) : ERROR_NONE;
}

static void primitives_loop(struct workload *workload)
{
    struct bench bench = {0};
    size_t stride;
    AUTO_FREE void *buffer = workload_buffers(workload->options, 1, &stride);
    enum error error = bench_init(&bench, workload->options);
    if (!error)
        error = buffer ? operations_run(workload, &bench, buffer) : ERROR_NO_MEMORY;
    if (error)
        workload_fail(workload, error);
    bench_deinit(&bench);
}

enum error primitives_run(const struct bench_options *options, struct measure *measure)
{
    static const struct driver driver = {primitives_loop, NULL};
    return workload_run(options, 0, &driver, NULL, measure);
}
