/*
 * The MACs of large things are computed once: each open verifies every copy of the superblocks, 256 KiB a device, which
 * are the same bytes almost always. The linker puts this in front of crypto/kdf.c's function (--wrap). What was asked
 * is told apart by 128 bits of its hash, and the table outlives each life. One thread.
 */
#include <string.h>
#include <xxhash.h>

#include "crypto/kdf.h"
#include "tests/sim/world.h"

#define LARGE    4096
#define MACS_MAX 4096

static struct mac {
    XXH128_hash_t asked;
    uint8_t mac[32];
} *macs;

void macs_begin(void)
{
    macs = world_map(MACS_MAX * sizeof(*macs));
}

enum error __real_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]);
enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32]);

enum error __wrap_hmac_sha256(const uint8_t key[KEY_SIZE], const void *data, size_t size, uint8_t mac[32])
{
    if (size < LARGE || macs == NULL)
        return __real_hmac_sha256(key, data, size, mac);
    XXH128_hash_t asked = XXH3_128bits_withSeed(data, size, XXH3_64bits(key, KEY_SIZE));
    struct mac *known = &macs[asked.low64 % MACS_MAX];
    if (!XXH128_isEqual(known->asked, asked)) {
        TRY(__real_hmac_sha256(key, data, size, known->mac));
        known->asked = asked;
    }
    memcpy(mac, known->mac, sizeof(known->mac));
    return ERROR_NONE;
}
