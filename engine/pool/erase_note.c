/*
 * The note of an erase: written over the first superblock copy of both areas before anything else is overwritten, and taken away
 * when the rest is done (of one device: when the certificate is kept). A crash between leaves either a whole superblock, or both notes: they are durable before the rest
 * goes. One note alone counts for nothing: who uses the disk anew overwrites one of the two.
 *
 * Anybody can make one, as anybody can make a superblock that no key proves: it decides no more than such a one. It is closed by
 * an HMAC under a constant so that nothing becomes one by accident, and states its place and the size of the device, so that a
 * copy of it elsewhere is none. No locks; the device is its caller's.
 */
#include "engine/pool/erase_note.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/hierarchy.h"
#include "crypto/kdf.h"

#define NOTE_VERSION 1

static enum error note_mac(const struct erase_note_format *format, uint8_t mac[32])
{
    return hmac_sha256(kek_public, format, offsetof(struct erase_note_format, mac), mac);
}

enum error erase_note_encode(const struct erase_note *note, uint64_t offset, uint64_t size, struct erase_note_format *format)
{
    memset(format, 0, sizeof *format);
    memcpy(format->magic, ERASE_NOTE_MAGIC, sizeof format->magic);
    format->version = le32_make(NOTE_VERSION);
    format->flags = le32_make((note->known ? ERASE_KNOWN : 0) | (note->encrypted ? ERASE_ENCRYPTED : 0));
    format->offset = le64_make(offset);
    format->device_size = le64_make(size);
    memcpy(format->pool, note->pool.bytes, sizeof format->pool);
    memcpy(format->device, note->device.bytes, sizeof format->device);
    memcpy(format->provider, note->provider.bytes, sizeof format->provider);
    format->kek_number = le64_make(note->kek_number);
    format->device_count = le32_make(note->device_count);
    format->end_count = le32_make(note->end_count);
    format->begun = le64_make(note->begun);
    for (uint32_t i = 0; i < note->end_count; i++)
        format->ends[i] = le64_make(note->ends[i]);
    return note_mac(format, format->mac);
}

/* Every number that is used, though only its maker knows what it ought to be. */
static bool is_sound(const struct erase_note_format *format, uint64_t size)
{
    bool sound = le32_get(format->end_count) <= SUPERBLOCK_COPIES && le32_get(format->flags) <= (ERASE_KNOWN | ERASE_ENCRYPTED) &&
                 memory_is_zero(format->reserved, sizeof format->reserved);
    for (size_t i = 0; i < SUPERBLOCK_COPIES; i++) {
        uint64_t end = le64_get(format->ends[i]);
        sound = sound && (i < le32_get(format->end_count) ? end >= 2 * AREA_SIZE && end <= size && end % DEVICE_BLOCK == 0 : end == 0);
    }
    return sound;
}

enum error erase_note_decode(const struct erase_note_format *format, uint64_t offset, uint64_t size, struct erase_note *note)
{
    uint8_t mac[32];
    if (memcmp(format->magic, ERASE_NOTE_MAGIC, sizeof format->magic) != 0 || le32_get(format->version) != NOTE_VERSION ||
        le64_get(format->offset) != offset || le64_get(format->device_size) != size)
        return ERROR_NOT_FOUND;
    TRY(note_mac(format, mac));
    if (memcmp(mac, format->mac, sizeof mac) != 0 || !is_sound(format, size))
        return ERROR_NOT_FOUND;
    struct erase_note found = {.known = (le32_get(format->flags) & ERASE_KNOWN) != 0,
                               .encrypted = (le32_get(format->flags) & ERASE_ENCRYPTED) != 0,
                               .kek_number = le64_get(format->kek_number),
                               .device_count = le32_get(format->device_count),
                               .end_count = le32_get(format->end_count),
                               .begun = le64_get(format->begun)};
    memcpy(found.pool.bytes, format->pool, sizeof format->pool);
    memcpy(found.device.bytes, format->device, sizeof format->device);
    memcpy(found.provider.bytes, format->provider, sizeof format->provider);
    for (uint32_t i = 0; i < found.end_count; i++)
        found.ends[i] = le64_get(format->ends[i]);
    *note = found;
    return ERROR_NONE;
}

static enum error read_at(struct device *device, uint64_t offset, void *block, struct erase_note *note)
{
    TRY(device_read(device, offset, block, DEVICE_BLOCK));
    return erase_note_decode(block, offset, device->size, note);
}

static bool is_same(const struct erase_note *a, const struct erase_note *b)
{
    return a->known == b->known && a->encrypted == b->encrypted && uuid_equal(a->pool, b->pool) && uuid_equal(a->device, b->device) &&
           uuid_equal(a->provider, b->provider) && a->kek_number == b->kek_number && a->device_count == b->device_count &&
           a->end_count == b->end_count && memcmp(a->ends, b->ends, sizeof a->ends) == 0 && a->begun == b->begun;
}

enum error erase_note_find(struct device *device, struct erase_note *note)
{
    AUTO_FREE void *block = memory_aligned(DEVICE_BLOCK);
    struct erase_note head, tail;
    if (!block)
        return ERROR_NO_MEMORY;
    if (device->size < 2 * AREA_SIZE)
        return ERROR_NOT_FOUND;
    TRY(read_at(device, 0, block, &head));
    TRY(read_at(device, device->size - AREA_SIZE, block, &tail));
    if (!is_same(&head, &tail))
        return ERROR_NOT_FOUND;
    *note = head;
    return ERROR_NONE;
}

/* A size that a copy states, beside those of a note that was there: what a crash of this run leaves must name them all. */
static enum error end_take(const struct device *device, uint64_t size, struct erase_note *note)
{
    if (size == device->size) /* always overwritten */
        return ERROR_NONE;
    for (uint32_t i = 0; i < note->end_count; i++)
        if (note->ends[i] == size)
            return ERROR_NONE;
    if (note->end_count == COUNT_OF(note->ends))
        return error_explain(ERROR_CORRUPT, "%s: the note of its erase and its superblocks state more sizes than any erase leaves, so "
                                            "one is forged; it is left alone: overwrite the whole disk", device->path);
    note->ends[note->end_count++] = size;
    return ERROR_NONE;
}

enum error erase_note_state(const struct device *device, const struct superblock_probe *probe, struct erase_note *note)
{
    const struct superblock *stated = superblock_newest(probe);
    note->known = true;
    note->encrypted = stated->encryption;
    note->pool = stated->pool;
    note->device = stated->device;
    note->provider = stated->wrapping.provider;
    note->kek_number = stated->wrapping.kek_number;
    note->device_count = stated->device_count;
    for (unsigned copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (probe->plausible[copy])
            TRY(end_take(device, probe->copies[copy].device_size, note));
    return ERROR_NONE;
}

/* Notes are no proof that nobody used the disk since. */
enum error erase_note_check_unused(const struct device *device)
{
    enum error error = device_check_signatures(device);
    if (!error)
        return ERROR_NONE;
    if (error != ERROR_NOT_EMPTY)
        return error_prefix(error, "what %s carries by now cannot be told", device->path);
    error_forget();
    return error_explain(ERROR_FOREIGN, "%s was being erased once, and carries something else by now: it is left alone",
                         device->path);
}
