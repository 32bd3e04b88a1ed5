/*
 * The file has one writer at a time, by a lock on itself; who opened it before it was removed sees that, and opens it again. The
 * taker does not wait for that lock: what he does not get is taken the next time. A line that a crash left unfinished is no
 * entry, and told; the next one begins on a line of its own. No other locks.
 */
#include "engine/pool/audit_pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "base/owner.h"
#include "engine/pool/audit.h"

#define ATTEMPTS 10

/* What a mark begins with; result_mark() alone writes it. */
static const char offline[] = "; offline, ";

/* What stands before a line instead of another's seal. */
static const uint8_t before[32] = "coffer1/audit-pending";

/* ---- the file -------------------------------------------------------------------------------------------------------------- */

static enum error failed(const char *path, const char *what)
{
    return error_from_errno(errno, "cannot %s %s", what, path);
}

/* ERROR_AGAIN: it was taken meanwhile. */
static enum error locked_check(int descriptor, const char *path)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return failed(path, "look at");
    if (status.st_nlink == 0)
        return ERROR_AGAIN;
    return S_ISREG(status.st_mode) && status.st_nlink == 1
               ? ERROR_NONE
               : error_explain(ERROR_INVALID, "%s is no regular file with one name: move it away", path);
}

/* `name` is in the open directory, or a path (AT_FDCWD, not with O_CREAT); `path` is for sentences. */
static enum error file_lock(int directory, const char *name, const char *path, int how, int lock, int *descriptor)
{
    int opened = openat(directory, name, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | how, 0600);
    if (opened < 0)
        return failed(path, "open");
    enum error error = ERROR_NONE;
    while (!error && flock(opened, LOCK_EX | lock) != 0)
        error = errno == EINTR ? ERROR_NONE : errno == EWOULDBLOCK ? ERROR_BUSY : failed(path, "lock");
    if (!error)
        error = locked_check(opened, path);
    if (!error && how & O_CREAT)
        error = owner_give_below(opened, directory, path);
    if (error)
        close(opened);
    else
        *descriptor = opened;
    return error;
}

/* ---- adding ---------------------------------------------------------------------------------------------------------------- */

static enum error line_make(const struct k_pool *key, const struct pool_audit_entry *entry, char **text)
{
    struct audit_line line = {.entry = *entry};
    audit_entry_clean(&line.entry);
    line.entry.number = 1;
    line.entry.pool_key = key ? key->number : 0;
    if (key)
        TRY(audit_seal(key->key, before, &line.entry, line.seal));
    return audit_line_encode(&line, text);
}

/* `*torn`: the last line has no end. */
static enum error end_find(int descriptor, const char *path, off_t *end, bool *torn)
{
    char last = '\n';
    *end = lseek(descriptor, 0, SEEK_END);
    if (*end < 0)
        return failed(path, "find the end of");
    if (*end > 0 && pread(descriptor, &last, 1, *end - 1) != 1)
        return failed(path, "read the end of");
    *torn = last != '\n';
    return ERROR_NONE;
}

static enum error line_append(int descriptor, const char *path, const char *line)
{
    off_t end;
    bool torn;
    TRY(end_find(descriptor, path, &end, &torn));
    AUTO_FREE char *text = NULL;
    if (asprintf(&text, "%s%s", torn ? "\n" : "", line) < 0) {
        text = NULL;
        return ERROR_NO_MEMORY;
    }
    size_t size = strlen(text);
    if ((size_t)end + size > AUDIT_PENDING_MAX)
        return error_explain(ERROR_TOO_LARGE, "%s is full: unlock the pool once, so that the audit takes it", path);
    if (write(descriptor, text, size) == (ssize_t)size && fsync(descriptor) == 0)
        return ERROR_NONE;
    enum error error = failed(path, "write to");
    if (ftruncate(descriptor, end) != 0)
        error = error_prefix(error, "part of a line stays at its end");
    return error;
}

enum error audit_pending_add_in(int opened, const char *directory, const struct k_pool *key, const struct pool_audit_entry *entry)
{
    AUTO_FREE char *path = file_join(directory, AUDIT_PENDING_NAME), *text = NULL;
    int descriptor;
    if (!path)
        return ERROR_NO_MEMORY;
    TRY(line_make(key, entry, &text));
    enum error error = ERROR_AGAIN;
    for (int i = 0; i < ATTEMPTS && error == ERROR_AGAIN; i++)
        error = file_lock(opened, AUDIT_PENDING_NAME, path, O_CREAT, 0, &descriptor);
    TRY(error);
    error = line_append(descriptor, path, text);
    close(descriptor);
    return error;
}

enum error audit_pending_add(const char *directory, const struct k_pool *key, const struct pool_audit_entry *entry)
{
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return failed(directory, "open");
    enum error error = audit_pending_add_in(opened, directory, key, entry);
    close(opened);
    return error;
}

/* ---- taking ---------------------------------------------------------------------------------------------------------------- */

