/*
 * All items of one segment, append by append, for what has to see what is in it whatever tables say: the cleaner, and
 * a repair that looks for what moved.
 */
#ifndef COFFER_ENGINE_GROUP_SEGMENT_WALK_H
#define COFFER_ENGINE_GROUP_SEGMENT_WALK_H

#include "engine/group/group.h"
#include "engine/group/item.h"

#define SEGMENT_WINDOW (4u << 20) /* of a segment that is read at a time: no append is longer */

/* The header was not compared with any tag yet but that of its append: item_verify() does that. */
typedef enum error segment_item(void *context, const struct item_read *read);

struct segment_walk {
    enum segment_kind kind;
    uint64_t serial;
    uint32_t blocks; /* of a segment */
    const struct segment_keys *keys;
    /* Reads and decrypts from `block` on, at most SEGMENT_WINDOW; they stay until the next call. */
    enum error (*read)(void *context, uint32_t block, const uint8_t **bytes, uint32_t *blocks);
    segment_item *item;
    void *context;
};

/* The end of the appends is where none follows: the log went on elsewhere, or a crash cut it off. An error that a callee
 * returns ends the walk; ERROR_CORRUPT where an authentic append makes no sense. */
enum error segment_walk_items(const struct segment_walk *walk) CHECKED;
/* The same of segment `index`, as the table has it, read window by window into `bytes` (SEGMENT_WINDOW). */
enum error segment_items(struct group *group, uint32_t index, uint8_t *bytes, segment_item *item, void *context) CHECKED;

/* The I/O that reads segment `index` from `block` on, as much as a window takes. Takes the group's lock. */
struct device_io segment_window(struct group *group, uint32_t index, uint32_t block, uint8_t *bytes);

#endif
