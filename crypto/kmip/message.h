/*
 * The KMIP messages that a key of a pool needs, as requests to write and answers to read (OASIS KMIP 1.2, 1.3, 1.4, 2.0).
 * Each message holds one operation. What differs between versions is how attributes stand in a message: up to 1.4 as
 * (name, value) in Template-Attribute, from 2.0 on as items of their own in Attributes; nobody outside need know.
 *
 * The key is AES-256 with usage mask Derive Key, of which the server knows the name. Everything that an answer says is
 * checked here; what is not said, is missing. No state: any thread may use it.
 */
#ifndef COFFER_CRYPTO_KMIP_MESSAGE_H
#define COFFER_CRYPTO_KMIP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/kdf.h"
#include "crypto/kmip/ttlv.h"

#define KMIP_ID_MAX      127 /* of a unique identifier: servers give UUIDs or numbers */
#define KMIP_TEXT_MAX    255 /* of what is shown to people */
#define KMIP_REQUEST_MAX 2048

struct kmip_version {
    uint32_t major, minor;
};

enum kmip_operation {
    KMIP_CREATE = 0x01,
    KMIP_REGISTER = 0x03,
    KMIP_LOCATE = 0x08,
    KMIP_GET = 0x0a,
    KMIP_GET_ATTRIBUTES = 0x0b,
    KMIP_ACTIVATE = 0x12,
    KMIP_REVOKE = 0x13,
    KMIP_DESTROY = 0x14,
    KMIP_QUERY = 0x18,
    KMIP_DISCOVER_VERSIONS = 0x1e,
};

enum kmip_state {
    KMIP_PRE_ACTIVE = 1,
    KMIP_ACTIVE = 2,
    KMIP_DEACTIVATED = 3,
    KMIP_COMPROMISED = 4,
    KMIP_DESTROYED = 5,
    KMIP_DESTROYED_COMPROMISED = 6,
};

struct kmip_attributes {
    uint32_t state, algorithm, length, usage_mask;
    bool has_name; /* the name that was asked for is one of its names */
};

/* The versions spoken, newest first. */
extern const struct kmip_version kmip_versions[];
extern const size_t kmip_version_count;

const char *kmip_operation_name(enum kmip_operation operation);
const char *kmip_state_name(uint32_t state); /* "Active" */

/* ---- requests: into an empty writer; `full` tells that one does not fit ------------------------------------------- */

void kmip_discover_write(struct ttlv_writer *writer, struct kmip_version version);
void kmip_query_write(struct ttlv_writer *writer, struct kmip_version version);
void kmip_locate_write(struct ttlv_writer *writer, struct kmip_version version, const char *name);
void kmip_create_write(struct ttlv_writer *writer, struct kmip_version version, const char *name);
/* The request holds the key: the buffer is the caller's to wipe. */
void kmip_register_write(struct ttlv_writer *writer, struct kmip_version version, const char *name,
                         const uint8_t key[KEY_SIZE]);
void kmip_get_write(struct ttlv_writer *writer, struct kmip_version version, const char *id);
void kmip_get_attributes_write(struct ttlv_writer *writer, struct kmip_version version, const char *id);
/* Activate, Revoke (cessation of operation), Destroy. */
void kmip_change_write(struct ttlv_writer *writer, struct kmip_version version, enum kmip_operation operation,
                       const char *id);

/* ---- answers ------------------------------------------------------------------------------------------------------ */

/* Checks a whole answer to `operation` and gives its payload, which points into it. ERROR_PROTOCOL, ERROR_TOO_LARGE: it
 * is none; else what the server says: ERROR_NOT_FOUND, ERROR_ACCESS, ERROR_UNSUPPORTED, or ERROR_PROTOCOL for whatever
 * else it refuses. */
enum error kmip_answer_read(const void *message, size_t size, struct kmip_version version,
                            enum kmip_operation operation, struct ttlv *payload) CHECKED;

/* The newest version that both know. ERROR_UNSUPPORTED. */
enum error kmip_discover_read(const struct ttlv *payload, struct kmip_version *version) CHECKED;
/* What the server says of itself, printable; empty where it says nothing. */
void kmip_query_read(const struct ttlv *payload, char vendor[KMIP_TEXT_MAX + 1]);
/* How many keys there are, and the id of the first. */
enum error kmip_locate_read(const struct ttlv *payload, size_t *count, char id[KMIP_ID_MAX + 1]) CHECKED;
/* The id that Create or Register gave; of other operations it is compared with `expected`, where that is not NULL. */
enum error kmip_id_read(const struct ttlv *payload, const char *expected, char id[KMIP_ID_MAX + 1]) CHECKED;
enum error kmip_get_attributes_read(const struct ttlv *payload, struct kmip_version version, const char *id,
                                    const char *name, struct kmip_attributes *attributes) CHECKED;
/* The key, once id, type, format, algorithm and length are right. ERROR_FORGED: it is another than was made. */
enum error kmip_get_read(const struct ttlv *payload, const char *id, uint8_t key[KEY_SIZE]) CHECKED;
/* Whether the attributes are those of a key of a pool, its state apart. ERROR_FORGED. */
enum error kmip_attributes_check(const struct kmip_attributes *attributes) CHECKED;

#endif
