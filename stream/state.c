/* Sessions of a reader or writer. Nothing on disk. */
#include "stream/state.h"

#include "base/memory.h"

enum error stream_session_set(struct stream_state *state, uint8_t key[KEY_SIZE])
{
    struct stream_cipher *cipher = NULL;
    enum error error = stream_cipher_create(key, state->header.protection != STREAM_PLAIN, &cipher);
    memory_cleanse(key, KEY_SIZE);
    if (error == ERROR_NONE) {
        stream_cipher_destroy(state->cipher);
        state->cipher = cipher;
    }
    return error;
}
