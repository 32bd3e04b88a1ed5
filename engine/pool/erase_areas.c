/*
 * The places of a device that hold its keys: overwritten once with zeros, flushed, read back. Once they are gone a crash leaves
 * a device that opens with nothing; before, one that is as it was or has some copies less, and is erased by asking again. With
 * notes (erase_note.c) it can be asked again at any time: they replace the first copy of each end, durably, while the second is
 * whole, and stay until the certificate is kept. The device is locked by its owner. No other locks.
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

static bool empty_between(struct device *device, uint64_t kept)
{
    uint64_t tail = device->size - AREA_SIZE;
    enum error error = device_discard(device, kept, (kept ? tail : device->size) - kept);
    if (!error && kept)
        error = device_discard(device, tail + kept, AREA_SIZE - kept);
    if (!error)
        error = device_flush(device);
    if (error)
        message(MESSAGE_WARNING, "%s: its blocks could not be discarded: %s; what they hold opens with no key that is left",
                device->path, error_sentence(error));
    return error == ERROR_NONE;
}

bool device_empty(struct device *device)
{
    return empty_between(device, 0);
}

bool device_empty_noted(struct device *device)
{
    return empty_between(device, DEVICE_BLOCK);
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

enum error areas_erase(struct device *device, const struct superblock_probe *probe)
{
    struct places places = places_of(device, probe);
    return overwrite(device, &places);
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

enum error areas_erase_noted(struct device *device, const struct superblock_probe *probe, const struct erase_note *note,
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

enum error areas_are_erased(struct device *device, bool *erased)
{
    struct places places = places_of(device, &(struct superblock_probe){0});
    AUTO_FREE uint8_t *area = memory_aligned(AREA_SIZE);
    return area ? areas_compare(device, &places, area, erased) : ERROR_NO_MEMORY;
}
