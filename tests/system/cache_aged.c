/*
 * Fetches the key of a pool from its servers, and caches it in the TPM as of a time that is given, for the tests of caches that
 * are too old, or of another day: the daemon believes no file that somebody made younger.
 *
 *     cache_aged DIR SECONDS_SINCE_1970
 */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/arena.h"
#include "crypto/key_cache.h"
#include "engine/pool/kek_number.h"

static void succeed(enum error error)
{
    if (error == ERROR_NONE)
        return;
    fprintf(stderr, "cache_aged: %s\n", error_sentence(error));
    exit(1);
}

int main(int count, char **arguments)
{
    struct pool_conf *conf;
    struct kek_expected expected;
    enum kek_state state;
    uint8_t kek[KEY_SIZE];
    succeed(arena_start());
    if (count != 3)
        return 2;
    succeed(pool_conf_read(arguments[1], &conf));
    succeed(kek_expect(conf, NULL, &expected));
    struct provider_kek which = {.pool = conf->pool, .number = expected.number};
    succeed(provider_kek_open(expected.provider, NULL, &which, kek, &state));
    succeed(key_cache_store(expected.provider, &which, "1", strtoull(arguments[2], NULL, 10), kek));
    pool_conf_destroy(conf);
    return 0;
}
