/*
 * Appends: patches to a valid one of two units and some records; the tags of its units (first byte: bit 1) and its own
 * (bit 0) are made anew or not. What is taken lies within its blocks, and nothing but what was sealed is taken.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/append.h"
#include "engine/group/item.h"
#include "engine/group/log.h"
#include "tests/fuzz/patches.h"

#define SERIAL         UINT64_C(6)
#define PLACE          5
#define BLOCKS         3
#define BYTES          (BLOCKS * BLOCK_SIZE)
#define SEGMENT_BLOCKS 1024
#define STORED         1003 /* which fills its grains: what pads a unit is under no tag */
#define RECORDS        100

static const struct segment_keys keys = {.id = 1, .tag = {1}};
static uint8_t valid[BYTES] __attribute__((aligned(16)));

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Tags of the units that lie within the items, as far as their lengths let one follow the other. */
static void units_tag(uint8_t *bytes, uint32_t end)
{
    uint32_t at = sizeof(struct append_format);
    while (at < end && end - at >= sizeof(struct item_format)) {
        struct item_format *item = (struct item_format *)(bytes + at);
        uint64_t body = item_descriptors_size(item) + (uint64_t)le32_get(item->stored_size);
        uint64_t size = ROUND_UP(sizeof *item + body, GRAIN_SIZE);
        uint8_t nonce[TAG_NONCE_SIZE];
        if (size > end - at)
            return;
        struct bulk_part part = {bytes + at + TAG_SIZE, sizeof *item - TAG_SIZE + (size_t)body};
        log_nonce(PLACE * BLOCK_GRAINS + at / GRAIN_SIZE, item->kind, nonce);
        ASSERT(bulk_tag(&keys, nonce, &part, 1, item->tag) == ERROR_NONE);
        at += (uint32_t)size;
    }
}

static void append_tag(struct append_format *append)
{
    uint8_t nonce[TAG_NONCE_SIZE];
    struct bulk_part parts[] = {
        {(uint8_t *)append + TAG_SIZE, sizeof *append - TAG_SIZE},
        {(uint8_t *)append + le32_get(append->records_offset), le32_get(append->records_size)},
    };
    log_nonce((uint64_t)PLACE * BLOCK_GRAINS, ITEM_APPEND, nonce);
    ASSERT(bulk_tag(&keys, nonce, parts, COUNT_OF(parts), append->tag) == ERROR_NONE);
}

static void unit_put(uint8_t *bytes, uint32_t at)
{
    struct item_format *item = (struct item_format *)(bytes + at);
    item->serial = le40_make(SERIAL);
    item->offset = le32_make(PLACE * BLOCK_GRAINS + at / GRAIN_SIZE);
    item->kind = ITEM_UNIT;
    item->count = 1;
    item->stored_size = le32_make(STORED);
    memset(bytes + at + sizeof *item, 0x5a, sizeof(le40) + STORED);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct append_format *append = (struct append_format *)valid;
    uint32_t unit = ROUND_UP(sizeof(struct item_format) + sizeof(le40) + STORED, GRAIN_SIZE);
    (void)count, (void)arguments;
    append->serial = le40_make(SERIAL);
    append->offset = le32_make(PLACE);
    append->blocks = le32_make(BLOCKS);
    append->items_size = le32_make(2 * unit);
    append->records_offset = le32_make((uint32_t)sizeof *append + 2 * unit);
    append->records_size = le32_make(RECORDS);
    append->kind = SEGMENT_JOURNAL;
    for (uint32_t i = 0; i < 2; i++)
        unit_put(valid, (uint32_t)sizeof *append + i * unit);
    units_tag(valid, le32_get(append->records_offset));
    append_tag(append);
    ASSERT(append_check(append, &keys) == ERROR_NONE && append_units_are_sound(append, &keys));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = size ? aligned_alloc(16, BYTES) : NULL; /* exactly, so that a sanitizer sees the first byte beyond */
    struct append_format *append = (struct append_format *)bytes;
    if (bytes == NULL)
        return 0;
    memcpy(bytes, valid, BYTES);
    patches_apply(data + 1, size - 1, 1, bytes, BYTES);
    bool fits = append_is_possible(append, SEGMENT_JOURNAL, SERIAL, PLACE, SEGMENT_BLOCKS) && le32_get(append->blocks) <= BLOCKS;
    if (fits && data[0] & 2)
        units_tag(bytes, le32_get(append->records_offset));
    if (fits && data[0] & 1)
        append_tag(append);
    if (fits && append_check(append, &keys) == ERROR_NONE) {
        size_t end = le32_get(append->records_offset) + le32_get(append->records_size);
        bool sound = append_units_are_sound(append, &keys), forged = data[0] & 3;
        ASSERT(end <= BYTES && (forged || memcmp(bytes, valid, sizeof *append) == 0));
        ASSERT(forged || !sound || memcmp(bytes, valid, end) == 0);
    }
    free(bytes);
    return 0;
}
