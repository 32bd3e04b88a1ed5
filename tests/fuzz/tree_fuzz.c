/*
 * Nodes and pages of trees, runs of entries and entries of the segment table. The first bytes say what is asked for and
 * by which codec it is stored. What is taken can be stored, and is then taken as the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/group/node.h"
#include "engine/group/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum error accept(const struct node_read *node, uint8_t codec, const uint8_t *stored, size_t size, uint8_t *out)
{
    struct item_format header = {.codec = codec, .count = 1, .kind = (uint8_t)node->identity.kind};
    struct node_descriptor_format of_node = {le40_make(6), le40_make(2), le40_make(3), node->identity.level};
    struct page_descriptor_format of_page = {(uint8_t)node->identity.owner, node->identity.level, le40_make(3), 0};
    bool page = node->identity.kind == ITEM_PAGE;
    struct item_read read = {.header = &header,
                             .descriptors = page ? (const uint8_t *)&of_page : (const uint8_t *)&of_node,
                             .stored = stored,
                             .stored_size = (uint32_t)size};
    return node_accept(node, &read, out);
}

static void segments_run(const uint8_t *page)
{
    const struct segment_entry_format *entries = (const struct segment_entry_format *)page;
    for (size_t i = 0; i < BLOCK_SIZE / sizeof *entries; i++) {
        struct segment segment, back;
        struct segment_entry_format again;
        bool sound;
        if (!segment_entry_decode(&entries[i], &segment, &sound) || !sound)
            continue;
        segment_entry_encode(&segment, &again);
        ASSERT(segment_entry_decode(&again, &back, &sound) && sound);
        ASSERT(back.serial == segment.serial && back.kind == segment.kind && back.salt == segment.salt);
    }
}

static void pointers_run(const uint8_t *node)
{
    const struct node_pointer_format *pointers = (const struct node_pointer_format *)node;
    for (size_t i = 0; i < NODE_FANOUT; i++) {
        struct node_pointer pointer = pointer_decode(&pointers[i]), back;
        struct node_pointer_format again;
        pointer_encode(&pointer, &again);
        back = pointer_decode(&again);
        ASSERT(back.birth == pointer.birth && back.second_serial == pointer.second_serial &&
               back.second_offset == pointer.second_offset && entry_equal(back.first, pointer.first));
    }
}

static void node_run(uint8_t what, uint8_t codec, const uint8_t *stored, size_t size)
{
    struct node_read node = {.pointer.first = entry_make(6, 4, 300, 20, 0, 1),
                             .identity = {.kind = what & 1 ? ITEM_PAGE : ITEM_NODE,
                                          .owner = what & 1 ? 1 + (what >> 1) % TABLE_LAST : 2,
                                          .number = 3,
                                          .level = what >> 5 & 1}};
    uint8_t out[BLOCK_SIZE], back[BLOCK_SIZE], packed[BLOCK_SIZE];
    size_t packed_size;
    if (accept(&node, codec, stored, size, out) != ERROR_NONE)
        return;
    segments_run(out);
    pointers_run(out);
    uint8_t used = node_store(node.identity, out, packed, &packed_size);
    ASSERT(packed_size <= BLOCK_SIZE && accept(&node, used, packed, packed_size, back) == ERROR_NONE);
    ASSERT(memcmp(out, back, BLOCK_SIZE) == 0);
}

static void runs_run(size_t count, const uint8_t *data, size_t size)
{
    struct map_entry entries[MAP_LEAF_ENTRIES], back[MAP_LEAF_ENTRIES];
    uint8_t packed[MAP_LEAF_ENTRIES * 32];
    if (entry_runs_decode(data, size, entries, count) != ERROR_NONE)
        return;
    size_t packed_size = entry_runs_encode(entries, count, packed, sizeof packed);
    ASSERT(packed_size != 0 && entry_runs_decode(packed, packed_size, back, count) == ERROR_NONE);
    for (size_t i = 0; i < count; i++)
        ASSERT(entry_equal(entries[i], back[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if (data[0] & 0x80)
        runs_run(data[1] + 1u, data + 2, size - 2);
    else
        node_run(data[0], data[1] % 5, data + 2, size - 2);
    return 0;
}
