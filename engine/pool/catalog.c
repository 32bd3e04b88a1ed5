/*
 * The catalog: documents of all objects, one a slot, in the component that every group has. Read whole at an open; from
 * then on pool->objects and pool->table are the truth in memory, and each change is stored before it is made there, so
 * that a failed store changes nothing.
 *
 * A document and the component that comes or goes with it are one commit in one append: a crash leaves both or neither.
 * A document that makes no sense makes the open fail and names the slot. One that cannot be read, whatever the device
 * or its tags say, is lost by itself, once it was asked for patiently (an object that is not served for one refused
 * read would be a disk less for its users): there is one copy of it, and the other objects go on. That is told; nobody
 * gets its slot, and its component, which names the object too, stays. Snapshots are lost with the document of their
 * object: they are of nobody then, so they are not served, told, and kept in the same way.
 *
 * Locks: all under pool->lock, or before and after there is a second thread (load, create, unload). Keys of dedup
 * domains stay in the arena until the catalog is unloaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "engine/group/item.h"
#include "engine/group/patience.h"
#include "engine/group/view.h"
#include "engine/pool/name.h"
#include "engine/pool/object_table.h"

#define LOAD_SLOTS 256 /* looked up and read together */
_Static_assert(FINGERPRINT_SECRET_BYTES == FINGERPRINT_SECRET_SIZE, "a derived secret fits");

/* ---- keys of dedup domains ----------------------------------------------------------------------------------------
 */

struct domain_key {
    struct domain_key *next;
    struct uuid domain;
    struct fingerprint_key key;
};

/* NULL where memory or derivation fails. */
static const struct fingerprint_key *domain_key_get(struct pool *pool, struct uuid domain)
{
    struct domain_key *known = pool->domain_keys;
    while (known != NULL && !uuid_equal(known->domain, domain))
        known = known->next;
    if (known != NULL)
        return &known->key;
    known = arena_allocate(sizeof *known);
    if (known == NULL)
        return NULL;
    known->domain = domain;
    known->key.kind = pool->conf->fingerprint == POOL_FINGERPRINT_XXH3 ? FINGERPRINT_XXH3 : FINGERPRINT_HMAC_SHA256;
    if (fingerprint_secret_derive(k_pools_first(pool->k_pools), domain, known->key.secret) != ERROR_NONE) {
        arena_free(known);
        return NULL;
    }
    known->next = pool->domain_keys;
    pool->domain_keys = known;
    return &known->key;
}

/* ---- objects and their documents ------------------------------------------------------------------------------------
 */

const char *object_text(const struct object *object, char text[VERSION_NAME_MAX + 1])
{
    bool of_object = object_is_snapshot(object) && object->origin != NULL;
    snprintf(text, VERSION_NAME_MAX + 1, "%s%s%s", of_object ? object->origin->name : "", of_object ? "@" : "",
             object->name);
    return text;
}

void object_describe(struct pool *pool, const struct object *object, struct object_document *document)
{
    enum object_state dead = object->deleting ? OBJECT_DELETING : OBJECT_TRASHED;
    bool lives = !object->deleting && object->deleted == 0;
    *document = (struct object_document){
        .uuid = object->uuid,
        .domain = object->domain,
        .group = pool->conf->groups[0].id,
        .origin = object->origin_uuid,
        .hold = object->hold,
        .locked_until = object->locked_until,
        .identity = object->identity,
        .import_stream = object->import_stream,
        .import_position = object->import_position,
        .size = atomic_load(&object->size),
        .cut = object->cut,
        .reserve = object->reserve,
        .created = object->created,
        .deleted = object->deleted,
        .state = lives ? OBJECT_LIVE : dead,
        .component = object->component,
    };
    memcpy(document->name, object->name, sizeof document->name);
    if (object->hosts != NULL)
        memcpy(document->hosts, object->hosts, strlen(object->hosts));
}

void object_adopt(struct pool *pool, struct object *object, const struct object_document *document)
{
    bool renamed = strcmp(object->name, document->name) != 0;
    if (renamed) {
        object_table_unname(pool->table, object);
        memcpy(object->name, document->name, sizeof object->name);
        object_table_name(pool->table, object);
    }
    object->deleted = document->deleted;
    object->deleting = document->state == OBJECT_DELETING;
    object->hold = document->hold;
    object->locked_until = document->locked_until;
    object->import_stream = document->import_stream;
    object->import_position = document->import_position;
    object->cut = document->cut;
    bool reserves = object->reserve != document->reserve || (object->reserve && object->size != document->size);
    atomic_store(&object->size, document->size);
    object->revision++;
    object->reserve = document->reserve;
    if (reserves)
        reserve_apply(pool, object);
}

