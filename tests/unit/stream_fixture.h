/* Streams in memory: a model of a disk that is exported and imported by the library alone. */
#ifndef COFFER_TESTS_UNIT_STREAM_FIXTURE_H
#define COFFER_TESTS_UNIT_STREAM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/memory.h"
#include "crypto/provider.h"
#include "stream/reader.h"
#include "stream/writer.h"

#define DISK_SIZE (6u << 20)
#define BYTES_MAX (16u << 20)

struct bytes {
    uint8_t *data;
    size_t size, at, room; /* room: of output; what is beyond it fails */
};

static const struct stream_secret no_secret = {NULL};
static const struct stream_secret passphrase_secret = {.passphrase = "correct horse", .passphrase_size = 13};
static const uint8_t key_bytes[KEY_SIZE] = {1, 2, 3};
static const struct stream_secret key_secret = {.key = key_bytes};

static inline void assert_fine(enum error error)
{
    if (error != ERROR_NONE)
        fail_msg("%s: %s", error_name(error), error_sentence(error));
}

static inline void assert_refused(enum error error, enum error expected, const char *words)
{
    assert_string_equal(error_name(error), error_name(expected));
    if (strstr(error_sentence(error), words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, error_sentence(error));
}

static inline enum error bytes_put(void *context, const void *data, size_t size)
{
    struct bytes *bytes = context;
    if (size > bytes->room - bytes->size)
        return error_explain(ERROR_NO_SPACE, "no room");
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    return ERROR_NONE;
}

static inline enum error bytes_get(void *context, void *data, size_t size, size_t *got)
{
    struct bytes *bytes = context;
    *got = MIN(size, bytes->size - bytes->at);
    memcpy(data, bytes->data + bytes->at, *got);
    bytes->at += *got;
    return ERROR_NONE;
}

static inline struct bytes bytes_make(void)
{
    struct bytes bytes = {.data = malloc(BYTES_MAX), .room = BYTES_MAX};
    assert_non_null(bytes.data);
    return bytes;
}

static inline struct stream_manifest manifest_make(bool full)
{
    struct stream_manifest manifest = {.object = {{1}}, .snapshot = {{2}}, .size = DISK_SIZE, .created = 1700000000};
    memcpy(manifest.object_name, "disk", 5);
    memcpy(manifest.snapshot_name, "s2", 3);
    if (!full) {
        manifest.base = (struct uuid){{3}};
        manifest.base_size = DISK_SIZE / 2;
        memcpy(manifest.base_name, "s1", 3);
    }
    return manifest;
}

/* Data of every kind: 2.2 MiB that do not pack, a block, what packs well, a hole that is named. */
static inline void disk_fill(uint8_t *disk)
{
    uint64_t state = 88172645463325252u;
    memset(disk, 0, DISK_SIZE);
    for (size_t i = 0; i < 2300000; i += 8) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        memcpy(disk + i, &state, 8);
    }
    memset(disk + (3u << 20), 'b', 4096);
    memset(disk + (4u << 20), 'c', 1u << 20);
}

static inline enum error ranges_write(struct stream_writer *writer, const uint8_t *disk, uint64_t from)
{
    static const struct { uint64_t offset, length; } ranges[] = {{0, 2301952}, {3u << 20, 4096}, {4u << 20, 1u << 20}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        uint64_t begin = MAX(from, ranges[i].offset), end = ranges[i].offset + ranges[i].length;
        if (begin < end)
            TRY(stream_writer_data(writer, begin, disk + begin, end - begin));
    }
    if (from < DISK_SIZE - 8192)
        TRY(stream_writer_zero(writer, DISK_SIZE - 8192, 8192));
    return stream_writer_finish(writer);
}

static inline struct bytes stream_make(const struct stream_secret *secret, bool full)
{
    struct bytes bytes = bytes_make();
    struct stream_manifest manifest = manifest_make(full);
    struct stream_writer *writer;
    uint8_t *disk = malloc(DISK_SIZE);
    disk_fill(disk);
    assert_fine(stream_writer_create(secret, SCRYPT_LOG2_N_FLOOR, &manifest, bytes_put, &bytes, &writer));
    assert_fine(ranges_write(writer, disk, 0));
    stream_writer_destroy(writer);
    free(disk);
    return bytes;
}

/* Reads all of it, applies what it gives to `disk`, which may be NULL. The reader is the caller's where `reader` is. */
static inline enum error stream_read(struct bytes *bytes, const struct stream_secret *secret, uint8_t *disk,
                                     struct stream_reader **reader)
{
    struct stream_reader *made = NULL;
    const struct stream_manifest *manifest;
    struct stream_record record = {0};
    bytes->at = 0;
    error_forget();
    enum error error = stream_reader_create(bytes_get, bytes, &made);
    if (error == ERROR_NONE)
        error = stream_reader_unlock(made, secret, &manifest);
    while (error == ERROR_NONE && record.kind != STREAM_END) {
        error = stream_reader_next(made, &record);
        if (error == ERROR_NONE && disk != NULL && record.kind == STREAM_DATA)
            memcpy(disk + record.offset, record.data, record.length);
        if (error == ERROR_NONE && disk != NULL && record.kind == STREAM_ZERO)
            memset(disk + record.offset, 0, record.length);
    }
    if (reader != NULL)
        *reader = made;
    else
        stream_reader_destroy(made);
    return error;
}

#endif
