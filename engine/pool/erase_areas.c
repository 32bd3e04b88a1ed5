/*
 * The places of a device that hold its keys: overwritten once with zeros, flushed, read back. Notes (erase_note.c) replace the first
 * copy of each end before, durably, while the second is whole, and stay until the rest of the erase is done: so a crash at any
 * moment leaves a superblock or both notes, and either names all places. The device is locked by its owner. No other locks.
 */
#include "engine/pool/erase_areas.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/memory.h"
#include "base/message.h"

#define NOTES 2

void disk_fact(const struct device *device, const char *name, char fact[FACT_SIZE])
{
    static const char *const places[] = {"device/", "", "../device/", "../"};
    struct stat status;
    fact[0] = '\0';
    if (device_file_status(device, &status)) {
        error_forget();
        return;
    }
    if (!S_ISBLK(status.st_mode))
        return;
    for (size_t i = 0; i < COUNT_OF(places) && fact[0] == '\0'; i++) {
        char file[PATH_MAX];
        snprintf(file, sizeof file, "/sys/dev/block/%u:%u/%s%s", major(status.st_rdev), minor(status.st_rdev), places[i], name);
        FILE *stream = fopen(file, "re");
        if (stream == NULL)
            continue;
        if (fscanf(stream, " %127[^\n]", fact) != 1) /* FACT_SIZE less one */
            fact[0] = '\0';
        fclose(stream);
    }
    for (char *at = fact; *at != '\0'; at++)
        *at = *at < ' ' || *at > '~' ? '?' : *at;
}

/* Where areas begin: at the device's head, and at the end of it by its own size and by each that a copy of its superblock
 * states. Nobody vouches for a copy where the key is lost: one that lies must not hide the end of the true ones. */
struct places {
    uint64_t offsets[2 * SUPERBLOCK_COPIES + 2];
    size_t count;
    uint8_t notes[NOTES][sizeof(struct erase_note_format)]; /* of those that carry one, the head's and the device's own end's */
    bool noted;
};

static void place_add(struct places *places, const struct device *device, uint64_t size)
{
    if (size < 2 * AREA_SIZE || size > device->size)
        return;
    for (size_t i = 0; i < places->count; i++)
        if (places->offsets[i] == size - AREA_SIZE)
            return;
    ASSERT(places->count < COUNT_OF(places->offsets));
    places->offsets[places->count++] = size - AREA_SIZE;
}

