/*
 * The KEK that tells what is authentic, and which is the one in force where a change of keys was cut short (rekey.c).
 *
 * The witness names it. Where that is lost, or is an older one, or disks were rolled back, all of which a person has accepted,
 * the devices have to say: one is under a key alone only before the change began or behind its commit, and what is under two
 * has what either needs. So the newest key that a device is under alone is in force, and a device that is under another
 * alone was rolled back by itself. opening_mend() then brings all devices under that one alone: else they could not be told from
 * rolled back ones at the next start, and no further change could open them all by one key.
 *
 * Before superblocks are authenticated what they say only picks which of two keys is tried first. Nothing is written here. One
 * thread, no locks.
 */
#include <inttypes.h>
#include <string.h>

#include "base/message.h"
#include "engine/pool/keys.h"
#include "engine/pool/opening.h"

static bool is_same(const struct wrapping *one, const struct wrapping *other)
{
    return uuid_equal(one->provider, other->provider) && one->kek_number == other->kek_number;
}

static bool is_alone_under(const struct superblock *superblock, const struct wrapping *wrapping)
{
    return superblock->encryption && uuid_is_zero(superblock->other.provider) && is_same(&superblock->wrapping, wrapping);
}

static bool is_witnessed(const struct witness *witness, const struct wrapping *wrapping)
{
    return witness && uuid_equal(witness->provider, wrapping->provider) && witness->kek_number == wrapping->kek_number;
}

/* A provider that the witness does not name is not asked: it may be gone, and a superblock that is under its key is an old one,
 * or was replaced. Without a provider in it the witness is one of a plaintext pool, and judged later. */
static enum error provider_check(const struct pool *pool, const struct superblock *asked)
{
    struct witness *witness = pool->witness;
    if (!witness || uuid_is_zero(witness->provider) || pool->options.accept_rollback ||
        uuid_equal(witness->provider, asked->wrapping.provider))
        return ERROR_NONE;
    return witness_key_check(witness, "the device", asked, false);
}

/* Whether the key is the one that was in force when the witness was saved last; what only a damaged or an old witness says is
 * of no harm: the key is tried all the same. */
static enum error other_check(const struct witness *witness, struct opening_key *key)
{
    uint8_t kcv[KCV_SIZE];
    key->other = false;
    if (!is_witnessed(witness, &key->wrapping) || !witness->kek_kcv.known)
        return ERROR_NONE;
    TRY(kcv_derive(key->kek, key->wrapping.provider, kcv));
    key->other = memcmp(kcv, witness->kek_kcv.bytes, sizeof kcv) != 0;
    return ERROR_NONE;
}

/* During a change of keys two KEKs fit, and the witness names the one in force: the other may be gone, or not be there
 * yet. Where it names neither, or is lost, what the devices say of themselves is good enough to try. */
static bool is_other_in_force(const struct opening *opening, const struct superblock *superblock)
{
    const struct witness *witness = opening->pool->witness;
    if (is_witnessed(witness, &superblock->other) || is_witnessed(witness, &superblock->wrapping))
        return is_witnessed(witness, &superblock->other);
    for (size_t i = 0; i < opening->count && !uuid_is_zero(superblock->other.provider); i++) {
        const struct superblock *peer = superblock_newest(&opening->probes[i]);
        if (peer && is_alone_under(peer, &superblock->other))
            return true;
    }
    return false;
}

enum error opening_key_take(struct opening *opening, const struct superblock *superblock)
{
    struct opening_key *key = opening->key;
    struct pool *pool = opening->pool;
    struct superblock asked = *superblock;
    if (is_other_in_force(opening, superblock))
        asked.wrapping = superblock->other;
    if (key->known && memcmp(&key->wrapping, &asked.wrapping, sizeof key->wrapping) == 0)
        return ERROR_NONE;
    key->known = false;
    key->error = ERROR_NONE;
    key->state = KEK_ACTIVE;
    key->wrapping = asked.wrapping;
    TRY(pool_keys_check(pool->providers, pool->witness, &asked));
    TRY(provider_check(pool, &asked));
    key->error = pool_keys_open_or_cached(pool->providers, pool->witness, &asked, opening->secret, key->kek, &key->state);
    TRY(key->error);
    key->known = true;
    return other_check(pool->witness, key);
}

/* ---- the one in force ----------------------------------------------------------------------------------------------------- */

/* One that was made from a peer says nothing of its own. */
static bool is_alone(const struct opening *opening, size_t i)
{
    const struct superblock *superblock = &opening->superblocks[i];
    return !opening->lost[i].error && is_alone_under(superblock, &superblock->wrapping);
}

static bool is_newer(const struct superblock *one, const struct superblock *other)
{
    if (one->wrapping.kek_number != other->wrapping.kek_number) /* it rises from change to change, whatever the providers */
        return one->wrapping.kek_number > other->wrapping.kek_number;
    return one->epoch > other->epoch;
}

/* Where each is under two the change may not have happened, and what came first is as good. */
const struct superblock *opening_key_newest(const struct opening *opening)
{
    const struct superblock *newest = NULL;
    for (size_t i = 0; i < opening->count; i++)
        if (is_alone(opening, i) && (!newest || is_newer(&opening->superblocks[i], newest)))
            newest = &opening->superblocks[i];
    return newest ? newest : &opening->superblocks[0];
}

/* Of a superblock under two, both of which are known by its keyring, the one in force is its own. */
static bool turn(const struct witness *witness, struct superblock *superblock)
{
    if (is_witnessed(witness, &superblock->other)) {
        struct wrapping own = superblock->other;
        superblock->other = superblock->wrapping;
        superblock->wrapping = own;
    }
    return is_witnessed(witness, &superblock->wrapping);
}

static bool turn_all(struct opening *opening)
{
    bool all = true;
    for (size_t i = 0; i < opening->count; i++)
        all = turn(opening->pool->witness, &opening->superblocks[i]) && all;
    return all;
}

const struct superblock *opening_key_in_force(const struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++)
        if (is_witnessed(opening->pool->witness, &opening->superblocks[i].wrapping))
            return &opening->superblocks[i];
    return NULL;
}

static void tell_other(const struct opening *opening, size_t i)
{
    const struct superblock *superblock = &opening->superblocks[i];
    if (is_witnessed(opening->pool->witness, &superblock->wrapping))
        return;
    message(MESSAGE_WARNING, "%s: its keys are under key %" PRIu64 ", and key %" PRIu64 " is in force: accepted as asked for",
            opening->conf->devices[i].path, superblock->wrapping.kek_number, opening->pool->witness->kek_number);
}

static enum error disagreement_end(struct opening *opening)
{
    const struct superblock *newest = opening_key_newest(opening);
    TRY(witness_key_check(opening->pool->witness, opening->conf->devices[newest - opening->superblocks].path, newest, true));
    turn_all(opening);
    for (size_t i = 0; i < opening->count; i++)
        tell_other(opening, i);
    return ERROR_NONE;
}

/* Where the witness agrees with every device it stays as it is, whatever else is accepted. What it then learns of the key in
 * force is of the one at hand, which is that. */
enum error opening_key_accept(struct opening *opening)
{
    if (!opening->superblocks[0].encryption)
        return ERROR_NONE;
    if (!turn_all(opening))
        TRY(disagreement_end(opening));
    return opening_key_take(opening, opening_key_in_force(opening));
}
