/*
 * The checkpoint record: encode, decode, and its four positions on a device.
 *
 * Records go to the positions in the order head, tail, head, tail, so that neighbours in time never share an end of the
 * device. A record is one block in the clear; its MAC covers pool, group, device, position and number, so one of
 * another device, place or life does not verify. All checks of a decode are for damage and forgery: the bounds hold
 * after the MAC too, since anybody can make the MAC of a plaintext pool.
 *
 * A crash while a record is written leaves the one before, at another position. Whether the newest record found is old
 * all the same (a rolled-back device) is the witness's matter. No locks: the callers write from one thread.
 */
#include "engine/group/checkpoint.h"

#include <inttypes.h>

#include "base/memory.h"
#include "crypto/kdf.h"
#include "engine/group/release_list.h"

#define RECORD_SIZE sizeof(struct checkpoint_format)
#define MAC_OFFSET  offsetof(struct checkpoint_format, mac)
_Static_assert(sizeof(struct checkpoint_format) == DEVICE_BLOCK, "a record is written by one atomic block");

static void copy_bytes(uint8_t out[16], const uint8_t in[16])
{
    memcpy(out, in, 16);
}

/* ---- encode ------------------------------------------------------------------------------------------------------ */

static void roots_encode(const struct root *in, struct root_format *out)
{
    for (unsigned i = 0; i < TABLE_LAST; i++) {
        pointer_encode(&in[i].pointer, &out[i].pointer);
        out[i].height = in[i].height;
    }
}

static void fields_encode(const struct checkpoint *checkpoint, struct checkpoint_format *out)
{
    out->number = le64_make(checkpoint->number);
    out->sequence = le64_make(checkpoint->sequence);
    out->epoch = le64_make(checkpoint->epoch);
    out->serial_lease = le64_make(checkpoint->serial_lease);
    out->component_lease = le64_make(checkpoint->component_lease);
    out->cid_end = le64_make(checkpoint->cid_end);
    out->time = le64_make(checkpoint->time);
    roots_encode(checkpoint->roots, out->roots);
    out->release_end = le64_make(checkpoint->release_end);
    out->chunks_live = le64_make(checkpoint->chunks_live);
    out->blocks_mapped = le64_make(checkpoint->blocks_mapped);
    out->families = checkpoint->families;
    place_encode(&checkpoint->start, &out->start);
    copy_bytes(out->start_tag, checkpoint->start_tag);
    out->joint_count = (uint8_t)checkpoint->joint_count;
    for (unsigned i = 0; i < checkpoint->joint_count; i++) {
        copy_bytes(out->joints[i].tag, checkpoint->joints[i].tag);
        place_encode(&checkpoint->joints[i].next, &out->joints[i].next);
    }
    out->table_segment_count = (uint8_t)checkpoint->table_segment_count;
    for (unsigned i = 0; i < checkpoint->table_segment_count; i++)
        segment_reference_encode(&checkpoint->table_segments[i], &out->table_segments[i]);
    out->audit_count = le64_make(checkpoint->audit.count);
    memcpy(out->audit_head, checkpoint->audit.head, sizeof out->audit_head);
}

const struct place *checkpoint_joint(const struct checkpoint *checkpoint, const uint8_t tag[16])
{
    for (unsigned i = checkpoint->joint_count; i-- > 0;)
        if (memcmp(checkpoint->joints[i].tag, tag, sizeof checkpoint->joints[i].tag) == 0)
            return &checkpoint->joints[i].next;
    return NULL;
}

