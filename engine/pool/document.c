/*
 * Documents of the catalog: from structs to bytes and back.
 *
 * The shape is jansson's to check (exact members, types, nothing behind); the values are checked here, so that whatever
 * decodes can be used without a second look: names that may be shown, sizes that an object may have, states that agree
 * with their times.
 */
#include "engine/pool/document.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "base/memory.h"
#include "engine/group/entry.h"
#include "engine/pool/hosts.h"
#include "engine/pool/name.h"

#define COMPONENT_FIRST 2 /* 1 is the catalog */

static const char *const state_names[] = {
    [OBJECT_CREATING] = "creating",
    [OBJECT_LIVE] = "live",
    [OBJECT_TRASHED] = "trashed",
    [OBJECT_DELETING] = "deleting",
};

/* ---- to bytes ---------------------------------------------------------------------------------------------------- */

/* Takes over `root`. */
static enum error frame(json_t *root, void **bytes, size_t *size)
{
    if (root == NULL)
        return ERROR_NO_MEMORY;
    AUTO_FREE char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text == NULL)
        return ERROR_NO_MEMORY;
    size_t length = strlen(text);
    ASSERT(length <= OBJECT_DOCUMENT_BYTES_MAX - DOCUMENT_LENGTH_SIZE);
    uint8_t *framed = malloc(DOCUMENT_LENGTH_SIZE + length);
    if (framed == NULL)
        return ERROR_NO_MEMORY;
    le32 prefix = le32_make((uint32_t)length);
    memcpy(framed, &prefix, DOCUMENT_LENGTH_SIZE);
    memcpy(framed + DOCUMENT_LENGTH_SIZE, text, length);
    *bytes = framed;
    *size = DOCUMENT_LENGTH_SIZE + length;
    return ERROR_NONE;
}

/* NULL where nothing is imported. */
static json_t *import_encode(const struct object_document *document)
{
    char stream[UUID_TEXT_SIZE];
    uuid_format(document->import_stream, stream);
    if (uuid_is_zero(document->import_stream))
        return NULL;
    return json_pack("{s:s, s:I}", "stream", stream, "position", (json_int_t)document->import_position);
}

enum error object_document_encode(const struct object_document *document, void **bytes, size_t *size)
{
    char uuid[UUID_TEXT_SIZE], domain[UUID_TEXT_SIZE], group[UUID_TEXT_SIZE];
    uuid_format(document->uuid, uuid);
    uuid_format(document->domain, domain);
    uuid_format(document->group, group);
    char origin[UUID_TEXT_SIZE];
    uuid_format(document->origin, origin);
    char identity[UUID_TEXT_SIZE];
    uuid_format(document->identity, identity);
    json_t *cut = document->cut ? json_integer((json_int_t)document->cut) : NULL;
    json_t *reserve = document->reserve ? json_integer((json_int_t)document->reserve) : NULL;
    json_t *until = document->locked_until ? json_integer((json_int_t)document->locked_until) : NULL;
    return frame(json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:[{s:s, s:I, s:s}],"
                           " s:o*, s:o*, s:s*, s:o*, s:o*, s:s*, s:o*, s:s*}",
                           "uuid", uuid, "name", document->name, "size", (json_int_t)document->size, "created",
                           (json_int_t)document->created, "deleted", (json_int_t)document->deleted, "state",
                           state_names[document->state], "domain", domain, "components", "group", group, "component",
                           (json_int_t)document->component, "state", "active", "cut", cut, "reserve", reserve, "origin",
                           uuid_is_zero(document->origin) ? NULL : origin, "hold", document->hold ? json_true() : NULL,
                           "locked_until", until, "identity", uuid_is_zero(document->identity) ? NULL : identity,
                           "import", import_encode(document), "hosts", document->hosts[0] != '\0' ? document->hosts : NULL),
                 bytes, size);
}

enum error pool_document_encode(const struct pool_document *document, void **bytes, size_t *size)
{
    char pool[UUID_TEXT_SIZE];
    uuid_format(document->pool, pool);
    return frame(json_pack("{s:i, s:s, s:I, s:s}", "format", CATALOG_FORMAT, "pool", pool, "created",
                           (json_int_t)document->created, "name", document->name),
                 bytes, size);
}

/* ---- from bytes -------------------------------------------------------------------------------------------------- */

enum error document_size(const void *bytes, size_t size, size_t *whole)
{
    le32 prefix;
    if (size < DOCUMENT_LENGTH_SIZE)
        return error_explain(ERROR_CORRUPT, "the document has no length");
    memcpy(&prefix, bytes, DOCUMENT_LENGTH_SIZE);
    size_t length = le32_get(prefix);
    if (length == 0 || length > OBJECT_DOCUMENT_BYTES_MAX - DOCUMENT_LENGTH_SIZE)
        return error_explain(ERROR_CORRUPT, "the document says to have %zu bytes", length);
    *whole = DOCUMENT_LENGTH_SIZE + length;
    return ERROR_NONE;
}

