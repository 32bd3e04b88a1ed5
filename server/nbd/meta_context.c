/*
 * Contexts, as a client lists and chooses them. Unknown ones are passed over, as the protocol wants it; only lengths
 * that point outside of the option are errors.
 *
 * Pure functions.
 */
#include "server/nbd/meta_context.h"

#include <string.h>

struct cursor {
    const uint8_t *at;
    size_t left;
};

static bool take_number(struct cursor *cursor, uint32_t *number)
{
    be32 wire;
    if (cursor->left < sizeof(wire))
        return false;
    memcpy(&wire, cursor->at, sizeof(wire));
    cursor->at += sizeof(wire);
    cursor->left -= sizeof(wire);
    *number = be32_get(wire);
    return true;
}

static bool take_text(struct cursor *cursor, const char **text, size_t *length)
{
    uint32_t bytes;
    if (!take_number(cursor, &bytes) || bytes > cursor->left)
        return false;
    *text = (const char *)cursor->at;
    *length = bytes;
    cursor->at += bytes;
    cursor->left -= bytes;
    return true;
}

static bool text_is(const char *text, size_t length, const char *wanted)
{
    return length == strlen(wanted) && memcmp(text, wanted, length) == 0;
}

static bool take_name(struct cursor *cursor, struct meta_context *context)
{
    const char *name;
    size_t length;
    if (!take_text(cursor, &name, &length) || length > EXPORT_NAME_BYTES_MAX || memchr(name, '\0', length))
        return false;
    memcpy(context->name, name, length);
    context->name[length] = '\0';
    return true;
}

/* What follows the prefix, where the text has it and more; NULL. */
static const char *text_behind(const char *text, size_t length, const char *prefix, size_t *left)
{
    size_t size = strlen(prefix);
    if (length <= size || memcmp(text, prefix, size) != 0)
        return NULL;
    *left = length - size;
    return text + size;
}

static void changed_add(struct meta_context *context, const char *snapshot, size_t length)
{
    if (length > OBJECT_NAME_MAX || memchr(snapshot, '\0', length) || context->changed_count == CHANGED_CONTEXTS_MAX)
        return;
    memcpy(context->changed[context->changed_count], snapshot, length);
    context->changed[context->changed_count++][length] = '\0';
}

static void query_take(struct meta_context *context, bool set, const char *query, size_t length)
{
    size_t left;
    const char *snapshot = text_behind(query, length, CHANGED_CONTEXT, &left);
    context->allocation |= text_is(query, length, ALLOCATION_CONTEXT) || (!set && text_is(query, length, "base:"));
    context->all_changed |= !set && (text_is(query, length, "coffer:") || text_is(query, length, CHANGED_CONTEXT));
    if (snapshot)
        changed_add(context, snapshot, left);
}

bool meta_context_decode(const uint8_t *data, size_t size, bool set, struct meta_context *context)
{
    struct cursor cursor = {data, size};
    uint32_t count;
    if (!take_name(&cursor, context) || !take_number(&cursor, &count))
        return false;
    context->allocation = context->all_changed = count == 0 && !set;
    context->changed_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *query;
        size_t length;
        if (!take_text(&cursor, &query, &length))
            return false;
        query_take(context, set, query, length);
    }
    return cursor.left == 0;
}

bool meta_context_holds(const struct meta_context *context, const char *name)
{
    return strcmp(context->name, name) == 0;
}
