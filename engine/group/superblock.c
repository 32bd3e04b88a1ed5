/*
 * The four copies of a superblock on their device.
 *
 * A write goes: copies 0 and 1 in the head area, one after the other, flush, copies 2 and 3 in the tail area, flush; or the
 * tail first, where it holds no whole copy as new as the head's. Whenever it stops, one end of the device holds whole copies
 * of the newest epoch of before, or of the new one; the newest that verifies counts, so the change happened or did not. What a
 * copy says is taken in two steps, see superblock.h; between them a copy is read again and decoded again, so nothing rests on what
 * the device said the first time; and what is opened are the very bytes that verified. Copies are read at once: each wait costs
 * a turn of the processor where others use it.
 *
 * An unreadable copy is a bad copy: an input/output error is passed on only where no other copy serves. No locks: the
 * owner of the device calls from one thread.
 */
#include "engine/group/superblock.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/geometry.h"
#include "engine/group/superblock_image.h"

#define FIXED_SIZE sizeof(struct superblock_format)
#define TAIL_COPY  (SUPERBLOCK_COPIES / 2)

enum error superblock_geometry(uint64_t size, uint32_t *segment_shift, uint32_t *slot_count)
{
    uint32_t shift = geometry_shift(&size, 1);
    TRY(geometry_slots(size, shift, slot_count));
    *segment_shift = shift;
    return ERROR_NONE;
}

/* ---- probing ----------------------------------------------------------------------------------------------------- */

/* What the copies showed beside what is in the probe. */
struct survey {
    enum error io;        /* the first that failed to be read */
    uint64_t size_stated; /* by a head copy that is larger than the device; 0: none */
};

/* A head copy whose fixed part is whole, but which speaks of a device larger than this one. */
static bool is_truncated(const struct device *device, const struct superblock *head)
{
    return head->device_size > device->size;
}

static void copy_probe(const struct device *device, uint32_t copy, struct device_io *read, struct superblock_probe *probe,
                       struct survey *survey)
{
    const struct superblock_format *fixed = read->buffer;
    enum error error = device_wait(read);
    if (error != ERROR_NONE) {
        survey->io = survey->io == ERROR_NONE ? error : survey->io;
        return;
    }
    error = superblock_fixed_decode(fixed, copy, read->offset, &probe->copies[copy]);
    if (error != ERROR_NOT_FOUND)
        probe->magic_seen++;
    if (error == ERROR_NEWER_FORMAT) {
        probe->newer_format = true;
        probe->newer_version = MAX(probe->newer_version, le32_get(fixed->version));
    }
    if (error != ERROR_NONE)
        return;
    if (is_truncated(device, &probe->copies[copy]))
        survey->size_stated = probe->copies[copy].device_size;
    else
        probe->plausible[copy] = true;
}

/* Both copies of an end at once; what would lie beyond the device is not there. */
static void end_probe(struct device *device, uint64_t size, uint32_t first, uint8_t *fixed, struct superblock_probe *probe,
                      struct survey *survey)
{
    struct device_io reads[TAIL_COPY], *begun[TAIL_COPY];
    uint32_t copies[TAIL_COPY], count = 0;
    for (uint32_t copy = first; copy < first + TAIL_COPY; copy++) {
        uint64_t offset = superblock_offset(size, copy);
        if (offset > device->size || device->size - offset < FIXED_SIZE)
            continue;
        reads[count] = (struct device_io){.device = device, .operation = DEVICE_READ, .offset = offset, .size = FIXED_SIZE,
                                          .buffer = fixed + count * FIXED_SIZE};
        begun[count] = &reads[count];
        copies[count++] = copy;
    }
    device_submit(begun, count);
    for (uint32_t i = 0; i < count; i++)
        copy_probe(device, copies[i], &reads[i], probe, survey);
}

/* Whether the tail has a copy where this end would put it. */
static bool tail_is_at(struct device *device, uint64_t size, uint8_t *fixed, struct superblock_probe *probe,
                       struct survey *survey)
{
    if (size >= 2 * AREA_SIZE)
        end_probe(device, size, TAIL_COPY, fixed, probe, survey);
    return probe->plausible[TAIL_COPY] || probe->plausible[TAIL_COPY + 1];
}

/* The tail's copies are at the end of the device, or, where it grew, at that of before, which the head states. For a head copy
 * nobody vouches, so where it names an end without a copy the next one is asked, and the device itself at last. */
