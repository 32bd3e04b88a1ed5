/*
 * Exports: a snapshot becomes a stream, whole or since another, beside all that changes meanwhile; the stream is read to its
 * end, what it brings is put upon the base, and each block must be one that the snapshot may hold. As in tools/object_export.c,
 * holes of a whole snapshot and what did not change since the base are left out.
 *
 * Nothing is changed here, so a kill is harmless. The thread of families, in which no snapshot goes meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "tests/crash/content.h"
#include "tests/crash/versions.h"

#define SINCE_PERCENT 60
#define EXTENTS_MAX   5

struct export {
    struct session *session;
    struct volume *volume, *base; /* base NULL: whole */
    struct stream_manifest manifest;
    struct stream_writer *writer;
    unsigned char *bytes; /* of the stream */
    size_t size, read;
    unsigned char image[FAMILY_BLOCKS * BLOCK]; /* what the stream makes of the base */
    unsigned char piece[FAMILY_BLOCKS * BLOCK];
};

static enum error put(void *context, const void *data, size_t size)
{
    struct export *export = context;
    unsigned char *grown = realloc(export->bytes, export->size + size);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    export->bytes = grown;
    memcpy(grown + export->size, data, size);
    export->size += size;
    return ERROR_NONE;
}

static enum error get(void *context, void *data, size_t size, size_t *got)
{
    struct export *export = context;
    *got = MIN(size, export->size - export->read);
    memcpy(data, export->bytes + export->read, *got);
    export->read += *got;
    return ERROR_NONE;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* False where a fault came in between, as everywhere below. */
static bool range_put(struct export *export, uint64_t offset, uint64_t length, bool zero)
{
    if (zero)
        return succeeds(export->session, stream_writer_zero(export->writer, offset, length), "zeros of a stream");
    return read_all(export->session, export->volume, offset, export->piece, length) &&
           succeeds(export->session, stream_writer_data(export->writer, offset, export->piece, length), "data of a stream");
}

static bool whole_put(struct export *export)
{
    uint64_t at = 0, size = export->manifest.size;
    while (at < size) {
        struct extent extents[EXTENTS_MAX];
        size_t count;
        enum error error = volume_extents(export->volume, at, size - at, extents, COUNT_OF(extents), &count);
        if (!succeeds(export->session, error, "block status of a snapshot"))
            return false;
        for (size_t i = 0; i < count; at += extents[i++].length)
            if (!extents[i].hole && !range_put(export, at, extents[i].length, false))
                return false;
    }
    return true;
}

static bool changes_put(struct export *export)
{
    uint64_t at = 0, size = export->manifest.size;
    while (at < size) {
        struct change_extent extents[EXTENTS_MAX];
        size_t count;
        enum error error = volume_changes(export->volume, export->base, at, size - at, extents, COUNT_OF(extents), &count);
        if (!succeeds(export->session, error, "question for what changed since a base"))
            return false;
        for (size_t i = 0; i < count; at += extents[i++].length)
            if (extents[i].kind != CHANGE_NONE && !range_put(export, at, extents[i].length, extents[i].kind == CHANGE_ZERO))
                return false;
    }
    return true;
}

static bool stream_put(struct export *export)
{
    static const struct stream_secret none = {0};
    enum error error = stream_writer_create(&none, 0, &export->manifest, put, export, &export->writer);
    return succeeds(export->session, error, "begin of a stream") &&
           (export->base == NULL ? whole_put(export) : changes_put(export)) &&
           succeeds(export->session, stream_writer_finish(export->writer), "end of a stream");
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static bool base_take(struct export *export)
{
    uint64_t size = export->manifest.base_size;
    if (export->base == NULL)
        return true;
    if (!read_all(export->session, export->base, 0, export->piece, size))
        return false;
    memcpy(export->image, export->piece, MIN(size, export->manifest.size));
    return true;
}

static bool records_take(struct export *export, struct stream_reader *reader)
{
    static const struct stream_secret none = {0};
    const struct stream_manifest *manifest;
    struct stream_record record;
    if (!succeeds(export->session, stream_reader_unlock(reader, &none, &manifest), "manifest of a stream"))
        return false;
    if (memcmp(manifest, &export->manifest, sizeof(*manifest)) != 0)
        fail("a stream of %s@%s says that it is another", export->manifest.object_name, export->manifest.snapshot_name);
    do {
        if (!succeeds(export->session, stream_reader_next(reader, &record), "read of a stream"))
            return false;
        if (record.kind == STREAM_DATA)
            memcpy(export->image + record.offset, record.data, record.length);
        else if (record.kind == STREAM_ZERO)
            memset(export->image + record.offset, 0, record.length);
    } while (record.kind != STREAM_END);
    return true;
}

static bool stream_take(struct export *export)
{
    struct stream_reader *reader;
    if (!succeeds(export->session, stream_reader_create(get, export, &reader), "header of a stream"))
        return false;
    bool taken = records_take(export, reader);
    stream_reader_destroy(reader);
    return taken;
}

/* ---- a snapshot --------------------------------------------------------------------------------------------------- */

static void judge(struct export *export, struct version_state *state, const char *name, uint64_t began)
{
    atomic_fetch_add(&export->session->done[DONE_EXPORTS], 1);
    for (uint64_t b = 0; b < state->blocks; b++)
        judge_block(export->session, state, name, b, content_hash(export->image + b * BLOCK, BLOCK), began);
}

static bool describe(struct pool *pool, struct export *export, const char *name, const char *base)
{
    struct snapshot_info info;
    struct stream_manifest *manifest = &export->manifest;
    if (!session_snapshot(export->session, pool, name, &info))
        return false;
    manifest->object = info.object_uuid;
    manifest->snapshot = info.identity;
    manifest->size = info.size;
    manifest->created = info.created;
    memcpy(manifest->object_name, info.object, strlen(info.object));
    memcpy(manifest->snapshot_name, info.snapshot, strlen(info.snapshot));
    if (base == NULL)
        return true;
    if (!session_snapshot(export->session, pool, base, &info))
        return false;
    manifest->base = info.identity;
    manifest->base_size = info.size;
    memcpy(manifest->base_name, info.snapshot, strlen(info.snapshot));
    return true;
}

static bool open_both(struct pool *pool, struct export *export, const char *name, const char *base)
{
    if (!succeeds(export->session, volume_open(pool, name, true, &export->volume), "open of a snapshot"))
        return false;
    return base == NULL || succeeds(export->session, volume_open(pool, base, true, &export->base), "open of a base");
}

void export_look(struct session *session, struct pool *pool, unsigned family, struct dice *dice)
{
    char name[VERSION_NAME_SIZE], base_name[VERSION_NAME_SIZE];
    unsigned version = draw_snapshot(session, family, dice);
    unsigned base = dice_percent(dice, SINCE_PERCENT) ? draw_snapshot(session, family, dice) : 0;
    bool since = base != 0 && base != version;
    if (version == 0)
        return;
    struct export *export = session_take(sizeof(*export));
    uint64_t began = clock_tick(&session->clock);
    export->session = session;
    version_name(family, version, name);
    version_name(family, base, base_name);
    const char *from = since ? base_name : NULL;
    if (describe(pool, export, name, from) && open_both(pool, export, name, from) && stream_put(export) &&
        base_take(export) && stream_take(export))
        judge(export, version_of(session, family, version), name, began);
    stream_writer_destroy(export->writer);
    if (export->base != NULL)
        volume_close(export->base);
    if (export->volume != NULL)
        volume_close(export->volume);
    free(export->bytes);
    free(export);
}
