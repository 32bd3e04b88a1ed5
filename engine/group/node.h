/* The stored form of nodes and pages: rows of entries as runs, everything else by LZ4, raw where neither helps. */
#ifndef COFFER_ENGINE_GROUP_NODE_H
#define COFFER_ENGINE_GROUP_NODE_H

#include "engine/group/item.h"

/* Writes the stored form of 4096 bytes into `out` (4096 bytes) and returns its codec. */
uint8_t node_store(struct node_identity identity, const void *node, void *out, size_t *size);

/* What was read for `node`: its own error, else whether it is the node asked for, and then its 4096 bytes. */
enum error node_accept(const struct node_read *node, const struct item_read *read, uint8_t *out) CHECKED;

/* Whether what was read for the node with this CID is one, whatever map it belongs to: its descriptor names the CID and
 * its stored form has 4096 bytes, which go to `out`. */
enum error node_decode_any(const struct item_read *read, uint64_t cid, uint8_t *out) CHECKED;

#endif
