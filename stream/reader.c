/*
 * Chunks are read whole, checked in the order size, number, tag, and only then unpacked and looked into. What stands in
 * an authenticated chunk was made by who has the key, and is checked all the same: the key of a stream that is not
 * encrypted is public.
 *
 * No locks, nothing on disk.
 */
#include "stream/reader.h"

#include <inttypes.h>
#include <string.h>
#include <zstd.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "stream/state.h"

struct stream_reader {
    struct stream_state state;
    struct stream_state whole; /* as of the end of the last chunk of which all records were given */
    uint64_t whole_bytes;
    stream_input *input;
    void *context;
    ZSTD_DCtx *unpacker;
    uint64_t bytes; /* taken */
    struct uuid import;
    bool last, ended;
    uint64_t chunk;         /* number of the one in `content` */
    const uint8_t *content; /* in `stored` or `unpacked` */
    size_t size, at;
    size_t stored_used, unpacked_used; /* of the buffers, at most so far: what is to be overwritten at the end */
    uint8_t stored[STREAM_CHUNK_MAX]; /* this and what follows is not cleared */
    uint8_t unpacked[STREAM_CHUNK_MAX];
};

/* ---- what goes wrong ------------------------------------------------------------------------------------------------- */

static enum error bad_chunk(const struct stream_reader *reader, uint64_t begin, const char *what)
{
    return error_explain(ERROR_CORRUPT, "chunk %" PRIu64 " of the stream, at byte %" PRIu64 ", %s", reader->state.number,
                         begin, what);
}

static enum error bad_record(const struct stream_reader *reader, const char *what)
{
    return error_explain(ERROR_CORRUPT, "chunk %" PRIu64 " of the stream has a record that %s", reader->chunk, what);
}

static enum error take(struct stream_reader *reader, void *data, size_t size)
{
    size_t got;
    TRY(reader->input(reader->context, data, size, &got));
    reader->bytes += got;
    if (got < size)
        return error_explain(ERROR_CLOSED,
                             "the stream is cut off at byte %" PRIu64 ", behind %" PRIu64 " whole chunks",
                             reader->bytes, reader->state.number);
    return ERROR_NONE;
}

/* ---- chunks ---------------------------------------------------------------------------------------------------------- */

static enum error head_check(const struct stream_reader *reader, const struct stream_chunk_format *head, uint64_t begin)
{
    uint32_t size = le32_get(head->size);
    bool session = head->kind == STREAM_CHUNK_SESSION;
    if ((!session && head->kind != STREAM_CHUNK_RECORDS) || (head->flags & ~(STREAM_LAST | STREAM_PACKED)) ||
        (head->reserved[0] | head->reserved[1]) || size == 0 || size > STREAM_CHUNK_MAX ||
        (session && (size != STREAM_SALT_SIZE || head->flags != 0 || reader->state.number == 0)))
        return bad_chunk(reader, begin, "is damaged");
    if (le64_get(head->number) != reader->state.number)
        return error_explain(ERROR_CORRUPT,
                             "chunk %" PRIu64 " stands at byte %" PRIu64 " of the stream, where chunk %" PRIu64
                             " belongs: chunks are missing or were put in another order",
                             le64_get(head->number), begin, reader->state.number);
    return ERROR_NONE;
}

static enum error session_key_set(struct stream_reader *reader, const uint8_t salt[STREAM_SALT_SIZE])
{
    uint8_t key[KEY_SIZE];
    struct stream_state *state = &reader->state;
    TRY(stream_next_key(state->master, &state->header, state->tag, salt, key));
    return stream_session_set(state, key);
}

static enum error content_unpack(struct stream_reader *reader, const struct stream_chunk_format *head, uint64_t begin)
{
    reader->content = reader->stored;
    reader->size = le32_get(head->size);
    reader->at = 0;
    if (!(head->flags & STREAM_PACKED))
        return ERROR_NONE;
    size_t used = reader->unpacked_used;
    reader->unpacked_used = sizeof reader->unpacked; /* where it fails it may have written anywhere */
    size_t size =
        ZSTD_decompressDCtx(reader->unpacker, reader->unpacked, sizeof reader->unpacked, reader->stored, reader->size);
    reader->size = 0;
    if (ZSTD_isError(size) || size == 0)
        return bad_chunk(reader, begin, "does not unpack");
    reader->unpacked_used = MAX(used, size);
    reader->content = reader->unpacked;
    reader->size = size;
    return ERROR_NONE;
}

