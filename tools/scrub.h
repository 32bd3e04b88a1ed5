/* The scrub in a few words, for other commands. Both return `text`. */
#ifndef COFFER_TOOLS_SCRUB_H
#define COFFER_TOOLS_SCRUB_H

#include <jansson.h>

#include "tools/text.h"

/* "running: 43 %, 1.2 GiB of 2.9 GiB, 31 MiB/s, 55 s left". */
const char *scrub_progress(const json_t *scrub, char text[4 * TEXT_SIZE]);
/* How the last one ended: "2026-11-28 20:15, 2.9 GiB in 2 min, nothing damaged". */
const char *scrub_last(const json_t *scrub, char text[4 * TEXT_SIZE]);

#endif
