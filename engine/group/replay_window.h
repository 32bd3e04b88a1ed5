/*
 * Windows on the journal, for replay: stretches of segments that a thread of their own reads, decrypts and verifies
 * ahead, while the caller applies the records of those before.
 *
 * Ahead of what was asked for, the reader follows the chain as the bytes tell it: the successor in a segment's header,
 * then the place that its last append (or a joint) names. That is a guess about what will be asked for and nothing
 * else: a wrong guess, an unreadable block or a tag that does not fit there costs time only, and is told only if it is
 * asked for. What the reader says of an append is a fact about its bytes: its tag and those of its units fit their
 * address.
 *
 * Memory: WINDOWS_BYTES, taken at the open and given back at the close. Meanwhile the ciphertext buffers of the logs,
 * the scratch buffers of readers and the cache of chunks, which are at least as much, have not been touched.
 *
 * Threads: all calls by one thread. A crash is harmless: nothing is written.
 */
#ifndef COFFER_ENGINE_GROUP_REPLAY_WINDOW_H
#define COFFER_ENGINE_GROUP_REPLAY_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/group/append.h"
#include "engine/group/group.h"

#define WINDOWS       3 /* one is applied, one verified, one read */
#define WINDOW_BLOCKS (APPEND_BYTES_MAX / BLOCK_SIZE)
#define WINDOWS_BYTES ((size_t)WINDOWS * WINDOW_BLOCKS * BLOCK_SIZE)

struct replay_window {
    uint8_t *bytes;
    uint32_t slot;
    uint32_t first, blocks; /* of the segment; block 0 is its header, in the clear */
    struct segment_identity identity;
    const struct segment_keys *keys; /* NULL: nothing is to be had from it */
    bool has_header;                 /* it begins with an authentic header: */
    struct segment_header header;
    enum error error;                   /* what reading or decrypting met */
    uint64_t sound[WINDOW_BLOCKS / 64]; /* bit n: an append begins at first + n, and all its tags fit */
    bool submitted;
    struct device_io io;
};

struct replay_windows;

enum error replay_windows_open(struct group *group, const struct checkpoint *checkpoint,
                               struct replay_windows **windows) CHECKED;
void replay_windows_close(struct replay_windows *windows);
/* The window that holds `blocks` (at most WINDOW_BLOCKS) blocks of a segment from `block` (not its header) on, which
 * lie in the segment; good until the next call. Errors: of the device and of the keys, with their sentences. */
enum error replay_windows_get(struct replay_windows *windows, const struct segment_identity *identity, uint32_t slot,
                              uint32_t block, uint32_t blocks, const struct replay_window **window) CHECKED;
/* What is got next is read from the device, and nothing that was read before is given. */
void replay_windows_renew(struct replay_windows *windows);
/* The header of a segment, where it was read ahead and is authentic; false says nothing. */
bool replay_windows_header(struct replay_windows *windows, const struct place *place, struct segment_header *header);
/* Bytes of windows that were asked for. */
uint64_t replay_windows_bytes(const struct replay_windows *windows);

static inline const struct append_format *window_append(const struct replay_window *window, uint32_t block)
{
    return (const struct append_format *)(window->bytes + (size_t)(block - window->first) * BLOCK_SIZE);
}
static inline bool window_is_sound(const struct replay_window *window, uint32_t block)
{
    return window->sound[(block - window->first) / 64] >> (block - window->first) % 64 & 1;
}

#endif
