/*
 * Simulated devices: operations on the images of the world, in virtual time.
 *
 * An operation is in flight from its submission to its completion, at a time that the seed draws, in any order. A write
 * is then volatile until a flush that began after its completion is complete; DEVICE_DURABLE makes its own write
 * durable at its completion.
 */
#ifndef COFFER_TESTS_SIM_SIM_DEVICE_H
#define COFFER_TESTS_SIM_SIM_DEVICE_H

#include "engine/device/device.h"
#include "tests/sim/world.h"

/* For pool_open_options; the context is the session. */
enum error sim_device_open(const char *path, unsigned flags, void *context, struct device **device) CHECKED;

/* Completes what is due; returns when the next is, UINT64_MAX: nothing is in flight. */
uint64_t sim_devices_complete(uint64_t now);

/* A call of a file of the pool directory is about to be made: an event like those of devices. */
void file_event(uint64_t what);

/* What is in flight never comes back: its life is over. */
void sim_devices_forget(void);

#endif
