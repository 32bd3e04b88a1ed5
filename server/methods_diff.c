/*
 * The method that tells what changed between two versions, a page at a time: the one that asks goes on at `next`, with the UUIDs
 * that were answered, since a name may come to be another's between two pages.
 *
 * A page is bounded in extents, and in the time after which no further step is begun, so no connection keeps a thread for
 * long and no answer grows with the disk. Both versions are open meanwhile and cannot be deleted, but the pool can be locked.
 * No locks of its own; nothing is changed.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "server/methods.h"

#define PAGE_EXTENTS     8192 /* half a megabyte of JSON */
#define PAGE_NANOSECONDS (CLOCK_SECOND / 4)
#define STEP_EXTENTS     512

struct page {
    struct volume *volume, *base;
    json_t *rows;
    uint64_t next;
};

static const char *const kinds[] = {[CHANGE_DATA] = "data", [CHANGE_ZERO] = "zero"};

static enum error extents_add(struct page *page, const struct change_extent *extents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *row = NULL;
        if (extents[i].kind != CHANGE_NONE)
            row = json_pack("{s:I, s:I, s:s}", "offset", (json_int_t)page->next, "length",
                            (json_int_t)extents[i].length, "kind", kinds[extents[i].kind]);
        if (extents[i].kind != CHANGE_NONE && json_array_append_new(page->rows, row) != 0)
            return ERROR_NO_MEMORY;
        page->next += extents[i].length;
    }
    return ERROR_NONE;
}

static enum error page_fill(struct page *page)
{
    struct change_extent extents[STEP_EXTENTS];
    uint64_t size = volume_size(page->volume), begin = clock_monotonic();
    while (page->next < size && json_array_size(page->rows) <= PAGE_EXTENTS - STEP_EXTENTS &&
           clock_monotonic() - begin < PAGE_NANOSECONDS) {
        size_t count;
        TRY(volume_changes(page->volume, page->base, page->next, size - page->next, extents, STEP_EXTENTS, &count));
        TRY(extents_add(page, extents, count));
    }
    return ERROR_NONE;
}

static enum error page_answer(struct page *page, json_t **result)
{
    page->rows = json_array();
    if (page->rows == NULL)
        return ERROR_NO_MEMORY;
    enum error error = page_fill(page);
    json_t *made = NULL;
    if (error == ERROR_NONE) {
        char uuid[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE];
        uuid_format(volume_uuid(page->volume), uuid);
        uuid_format(volume_uuid(page->base), base);
        made = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O}", "uuid", uuid, "base_uuid", base, "size", (json_int_t)volume_size(page->volume), "base_size",
                         (json_int_t)volume_size(page->base), "next", (json_int_t)page->next, "extents", page->rows);
        error = made == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    }
    json_decref(page->rows);
    if (error == ERROR_NONE)
        *result = made;
    return error;
}

static enum error volumes_open(struct methods *methods, json_t *parameters, struct page *page)
{
    TRY(volume_look(methods->pool, json_string_value(json_object_get(parameters, "base")), &page->base));
    enum error error =
        volume_look(methods->pool, json_string_value(json_object_get(parameters, "name")), &page->volume);
    if (error != ERROR_NONE)
        volume_close(page->base);
    return error;
}

enum error method_object_diff(struct methods *methods, json_t *parameters, json_t **result)
{
    json_int_t offset = json_integer_value(json_object_get(parameters, "offset"));
    if (offset < 0 || offset % COFFER_BLOCK != 0)
        return error_explain(ERROR_INVALID, "an offset must be a multiple of %d", COFFER_BLOCK);
    struct page page = {.next = (uint64_t)offset};
    TRY(volumes_open(methods, parameters, &page));
    enum error error = page_answer(&page, result);
    volume_close(page.volume);
    volume_close(page.base);
    return error;
}
