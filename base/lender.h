/*
 * A fixed number of equal objects (large buffers, mostly) that threads borrow for a while: what a stage needs is then
 * bounded by their number, not by the number of threads. An object is made when it is first wanted. Whoever finds none
 * waits, so a borrower must not wait for another borrower of the same lender.
 */
#ifndef COFFER_BASE_LENDER_H
#define COFFER_BASE_LENDER_H

#include <stddef.h>

#include "base/error.h"

#define LENDER_OBJECTS_MAX 64

struct lender;

/* `make` returns NULL when out of memory. */
enum error lender_create(size_t count, void *(*make)(void), void (*destroy)(void *object), struct lender **lender) CHECKED;
/* Nothing is lent any more. NULL is allowed. */
void lender_destroy(struct lender *lender);
/* NULL: out of memory, and nobody else has one to give back. */
void *lender_take(struct lender *lender);
void lender_give(struct lender *lender, void *object);
/* Destroys the objects that nobody holds; they are made anew when wanted. */
void lender_empty(struct lender *lender);

#endif
