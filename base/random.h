/* Random bytes for salts and identities: getrandom(2), never a user-space generator that a restored virtual machine
 * would repeat. Key material comes from crypto/. */
#ifndef COFFER_BASE_RANDOM_H
#define COFFER_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t size);
uint64_t random_u64(void);

#endif
