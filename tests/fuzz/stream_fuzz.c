/*
 * Streams, from their first byte to their last record. The first byte says how: bit 0: the rest is a stream as it comes,
 * else it is made: bit 1: 512 bytes are its header, whose digest is made right, else that is a good one; bit 2: encrypted
 * under a key; bit 3: a good manifest comes first. Then pieces, each a byte of flags, a length of two bytes and a content,
 * which become chunks with tags made right: flags as in a chunk, and bit 2: a session; bit 3: the tag is spoilt; bit 4: the
 * number is another.
 *
 * Every record is within the disk and behind the one before; what a record sums up was there; of a chunk whose tag or number
 * was spoilt nothing is given.
 */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/memory.h"
#include "stream/chunk.h"
#include "stream/reader.h"

#define PIECE_SESSION 4
#define PIECE_TAG     8
#define PIECE_NUMBER  16

ZSTD_DCtx *__real_ZSTD_createDCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
size_t __wrap_ZSTD_freeDCtx(ZSTD_DCtx *context);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Large, and the same for each: one is kept. */
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
    static ZSTD_DCtx *kept;
    if (kept == NULL)
        kept = __real_ZSTD_createDCtx();
    return kept;
}

size_t __wrap_ZSTD_freeDCtx(ZSTD_DCtx *context)
{
    return ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters);
}

static const uint8_t key_bytes[KEY_SIZE] = {1, 2, 3};
static const struct stream_secret secret = {.passphrase = "p", .passphrase_size = 1, .key = key_bytes}, no_secret;

struct input { const uint8_t *data; size_t size, at; };

struct made {
    uint8_t *data;
    size_t size;
    struct stream_header_format header;
    uint8_t master[KEY_SIZE], tag[STREAM_TAG_SIZE];
    struct stream_cipher *cipher;
    uint64_t number, spoilt; /* chunk from which on nothing may be given */
};

