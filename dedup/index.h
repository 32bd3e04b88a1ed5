/*
 * The dedup index: fingerprint -> CID, a hint. It may forget and may lie (whoever asks compares with the chunk
 * table's fingerprint page), is bounded, and can be dropped and rebuilt at any time. The same calls always give the
 * same answers: its only chance is in the fingerprints.
 *
 * A slot has 5 bytes: the number of an aligned page of 256 CIDs, and a tag, bits of the fingerprint that its place
 * does not tell. A page is enough, since a hit loads its fingerprints anyway, and leaves bits to the tag. The page
 * number begins with 24 bits and takes bits from the tag, in one pass over the table, when a CID comes that needs
 * them. So all 40-bit CIDs are known, and a full table gives a false candidate to a look-up of new data in 0.04 % of
 * cases while CIDs have up to 32 bits (16 TiB of chunks), in 0.6 % at 36 bits (256 TiB), in 9 % at 40 bits.
 *
 * Twelve slots make a bucket of one cache line, newest first; its last 4 bytes hold a tier for each slot. A
 * fingerprint may be in either of two buckets of one 4 KiB page of memory. While there is room every chunk is entered;
 * then the tier decides, oldest first:
 *   dense   any block: goes first, and is not entered where it would have to displace another tier
 *   sparse  block number divisible by 8: enough to find every piece of 64 KiB
 *   thin    block number divisible by 128: enough to find what is read in order; outlives sparse ones, within a third
 *           of each bucket, so that an image for which even the sparse ones are too many does not displace itself
 * A look-up that finds something makes it the newest: what is still asked for outlives what is only written.
 *
 * Locks: the caller's, for every call but index_prefetch().
 */
#ifndef COFFER_DEDUP_INDEX_H
#define COFFER_DEDUP_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "dedup/fingerprint.h"

#define INDEX_CANDIDATES_MAX 4
#define INDEX_SPARSE_INTERVAL 8
#define INDEX_THIN_INTERVAL 128
#define INDEX_PAGE_CIDS 256
#define INDEX_BYTES_MIN 65536

struct index;

/* `bytes` of memory at most for the table, at least INDEX_BYTES_MIN (else ERROR_INVALID); the kernel gives them when
 * they are first used. */
enum error index_create(size_t bytes, struct index **index) CHECKED;
void index_destroy(struct index *index);
/* Begins to fetch what index_lookup() will need. Called for all fingerprints of a batch before the first look-up, it
 * makes their cache misses one. Needs no lock. */
void index_prefetch(const struct index *index, struct fingerprint fingerprint);
/* Writes up to INDEX_CANDIDATES_MAX candidates that may have this fingerprint, the likeliest first; returns their
 * number. Each is the first CID of an aligned page of INDEX_PAGE_CIDS, with bit 63 (INDEX_PAGE_HINT) set: the caller
 * looks through the page. */
#define INDEX_PAGE_HINT (UINT64_C(1) << 63)
size_t index_lookup(struct index *index, struct fingerprint fingerprint, uint64_t cids[INDEX_CANDIDATES_MAX]);
/* `block` is the chunk's block number in its object: it decides the tier. Who does not know it (a rebuild from the
 * fingerprint pages) gives the CID. Meant for new chunks: an older entry of this fingerprint is replaced, so a hit
 * need not, and should not, be entered again. */
void index_insert(struct index *index, struct fingerprint fingerprint, uint64_t cid, uint64_t block);
/* Forgets (fingerprint, cid), where it is there; `cid` may be a candidate as it came from index_lookup(). */
void index_remove(struct index *index, struct fingerprint fingerprint, uint64_t cid);
void index_clear(struct index *index);

/* `slots`, `used` and `sparse` (thin ones included) are of now, the others since the creation. */
struct index_stats { uint64_t slots, used, sparse, inserted, evicted, lookups, candidates; };
void index_stats(const struct index *index, struct index_stats *stats);

#endif
