/* A pool, opened as the options of a run want it: its memory, its index, and what its devices store. */
#ifndef COFFER_BENCH_OPENED_H
#define COFFER_BENCH_OPENED_H

#include "bench/options.h"
#include "engine/coffer.h"

struct generator;

struct opened {
    struct pool *pool;              /* NULL: closed */
    struct generator *regenerated;  /* whose chunks the devices do not store; NULL: they store all */
    uint64_t opening, index_filling; /* nanoseconds that each took */
};

/* Returns when the index is full too: that is a cost of the open, told apart. */
enum error opened_open(const struct bench_options *options, const char *directory, struct opened *opened) CHECKED;
/* Of one that was closed already as well. */
enum error opened_close(struct opened *opened) CHECKED;

#endif