enum error checkpoint_encode(const struct checkpoint *checkpoint, const struct superblock *superblock,
                             const struct keyring *keyring, uint32_t copy, struct checkpoint_format *out)
{
    ASSERT(checkpoint->joint_count <= JOINTS_MAX && checkpoint->table_segment_count <= TABLE_SEGMENTS_MAX);
    const struct keyring_slot *key = keyring_current(keyring, KEY_KIND_LOG);
    ASSERT(key != NULL && key->number <= UINT8_MAX && copy < CHECKPOINT_COPIES);

    struct checkpoint_format record = {.magic = CHECKPOINT_MAGIC};
    record.version = le32_make(FORMAT_VERSION);
    record.copy = le32_make(copy);
    copy_bytes(record.pool, superblock->pool.bytes);
    copy_bytes(record.group, superblock->group.bytes);
    copy_bytes(record.device, superblock->device.bytes);
    record.log_key = (uint8_t)key->number;
    fields_encode(checkpoint, &record);
    TRY(hmac_sha256(key->key, &record, MAC_OFFSET, record.mac));
    *out = record;
    return ERROR_NONE;
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

static enum error identity_check(const struct checkpoint_format *in, const struct superblock *superblock, uint32_t copy)
{
    if (memcmp(in->magic, CHECKPOINT_MAGIC, sizeof in->magic) != 0)
        return error_explain(ERROR_NOT_FOUND, "there is no checkpoint record at position %" PRIu32, copy);
    uint32_t version = le32_get(in->version);
    if (version > FORMAT_VERSION)
        return error_explain(ERROR_NEWER_FORMAT, "the checkpoint record is of format %" PRIu32 ", this Coffer knows %d",
                             version, FORMAT_VERSION);
    if (version == 0 || le32_get(in->copy) != copy)
        return error_explain(ERROR_CORRUPT, "the checkpoint record at position %" PRIu32 " does not belong there",
                             copy);
    if (memcmp(in->pool, superblock->pool.bytes, 16) != 0 || memcmp(in->group, superblock->group.bytes, 16) != 0 ||
        memcmp(in->device, superblock->device.bytes, 16) != 0)
        return error_explain(ERROR_FOREIGN, "the checkpoint record at position %" PRIu32 " is another device's", copy);
    return ERROR_NONE;
}

static enum error mac_check(const struct checkpoint_format *in, const struct superblock *superblock,
                            const struct keyring *keyring, uint32_t copy)
{
    const uint8_t *key = keyring_find(keyring, KEY_KIND_LOG, in->log_key);
    if (key == NULL || in->log_key < superblock_log_key_demanded(superblock))
        return error_explain(ERROR_FORGED,
                             "the checkpoint record at position %" PRIu32 " names the log key %d, which "
                             "is not good for it",
                             copy, in->log_key);
    uint8_t mac[32];
    TRY(hmac_sha256(key, in, MAC_OFFSET, mac));
    if (memory_compare_constant_time(mac, in->mac, sizeof mac) != 0)
        return error_explain(ERROR_FORGED, "the checkpoint record at position %" PRIu32 " is damaged or forged", copy);
    return ERROR_NONE;
}

static bool roots_decode(const struct root_format *in, struct root *out)
{
    for (unsigned i = 0; i < TABLE_LAST; i++) {
        out[i].pointer = pointer_decode(&in[i].pointer);
        out[i].height = in[i].height;
        if (in[i].height >= NODE_LEVELS_MAX || !memory_is_zero(in[i].reserved, sizeof in[i].reserved))
            return false;
    }
    return true;
}

static bool joints_decode(const struct checkpoint_format *in, const struct superblock *superblock,
                          struct checkpoint *out)
{
    if (in->joint_count > JOINTS_MAX)
        return false;
    out->joint_count = in->joint_count;
    for (unsigned i = 0; i < out->joint_count; i++) {
        copy_bytes(out->joints[i].tag, in->joints[i].tag);
        out->joints[i].next = place_decode(&in->joints[i].next);
        if (!place_is_sound(&out->joints[i].next, superblock->device_count))
            return false;
    }
    return memory_is_zero(in->joints + in->joint_count, (JOINTS_MAX - in->joint_count) * sizeof in->joints[0]);
}

static bool table_segments_decode(const struct checkpoint_format *in, const struct superblock *superblock,
                                  struct checkpoint *out)
{
    if (in->table_segment_count > TABLE_SEGMENTS_MAX)
        return false;
    out->table_segment_count = in->table_segment_count;
    for (unsigned i = 0; i < out->table_segment_count; i++) {
        struct segment_reference *reference = &out->table_segments[i];
        segment_reference_decode(&in->table_segments[i], reference);
        if (reference->serial == 0 || reference->device >= superblock->device_count || reference->slot >= SLOTS_MAX)
            return false;
    }
    return memory_is_zero(in->table_segments + in->table_segment_count,
                          (TABLE_SEGMENTS_MAX - in->table_segment_count) * sizeof in->table_segments[0]);
}

static void numbers_decode(const struct checkpoint_format *in, struct checkpoint *out)
{
    out->number = le64_get(in->number);
    out->sequence = le64_get(in->sequence);
    out->epoch = le64_get(in->epoch);
    out->serial_lease = le64_get(in->serial_lease);
    out->component_lease = le64_get(in->component_lease);
    out->cid_end = le64_get(in->cid_end);
    out->time = le64_get(in->time);
    out->release_end = le64_get(in->release_end);
    out->chunks_live = le64_get(in->chunks_live);
    out->blocks_mapped = le64_get(in->blocks_mapped);
    out->families = in->families;
    out->start = place_decode(&in->start);
    copy_bytes(out->start_tag, in->start_tag);
    out->audit.count = le64_get(in->audit_count);
    memcpy(out->audit.head, in->audit_head, sizeof out->audit.head);
}

static bool numbers_are_sound(const struct checkpoint *checkpoint, const struct superblock *superblock)
{
    return checkpoint->number != 0 && checkpoint->number <= INT64_MAX && checkpoint->serial_lease != 0 &&
           checkpoint->serial_lease <= SERIAL_MAX + 1 && checkpoint->component_lease != 0 &&
           checkpoint->component_lease <= CID_MAX + 1 && checkpoint->cid_end != 0 &&
           checkpoint->cid_end <= CID_MAX + 1 && checkpoint->release_end <= RELEASE_END_MAX &&
           place_is_sound(&checkpoint->start, superblock->device_count);
}

enum error checkpoint_decode(const struct checkpoint_format *in, const struct superblock *superblock,
                             const struct keyring *keyring, uint32_t copy, struct checkpoint *checkpoint)
{
    TRY(identity_check(in, superblock, copy));
    TRY(mac_check(in, superblock, keyring, copy));
    struct checkpoint decoded = {0};
    numbers_decode(in, &decoded);
    if (!numbers_are_sound(&decoded, superblock) || !roots_decode(in->roots, decoded.roots) ||
        !joints_decode(in, superblock, &decoded) || !table_segments_decode(in, superblock, &decoded) ||
        in->families > 1 || le64_get(in->release_reserved) != 0 ||
        !memory_is_zero(in->reserved2, sizeof in->reserved2))
        return error_explain(ERROR_CORRUPT, "the checkpoint record at position %" PRIu32 " contradicts itself", copy);
    *checkpoint = decoded;
    return ERROR_NONE;
}

/* ---- on a device ------------------------------------------------------------------------------------------------- */

uint64_t checkpoint_offset(const struct superblock *superblock, uint32_t copy)
{
    uint64_t area = copy < CHECKPOINT_COPIES / 2 ? 0 : superblock->device_size - AREA_SIZE;
    return area + CHECKPOINT_OFFSET + copy % 2 * CHECKPOINT_STRIDE;
}

uint32_t checkpoint_copy(uint64_t number, unsigned end)
{
    ASSERT(end < CHECKPOINT_ENDS);
    return end * (CHECKPOINT_COPIES / CHECKPOINT_ENDS) + (uint32_t)(number % (CHECKPOINT_COPIES / CHECKPOINT_ENDS));
}

static enum error copy_read(struct device *device, const struct superblock *superblock, const struct keyring *keyring,
                            uint32_t copy, struct checkpoint_format *record, struct checkpoint *checkpoint)
{
    TRY(device_read(device, checkpoint_offset(superblock, copy), record, RECORD_SIZE));
    return checkpoint_decode(record, superblock, keyring, copy, checkpoint);
}

/* What no whole record tells apart: a device that fails, a newer Coffer's, damage. */
static enum error none_whole(const struct device *device, enum error worst)
{
    if (worst == ERROR_IO || worst == ERROR_FENCED || worst == ERROR_NEWER_FORMAT)
        return error_prefix(worst, "no checkpoint record of %s can be read", device->path);
    return error_explain(ERROR_CORRUPT, "no checkpoint record of %s is whole: all %d are damaged, forged or missing",
                         device->path, CHECKPOINT_COPIES);
}

static enum error worse(enum error a, enum error b)
{
    if (a == ERROR_NONE || (a != ERROR_IO && b == ERROR_IO))
        return b;
    if (a != ERROR_IO && b == ERROR_NEWER_FORMAT)
        return b;
    return a;
}

enum error checkpoint_read(struct device *device, const struct superblock *superblock, const struct keyring *keyring,
                           struct checkpoint *checkpoint)
{
    AUTO_FREE struct checkpoint_format *record = memory_aligned(RECORD_SIZE);
    if (record == NULL)
        return ERROR_NO_MEMORY;
    struct checkpoint newest = {0}, found;
    enum error worst = ERROR_NONE;
    for (uint32_t copy = 0; copy < CHECKPOINT_COPIES; copy++) {
        enum error error = copy_read(device, superblock, keyring, copy, record, &found);
        if (error == ERROR_NONE && found.number > newest.number)
            newest = found;
        if (error == ERROR_NO_MEMORY)
            return error; /* it may be the newest, and says nothing of the device */
        if (error != ERROR_NONE)
            worst = worse(worst, error);
    }
    if (newest.number == 0)
        return none_whole(device, worst);
    *checkpoint = newest;
    checkpoint->unread = worst == ERROR_IO;
    return ERROR_NONE;
}

enum error checkpoint_write(struct device *device, const struct superblock *superblock, const struct keyring *keyring,
                            const struct checkpoint *checkpoint)
{
    AUTO_FREE struct checkpoint_format *record = memory_aligned(RECORD_SIZE);
    if (record == NULL)
        return ERROR_NO_MEMORY;
    for (unsigned end = 0; end < CHECKPOINT_ENDS; end++) {
        uint32_t copy = checkpoint_copy(checkpoint->number, end);
        TRY(checkpoint_encode(checkpoint, superblock, keyring, copy, record));
        TRY(device_write(device, checkpoint_offset(superblock, copy), record, RECORD_SIZE, 0));
    }
    return ERROR_NONE;
}
