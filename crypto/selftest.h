/* Known answers at start-up: whether this machine's and this OpenSSL's algorithms are the ones that the disks need. */
#ifndef COFFER_CRYPTO_SELFTEST_H
#define COFFER_CRYPTO_SELFTEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* XTS, GMAC, KWP, KBKDF and HMAC, well under a millisecond once OpenSSL is up. Run after arena_start() and before the
 * first key is used; ERROR_BUG names the algorithm that failed. */
enum error crypto_selftest(void) CHECKED;
/* The same and scrypt, which takes a twentieth of a second: for a person who asks. */
enum error crypto_selftest_all(void) CHECKED;

/* What Coffer uses for what, and where that is written down. */
struct selftest_row {
    const char *use, *algorithm, *publication;
    bool fips_approved;
    enum error (*run)(void); /* compares known answers; NULL: there is none here */
    bool slow;               /* not at each start */
};
const struct selftest_row *crypto_selftest_rows(size_t *count);

#endif