enum error catalog_enter(struct pool *pool, uint64_t slot, const struct object_document *document)
{
    struct object *object = memory_zeroed(1, sizeof *object);
    const struct fingerprint_key *key = domain_key_get(pool, document->domain);
    AUTO_FREE char *hosts = document->hosts[0] == '\0' ? NULL : strdup(document->hosts);
    if (object == NULL || key == NULL || (document->hosts[0] != '\0' && hosts == NULL) ||
        object_table_reserve(pool->table, slot) != ERROR_NONE) {
        free(object);
        return ERROR_NO_MEMORY;
    }
    object->hosts = hosts;
    hosts = NULL;
    object->origin_uuid = document->origin;
    object->hold = document->hold;
    object->locked_until = document->locked_until;
    object->identity = document->identity;
    object->import_stream = document->import_stream;
    object->import_position = document->import_position;
    object->slot = slot;
    object->uuid = document->uuid;
    object->domain = document->domain;
    atomic_init(&object->component, document->component);
    object->created = document->created;
    object->deleted = document->deleted;
    object->deleting = document->state == OBJECT_DELETING;
    object->cut = document->cut;
    object->key = key;
    memcpy(object->name, document->name, sizeof object->name);
    atomic_init(&object->size, document->size);
    /* A creation that a crash cut short is taken back. */
    if (document->state == OBJECT_CREATING) {
        object->deleting = true;
        object->deleted = document->created;
    }
    object->reservation.component = &object->component;
    object->reserve = document->reserve;
    if (object->reserve)
        reserve_apply(pool, object);
    object_table_add(pool, object);
    struct object *origin = object_is_snapshot(object) ? object_table_uuid(pool->table, document->origin) : NULL;
    if (origin != NULL)
        object_table_link(object, origin);
    return ERROR_NONE;
}

void catalog_leave(struct pool *pool, struct object *object)
{
    object->reserve = 0;
    if (object->reservation.blocks)
        reserve_apply(pool, object);
    object_table_remove(pool, object);
    free(object->hosts);
    free(object);
}

/* NAME@SNAPSHOT, where NAME may be a UUID. */
static struct object *snapshot_find_by_text(struct pool *pool, const char *name, const char *at)
{
    char own[OBJECT_NAME_MAX + 1];
    size_t length = (size_t)(at - name);
    if (length > OBJECT_NAME_MAX)
        return NULL;
    memcpy(own, name, length);
    own[length] = '\0';
    const struct object *object = catalog_find(pool, own);
    return object != NULL ? object_table_snapshot(pool->table, object, at + 1) : NULL;
}

struct object *catalog_find(struct pool *pool, const char *name)
{
    struct uuid uuid;
    struct object *object = NULL;
    const char *at = strchr(name, '@'); /* which no name holds */
    if (at != NULL)
        return snapshot_find_by_text(pool, name, at);
    if (uuid_parse(name, &uuid) == ERROR_NONE)
        object = object_table_uuid(pool->table, uuid);
    if (object == NULL)
        object = object_table_living(pool->table, name);
    return object != NULL ? object : object_table_dead(pool->table, name);
}

/* ---- storing -------------------------------------------------------------------------------------------------------
 */

enum error catalog_store(struct pool *pool, uint64_t slot, const struct object_document *document)
{
    AUTO_FREE void *bytes = NULL;
    size_t size;
    TRY(object_document_encode(document, &bytes, &size));
    return catalog_commit(pool, slot, bytes, size, NULL, 0);
}

enum error catalog_remove(struct pool *pool, struct object *object)
{
    struct component_change change = {
        .id = object->component,
        .object = object_is_snapshot(object) ? object->origin_uuid : object->uuid,
        .domain = object->domain,
        .state = COMPONENT_DELETED,
    };
    TRY(catalog_commit(pool, object->slot, "", 0, &change, 1));
    catalog_leave(pool, object);
    return ERROR_NONE;
}

/* ---- a new catalog --------------------------------------------------------------------------------------------------
 */

/* The directory's own name, where an object could have it. */
static const char *name_of_pool(const struct pool *pool)
{
    const char *slash = strrchr(pool->directory, '/');
    const char *name = slash != NULL ? slash + 1 : pool->directory;
    return object_name_check(name) == ERROR_NONE ? name : "pool";
}

