/* Records of an append, one behind the other, and in frames: what is taken can be written, and is then taken as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/group/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct record *record, struct byte_writer *out)
{
    switch (record->type) {
    case RECORD_WRITE:
        record_write_encode(out, record);
        break;
    case RECORD_REFERENCE:
        record_reference_encode(out, record->component, record->block, record->entries, record->count);
        break;
    case RECORD_HOLES:
        record_holes_encode(out, record->component, record->block, record->count);
        break;
    case RECORD_COMPONENT:
        record_component_encode(out, &record->change);
        break;
    case RECORD_SUMMARY:
        record_summary_encode(out, record);
    }
}

static void taken(const struct record *record)
{
    static uint8_t once[RECORD_REFERENCE_BYTES_MAX], twice[RECORD_REFERENCE_BYTES_MAX];
    static struct record back;
    struct byte_writer out = {once, once + sizeof once, false}, again = {twice, twice + sizeof twice, false};
    encode(record, &out);
    ASSERT(!out.overflow);
    struct byte_reader in = {once, out.next, false};
    ASSERT(record_decode(&in, &back) == ERROR_NONE && in.next == in.end && back.type == record->type);
    encode(&back, &again);
    ASSERT(again.next - twice == out.next - once && memcmp(once, twice, (size_t)(out.next - once)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record record;
    struct byte_reader in = {data, data + size, false}, frames = in, records;
    uint64_t sequence;
    while (record_decode(&in, &record) == ERROR_NONE)
        taken(&record);
    while (record_frame_next(&frames, &sequence, &records) == ERROR_NONE) {
        ASSERT(records.next >= data && records.end <= data + size && records.end == frames.next);
        while (record_decode(&records, &record) == ERROR_NONE)
            taken(&record);
    }
    return 0;
}