static void tail_probe(struct device *device, uint8_t *fixed, struct superblock_probe *probe, struct survey *survey)
{
    uint64_t tried = 0;
    for (uint32_t copy = 0; copy < TAIL_COPY; copy++) {
        uint64_t size = probe->copies[copy].device_size;
        if (!probe->plausible[copy] || size == tried)
            continue;
        if (tail_is_at(device, size, fixed, probe, survey))
            return;
        tried = size;
    }
    if (device->size != tried)
        (void)tail_is_at(device, device->size, fixed, probe, survey);
}

static enum error probe_verdict(const struct device *device, const struct superblock_probe *probe,
                                const struct survey *survey)
{
    if (superblock_newest(probe) != NULL)
        return ERROR_NONE;
    if (survey->size_stated != 0)
        return error_explain(ERROR_CORRUPT,
                             "%s is truncated: its superblock speaks of %" PRIu64 " bytes, it has %" PRIu64,
                             device->path, survey->size_stated, device->size);
    if (probe->newer_format)
        return error_explain(ERROR_NEWER_FORMAT,
                             "%s is of format %" PRIu32 ", this Coffer knows %d: use the version that wrote it, or a "
                             "later one",
                             device->path, probe->newer_version, FORMAT_VERSION);
    if (survey->io != ERROR_NONE)
        return error_prefix(survey->io, "no superblock of %s can be read", device->path);
    if (probe->magic_seen != 0)
        return error_explain(ERROR_CORRUPT, "all superblock copies of %s are damaged", device->path);
    return error_explain(ERROR_NOT_FOUND, "%s carries no Coffer superblock", device->path);
}

const struct superblock *superblock_newest(const struct superblock_probe *probe)
{
    const struct superblock *newest = NULL;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (probe->plausible[copy] && (newest == NULL || probe->copies[copy].epoch > newest->epoch))
            newest = &probe->copies[copy];
    return newest;
}

struct superblock_probe superblock_copies_alike(const struct superblock_probe *probe, const struct superblock *one)
{
    struct superblock_probe alike = *probe;
    for (uint32_t i = 0; i < SUPERBLOCK_COPIES; i++) {
        const struct superblock *other = &probe->copies[i];
        alike.plausible[i] = probe->plausible[i] && other->encryption == one->encryption &&
                             uuid_equal(other->pool, one->pool) && uuid_equal(other->device, one->device) &&
                             memcmp(&other->wrapping, &one->wrapping, sizeof one->wrapping) == 0 &&
                             memcmp(&other->other, &one->other, sizeof one->other) == 0;
    }
    return alike;
}

