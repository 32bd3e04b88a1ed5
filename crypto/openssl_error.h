/* OpenSSL's errors as rows of Coffer's table. */
#ifndef COFFER_CRYPTO_OPENSSL_ERROR_H
#define COFFER_CRYPTO_OPENSSL_ERROR_H

#include "base/error.h"

/* Empties the calling thread's OpenSSL error queue and keeps a sentence about `action` ("derive a key"): NO_MEMORY
 * where OpenSSL ran out of it, else BUG, since nothing that a user or disk supplies reaches OpenSSL unchecked. */
enum error error_from_openssl(const char *action);

#endif
