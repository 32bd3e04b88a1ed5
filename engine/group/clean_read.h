/*
 * Segments for the cleaner, read and decrypted ahead by a thread of its own.
 *
 * All calls are of who merges, under no lock.
 */
#ifndef COFFER_ENGINE_GROUP_CLEAN_READ_H
#define COFFER_ENGINE_GROUP_CLEAN_READ_H

#include "engine/group/group.h"

#define CLEAN_WINDOWS 3 /* one that is being emptied, and two that are read meanwhile */

struct clean_reader;

/* The thread starts; its memory is CLEAN_WINDOWS times SEGMENT_WINDOW, or segments where they are smaller. */
enum error clean_reader_open(struct group *group, struct clean_reader **reader) CHECKED;
/* NULL is allowed. */
void clean_reader_close(struct clean_reader *reader);
/* What is to be read, in this order; of more than CLEAN_WINDOWS segments the first. What was read of others is forgotten. */
void clean_reader_aim(struct clean_reader *reader, const uint32_t *segments, size_t count);
/* The beginning of a segment at which it was aimed, SEGMENT_WINDOW of it at most, without its header. It is the caller's until
 * the next aim, which may read more of the segment into the same bytes. */
enum error clean_reader_get(struct clean_reader *reader, uint32_t segment, uint8_t **bytes, size_t *size) CHECKED;
/* When it was aimed last (clock_monotonic). */
uint64_t clean_reader_used(const struct clean_reader *reader);

#endif
