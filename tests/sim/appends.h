/* The appends of the journal that lives have sealed of late: what replay reads, and so what is worth an attack. */
#ifndef COFFER_TESTS_SIM_APPENDS_H
#define COFFER_TESTS_SIM_APPENDS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/bulk.h"

struct appended {
    unsigned device;
    uint64_t offset, blocks; /* on the device: bytes; its size */
    uint64_t records, records_size; /* bytes: from its begin */
    uint64_t serial, last_sequence;
    uint64_t durable; /* the sequence that it states */
};

void appends_begin(void);
/* What is tagged: notes it where it is the header of such an append, but not in a branch. */
void appends_note(const struct bulk_part *header);

/* One whose segment is still there; half of the time one of the newest. */
bool appends_draw(struct appended *append);
/* One behind that sequence of which a later one in the same segment, which survived, says that a flush covered it. */
bool appends_draw_covered(uint64_t sequence, struct appended *append);

#endif
