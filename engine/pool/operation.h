/*
 * One operation upon versions of objects in the making: documents, components and objects that go over to other
 * components, all of which are one commit in one append. Steps and parts run under pool->lock.
 */
#ifndef COFFER_ENGINE_POOL_OPERATION_H
#define COFFER_ENGINE_POOL_OPERATION_H

#include "engine/pool/pool.h"

struct operation {
    struct pool *pool;
    struct catalog_document documents[CATALOG_DOCUMENTS_MAX];
    size_t document_count;
    struct component_change changes[SNAPSHOT_OBJECTS_MAX + 1];
    size_t change_count;
    struct component_move moves[SNAPSHOT_OBJECTS_MAX];
    size_t move_count;
    struct object *entered[SNAPSHOT_OBJECTS_MAX + 1]; /* in memory, to be taken back where it fails */
    size_t entered_count;
    struct object *renewed[SNAPSHOT_OBJECTS_MAX]; /* what they have reserved is held once more */
    size_t renewed_count;
    bool frees;    /* on the whole: it goes on in a full pool */
    bool no_room;  /* what it failed for */
};

_Static_assert(2 * SNAPSHOT_OBJECTS_MAX <= CATALOG_DOCUMENTS_MAX, "a document of each object and of each snapshot");

typedef enum error operation_steps(struct operation *operation, void *context);

/* Runs the steps of an operation under pool->lock, where objects may be changed; waits for a merge before, where links
 * lead too deep. What they entered, and hold, is taken back where they fail. Where the commit finds no room, that is
 * waited for without the lock, and the steps are run once more, from the beginning. */
enum error operation_run(struct pool *pool, operation_steps *steps, void *context) CHECKED;
/* A document in the slot of an object that exists. */
enum error operation_document(struct operation *operation, uint64_t slot, const struct object_document *document) CHECKED;
/* A document of something new; what it reserves is held. */
enum error operation_enter(struct operation *operation, const struct object_document *document) CHECKED;
/* What the object has reserved is held once more, as if it stored nothing (reserve_renew). */
enum error operation_renew(struct operation *operation, struct object *object) CHECKED;
/* A component of that object which begins as `base`; 0: empty. */
void operation_heir(struct operation *operation, const struct object_document *document, uint64_t base);
/* The object goes over to the component of `moved`, which begins as `base`. */
enum error operation_move(struct operation *operation, struct object *object, const struct object_document *moved,
                          uint64_t base) CHECKED;
enum error operation_commit(struct operation *operation) CHECKED;

/* The document of a snapshot that keeps what the object has now; … of one that is deleted from the beginning. */
struct object_document document_kept(struct pool *pool, const struct object *object, const char *name);
struct object_document document_dropped(struct pool *pool, const struct object *object, const char *name);

/* ERROR_BUSY while what a shrink cut off may still be there, and would come back where the version grows. */
enum error object_check_whole(const struct object *object) CHECKED;

#endif
