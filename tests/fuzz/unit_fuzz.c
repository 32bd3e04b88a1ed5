/*
 * Units: compressed bytes of any kind, and whole items as they lie in a segment, with a tag that fits (a first byte
 * below 128) or as they come. What is taken lies within what was read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/bulk.h"
#include "dedup/unit.h"
#include "engine/group/group.h"
#include "engine/group/item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decompress(uint8_t codec, size_t count, const uint8_t *data, size_t size)
{
    uint8_t *out = malloc(count * CHUNK_SIZE); /* exactly, so that a sanitizer sees the first byte beyond */
    if (out != NULL)
        (void)!unit_decompress((enum codec)codec, data, size, out, count);
    free(out);
}

static void item_run(bool tagged, uint8_t kind, const uint8_t *data, size_t size)
{
    static const struct segment_keys keys = {.id = 1, .tag = {1}};
    struct item_read read = {.serial = 4, .offset = 300, .length = (uint32_t)(size / GRAIN_SIZE), .kind = 2 + kind % 3,
                             .keys = &keys};
    uint8_t *bytes = malloc(size ? size : 1);
    struct item_format *header = (struct item_format *)bytes;
    if (bytes == NULL)
        return;
    memcpy(bytes, data, size);
    if (tagged && size >= sizeof *header) {
        uint8_t nonce[TAG_NONCE_SIZE];
        header->serial = le40_make(read.serial);
        header->offset = le32_make(read.offset);
        header->kind = (uint8_t)read.kind;
        size_t body = item_descriptors_size(header) + le32_get(header->stored_size);
        struct bulk_part part = {bytes + TAG_SIZE, sizeof *header - TAG_SIZE + body};
        log_nonce(read.offset, read.kind, nonce);
        if (body <= size - sizeof *header)
            ASSERT(bulk_tag(&keys, nonce, &part, 1, header->tag) == ERROR_NONE);
    }
    if (item_verify(&read, bytes) == ERROR_NONE) {
        size_t descriptors = item_descriptors_size(header);
        ASSERT(descriptors != 0 && sizeof *header + descriptors + le32_get(header->stored_size) <= size);
        if (read.kind == ITEM_UNIT)
            decompress(header->codec, header->count, bytes + sizeof *header + descriptors, le32_get(header->stored_size));
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 1)
        item_run(data[0] < 128, data[1], data + 2, size - 2);
    else
        decompress(data[0] >> 1 & 3, 1 + data[1] % UNIT_CHUNKS_MAX, data + 2, size - 2);
    return 0;
}
