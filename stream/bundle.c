/*
 * Bundles. Reading goes in the order of a stream: header and digest, costs, passphrase by its check value, then chunks, each
 * authenticated at its place before it is looked into; only when the last one was the last, and nothing stands behind it, are
 * the items taken apart. They were made by who had the passphrase, and are checked all the same: a name of a file leads to
 * nowhere outside of the directory into which it will be written. Pure but for random salts.
 */
#include "stream/bundle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "stream/chunk.h"

/* ---- items -------------------------------------------------------------------------------------------------------------- */

struct bundle *bundle_create(struct uuid pool, uint64_t made)
{
    struct bundle *bundle = memory_zeroed(1, sizeof *bundle);
    if (bundle == NULL)
        return NULL;
    bundle->pool = pool;
    bundle->made = made;
    return bundle;
}

void bundle_destroy(struct bundle *bundle)
{
    if (bundle == NULL)
        return;
    for (size_t i = 0; i < bundle->count; i++)
        memory_free_cleansed(bundle->items[i].data);
    free(bundle);
}

/* A word of a path: not empty, no "." or "..", no control character. */
static bool word_is_sound(const char *word, size_t size)
{
    if (size == 0 || (size == 1 && word[0] == '.') || (size == 2 && word[0] == '.' && word[1] == '.'))
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)word[i] < ' ' || word[i] == 0x7f)
            return false;
    return true;
}

static bool path_is_sound(const char *path)
{
    size_t size = strcspn(path, "/");
    while (word_is_sound(path, size) && path[size] == '/') {
        path += size + 1;
        size = strcspn(path, "/");
    }
    return path[size] == '\0' && word_is_sound(path, size);
}

static bool name_is_sound(enum bundle_kind kind, const char *name)
{
    struct uuid uuid;
    switch (kind) {
    case BUNDLE_FILE:
        return path_is_sound(name);
    case BUNDLE_SUPERBLOCK:
        return uuid_parse(name, &uuid) == ERROR_NONE;
    case BUNDLE_ABSENT:
        return word_is_sound(name, strlen(name));
    }
    return false;
}

const struct bundle_item *bundle_find(const struct bundle *bundle, enum bundle_kind kind, const char *name)
{
    for (size_t i = 0; i < bundle->count; i++)
        if (bundle->items[i].kind == kind && strcmp(bundle->items[i].name, name) == 0)
            return &bundle->items[i];
    return NULL;
}

