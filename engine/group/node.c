/*
 * Nodes of maps and pages of tables: stored form, reading through the cache. An address has one content, so what is
 * cached is never wrong.
 */
#include "engine/group/node.h"

#include <lz4.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/group/group.h"

#define READS_MAX 256

/* Leaves of maps and pages of places are rows of entries; everything else is bytes. */
static bool holds_entries(struct node_identity identity)
{
    return identity.level == 0 && (identity.kind == ITEM_NODE || identity.owner == TABLE_PLACES);
}

uint8_t node_store(struct node_identity identity, const void *node, void *out, size_t *size)
{
    int packed;
    if (holds_entries(identity)) {
        struct map_entry entries[MAP_LEAF_ENTRIES];
        const struct map_entry_format *in = node;
        for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
            entries[i] = entry_decode(&in[i]);
        *size = entry_runs_encode(entries, MAP_LEAF_ENTRIES, out, BLOCK_SIZE - 1);
        if (*size)
            return STORED_RUNS;
    } else if ((packed = LZ4_compress_default(node, out, BLOCK_SIZE, BLOCK_SIZE - 1)) > 0) {
        *size = (size_t)packed;
        return STORED_LZ4;
    }
    memcpy(out, node, BLOCK_SIZE);
    *size = BLOCK_SIZE;
    return STORED_RAW;
}

/* Runs are checked while they are decoded. Other codecs hold any 4096 bytes, but a row of entries has none that the rest
 * of the engine, and the next merge, may not rely on: anybody can make the tags of a plaintext pool. */
static bool entries_are_sound(const uint8_t *leaf)
{
    const struct map_entry_format *entries = (const struct map_entry_format *)leaf;
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++) {
        struct map_entry entry = entry_decode(&entries[i]);
        if (!entry_is_hole(entry) && !entry_is_sound(entry))
            return false;
    }
    return true;
}

static enum error runs_decode(const struct item_read *read, uint8_t *out)
{
    struct map_entry entries[MAP_LEAF_ENTRIES];
    TRY(entry_runs_decode(read->stored, read->stored_size, entries, MAP_LEAF_ENTRIES));
    for (unsigned i = 0; i < MAP_LEAF_ENTRIES; i++)
        entry_encode(entries[i], (struct map_entry_format *)out + i);
    return ERROR_NONE;
}

static enum error node_decode(struct node_identity identity, const struct item_read *read, uint8_t *out)
{
    switch (read->header->codec) {
    case STORED_RAW:
        if (read->stored_size != BLOCK_SIZE)
            return ERROR_CORRUPT;
        memcpy(out, read->stored, BLOCK_SIZE);
        break;
    case STORED_LZ4:
        if (LZ4_decompress_safe((const char *)read->stored, (char *)out, (int)read->stored_size, BLOCK_SIZE) != BLOCK_SIZE)
            return ERROR_CORRUPT;
        break;
    case STORED_RUNS:
        return holds_entries(identity) ? runs_decode(read, out) : ERROR_CORRUPT;
    default:
        return ERROR_CORRUPT;
    }
    return !holds_entries(identity) || entries_are_sound(out) ? ERROR_NONE : ERROR_CORRUPT;
}

/* A node may have been written for a component that this one descends from: those have lower numbers. */
static bool identity_matches(const struct node_read *node, const struct item_read *read)
{
    if (node->identity.kind == ITEM_NODE) {
        const struct node_descriptor_format *d = (const void *)read->descriptors;
        uint64_t cid = le40_get(d->cid), wanted = entry_cid(node->pointer.first);
        return (cid == wanted || (node->identity.level > 0 && cid == wanted + 1)) &&
               le40_get(d->component) <= node->identity.owner && le40_get(d->number) == node->identity.number &&
               d->level == node->identity.level;
    }
    const struct page_descriptor_format *d = (const void *)read->descriptors;
    return d->table == node->identity.owner && le40_get(d->number) == node->identity.number &&
           d->level == node->identity.level;
}

enum error node_accept(const struct node_read *node, const struct item_read *read, uint8_t *out)
{
    if (read->error)
        return read->error;
    return identity_matches(node, read) ? node_decode(node->identity, read, out) : ERROR_CORRUPT;
}

enum error node_decode_any(const struct item_read *read, uint64_t cid, uint8_t *out)
{
    const struct node_descriptor_format *d = (const void *)read->descriptors;
    struct node_identity identity = {ITEM_NODE, le40_get(d->component), le40_get(d->number), d->level};
    if (le40_get(d->cid) != cid || d->level >= NODE_LEVELS_MAX)
        return ERROR_CORRUPT;
    return node_decode(identity, read, out);
}

static struct cache_key first_key(const struct node_read *node)
{
    return (struct cache_key){entry_serial(node->pointer.first), entry_offset(node->pointer.first), 0};
}

