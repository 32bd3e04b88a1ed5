/*
 * What threads keep of keys and contents: contexts of ciphers, of fingerprints, of codecs. A file of its own, so that
 * what stands on the engine's public header alone can be linked without the rest of it. No locks, no state.
 */
#include "crypto/bulk.h"
#include "dedup/fingerprint.h"
#include "dedup/unit.h"
#include "engine/coffer.h"

void pool_thread_end(void)
{
    bulk_thread_end();
    fingerprint_thread_end();
    unit_thread_end();
}
