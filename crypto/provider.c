/*
 * The table of key providers. It is constant and closed: what a conf may name is what was compiled in, and nothing
 * read from a disk reaches it. No locks, no state, nothing on disk.
 */
#include "crypto/provider.h"

#include <string.h>

#include "base/memory.h"
#include "crypto/provider_native.h"

static const struct provider_ops *const providers[] = {&provider_native_file, &provider_native_passphrase};

static bool text_equal(const char *a, const char *b)
{
    return a != NULL && strcmp(a, b) == 0;
}

enum error provider_find(const struct provider_config *config, const struct provider_ops **ops)
{
    for (size_t i = 0; i < COUNT_OF(providers); i++)
        if (text_equal(config->type, providers[i]->type) && text_equal(config->seal, providers[i]->seal)) {
            *ops = providers[i];
            return ERROR_NONE;
        }
    return error_explain(
        ERROR_UNSUPPORTED,
        "provider %s: there is no type = %s with seal = %s; there are native with seal = file and native "
        "with seal = passphrase",
        config->name, config->type == NULL ? "(none)" : config->type, config->seal == NULL ? "(none)" : config->seal);
}