enum error superblock_probe(struct device *device, struct superblock_probe *probe)
{
    AUTO_FREE uint8_t *fixed = memory_aligned(TAIL_COPY * FIXED_SIZE);
    if (fixed == NULL)
        return ERROR_NO_MEMORY;
    struct superblock_probe found = {0};
    struct survey survey = {0};
    end_probe(device, 0, 0, fixed, &found, &survey);
    tail_probe(device, fixed, &found, &survey);
    TRY(probe_verdict(device, &found, &survey));
    *probe = found;
    return ERROR_NONE;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static enum error image_mark(const uint8_t *image, uint8_t mark[32])
{
    return hmac_sha256(kek_public, image, SUPERBLOCK_SIZE, mark);
}

/* How far an open has come. */
struct opening {
    uint8_t *images; /* of all copies */
    bool verified[SUPERBLOCK_COPIES];
    unsigned wrappings[SUPERBLOCK_COPIES]; /* that the key fits, of those */
    uint8_t marks[SUPERBLOCK_COPIES][32];
    bool unwraps;     /* some copy's key slots unwrap: the key is right */
    enum error error; /* of copies that could not even be judged */
};

static uint8_t *image_of(const struct opening *opening, uint32_t copy)
{
    return opening->images + (size_t)copy * SUPERBLOCK_SIZE;
}

/* What was read may be another copy than the one that the probe saw. */
static enum error copy_decode(const struct superblock_probe *probe, uint32_t copy, const struct opening *opening,
                              struct superblock *superblock)
{
    uint64_t offset = superblock_offset(probe->copies[copy].device_size, copy);
    return superblock_fixed_decode((const struct superblock_format *)image_of(opening, copy), copy, offset, superblock);
}

static void copy_judge(const struct superblock_probe *probe, uint32_t copy, struct device_io *read,
                       const uint8_t kek[KEY_SIZE], struct opening *opening)
{
    struct superblock superblock;
    uint8_t *image = image_of(opening, copy);
    enum error error = device_wait(read);
    if (error == ERROR_NONE)
        error = copy_decode(probe, copy, opening, &superblock);
    if (error == ERROR_NONE)
        error = superblock_image_verify(image, &superblock, kek, &opening->wrappings[copy]);
    if (error == ERROR_FORGED)
        opening->unwraps |= superblock_image_is_wrapped_by(image, &superblock, kek);
    else if (error != ERROR_NONE)
        opening->error = error;
    if (error == ERROR_NONE)
        error = image_mark(image, opening->marks[copy]);
    opening->verified[copy] = error == ERROR_NONE && superblock.epoch == probe->copies[copy].epoch;
}

/* All are read at once, and judged while others are on their way. */
static void copies_judge(struct device *device, const struct superblock_probe *probe, const uint8_t kek[KEY_SIZE],
                         struct opening *opening)
{
    struct device_io reads[SUPERBLOCK_COPIES], *begun[SUPERBLOCK_COPIES];
    size_t count = 0;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        reads[copy] = (struct device_io){.device = device, .operation = DEVICE_READ, .size = SUPERBLOCK_SIZE,
                                         .buffer = image_of(opening, copy)};
        if (!probe->plausible[copy])
            continue;
        reads[copy].offset = superblock_offset(probe->copies[copy].device_size, copy);
        begun[count++] = &reads[copy];
    }
    device_submit(begun, count);
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++)
        if (probe->plausible[copy])
            copy_judge(probe, copy, &reads[copy], kek, opening);
}

/* The newest copy that verified; SUPERBLOCK_COPIES where none did. */
static uint32_t newest_verified(const struct superblock_probe *probe, const struct opening *opening, unsigned *bad)
{
    uint32_t newest = SUPERBLOCK_COPIES;
    unsigned good = 0;
    for (uint32_t copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
        if (!opening->verified[copy])
            continue;
        if (newest == SUPERBLOCK_COPIES || probe->copies[copy].epoch > probe->copies[newest].epoch) {
            newest = copy;
            good = 0;
        }
        good += probe->copies[copy].epoch == probe->copies[newest].epoch;
    }
    *bad = SUPERBLOCK_COPIES - good;
    return newest;
}

static enum error none_verified(const struct device *device, const struct opening *opening)
{
    if (opening->unwraps)
        return error_explain(
            ERROR_FORGED, "the key fits %s, but no superblock copy is as it was written: damaged, forged or replaced",
            device->path);
    if (opening->error != ERROR_NONE)
        return error_prefix(opening->error, "the superblock of %s", device->path);
    return error_explain(ERROR_WRONG_KEY, "the key does not fit %s: wrong passphrase or key", device->path);
}

static enum error read_only_check(const struct device *device, const struct superblock *superblock)
{
    uint64_t unknown = superblock->features_read_only & ~FEATURES_READ_ONLY_KNOWN;
    if (unknown != 0 && !device->read_only)
        return error_explain(ERROR_NEWER_FORMAT,
                             "%s uses features that this Coffer does not know (0x%" PRIx64 "): it can only be read",
                             device->path, unknown);
    return ERROR_NONE;
}

/* What is opened are the bytes that verified. */
static enum error copy_open(const struct device *device, const struct superblock_probe *probe, uint32_t copy,
                            const uint8_t kek[KEY_SIZE], const struct opening *opening, struct superblock *superblock,
                            struct keyring **keyring)
{
    TRY(copy_decode(probe, copy, opening, superblock));
    TRY(read_only_check(device, superblock));
    return superblock_image_open(image_of(opening, copy), superblock, kek, opening->wrappings[copy], keyring);
}

enum error superblock_open(struct device *device, const struct superblock_probe *probe, const uint8_t kek[KEY_SIZE],
                           struct superblock *superblock, struct keyring **keyring, unsigned *copies_bad)
{
    AUTO_FREE uint8_t *images = memory_aligned(SUPERBLOCK_COPIES * SUPERBLOCK_SIZE);
    if (images == NULL)
        return ERROR_NO_MEMORY;
    struct opening opening = {.images = images};
    copies_judge(device, probe, kek, &opening);
    unsigned bad;
    uint32_t newest = newest_verified(probe, &opening, &bad);
    if (newest == SUPERBLOCK_COPIES)
        return none_verified(device, &opening);

