/*
 * The audit is a file of the pool directory, which no power failure of a device takes, so what was read of it once must be
 * there for ever; each entry follows from the one before, and its anchors fit.
 *
 * Known damage comes from reads that failed. What was known when the pool was opened says the scrub (scrubs.c).
 *
 * Nothing is changed here. Any one thread at a time.
 */
#include "tests/crash/records.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct reading {
    uint64_t entries, last;
};

static void entry_take(void *context, const struct pool_audit_entry *entry, bool follows)
{
    struct reading *reading = context;
    if (!follows && reading->entries != 0)
        fail("entry %llu of the audit does not follow from the one before", (unsigned long long)entry->number);
    if (reading->entries != 0 && entry->number != reading->last + 1)
        fail("entry %llu of the audit comes behind %llu", (unsigned long long)entry->number, (unsigned long long)reading->last);
    if (entry->operation[0] == '\0' || entry->result[0] == '\0')
        fail("entry %llu of the audit says nothing", (unsigned long long)entry->number);
    reading->entries++;
    reading->last = entry->number;
}

static void audit_judge(struct session *session, struct pool *pool)
{
    struct pool_audit_verdict verdict;
    struct reading reading = {0};
    enum error error = pool_audit_read(pool, entry_take, &reading, &verdict);
    if (!session->settings.encryption) {
        if (error != ERROR_INVALID)
            fail("the audit of a pool without keys: %s", error_name(error));
        return;
    }
    /* Where memory lacked at the open, it has no keys. */
    if (error == ERROR_LOCKED && session_met(TROUBLE_MEMORY))
        return;
    if (!succeeds(session, error, "read of the audit"))
        return;
    if (verdict.faults != 0)
        fail("the audit has %llu faults: %s", (unsigned long long)verdict.faults, verdict.sentence);
    if (verdict.entries != reading.entries || verdict.entries < session->audit.entries || verdict.anchored > reading.last)
        fail("the audit has %llu entries, %llu of them told, the last %llu, anchored %llu; it had %llu",
             (unsigned long long)verdict.entries, (unsigned long long)reading.entries, (unsigned long long)reading.last,
             (unsigned long long)verdict.anchored, (unsigned long long)session->audit.entries);
    session->audit.entries = verdict.entries;
    atomic_fetch_add(&session->done[DONE_RECORDS], 1);
}

static void damage_judge(const struct damage_info *info)
{
    static const char *const kinds[] = {"data", "unit", "map", "table", "header", "superblock", "checkpoint"};
    bool known = false;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        known |= strcmp(info->kind, kinds[i]) == 0;
    if (!known || info->sentence[0] == '\0')
        fail("damage of kind '%s': '%s'", info->kind, info->sentence);
    if (strcmp(info->kind, "data") == 0 && (info->length == 0 || info->offset > OBJECT_SIZE_MAX - info->length))
        fail("damage of %llu bytes at %llu of '%s'", (unsigned long long)info->length, (unsigned long long)info->offset,
             info->object);
}

static void damages_judge(struct session *session, struct pool *pool)
{
    struct scrub_status status;
    struct damage_info *infos;
    size_t count;
    bool more, known = true;
    if (succeeds(session, pool_scrub_status(pool, &status), "status of a scrub"))
        known = status.damages != 0;
    if (!succeeds(session, pool_damages(pool, &infos, &count, &more), "known damage"))
        return;
    for (size_t i = 0; i < count; i++)
        damage_judge(&infos[i]);
    free(infos);
    if (count != 0 && !known && !session_met(TROUBLE_READS))
        fail("%zu places are known to be damaged, of which a scrub says nothing", count);
}

void records_judge(struct session *session, struct pool *pool)
{
    audit_judge(session, pool);
    if (!atomic_load(&session->over))
        damages_judge(session, pool);
}
