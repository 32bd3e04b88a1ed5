/*
 * Fuzzes the control socket's requests, from the bytes of a line to the line that answers it. Whatever comes in, there
 * is an answer, it is one line of JSON, and it has either a result or an error.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/methods.h"
#include "tests/unit/control_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *answer)
{
    size_t length = strlen(answer);
    json_t *json = json_loads(answer, 0, NULL);
    ASSERT(strchr(answer, '\n') == answer + length - 1);
    ASSERT((json_object_get(json, "result") == NULL) != (json_object_get(json, "error") == NULL));
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct methods methods = {.pool = fake_create()};
    mutex_init(&methods.trash, RANK_CONTROL);
    fake_add(methods.pool, "a", 8192);
    fake_add(methods.pool, "b", 8192)->deleted = 1;
    char *answer = methods_answer(&methods, ROLE_ALL, (const char *)data, size);
    ASSERT(answer != NULL);
    check(answer);
    free(answer);
    mutex_deinit(&methods.trash);
    fake_destroy(methods.pool);
    return 0;
}
