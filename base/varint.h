/* Unsigned LEB128 and zigzag (as in Protocol Buffers' encoding), over bounded memory. */
#ifndef COFFER_BASE_VARINT_H
#define COFFER_BASE_VARINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VARINT_BYTES_MAX 10

/* A place to write to that knows its end; `overflow` stays set once something did not fit. */
struct byte_writer {
    uint8_t *next, *end;
    bool overflow;
};
/* A place to read from; `overrun` stays set once something was missing or malformed, and zeros are returned. */
struct byte_reader {
    const uint8_t *next, *end;
    bool overrun;
};

static inline uint64_t zigzag_encode(int64_t n) { return (uint64_t)n << 1 ^ (uint64_t)(n >> 63); }
static inline int64_t zigzag_decode(uint64_t n) { return (int64_t)(n >> 1) ^ -(int64_t)(n & 1); }

static inline void write_byte(struct byte_writer *w, uint8_t byte)
{
    if (w->next < w->end)
        *w->next++ = byte;
    else
        w->overflow = true;
}
static inline void write_varint(struct byte_writer *w, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        write_byte(w, (uint8_t)(n | 0x80));
    write_byte(w, (uint8_t)n);
}
static inline void write_bytes(struct byte_writer *w, const void *bytes, size_t size)
{
    if ((size_t)(w->end - w->next) < size) {
        w->overflow = true;
        return;
    }
    memcpy(w->next, bytes, size);
    w->next += size;
}

static inline uint8_t read_byte(struct byte_reader *r)
{
    if (r->next < r->end)
        return *r->next++;
    r->overrun = true;
    return 0;
}
static inline uint64_t read_varint(struct byte_reader *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_byte(r);
        if (shift == 63 && byte > 1)
            r->overrun = true;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return r->overrun ? 0 : n;
    }
    r->overrun = true;
    return 0;
}
static inline const uint8_t *read_bytes(struct byte_reader *r, size_t size)
{
    if ((size_t)(r->end - r->next) < size) {
        r->overrun = true;
        r->next = r->end;
        return NULL;
    }
    const uint8_t *bytes = r->next;
    r->next += size;
    return bytes;
}

#endif
