/*
 * A file of what a repair would let go of: DIR/evidence-HASH.
 *
 * It begins with one line of JSON, filled up with spaces to whole blocks: of each piece what it is, its device, where it lay
 * there, how long it is and where it lies in the file (`at`), and how much of it could not be read (zeros stand for that).
 * The bytes are as they lay on the device, encrypted or not; zeros are holes. So dd(1) puts a piece back, and rm(1) lets go
 * of it; nothing of Coffer reads it.
 *
 * Its name is a hash of places and bytes, so that a repair that was cut off and is begun again finds what it kept, and makes no
 * other. A file under that name counts if it is the same to the byte, since others may be able to write to the directory; else the
 * next name is taken. The devices are read twice, for the name and for the file, since what is kept may be larger than memory.
 *
 * Invariant: when evidence_save() returns, the file is durable under its name; only then does the repair write. A crash before
 * leaves the devices as they are and no file. One thread, no locks but those that the repair has on the devices.
 */
#include "engine/pool/evidence_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/shell.h"

#define PIECES_MAX    65536u      /* the line that lists them has some 200 bytes for each */
#define WINDOW        (1u << 20)  /* read at once */
#define UNREAD_BLOCKS 64u         /* of a window that are tried one by one: a dead stretch of a disk takes seconds for each */
#define NAME_BYTES    8
#define MARGIN_MIN    (UINT64_C(1) << 30)
#define MARGIN_PERCENT 5u
#define NAMES_MAX     9u          /* HASH, HASH-2, and so on */

_Atomic uint64_t evidence_room = UINT64_MAX;

struct keeping {
    const struct evidence *evidence;
    const struct evidence_source *source;
    uint8_t *window;
    uint64_t *unread;        /* bytes, by piece */
    uint64_t bytes;          /* but for zeros */
    EVP_MD_CTX *hash;        /* NULL in the second reading */
    int file;                /* -1 in the first */
    int known;               /* one that is compared instead, or -1 */
    bool differs;
    const char *path;
    uint64_t head;           /* bytes of the line in front */
    bool own;                /* in a directory that was named: the file is the caller's, who need not be that one's owner */
};

/* ---- reading --------------------------------------------------------------------------------------------------------- */

/* What cannot be read is zeros; returns how much that is. */
static uint64_t window_read(struct device *device, uint64_t offset, uint8_t *window, size_t size)
{
    uint64_t unread = 0;
    if (device_read(device, offset, window, size) == ERROR_NONE)
        return 0;
    for (size_t at = 0; at < size; at += DEVICE_BLOCK) {
        if (unread < UNREAD_BLOCKS * DEVICE_BLOCK && device_read(device, offset + at, window + at, DEVICE_BLOCK) == ERROR_NONE)
            continue;
        memset(window + at, 0, DEVICE_BLOCK);
        unread += DEVICE_BLOCK;
    }
    return unread;
}

static enum error bytes_write(const struct keeping *keeping, const void *bytes, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = pwrite(keeping->file, (const uint8_t *)bytes + done, size - done, (off_t)(at + done));
        if (count < 0 && errno != EINTR)
            return error_from_errno(errno, "write %s", keeping->path);
        done += count < 0 ? 0 : (size_t)count;
    }
    return ERROR_NONE;
}

static void bytes_compare(struct keeping *keeping, const void *bytes, size_t size, uint64_t at)
{
    uint8_t found[DEVICE_BLOCK];
    for (size_t done = 0; done < size && !keeping->differs; done += DEVICE_BLOCK) {
        size_t part = MIN(size - done, sizeof found);
        keeping->differs = pread(keeping->known, found, part, (off_t)(at + done)) != (ssize_t)part ||
                           memcmp(found, (const uint8_t *)bytes + done, part) != 0;
    }
}

/* Block by block, so that zeros stay holes. */
static enum error window_take(struct keeping *keeping, size_t size, uint64_t at)
{
    if (keeping->hash && EVP_DigestUpdate(keeping->hash, keeping->window, size) != 1)
        return ERROR_NO_MEMORY;
    if (keeping->known >= 0)
        bytes_compare(keeping, keeping->window, size, at);
    for (size_t i = 0; i < size; i += DEVICE_BLOCK) {
        if (memory_is_zero(keeping->window + i, DEVICE_BLOCK))
            continue;
        keeping->bytes += DEVICE_BLOCK;
        if (keeping->file >= 0)
            TRY(bytes_write(keeping, keeping->window + i, DEVICE_BLOCK, at + i));
    }
    return ERROR_NONE;
}

