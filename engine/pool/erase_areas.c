/*
 * The places of a device that hold its keys: overwritten once with zeros, flushed, read back. Once they are gone a crash leaves
 * a device that opens with nothing; before, one that is as it was or has some copies less, and is erased by asking again. The
 * device is locked by its owner. No other locks.
 */
#include "engine/pool/erase_areas.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/memory.h"
#include "base/message.h"

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
    uint64_t offsets[SUPERBLOCK_COPIES + 2];
    size_t count;
};

static void place_add(struct places *places, const struct device *device, uint64_t size)
{
    if (size >= 2 * AREA_SIZE && size <= device->size)
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

static enum error areas_write(struct device *device, const struct places *places, uint8_t *area)
{
    memset(area, 0, AREA_SIZE);
    for (size_t i = 0; i < places->count; i++)
        TRY(device_write(device, places->offsets[i], area, AREA_SIZE, 0));
    return device_flush(device);
}

static enum error areas_are_zero(struct device *device, const struct places *places, uint8_t *area, bool *zero)
{
    *zero = true;
    for (size_t i = 0; i < places->count; i++) {
        memset(area, 1, AREA_SIZE);
        TRY(device_read(device, places->offsets[i], area, AREA_SIZE));
        *zero = *zero && memory_is_zero(area, AREA_SIZE);
    }
    return ERROR_NONE;
}

bool device_empty(struct device *device)
{
    enum error error = device_discard(device, 0, device->size);
    if (!error)
        error = device_flush(device);
    if (error)
        message(MESSAGE_WARNING, "%s: its blocks could not be discarded: %s; what they hold opens with no key that is left",
                device->path, error_sentence(error));
    return error == ERROR_NONE;
}

enum error areas_erase(struct device *device, const struct superblock_probe *probe)
{
    struct places places = places_of(device, probe);
    AUTO_FREE uint8_t *area = memory_aligned(AREA_SIZE);
    bool zero;
    if (!area)
        return ERROR_NO_MEMORY;
    TRY(areas_write(device, &places, area));
    TRY(areas_are_zero(device, &places, area, &zero));
    return zero ? ERROR_NONE
                : error_explain(ERROR_IO, "%s: what was overwritten reads as something else than zeros: destroy the disk",
                                device->path);
}

enum error areas_are_erased(struct device *device, bool *erased)
{
    struct places places = places_of(device, &(struct superblock_probe){0});
    AUTO_FREE uint8_t *area = memory_aligned(AREA_SIZE);
    return area ? areas_are_zero(device, &places, area, erased) : ERROR_NO_MEMORY;
}