static enum error root_parse(const void *bytes, size_t size, json_t **root)
{
    json_error_t where;
    size_t whole;
    TRY(document_size(bytes, size, &whole));
    if (whole > size)
        return error_explain(ERROR_CORRUPT, "the document is cut off");
    *root = json_loadb((const char *)bytes + DOCUMENT_LENGTH_SIZE, whole - DOCUMENT_LENGTH_SIZE, JSON_REJECT_DUPLICATES,
                       &where);
    if (*root == NULL)
        return error_explain(ERROR_CORRUPT, "the document is not JSON: %s at byte %d", where.text, where.position);
    return ERROR_NONE;
}

static enum error uuid_take(const char *text, const char *member, struct uuid *uuid)
{
    if (uuid_parse(text, uuid) != ERROR_NONE)
        return error_explain(ERROR_CORRUPT, "the document's `%s` is no UUID", member);
    return ERROR_NONE;
}

static enum error name_take(const char *text, char name[OBJECT_NAME_MAX + 1])
{
    enum error error = object_name_check(text);
    if (error != ERROR_NONE)
        return error_explain(ERROR_CORRUPT, "the document's `name` is none: %s", error_sentence(error));
    memcpy(name, text, strlen(text) + 1);
    return ERROR_NONE;
}

static enum error number_take(json_int_t value, const char *member, uint64_t least, uint64_t most, uint64_t *number)
{
    if (value < 0 || (uint64_t)value < least || (uint64_t)value > most)
        return error_explain(ERROR_CORRUPT, "the document's `%s` is out of range: %lld", member, (long long)value);
    *number = (uint64_t)value;
    return ERROR_NONE;
}

static enum error size_take(json_int_t value, const char *member, uint64_t least, uint64_t *number)
{
    uint64_t size;
    TRY(number_take(value, member, least, OBJECT_SIZE_MAX, &size));
    if (size % COFFER_BLOCK != 0)
        return error_explain(ERROR_CORRUPT, "the document's `%s` is no multiple of %d", member, COFFER_BLOCK);
    *number = size;
    return ERROR_NONE;
}

static enum error state_take(const char *text, enum object_state *state)
{
    for (size_t i = 0; i < COUNT_OF(state_names); i++)
        if (strcmp(text, state_names[i]) == 0) {
            *state = (enum object_state)i;
            return ERROR_NONE;
        }
    return error_explain(ERROR_CORRUPT, "the document's `state` is unknown");
}

struct object_members {
    const char *uuid, *name, *state, *domain, *group, *placed, *origin, *identity, *stream, *hosts;
    json_int_t size, created, deleted, component, cut, reserve, locked_until, position;
    int hold;
};

static enum error import_members_take(const struct object_members *members, struct object_document *document)
{
    if (members->stream == NULL)
        return ERROR_NONE;
    TRY(uuid_take(members->stream, "stream", &document->import_stream));
    TRY(number_take(members->position, "position", 0, INT64_MAX, &document->import_position));
    if (uuid_is_zero(document->import_stream) || members->origin != NULL)
        return error_explain(ERROR_CORRUPT, "the document imports what cannot be");
    return ERROR_NONE;
}

static enum error hosts_take(const struct object_members *members, struct object_document *document)
{
    if (members->hosts == NULL)
        return ERROR_NONE;
    if (!hosts_is_valid(members->hosts) || members->origin != NULL)
        return error_explain(ERROR_CORRUPT, "the document's `hosts` cannot be");
    memcpy(document->hosts, members->hosts, strlen(members->hosts));
    return ERROR_NONE;
}

/* What only snapshots have. */
static enum error snapshot_members_take(const struct object_members *members, struct object_document *document)
{
    if (members->origin == NULL && members->identity != NULL)
        return error_explain(ERROR_CORRUPT, "the document gives an object the identity of a snapshot");
    if (members->origin == NULL && (members->hold || members->locked_until))
        return error_explain(ERROR_CORRUPT, "the document protects an object as only a snapshot can be");
    if (members->origin == NULL)
        return ERROR_NONE;
    TRY(uuid_take(members->origin, "origin", &document->origin));
    TRY(number_take(members->locked_until, "locked_until", 0, INT64_MAX, &document->locked_until));
    document->hold = members->hold;
    if (members->identity != NULL)
        TRY(uuid_take(members->identity, "identity", &document->identity));
    if (uuid_is_zero(document->origin) || document->state == OBJECT_TRASHED || document->state == OBJECT_CREATING ||
        document->cut || document->reserve || (members->identity != NULL && uuid_is_zero(document->identity)))
        return error_explain(ERROR_CORRUPT, "the document of a snapshot says what none can be");
    return ERROR_NONE;
}

