/*
 * A device of files that remembers the longest time for which a thread stood still in one wait for it. A long write of a
 * run is the engine's where no such wait was as long, and the device's where one was.
 */
#ifndef COFFER_BENCH_TIMED_H
#define COFFER_BENCH_TIMED_H

#include "engine/device/device.h"

/* As pool_open_options.open_device has it; `context` is not looked at. */
enum error timed_open(const char *path, unsigned flags, void *context, struct device **device) CHECKED;

/* Nanoseconds, of all devices since timed_forget(); of reads, writes, and of flushes. */
struct timed_longest {
    uint64_t read, write, flush;
};
struct timed_longest timed_longest(void);
void timed_forget(void);

#endif
