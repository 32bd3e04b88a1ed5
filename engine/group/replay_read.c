/*
 * Appends for replay: entering the segments that it walks, from the table or from their headers, and taking whole
 * appends out of the windows that the reader verified ahead. What it did not verify is verified here.
 *
 * A crash is harmless: the table in memory is all that changes.
 */
#include "engine/group/replay_chain.h"

enum error replay_header_read(struct replay *replay, const struct place *place, struct segment_header *header)
{
    if (replay_windows_header(replay->windows, place, header))
        return ERROR_NONE;
    return segment_header_read_to(replay->group, place->device, place->slot, place->serial, replay->head, header);
}

static enum error segment_enter(struct replay *replay, const struct place *place, uint32_t *index)
{
    struct group *group = replay->group;
    *index = segment_find(&group->segments, place->serial);
    if (*index != SEGMENT_NONE) {
        if (segment_device(&group->segments, *index) != place->device ||
            segment_slot(&group->segments, *index) != place->slot)
            return ERROR_NOT_FOUND;
        return ERROR_NONE;
    }
    struct segment_header header;
    TRY(replay_header_read(replay, place, &header));
    if (header.segment.kind != SEGMENT_JOURNAL)
        return ERROR_NOT_FOUND;
    header.segment.generation = GENERATION_REPLAYED;
    if (segment_adopt(&group->segments, place->device, place->slot, &header.segment))
        return ERROR_NOT_FOUND;
    *index = segment_find(&group->segments, place->serial);
    return ERROR_NONE;
}

enum error replay_append_read(struct replay *replay, const struct place *place, struct replay_append *read)
{
    struct segments *segments = &replay->group->segments;
    const struct replay_window *window;
    uint32_t segment, block = place->offset;
    *read = (struct replay_append){0};
    if (place->serial == 0 || block == 0 || block >= segment_blocks(segments))
        return ERROR_NOT_FOUND;
    enum error error = segment_enter(replay, place, &segment);
    if (error) {
        read->append = replay->head;
        read->size = BLOCK_SIZE;
        return error;
    }
    struct segment_identity identity = segment_identity(segments, segment);
    TRY(replay_windows_get(replay->windows, &identity, place->slot, block, 1, &window));
    const struct append_format *append = window_append(window, block);
    read->append = append;
    read->size = BLOCK_SIZE;
    if (!append_is_possible(append, SEGMENT_JOURNAL, place->serial, block, segment_blocks(segments)))
        return ERROR_NOT_FOUND;
    TRY(replay_windows_get(replay->windows, &identity, place->slot, block, le32_get(append->blocks), &window));
    /* It may be another window, read anew, in which the lengths are others. */
    append = window_append(window, block);
    read->append = append;
    if (!append_is_possible(append, SEGMENT_JOURNAL, place->serial, block, segment_blocks(segments)) ||
        block + le32_get(append->blocks) > window->first + window->blocks)
        return ERROR_NOT_FOUND;
    *read = (struct replay_append){append, (size_t)le32_get(append->blocks) * BLOCK_SIZE, window->keys,
                                   window_is_sound(window, block)};
    if (!read->sound)
        TRY(append_check(read->append, read->keys));
    segments->table[segment].generation = GENERATION_REPLAYED; /* one that is only looked at may never have been begun */
    return ERROR_NONE;
}

enum error replay_segment_walk(struct replay *replay, struct place place, replay_visit *visit, void *context)
{
    while (place.offset < segment_blocks(&replay->group->segments)) {
        struct replay_append read;
        enum error error = replay_append_read(replay, &place, &read);
        if (error && error != ERROR_NOT_FOUND)
            return error;
        if (!error)
            visit(replay, read.append, context);
        place.offset += error ? 1 : le32_get(read.append->blocks);
    }
    return ERROR_NONE;
}

enum error replay_append_judge(struct replay_append *read)
{
    enum error error = read->sound ? ERROR_NONE : append_units_check(read->append, read->keys);
    read->sound = error == ERROR_NONE;
    return error == ERROR_CORRUPT ? ERROR_NONE : error;
}
