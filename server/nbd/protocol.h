/*
 * NBD on the wire: what both phases of a connection are made of, as the protocol text of the NBD project has it
 * (doc/proto.md, "fixed newstyle"). Big-endian throughout; the names are those of the text without NBD_.
 */
#ifndef COFFER_SERVER_NBD_PROTOCOL_H
#define COFFER_SERVER_NBD_PROTOCOL_H

#include <assert.h>
#include <stdint.h>

#include "base/endian.h"

#define GREETING_MAGIC         UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define OPTION_MAGIC           UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define OPTION_REPLY_MAGIC     UINT64_C(0x0003e889045565a9)
#define REQUEST_MAGIC          UINT32_C(0x25609513)
#define SIMPLE_REPLY_MAGIC     UINT32_C(0x67446698)
#define STRUCTURED_REPLY_MAGIC UINT32_C(0x668e33ef)

#define EXPORT_NAME_ZEROES    124
#define EXPORT_NAME_BYTES_MAX 4096 /* what the protocol allows; names of objects are shorter */
#define BLOCK_SIZE_MINIMUM    1
#define ALLOCATION_CONTEXT    "base:allocation"
#define ALLOCATION_CONTEXT_ID 1
#define CHANGED_CONTEXT       "coffer:changed:" /* and the name, or UUID, of a snapshot of the export's object */
#define CHANGED_CONTEXT_ID    2                 /* of the first that was chosen; the others follow */
#define CHANGED_CONTEXTS_MAX  8                 /* of one connection */

/* ---- handshake ------------------------------------------------------------------------------------------------- */

enum { HANDSHAKE_FIXED_NEWSTYLE = 1, HANDSHAKE_NO_ZEROES = 2 };

enum option_type {
    OPTION_EXPORT_NAME = 1,
    OPTION_ABORT = 2,
    OPTION_LIST = 3,
    OPTION_STARTTLS = 5,
    OPTION_INFO = 6,
    OPTION_GO = 7,
    OPTION_STRUCTURED_REPLY = 8,
    OPTION_LIST_META_CONTEXT = 9,
    OPTION_SET_META_CONTEXT = 10,
};

enum option_reply_type {
    OPTION_REPLY_ACK = 1,
    OPTION_REPLY_SERVER = 2,
    OPTION_REPLY_INFO = 3,
    OPTION_REPLY_META_CONTEXT = 4,
};
#define OPTION_ERROR_UNSUPPORTED UINT32_C(0x80000001)
#define OPTION_ERROR_POLICY      UINT32_C(0x80000002)
#define OPTION_ERROR_INVALID     UINT32_C(0x80000003)
#define OPTION_ERROR_UNKNOWN     UINT32_C(0x80000006)
#define OPTION_ERROR_SHUTDOWN    UINT32_C(0x80000007)
#define OPTION_ERROR_TOO_BIG     UINT32_C(0x80000009)

enum info_type { INFO_EXPORT = 0, INFO_NAME = 1, INFO_BLOCK_SIZE = 3 };

enum transmission_flags {
    TRANSMISSION_HAS_FLAGS = 1 << 0,
    TRANSMISSION_READ_ONLY = 1 << 1,
    TRANSMISSION_SEND_FLUSH = 1 << 2,
    TRANSMISSION_SEND_FUA = 1 << 3,
    TRANSMISSION_SEND_TRIM = 1 << 5,
    TRANSMISSION_SEND_WRITE_ZEROES = 1 << 6,
    TRANSMISSION_SEND_DF = 1 << 7,
    TRANSMISSION_CAN_MULTI_CONN = 1 << 8,
    TRANSMISSION_SEND_CACHE = 1 << 10,
    TRANSMISSION_SEND_FAST_ZERO = 1 << 11,
};

struct wire_greeting {
    be64 magic;
    be64 option_magic;
    be16 flags;
};
static_assert(sizeof(struct wire_greeting) == 18, "wire");