/* What is thrown away gives back what was reserved for it. */
static enum error reserve_take(json_int_t reserve, struct object_document *document)
{
    TRY(number_take(reserve, "reserve", 0, document->size, &document->reserve));
    if (document->reserve % COFFER_BLOCK != 0 || (document->reserve && document->state != OBJECT_LIVE))
        return error_explain(ERROR_CORRUPT, "the document's `reserve` cannot be");
    return ERROR_NONE;
}

static enum error object_members_take(const struct object_members *members, struct object_document *document)
{
    TRY(uuid_take(members->uuid, "uuid", &document->uuid));
    TRY(uuid_take(members->domain, "domain", &document->domain));
    TRY(uuid_take(members->group, "group", &document->group));
    TRY(name_take(members->name, document->name));
    TRY(size_take(members->size, "size", COFFER_BLOCK, &document->size));
    TRY(number_take(members->created, "created", 0, INT64_MAX, &document->created));
    TRY(number_take(members->deleted, "deleted", 0, INT64_MAX, &document->deleted));
    TRY(number_take(members->component, "component", COMPONENT_FIRST, CID_MAX, &document->component));
    TRY(state_take(members->state, &document->state));
    if (members->cut)
        TRY(size_take(members->cut, "cut", document->size + COFFER_BLOCK, &document->cut));
    TRY(reserve_take(members->reserve, document));
    bool lives = document->state == OBJECT_CREATING || document->state == OBJECT_LIVE;
    if (lives != (document->deleted == 0))
        return error_explain(ERROR_CORRUPT, "the document's `state` and `deleted` disagree");
    if (strcmp(members->placed, "active") != 0)
        return error_explain(ERROR_CORRUPT, "the document's component is in an unknown state");
    TRY(import_members_take(members, document));
    TRY(hosts_take(members, document));
    return snapshot_members_take(members, document);
}

static enum error object_root_decode(json_t *root, struct object_document *document)
{
    struct object_document decoded = {0};
    struct object_members m = {0};
    json_error_t where;
    if (json_unpack_ex(root, &where, 0, 
                       "{s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:[{s:s, s:I, s:s !} !], s?I, s?I, s?s, s?b, s?I, s?s, s?{s:s, s:I !}, s?s !}",
                       "uuid",
                       &m.uuid, "name", &m.name, "size", &m.size, "created", &m.created, "deleted", &m.deleted, "state",
                       &m.state, "domain", &m.domain, "components", "group", &m.group, "component", &m.component,
                       "state", &m.placed, "cut", &m.cut, "reserve", &m.reserve, "origin", &m.origin, "hold", &m.hold, "locked_until",
                       &m.locked_until, "identity", &m.identity, "import", "stream", &m.stream, "position",
                       &m.position, "hosts", &m.hosts) != 0)
        return error_explain(ERROR_CORRUPT, "the document is not an object's: %s", where.text);
    TRY(object_members_take(&m, &decoded));
    *document = decoded;
    return ERROR_NONE;
}

enum error object_document_decode(const void *bytes, size_t size, struct object_document *document)
{
    json_t *root;
    TRY(root_parse(bytes, size, &root));
    enum error error = object_root_decode(root, document);
    json_decref(root);
    return error;
}

static enum error pool_root_decode(json_t *root, struct pool_document *document)
{
    struct pool_document decoded = {0};
    const char *pool, *name;
    json_int_t format, created;
    json_error_t where;
    /* The format first: a newer one may have other members. */
    if (json_unpack_ex(root, &where, 0, "{s:I}", "format", &format) != 0)
        return error_explain(ERROR_CORRUPT, "the document is not a pool's: %s", where.text);
    if (format > CATALOG_FORMAT)
        return error_explain(ERROR_NEWER_FORMAT, "the catalog has format %lld, this version of Coffer knows %d",
                             (long long)format, CATALOG_FORMAT);
    if (json_unpack_ex(root, &where, 0, "{s:I, s:s, s:I, s:s !}", "format", &format, "pool", &pool, "created", &created,
                       "name", &name) != 0)
        return error_explain(ERROR_CORRUPT, "the document is not a pool's: %s", where.text);
    if (format != CATALOG_FORMAT)
        return error_explain(ERROR_CORRUPT, "the catalog's format is %lld", (long long)format);
    TRY(uuid_take(pool, "pool", &decoded.pool));
    TRY(name_take(name, decoded.name));
    TRY(number_take(created, "created", 0, INT64_MAX, &decoded.created));
    *document = decoded;
    return ERROR_NONE;
}

enum error pool_document_decode(const void *bytes, size_t size, struct pool_document *document)
{
    json_t *root;
    TRY(root_parse(bytes, size, &root));
    enum error error = pool_root_decode(root, document);
    json_decref(root);
    return error;
}
