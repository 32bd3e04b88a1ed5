/* The thread's buffer, made at its first use, wiped and freed when the thread ends: it held users' plaintext. */
#include "engine/group/scratch.h"

#include <pthread.h>

#include "base/memory.h"

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void scratch_free(void *scratch)
{
    memory_cleanse(scratch, SCRATCH_BYTES);
    free(scratch);
}

static void key_create(void) { ASSERT(pthread_key_create(&key, scratch_free) == 0); }

uint8_t *scratch_get(void)
{
    pthread_once(&once, key_create);
    uint8_t *scratch = pthread_getspecific(key);
    if (!scratch && (scratch = memory_aligned(SCRATCH_BYTES)) && pthread_setspecific(key, scratch) != 0) {
        free(scratch);
        scratch = NULL;
    }
    return scratch;
}