struct wire_option {
    be64 magic;
    be32 option;
    be32 length;
};
static_assert(sizeof(struct wire_option) == 16, "wire");

struct wire_option_reply {
    be64 magic;
    be32 option;
    be32 type;
    be32 length;
};
static_assert(sizeof(struct wire_option_reply) == 20, "wire");

struct wire_export { /* the answer to EXPORT_NAME, before the zeroes */
    be64 size;
    be16 flags;
};
static_assert(sizeof(struct wire_export) == 10, "wire");

struct wire_info_export {
    be16 type;
    be64 size;
    be16 flags;
};
static_assert(sizeof(struct wire_info_export) == 12, "wire");

struct wire_info_block_size {
    be16 type;
    be32 minimum;
    be32 preferred;
    be32 maximum;
};
static_assert(sizeof(struct wire_info_block_size) == 14, "wire");

/* ---- transmission ---------------------------------------------------------------------------------------------- */

enum command_type {
    COMMAND_READ = 0,
    COMMAND_WRITE = 1,
    COMMAND_DISCONNECT = 2,
    COMMAND_FLUSH = 3,
    COMMAND_TRIM = 4,
    COMMAND_CACHE = 5,
    COMMAND_WRITE_ZEROES = 6,
    COMMAND_BLOCK_STATUS = 7,
};

enum command_flags {
    COMMAND_FUA = 1 << 0,
    COMMAND_NO_HOLE = 1 << 1,
    COMMAND_DF = 1 << 2,
    COMMAND_REQ_ONE = 1 << 3,
    COMMAND_FAST_ZERO = 1 << 4,
};

enum reply_chunk_type {
    CHUNK_OFFSET_DATA = 1,
    CHUNK_BLOCK_STATUS = 5,
    CHUNK_ERROR = 0x8001,
};
enum { CHUNK_DONE = 1 };
enum { STATE_HOLE = 1, STATE_ZERO = 2 };            /* of base:allocation */
enum { STATE_CHANGED = 1, STATE_CHANGED_ZERO = 2 }; /* of coffer:changed: the second never without the first */

/* Of the error numbers that the protocol knows those that are sent: all but ENOTSUP. */
enum wire_error {
    WIRE_OK = 0,
    WIRE_EPERM = 1,
    WIRE_EIO = 5,
    WIRE_ENOMEM = 12,
    WIRE_EINVAL = 22,
    WIRE_ENOSPC = 28,
    WIRE_EOVERFLOW = 75,
    WIRE_ESHUTDOWN = 108,
};

struct wire_request {
    be32 magic;
    be16 flags;
    be16 type;
    be64 cookie;
    be64 offset;
    be32 length;
};
static_assert(sizeof(struct wire_request) == 28, "wire");

struct wire_simple_reply {
    be32 magic;
    be32 error;
    be64 cookie;
};
static_assert(sizeof(struct wire_simple_reply) == 16, "wire");

struct wire_chunk {
    be32 magic;
    be16 flags;
    be16 type;
    be64 cookie;
    be32 length;
};
static_assert(sizeof(struct wire_chunk) == 20, "wire");

struct wire_chunk_data { /* followed by the data */
    struct wire_chunk chunk;
    be64 offset;
};
static_assert(sizeof(struct wire_chunk_data) == 28, "wire");

struct wire_chunk_error { /* followed by the sentence */
    struct wire_chunk chunk;
    be32 error;
    be16 sentence_length;
};
static_assert(sizeof(struct wire_chunk_error) == 26, "wire");

struct wire_chunk_status { /* followed by the extents */
    struct wire_chunk chunk;
    be32 context;
};
static_assert(sizeof(struct wire_chunk_status) == 24, "wire");

struct wire_extent {
    be32 length;
    be32 state;
};
static_assert(sizeof(struct wire_extent) == 8, "wire");

#endif
