/*
 * The file of the audit: appending to it, and reading it whole.
 *
 * An entry is appended and synced before its anchor is moved: after a crash the file may be ahead of its anchors, never
 * behind. A line that a crash left unfinished was covered by no anchor; its bytes are taken off when the next entry is
 * written, and told. A line whose seal does not fit the one before it, or that is no entry, is never touched: what comes
 * behind it is sealed to the seal that it states (none: zeros), so that a reader finds each fault once and goes on. Behind
 * a file that was replaced entries are sealed to the anchor: the break shows for ever, wherever the anchor moves.
 *
 * mutex: everything; held over the write of a line. Taken under pool->lock or by itself, and nothing is taken inside.
 */
#include "engine/pool/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/owner.h"
#include "base/thread.h"
#include "crypto/arena.h"
#include "crypto/hierarchy.h"

#define TAIL_BYTES 65536 /* of the file, in which its last entry and the anchored one are looked for */
#define SEAL_SIZE  32

struct audit {
    char *path;
    struct mutex mutex;
    struct k_pools_derived *keys; /* derived from the pool's, in the arena; NULL: entries wait */
    struct audit_anchor end; /* the highest number that was given; the seal of the last line, zeros where it is no entry */
    uint64_t written;        /* entries since the open, for who asks whether anything moved */
    struct pool_audit_entry waiting[AUDIT_WAITING_MAX];
    size_t waiting_count;
    uint64_t lost;    /* for which there was no room */
    char fault[AUDIT_SENTENCE_MAX];   /* of the file, found when it was opened; "": none */
    char failure[AUDIT_SENTENCE_MAX]; /* of the last write; "": none */
};

struct audit *audit_create(const char *directory)
{
    struct audit *audit = memory_zeroed(1, sizeof *audit);
    if (!audit)
        return NULL;
    audit->path = file_join(directory, AUDIT_NAME);
    if (!audit->path) {
        free(audit);
        return NULL;
    }
    mutex_init(&audit->mutex, RANK_LEAF);
    return audit;
}

void audit_destroy(struct audit *audit)
{
    if (!audit)
        return;
    arena_free(audit->keys);
    mutex_deinit(&audit->mutex);
    free(audit->path);
    free(audit);
}

/* ---- the end of the file ------------------------------------------------------------------------------------------------- */

static enum error failed(const struct audit *audit, const char *what)
{
    return error_from_errno(errno, "cannot %s %s", what, audit->path);
}

static enum error tail_read(struct audit *audit, int descriptor, char *tail, size_t *size)
{
    off_t end = lseek(descriptor, 0, SEEK_END);
    if (end < 0)
        return failed(audit, "find the end of");
    *size = (size_t)MIN(end, (off_t)TAIL_BYTES);
    if (pread(descriptor, tail, *size, end - (off_t)*size) != (ssize_t)*size)
        return failed(audit, "read");
    return ERROR_NONE;
}

/* What a crash left of a line. */
static enum error torn_cut(struct audit *audit, int descriptor, const char *tail, size_t *size)
{
    size_t whole = *size;
    while (whole > 0 && tail[whole - 1] != '\n')
        whole--;
    if (whole == *size)
        return ERROR_NONE;
    off_t end = lseek(descriptor, 0, SEEK_END);
    message(MESSAGE_WARNING, "%s: its last line was not finished; %zu bytes are taken off: %.*s", audit->path, *size - whole,
            (int)(*size - whole), tail + whole);
    if (end < 0 || ftruncate(descriptor, end - (off_t)(*size - whole)) != 0)
        return failed(audit, "shorten");
    *size = whole;
    return ERROR_NONE;
}

/* The line that ends before `end`, which is where a newline stands or 0; *begin: where it begins. */
static bool line_before(const char *tail, size_t end, size_t *begin)
{
    if (end == 0)
        return false;
    for (*begin = end - 1; *begin > 0 && tail[*begin - 1] != '\n';)
        --*begin;
    return true;
}

static void fault_set(struct audit *audit, const char *sentence)
{
    if (audit->fault[0] == '\0')
        snprintf(audit->fault, sizeof audit->fault, "%s: %s", audit->path, sentence);
}

