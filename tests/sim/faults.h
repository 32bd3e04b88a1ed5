/*
 * What goes wrong in a life besides its end: drawn for each, all at their own rates, and most lives have none of most.
 *
 * A write or flush that fails, a device that goes away, a merge that cannot read: each ends in a group that is out of
 * service. Whoever hears of such an error ends the life (life_take_error), and the next one, without faults of that
 * kind, must find everything.
 */
#ifndef COFFER_TESTS_SIM_FAULTS_H
#define COFFER_TESTS_SIM_FAULTS_H

#include "engine/device/device.h"
#include "tests/sim/world.h"

/* No faults; or those of one life of about so many events. */
void faults_clear(void);
void faults_draw(uint64_t events);

/* An operation of that device is complete: what it has to tell instead. A failed write or flush has taken its device
 * out of service. */
enum error fault_of(struct device_io *io, unsigned device);
/* The file system below a device has no space for what has none yet. */
bool fault_host_is_full(void);

#endif