static void node_done(struct item_read *read, void *context)
{
    struct group *group = context;
    struct node_read *node = read->owner;
    uint8_t bytes[BLOCK_SIZE];
    node->error = node_accept(node, read, bytes);
    if (node->error)
        return;
    node->block = cache_insert(group->nodes, first_key(node), bytes);
    if (!node->block)
        node->error = ERROR_NO_MEMORY;
}

static void round_run(struct group *group, struct node_read **nodes, size_t count, bool second)
{
    struct item_read reads[READS_MAX];
    for (size_t i = 0; i < count; i++) {
        struct map_entry first = nodes[i]->pointer.first;
        reads[i] = (struct item_read){
            .serial = second ? nodes[i]->pointer.second_serial : entry_serial(first),
            .offset = second ? nodes[i]->pointer.second_offset : entry_offset(first),
            .length = entry_length(first),
            .kind = nodes[i]->identity.kind,
            .cid = nodes[i]->identity.kind == ITEM_NODE ? entry_cid(first) + second : 0,
            .owner = nodes[i],
        };
    }
    items_read(group, reads, count, node_done, group);
}

static void damage_report(struct group *group, const struct node_read *node, const char *outcome)
{
    atomic_fetch_add(&group->totals.read_errors, 1);
    message(MESSAGE_ERROR, "group %s: %s %llu, level %u, node %llu at serial %llu offset %u: %s; %s",
            group_name(group), node->identity.kind == ITEM_NODE ? "map of component" : "table",
            (unsigned long long)node->identity.owner, node->identity.level, (unsigned long long)node->identity.number,
            (unsigned long long)entry_serial(node->pointer.first), entry_offset(node->pointer.first),
            error_sentence(node->error), outcome);
}

/* Damage is what the bytes say, or that their segment is gone; what else kept them from being read may pass. */
static enum error unreadable(enum error error) { return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error; }

static void nodes_read_some(struct group *group, struct node_read *reads, size_t count);

static void repeats_read(struct group *group, struct node_read **repeated, size_t count)
{
    for (size_t i = 0; i < count; i++)
        nodes_read_some(group, repeated[i], 1);
}

/* A node that several look-ups of a batch miss is read once; the others find it in the cache then. */
static size_t misses_take(struct group *group, struct node_read *reads, size_t count, struct node_read **missing,
                          struct node_read **repeated, size_t *repeated_count)
{
    size_t n = 0;
    *repeated_count = 0;
    for (size_t i = 0; i < count; i++) {
        reads[i].error = ERROR_NONE;
        reads[i].block = cache_find(group->nodes, first_key(&reads[i]));
        if (reads[i].block)
            continue;
        size_t j = n;
        while (j > 0 && !entry_equal(missing[j - 1]->pointer.first, reads[i].pointer.first))
            j--;
        if (j > 0)
            repeated[(*repeated_count)++] = &reads[i];
        else
            missing[n++] = &reads[i];
    }
    return n;
}

static void nodes_read_some(struct group *group, struct node_read *reads, size_t count)
{
    struct node_read *missing[READS_MAX], *repeated[READS_MAX];
    enum error firsts[READS_MAX]; /* of the first copies, where the second is read */
    size_t repeated_count, n = misses_take(group, reads, count, missing, repeated, &repeated_count);
    if (n == 0)
        return;
    round_run(group, missing, n, false);
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        if (!missing[i]->error || missing[i]->error == ERROR_NO_MEMORY)
            continue;
        bool doubled = missing[i]->pointer.second_serial != 0;
        damage_report(group, missing[i], doubled ? "its second copy is read" : "there is no other copy");
        if (doubled) {
            firsts[bad] = missing[i]->error;
            missing[bad++] = missing[i];
        } else {
            missing[i]->error = unreadable(missing[i]->error);
        }
    }
    if (bad)
        round_run(group, missing, bad, true);
    for (size_t i = 0; i < bad; i++)
        if (missing[i]->error && missing[i]->error != ERROR_NO_MEMORY) {
            damage_report(group, missing[i], "that was the second copy");
            /* What a device refuses may come yet, whatever became of the other copy. */
            missing[i]->error = unreadable(firsts[i] == ERROR_IO ? ERROR_IO : missing[i]->error);
        }
    if (repeated_count)
        repeats_read(group, repeated, repeated_count);
}

enum error nodes_read(struct group *group, struct node_read *reads, size_t count)
{
    enum error error = ERROR_NONE;
    for (size_t first = 0; first < count; first += READS_MAX)
        nodes_read_some(group, reads + first, MIN(count - first, READS_MAX));
    for (size_t i = 0; i < count && !error; i++)
        error = reads[i].error;
    return error;
}

void nodes_put(struct group *group, struct node_read *reads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (reads[i].block) {
            cache_unpin(group->nodes, reads[i].block);
            reads[i].block = NULL;
        }
}
