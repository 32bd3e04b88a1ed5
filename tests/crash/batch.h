/*
 * One batch of requests, each with the versions that it makes. The model hears of a request before the engine has it,
 * and of its answer as soon as there is one.
 */
#ifndef COFFER_TESTS_CRASH_BATCH_H
#define COFFER_TESTS_CRASH_BATCH_H

#include "tests/crash/session.h"

struct operation {
    struct request *request;
    struct cell *cells; /* neighbours */
    size_t count;
    uint64_t grain;          /* bytes of a cell */
    uint64_t offset;         /* of the first cell, in the volume */
    unsigned char *contents; /* of the cells, as their owner knows them; NULL: nobody owns them */
    bool *unknown;           /* of the same: which the owner does not know, since a write to them failed */
    uint64_t began;          /* of a flush */
    unsigned answers;
    struct version *versions[STRIPE_BLOCKS + 1];
};

struct batch {
    struct session *session;
    size_t count;
    uint64_t bytes, moment; /* when it began: a session_moment */
    struct request requests[BATCH_REQUESTS_MAX];
    struct operation operations[BATCH_REQUESTS_MAX];
};

/* The next operation, empty; NULL where a batch must not have more than it has. */
struct operation *batch_add(struct batch *batch, uint64_t bytes);
/* Tells the model what the operation, whose contents are filled in, is about to do. */
void operation_prepare(struct operation *operation, struct session *session, const void *contents);
bool operation_has_room(const struct operation *operation, struct session *session);
void batch_add_flush(struct batch *batch);

/* Reads a cell of which nobody knows what a failed write left; false where it cannot be read either. */
bool cell_learn(struct session *session, struct volume *volume, const struct cell *cell, uint64_t offset,
                unsigned char *content, uint64_t grain);

/* Runs the batch and empties it. What had no room, or failed, is read again, to learn how much of it happened. True
 * where all of it was done. */
bool batch_run(struct batch *batch, struct volume *volume);

#endif
