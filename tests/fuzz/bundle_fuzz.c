/*
 * Backups of pool directories. The first byte says how: bit 0: the rest is a file as it comes; else the rest becomes the content
 * of one, sealed as it should be, but for: bit 1: in chunks of 64 bytes; bit 2: the last chunk does not say that it is; bit 3:
 * bytes stand behind it; bit 4: a tag is spoilt; bit 5: the end is cut off; bit 6: two chunks change places; bit 7: the header
 * is that of a stream of an object.
 *
 * What was spoilt is never opened; what opens has sound names that lead nowhere else, and is the same when it is made and read
 * once more.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "stream/bundle.h"
#include "stream/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPOILT (4 | 8 | 16 | 32 | 64 | 128)

static const struct stream_secret secret = {.passphrase = "p", .passphrase_size = 1};

static void names_are_sound(const struct bundle *bundle)
{
    size_t bytes = 0;
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_item *item = &bundle->items[i];
        ASSERT(item->name[0] != '\0' && bundle_find(bundle, item->kind, item->name) == item && item->data[item->size] == 0);
        ASSERT(item->kind != BUNDLE_FILE || (item->name[0] != '/' && strcmp(item->name, "..") != 0 &&
                                             strncmp(item->name, "../", 3) != 0 && strstr(item->name, "/../") == NULL));
        bytes += item->size;
    }
    ASSERT(bytes == bundle->bytes && bundle->count <= BUNDLE_ITEMS_MAX);
}

static void same_again(const struct bundle *bundle)
{
    struct bundle *again;
    uint8_t *data;
    size_t size;
    ASSERT(bundle_encode(bundle, &secret, 14, &data, &size) == ERROR_NONE);
    ASSERT(bundle_decode(data, size, &secret, &again) == ERROR_NONE && again->count == bundle->count &&
           again->bytes == bundle->bytes && again->made == bundle->made);
    bundle_destroy(again);
    free(data);
}

static void file_read(const uint8_t *data, size_t size, bool spoilt)
{
    struct bundle *bundle;
    error_forget();
    if (bundle_decode(data, size, &secret, &bundle) != ERROR_NONE)
        return;
    ASSERT(!spoilt);
    names_are_sound(bundle);
    same_again(bundle);
    bundle_destroy(bundle);
}

/* Into `out`, which has the room; its size. */
static size_t file_make(uint8_t how, const uint8_t *content, size_t size, uint8_t *out)
{
    struct stream_header_format header;
    struct stream_cipher *cipher;
    uint8_t master[KEY_SIZE], key[KEY_SIZE];
    size_t used = sizeof header, largest = how & 2 ? 64 : STREAM_CHUNK_MAX, first = 0;
    ASSERT((how & 128 ? stream_header_make : stream_bundle_header_make)(&secret, 14, &header, master) == ERROR_NONE);
    ASSERT(stream_first_key(master, &header, key) == ERROR_NONE && stream_cipher_create(key, true, &cipher) == ERROR_NONE);
    memcpy(out, &header, sizeof header);
    for (uint64_t number = 0; size > 0; number++) {
        size_t length = MIN(size, largest);
        bool last = length == size && !(how & 4);
        struct stream_chunk_format head = {.kind = STREAM_CHUNK_RECORDS, .flags = last ? STREAM_LAST : 0,
                                           .size = le32_make((uint32_t)length), .number = le64_make(number)};
        ASSERT(stream_chunk_seal(cipher, &head, content, out + used + sizeof head) == ERROR_NONE);
        memcpy(out + used, &head, sizeof head);
        first = number == 0 ? used : first;
        used += sizeof head + length;
        content += length;
        size -= length;
    }
    stream_cipher_destroy(cipher);
    if (how & 16)
        out[first + offsetof(struct stream_chunk_format, tag)] ^= 1;
    if (how & 64)
        out[first + offsetof(struct stream_chunk_format, number)] ^= 1;
    return used + (how & 8 ? 1 : 0) - (how & 32 ? 2 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1) {
        file_read(data + 1, size - 1, false);
        return 0;
    }
    uint8_t *made = calloc(1, 4096 + 2 * size);
    if (made == NULL)
        return 0;
    size_t used = file_make(data[0], data + 1, size - 1, made);
    file_read(made, used, data[0] & SPOILT);
    free(made);
    return 0;
}
