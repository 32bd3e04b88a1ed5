/*
 * Little-endian integers of the disk and big-endian ones of the wire, as types: they have alignment 1, so that a
 * struct of them has no implicit padding, and cannot be used as numbers by mistake.
 */
#ifndef COFFER_BASE_ENDIAN_H
#define COFFER_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint8_t bytes[2]; } le16;
typedef struct { uint8_t bytes[4]; } le32;
typedef struct { uint8_t bytes[5]; } le40;
typedef struct { uint8_t bytes[8]; } le64;
typedef struct { uint8_t bytes[2]; } be16;
typedef struct { uint8_t bytes[4]; } be32;
typedef struct { uint8_t bytes[8]; } be64;

static inline uint16_t le16_get(le16 v) { uint16_t n; memcpy(&n, v.bytes, 2); return le16toh(n); }
static inline uint32_t le32_get(le32 v) { uint32_t n; memcpy(&n, v.bytes, 4); return le32toh(n); }
static inline uint64_t le64_get(le64 v) { uint64_t n; memcpy(&n, v.bytes, 8); return le64toh(n); }
static inline uint64_t le40_get(le40 v) { uint64_t n = 0; memcpy(&n, v.bytes, 5); return le64toh(n); }
static inline le16 le16_make(uint16_t n) { le16 v; n = htole16(n); memcpy(v.bytes, &n, 2); return v; }
static inline le32 le32_make(uint32_t n) { le32 v; n = htole32(n); memcpy(v.bytes, &n, 4); return v; }
static inline le64 le64_make(uint64_t n) { le64 v; n = htole64(n); memcpy(v.bytes, &n, 8); return v; }
static inline le40 le40_make(uint64_t n) { le40 v; n = htole64(n); memcpy(v.bytes, &n, 5); return v; }
static inline uint16_t be16_get(be16 v) { uint16_t n; memcpy(&n, v.bytes, 2); return be16toh(n); }
static inline uint32_t be32_get(be32 v) { uint32_t n; memcpy(&n, v.bytes, 4); return be32toh(n); }
static inline uint64_t be64_get(be64 v) { uint64_t n; memcpy(&n, v.bytes, 8); return be64toh(n); }
static inline be16 be16_make(uint16_t n) { be16 v; n = htobe16(n); memcpy(v.bytes, &n, 2); return v; }
static inline be32 be32_make(uint32_t n) { be32 v; n = htobe32(n); memcpy(v.bytes, &n, 4); return v; }
static inline be64 be64_make(uint64_t n) { be64 v; n = htobe64(n); memcpy(v.bytes, &n, 8); return v; }

#endif
