/* The checks of an append. Nothing in it is used before its tag was compared, but lengths, which are bounded first. */
#include "engine/group/append.h"

#include "base/memory.h"
#include "engine/group/item.h"
#include "engine/group/log.h"

bool append_is_possible(const struct append_format *append, enum segment_kind kind, uint64_t serial, uint32_t offset,
                        uint32_t segment_blocks)
{
    uint64_t blocks = le32_get(append->blocks), size = blocks * BLOCK_SIZE;
    uint64_t records = sizeof *append + (uint64_t)le32_get(append->items_size);
    return le40_get(append->serial) == serial && le32_get(append->offset) == offset &&
           append->kind == kind && size > 0 && offset + blocks <= segment_blocks &&
           size <= APPEND_BYTES_MAX && le32_get(append->records_offset) == records &&
           records + le32_get(append->records_size) <= size;
}

enum error append_check(const struct append_format *append, const struct segment_keys *keys)
{
    const uint8_t *bytes = (const uint8_t *)append;
    uint8_t nonce[TAG_NONCE_SIZE];
    log_nonce((uint64_t)le32_get(append->offset) * BLOCK_GRAINS, ITEM_APPEND, nonce);
    struct bulk_part parts[] = {
        {bytes + TAG_SIZE, sizeof *append - TAG_SIZE},
        {bytes + le32_get(append->records_offset), le32_get(append->records_size)},
    };
    enum error error = bulk_tag_check(keys, nonce, parts, COUNT_OF(parts), append->tag);
    return error == ERROR_CORRUPT ? ERROR_NOT_FOUND : error;
}

enum error append_units_check(const struct append_format *append, const struct segment_keys *keys)
{
    const uint8_t *bytes = (const uint8_t *)append;
    uint32_t end = le32_get(append->records_offset), block = le32_get(append->offset);
    for (uint32_t at = sizeof *append; at < end;) {
        const struct item_format *item = (const struct item_format *)(bytes + at);
        uint32_t offset = block * BLOCK_GRAINS + at / GRAIN_SIZE;
        if (end - at < sizeof *item || le32_get(item->offset) != offset ||
            le40_get(item->serial) != le40_get(append->serial))
            return ERROR_CORRUPT;
        uint64_t body = item_descriptors_size(item) + (uint64_t)le32_get(item->stored_size);
        uint64_t size = ROUND_UP(sizeof *item + body, GRAIN_SIZE);
        uint8_t nonce[TAG_NONCE_SIZE];
        if (size > end - at)
            return ERROR_CORRUPT;
        log_nonce(offset, item->kind, nonce);
        struct bulk_part part = {bytes + at + TAG_SIZE, sizeof *item - TAG_SIZE + (size_t)body};
        TRY(bulk_tag_check(keys, nonce, &part, 1, item->tag));
        at += (uint32_t)size;
    }
    return ERROR_NONE;
}
