/* OpenSSL's errors as rows of Coffer's table. */
#ifndef COFFER_CRYPTO_OPENSSL_ERROR_H
#define COFFER_CRYPTO_OPENSSL_ERROR_H

#include <stdbool.h>

#include "base/error.h"

#define OPENSSL_REASON_SIZE 256

/* Empties the calling thread's OpenSSL error queue and keeps a sentence about `action` ("derive a key"): NO_MEMORY
 * where OpenSSL ran out of it, else BUG, since nothing that a user or disk supplies reaches OpenSSL unchecked. */
enum error error_from_openssl(const char *action);

/* For files and peers, which OpenSSL itself checks: the reason of what failed last, in words; the queue is emptied. */
void openssl_reason(char reason[OPENSSL_REASON_SIZE]);
/* Whether that is this one; the queue stays. */
bool openssl_reason_is(int library, int reason);

#endif