static enum error table_make(struct pool *pool)
{
    ASSERT(pool->table == NULL && pool->objects == NULL);
    return object_table_create(&pool->table);
}

enum error catalog_create(struct pool *pool)
{
    struct pool_document document = {.pool = pool->conf->pool, .created = clock_seconds()};
    struct component_change change = {.id = COMPONENT_CATALOG, .object = pool->conf->pool, .state = COMPONENT_LIVE};
    const char *name = name_of_pool(pool);
    AUTO_FREE void *bytes = NULL;
    size_t size;
    memcpy(document.name, name, strlen(name) + 1);
    TRY(pool_document_encode(&document, &bytes, &size));
    TRY(catalog_commit(pool, 0, bytes, size, &change, 1));
    pool->created = document.created;
    pool->slots_end = 1;
    return pool->table != NULL ? ERROR_NONE : table_make(pool);
}

/* ---- loading
 * --------------------------------------------------------------------------------------------------------- */

/* First blocks of neighbouring slots. */
struct slots {
    uint64_t first;
    size_t count;
    bool used[LOAD_SLOTS];
    uint8_t (*blocks)[CHUNK_SIZE];
};

static enum error slot_damaged(enum error error, uint64_t slot)
{
    return error_prefix(error, "the catalog's slot %llu", (unsigned long long)slot);
}

/* What is stored there is gone; other errors are not of the slot. */
static bool is_lost(enum error error)
{
    return error == ERROR_CORRUPT || error == ERROR_NOT_FOUND;
}

static enum error slot_lose(struct pool *pool, uint64_t slot, enum error error)
{
    if (!is_lost(error))
        return slot_damaged(error, slot);
    TRY(object_table_reserve(pool->table, slot));
    object_table_lose(pool->table, slot);
    message(MESSAGE_ERROR, "the catalog's slot %llu cannot be read: %s; %s", (unsigned long long)slot,
            error_sentence(error),
            slot ? "an object is not served and has no name, its data is untouched" : "nothing else is lost with it");
    return ERROR_NONE;
}

static enum error slots_read_some(struct pool *pool, struct slots *slots, size_t begin, size_t end)
{
    uint64_t blocks[LOAD_SLOTS];
    struct map_entry entries[LOAD_SLOTS];
    struct chunk_read reads[LOAD_SLOTS];
    struct view *view;
    size_t count = 0;
    for (size_t i = begin; i < end; i++)
        blocks[i - begin] = (slots->first + i) * OBJECT_SLOT_BLOCKS;
    TRY(view_lookup(pool->group, COMPONENT_CATALOG, blocks, entries, end - begin, &view));
    for (size_t i = begin; i < end; i++) {
        slots->used[i] = !entry_is_hole(entries[i - begin]);
        if (slots->used[i])
            reads[count++] = (struct chunk_read){.entry = entries[i - begin], .out = slots->blocks[i]};
    }
    enum error error = chunks_read(pool->group, reads, count);
    view_put(pool->group, view);
    return error;
}

struct slot_read {
    struct pool *pool;
    struct slots *slots;
    size_t index;
};

static enum error slot_attempt(struct group *group, void *context)
{
    const struct slot_read *read = context;
    (void)group;
    return slots_read_some(read->pool, read->slots, read->index, read->index + 1);
}

/* Where something cannot be read, the slots are read one by one. */
static enum error slots_read(struct pool *pool, struct slots *slots)
{
    if (slots_read_some(pool, slots, 0, slots->count) == ERROR_NONE)
        return ERROR_NONE;
    for (size_t i = 0; i < slots->count; i++) {
        struct slot_read read = {pool, slots, i};
        enum error error = read_patiently(pool->group, &(struct attempt){slot_attempt, &read}, &pool->table->waited);
        if (error)
            TRY(slot_lose(pool, slots->first + i, error));
    }
    return ERROR_NONE;
}

/* "NAME (slot N)", from the second try on "NAME (slot N, TRY)". */
static void name_compose(const char *name, uint64_t slot, unsigned try, char made[OBJECT_NAME_MAX + 1])
{
    char behind[48], times[16] = "";
    if (try > 1)
        snprintf(times, sizeof(times), ", %u", try);
    int size = snprintf(behind, sizeof(behind), " (slot %llu%s)", (unsigned long long)slot, times);
    size_t kept = strnlen(name, OBJECT_NAME_MAX - (size_t)size);
    while (kept > 0 && ((unsigned char)name[kept] & 0xc0) == 0x80) /* within a character */
        kept--;
    snprintf(made, OBJECT_NAME_MAX + 1, "%.*s%s", (int)kept, name, behind);
}

