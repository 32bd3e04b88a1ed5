/*
 * Random bytes from the kernel, asked for anew each time: nothing is kept in the process that a fork or a restored
 * virtual machine could repeat. getrandom(2) without flags fails only by a bug once the kernel's pool is ready.
 */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/error.h"

void random_bytes(void *out, size_t size)
{
    uint8_t *position = out;
    while (size > 0) {
        ssize_t got = getrandom(position, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        ASSERT(got > 0);
        position += got;
        size -= (size_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t number;
    random_bytes(&number, sizeof number);
    return number;
}
