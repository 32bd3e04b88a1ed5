/*
 * Documents of the catalog: no bytes may crash the decoder, and what it takes must encode to what it takes again. Names that
 * it takes are asked for as new ones, too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "engine/pool/document.h"
#include "engine/pool/name.h"

static void object_check(const void *bytes, size_t size)
{
    struct object_document once, twice;
    void *encoded;
    size_t encoded_size;
    if (object_document_decode(bytes, size, &once) != ERROR_NONE)
        return;
    ASSERT(object_document_encode(&once, &encoded, &encoded_size) == ERROR_NONE);
    ASSERT(object_document_decode(encoded, encoded_size, &twice) == ERROR_NONE);
    ASSERT(strcmp(once.name, twice.name) == 0 && once.size == twice.size && once.state == twice.state &&
           once.reserve == twice.reserve && strcmp(once.hosts, twice.hosts) == 0);
    free(encoded);
    enum error error = object_name_check_new(once.name);
    ASSERT(error == ERROR_NONE || error == ERROR_INVALID);
}

static void pool_check_document(const void *bytes, size_t size)
{
    struct pool_document once, twice;
    void *encoded;
    size_t encoded_size;
    if (pool_document_decode(bytes, size, &once) != ERROR_NONE)
        return;
    ASSERT(pool_document_encode(&once, &encoded, &encoded_size) == ERROR_NONE);
    ASSERT(pool_document_decode(encoded, encoded_size, &twice) == ERROR_NONE);
    ASSERT(uuid_equal(once.pool, twice.pool) && once.created == twice.created && strcmp(once.name, twice.name) == 0);
    free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    object_check(data, size);
    pool_check_document(data, size);
    /* With the length that fits, the fuzzer need not find it. */
    le32 length = le32_make((uint32_t)size);
    uint8_t *framed = malloc(size + sizeof length);
    if (framed == NULL)
        return 0;
    memcpy(framed, &length, sizeof length);
    memcpy(framed + sizeof length, data, size);
    object_check(framed, size + sizeof length);
    pool_check_document(framed, size + sizeof length);
    free(framed);
    return 0;
}
