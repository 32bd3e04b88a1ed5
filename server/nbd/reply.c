/*
 * Replies: the end of a request's way.
 *
 *   batch_receive -> batch_run -> REPLY_SEND
 *
 * The answers of a batch go out in one write. Reads and errors are structured where that was agreed on (only there has
 * an error a sentence); every other success is a simple reply, which is shorter.
 *
 * The send lock is held while a slow client makes the write wait: after the idle time it is broken, and earlier where
 * others are in need of the memory that the answers hold. The pieces of a large request are counted under the same
 * lock, so that the chunk which says "done" is the last one on the wire.
 *
 * Where a write fails, a part of an answer may have gone. So the connection is broken under the same hold of the lock, and
 * who comes next writes nothing: behind a part of one answer another would be taken for the rest of it.
 */
#include "server/nbd/batch.h"

#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "server/nbd/errors.h"

#define PARTS_MAX (2 * BATCH_REQUESTS_MAX) /* a header and what follows it, each */
#define SENTENCE_BYTES_MAX 900 /* qemu gives a connection up for good at an error of more than 1000 bytes */

struct gather {
    struct iovec parts[PARTS_MAX];
    size_t count;
};

static void gather_add(struct gather *gather, const void *data, size_t size)
{
    if (size > 0)
        gather->parts[gather->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
}

static struct wire_chunk chunk_header(const struct slot *slot, uint16_t type, bool done, size_t length)
{
    return (struct wire_chunk){
        .magic = be32_make(STRUCTURED_REPLY_MAGIC),
        .flags = be16_make(done ? CHUNK_DONE : 0),
        .type = be16_make(type),
        .cookie = slot->command.cookie,
        .length = be32_make((uint32_t)length),
    };
}

static void encode_simple(struct gather *gather, struct slot *slot, enum error error)
{
    slot->wire.simple = (struct wire_simple_reply){
        .magic = be32_make(SIMPLE_REPLY_MAGIC),
        .error = be32_make(wire_error(error, slot->command.type)),
        .cookie = slot->command.cookie,
    };
    gather_add(gather, &slot->wire.simple, sizeof(slot->wire.simple));
}

/* Its first bytes, at most `max`, that are whole characters. */
static size_t sentence_cut(const char *sentence, size_t max)
{
    size_t size = strnlen(sentence, max + 1);
    if (size <= max)
        return size;
    for (size = max; size > 0 && ((uint8_t)sentence[size] & 0xc0) == 0x80;)
        size--;
    return size;
}

static void encode_error(struct gather *gather, struct slot *slot, enum error error, const char *sentence)
{
    size_t length = sentence ? sentence_cut(sentence, SENTENCE_BYTES_MAX) : 0;
    slot->wire.error = (struct wire_chunk_error){
        .chunk =
            chunk_header(slot, CHUNK_ERROR, true, sizeof(struct wire_chunk_error) - sizeof(struct wire_chunk) + length),
        .error = be32_make(wire_error(error, slot->command.type)),
        .sentence_length = be16_make((uint16_t)length),
    };
    gather_add(gather, &slot->wire.error, sizeof(slot->wire.error));
    gather_add(gather, sentence, length);
}

static void encode_data(struct gather *gather, struct slot *slot, bool done)
{
    slot->wire.data = (struct wire_chunk_data){
        .chunk = chunk_header(slot, CHUNK_OFFSET_DATA, done, sizeof(be64) + slot->command.length),
        .offset = be64_make(slot->command.offset),
    };
    gather_add(gather, &slot->wire.data, sizeof(slot->wire.data));
    gather_add(gather, slot->data, slot->command.length);
}

static void encode_whole(struct gather *gather, struct slot *slot, bool structured, enum error error,
                         const char *sentence)
{
    uint16_t type = slot->command.type;
    if (error != ERROR_NONE && structured)
        encode_error(gather, slot, error, sentence);
    else if (error == ERROR_NONE && type == COMMAND_READ && structured)
        encode_data(gather, slot, true);
    else if (error == ERROR_NONE && type == COMMAND_BLOCK_STATUS)
        gather_add(gather, slot->status, slot->status_size);
    else
        encode_simple(gather, slot, error);
    if (error == ERROR_NONE && type == COMMAND_READ && !structured)
        gather_add(gather, slot->data, slot->command.length);
}

static void transfer_note(struct transfer *transfer, struct slot *slot)
{
    if (slot->error != ERROR_NONE && atomic_load(&transfer->error) == ERROR_NONE) {
        const char *sentence = slot->sentence ? slot->sentence : "";
        size_t size = sentence_cut(sentence, sizeof(transfer->sentence) - 1);
        atomic_store(&transfer->error, slot->error);
        memcpy(transfer->sentence, sentence, size);
        transfer->sentence[size] = '\0';
    }
    transfer->left -= slot->command.length;
    slot->transfer_ended = transfer->left == 0;
}

/* A piece: data goes out as it comes, the last one answers for all. */
static void encode_piece(struct gather *gather, struct slot *slot, bool structured)
{
    struct transfer *transfer = slot->transfer;
    transfer_note(transfer, slot);
    if (slot->transfer_ended)
        encode_whole(gather, slot, structured, atomic_load(&transfer->error), transfer->sentence);
    else if (slot->command.type == COMMAND_READ && slot->error == ERROR_NONE)
        encode_data(gather, slot, false);
}

static enum error write_ready(struct batch *batch) REQUIRES(batch->connection->send)
{
    struct connection *connection = batch->connection;
    struct gather gather;
    gather.count = 0;
    for (size_t i = 0; i < batch->ready_count; i++) {
        struct slot *slot = batch->ready[i];
        if (slot->transfer)
            encode_piece(&gather, slot, connection->session.structured);
        else
            encode_whole(&gather, slot, connection->session.structured, slot->error, slot->sentence);
    }
    if (atomic_load(&connection->broken))
        return ERROR_CLOSED;
    return stream_write(&connection->stream, gather.parts, gather.count);
}

static void release(struct batch *batch)
{
    for (size_t i = 0; i < batch->ready_count; i++) {
        struct slot *slot = batch->ready[i];
        free(slot->status);
        slot->status = NULL;
        if (slot->transfer_ended)
            free(slot->transfer);
    }
    batch->ready_count = 0;
}

void reply_send(struct batch *batch)
{
    struct connection *connection = batch->connection;
    if (batch->ready_count == 0)
        return;
    payload_stall_begin(&batch->payload);
    mutex_lock(&batch->connection->send);
    enum error error = write_ready(batch);
    if (error != ERROR_NONE)
        connection_break(connection);
    mutex_unlock(&batch->connection->send);
    payload_stall_end(&batch->payload);
    release(batch);
    if (error == ERROR_TIMED_OUT)
        message(MESSAGE_WARNING, "NBD connection %u: the client does not read its replies: dropped",
                connection->number);
}