/* `origin`: the object, of a snapshot's name; else NULL. */
static bool name_is_taken(const struct pool *pool, const struct object *origin, const char *name)
{
    return (origin != NULL ? object_table_snapshot(pool->table, origin, name) : object_table_living(pool->table, name)) != NULL;
}

static void name_make(const struct pool *pool, const struct object *origin, const char *name, uint64_t slot,
                      char made[OBJECT_NAME_MAX + 1])
{
    for (unsigned try = 1; try == 1 || name_is_taken(pool, origin, made); try++)
        name_compose(name, slot, try, made);
}

/* A document that could not be read for a while may come back when its name belongs to another: it is served, under a
 * name made of its own and its slot, until a person renames it. That name may be taken too, but not as many as there
 * can be objects. What is stored stays as it is. */
static void name_make_unique(const struct pool *pool, uint64_t slot, struct object_document *document)
{
    char made[OBJECT_NAME_MAX + 1];
    const struct object *other = object_table_living(pool->table, document->name);
    if (document->state != OBJECT_LIVE || !uuid_is_zero(document->origin) || other == NULL ||
        other->component == document->component)
        return; /* two that share their data are no such case */
    name_make(pool, NULL, document->name, slot, made);
    message(MESSAGE_WARNING,
            "there are two objects named '%s': the one in the catalog's slot %llu is served as '%s'; "
            "give it another name (coffer object rename)",
            document->name, (unsigned long long)slot, made);
    memcpy(document->name, made, sizeof(made));
}

static enum error object_check(struct pool *pool, const struct object_document *document)
{
    bool lives = document->state == OBJECT_LIVE && uuid_is_zero(document->origin);
    if (!uuid_equal(document->group, pool->conf->groups[0].id))
        return error_explain(ERROR_CORRUPT, "'%s' lies on a group that this pool does not have", document->name);
    if (object_table_uuid(pool->table, document->uuid) != NULL)
        return error_explain(ERROR_CORRUPT, "'%s' has the UUID of another object", document->name);
    if (lives && object_table_living(pool->table, document->name) != NULL)
        return error_explain(ERROR_CORRUPT, "there are two objects named '%s'", document->name);
    return ERROR_NONE;
}

static enum error document_load(struct pool *pool, uint64_t slot, const uint8_t *bytes, size_t size)
{
    if (slot == 0) {
        struct pool_document document;
        TRY(pool_document_decode(bytes, size, &document));
        bool own = uuid_equal(document.pool, pool->conf->pool);
        pool->created = document.created;
        return own ? ERROR_NONE : error_explain(ERROR_FOREIGN, "it describes another pool");
    }
    struct object_document document;
    TRY(object_document_decode(bytes, size, &document));
    name_make_unique(pool, slot, &document);
    TRY(object_check(pool, &document));
    return catalog_enter(pool, slot, &document);
}

struct document_read {
    struct pool *pool;
    uint64_t first;
    size_t blocks;
    uint8_t *bytes;
};

static enum error document_attempt(struct group *group, void *context)
{
    const struct document_read *read = context;
    (void)group;
    return component_read(read->pool, COMPONENT_CATALOG, read->first, read->blocks, read->bytes);
}

static enum error slot_load(struct pool *pool, uint64_t slot, const uint8_t *first_block)
{
    size_t size;
    TRY(document_size(first_block, CHUNK_SIZE, &size));
    if (size <= CHUNK_SIZE)
        return document_load(pool, slot, first_block, CHUNK_SIZE);
    size_t blocks = (size + CHUNK_SIZE - 1) / CHUNK_SIZE;
    AUTO_FREE uint8_t *bytes = malloc(blocks * CHUNK_SIZE);
    if (bytes == NULL)
        return ERROR_NO_MEMORY;
    struct document_read read = {pool, slot * OBJECT_SLOT_BLOCKS, blocks, bytes};
    enum error error = read_patiently(pool->group, &(struct attempt){document_attempt, &read}, &pool->table->waited);
    if (error)
        return slot_lose(pool, slot, error);
    return document_load(pool, slot, bytes, blocks * CHUNK_SIZE);
}

