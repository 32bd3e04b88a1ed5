/*
 * `coffer object diff`: what changed between two versions of a disk.
 *
 * The daemon answers a page at a time; extents that go on in the next page become one. All are kept, 24 bytes each, and
 * printed at the end: half an answer would be taken for a whole one.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "engine/coffer.h"
#include "tools/answer.h"
#include "tools/command.h"
#include "tools/object_call.h"
#include "tools/progress.h"
#include "tools/text.h"

struct changed {
    uint64_t offset, length;
    bool zero;
};

struct diff {
    const char *base, *name;
    char uuid[UUID_TEXT_SIZE], base_uuid[UUID_TEXT_SIZE]; /* of both, from the first page on */
    uint64_t size, base_size, next;
    struct changed *extents;
    size_t count, room;
    uint64_t data_bytes, zero_bytes;
};

/* ---- gathering ------------------------------------------------------------------------------------------------------ */

static enum error extent_add(struct diff *diff, const json_t *row)
{
    struct changed extent = {answer_figure(row, "offset"), answer_figure(row, "length"),
                             strcmp(answer_word(row, "kind"), "zero") == 0};
    struct changed *last = diff->count > 0 ? &diff->extents[diff->count - 1] : NULL;
    *(extent.zero ? &diff->zero_bytes : &diff->data_bytes) += extent.length;
    if (last != NULL && last->zero == extent.zero && last->offset + last->length == extent.offset) {
        last->length += extent.length;
        return ERROR_NONE;
    }
    if (diff->count == diff->room) {
        size_t room = diff->room == 0 ? 1024 : 2 * diff->room;
        struct changed *grown = realloc(diff->extents, room * sizeof(*grown));
        if (grown == NULL)
            return ERROR_NO_MEMORY;
        diff->extents = grown;
        diff->room = room;
    }
    diff->extents[diff->count++] = extent;
    return ERROR_NONE;
}

static enum error page_take(struct diff *diff, const json_t *page)
{
    size_t i;
    json_t *row;
    uint64_t before = diff->next;
    snprintf(diff->uuid, sizeof(diff->uuid), "%s", answer_word(page, "uuid"));
    snprintf(diff->base_uuid, sizeof(diff->base_uuid), "%s", answer_word(page, "base_uuid"));
    diff->size = answer_figure(page, "size");
    diff->base_size = answer_figure(page, "base_size");
    diff->next = answer_figure(page, "next");
    json_array_foreach(json_object_get(page, "extents"), i, row) TRY(extent_add(diff, row));
    if (diff->next <= before && diff->next < diff->size)
        return error_explain(ERROR_PROTOCOL, "cofferd gave no answer that this coffer understands: are both of one version?");
    return ERROR_NONE;
}

static enum error gather(struct tool *tool, struct diff *diff)
{
    struct progress progress;
    enum error error;
    progress_start(&progress, tool, "comparing");
    do {
        json_t *page;
        bool first = diff->uuid[0] == '\0';
        error = object_ask(tool, "object.diff",
                           json_pack("{s:s, s:s, s:I}", "name", first ? diff->name : diff->uuid, "base",
                                     first ? diff->base : diff->base_uuid, "offset", (json_int_t)diff->next),
                           &page);
        if (error != ERROR_NONE)
            break;
        error = page_take(diff, page);
        json_decref(page);
        progress_update(&progress, diff->next, diff->size);
    } while (error == ERROR_NONE && diff->next < diff->size);
    progress_clear(&progress);
    return error;
}

/* ---- printing ------------------------------------------------------------------------------------------------------- */

static enum error print_json(struct tool *tool, const struct diff *diff)
{
    json_t *head = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "base", diff->base, "name", diff->name, "base_size",
                             (json_int_t)diff->base_size, "size", (json_int_t)diff->size, "data_bytes",
                             (json_int_t)diff->data_bytes, "zero_bytes", (json_int_t)diff->zero_bytes);
    AUTO_FREE char *text = head == NULL ? NULL : json_dumps(head, JSON_COMPACT);
    json_decref(head);
    if (text == NULL)
        return ERROR_NO_MEMORY;
    fprintf(tool->out, "%.*s,\"extents\":[", (int)strlen(text) - 1, text);
    for (size_t i = 0; i < diff->count; i++)
        fprintf(tool->out, "%s\n{\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"kind\":\"%s\"}", i == 0 ? "" : ",",
                diff->extents[i].offset, diff->extents[i].length, diff->extents[i].zero ? "zero" : "data");
    fputs("]}\n", tool->out);
    return ERROR_NONE;
}

static void print_text(struct tool *tool, const struct diff *diff)
{
    char data[TEXT_SIZE], zero[TEXT_SIZE];
    if (diff->count > 0)
        fprintf(tool->out, "%16s %16s  KIND\n", "OFFSET", "LENGTH");
    for (size_t i = 0; i < diff->count; i++)
        fprintf(tool->out, "%16" PRIu64 " %16" PRIu64 "  %s\n", diff->extents[i].offset, diff->extents[i].length,
                diff->extents[i].zero ? "zero" : "data");
    fprintf(tool->out, "From '%s' to '%s': %s written, %s zeroed, in %zu extent%s.\n", diff->base, diff->name,
            text_size(diff->data_bytes, data), text_size(diff->zero_bytes, zero), diff->count,
            diff->count == 1 ? "" : "s");
    if (diff->size != diff->base_size)
        fprintf(tool->out, "The size went from %s to %s.\n", text_size(diff->base_size, data),
                text_size(diff->size, zero));
}

static enum error run_diff(struct tool *tool, const struct arguments *arguments)
{
    struct diff diff = {.base = arguments->positional[0]};
    AUTO_FREE char *object = strndup(diff.base, strcspn(diff.base, "@"));
    if (object == NULL)
        return ERROR_NO_MEMORY;
    diff.name = arguments->positional_count > 1 ? arguments->positional[1] : object;
    enum error error = gather(tool, &diff);
    if (error == ERROR_NONE && tool->json)
        error = print_json(tool, &diff);
    else if (error == ERROR_NONE)
        print_text(tool, &diff);
    free(diff.extents);
    return error;
}

static const struct option_row no_options[] = {{NULL}};

const struct command command_object_diff = {
    .noun = "object",
    .verb = "diff",
    .arguments = "NAME@SNAPSHOT [NAME[@SNAPSHOT]]",
    .summary = "what changed since a snapshot",
    .text = "Lists the parts of a disk, or of the second snapshot, that are not what they were in the first: \"data\" was\n"
            "written, \"zero\" reads as zeros now. What is not listed has the same bytes in both. Takes as long as there\n"
            "are changes, whatever the size of the disk. A part that was written with what it held before may be listed.\n"
            "Over NBD the context coffer:changed:SNAPSHOT of an export tells the same.",
    .examples = "  coffer object diff disk1@monday disk1@tuesday\n"
                "  coffer --json object diff disk1@monday | jq .data_bytes\n",
    .positional_min = 1,
    .positional_max = 2,
    .options = no_options,
    .run = run_diff,
};
