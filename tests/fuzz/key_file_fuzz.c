/* The key file of the native provider: what is taken can be written, and is then taken as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/sealed_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sealed_key once, twice;
    char text[SEALED_KEY_TEXT_MAX];
    size_t text_size;
    if (sealed_key_decode((const char *)data, size, &once) != ERROR_NONE)
        return 0;
    ASSERT(sealed_key_encode(&once, text, &text_size) == ERROR_NONE);
    ASSERT(sealed_key_decode(text, text_size, &twice) == ERROR_NONE);
    ASSERT(once.seal == twice.seal && uuid_equal(once.provider, twice.provider));
    ASSERT(memcmp(&once, &twice, sizeof once) == 0);
    ASSERT(once.tpm.binding.approval_count <= TPM_APPROVALS_MAX);
    ASSERT(once.tpm.public_size <= TPM_PUBLIC_MAX && once.tpm.private_size <= TPM_PRIVATE_MAX);
    return 0;
}
