/*
 * Findings as sentences: what is wrong, with which object and blocks, at which place of which device. Blocks that
 * share a fault and stand together become one sentence. Pure formatting: nothing is read or changed here.
 */
#include "engine/pool/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static const char *const fault_texts[] = {
    [FAULT_IMPOSSIBLE] = "the map has an impossible entry",
    [FAULT_GONE] = "the data is in a segment that is gone",
    [FAULT_UNKNOWN] = "the chunk does not exist",
    [FAULT_MISPLACED] = "map and chunk table name different places",
    [FAULT_KIND] = "the chunk is a node of a map",
    [FAULT_DOMAINS] = "the chunk belongs to another dedup domain",
    [FAULT_UNREADABLE] = "the device cannot read the data",
    [FAULT_DAMAGED] = "the data is damaged",
    [FAULT_FALSE] = "the fingerprint does not fit the data",
    [FAULT_ANONYMOUS] = "the chunk has no fingerprint",
};

static const char *const source_texts[] = {
    [SOURCE_MAP] = "",
    [SOURCE_JOURNAL] = " (in the journal)",
    [SOURCE_RELEASES] = " (dropped, not freed yet)",
};

void check_find(struct check *check, const char *format, ...)
{
    char sentence[3 * CHECK_TEXT];
    va_list arguments;
    if (check->report.errors++ >= CHECK_SENTENCES_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    check->listener->found(sentence, check->listener->context);
}

/* What the segment table did not count is read as well: never more than all. */
void check_progress(struct check *check, uint64_t bytes)
{
    check->done = MIN(check->done + bytes, check->total);
    if (check->listener->progress)
        check->listener->progress(check->done, check->total, check->listener->context);
}

const char *check_component_name(const struct check *check, uint32_t component, char text[CHECK_TEXT])
{
    uint64_t id = check->components[component].id;
    if (id == COMPONENT_CATALOG) {
        snprintf(text, CHECK_TEXT, "the catalog");
        return text;
    }
    for (const struct object *object = check->pool->objects; object; object = object->next)
        if (object->component == id) {
            char name[VERSION_NAME_MAX + 1];
            snprintf(text, CHECK_TEXT, "object %.490s", object_text(object, name));
            return text;
        }
    char uuid[UUID_TEXT_SIZE];
    struct uuid object;
    memcpy(object.bytes, check->components[component].format.object, sizeof object.bytes);
    uuid_format(object, uuid);
    snprintf(text, CHECK_TEXT, "component %" PRIu64 " (of object %s, which the catalog does not tell of)", id, uuid);
    return text;
}

const char *check_place_text(const struct check *check, uint64_t serial, uint32_t offset, char text[CHECK_TEXT])
{
    const struct segments *segments = &check->group->segments;
    uint32_t index = segment_find(segments, serial);
    if (index == SEGMENT_NONE) {
        snprintf(text, CHECK_TEXT, "segment %" PRIu64 ", which is gone", serial);
        return text;
    }
    snprintf(text, CHECK_TEXT, "%s, segment %" PRIu64 ", byte %" PRIu64 " of the device",
             check->group->devices[segment_device(segments, index)]->path, serial,
             segment_offset(segments, index) + (uint64_t)offset * GRAIN_SIZE);
    return text;
}

/* Whether no read of such a block can give its data; the other faults are those of tables. */
static bool is_loss(const struct check_range *range)
{
    switch (range->fault) {
    case FAULT_IMPOSSIBLE:
    case FAULT_GONE:
    case FAULT_UNREADABLE:
    case FAULT_DAMAGED:
        return range->source != SOURCE_RELEASES;
    default:
        return false;
    }
}

void check_range_end(struct check *check)
{
    struct check_range *range = &check->range;
    char name[CHECK_TEXT], place[CHECK_TEXT];
    if (range->fault == FAULT_NONE)
        return;
    if (is_loss(range))
        check_loss_add(check, range->component, range->first, range->end);
    check_component_name(check, range->component, name);
    check_place_text(check, entry_serial(range->entry), entry_offset(range->entry), place);
    check_find(check, "%s, blocks %" PRIu64 " to %" PRIu64 "%s: %s: chunk %" PRIu64 ", %s", name, range->first,
               range->end - 1, source_texts[range->source], fault_texts[range->fault],
               entry_cid(range->entry), place);
    range->fault = FAULT_NONE;
}

void check_range_add(struct check *check, enum check_fault fault, uint32_t component, uint64_t block,
                     struct map_entry entry, enum check_source source)
{
    struct check_range *range = &check->range;
    if (range->fault == fault && range->component == component && range->end == block && range->source == source &&
        entry_serial(range->entry) == entry_serial(entry)) {
        range->end++;
        return;
    }
    check_range_end(check);
    *range = (struct check_range){fault, component, block, block + 1, entry, source};
}

static const char *copy_error_text(enum error error)
{
    if (error == ERROR_NOT_FOUND)
        return "its place is not there";
    return error == ERROR_CORRUPT ? "damaged" : error_sentence(error);
}

const char *check_node_text(const struct walk_node *node, char text[CHECK_TEXT])
{
    const struct node_identity *identity = &node->identity;
    uint64_t span = tree_span(identity->level) * MAP_LEAF_ENTRIES;
    if (identity->kind == ITEM_NODE)
        snprintf(text, CHECK_TEXT, "map of blocks %" PRIu64 " to %" PRIu64 " (level %u)", identity->number * span,
                 (identity->number + 1) * span - 1, identity->level);
    else
        snprintf(text, CHECK_TEXT, "page %" PRIu64 " of level %u", identity->number, identity->level);
    return text;
}

void check_node_birth(struct check *check, const char *what, const struct walk_node *node, uint64_t born)
{
    uint64_t birth = node->pointer.birth;
    char text[CHECK_TEXT];
    if (birth != 0 && birth >= born && birth <= check->birth_max && birth <= node->parent_birth)
        return;
    check_find(check, "%s, %s cannot have changed last at sequence %" PRIu64, what, check_node_text(node, text), birth);
}

/* A copy of it that a repair writes anew loses its place with the next publish. */
static void evidence_keep(const struct check *check, uint64_t serial, uint32_t offset, uint32_t length)
{
    const struct segments *segments = &check->group->segments;
    uint32_t index = segment_find(segments, serial);
    if (index != SEGMENT_NONE)
        evidence_add(check->pool->options.evidence, segment_device(segments, index),
                     segment_offset(segments, index) + (uint64_t)offset * GRAIN_SIZE, (uint64_t)length * GRAIN_SIZE,
                     "node or page");
}

bool check_node_judge(struct check *check, const char *what, const struct walk_node *node)
{
    bool doubled = node->pointer.second_serial != 0;
    char place[CHECK_TEXT], text[CHECK_TEXT];
    check_node_text(node, text);
    for (int copy = 0; copy < 1 + doubled; copy++) {
        if (!node->errors[copy])
            continue;
        uint64_t serial = copy ? node->pointer.second_serial : entry_serial(node->pointer.first);
        uint32_t offset = copy ? node->pointer.second_offset : entry_offset(node->pointer.first);
        evidence_keep(check, serial, offset, entry_length(node->pointer.first));
        check_find(check, "%s, %s, %s: %s: %s%s", what, text,
                   !doubled ? "only copy"
                   : copy   ? "second copy"
                            : "first copy",
                   copy_error_text(node->errors[copy]), check_place_text(check, serial, offset, place),
                   node->bytes ? "; the other copy is whole" : "");
    }
    for (int copy = 0; node->differ && copy < 2; copy++)
        evidence_keep(check, copy ? node->pointer.second_serial : entry_serial(node->pointer.first),
                      copy ? node->pointer.second_offset : entry_offset(node->pointer.first), entry_length(node->pointer.first));
    if (node->differ)
        check_find(
            check, "%s, %s: its two copies differ: %s", what, text,
            check_place_text(check, entry_serial(node->pointer.first), entry_offset(node->pointer.first), place));
    return node->bytes == NULL;
}