static enum error chunk_take(struct stream_reader *reader, struct stream_chunk_format *head)
{
    uint64_t begin = reader->bytes;
    TRY(take(reader, head, sizeof *head));
    TRY(head_check(reader, head, begin));
    reader->stored_used = MAX(reader->stored_used, le32_get(head->size));
    TRY(take(reader, reader->stored, le32_get(head->size)));
    if (head->kind == STREAM_CHUNK_SESSION)
        TRY(session_key_set(reader, reader->stored));
    enum error error = stream_chunk_open(reader->state.cipher, head, reader->stored, reader->stored);
    if (error == ERROR_CORRUPT)
        return bad_chunk(reader, begin, "is damaged, or of another stream");
    TRY(error);
    TRY(content_unpack(reader, head, begin));
    reader->chunk = reader->state.number++;
    memcpy(reader->state.tag, head->tag, STREAM_TAG_SIZE);
    reader->last = head->flags & STREAM_LAST;
    return ERROR_NONE;
}

static void whole_note(struct stream_reader *reader)
{
    reader->whole = reader->state;
    reader->whole_bytes = reader->bytes;
}

/* The next chunk with records; the one before was given in full. */
static enum error records_take(struct stream_reader *reader)
{
    struct stream_chunk_format head;
    do {
        if (reader->last)
            return bad_record(reader, "is missing: the last one must say that it is");
        whole_note(reader);
        TRY(chunk_take(reader, &head));
        if (head.kind == STREAM_CHUNK_SESSION)
            reader->at = reader->size;
    } while (head.kind == STREAM_CHUNK_SESSION);
    return ERROR_NONE;
}

/* ---- beginning ------------------------------------------------------------------------------------------------------- */

