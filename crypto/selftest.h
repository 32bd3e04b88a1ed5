/* Known answers at start-up: whether this machine's and this OpenSSL's algorithms are the ones that the disks need. */
#ifndef COFFER_CRYPTO_SELFTEST_H
#define COFFER_CRYPTO_SELFTEST_H

#include "base/error.h"

/* XTS, GMAC, KWP, KBKDF and HMAC, well under a millisecond once OpenSSL is up. Run after arena_start() and before the
 * first key is used; ERROR_BUG names the algorithm that failed. */
enum error crypto_selftest(void) CHECKED;

#endif
