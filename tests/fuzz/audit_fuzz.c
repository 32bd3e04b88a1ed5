/* Lines of the audit: what is taken is written as the same bytes, and its seal can be made. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/pool/audit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[KEY_SIZE], before[32];
    struct audit_line line;
    uint8_t seal[32];
    char *text = NULL;
    if (audit_line_decode((const char *)data, size, &line) != ERROR_NONE)
        return 0;
    ASSERT(line.entry.number > 0 && strlen(line.entry.operation) < sizeof line.entry.operation &&
           strlen(line.entry.result) < sizeof line.entry.result);
    ASSERT(audit_line_encode(&line, &text) == ERROR_NONE);
    ASSERT(strlen(text) == size + 1 && memcmp(text, data, size) == 0);
    ASSERT(audit_seal(key, before, &line.entry, seal) == ERROR_NONE);
    free(text);
    return 0;
}
