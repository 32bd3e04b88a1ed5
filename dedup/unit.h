/*
 * Compression of a unit: 1 to 4 neighbouring chunks (the format allows 16) stored together. Pure functions over
 * memory; where the bytes go is not known here.
 */
#ifndef COFFER_DEDUP_UNIT_H
#define COFFER_DEDUP_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "dedup/fingerprint.h"

#define UNIT_CHUNKS 4
#define UNIT_CHUNKS_MAX 16

enum codec { CODEC_RAW = 0, CODEC_LZ4 = 1, CODEC_ZSTD = 2 };

/*
 * Compresses `count` chunks into `out` (`capacity` >= count * CHUNK_SIZE). Writes the codec really used: CODEC_RAW
 * (a plain copy, *size = count * CHUNK_SIZE) where compression saves less than one 16-byte grain in 32 or all chunks
 * look random. `level` counts for zstd only. Uses a context of the calling thread.
 */
enum error unit_compress(enum codec wanted, int level, const void *const *chunks, size_t count, void *out,
                         size_t capacity, size_t *size, enum codec *used) CHECKED;

/* The inverse: exactly count * CHUNK_SIZE bytes into `out`, else ERROR_CORRUPT. Safe for any input. */
enum error unit_decompress(enum codec codec, const void *in, size_t size, void *out, size_t count) CHECKED;

/* True where 512 bytes of the chunk have the byte counts of random (encrypted, compressed) data. */
bool chunk_looks_random(const void *chunk);

/* Frees the calling thread's contexts (also done when the thread ends). */
void unit_thread_end(void);

#endif
