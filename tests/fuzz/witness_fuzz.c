/* The witness: what is taken can be written, and is then taken as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "engine/pool/witness_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct witness *parse(const void *bytes, size_t size)
{
    struct witness *witness = memory_zeroed(1, sizeof *witness);
    ASSERT(witness != NULL);
    if (witness_text_parse(bytes, size, witness) == ERROR_NONE)
        return witness;
    witness_destroy(witness);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct witness *once = parse(data, size);
    if (once == NULL)
        return 0;
    char *text = NULL, *again = NULL;
    once->key = arena_allocate(KEY_SIZE);
    ASSERT(once->key != NULL && witness_text_compose(once, &text) == ERROR_NONE);
    struct witness *twice = parse(text, strlen(text));
    ASSERT(twice != NULL);
    twice->key = arena_allocate(KEY_SIZE);
    ASSERT(twice->key != NULL && witness_text_compose(twice, &again) == ERROR_NONE);
    ASSERT(strcmp(text, again) == 0);
    free(text);
    free(again);
    witness_destroy(once);
    witness_destroy(twice);
    return 0;
}
