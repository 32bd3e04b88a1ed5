/*
 * Records gather in a buffer until a chunk is full; then it is packed, sealed and given out whole. A record never reaches
 * over two chunks, so each can be applied by itself.
 *
 * No locks. What was given out is a stream to its last whole chunk, whatever happens: a crash leaves that.
 */
#include "stream/writer.h"

#include <string.h>
#include <zstd.h>

#include "base/memory.h"
#include "base/random.h"
#include "crypto/arena.h"
#include "stream/state.h"

#define ZSTD_LEVEL 1

struct stream_writer {
    struct stream_state state;
    stream_output *output;
    void *context;
    ZSTD_CCtx *packer;
    size_t filled, used; /* of `content`; at most so far */
    uint8_t content[STREAM_CHUNK_MAX];
    uint8_t out[sizeof(struct stream_chunk_format) + STREAM_CHUNK_MAX];
};

/* ---- chunks ---------------------------------------------------------------------------------------------------------- */

static enum error chunk_give(struct stream_writer *writer, uint8_t kind, uint8_t flags, const void *content, size_t size)
{
    struct stream_chunk_format head = {.kind = kind,
                                       .flags = flags,
                                       .size = le32_make((uint32_t)size),
                                       .number = le64_make(writer->state.number)};
    TRY(stream_chunk_seal(writer->state.cipher, &head, content, writer->out + sizeof head));
    memcpy(writer->out, &head, sizeof head);
    memcpy(writer->state.tag, head.tag, STREAM_TAG_SIZE);
    writer->state.number++; /* whether it gets out or not: a part of it may, and the number seals nothing else */
    return writer->output(writer->context, writer->out, sizeof head + size);
}

/* What is gathered, packed where that makes it smaller. */
static enum error content_give(struct stream_writer *writer, uint8_t flags)
{
    uint8_t *packed = writer->out + sizeof(struct stream_chunk_format);
    size_t size = ZSTD_compressCCtx(writer->packer, packed, writer->filled - 1, writer->content, writer->filled, ZSTD_LEVEL);
    enum error error = ZSTD_isError(size)
                           ? chunk_give(writer, STREAM_CHUNK_RECORDS, flags, writer->content, writer->filled)
                           : chunk_give(writer, STREAM_CHUNK_RECORDS, flags | STREAM_PACKED, packed, size);
    writer->filled = 0;
    return error;
}

static enum error room_make(struct stream_writer *writer, size_t size)
{
    return STREAM_CHUNK_MAX - writer->filled < size ? content_give(writer, 0) : ERROR_NONE;
}

static void content_add(struct stream_writer *writer, const void *data, size_t size)
{
    memcpy(writer->content + writer->filled, data, size);
    writer->filled += size;
    writer->used = MAX(writer->used, writer->filled);
}

static void record_add(struct stream_writer *writer, uint8_t kind, uint64_t offset, uint64_t length)
{
    struct stream_record_format record = {
        .kind = kind, .offset = le64_make(offset), .length = le64_make(length)};
    content_add(writer, &record, sizeof record);
}

/* ---- beginning ------------------------------------------------------------------------------------------------------- */