static enum error input_get(void *context, void *data, size_t size, size_t *got)
{
    struct input *input = context;
    *got = MIN(size, input->size - input->at);
    memcpy(data, input->data + input->at, *got);
    input->at += *got;
    return ERROR_NONE;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

static void records_read(struct stream_reader *reader, const struct stream_manifest *manifest, uint64_t spoilt)
{
    struct stream_record record = {0};
    uint64_t end = 0, data_bytes = 0, sum = 0;
    ASSERT(manifest->size % STREAM_BLOCK == 0 && manifest->size <= STREAM_SIZE_MAX);
    while (record.kind != STREAM_END && stream_reader_next(reader, &record) == ERROR_NONE) {
        ASSERT(record.chunk < spoilt);
        if (record.kind == STREAM_END)
            break;
        ASSERT(record.offset >= end && record.length > 0 && record.length <= manifest->size - record.offset);
        end = record.offset + record.length;
        for (uint64_t i = 0; record.kind == STREAM_DATA && i < record.length; i += 512)
            sum += record.data[i];
        data_bytes += record.kind == STREAM_DATA ? record.length : 0;
    }
    if (record.kind == STREAM_END)
        ASSERT(stream_reader_data_bytes(reader) == data_bytes);
    ASSERT(sum <= UINT64_MAX / 2);
}

static void stream_read(const uint8_t *data, size_t size, uint64_t spoilt)
{
    struct input input = {data, size, 0};
    struct stream_reader *reader;
    const struct stream_manifest *manifest;
    error_forget();
    if (stream_reader_create(input_get, &input, &reader) != ERROR_NONE)
        return;
    bool plain = stream_reader_protection(reader) == STREAM_PLAIN;
    if (stream_reader_unlock(reader, plain ? &no_secret : &secret, &manifest) == ERROR_NONE) {
        ASSERT(spoilt > 0);
        records_read(reader, manifest, spoilt);
        ASSERT(stream_reader_bytes(reader) <= size && stream_reader_next_offset(reader) <= manifest->size);
    }
    stream_reader_destroy(reader);
}

/* ---- making ----------------------------------------------------------------------------------------------------------- */

static void made_add(struct made *made, const void *data, size_t size)
{
    memcpy(made->data + made->size, data, size);
    made->size += size;
}

static void cipher_set(struct made *made, const uint8_t key[KEY_SIZE])
{
    stream_cipher_destroy(made->cipher);
    ASSERT(stream_cipher_create(key, made->header.protection != STREAM_PLAIN, &made->cipher) == ERROR_NONE);
}

static void chunk_make(struct made *made, uint8_t flags, const uint8_t *content, uint16_t size)
{
    uint8_t key[KEY_SIZE];
    bool session = flags & PIECE_SESSION && size == STREAM_SALT_SIZE;
    struct stream_chunk_format head = {.kind = session ? STREAM_CHUNK_SESSION : STREAM_CHUNK_RECORDS,
                                       .flags = flags & (STREAM_LAST | STREAM_PACKED),
                                       .size = le32_make(size),
                                       .number = le64_make(made->number + (flags & PIECE_NUMBER ? 1 : 0))};
    if (session) {
        ASSERT(stream_next_key(made->master, &made->header, made->tag, content, key) == ERROR_NONE);
        cipher_set(made, key);
    }
    uint8_t *sealed = malloc(size + 1u);
    ASSERT(sealed != NULL && stream_chunk_seal(made->cipher, &head, content, sealed) == ERROR_NONE);
    head.tag[0] ^= flags & PIECE_TAG ? 1 : 0;
    if (flags & (PIECE_TAG | PIECE_NUMBER))
        made->spoilt = MIN(made->spoilt, made->number);
    made_add(made, &head, sizeof head);
    made_add(made, sealed, size);
    memcpy(made->tag, head.tag, sizeof head.tag);
    made->number++;
    free(sealed);
}

static size_t header_make(struct made *made, uint8_t how, const uint8_t *data, size_t size)
{
    struct stream_secret given = {.key = how & 4 ? key_bytes : NULL};
    uint8_t key[KEY_SIZE];
    size_t used = 0;
    ASSERT(stream_header_make(&given, 0, &made->header, made->master) == ERROR_NONE);
    if (how & 2 && size >= sizeof made->header) {
        used = sizeof made->header;
        memcpy(&made->header, data, used);
        ASSERT(EVP_Q_digest(NULL, "SHA256", NULL, &made->header, offsetof(struct stream_header_format, digest),
                            made->header.digest, NULL) == 1);
        if (stream_header_check(&made->header) == ERROR_NONE) /* as the right key would open it */
            (void)!stream_master_open(&made->header, made->header.protection == STREAM_PLAIN ? &no_secret : &secret,
                                      made->master);
    }
    ASSERT(stream_first_key(made->master, &made->header, key) == ERROR_NONE);
    cipher_set(made, key);
    made_add(made, &made->header, sizeof made->header);
    return used;
}

static void manifest_make(struct made *made)
{
    struct stream_manifest manifest = {.object = {{1}}, .snapshot = {{2}}, .size = 1 << 20};
    struct stream_manifest_format out;
    manifest.object_name[0] = manifest.snapshot_name[0] = 'd';
    stream_manifest_encode(&manifest, &out);
    chunk_make(made, 0, (const uint8_t *)&out, sizeof out);
}

static void pieces_make(struct made *made, const uint8_t *data, size_t size)
{
    for (size_t at = 0; size - at >= 3;) {
        uint8_t flags = data[at];
        uint16_t length = (uint16_t)(data[at + 1] | data[at + 2] << 8);
        at += 3;
        length = (uint16_t)MIN(length, size - at);
        chunk_make(made, flags, data + at, length);
        at += length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 1) {
        stream_read(data + 1, size - 1, UINT64_MAX);
        return 0;
    }
    struct made made = {.data = malloc(4096 + 16 * size), .spoilt = UINT64_MAX};
    if (made.data == NULL)
        return 0;
    size_t used = header_make(&made, data[0], data + 1, size - 1);
    if (data[0] & 8)
        manifest_make(&made);
    pieces_make(&made, data + 1 + used, size - 1 - used);
    stream_read(made.data, made.size, made.spoilt);
    stream_cipher_destroy(made.cipher);
    free(made.data);
    return 0;
}