/* When it was, and how far that is known, behind its result. */
static void result_mark(struct pool_audit_entry *entry, bool proved)
{
    char mark[64], when[MOMENT_TEXT_SIZE];
    size_t size = (size_t)snprintf(mark, sizeof mark, "%s%s%s", offline, proved ? "" : "unproven, ", moment_utc(entry->time, when));
    size_t used = MIN(strlen(entry->result), sizeof entry->result - size - 1);
    memcpy(entry->result + used, mark, size + 1);
}

void audit_pending_mark_break(char *result)
{
    for (char *mark; (mark = strstr(result, offline)) != NULL;) /* from the beginning: a broken one may end another */
        *mark = ',';
}

/* The last one: what stands before it may have come from outside. */
bool audit_pending_mark_read(const char *result, uint64_t *made, bool *proved)
{
    static const char unproven[] = "unproven, ";
    const char *mark = NULL;
    struct tm utc = {0};
    for (const char *next = result; (next = strstr(next, offline)) != NULL; next++)
        mark = next;
    if (!mark)
        return false;
    const char *when = mark + strlen(offline);
    *proved = strncmp(when, unproven, strlen(unproven)) != 0;
    when += *proved ? 0 : strlen(unproven);
    const char *end = strptime(when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    *made = end && *end == '\0' ? (uint64_t)timegm(&utc) : 0;
    return true;
}

struct taking {
    struct audit *audit;
    size_t entries, unusable; /* lines */
    bool moved;
};

static void line_take(struct taking *taking, const char *text, size_t size)
{
    struct audit_line line;
    if (audit_line_decode(text, size, &line)) {
        error_forget();
        taking->unusable++;
        return;
    }
    result_mark(&line.entry, audit_proves(taking->audit, before, &line));
    taking->moved |= audit_add(taking->audit, &line.entry);
    taking->entries++;
}

/* One entry for all of them: whoever can write the file must not fill the audit with so little. */
static void unusable_tell(struct taking *taking)
{
    struct pool_audit_entry entry = {.uid = (uint32_t)geteuid(), .pid = (uint32_t)getpid(), .operation = "audit.found"};
    if (taking->unusable == 0)
        return;
    snprintf(entry.result, sizeof entry.result, "lines of " AUDIT_PENDING_NAME " that are no entries: %zu", taking->unusable);
    taking->moved |= audit_add(taking->audit, &entry);
}

size_t audit_pending_take_text(struct audit *audit, const char *text, size_t size, bool *moved)
{
    struct taking taking = {.audit = audit};
    const char *at = text, *end = text + size;
    while (at < end && taking.entries < AUDIT_PENDING_AT_ONCE) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *next = newline ? newline : end;
        line_take(&taking, at, (size_t)(next - at));
        at = next + (newline != NULL);
    }
    unusable_tell(&taking);
    *moved = taking.moved;
    return (size_t)(at - text);
}

/* Who waits for the lock of the file that is replaced sees that it has no name any more. */
static enum error taken_remove(const char *path, const char *rest, size_t size)
{
    if (size > 0)
        return file_replace(path, rest, size);
    return unlink(path) == 0 ? ERROR_NONE : failed(path, "remove");
}

/* Where an entry could not be written it waits in memory, and the file stays until it is. */
static enum error take(struct audit *audit, const char *path, int descriptor, bool *moved)
{
    AUTO_FREE char *text = malloc(AUDIT_PENDING_MAX + 1);
    struct pool_audit_state state;
    if (!text)
        return ERROR_NO_MEMORY;
    ssize_t size = pread(descriptor, text, AUDIT_PENDING_MAX + 1, 0);
    if (size < 0)
        return failed(path, "read");
    if (size > (ssize_t)AUDIT_PENDING_MAX)
        return error_explain(ERROR_TOO_LARGE, "%s is larger than it can be: move it away", path);
    audit_state(audit, &state);
    if (state.waiting || state.failure[0])
        return ERROR_NONE;
    size_t taken = audit_pending_take_text(audit, text, (size_t)size, moved);
    audit_state(audit, &state);
    return state.waiting ? ERROR_NONE : taken_remove(path, text + taken, (size_t)size - taken);
}

bool audit_pending_take(const char *directory, struct audit *audit)
{
    AUTO_FREE char *path = file_join(directory, AUDIT_PENDING_NAME);
    bool moved = false;
    int descriptor;
    enum error error = path ? file_lock(AT_FDCWD, path, path, 0, LOCK_NB, &descriptor) : ERROR_NO_MEMORY;
    if (!error) {
        error = take(audit, path, descriptor, &moved);
        close(descriptor);
    }
    if (error && error != ERROR_NOT_FOUND && error != ERROR_AGAIN && error != ERROR_BUSY)
        message(MESSAGE_WARNING, "what was done with keys beside the daemon is not in the audit yet: %s", error_sentence(error));
    if (error)
        error_forget();
    return moved;
}