static void behind_anchor(struct audit *audit, uint64_t highest, const struct audit_anchor *anchor)
{
    char sentence[AUDIT_SENTENCE_MAX / 2];
    if (highest == 0)
        snprintf(sentence, sizeof sentence, "its %llu entries are missing: it was removed or replaced",
                 (unsigned long long)anchor->count);
    else
        snprintf(sentence, sizeof sentence, "entries %llu to %llu are missing: its end was cut off",
                 (unsigned long long)highest + 1, (unsigned long long)anchor->count);
    fault_set(audit, sentence);
}

/* Whether an entry follows from what stands before it. */
static bool seal_fits(const struct audit *audit, const struct audit_line *line, const struct audit_line *before)
{
    uint8_t seal[SEAL_SIZE];
    const uint8_t *key = k_pools_find(&audit->keys->of, line->entry.pool_key);
    return key && audit_seal(key, before->seal, &line->entry, seal) == ERROR_NONE &&
           memory_compare_constant_time(seal, line->seal, SEAL_SIZE) == 0;
}

/* Nothing is entered under a key that was replaced: what follows one of a later key, or stands behind the anchor, is not ours. */
static bool key_is_late(const struct audit *audit, const struct pool_audit_entry *entry, const struct audit_anchor *anchor)
{
    return entry->number > anchor->count && entry->pool_key < audit->keys->of.demanded;
}

/* *is: whether it is one; without memory it is not known. */
static enum error tail_line_decode(const char *text, size_t size, struct audit_line *line, bool *is)
{
    enum error error = audit_line_decode(text, size, line);
    *is = error == ERROR_NONE;
    if (error != ERROR_CORRUPT)
        return error;
    error_forget();
    return ERROR_NONE;
}

/* What stands before a line; zeros where that is no entry. *known false: it is out of sight. */
static enum error before_take(const char *tail, size_t begin, bool whole_file, struct audit_line *before, bool *known)
{
    size_t earlier;
    bool is;
    *before = (struct audit_line){0};
    *known = whole_file;
    if (!line_before(tail, begin, &earlier) || (earlier == 0 && !whole_file))
        return ERROR_NONE;
    *known = true;
    TRY(tail_line_decode(tail + earlier, begin - earlier - 1, before, &is));
    if (!is)
        *before = (struct audit_line){0};
    return ERROR_NONE;
}

/* Whether the last line follows from the one before it, and whether the anchored one, where it is near, is the one that was
 * anchored. The rest is verified by who reads it. A number counts only where its seal fits: the next one is above it. */
static enum error tail_judge(struct audit *audit, const char *tail, size_t size, bool whole_file, const struct audit_anchor *anchor)
{
    struct audit_line line = {0}, before;
    size_t begin, end = size;
    uint64_t highest = 0;
    uint32_t later = UINT32_MAX; /* the lowest K_pool of what stands behind */
    bool last = true, is, known;
    for (; line_before(tail, end, &begin) && (begin > 0 || whole_file); end = begin, last = false) {
        TRY(tail_line_decode(tail + begin, end - begin - 1, &line, &is));
        if (!is) {
            if (last)
                fault_set(audit, "its last line is no entry");
            continue;
        }
        if (last)
            memcpy(audit->end.head, line.seal, SEAL_SIZE);
        TRY(before_take(tail, begin, whole_file, &before, &known));
        bool fits = known && seal_fits(audit, &line, &before), late = fits && key_is_late(audit, &line.entry, anchor);
        if (fits && !late)
            highest = MAX(highest, line.entry.number);
        else if (known && !late)
            fault_set(audit, "the seal of an entry near its end does not fit");
        if (late || (fits && line.entry.pool_key > later))
            fault_set(audit, "an entry near its end is sealed under a key of the pool that a deep rekey had replaced");
        if (fits)
            later = MIN(later, line.entry.pool_key);
        if (line.entry.number == anchor->count && memory_compare_constant_time(line.seal, anchor->head, SEAL_SIZE) != 0) {
            fault_set(audit, "the entry that was anchored is another one: it was replaced");
            memcpy(audit->end.head, anchor->head, SEAL_SIZE);
        }
    }
    if (highest < anchor->count)
        behind_anchor(audit, highest, anchor);
    audit->end.count = MAX(highest, anchor->count);
    return ERROR_NONE;
}