static enum error writer_make(stream_output *output, void *context, struct stream_writer **writer)
{
    struct stream_writer *made = memory_zeroed(1, sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->output = output;
    made->context = context;
    made->state.master = arena_allocate(KEY_SIZE);
    made->packer = ZSTD_createCCtx();
    if (made->state.master == NULL || made->packer == NULL) {
        stream_writer_destroy(made);
        return ERROR_NO_MEMORY;
    }
    *writer = made;
    return ERROR_NONE;
}

void stream_writer_destroy(struct stream_writer *writer)
{
    if (writer == NULL)
        return;
    arena_free(writer->state.master);
    stream_cipher_destroy(writer->state.cipher);
    ZSTD_freeCCtx(writer->packer);
    memory_cleanse(writer->content, writer->used);
    memory_cleanse(writer->out, sizeof(struct stream_chunk_format) + writer->used);
    free(writer);
}

static enum error begin(struct stream_writer *writer, const struct stream_secret *secret, unsigned log2_n)
{
    struct stream_state *state = &writer->state;
    struct stream_manifest_format manifest;
    uint8_t key[KEY_SIZE];
    TRY(stream_header_make(secret, log2_n, &state->header, state->master));
    TRY(stream_first_key(state->master, &state->header, key));
    TRY(stream_session_set(state, key));
    TRY(writer->output(writer->context, &state->header, sizeof state->header));
    stream_manifest_encode(&state->manifest, &manifest);
    content_add(writer, &manifest, sizeof manifest);
    return content_give(writer, 0);
}

enum error stream_writer_create(const struct stream_secret *secret, unsigned log2_n,
                                const struct stream_manifest *manifest, stream_output *output, void *context,
                                struct stream_writer **writer)
{
    struct stream_writer *made;
    TRY(writer_make(output, context, &made));
    made->state.manifest = *manifest;
    enum error error = begin(made, secret, log2_n);
    if (error) {
        stream_writer_destroy(made);
        return error;
    }
    *writer = made;
    return ERROR_NONE;
}

static enum error session_begin(struct stream_writer *writer)
{
    uint8_t key[KEY_SIZE], salt[STREAM_SALT_SIZE];
    random_bytes(salt, sizeof salt);
    TRY(stream_next_key(writer->state.master, &writer->state.header, writer->state.tag, salt, key));
    TRY(stream_session_set(&writer->state, key));
    return chunk_give(writer, STREAM_CHUNK_SESSION, 0, salt, sizeof salt);
}

enum error stream_writer_resume(const struct stream_reader *reader, stream_output *output, void *context,
                                struct stream_writer **writer)
{
    struct stream_writer *made;
    const struct stream_state *state = stream_reader_state(reader);
    TRY(writer_make(output, context, &made));
    uint8_t *master = made->state.master;
    memcpy(master, state->master, KEY_SIZE);
    made->state = *state;
    made->state.master = master;
    made->state.cipher = NULL;
    enum error error = session_begin(made);
    if (error) {
        stream_writer_destroy(made);
        return error;
    }
    *writer = made;
    return ERROR_NONE;
}

/* ---- ranges ---------------------------------------------------------------------------------------------------------- */

static void range_check(const struct stream_writer *writer, uint64_t offset, uint64_t length)
{
    const struct stream_state *state = &writer->state;
    ASSERT(offset % STREAM_BLOCK == 0 && length % STREAM_BLOCK == 0 && length > 0);
    ASSERT(offset >= state->offset && offset <= state->manifest.size && length <= state->manifest.size - offset);
}

enum error stream_writer_data(struct stream_writer *writer, uint64_t offset, const void *data, uint64_t length)
{
    range_check(writer, offset, length);
    for (uint64_t done = 0; done < length;) {
        TRY(room_make(writer, sizeof(struct stream_record_format) + STREAM_BLOCK));
        size_t room = STREAM_CHUNK_MAX - writer->filled - sizeof(struct stream_record_format);
        size_t part = (size_t)MIN(length - done, (uint64_t)ROUND_DOWN(room, STREAM_BLOCK));
        record_add(writer, STREAM_DATA, offset + done, part);
        content_add(writer, (const uint8_t *)data + done, part);
        done += part;
        writer->state.offset = offset + done;
        writer->state.data_bytes += part;
    }
    return ERROR_NONE;
}

enum error stream_writer_zero(struct stream_writer *writer, uint64_t offset, uint64_t length)
{
    range_check(writer, offset, length);
    TRY(room_make(writer, sizeof(struct stream_record_format)));
    record_add(writer, STREAM_ZERO, offset, length);
    writer->state.offset = offset + length;
    writer->state.zero_bytes += length;
    return ERROR_NONE;
}

enum error stream_writer_finish(struct stream_writer *writer)
{
    TRY(room_make(writer, sizeof(struct stream_record_format)));
    record_add(writer, STREAM_END, writer->state.data_bytes, writer->state.zero_bytes);
    return content_give(writer, STREAM_LAST);
}