static enum error slots_load(struct pool *pool, struct slots *slots)
{
    TRY(slots_read(pool, slots));
    for (size_t i = 0; i < slots->count; i++) {
        uint64_t slot = slots->first + i;
        enum error error = ERROR_NONE;
        if (object_table_is_lost(pool->table, slot))
            continue;
        if (slots->used[i])
            error = slot_load(pool, slot, slots->blocks[i]);
        else if (slot == 0)
            error = error_explain(ERROR_CORRUPT, "the description of the pool is missing");
        if (error)
            return slot_damaged(error, slot);
    }
    return ERROR_NONE;
}

/* A snapshot whose object was read after it, or not at all. */
static enum error snapshot_load(struct pool *pool, struct object *snapshot)
{
    struct object *origin = object_table_uuid(pool->table, snapshot->origin_uuid);
    uint64_t slot = snapshot->slot;
    if (origin != NULL && object_is_snapshot(origin))
        return slot_damaged(error_explain(ERROR_CORRUPT, "it is a snapshot of a snapshot"), slot);
    if (origin != NULL) {
        object_table_link(snapshot, origin);
        return ERROR_NONE;
    }
    message(MESSAGE_ERROR,
            "the catalog's slot %llu: the object of the snapshot '%s' is not known: it is not served, its data is "
            "untouched",
            (unsigned long long)slot, snapshot->name);
    catalog_leave(pool, snapshot);
    object_table_lose(pool->table, slot);
    return ERROR_NONE;
}

/* A snapshot's document may come back like an object's (name_make_unique()). Once the objects of all are known, the one of
 * the two that is in the higher slot gets another name. */
static void snapshot_name_make_unique(struct pool *pool, struct object *snapshot)
{
    char made[OBJECT_NAME_MAX + 1];
    if (snapshot->deleting)
        return;
    object_table_unname(pool->table, snapshot);
    if (name_is_taken(pool, snapshot->origin, snapshot->name)) {
        name_make(pool, snapshot->origin, snapshot->name, snapshot->slot, made);
        message(MESSAGE_WARNING,
                "there are two snapshots named '%s@%s': the one in the catalog's slot %llu is served as '%s@%s'; "
                "look at both, and delete one (coffer object delete)",
                snapshot->origin->name, snapshot->name, (unsigned long long)snapshot->slot, snapshot->origin->name, made);
        memcpy(snapshot->name, made, sizeof made);
    }
    object_table_name(pool->table, snapshot);
}

/* Slots of snapshots may lie before those of their objects. */
static enum error snapshots_load(struct pool *pool)
{
    for (struct object *object = pool->objects, *next; object != NULL; object = next) {
        next = object->next;
        if (object_is_snapshot(object) && (object->origin == NULL || object_is_snapshot(object->origin)))
            TRY(snapshot_load(pool, object));
    }
    for (struct object *object = pool->objects; object != NULL; object = object->next) /* the highest slot first */
        if (object_is_snapshot(object))
            snapshot_name_make_unique(pool, object);
    return ERROR_NONE;
}

enum error catalog_load(struct pool *pool)
{
    uint64_t end;
    TRY(table_make(pool));
    TRY(view_component_end(pool->group, COMPONENT_CATALOG, &end));
    pool->slots_end = (end + OBJECT_SLOT_BLOCKS - 1) / OBJECT_SLOT_BLOCKS;
    if (pool->slots_end > OBJECT_SLOTS_END)
        return error_explain(ERROR_CORRUPT, "the catalog reaches up to slot %llu; it has %u at most",
                             (unsigned long long)pool->slots_end - 1, OBJECT_SLOTS_END);
    AUTO_FREE void *blocks = malloc((size_t)LOAD_SLOTS * CHUNK_SIZE);
    if (blocks == NULL)
        return ERROR_NO_MEMORY;
    for (uint64_t slot = 0; slot < pool->slots_end; slot += LOAD_SLOTS) {
        struct slots slots = {
            .first = slot, .count = (size_t)MIN(LOAD_SLOTS, pool->slots_end - slot), .blocks = blocks};
        TRY(slots_load(pool, &slots));
    }
    return snapshots_load(pool);
}

void catalog_unload(struct pool *pool)
{
    for (struct object *object = pool->objects, *next; object != NULL; object = next) {
        next = object->next;
        ASSERT(object->open_count == 0);
        free(object->hosts);
        free(object);
    }
    for (struct domain_key *key = pool->domain_keys, *next; key != NULL; key = next) {
        next = key->next;
        arena_free(key);
    }
    object_table_destroy(pool->table);
    pool->objects = NULL;
    pool->domain_keys = NULL;
    pool->table = NULL;
    pool->slots_end = 0;
}
