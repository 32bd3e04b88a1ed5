/* Devices, as files, of which each operation goes through submit_failing() of who includes this: it passes on to `honest` what
 * does not fail. */
#ifndef COFFER_TESTS_UNIT_FAILING_DEVICES_H
#define COFFER_TESTS_UNIT_FAILING_DEVICES_H

#include "engine/device/kind.h"

static const struct device_operations *honest;
static struct device_operations failing;

static inline void submit_failing(struct device_io **ios, size_t count);

static inline enum error open_failing(const char *path, unsigned flags, void *context, struct device **device)
{
    (void)context;
    TRY(device_open_file(path, flags, device));
    honest = (*device)->operations;
    failing = *honest;
    failing.submit = submit_failing;
    failing.run = NULL;
    (*device)->operations = &failing;
    return ERROR_NONE;
}

#endif