/* A regular file with this name only, whoever may write to the directory. */
static enum error file_check(const struct audit *audit, int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return failed(audit, "look at");
    return S_ISREG(status.st_mode) && status.st_nlink == 1
               ? ERROR_NONE
               : error_explain(ERROR_INVALID, "%s is no regular file with one name: move it away", audit->path);
}

static enum error file_open(struct audit *audit, int *descriptor)
{
    const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    *descriptor = open(audit->path, flags | O_CREAT | O_EXCL, 0600);
    bool is_new = *descriptor >= 0;
    if (!is_new && errno == EEXIST)
        *descriptor = open(audit->path, flags);
    if (*descriptor < 0)
        return failed(audit, "open");
    enum error error = is_new ? owner_give(*descriptor, audit->path) : file_check(audit, *descriptor);
    if (error)
        close(*descriptor);
    return error;
}

/* NULL and ERROR_NONE: there is none. */
static enum error file_look(struct audit *audit, FILE **file)
{
    int descriptor = open(audit->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *file = NULL;
    if (descriptor < 0)
        return errno == ENOENT ? ERROR_NONE : failed(audit, "open");
    enum error error = file_check(audit, descriptor);
    *file = error ? NULL : fdopen(descriptor, "r");
    if (!*file)
        close(descriptor);
    return error ? error : *file ? ERROR_NONE : ERROR_NO_MEMORY;
}

static enum error tail_take(struct audit *audit, const struct audit_anchor *anchor)
{
    int descriptor;
    size_t size;
    AUTO_FREE char *tail = malloc(TAIL_BYTES);
    if (!tail)
        return ERROR_NO_MEMORY;
    TRY(file_open(audit, &descriptor));
    enum error error = tail_read(audit, descriptor, tail, &size);
    bool whole_file = !error && lseek(descriptor, 0, SEEK_END) == (off_t)size;
    if (!error)
        error = torn_cut(audit, descriptor, tail, &size);
    close(descriptor);
    TRY(error);
    audit->end = (struct audit_anchor){0};
    return tail_judge(audit, tail, size, whole_file, anchor);
}

/* ---- appending ------------------------------------------------------------------------------------------------------------- */

static enum error line_append(struct audit *audit, const char *text)
{
    int descriptor;
    TRY(file_open(audit, &descriptor));
    size_t size = strlen(text);
    enum error error = ERROR_NONE;
    off_t end = lseek(descriptor, 0, SEEK_END);
    if (end < 0 || write(descriptor, text, size) != (ssize_t)size || fsync(descriptor) != 0) {
        error = failed(audit, "write to");
        if (end >= 0 && ftruncate(descriptor, end) != 0)
            message(MESSAGE_WARNING, "%s: part of an entry stays at its end: %s", audit->path, strerror(errno));
    }
    close(descriptor);
    return error;
}

static enum error entry_write(struct audit *audit, const struct pool_audit_entry *entry)
{
    struct audit_line line = {.entry = *entry};
    AUTO_FREE char *text = NULL;
    line.entry.number = audit->end.count + 1;
    line.entry.pool_key = audit->keys->of.current;
    TRY(audit_seal(k_pools_current(&audit->keys->of), audit->end.head, &line.entry, line.seal));
    TRY(audit_line_encode(&line, &text));
    TRY(line_append(audit, text));
    audit->end.count = line.entry.number;
    memcpy(audit->end.head, line.seal, SEAL_SIZE);
    audit->written++;
    return ERROR_NONE;
}

static void ascii_only(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

void audit_entry_clean(struct pool_audit_entry *entry)
{
    entry->time = clock_seconds();
    ascii_only(entry->operation);
    ascii_only(entry->target);
    ascii_only(entry->key);
    ascii_only(entry->result);
}

static void wait(struct audit *audit, const struct pool_audit_entry *entry)
{
    if (audit->waiting_count < AUDIT_WAITING_MAX)
        audit->waiting[audit->waiting_count++] = *entry;
    else
        audit->lost++;
}

static enum error own_write(struct audit *audit, const char *operation, const char *result)
{
    struct pool_audit_entry entry = {.uid = (uint32_t)geteuid(), .pid = (uint32_t)getpid()};
    snprintf(entry.operation, sizeof entry.operation, "%s", operation);
    snprintf(entry.target, sizeof entry.target, "%s", AUDIT_NAME);
    snprintf(entry.result, sizeof entry.result, "%s", result);
    audit_entry_clean(&entry);
    return entry_write(audit, &entry);
}

static enum error waiting_write(struct audit *audit)
{
    size_t done = 0;
    enum error error = ERROR_NONE;
    while (done < audit->waiting_count && !error) {
        error = entry_write(audit, &audit->waiting[done]);
        done += error == ERROR_NONE;
    }
    memmove(audit->waiting, audit->waiting + done, (audit->waiting_count - done) * sizeof audit->waiting[0]);
    audit->waiting_count -= done;
    if (!error && audit->lost) {
        char text[64];
        snprintf(text, sizeof text, "%llu entries had no room", (unsigned long long)audit->lost);
        error = own_write(audit, "audit.lost", text);
        audit->lost = error ? audit->lost : 0;
    }
    return error;
}

static void failure_note(struct audit *audit, enum error error)
{
    bool told = audit->failure[0] != '\0';
    audit->failure[0] = '\0';
    if (!error)
        return;
    snprintf(audit->failure, sizeof audit->failure, "%s", error_sentence(error));
    if (!told)
        message(MESSAGE_WARNING, "the audit is behind: %s", audit->failure);
    error_forget();
}

static enum error keys_derive(struct uuid pool, const struct k_pools *k_pools, struct k_pools_derived **keys)
{
    struct k_pools_derived *derived = arena_allocate(sizeof *derived);
    if (!derived)
        return ERROR_NO_MEMORY;
    enum error error = k_pools_derive(k_pools, pool, audit_key_derive, derived);
    if (error)
        arena_free(derived);
    else
        *keys = derived;
    return error;
}

enum error audit_rekey(struct audit *audit, struct uuid pool, const struct k_pools *k_pools)
{
    struct k_pools_derived *keys;
    TRY(keys_derive(pool, k_pools, &keys));
    mutex_lock(&audit->mutex);
    struct k_pools_derived *before = audit->keys;
    if (before)
        audit->keys = keys;
    mutex_unlock(&audit->mutex);
    arena_free(before ? before : keys);
    return ERROR_NONE;
}

enum error audit_begin(struct audit *audit, struct uuid pool, const struct k_pools *k_pools, const struct audit_anchor *anchor)
{
    struct k_pools_derived *keys;
    TRY(keys_derive(pool, k_pools, &keys));
    mutex_lock(&audit->mutex);
    ASSERT(!audit->keys);
    audit->keys = keys;
    enum error error;
    audit->fault[0] = '\0';
    error = tail_take(audit, anchor);
    if (!error && audit->fault[0] != '\0') {
        message(MESSAGE_WARNING, "%s", audit->fault);
        error = own_write(audit, "audit.found", audit->fault + strlen(audit->path) + 2);
    }
    if (!error)
        error = waiting_write(audit);
    failure_note(audit, error);
    if (error) { /* where its end is not known nothing can be put behind it */
        arena_free(audit->keys);
        audit->keys = NULL;
    }
    mutex_unlock(&audit->mutex);
    return ERROR_NONE;
}

void audit_end(struct audit *audit)
{
    mutex_lock(&audit->mutex);
    arena_free(audit->keys);
    audit->keys = NULL;
    mutex_unlock(&audit->mutex);
}

bool audit_add(struct audit *audit, const struct pool_audit_entry *entry)
{
    struct pool_audit_entry clean = *entry;
    audit_entry_clean(&clean);
    mutex_lock(&audit->mutex);
    uint64_t before = audit->written;
    wait(audit, &clean);
    if (audit->keys)
        failure_note(audit, waiting_write(audit));
    bool moved = audit->written > before;
    mutex_unlock(&audit->mutex);
    return moved;
}

bool audit_proves(struct audit *audit, const uint8_t before[SEAL_SIZE], const struct audit_line *line)
{
    struct audit_line zeroth = {0};
    memcpy(zeroth.seal, before, SEAL_SIZE);
    mutex_lock(&audit->mutex);
    bool proves = audit->keys && line->entry.pool_key >= audit->keys->of.demanded && seal_fits(audit, line, &zeroth);
    mutex_unlock(&audit->mutex);
    return proves;
}

void audit_anchor_get(struct audit *audit, struct audit_anchor *anchor)
{
    mutex_lock(&audit->mutex);
    *anchor = audit->end;
    mutex_unlock(&audit->mutex);
}

void audit_state(struct audit *audit, struct pool_audit_state *state)
{
    mutex_lock(&audit->mutex);
    *state = (struct pool_audit_state){.entries = audit->end.count, .waiting = audit->waiting_count, .lost = audit->lost};
    snprintf(state->fault, sizeof state->fault, "%s", audit->fault);
    snprintf(state->failure, sizeof state->failure, "%s", audit->failure);
    mutex_unlock(&audit->mutex);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

struct reading {
    const struct audit *audit;
    const struct audit_anchor *anchor;
    pool_audit_visit *visit;
    void *context;
    struct pool_audit_verdict *verdict;
    uint64_t line, number;
    uint32_t pool_key; /* the highest that sealed an entry */
    uint64_t broken, broken_before; /* the last line that does not follow, in this pass and in the one before */
    uint8_t before[SEAL_SIZE];
    bool anchor_seen;
    bool begin_told; /* the sentence is of a begin that is missing: any other fault takes its place */
};

#define FAULT(reading, ...)                                                                                                       \
    do {                                                                                                                          \
        if ((reading)->verdict->faults++ == 0 || (reading)->begin_told)                                                           \
            snprintf((reading)->verdict->sentence, sizeof(reading)->verdict->sentence, __VA_ARGS__);                              \
        (reading)->begin_told = false;                                                                                            \
    } while (0)

/* Of a backup that had no room for all, or of a file that somebody cut: nothing tells the two apart, so it is a fault for ever. */
static void number_fault(struct reading *reading, unsigned long long number)
{
    unsigned long long at = reading->line, expected = reading->number + 1;
    if (at == 1 && number > 1) {
        FAULT(reading, "line 1 is entry %llu, entry 1 was expected: %llu are missing at its begin", number, number - 1);
        reading->begin_told = true;
    } else
        FAULT(reading, "line %llu is entry %llu, entry %llu was expected", at, number, expected);
}

/* The first line of a file that begins later does not follow: what its seal stands upon is missing. */
static void run_extend(struct reading *reading, uint64_t number, bool follows)
{
    struct pool_audit_verdict *verdict = reading->verdict;
    verdict->whole_from = follows ? (verdict->whole_from ? verdict->whole_from : number) : 0;
    verdict->whole_to = follows ? number : 0;
    if (!follows)
        reading->broken = reading->line;
}

/* Whoever kept a replaced key makes entries that follow from one another; that they are ours is proved by what stands behind them. */
static bool is_proved(const struct reading *reading, const struct pool_audit_entry *entry, bool follows)
{
    return follows && (entry->pool_key >= reading->audit->keys->of.demanded || reading->line > reading->broken_before);
}

/* Whether the entry is sealed, behind what stands before it, under a K_pool that may seal it. */
static bool seal_judge(struct reading *reading, const struct audit_line *line)
{
    const struct pool_audit_entry *entry = &line->entry;
    struct audit_line before = {0};
    memcpy(before.seal, reading->before, SEAL_SIZE);
    if (!seal_fits(reading->audit, line, &before))
        return false;
    if (entry->pool_key < reading->pool_key || key_is_late(reading->audit, entry, reading->anchor)) {
        FAULT(reading, "entry %llu is sealed under key %u of the pool, which a deep rekey had replaced", (unsigned long long)entry->number,
              (unsigned)entry->pool_key);
        return false;
    }
    reading->pool_key = entry->pool_key;
    return true;
}

static enum error line_judge(struct reading *reading, const char *text, size_t size)
{
    struct audit_line line;
    unsigned long long at = ++reading->line, faults;
    enum error error = audit_line_decode(text, size, &line);
    if (error == ERROR_CORRUPT) {
        error_forget();
        FAULT(reading, "line %llu is no entry", at);
        memset(reading->before, 0, SEAL_SIZE);
        run_extend(reading, 0, false);
        return ERROR_NONE;
    }
    TRY(error);
    unsigned long long number = line.entry.number;
    bool in_turn = number == reading->number + 1;
    if (!in_turn)
        number_fault(reading, number);
    faults = reading->verdict->faults;
    bool follows = seal_judge(reading, &line) && in_turn;
    if (in_turn && !follows && reading->verdict->faults == faults)
        FAULT(reading, "entry %llu was changed, or one before it", number);
    if (number == reading->anchor->count) {
        reading->anchor_seen = true;
        if (memory_compare_constant_time(line.seal, reading->anchor->head, SEAL_SIZE) != 0)
            FAULT(reading, "entry %llu is not the one that was anchored: the file was replaced", number);
        follows = follows && memory_compare_constant_time(line.seal, reading->anchor->head, SEAL_SIZE) == 0;
    }
    run_extend(reading, number, follows);
    reading->number = number;
    memcpy(reading->before, line.seal, SEAL_SIZE);
    reading->verdict->entries++;
    if (reading->visit)
        reading->visit(reading->context, &line.entry, is_proved(reading, &line.entry, follows));
    return ERROR_NONE;
}

static enum error file_judge(struct reading *reading, FILE *file)
{
    char line[AUDIT_LINE_MAX + 1];
    enum error error = ERROR_NONE;
    while (!error && fgets(line, sizeof line, file)) {
        size_t size = strlen(line);
        bool whole = size > 0 && line[size - 1] == '\n';
        error = line_judge(reading, line, whole ? size - 1 : AUDIT_LINE_MAX);
        while (!whole && fgets(line, sizeof line, file))
            whole = strlen(line) > 0 && line[strlen(line) - 1] == '\n';
    }
    if (!error && ferror(file))
        error = failed(reading->audit, "read");
    if (!error && reading->number < reading->anchor->count) {
        FAULT(reading, "entries %llu to %llu are missing at its end", (unsigned long long)reading->number + 1,
              (unsigned long long)reading->anchor->count);
        reading->line = UINT64_MAX;
        run_extend(reading, 0, false);
    } else if (!error && reading->anchor->count && !reading->anchor_seen) {
        FAULT(reading, "entry %llu, which was anchored, is missing", (unsigned long long)reading->anchor->count);
        reading->broken = UINT64_MAX;
    }
    return error;
}

/* Twice where some entries are proved by what stands behind them alone. */
static enum error file_read_judged(struct reading *reading, FILE *file)
{
    struct pool_audit_verdict verdict = {0};
    struct reading ahead = {.audit = reading->audit, .anchor = reading->anchor, .verdict = &verdict};
    if (k_pools_taken(&reading->audit->keys->of, reading->audit->keys->of.keys[0].number) == NULL) {
        TRY(file_judge(&ahead, file));
        reading->broken_before = ahead.broken;
        rewind(file);
    }
    return file_judge(reading, file);
}

enum error audit_read(struct audit *audit, const struct audit_anchor *anchor, pool_audit_visit *visit, void *context,
                      struct pool_audit_verdict *verdict)
{
    struct reading reading = {.audit = audit, .anchor = anchor, .visit = visit, .context = context, .verdict = verdict};
    *verdict = (struct pool_audit_verdict){.anchored = anchor->count};
    mutex_lock(&audit->mutex);
    enum error error = audit->keys ? ERROR_NONE : error_explain(ERROR_LOCKED, "the audit can be verified once the pool is unlocked");
    FILE *file = NULL;
    if (!error)
        error = file_look(audit, &file);
    if (file)
        error = file_read_judged(&reading, file);
    else if (!error && anchor->count)
        FAULT(&reading, "its %llu entries are missing: it was removed", (unsigned long long)anchor->count);
    if (file)
        fclose(file);
    mutex_unlock(&audit->mutex);
    return error;
}