static enum error piece_hash(const struct keeping *keeping, const struct evidence_piece *piece)
{
    const struct uuid *id = &keeping->source->superblocks[piece->device].device;
    le64 numbers[2] = {le64_make(piece->offset), le64_make(piece->length)};
    bool fine = !keeping->hash || (EVP_DigestUpdate(keeping->hash, id, sizeof *id) == 1 &&
                                   EVP_DigestUpdate(keeping->hash, numbers, sizeof numbers) == 1);
    return fine ? ERROR_NONE : ERROR_NO_MEMORY;
}

static enum error piece_take(struct keeping *keeping, size_t i, uint64_t at)
{
    const struct evidence_piece *piece = &keeping->evidence->pieces[i];
    struct device *device = keeping->source->devices[piece->device];
    uint64_t end = MIN(piece->offset + piece->length, device->size);
    TRY(piece_hash(keeping, piece));
    keeping->unread[i] = 0;
    for (uint64_t offset = piece->offset; offset < end; offset += WINDOW) {
        size_t size = (size_t)MIN(end - offset, (uint64_t)WINDOW);
        keeping->unread[i] += window_read(device, offset, keeping->window, size);
        TRY(window_take(keeping, size, at + offset - piece->offset));
    }
    return ERROR_NONE;
}

static enum error pieces_take(struct keeping *keeping)
{
    uint64_t at = keeping->head;
    keeping->bytes = 0;
    for (size_t i = 0; i < keeping->evidence->count; i++) {
        TRY(piece_take(keeping, i, at));
        at += keeping->evidence->pieces[i].length;
    }
    return ERROR_NONE;
}

/* ---- the line in front ---------------------------------------------------------------------------------------------- */

static json_t *piece_tell(const struct keeping *keeping, size_t i, uint64_t at, uint64_t unread)
{
    const struct evidence_piece *piece = &keeping->evidence->pieces[i];
    char uuid[UUID_TEXT_SIZE];
    uuid_format(keeping->source->superblocks[piece->device].device, uuid);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "what", piece->what, "device", uuid, "path",
                     keeping->source->devices[piece->device]->path, "offset", (json_int_t)piece->offset, "length",
                     (json_int_t)piece->length, "at", (json_int_t)at, "unread", (json_int_t)unread);
}

/* malloc'ed; NULL: no memory. `unread` NULL: the numbers with most digits, for the line's length. */
static char *head_make(const struct keeping *keeping, const uint64_t *unread)
{
    char uuid[UUID_TEXT_SIZE];
    json_t *pieces = json_array();
    uint64_t at = keeping->head;
    uuid_format(keeping->source->superblocks[0].pool, uuid);
    for (size_t i = 0; i < keeping->evidence->count; i++) {
        uint64_t length = keeping->evidence->pieces[i].length;
        json_array_append_new(pieces, piece_tell(keeping, i, unread ? at : INT64_MAX, unread ? unread[i] : length));
        at += length;
    }
    json_t *json = json_pack("{s:i, s:s, s:o}", "coffer-evidence", 1, "pool", uuid, "pieces", pieces);
    char *text = json && json_array_size(pieces) == keeping->evidence->count
                     ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER)
                     : NULL;
    json_decref(json);
    return text;
}

/* Into the file, or against the one that is known. */
static enum error head_write(struct keeping *keeping)
{
    AUTO_FREE char *text = head_make(keeping, keeping->unread);
    AUTO_FREE char *line = malloc(keeping->head);
    if (!text || !line)
        return ERROR_NO_MEMORY;
    ASSERT(strlen(text) < keeping->head);
    memset(line, ' ', keeping->head);
    memcpy(line, text, strlen(text));
    line[keeping->head - 1] = '\n';
    if (keeping->known < 0)
        return bytes_write(keeping, line, keeping->head, 0);
    bytes_compare(keeping, line, keeping->head, 0);
    return ERROR_NONE;
}

static enum error head_measure(struct keeping *keeping)
{
    AUTO_FREE char *text = head_make(keeping, NULL);
    if (!text)
        return ERROR_NO_MEMORY;
    keeping->head = (strlen(text) / DEVICE_BLOCK + 1) * DEVICE_BLOCK;
    return ERROR_NONE;
}

/* ---- the file --------------------------------------------------------------------------------------------------------- */

static uint64_t size_of(const struct keeping *keeping)
{
    uint64_t size = keeping->head;
    for (size_t i = 0; i < keeping->evidence->count; i++)
        size += keeping->evidence->pieces[i].length;
    return size;
}

static enum error fill(int descriptor, const char *path, void *context)
{
    struct keeping *keeping = context;
    keeping->file = descriptor;
    keeping->path = path;
    if (ftruncate(descriptor, (off_t)size_of(keeping)) != 0)
        return error_from_errno(errno, "set the size of %s", path);
    TRY(pieces_take(keeping));
    return head_write(keeping);
}

