/*
 * Devices that lost all copies of their superblock.
 *
 * A device is lost where no copy is left that can be read, or none verifies under a KEK that opens its peers. Its
 * superblock and keys then come from a peer's authentic superblock; but that the disk at hand is that device must be
 * proved by the disk: a checkpoint record of it verifies under the K_log just unwrapped, over its pool, group, device
 * and position. So a blank disk, another one or a copy of a peer is never written, whatever the conf says. What it
 * holds is then judged like any other's: the witness knows how old its records may be.
 *
 * Writing it is opening_mend()'s, and a person's decision (`coffer check --repair`): an open alone only says so. A crash
 * leaves the copies lost, or some of them whole. One thread, no locks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/group/superblock_peer.h"
#include "engine/pool/opening.h"

enum error opening_lose(struct opening *opening, size_t i, enum error error)
{
    opening->lost[i].error = error;
    opening->lost[i].sentence = strdup(error_sentence(error));
    return opening->lost[i].sentence ? ERROR_NONE : ERROR_NO_MEMORY;
}

static enum error lost_as_it_was(const struct opening *opening, size_t i)
{
    return error_explain(opening->lost[i].error, "%s", opening->lost[i].sentence);
}

/* What speaks against the device's being the one that the superblock describes. */
static enum error proof_check(const struct opening *opening, size_t i, const struct superblock *superblock,
                              const struct keyring *keyring)
{
    struct device *device = opening->devices[i];
    struct checkpoint checkpoint;
    if (superblock->device_index != i)
        return error_explain(ERROR_INVALID, "it is device %" PRIu32 " of its group, but the conf lists it as %zu",
                             superblock->device_index + 1, i + 1);
    if (superblock->device_size > device->size)
        return error_explain(ERROR_CORRUPT, "it is truncated: %" PRIu64 " bytes of it were used, it has %" PRIu64,
                             superblock->device_size, device->size);
    return checkpoint_read(device, superblock, keyring, &checkpoint);
}

static enum error peer_ask(struct opening *opening, size_t i, size_t peer)
{
    struct superblock superblock;
    struct keyring *keyring;
    TRY(opening_key_take(opening, &opening->superblocks[peer]));
    TRY(superblock_revive(&opening->superblocks[peer], opening->keyrings[peer], opening->conf->devices[i].id, opening->key->kek,
                          &superblock, &keyring));
    enum error error = proof_check(opening, i, &superblock, keyring);
    if (error) {
        superblock_forget(&superblock);
        keyring_destroy(keyring);
        return error;
    }
    opening->superblocks[i] = superblock;
    opening->keyrings[i] = keyring;
    opening->copies_bad[i] = SUPERBLOCK_COPIES;
    return ERROR_NONE;
}

static enum error device_revive(struct opening *opening, size_t i)
{
    enum error last = ERROR_NONE;
    size_t peer = 0;
    for (; peer < opening->count; peer++) {
        if (opening->lost[peer].error)
            continue;
        enum error error = peer_ask(opening, i, peer);
        if (!error)
            break;
        last = error;
    }
    if (peer == opening->count && !last)
        return lost_as_it_was(opening, i);
    if (peer == opening->count)
        return error_explain(opening->lost[i].error, "%s; nor can its superblock be made again: %s",
                             opening->lost[i].sentence, error_sentence(last));
    if (opening->repairs)
        return ERROR_NONE;
    return error_explain(opening->lost[i].error,
                         "%s; it is the right device all the same, its checkpoint records prove it, and %s holds its "
                         "keys: `%s check --repair` writes its superblock anew",
                         opening->lost[i].sentence, opening->devices[peer]->path, opening->pool->command);
}

enum error opening_revive(struct opening *opening)
{
    for (size_t i = 0; i < opening->count; i++)
        if (opening->lost[i].error)
            TRY(device_revive(opening, i));
    return ERROR_NONE;
}
