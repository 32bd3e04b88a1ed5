/*
 * From conf and secret to the KEK: a provider that the conf names gives KEK(number, salt).
 *
 * The superblock that was found may be input that nobody vouched for. It may make an open refuse, and it supplies number and
 * salt of the KEK; a false number or salt gives a key that verifies nothing. Which of the conf's providers is asked the witness
 * says (opening_key_take()); the superblock can only fail to agree. It never selects an algorithm, and it never turns
 * encryption off: the public KEK is handed out only where conf and witness both say plaintext (SECURITY 3, 4). No state,
 * nothing written.
 */
#include "engine/pool/keys.h"

#include <string.h>

#include "crypto/provider_key.h"
#include "crypto/provider_look.h"
#include "engine/pool/pool.h"
#include "engine/pool/providers.h"

enum error pool_device_check(const struct pool_conf *conf, const struct pool_conf_group *group, size_t index,
                             const struct superblock_probe *probe)
{
    const struct pool_conf_device *device = &group->devices[index];
    const struct superblock *found = superblock_newest(probe);
    ASSERT(found != NULL);
    if (!uuid_equal(found->pool, conf->pool))
        return error_explain(ERROR_FOREIGN, "%s belongs to another pool", device->path);
    if (!uuid_equal(found->group, group->id))
        return error_explain(ERROR_FOREIGN, "%s belongs to another group of this pool, not to %s", device->path,
                             group->name);
    if (!uuid_equal(found->device, device->id))
        return error_explain(ERROR_FOREIGN, "%s is another device of group %s than the conf says there", device->path,
                             group->name);
    if (found->device_index != index || found->device_count != group->device_count)
        return error_explain(ERROR_INVALID,
                             "%s is device %u of %u in group %s, but the conf lists it as %zu of %zu: set their order "
                             "and number right",
                             device->path, found->device_index + 1, found->device_count, group->name, index + 1,
                             group->device_count);
    return ERROR_NONE;
}

static enum error plaintext_check(const struct pool_conf *conf, const struct witness *witness)
{
    if (conf->encryption != POOL_ENCRYPTION_OFF)
        return error_explain(ERROR_FORGED,
                             "a device says that it is not encrypted, but %s/%s says that the pool is: it was replaced",
                             conf->directory, POOL_CONF_NAME);
    if (witness && witness->encryption_floor)
        return error_explain(ERROR_FORGED,
                             "%s/%s says encryption = off, but this pool was encrypted before: the file was changed",
                             conf->directory, POOL_CONF_NAME);
    return ERROR_NONE;
}

static enum error encrypted_check(const struct pool_conf *conf, const struct superblock *found)
{
    char id[UUID_TEXT_SIZE];
    if (conf->encryption == POOL_ENCRYPTION_OFF)
        return error_explain(
            ERROR_INVALID, "%s/%s says encryption = off, but the device is encrypted: set it to on, with its provider",
            conf->directory, POOL_CONF_NAME);
    if (provider_of_id(conf, found->wrapping.provider))
        return ERROR_NONE;
    uuid_format(found->wrapping.provider, id);
    return error_explain(ERROR_FOREIGN,
                         "the device's keys are under the provider of id %s, but %s/%s names no such one (provider = %s is "
                         "another): was its section removed?",
                         id, conf->directory, POOL_CONF_NAME, conf->provider->name);
}

enum error pool_keys_check(const struct pool_conf *conf, const struct witness *witness, const struct superblock *found)
{
    if (!uuid_equal(found->pool, conf->pool))
        return error_explain(ERROR_FOREIGN, "the device belongs to another pool than %s", conf->directory);
    return found->encryption ? encrypted_check(conf, found) : plaintext_check(conf, witness);
}

typedef enum error open_kek(const struct provider_config *config, const struct provider_secret *secret,
                            const struct provider_kek *which, uint8_t kek[KEY_SIZE], enum kek_state *state);

static enum error keys_open(const struct pool_conf *conf, const struct witness *witness, const struct superblock *found,
                            const struct provider_secret *secret, open_kek *open, uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    struct provider_kek which = {conf->pool, found->wrapping.kek_number, found->wrapping.kek_salt};
    TRY(pool_keys_check(conf, witness, found));
    if (found->encryption)
        return open(provider_of_id(conf, found->wrapping.provider), secret, &which, kek, state);
    *state = KEK_ACTIVE;
    memcpy(kek, kek_public, KEY_SIZE);
    return ERROR_NONE;
}

enum error pool_keys_open(const struct pool_conf *conf, const struct witness *witness,
                          const struct superblock *found, const struct provider_secret *secret,
                          uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    return keys_open(conf, witness, found, secret, provider_kek_open, kek, state);
}

enum error pool_keys_open_or_cached(const struct pool_conf *conf, const struct witness *witness,
                                    const struct superblock *found, const struct provider_secret *secret,
                                    uint8_t kek[KEY_SIZE], enum kek_state *state)
{
    return keys_open(conf, witness, found, secret, provider_kek_open_or_cached, kek, state);
}

void pool_kek_answered(struct pool *pool, enum kek_state state)
{
    int cached = KEK_CACHED;
    atomic_compare_exchange_strong(&pool->kek_state, &cached, (int)state);
}

enum error pool_kept_key_outdated(void)
{
    return error_explain(ERROR_WRONG_KEY, "the backup or recovery key is of a key that is in force no more: it takes a newer one, or "
                                          "the key of the provider");
}

/* Of what the KEK was made of: the key that was kept, or else that of the file, which was opened just now. */
static enum error root_kcv_look(const struct provider_config *provider, const uint8_t *kept, uint64_t number, uint8_t kcv[KCV_SIZE])
{
    bool keeps_keks;
    TRY(provider_keeps_keks(provider, &keeps_keks));
    if (keeps_keks)
        return error_explain(ERROR_NOT_FOUND, "provider %s has no root key", provider->name);
    return kept ? kcv_derive(kept, provider->id, kcv) : provider_root_kcv(provider, number, kcv);
}

/* A KEK that has no root, or whose file cannot be looked at right now, is told by itself alone. The root of a KEK never changes, so
 * what is known of the same KEK is kept then. */
enum error pool_kcvs_take(const struct provider_config *provider, const uint8_t *kept, const uint8_t kek[KEY_SIZE],
                          struct witness *witness)
{
    uint8_t kcv[KCV_SIZE], root[KCV_SIZE];
    TRY(kcv_derive(kek, provider->id, kcv));
    bool same = witness->kek_kcv.known && memcmp(kcv, witness->kek_kcv.bytes, KCV_SIZE) == 0;
    bool found = root_kcv_look(provider, kept, witness->kek_number, root) == ERROR_NONE;
    memcpy(witness->kek_kcv.bytes, kcv, KCV_SIZE);
    witness->kek_kcv.known = true;
    witness->root_kcv.known = found || (same && witness->root_kcv.known);
    if (found)
        memcpy(witness->root_kcv.bytes, root, KCV_SIZE);
    else
        error_forget();
    return ERROR_NONE;
}
