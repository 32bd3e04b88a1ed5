/*
 * Notes of an erase: patches to a valid one, with its MAC made anew (an odd first byte) or not. What is taken is within its
 * range and is written as the same bytes; without the MAC only the true one is taken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hierarchy.h"
#include "crypto/kdf.h"
#include "engine/pool/erase_note.h"
#include "tests/fuzz/patches.h"

#define SIZE   (200 * AREA_SIZE)
#define OFFSET (SIZE - AREA_SIZE)

static struct erase_note_format valid;

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    const struct erase_note note = {.known = true, .encrypted = true, .pool = {{1}}, .device = {{2}}, .provider = {{3}},
                                    .kek_number = 4, .device_count = 5, .end_count = 2, .ends = {100 * AREA_SIZE, 150 * AREA_SIZE},
                                    .begun = 1796000000};
    (void)count, (void)arguments;
    ASSERT(erase_note_encode(&note, OFFSET, SIZE, &valid) == ERROR_NONE);
    return 0;
}

static void taken(const struct erase_note_format *format, const struct erase_note *note)
{
    struct erase_note_format again;
    ASSERT(note->end_count <= SUPERBLOCK_COPIES);
    for (uint32_t i = 0; i < SUPERBLOCK_COPIES; i++)
        ASSERT(i < note->end_count ? note->ends[i] >= 2 * AREA_SIZE && note->ends[i] <= SIZE : note->ends[i] == 0);
    ASSERT(erase_note_encode(note, OFFSET, SIZE, &again) == ERROR_NONE);
    ASSERT(memcmp(&again, format, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct erase_note_format format = valid;
    struct erase_note note;
    if (size == 0)
        return 0;
    patches_apply(data + 1, size - 1, 1, (uint8_t *)&format, sizeof format);
    bool same = memcmp(&format, &valid, sizeof format) == 0, sealed = data[0] % 2;
    if (sealed)
        ASSERT(hmac_sha256(kek_public, &format, offsetof(struct erase_note_format, mac), format.mac) == ERROR_NONE);
    enum error error = erase_note_decode(&format, OFFSET, SIZE, &note);
    ASSERT(error == ERROR_NONE || error == ERROR_NOT_FOUND);
    ASSERT(sealed || (error == ERROR_NONE) == same);
    if (error == ERROR_NONE)
        taken(&format, &note);
    return 0;
}
