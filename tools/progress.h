/* A bar for long work, drawn on a terminal only: share done, rate, time left. */
#ifndef COFFER_TOOLS_PROGRESS_H
#define COFFER_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/tool.h"

struct progress {
    struct tool *tool;
    const char *label;
    uint64_t start, shown; /* clock_monotonic */
    bool drawn;
};

void progress_start(struct progress *progress, struct tool *tool, const char *label);
void progress_update(struct progress *progress, uint64_t done, uint64_t total); /* bytes */
void progress_clear(struct progress *progress); /* before other output, and at the end */

/* The line that is drawn; returns `line`. */
const char *progress_render(const char *label, uint64_t done, uint64_t total, uint64_t nanoseconds, char *line,
                            size_t size);

#endif
