/*
 * Inputs of targets that begin from something valid: a list of patches, each an offset (two bytes, little-endian, times
 * `scale`, and one more byte added), a length (one byte) and so many bytes. So a fuzzer changes what matters without
 * having to find checksums, which the target makes anew.
 */
#ifndef COFFER_TESTS_FUZZ_PATCHES_H
#define COFFER_TESTS_FUZZ_PATCHES_H

#include <stdint.h>
#include <string.h>

static inline void patches_apply(const uint8_t *data, size_t size, size_t scale, uint8_t *target, size_t target_size)
{
    while (size > 4) {
        size_t at = ((size_t)data[0] | (size_t)data[1] << 8) * scale + data[2], length = data[3];
        data += 4;
        size -= 4;
        length = length < size ? length : size;
        if (at >= target_size)
            at %= target_size;
        length = length < target_size - at ? length : target_size - at;
        memcpy(target + at, data, length);
        data += length;
        size -= length;
    }
}

#endif
