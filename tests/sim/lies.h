/*
 * Devices that lie: what a read gives differs from what the device holds, until the place is written again or the pool
 * is opened anew. Bits rot; a write is answered and does not happen; a write goes elsewhere; one read is that of
 * another place.
 *
 * The images keep the truth. So once a lie is over the model demands everything, and until then one thing only: that
 * nobody takes it for data.
 */
#ifndef COFFER_TESTS_SIM_LIES_H
#define COFFER_TESTS_SIM_LIES_H

#include "engine/device/device.h"
#include "tests/sim/world.h"

void lies_forget(void);
/* The kind of the segment of which this block is one, not the first (an enum segment_kind); 0: none. */
int lies_segment(unsigned device, uint64_t offset);
/* Whether a lie that lasts may stand there: in what only readers of data, and of second copies, ask. What is lost of
 * other kinds a merge gives up for good, by its own rules (docs/design.md, 7), which has tests of its own. */
bool lies_may_stand(unsigned device, uint64_t offset);
/* A write is about to change the image. */
void lies_write(const struct device_io *io, unsigned device);
/* A read has got what the image has. */
void lies_read(const struct device_io *io, unsigned device);

#endif
