/*
 * A list of places, in memory only; a crash is harmless. One thread, no locks.
 */
#include "engine/group/evidence.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/order.h"
#include "engine/group/format.h"

void evidence_add(struct evidence *evidence, uint32_t device, uint64_t offset, uint64_t length, const char *what)
{
    uint64_t first = offset / BLOCK_SIZE * BLOCK_SIZE;
    if (!evidence)
        return;
    if (evidence->count == evidence->capacity) {
        size_t capacity = evidence->capacity ? 2 * evidence->capacity : 64;
        struct evidence_piece *grown = realloc(evidence->pieces, capacity * sizeof *grown);
        if (!grown) {
            evidence->incomplete = true;
            return;
        }
        evidence->pieces = grown;
        evidence->capacity = capacity;
    }
    evidence->pieces[evidence->count++] = (struct evidence_piece){
        .what = what,
        .device = device,
        .offset = first,
        .length = (offset + length - first + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE,
    };
}

static int piece_order(const void *a, const void *b)
{
    const struct evidence_piece *x = a, *y = b;
    if (x->device != y->device)
        return order_of(x->device, y->device);
    return x->offset != y->offset ? order_of(x->offset, y->offset) : strcmp(x->what, y->what);
}

void evidence_order(struct evidence *evidence)
{
    size_t kept = 0;
    if (evidence->count)
        qsort(evidence->pieces, evidence->count, sizeof *evidence->pieces, piece_order);
    for (size_t i = 0; i < evidence->count; i++) {
        struct evidence_piece piece = evidence->pieces[i], *last = kept ? &evidence->pieces[kept - 1] : NULL;
        if (!last || last->device != piece.device || last->offset + last->length < piece.offset ||
            strcmp(last->what, piece.what) != 0)
            evidence->pieces[kept++] = piece;
        else
            last->length = MAX(last->length, piece.offset + piece.length - last->offset);
    }
    evidence->count = kept;
}

void evidence_forget(struct evidence *evidence)
{
    free(evidence->pieces);
    *evidence = (struct evidence){0};
}