enum error stream_reader_create(stream_input *input, void *context, struct stream_reader **reader)
{
    struct stream_reader *made = malloc(sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    memset(made, 0, offsetof(struct stream_reader, stored));
    made->input = input;
    made->context = context;
    made->state.master = arena_allocate(KEY_SIZE);
    made->unpacker = ZSTD_createDCtx();
    enum error error = made->state.master && made->unpacker ? ERROR_NONE : ERROR_NO_MEMORY;
    if (error == ERROR_NONE)
        error = take(made, &made->state.header, sizeof made->state.header);
    size_t begun = MIN(made->bytes, sizeof made->state.header.magic);
    bool known = memcmp(made->state.header.magic, STREAM_MAGIC, begun) == 0;
    if (error == ERROR_NONE || (error == ERROR_CLOSED && !known))
        error = stream_header_check(&made->state.header);
    if (error) {
        stream_reader_destroy(made);
        return error;
    }
    *reader = made;
    return ERROR_NONE;
}

void stream_reader_destroy(struct stream_reader *reader)
{
    if (reader == NULL)
        return;
    arena_free(reader->state.master);
    stream_cipher_destroy(reader->state.cipher);
    ZSTD_freeDCtx(reader->unpacker);
    memory_cleanse(reader->stored, reader->stored_used);
    memory_cleanse(reader->unpacked, reader->unpacked_used);
    free(reader);
}

enum stream_protection stream_reader_protection(const struct stream_reader *reader)
{
    return reader->state.header.protection;
}

struct uuid stream_reader_uuid(const struct stream_reader *reader)
{
    return reader->state.header.stream;
}

struct uuid stream_reader_import(const struct stream_reader *reader)
{
    return reader->import;
}

enum error stream_reader_unlock(struct stream_reader *reader, const struct stream_secret *secret,
                                const struct stream_manifest **manifest)
{
    struct stream_chunk_format head;
    struct stream_state *state = &reader->state;
    uint8_t key[KEY_SIZE];
    TRY(stream_master_open(&state->header, secret, state->master));
    TRY(stream_first_key(state->master, &state->header, key));
    TRY(stream_session_set(state, key));
    TRY(chunk_take(reader, &head));
    TRY(stream_manifest_decode(reader->content, reader->size, &state->manifest));
    TRY(stream_import_derive(state->master, &state->header, (const void *)reader->content, &reader->import));
    if (reader->last)
        return bad_record(reader, "is missing: the stream ends with its first chunk");
    reader->at = reader->size;
    whole_note(reader);
    *manifest = &state->manifest;
    return ERROR_NONE;
}

/* ---- records --------------------------------------------------------------------------------------------------------- */

static enum error end_take(struct stream_reader *reader, const struct stream_record_format *in)
{
    struct stream_state *state = &reader->state;
    uint8_t more;
    size_t got;
    if (!reader->last || reader->at != reader->size)
        return bad_record(reader, "says that it is the last, and is not");
    if (le64_get(in->offset) != state->data_bytes || le64_get(in->length) != state->zero_bytes)
        return bad_record(reader, "sums up other ranges than there were");
    TRY(reader->input(reader->context, &more, 1, &got));
    if (got > 0)
        return error_explain(ERROR_CORRUPT, "something follows the end of the stream, at byte %" PRIu64, reader->bytes);
    reader->ended = true;
    whole_note(reader);
    return ERROR_NONE;
}

static enum error range_take(struct stream_reader *reader, const struct stream_record_format *in,
                             struct stream_record *record)
{
    struct stream_state *state = &reader->state;
    uint64_t offset = le64_get(in->offset), length = le64_get(in->length);
    if (offset % STREAM_BLOCK || length % STREAM_BLOCK || length == 0 || offset < state->offset ||
        offset > state->manifest.size || length > state->manifest.size - offset)
        return bad_record(reader, "names a range that cannot be");
    *record = (struct stream_record){.kind = in->kind, .offset = offset, .length = length, .chunk = reader->chunk};
    if (in->kind == STREAM_DATA) {
        if (length > reader->size - reader->at)
            return bad_record(reader, "has less data than it says");
        record->data = reader->content + reader->at;
        reader->at += length;
    }
    state->offset = offset + length;
    *(in->kind == STREAM_DATA ? &state->data_bytes : &state->zero_bytes) += length;
    return ERROR_NONE;
}

enum error stream_reader_next(struct stream_reader *reader, struct stream_record *record)
{
    struct stream_record_format in;
    ASSERT(!reader->ended && reader->state.cipher);
    if (reader->at == reader->size)
        TRY(records_take(reader));
    if (reader->size - reader->at < sizeof in)
        return bad_record(reader, "is cut off");
    memcpy(&in, reader->content + reader->at, sizeof in);
    reader->at += sizeof in;
    if (!memory_is_zero(in.reserved, sizeof in.reserved) || in.kind < STREAM_DATA || in.kind > STREAM_END)
        return bad_record(reader, "is of no kind that is known");
    if (in.kind != STREAM_END)
        return range_take(reader, &in, record);
    TRY(end_take(reader, &in));
    *record = (struct stream_record){.kind = STREAM_END, .chunk = reader->chunk};
    return ERROR_NONE;
}

/* ---- where it stands ------------------------------------------------------------------------------------------------- */

uint64_t stream_reader_chunks(const struct stream_reader *reader)
{
    return reader->at == reader->size ? reader->state.number : reader->whole.number;
}

uint64_t stream_reader_bytes(const struct stream_reader *reader)
{
    return reader->whole_bytes;
}

uint64_t stream_reader_next_offset(const struct stream_reader *reader)
{
    return reader->whole.offset;
}

uint64_t stream_reader_data_bytes(const struct stream_reader *reader)
{
    return reader->whole.data_bytes;
}

uint64_t stream_reader_zero_bytes(const struct stream_reader *reader)
{
    return reader->whole.zero_bytes;
}

const struct stream_state *stream_reader_state(const struct stream_reader *reader)
{
    return &reader->whole;
}
