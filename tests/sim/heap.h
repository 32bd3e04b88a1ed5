/* Memory of the process in levels: 0 is the seed's own, each episode has the next (episode.h). */
#ifndef COFFER_TESTS_SIM_HEAP_H
#define COFFER_TESTS_SIM_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define HEAP_LEVELS 4

/* Makes all regions, so that later processes have the same. */
void heap_prepare(void);
/* From here on memory comes from the region of this level, of which nothing is used. */
void heap_enter(unsigned level);
/* What is in use of a level, and perhaps more. */
void heap_used(unsigned level, void **start, size_t *size);
bool heap_has(const void *memory);
/* As by mmap(); free() takes it. */
void *heap_pages(size_t size, bool zeroed);

#endif