/* What is to stay free. The file system of the pool directory has the witness, and often disks that are sparse files. */
static uint64_t margin(const struct keeping *keeping, const struct statvfs *below)
{
    return keeping->own ? WINDOW : MAX(MARGIN_MIN, (uint64_t)below->f_blocks * below->f_frsize / 100 * MARGIN_PERCENT);
}

static uint64_t room(const struct statvfs *below)
{
    return MIN((uint64_t)below->f_bavail * below->f_frsize, atomic_load(&evidence_room));
}

static enum error no_room(const struct keeping *keeping, const char *directory)
{
    struct statvfs below = {0};
    (void)!statvfs(directory, &below);
    return error_explain(ERROR_NO_SPACE,
                         "what this repair would let go of, %" PRIu64 " KiB, does not fit into %s, where %" PRIu64 " MiB are to stay "
                         "free, and nothing was changed: make room there, or name another directory (--evidence DIR), or, if nobody "
                         "will ever want to look at it, type --discard-evidence",
                         (keeping->bytes + keeping->head + 1023) / 1024, directory, margin(keeping, &below) >> 20);
}

static bool has_room(const struct keeping *keeping, const char *directory)
{
    struct statvfs below;
    if (statvfs(directory, &below) != 0)
        return true; /* the file says what is wrong */
    return room(&below) > keeping->bytes + keeping->head + margin(keeping, &below);
}

/* Before the pool is read, which takes long. How much there is to keep is not known yet. */
enum error evidence_directory_check(const struct pool_open_options *options)
{
    const char *directory = options->evidence_directory;
    struct statvfs below;
    struct stat status;
    if (!directory || options->discard_evidence)
        return ERROR_NONE;
    if (stat(directory, &status) != 0 || statvfs(directory, &below) != 0)
        return error_from_errno(errno, "look at %s (--evidence)", directory);
    if (!S_ISDIR(status.st_mode))
        return error_explain(ERROR_INVALID, "%s (--evidence) is no directory", directory);
    if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) != 0)
        return error_from_errno(errno, "write to %s (--evidence)", directory);
    return room(&below) > WINDOW ? ERROR_NONE : error_explain(ERROR_NO_SPACE, "%s (--evidence) is full", directory);
}

static enum error name_make(struct keeping *keeping, const char *directory, char path[EVIDENCE_PATH_MAX])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    char name[2 * NAME_BYTES + 1] = "";
    enum error error = pieces_take(keeping);
    if (!error && EVP_DigestFinal_ex(keeping->hash, digest, NULL) != 1)
        error = ERROR_NO_MEMORY;
    TRY(error);
    for (size_t i = 0; i < NAME_BYTES; i++) {
        name[2 * i] = digits[digest[i] >> 4];
        name[2 * i + 1] = digits[digest[i] & 15];
    }
    int length = snprintf(path, EVIDENCE_PATH_MAX, "%s/%s%s", directory, EVIDENCE_PREFIX, name);
    return length < EVIDENCE_PATH_MAX ? ERROR_NONE : error_explain(ERROR_TOO_LARGE, "the name of %s is too long", directory);
}

static bool is_ours(const struct stat *file, const struct stat *directory)
{
    return S_ISREG(file->st_mode) && (file->st_uid == 0 || file->st_uid == geteuid() || file->st_uid == directory->st_uid);
}

static enum error known_compare(struct keeping *keeping, int descriptor)
{
    keeping->known = descriptor;
    keeping->differs = false;
    enum error error = pieces_take(keeping);
    if (!error)
        error = head_write(keeping);
    keeping->known = -1;
    return error;
}

/* ERROR_NOT_FOUND: the name is free. ERROR_EXISTS: something else has it. */
static enum error known_look(struct keeping *keeping, const char *directory, const char *path)
{
    struct stat file, parent;
    int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (descriptor < 0)
        return errno == ENOENT ? ERROR_NOT_FOUND : ERROR_EXISTS;
    enum error error = ERROR_EXISTS;
    if (fstat(descriptor, &file) == 0 && stat(directory, &parent) == 0 && is_ours(&file, &parent) &&
        (uint64_t)file.st_size == size_of(keeping)) {
        error = known_compare(keeping, descriptor);
        if (!error && keeping->differs)
            error = ERROR_EXISTS;
        if (!error && fsync(descriptor) != 0)
            error = error_from_errno(errno, "sync %s", path);
    }
    close(descriptor);
    return error;
}

