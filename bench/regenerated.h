/*
 * A device that keeps of the data of a run only which chunk of the generator stands where, and makes it anew when it is
 * read: a terabyte that was never written twice fits into some gigabytes. All else (headers, tags, records, maps,
 * tables, checkpoints) is stored as it is, byte for byte, so what the engine does with it is what it does on any disk.
 *
 * For pools without encryption and compression, whose units hold the chunks as they were given. Two files stand beside
 * that of the device, PATH.table and PATH.cuts. It outlives its process, as a disk does, not the machine.
 */
#ifndef COFFER_BENCH_REGENERATED_H
#define COFFER_BENCH_REGENERATED_H

#include "bench/generator.h"
#include "engine/device/device.h"

/* As pool_open_options.open_device has it: `context` is the `struct generator` whose chunks are not stored; it must be
 * the same at each open, and outlive the device. */
enum error regenerated_open(const char *path, unsigned flags, void *context, struct device **device) CHECKED;

#endif
