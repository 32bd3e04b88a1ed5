/* A stack of objects that nobody holds: the one given back last is lent next, as it is still in the caches. */
#include "base/lender.h"

#include "base/memory.h"
#include "base/thread.h"

struct lender {
    struct mutex mutex;
    struct condition given;
    void *(*make)(void);
    void (*destroy)(void *object);
    size_t count, made, resting;
    void *objects[LENDER_OBJECTS_MAX]; /* `resting` of them */
};

enum error lender_create(size_t count, void *(*make)(void), void (*destroy)(void *object), struct lender **out)
{
    ASSERT(count > 0 && count <= LENDER_OBJECTS_MAX);
    struct lender *lender = memory_zeroed(1, sizeof *lender);
    if (!lender)
        return ERROR_NO_MEMORY;
    mutex_init(&lender->mutex, RANK_LEAF);
    condition_init(&lender->given);
    lender->count = count;
    lender->make = make;
    lender->destroy = destroy;
    *out = lender;
    return ERROR_NONE;
}

void lender_empty(struct lender *lender)
{
    mutex_lock(&lender->mutex);
    while (lender->resting) {
        lender->destroy(lender->objects[--lender->resting]);
        lender->made--;
    }
    condition_broadcast(&lender->given); /* who waits may make one */
    mutex_unlock(&lender->mutex);
}

void lender_destroy(struct lender *lender)
{
    if (!lender)
        return;
    ASSERT(lender->resting == lender->made);
    lender_empty(lender);
    mutex_deinit(&lender->mutex);
    condition_deinit(&lender->given);
    free(lender);
}

void *lender_take(struct lender *lender)
{
    void *object = NULL;
    mutex_lock(&lender->mutex);
    while (lender->resting == 0 && lender->made == lender->count)
        condition_wait(&lender->given, &lender->mutex);
    while (!object) {
        if (lender->resting) {
            object = lender->objects[--lender->resting];
        } else if ((object = lender->make()) != NULL) {
            lender->made++;
        } else if (lender->made == 0) {
            break;
        } else {
            condition_wait(&lender->given, &lender->mutex);
        }
    }
    mutex_unlock(&lender->mutex);
    return object;
}

void lender_give(struct lender *lender, void *object)
{
    mutex_lock(&lender->mutex);
    lender->objects[lender->resting++] = object;
    condition_signal(&lender->given);
    mutex_unlock(&lender->mutex);
}