static struct places places_of(const struct device *device, const struct superblock_probe *probe)
{
    struct places places = {.count = 1}; /* the head */
    place_add(&places, device, device->size);
    for (unsigned copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (probe->plausible[copy])
            place_add(&places, device, probe->copies[copy].device_size);
    return places;
}

/* An area as it is to be; also where another's note lies in it, since ends that are stated may be near one another. */
static void area_fill(const struct places *places, uint64_t begin, uint8_t *area)
{
    memset(area, 0, AREA_SIZE);
    for (size_t i = 0; places->noted && i < NOTES; i++) {
        uint64_t offset = places->offsets[i];
        if (offset >= begin && offset - begin < AREA_SIZE)
            memcpy(area + (offset - begin), places->notes[i], sizeof places->notes[i]);
    }
}

static enum error areas_write(struct device *device, const struct places *places, uint8_t *area)
{
    for (size_t i = 0; i < places->count; i++) {
        area_fill(places, places->offsets[i], area);
        TRY(device_write(device, places->offsets[i], area, AREA_SIZE, 0));
    }
    return device_flush(device);
}

static enum error areas_compare(struct device *device, const struct places *places, uint8_t *area, bool *same)
{
    AUTO_FREE uint8_t *wanted = memory_aligned(AREA_SIZE);
    if (!wanted)
        return ERROR_NO_MEMORY;
    *same = true;
    for (size_t i = 0; i < places->count; i++) {
        memset(area, 1, AREA_SIZE);
        TRY(device_read(device, places->offsets[i], area, AREA_SIZE));
        area_fill(places, places->offsets[i], wanted);
        *same = *same && memcmp(area, wanted, AREA_SIZE) == 0;
    }
    return ERROR_NONE;
}

bool device_empty(struct device *device, const char *rest)
{
    uint64_t tail = device->size - AREA_SIZE;
    enum error error = device_discard(device, DEVICE_BLOCK, tail - DEVICE_BLOCK);
    if (!error)
        error = device_discard(device, tail + DEVICE_BLOCK, AREA_SIZE - DEVICE_BLOCK);
    if (!error)
        error = device_flush(device);
    if (error)
        message(MESSAGE_WARNING, "%s: its blocks could not be discarded: %s; %s", device->path, error_sentence(error),
                rest);
    return error == ERROR_NONE;
}

static enum error overwrite(struct device *device, const struct places *places)
{
    AUTO_FREE uint8_t *area = memory_aligned(AREA_SIZE);
    bool same;
    if (!area)
        return ERROR_NO_MEMORY;
    TRY(areas_write(device, places, area));
    TRY(areas_compare(device, places, area, &same));
    return same ? ERROR_NONE
                : error_explain(ERROR_IO, "%s: what was overwritten reads as something else than was written: destroy the disk",
                                device->path);
}

/* Only the blocks of the notes: the second copy of each end stays until both notes are durable. */
static enum error notes_write(struct device *device, const struct places *places)
{
    AUTO_FREE uint8_t *block = memory_aligned(DEVICE_BLOCK);
    if (!block)
        return ERROR_NO_MEMORY;
    for (size_t i = 0; i < NOTES; i++) {
        memset(block, 0, DEVICE_BLOCK);
        memcpy(block, places->notes[i], sizeof places->notes[i]);
        TRY(device_write(device, places->offsets[i], block, DEVICE_BLOCK, 0));
    }
    return device_flush(device);
}

enum error areas_erase(struct device *device, const struct superblock_probe *probe, const struct erase_note *note,
                             size_t *areas)
{
    if (device->size < 2 * AREA_SIZE)
        return error_explain(ERROR_FOREIGN, "%s is too small to have been a device of a pool: it is left alone", device->path);
    struct places places = places_of(device, probe);
    for (uint32_t i = 0; i < note->end_count; i++)
        place_add(&places, device, note->ends[i]);
    for (size_t i = 0; i < NOTES; i++)
        TRY(erase_note_encode(note, places.offsets[i], device->size, (struct erase_note_format *)places.notes[i]));
    places.noted = true;
    TRY(notes_write(device, &places));
    TRY(overwrite(device, &places));
    *areas = places.count;
    return ERROR_NONE;
}

enum error areas_finish(struct device *device)
{
    AUTO_FREE uint8_t *block = memory_aligned(DEVICE_BLOCK);
    const uint64_t offsets[NOTES] = {0, device->size - AREA_SIZE};
    if (!block)
        return ERROR_NO_MEMORY;
    memset(block, 0, DEVICE_BLOCK);
    for (size_t i = 0; i < NOTES; i++)
        TRY(device_write(device, offsets[i], block, DEVICE_BLOCK, 0));
    TRY(device_flush(device));
    for (size_t i = 0; i < NOTES; i++)
        if (device_discard(device, offsets[i], DEVICE_BLOCK)) /* zeros stay */
            error_forget();
    return ERROR_NONE;
}

/* A note of the end of an erase, of which the other end's is gone already, is none of what is to be overwritten. */
static void note_forget(const struct device *device, uint64_t offset, const struct uuid *id, uint8_t *area)
{
    struct erase_note_format *format = (struct erase_note_format *)area;
    struct erase_note note;
    if (id && !erase_note_decode(format, offset, device->size, &note) && note.known && uuid_equal(note.device, *id))
        memset(format, 0, sizeof *format);
}

enum error areas_are_erased(struct device *device, const struct uuid *id, bool *erased)
{
    const uint64_t offsets[] = {0, device->size - AREA_SIZE};
    AUTO_FREE uint8_t *area = memory_aligned(AREA_SIZE);
    if (!area)
        return ERROR_NO_MEMORY;
    *erased = true;
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        TRY(device_read(device, offsets[i], area, AREA_SIZE));
        note_forget(device, offsets[i], id, area);
        *erased = *erased && memory_is_zero(area, AREA_SIZE);
    }
    return ERROR_NONE;
}
