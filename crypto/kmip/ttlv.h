/*
 * TTLV, the encoding of KMIP messages (OASIS KMIP 1.2 to 1.4 and 2.0, section 9.1 of the 1.x texts): tag of 3 bytes, type
 * of 1, length of 4 big-endian, value padded to 8 bytes; a structure's value is a row of such items.
 *
 * Reading has two steps: ttlv_check() goes through a whole message once and refuses it where any length, type or depth is
 * not what it must be; then items are looked up in it. Nothing is copied or allocated by a length that the peer chose: an
 * item points into the message. Writing goes into a buffer of the caller; what does not fit marks the writer as full.
 */
#ifndef COFFER_CRYPTO_KMIP_TTLV_H
#define COFFER_CRYPTO_KMIP_TTLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TTLV_HEADER_SIZE  8u
#define TTLV_MESSAGE_MAX  65536u /* bytes, header included; nothing that is asked for needs a tenth */
#define TTLV_DEPTH_MAX    16u    /* structures in structures; those of the messages used here reach 7 */

enum ttlv_type {
    TTLV_STRUCTURE = 1,
    TTLV_INTEGER = 2,
    TTLV_LONG_INTEGER = 3,
    TTLV_BIG_INTEGER = 4,
    TTLV_ENUMERATION = 5,
    TTLV_BOOLEAN = 6,
    TTLV_TEXT = 7,
    TTLV_BYTES = 8,
    TTLV_DATE_TIME = 9,
    TTLV_INTERVAL = 10,
    TTLV_DATE_TIME_EXTENDED = 11,
};

struct ttlv {
    uint32_t tag;
    enum ttlv_type type;
    const uint8_t *value; /* in the message */
    uint32_t size;        /* without padding */
};

/* The size of a whole message by its first 8 bytes. ERROR_PROTOCOL: it is no structure; ERROR_TOO_LARGE. */
enum error ttlv_message_size(const uint8_t header[TTLV_HEADER_SIZE], size_t *size) CHECKED;

/* Checks a whole message and gives its outermost structure. ERROR_PROTOCOL, ERROR_TOO_LARGE. */
enum error ttlv_check(const void *message, size_t size, struct ttlv *root) CHECKED;

/* ---- looking up, in what ttlv_check() took ------------------------------------------------------------------------ */

/* The items of a structure in their order: begin with *next = {0}; false at the end. */
bool ttlv_next(const struct ttlv *structure, struct ttlv *next);
/* The first item of this tag and type. False where there is none, also where it has another type. */
bool ttlv_find(const struct ttlv *structure, uint32_t tag, enum ttlv_type type, struct ttlv *item);
/* Of an integer or enumeration. */
uint32_t ttlv_number(const struct ttlv *item);
bool ttlv_text_equal(const struct ttlv *item, const char *text);

/* ---- writing ------------------------------------------------------------------------------------------------------ */

struct ttlv_writer {
    uint8_t *bytes;
    size_t room, used;
    size_t open[TTLV_DEPTH_MAX]; /* where the structures begin that are not ended yet */
    unsigned depth;
    bool full;
};

void ttlv_begin(struct ttlv_writer *writer, uint32_t tag);
void ttlv_end(struct ttlv_writer *writer);
void ttlv_put_integer(struct ttlv_writer *writer, uint32_t tag, uint32_t value);
void ttlv_put_enumeration(struct ttlv_writer *writer, uint32_t tag, uint32_t value);
void ttlv_put_text(struct ttlv_writer *writer, uint32_t tag, const char *text);
void ttlv_put_bytes(struct ttlv_writer *writer, uint32_t tag, const void *bytes, size_t size);

#endif
