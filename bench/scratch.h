/* Where a run keeps what it makes: a directory of its own below TMPDIR (else /var/tmp), and a temporary pool in it. */
#ifndef COFFER_BENCH_SCRATCH_H
#define COFFER_BENCH_SCRATCH_H

#include <limits.h>

#include "base/error.h"
#include "bench/options.h"

struct scratch {
    char directory[PATH_MAX]; /* empty: nothing was made */
};

/* TMPDIR, else /var/tmp (a disk, where /tmp may be memory). */
const char *scratch_place(void);
enum error scratch_init(struct scratch *scratch) CHECKED;
/* Removes the directory with all that is in it. */
void scratch_deinit(struct scratch *scratch);

/* Makes a pool of these options; `path` is its pool directory. */
enum error scratch_pool(const struct scratch *scratch, const struct bench_options *options,
                        char path[PATH_MAX]) CHECKED;

#endif
