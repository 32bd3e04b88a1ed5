/* A buffer of the calling thread for what a stage reads, aligned for direct I/O and kept until the thread ends. One user
 * at a time per thread: the stages of the read path, which do not nest. */
#ifndef COFFER_ENGINE_GROUP_SCRATCH_H
#define COFFER_ENGINE_GROUP_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#define SCRATCH_BYTES (1u << 20)

/* SCRATCH_BYTES; NULL when out of memory. */
uint8_t *scratch_get(void);

#endif
