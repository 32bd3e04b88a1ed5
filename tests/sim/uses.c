/*
 * What is encrypted and tagged under each key: no block of a segment may be encrypted, and no nonce of a tag used, with
 * two contents, and in an encrypted pool none may stay in the clear. Whoever did would read everything back as it was, so nothing but this finds it.
 * The tag of a unit may be made again, for it may be replaced in its buffer (log_replace.c), once for each replacement and by the
 * same item only, until its block is encrypted to be written: what was made before has been nowhere but in memory.
 *
 * The linker puts these functions in front of crypto/bulk.c's for every other object (--wrap); bulk_tag_check(), which
 * calls its neighbour, is not seen, and need not be. What zeros become under a key tells the tweak that is really used.
 * The table outlives each life, since keys must not come again after a crash either. Where it is full it begins anew.
 * Branches share it: what they encrypt has keys of their own, since salts are drawn when a segment is opened. No locks:
 * a seed is one thread.
 */
#include <string.h>
#include <xxhash.h>

#include "base/memory.h"
#include "crypto/bulk.h"
#include "engine/group/log.h"
#include "tests/sim/appends.h"
#include "tests/sim/world.h"

#define REPLACED_MAX 64 /* of several batches at once; older ones are forgotten, which fails the test */
#define USES_MAX (UINT64_C(1) << 23) /* of which half is used: no seed comes to that, but one of hundreds of lives */

/* A key and a place in one hash, the content in the other; 0: free. */
struct use {
    uint64_t place, content;
};

static struct uses {
    uint64_t count;
    struct use table[USES_MAX];
} * uses;

/* Of the item that is replaced, and is not tagged again yet; a thread of the world fills others in between. */
static struct { uint64_t serial; uint32_t offset; } replaced[REPLACED_MAX];
static unsigned replaced_next;

void uses_begin(void)
{
    uses = world_map(sizeof *uses);
}

static struct use *use_find(uint64_t place)
{
    struct use *use = &uses->table[(place >> 1) % USES_MAX];
    while (use->place != 0 && use->place != place)
        use = use + 1 == uses->table + USES_MAX ? uses->table : use + 1;
    return use;
}

static void use_note(const char *what, uint64_t place, uint64_t content, bool may_change)
{
    if (uses->count > USES_MAX / 2) {
        memset(uses->table, 0, sizeof uses->table);
        uses->count = 0;
    }
    struct use *use = use_find(place);
    if (use->place == place && use->content != content && !may_change)
        fail("%s with two contents under one key", what);
    uses->count += use->place == 0;
    *use = (struct use){place, content};
}

static uint64_t place_of(const uint8_t *key, size_t key_size, const void *place, size_t place_size)
{
    return XXH3_64bits_withSeed(place, place_size, XXH3_64bits(key, key_size)) | 1;
}

/* A block under the key of its tags: once it was encrypted, or handed on in the clear, to be written. */
static uint64_t place_of_written(const struct segment_keys *keys, uint64_t block)
{
    return place_of(keys->tag, sizeof keys->tag, &block, sizeof block);
}

/* Whether the item with this header was replaced since it was tagged last; true once for each time. */
static bool replaced_take(const struct item_format *header)
{
    for (unsigned i = 0; i < REPLACED_MAX; i++)
        if (replaced[i].serial == le40_get(header->serial) && replaced[i].offset == le32_get(header->offset)) {
            replaced[i].serial = 0;
            return true;
        }
    return false;
}

/* `part` begins with the header behind its tag. */
static bool is_replaced_in_memory(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                                  const struct bulk_part *part)
{
    struct tag_nonce_format format;
    struct item_format header;
    memcpy(&format, nonce, sizeof format);
    if (format.kind != ITEM_UNIT)
        return false;
    memcpy((uint8_t *)&header + TAG_SIZE, part->data, sizeof header - TAG_SIZE);
    uint64_t place = place_of_written(keys, le64_get(format.offset) / BLOCK_GRAINS);
    return le32_get(header.offset) == le64_get(format.offset) && replaced_take(&header) && use_find(place)->place == 0;
}

enum error __real_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out,
                               size_t size);
enum error __wrap_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out,
                               size_t size);
enum error __real_bulk_tag(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                           const struct bulk_part *parts, size_t count, uint8_t tag[TAG_SIZE]);
enum error __wrap_bulk_tag(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                           const struct bulk_part *parts, size_t count, uint8_t tag[TAG_SIZE]);

void __real_log_replace(struct log *log, uint64_t serial, uint32_t offset, size_t size, const void *record,
                        size_t record_size, struct log_item *item);
void __wrap_log_replace(struct log *log, uint64_t serial, uint32_t offset, size_t size, const void *record,
                        size_t record_size, struct log_item *item);

void __wrap_log_replace(struct log *log, uint64_t serial, uint32_t offset, size_t size, const void *record,
                        size_t record_size, struct log_item *item)
{
    atomic_fetch_add(&world->session->done[DONE_REPLACED], 1);
    replaced[replaced_next].serial = serial;
    replaced[replaced_next].offset = offset;
    replaced_next = (replaced_next + 1) % REPLACED_MAX;
    __real_log_replace(log, serial, offset, size, record, record_size, item);
}

enum error __wrap_bulk_encrypt(const struct segment_keys *keys, uint64_t first_block, const void *in, void *out,
                               size_t size)
{
    static const uint8_t zeros[BULK_UNIT];
    if (world->session->settings.encryption && !keys->encrypted)
        fail("a block of an encrypted pool is written in the clear");
    for (uint64_t i = 0; i < size / BULK_UNIT; i++)
        use_note("a block is written", place_of_written(keys, first_block + i), 0, false);
    for (uint64_t i = 0; keys->encrypted && i < size / BULK_UNIT; i++) {
        uint8_t probe[BULK_UNIT];
        TRY(__real_bulk_encrypt(keys, first_block + i, zeros, probe, BULK_UNIT));
        use_note("a block is encrypted", place_of(keys->xts, sizeof keys->xts, probe, BULK_UNIT),
                 XXH3_64bits((const uint8_t *)in + i * BULK_UNIT, BULK_UNIT), false);
    }
    return __real_bulk_encrypt(keys, first_block, in, out, size);
}

enum error __wrap_bulk_tag(const struct segment_keys *keys, const uint8_t nonce[TAG_NONCE_SIZE],
                           const struct bulk_part *parts, size_t count, uint8_t tag[TAG_SIZE])
{
    uint64_t content = 0;
    for (size_t i = 0; i < count; i++)
        content = XXH3_64bits_withSeed(parts[i].data, parts[i].size, content);
    appends_note(&parts[0]);
    use_note("a nonce is used", place_of(keys->tag, sizeof keys->tag, nonce, TAG_NONCE_SIZE), content,
             is_replaced_in_memory(keys, nonce, &parts[0]));
    return __real_bulk_tag(keys, nonce, parts, count, tag);
}
