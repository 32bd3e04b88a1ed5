/* Memory: allocation that reports, alignment for direct I/O, and clean-up by scope. */
#ifndef COFFER_BASE_MEMORY_H
#define COFFER_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"

/* Zeroed memory; NULL when out of memory. `count * size` is checked for overflow. Freed by free(). */
void *memory_zeroed(size_t count, size_t size) CHECKED;
/* Memory aligned to 4096 for direct I/O, not zeroed; NULL when out of memory. Freed by free(). */
void *memory_aligned(size_t size) CHECKED;
/* A large table straight from the kernel, zeroed, paged in on first use (from 2 MiB on in huge pages, where there are
 * some: random look-ups miss the address translation less); NULL when out of memory. */
void *memory_map(size_t size) CHECKED;
/* The same for what is written before it is read: the simulator, which opens pools by the hundred thousand, zeroes
 * nothing there. */
void *memory_map_unset(size_t size) CHECKED;
void memory_unmap(void *start, size_t size);
/* Overwrites in a way that the compiler does not remove. */
void memory_cleanse(void *start, size_t size);
/* free() of what held secrets or users' plaintext: overwritten first, all of it. NULL is allowed. */
void memory_free_cleansed(void *start);
bool memory_is_zero(const void *start, size_t size);
/* Compares in constant time: 0 when equal. */
int memory_compare_constant_time(const void *a, const void *b, size_t size);

static inline void memory_free_scope(void *pointer) { free(*(void **)pointer); }
#define AUTO_FREE __attribute__((cleanup(memory_free_scope)))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ROUND_UP(n, unit) (((n) + (unit) - 1) / (unit) * (unit))
#define ROUND_DOWN(n, unit) ((n) / (unit) * (unit))

#endif