enum error bundle_add(struct bundle *bundle, enum bundle_kind kind, const char *name, const void *data, size_t size)
{
    struct bundle_item *item = &bundle->items[bundle->count];
    if (bundle->count == BUNDLE_ITEMS_MAX || size > BUNDLE_BYTES_MAX - bundle->bytes)
        return error_explain(ERROR_TOO_LARGE, "there are more files, or more in them, than a backup may hold (%d, %u MiB)",
                             BUNDLE_ITEMS_MAX, BUNDLE_BYTES_MAX >> 20);
    if (strlen(name) >= sizeof item->name || !name_is_sound(kind, name) || bundle_find(bundle, kind, name) != NULL)
        return error_explain(ERROR_INVALID, "'%s' can be no name in a backup, or stands in it twice", name);
    uint8_t *copy = malloc(size + 1);
    if (copy == NULL)
        return ERROR_NO_MEMORY;
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = 0;
    *item = (struct bundle_item){.kind = kind, .data = copy, .size = size};
    memcpy(item->name, name, strlen(name) + 1);
    bundle->bytes += size;
    bundle->count++;
    return ERROR_NONE;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

static uint8_t *put(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

static size_t content_size(const struct bundle *bundle)
{
    return sizeof(struct stream_bundle_format) + bundle->count * sizeof(struct stream_item_format) + bundle->bytes;
}

static void content_make(const struct bundle *bundle, uint8_t *at)
{
    struct stream_bundle_format head = {le32_make(STREAM_BUNDLE_VERSION), le32_make((uint32_t)bundle->count), bundle->pool,
                                        le64_make(bundle->made)};
    at = put(at, &head, sizeof head);
    for (size_t i = 0; i < bundle->count; i++) {
        const struct bundle_item *item = &bundle->items[i];
        struct stream_item_format out = {.kind = (uint8_t)item->kind, .size = le64_make(item->size)};
        memcpy(out.name, item->name, strlen(item->name));
        at = put(at, &out, sizeof out);
        at = put(at, item->data, item->size);
    }
}

static enum error chunks_seal(struct stream_cipher *cipher, const uint8_t *content, size_t size, uint8_t *out)
{
    for (uint64_t number = 0; size > 0; number++) {
        size_t length = MIN(size, (size_t)STREAM_CHUNK_MAX);
        struct stream_chunk_format head = {.kind = STREAM_CHUNK_RECORDS,
                                           .flags = length == size ? STREAM_LAST : 0,
                                           .size = le32_make((uint32_t)length),
                                           .number = le64_make(number)};
        TRY(stream_chunk_seal(cipher, &head, content, out + sizeof head));
        out = put(out, &head, sizeof head) + length;
        content += length;
        size -= length;
    }
    return ERROR_NONE;
}

/* `keys`: the master key and the session's, in the arena. */
static enum error seal(const struct stream_secret *secret, unsigned log2_n, uint8_t (*keys)[KEY_SIZE], const uint8_t *content,
                       size_t size, uint8_t *out)
{
    struct stream_header_format header;
    struct stream_cipher *cipher;
    TRY(stream_bundle_header_make(secret, log2_n, &header, keys[0]));
    TRY(stream_first_key(keys[0], &header, keys[1]));
    TRY(stream_cipher_create(keys[1], true, &cipher));
    enum error error = chunks_seal(cipher, content, size, put(out, &header, sizeof header));
    stream_cipher_destroy(cipher);
    return error;
}

enum error bundle_encode(const struct bundle *bundle, const struct stream_secret *secret, unsigned log2_n, uint8_t **data,
                         size_t *size)
{
    size_t plain = content_size(bundle), chunks = (plain + STREAM_CHUNK_MAX - 1) / STREAM_CHUNK_MAX;
    size_t total = sizeof(struct stream_header_format) + chunks * sizeof(struct stream_chunk_format) + plain;
    uint8_t(*keys)[KEY_SIZE] = arena_allocate(2 * sizeof *keys);
    uint8_t *content = malloc(plain), *out = malloc(total);
    enum error error = keys == NULL || content == NULL || out == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    if (error == ERROR_NONE) {
        content_make(bundle, content);
        error = seal(secret, log2_n, keys, content, plain, out);
    }
    memory_free_cleansed(content);
    arena_free(keys);
    if (error != ERROR_NONE) {
        free(out);
        return error;
    }
    *data = out;
    *size = total;
    return ERROR_NONE;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static enum error unsound(const char *what)
{
    return error_explain(ERROR_CORRUPT, "what the backup holds is damaged: %s", what);
}

struct input {
    const uint8_t *at;
    size_t left, number; /* of the next chunk */
    bool last;
};

static enum error take(struct input *input, void *data, size_t size)
{
    if (input->left < size)
        return error_explain(ERROR_CORRUPT, "the backup is cut off behind %zu whole chunks: make a new backup", input->number);
    memcpy(data, input->at, size);
    input->at += size;
    input->left -= size;
    return ERROR_NONE;
}

/* Appends the content of the next chunk. `content` has room for all that is left of the input. */
static enum error chunk_take(struct input *input, struct stream_cipher *cipher, uint8_t *content, size_t *size)
{
    struct stream_chunk_format head;
    TRY(take(input, &head, sizeof head));
    size_t length = le32_get(head.size);
    if (head.kind != STREAM_CHUNK_RECORDS || (head.flags & ~STREAM_LAST) || (head.reserved[0] | head.reserved[1]) ||
        length == 0 || length > STREAM_CHUNK_MAX || le64_get(head.number) != input->number)
        return error_explain(ERROR_CORRUPT, "chunk %zu of the backup is damaged", input->number);
    TRY(take(input, content + *size, length));
    enum error error = stream_chunk_open(cipher, &head, content + *size, content + *size);
    if (error == ERROR_CORRUPT)
        return error_explain(error, "chunk %zu of the backup is damaged, or of another backup", input->number);
    TRY(error);
    *size += length;
    input->number++;
    input->last = head.flags & STREAM_LAST;
    return ERROR_NONE;
}

static enum error item_take(struct input *input, struct bundle *bundle)
{
    struct stream_item_format item;
    if (input->left < sizeof item)
        return unsound("its end");
    TRY(take(input, &item, sizeof item));
    uint64_t size = le64_get(item.size);
    const uint8_t *end = memchr(item.name, 0, sizeof item.name);
    if (!memory_is_zero(item.reserved, sizeof item.reserved) || end == NULL ||
        !memory_is_zero(end, (size_t)(item.name + sizeof item.name - end)) || size > input->left)
        return unsound("an item");
    enum error error = bundle_add(bundle, (enum bundle_kind)item.kind, (const char *)item.name, input->at, size);
    if (error != ERROR_NONE)
        return error == ERROR_NO_MEMORY ? error : unsound("a name, or the number of its items");
    input->at += size;
    input->left -= size;
    return ERROR_NONE;
}

static enum error content_take(const uint8_t *content, size_t size, struct bundle *bundle)
{
    struct input input = {content, size, 0, false};
    struct stream_bundle_format head;
    if (size < sizeof head)
        return unsound("its begin");
    TRY(take(&input, &head, sizeof head));
    if (le32_get(head.version) > STREAM_BUNDLE_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "written by a newer version of Coffer (format %u, known is %d)",
                             le32_get(head.version), STREAM_BUNDLE_VERSION);
    if (le32_get(head.version) != STREAM_BUNDLE_VERSION || le32_get(head.item_count) > BUNDLE_ITEMS_MAX)
        return unsound("its begin");
    bundle->pool = head.pool;
    bundle->made = le64_get(head.made);
    for (uint32_t i = 0; i < le32_get(head.item_count); i++)
        TRY(item_take(&input, bundle));
    return input.left == 0 ? ERROR_NONE : unsound("bytes that belong to nothing");
}

static enum error chunks_take(struct input *input, struct stream_cipher *cipher, struct bundle *bundle)
{
    size_t size = 0;
    uint8_t *content = malloc(input->left + 1);
    enum error error = content == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    while (error == ERROR_NONE && !input->last)
        error = chunk_take(input, cipher, content, &size);
    if (error == ERROR_NONE && input->left > 0)
        error = error_explain(ERROR_CORRUPT, "%zu bytes stand behind the end of the backup", input->left);
    if (error == ERROR_NONE)
        error = content_take(content, size, bundle);
    memory_free_cleansed(content);
    return error;
}

static enum error bundle_open(struct input *input, const struct stream_secret *secret, uint8_t (*keys)[KEY_SIZE],
                              struct bundle *bundle)
{
    struct stream_header_format header = {0};
    struct stream_cipher *cipher;
    size_t known = MIN(input->left, sizeof header.magic);
    if (memcmp(input->at, STREAM_MAGIC, known) == 0) /* else it is something else, however short */
        TRY(take(input, &header, sizeof header));
    TRY(stream_bundle_header_check(&header));
    if (header.protection != STREAM_PASSPHRASE)
        return error_explain(ERROR_CORRUPT, "the backup says that it is under no passphrase, which none is");
    enum error error = stream_master_open(&header, secret, keys[0]);
    if (error == ERROR_WRONG_KEY)
        return error_explain(error, "the passphrase is not that of the backup");
    TRY(error);
    TRY(stream_first_key(keys[0], &header, keys[1]));
    TRY(stream_cipher_create(keys[1], true, &cipher));
    error = chunks_take(input, cipher, bundle);
    stream_cipher_destroy(cipher);
    return error;
}

enum error bundle_decode(const void *data, size_t size, const struct stream_secret *secret, struct bundle **bundle)
{
    struct input input = {data, size, 0, false};
    uint8_t(*keys)[KEY_SIZE] = arena_allocate(2 * sizeof *keys);
    struct bundle *made = keys == NULL ? NULL : bundle_create((struct uuid){{0}}, 0);
    enum error error = made == NULL ? ERROR_NO_MEMORY : bundle_open(&input, secret, keys, made);
    arena_free(keys);
    if (error != ERROR_NONE)
        bundle_destroy(made);
    else
        *bundle = made;
    return error;
}
