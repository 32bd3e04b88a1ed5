/* Manifests to bytes and back. Pure. */
#include "stream/manifest.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

static void name_encode(const char *name, uint8_t out[STREAM_NAME_SIZE])
{
    size_t length = strnlen(name, STREAM_NAME_SIZE - 1);
    memset(out, 0, STREAM_NAME_SIZE);
    memcpy(out, name, length);
}

/* Whatever follows the end of a name is zero, so that a manifest has one form; and what is in it can be shown. */
static bool name_decode(const uint8_t in[STREAM_NAME_SIZE], bool empty, char name[STREAM_NAME_SIZE])
{
    size_t length = strnlen((const char *)in, STREAM_NAME_SIZE);
    memcpy(name, in, STREAM_NAME_SIZE);
    return length < STREAM_NAME_SIZE && (length == 0) == empty &&
           memory_is_zero(in + length, STREAM_NAME_SIZE - length) && utf8_is_printable(name);
}

static bool size_is_sound(uint64_t size)
{
    return size > 0 && size <= STREAM_SIZE_MAX && size % STREAM_BLOCK == 0;
}

void stream_manifest_encode(const struct stream_manifest *manifest, struct stream_manifest_format *out)
{
    *out = (struct stream_manifest_format){
        .object = manifest->object,
        .snapshot = manifest->snapshot,
        .base = manifest->base,
        .size = le64_make(manifest->size),
        .base_size = le64_make(manifest->base_size),
        .created = le64_make(manifest->created),
    };
    name_encode(manifest->object_name, out->object_name);
    name_encode(manifest->snapshot_name, out->snapshot_name);
    name_encode(manifest->base_name, out->base_name);
}

enum error stream_manifest_decode(const void *bytes, size_t size, struct stream_manifest *manifest)
{
    struct stream_manifest_format in;
    if (size != sizeof in)
        return error_explain(ERROR_CORRUPT, "the stream begins with %zu bytes that do not say what it is of", size);
    memcpy(&in, bytes, sizeof in);
    struct stream_manifest decoded = {
        .object = in.object,
        .snapshot = in.snapshot,
        .base = in.base,
        .size = le64_get(in.size),
        .base_size = le64_get(in.base_size),
        .created = le64_get(in.created),
    };
    bool full = stream_is_full(&decoded);
    if (!name_decode(in.object_name, false, decoded.object_name) ||
        !name_decode(in.snapshot_name, false, decoded.snapshot_name) ||
        !name_decode(in.base_name, full, decoded.base_name) || !size_is_sound(decoded.size) ||
        (full ? decoded.base_size != 0 : !size_is_sound(decoded.base_size)) || decoded.created > INT64_MAX ||
        uuid_is_zero(decoded.snapshot) || uuid_equal(decoded.snapshot, decoded.base))
        return error_explain(ERROR_CORRUPT, "what the stream says that it is of makes no sense");
    *manifest = decoded;
    return ERROR_NONE;
}