    struct superblock opened;
    enum error error = copy_open(device, probe, newest, kek, &opening, &opened, keyring);
    if (error != ERROR_NONE)
        return error_prefix(error, "the superblock of %s", device->path);
    memcpy(opened.marks, opening.marks, sizeof opened.marks);
    *superblock = opened;
    *copies_bad = bad;
    return ERROR_NONE;
}

static enum error copy_read(struct device *device, const struct superblock *superblock, uint32_t copy, uint8_t *image)
{
    uint8_t mark[32];
    TRY(device_read(device, superblock_offset(superblock->device_size, copy), image, SUPERBLOCK_SIZE));
    TRY(image_mark(image, mark));
    return memcmp(mark, superblock->marks[copy], sizeof mark) == 0 ? ERROR_NONE : ERROR_CORRUPT;
}

enum error superblock_copy_check(struct device *device, const struct superblock *superblock, uint32_t copy)
{
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    return image == NULL ? ERROR_NO_MEMORY : copy_read(device, superblock, copy, image);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static enum error end_write(struct device *device, struct superblock *superblock, const uint8_t kek[KEY_SIZE],
                            const uint8_t other_kek[KEY_SIZE], uint32_t first, uint8_t *image)
{
    for (uint32_t copy = first; copy < first + TAIL_COPY; copy++) {
        TRY(superblock_image_seal(image, superblock, kek, other_kek, copy));
        TRY(image_mark(image, superblock->marks[copy]));
        TRY(device_write(device, superblock_offset(superblock->device_size, copy), image, SUPERBLOCK_SIZE, 0));
    }
    return device_flush(device);
}

/* The newest epoch of which an end holds a copy as it was verified or written; 0: there is none. Where nothing is known of
 * a copy, nothing is read. */
static enum error end_epoch(struct device *device, const struct superblock *superblock, uint32_t first, uint8_t *image,
                            uint64_t *epoch)
{
    *epoch = 0;
    for (uint32_t copy = first; copy < first + TAIL_COPY; copy++) {
        if (memory_is_zero(superblock->marks[copy], sizeof superblock->marks[copy]))
            continue;
        enum error error = copy_read(device, superblock, copy, image);
        if (error == ERROR_NONE)
            *epoch = MAX(*epoch, le64_get(((const struct superblock_format *)image)->epoch));
        else if (error != ERROR_CORRUPT && error != ERROR_IO)
            return error;
    }
    return ERROR_NONE;
}

/* The end that is to be written first: what is lost of it in a crash the other has. */
static enum error first_end(struct device *device, const struct superblock *superblock, uint8_t *image, uint32_t *first)
{
    uint64_t head, tail;
    TRY(end_epoch(device, superblock, 0, image, &head));
    TRY(end_epoch(device, superblock, TAIL_COPY, image, &tail));
    *first = tail < head ? TAIL_COPY : 0;
    return ERROR_NONE;
}

static enum error copies_write(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                               const uint8_t kek[KEY_SIZE], const uint8_t other_kek[KEY_SIZE])
{
    ASSERT(superblock->device_size <= device->size);
    AUTO_FREE uint8_t *image = memory_aligned(SUPERBLOCK_SIZE);
    if (image == NULL)
        return ERROR_NO_MEMORY;
    uint32_t first;
    TRY(first_end(device, superblock, image, &first));
    TRY(superblock_image_build(superblock, keyring, kek, other_kek, image));
    TRY(end_write(device, superblock, kek, other_kek, first, image));
    return end_write(device, superblock, kek, other_kek, TAIL_COPY - first, image);
}

enum error superblock_write(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                            const uint8_t kek[KEY_SIZE])
{
    superblock->other = (struct wrapping){0};
    return copies_write(device, superblock, keyring, kek, NULL);
}

enum error superblock_write_both(struct device *device, struct superblock *superblock, const struct keyring *keyring,
                                 const uint8_t kek[KEY_SIZE], const uint8_t other_kek[KEY_SIZE])
{
    ASSERT(!uuid_is_zero(superblock->other.provider));
    return copies_write(device, superblock, keyring, kek, other_kek);
}
