/*
 * The method for the audit: a page of entries, and what became of verifying the whole file, which is read anew for each
 * page. No locks; nothing is written.
 */
#include "server/methods.h"

#include "engine/pool/audit_pending.h"

#define ENTRIES_MAX 2000 /* of an answer */

struct page {
    json_t *entries;
    uint64_t after;
    bool failed; /* no memory */
    bool more;
};

/* `made`: when it was done; `time` is when it was entered. The result is as it is stored, whose end says the same. */
static json_t *entry_json(const struct pool_audit_entry *entry, bool follows)
{
    uint64_t made = entry->time;
    bool proved = true, offline = audit_pending_mark_read(entry->result, &made, &proved);
    return json_pack("{s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:b, s:b, s:I}", "number", (json_int_t)entry->number, "time",
                     (json_int_t)entry->time, "uid", (json_int_t)entry->uid, "pid", (json_int_t)entry->pid, "operation",
                     entry->operation, "target", entry->target, "key", entry->key, "result", entry->result, "offline", offline,
                     "proved", proved && follows, "made", (json_int_t)made);
}

static void entry_take(void *context, const struct pool_audit_entry *entry, bool follows)
{
    struct page *page = context;
    if (entry->number <= page->after || page->failed)
        return;
    if (json_array_size(page->entries) == ENTRIES_MAX) {
        page->more = true;
        return;
    }
    page->failed = json_array_append_new(page->entries, entry_json(entry, follows)) != 0;
}

enum error method_key_audit(struct methods *methods, json_t *parameters, json_t **result)
{
    json_int_t after = json_integer_value(json_object_get(parameters, "after"));
    if (after < 0)
        return error_explain(ERROR_INVALID, "after: the number of an entry, 0 for the beginning");
    struct page page = {.entries = json_array(), .after = (uint64_t)after};
    struct pool_audit_verdict verdict;
    if (page.entries == NULL)
        return ERROR_NO_MEMORY;
    enum error error = pool_audit_read(methods->pool, entry_take, &page, &verdict);
    if (error != ERROR_NONE || page.failed) {
        json_decref(page.entries);
        return error != ERROR_NONE ? error : ERROR_NO_MEMORY;
    }
    *result = json_pack("{s:o, s:b, s:I, s:I, s:I, s:s, s:I, s:I}", "list", page.entries, "more", page.more, "entries",
                        (json_int_t)verdict.entries, "anchored", (json_int_t)verdict.anchored, "faults",
                        (json_int_t)verdict.faults, "fault", verdict.sentence, "whole_from", (json_int_t)verdict.whole_from, "whole_to",
                        (json_int_t)verdict.whole_to);
    return *result == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}
