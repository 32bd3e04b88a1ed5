/*
 * The number of the KEK, for who tests a provider without opening the pool. The witness is replaced atomically, so a
 * reader finds one whole; it only tells what to ask for. No locks, nothing written.
 */
#include "engine/pool/kek_number.h"

#include "engine/pool/witness.h"

enum error pool_kek_number(const struct pool_conf *conf, const struct provider_config *provider, uint64_t *number)
{
    struct witness *witness;
    enum error error = witness_load(conf->directory, conf->pool, &witness);
    if (error != ERROR_NONE && error != ERROR_NOT_FOUND)
        return error;
    *number = 1;
    if (error == ERROR_NOT_FOUND)
        return ERROR_NONE;
    if (uuid_equal(witness->provider, provider->id))
        *number = witness->kek_number;
    witness_destroy(witness);
    return ERROR_NONE;
}
