/*
 * More small files of the pool directory. The first byte chooses: 0, 1: `scrub`, its seal fitting or as it lies there; 2:
 * `deep-rekey`; 3: `audit-pending`, whose lines a seal proves or not as the second byte says; 4: the mark at the end of an
 * entry's result, which others have a say in.
 *
 * Files are the input (--wrap): what reads one gets it, what writes one is read again at once and has to be taken as the same.
 * The audit is one that takes every entry.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "engine/pool/audit.h"
#include "engine/pool/audit_pending.h"
#include "engine/pool/deep_rekey.h"
#include "engine/pool/scrub.h"

#define KINDS 5
#define DATA_KEY 0x17u

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
enum error __wrap_file_read(const char *path, size_t size_max, void **data, size_t *size);
enum error __wrap_file_replace(const char *path, const void *data, size_t size);
int __real_memory_compare_constant_time(const void *a, const void *b, size_t size);
int __wrap_memory_compare_constant_time(const void *a, const void *b, size_t size);
bool __wrap_audit_add(struct audit *audit, const struct pool_audit_entry *entry);
bool __wrap_audit_proves(struct audit *audit, const uint8_t before[32], const struct audit_line *line);

static struct { const void *bytes; size_t size; } input;
static struct { char *bytes; size_t size; } written;
static bool seal_fits, proved;
static size_t entries, lines_told;
static struct damages damages;
static struct pool pool = {.damages = &damages};

enum error __wrap_file_read(const char *path, size_t size_max, void **data, size_t *size)
{
    (void)path;
    if (input.size > size_max)
        return ERROR_TOO_LARGE;
    *data = malloc(input.size + 1);
    if (*data == NULL)
        return ERROR_NO_MEMORY;
    memcpy(*data, input.bytes, input.size);
    *size = input.size;
    return ERROR_NONE;
}

enum error __wrap_file_replace(const char *path, const void *data, size_t size)
{
    (void)path;
    free(written.bytes);
    written.bytes = malloc(size);
    ASSERT(written.bytes != NULL);
    memcpy(written.bytes, data, size);
    written.size = size;
    return ERROR_NONE;
}

int __wrap_memory_compare_constant_time(const void *a, const void *b, size_t size)
{
    return seal_fits ? 0 : __real_memory_compare_constant_time(a, b, size);
}

/* ---- scrub ----------------------------------------------------------------------------------------------------------------- */

static void scrub_check(const struct scrub *scrub)
{
    struct damage *rows;
    size_t count;
    bool more;
    ASSERT(scrub->job.state <= SCRUB_COMPLETE && scrub->job.step < SCRUB_STEPS);
    ASSERT(scrub->job.rate == 0 || scrub->job.rate >= SCRUB_RATE_MIN);
    ASSERT(damages_copy(&damages, true, &rows, &count, &more) == ERROR_NONE && count <= DAMAGES_MAX);
    for (size_t i = 0; i < count; i++)
        ASSERT(rows[i].kind > 0 && rows[i].kind < DAMAGE_KINDS && rows[i].fault > 0 && rows[i].fault < DAMAGE_FAULTS &&
               rows[i].first < rows[i].end && rows[i].device < GROUP_DEVICES);
    free(rows);
}

static void scrub_run(void)
{
    static uint8_t key[KEY_SIZE];
    struct scrub scrub = {.pool = &pool, .key = key, .path = (char *)"scrub"}, again = scrub;
    damages_clear(&damages);
    enum error error = scrub_load(&scrub);
    ASSERT(error == ERROR_NONE || atomic_load(&damages.count) == 0);
    if (error != ERROR_NONE)
        return;
    scrub_check(&scrub);
    ASSERT(scrub_save(&scrub, &scrub.job) == ERROR_NONE);
    seal_fits = false; /* its own does */
    input.bytes = written.bytes;
    input.size = written.size;
    ASSERT(scrub_load(&again) == ERROR_NONE && memcmp(&scrub.job, &again.job, sizeof scrub.job) == 0);
}

/* ---- deep-rekey ------------------------------------------------------------------------------------------------------------ */

static void orders_run(void)
{
    struct deep_rekey_orders once, twice;
    if (!deep_rekey_orders_load("", DATA_KEY, &once))
        return;
    ASSERT(once.data_key == DATA_KEY && (once.rate == 0 || once.rate >= DEEP_REKEY_RATE_MIN));
    ASSERT(deep_rekey_orders_save("", &once) == ERROR_NONE);
    input.bytes = written.bytes;
    input.size = written.size;
    ASSERT(deep_rekey_orders_load("", DATA_KEY, &twice));
    ASSERT(once.rate == twice.rate && once.paused == twice.paused);
}

/* ---- audit-pending --------------------------------------------------------------------------------------------------------- */

/* Each entry says when it was, and whether that is proved, whatever the line said of it. */
bool __wrap_audit_add(struct audit *audit, const struct pool_audit_entry *entry)
{
    uint64_t made;
    bool says;
    (void)audit;
    ASSERT(memchr(entry->result, 0, sizeof entry->result) && memchr(entry->operation, 0, sizeof entry->operation));
    if (strcmp(entry->operation, "audit.found") == 0 && !audit_pending_mark_read(entry->result, &made, &says)) {
        lines_told++;
        return true;
    }
    ASSERT(audit_pending_mark_read(entry->result, &made, &says) && says == proved);
    ASSERT(made == entry->time || made == 0);
    entries++;
    return true;
}

bool __wrap_audit_proves(struct audit *audit, const uint8_t before[32], const struct audit_line *line)
{
    (void)audit, (void)before, (void)line;
    return proved;
}

static void pending_run(const char *text, size_t size)
{
    bool moved;
    entries = lines_told = 0;
    size_t taken = audit_pending_take_text(NULL, text, size, &moved);
    ASSERT(taken <= size && entries <= AUDIT_PENDING_AT_ONCE && lines_told <= 1);
    ASSERT(taken == size || (entries == AUDIT_PENDING_AT_ONCE && text[taken - 1] == '\n'));
    ASSERT(moved == (entries + lines_told > 0));
}

static void mark_run(const char *text, size_t size)
{
    char result[sizeof((struct pool_audit_entry *)0)->result];
    uint64_t made;
    bool says;
    size = MIN(size, sizeof result - 1);
    memcpy(result, text, size);
    result[size] = 0;
    (void)audit_pending_mark_read(result, &made, &says);
    audit_pending_mark_break(result);
    ASSERT(!audit_pending_mark_read(result, &made, &says));
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    message_level_set((enum message_level)0);
    damages_init(&damages);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    unsigned kind = data[0] % KINDS;
    error_forget();
    input.bytes = text;
    input.size = --size;
    seal_fits = kind == 0;
    if (kind < 2) {
        scrub_run();
    } else if (kind == 2) {
        orders_run();
    } else if (kind == 3 && size > 0) {
        proved = *text % 2 != 0;
        pending_run(text + 1, size - 1);
    } else if (kind == 4) {
        mark_run(text, size);
    }
    return 0;
}
