/* In the place of scrypt (tests/fuzz/CMakeLists.txt, WRAP): the real one takes a fifth of a second. How much a header may ask for
 * is checked before it, and demanded here. */
#include <stdint.h>
#include <string.h>

#include "base/memory.h"

int __wrap_EVP_PBE_scrypt(const char *passphrase, size_t passphrase_size, const unsigned char *salt, size_t salt_size,
                          uint64_t n, uint64_t r, uint64_t p, uint64_t memory, unsigned char *key, size_t key_size);

int __wrap_EVP_PBE_scrypt(const char *passphrase, size_t passphrase_size, const unsigned char *salt, size_t salt_size,
                          uint64_t n, uint64_t r, uint64_t p, uint64_t memory, unsigned char *key, size_t key_size)
{
    (void)passphrase, (void)passphrase_size, (void)salt, (void)salt_size, (void)r, (void)p, (void)memory;
    ASSERT(n <= UINT64_C(1) << 22);
    memset(key, 7, key_size);
    return 1;
}