/* The first name that is free, or has the same. `path` is that of the first. */
static enum error name_choose(struct keeping *keeping, const char *directory, char path[EVIDENCE_PATH_MAX], bool *known)
{
    size_t length = strlen(path);
    for (unsigned n = 1; n <= NAMES_MAX; n++) {
        if (n > 1 && (size_t)snprintf(path + length, EVIDENCE_PATH_MAX - length, "-%u", n) >= EVIDENCE_PATH_MAX - length)
            return error_explain(ERROR_TOO_LARGE, "the name of %s is too long", directory);
        enum error error = known_look(keeping, directory, path);
        *known = !error;
        if (error != ERROR_EXISTS)
            return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
        message(MESSAGE_WARNING, "%s is there, and is not what this repair would keep under that name: it is left alone", path);
    }
    return error_explain(ERROR_EXISTS, "%s and all names before it are taken, and nothing was changed: look who puts such files "
                                       "there, or name another directory (--evidence DIR)", path);
}

static enum error say(const struct pool_evidence *kept, size_t pieces, bool anew)
{
    AUTO_FREE char *word = shell_quote(kept->path);
    char unread[96] = "";
    if (!word)
        return ERROR_NO_MEMORY;
    if (kept->unread)
        snprintf(unread, sizeof unread, "; %" PRIu64 " bytes of it could not be read", kept->unread);
    message(MESSAGE_NOTICE,
            "what this repair lets go of %s %s: %zu stretch%s of the devices, %" PRIu64 " KiB%s. When nobody wants to look at it "
            "any more, let go of it: rm %s",
            anew ? "was kept first, in" : "was kept before, in", kept->path, pieces, pieces == 1 ? "" : "es", kept->bytes / 1024,
            unread, word);
    return ERROR_NONE;
}

static enum error keep(struct keeping *keeping, const char *directory, struct pool_repair_report *report)
{
    struct pool_evidence kept = {0};
    TRY(head_measure(keeping));
    TRY(name_make(keeping, directory, kept.path));
    EVP_MD_CTX_free(keeping->hash);
    keeping->hash = NULL;
    bool known;
    TRY(name_choose(keeping, directory, kept.path, &known));
    if (!known && !has_room(keeping, directory))
        return no_room(keeping, directory);
    enum error error = known ? ERROR_NONE : file_create_filled(kept.path, fill, keeping, keeping->own);
    if (error == ERROR_NO_SPACE)
        return no_room(keeping, directory);
    TRY(error);
    kept.bytes = keeping->bytes;
    for (size_t i = 0; i < keeping->evidence->count; i++)
        kept.unread += keeping->unread[i];
    report->kept[report->kept_count++] = kept;
    return say(&kept, keeping->evidence->count, !known);
}

static uint64_t length_of(const struct evidence *evidence)
{
    uint64_t length = 0;
    for (size_t i = 0; i < evidence->count; i++)
        length += evidence->pieces[i].length;
    return length;
}

enum error evidence_save(struct evidence *evidence, const struct evidence_source *source,
                         const struct pool_open_options *options, struct pool_repair_report *report)
{
    evidence_order(evidence);
    if (evidence->count == 0 && !evidence->incomplete)
        return ERROR_NONE;
    ASSERT(report->kept_count < EVIDENCE_FILES_MAX);
    if (options->discard_evidence) {
        report->discarded += length_of(evidence);
        message(MESSAGE_WARNING, "what this repair lets go of, up to %" PRIu64 " KiB, is not kept (--discard-evidence)",
                length_of(evidence) / 1024);
        return ERROR_NONE;
    }
    if (evidence->incomplete)
        return ERROR_NO_MEMORY;
    if (evidence->count > PIECES_MAX)
        return error_explain(ERROR_TOO_LARGE,
                             "what this repair would let go of lies in %zu places, more than %u, and nothing was changed: copy the "
                             "devices first, then type --discard-evidence",
                             evidence->count, PIECES_MAX);
    struct keeping keeping = {
        .evidence = evidence,
        .source = source,
        .window = memory_aligned(WINDOW),
        .unread = memory_zeroed(evidence->count, sizeof *keeping.unread),
        .hash = EVP_MD_CTX_new(),
        .file = -1,
        .known = -1,
        .own = options->evidence_directory != NULL,
    };
    enum error error = keeping.window && keeping.unread && keeping.hash &&
                               EVP_DigestInit_ex(keeping.hash, EVP_sha256(), NULL) == 1
                           ? keep(&keeping, options->evidence_directory ? options->evidence_directory : source->directory, report)
                           : ERROR_NO_MEMORY;
    EVP_MD_CTX_free(keeping.hash);
    free(keeping.window);
    free(keeping.unread);
    return error;
}
