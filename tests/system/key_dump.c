/*
 * Prints every key of a pool that nobody serves, for the test that looks for them where they must not be: a name and
 * hexadecimal digits a line. Only its tests have such a program; it needs what the daemon needs to open the pool.
 *
 *     key_dump DIR [- <PASSPHRASE]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"
#include "crypto/provider.h"
#include "engine/device/device.h"
#include "engine/group/format.h"
#include "engine/group/superblock.h"
#include "engine/pool/conf.h"

static void succeed(enum error error)
{
    if (error == ERROR_NONE)
        return;
    fprintf(stderr, "key_dump: %s\n", error_sentence(error));
    exit(1);
}

static void print_key(const char *name, const uint8_t *key, size_t size)
{
    printf("%s ", name);
    for (size_t i = 0; i < size; i++)
        printf("%02x", key[i]);
    putchar('\n');
}

static void print_segment(const struct segment_format *header, struct uuid device, const struct keyring *keyring)
{
    const uint8_t *dek = keyring_find(keyring, KEY_KIND_DEK, le32_get(header->key_slot));
    const uint8_t *k_log = keyring_find(keyring, KEY_KIND_LOG, header->log_key);
    uint8_t xts[XTS_KEY_SIZE], tag[KEY_SIZE];
    if (memcmp(header->magic, SEGMENT_MAGIC, sizeof(header->magic)) != 0 || dek == NULL || k_log == NULL)
        return;
    succeed(segment_xts_key_derive(dek, device, le64_get(header->serial), le64_get(header->salt), xts));
    succeed(segment_tag_key_derive(k_log, device, le64_get(header->serial), le64_get(header->birth_salt), tag));
    print_key("segment-first-half", xts, KEY_SIZE);
    print_key("segment-second-half", xts + KEY_SIZE, KEY_SIZE);
    print_key("segment-tag", tag, sizeof(tag));
}

static void print_segments(struct device *device, const struct superblock *superblock, const struct keyring *keyring)
{
    struct segment_format *header = memory_aligned(BLOCK_SIZE);
    ASSERT(header != NULL);
    for (uint64_t slot = 0; slot < superblock->slot_count; slot++) {
        succeed(device_read(device, AREA_SIZE + (slot << superblock->segment_shift), header, BLOCK_SIZE));
        print_segment(header, superblock->device, keyring);
    }
    free(header);
}

static void print_keyring(const struct keyring *keyring)
{
    static const char *const names[] = {"?", "dek", "log", "pool"};
    for (size_t i = 0; i < keyring->count; i++)
        print_key(names[keyring->slots[i].kind], keyring->slots[i].key, KEY_SIZE);
}

static void print_device(const struct pool_conf *conf, const char *path, const struct provider_secret *secret)
{
    enum kek_state state;
    struct device *device;
    struct superblock_probe probe;
    struct superblock superblock;
    struct keyring *keyring;
    uint8_t kek[KEY_SIZE], wrap[KEY_SIZE], super[KEY_SIZE];
    unsigned bad;
    succeed(device_open_file(path, DEVICE_OPEN_READ_ONLY, &device));
    succeed(superblock_probe(device, &probe));
    const struct superblock *found = superblock_newest(&probe);
    ASSERT(found != NULL);
    struct provider_kek which = {conf->pool, found->wrapping.kek_number, found->wrapping.kek_salt};
    succeed(provider_kek_open(conf->provider, secret, &which, kek, &state));
    succeed(superblock_open(device, &probe, kek, &superblock, &keyring, &bad));
    succeed(wrap_key_derive(kek, conf->pool, superblock.device, wrap));
    succeed(superblock_key_derive(kek, conf->pool, superblock.device, super));
    print_key("kek", kek, sizeof(kek));
    print_key("wrap", wrap, sizeof(wrap));
    print_key("superblock", super, sizeof(super));
    print_keyring(keyring);
    print_segments(device, &superblock, keyring);
    keyring_destroy(keyring);
    superblock_forget(&superblock);
    device_close(device);
}

/* From standard input: who looks at what `ps` shows must not find it there. */
static struct provider_secret secret_take(bool given)
{
    static char line[1024];
    if (!given || fgets(line, sizeof line, stdin) == NULL)
        return (struct provider_secret){NULL, 0};
    return (struct provider_secret){line, strcspn(line, "\n")};
}

int main(int count, char **arguments)
{
    struct pool_conf *conf;
    const struct provider_ops *operations;
    uint8_t kdk[KEY_SIZE];
    succeed(arena_start());
    if (count < 2)
        return 2;
    struct provider_secret secret = secret_take(count > 2);
    succeed(pool_conf_read(arguments[1], &conf));
    succeed(provider_find(conf->provider, &operations));
    if (operations->open != NULL) { /* else there is no KDK */
        succeed(operations->open(conf->provider, &secret, kdk));
        print_key("kdk", kdk, sizeof(kdk));
    }
    for (size_t g = 0; g < conf->group_count; g++)
        for (size_t d = 0; d < conf->groups[g].device_count; d++)
            print_device(conf, conf->groups[g].devices[d].path, &secret);
    pool_conf_destroy(conf);
    return 0;
}
