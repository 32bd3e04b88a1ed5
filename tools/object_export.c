/*
 * `coffer object export`: a snapshot, whole or as the difference from an earlier one, as a stream.
 *
 * Runs in the client: what the snapshot holds, and what changed, comes over NBD, names and times over the control socket, so
 * that it needs no right beyond those, and neither a stream's secret nor its bytes come to the daemon. Both snapshots are
 * addressed by their UUIDs and stay open, and cannot be deleted meanwhile.
 *
 * An export that was interrupted goes on behind the last whole chunk of its file: what is there is read and verified from its
 * begin, and its first chunk must say that it is of the same snapshots.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "crypto/provider.h"
#include "stream/writer.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/disk.h"
#include "tools/object_call.h"
#include "tools/progress.h"
#include "tools/stream_file.h"
#include "tools/text.h"

#define CHANGED 1 /* bits of coffer:changed, and of base:allocation */
#define ZEROED  2
#define HOLE    1

struct export {
    struct tool *tool;
    const struct arguments *arguments;
    struct stream_manifest manifest;
    char snapshot[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE]; /* UUIDs in this pool; base empty: none */
    struct stream_file file;
    struct stream_keys keys;
    struct disk *disk;
    struct stream_writer *writer;
    uint64_t offset;                /* what lies before it is in the file */
    uint64_t data_bytes, zero_bytes;
    bool complete;                  /* the file was a whole export already */
};

/* ---- which snapshots --------------------------------------------------------------------------------------------------- */

static enum error uuid_of(const json_t *row, const char *key, struct uuid *uuid)
{
    if (uuid_parse(answer_word(row, key), uuid) != ERROR_NONE)
        return error_explain(ERROR_PROTOCOL, "cofferd gave no answer that this coffer understands: are both of one version?");
    return ERROR_NONE;
}

/* The index of the snapshot of that name; they are by age. */
static enum error row_find(const json_t *rows, const char *object, const char *snapshot, size_t *index)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(answer_word(row, "snapshot"), snapshot) == 0) {
            *index = i;
            return ERROR_NONE;
        }
    }
    return error_explain(ERROR_NOT_FOUND, "there is no snapshot '%s@%s'", object, snapshot);
}

static enum error base_take(struct export *export, const json_t *rows, size_t snapshot, const char *since)
{
    size_t index;
    const char *object = export->manifest.object_name, *at = strchr(since, '@');
    if (at != NULL && (strncmp(since, object, (size_t)(at - since)) != 0 || strlen(object) != (size_t)(at - since)))
        return error_explain(ERROR_INVALID, "--since names a snapshot of another object than '%s'", object);
    since = at != NULL ? at + 1 : since;
    TRY(row_find(rows, object, since, &index));
    if (index >= snapshot)
        return error_explain(ERROR_INVALID, "'%s@%s' is not older than '%s@%s'", object, since, object,
                             export->manifest.snapshot_name);
    const json_t *row = json_array_get(rows, index);
    snprintf(export->base, sizeof(export->base), "%s", answer_word(row, "uuid"));
    snprintf(export->manifest.base_name, STREAM_NAME_SIZE, "%s", since);
    export->manifest.base_size = answer_figure(row, "size");
    return uuid_of(row, "identity", &export->manifest.base);
}

static enum error rows_take(struct export *export, const json_t *rows, const char *snapshot)
{
    size_t index;
    const char *since = argument_value(export->arguments, "since", NULL);
    struct stream_manifest *manifest = &export->manifest;
    TRY(row_find(rows, manifest->object_name, snapshot, &index));
    const json_t *row = json_array_get(rows, index);
    snprintf(export->snapshot, sizeof(export->snapshot), "%s", answer_word(row, "uuid"));
    snprintf(manifest->object_name, STREAM_NAME_SIZE, "%s", answer_word(row, "object"));
    snprintf(manifest->snapshot_name, STREAM_NAME_SIZE, "%s", snapshot);
    manifest->size = answer_figure(row, "size");
    manifest->created = answer_figure(row, "created");
    TRY(uuid_of(row, "identity", &manifest->snapshot));
    TRY(uuid_of(row, "object_uuid", &manifest->object));
    return since == NULL ? ERROR_NONE : base_take(export, rows, index, since);
}

static enum error snapshots_find(struct export *export, const char *name)
{
    const char *at = strchr(name, '@');
    json_t *rows;
    if (at == NULL || at == name || at[1] == '\0' || (size_t)(at - name) >= STREAM_NAME_SIZE ||
        strlen(at + 1) >= STREAM_NAME_SIZE)
        return error_explain(ERROR_INVALID, "say which snapshot: NAME@SNAPSHOT (`%s object snapshot NAME` makes one)",
                             tool_self(export->tool));
    memcpy(export->manifest.object_name, name, (size_t)(at - name));
    TRY(snapshots_ask(export->tool, export->manifest.object_name, &rows));
    enum error error = rows_take(export, rows, at + 1);
    json_decref(rows);
    return error;
}

/* ---- going on ---------------------------------------------------------------------------------------------------------- */

static bool is_same(const struct stream_manifest *one, const struct stream_manifest *other)
{
    return uuid_equal(one->snapshot, other->snapshot) && uuid_equal(one->base, other->base) && one->size == other->size;
}

/* Reads what is there to its end; what stands in the way of the rest is cut off. */
static enum error rest_find(struct export *export, struct stream_reader *reader)
{
    struct stream_record record = {0};
    struct progress progress;
    enum error error = ERROR_NONE;
    progress_start(&progress, export->tool, "verifying what is there");
    while (error == ERROR_NONE && record.kind != STREAM_END) {
        error = stream_reader_next(reader, &record);
        progress_update(&progress, stream_reader_bytes(reader), export->file.size);
    }
    progress_clear(&progress);
    export->complete = error == ERROR_NONE;
    export->offset = stream_reader_next_offset(reader);
    export->data_bytes = stream_reader_data_bytes(reader);
    export->zero_bytes = stream_reader_zero_bytes(reader);
    if (error == ERROR_CORRUPT)
        fprintf(export->tool->err, "%s: %s; it is written anew from there\n", export->file.path, error_sentence(error));
    return error == ERROR_CLOSED || error == ERROR_CORRUPT ? ERROR_NONE : error;
}

static enum error cut_and_go_on(struct export *export, struct stream_reader *reader)
{
    off_t bytes = (off_t)stream_reader_bytes(reader);
    if (ftruncate(export->file.descriptor, bytes) != 0 || lseek(export->file.descriptor, bytes, SEEK_SET) != bytes)
        return error_from_errno(errno, "write %s", export->file.path);
    return stream_writer_resume(reader, stream_file_write, &export->file, &export->writer);
}

/* The export ended before anything of the snapshot was in the file, while its key was made, say. A header says how it is
 * encrypted, and stream_file_begin() asked for that; where there is none, only the words can. */
static enum error begin_anew(struct export *export)
{
    const struct stream_secret *secret = &export->keys.secret;
    bool told = secret->passphrase != NULL || secret->key != NULL || export->file.size >= sizeof(struct stream_header_format);
    if (!told)
        return error_explain(ERROR_CORRUPT, "%s holds nothing yet, not even whether it is to be encrypted: remove it, and export again "
                                            "without --resume", export->file.path);
    fprintf(export->tool->err, "%s: %s; it is written anew\n", export->file.path, error_sentence(ERROR_CLOSED));
    error_forget();
    return ftruncate(export->file.descriptor, 0) == 0 && lseek(export->file.descriptor, 0, SEEK_SET) == 0
               ? ERROR_NONE
               : error_from_errno(errno, "write %s", export->file.path);
}

static enum error resume(struct export *export)
{
    const struct stream_manifest *manifest;
    struct stream_reader *reader;
    off_t size = lseek(export->file.descriptor, 0, SEEK_END);
    if (size < 0 || lseek(export->file.descriptor, 0, SEEK_SET) != 0)
        return error_explain(ERROR_INVALID, "%s is no regular file and cannot be gone on with", export->file.path);
    export->file.size = (uint64_t)size;
    enum error error = stream_file_begin(&export->file, &export->keys, &reader, &manifest);
    if (error == ERROR_CLOSED)
        return begin_anew(export);
    if (error != ERROR_NONE)
        return stream_file_failed(&export->file, error);
    if (!is_same(manifest, &export->manifest))
        error = error_explain(ERROR_FOREIGN, "%s is an export of something else ('%s@%s')", export->file.path,
                              manifest->object_name, manifest->snapshot_name);
    if (error == ERROR_NONE)
        error = rest_find(export, reader);
    if (error == ERROR_NONE && !export->complete)
        error = cut_and_go_on(export, reader);
    stream_reader_destroy(reader);
    return error;
}

/* ---- the stream -------------------------------------------------------------------------------------------------------- */

/* Of what was asked for, in order. */
static enum error piece_put(void *context, const struct disk_piece *piece)
{
    struct export *export = context;
    bool data = piece->action == DISK_READ;
    *(data ? &export->data_bytes : &export->zero_bytes) += piece->length;
    return data ? stream_writer_data(export->writer, piece->offset, piece->data, piece->length)
                : stream_writer_zero(export->writer, piece->offset, piece->length);
}

static enum error range_ask(struct export *export, const struct disk_range *range)
{
    bool full = stream_is_full(&export->manifest);
    if (full ? range->state & HOLE : !(range->state & CHANGED))
        return ERROR_NONE;
    return full || !(range->state & ZEROED) ? disk_read(export->disk, range->offset, range->length)
                                            : disk_note(export->disk, range->offset, range->length);
}

static enum error ranges_copy(struct export *export)
{
    AUTO_FREE struct disk_range *ranges = memory_zeroed(DISK_RANGES_MAX, sizeof(*ranges));
    uint64_t at = export->offset, size = export->manifest.size;
    struct progress progress;
    enum error error = ranges == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    progress_start(&progress, export->tool, "exporting");
    while (error == ERROR_NONE && at < size) {
        size_t count;
        error = disk_ranges(export->disk, at, size - at, ranges, &count);
        for (size_t i = 0; error == ERROR_NONE && i < count; i++) {
            error = range_ask(export, &ranges[i]);
            at = ranges[i].offset + ranges[i].length;
            progress_update(&progress, at - export->offset, size - export->offset);
        }
    }
    if (error == ERROR_NONE)
        error = disk_settle(export->disk);
    progress_clear(&progress);
    return error;
}

static enum error stream_copy(struct export *export)
{
    if (export->writer == NULL)
        TRY(stream_writer_create(&export->keys.secret, SCRYPT_LOG2_N_DEFAULT, &export->manifest, stream_file_write,
                                 &export->file, &export->writer));
    TRY(ranges_copy(export));
    TRY(stream_writer_finish(export->writer));
    return stream_file_sync(&export->file);
}

static enum error disk_begin(struct export *export)
{
    char context[64] = "base:allocation";
    if (!stream_is_full(&export->manifest))
        snprintf(context, sizeof(context), "coffer:changed:%s", export->base);
    TRY(disk_open(export->tool, export->arguments, export->snapshot, context, &export->disk));
    disk_tell(export->disk, piece_put, export);
    return ERROR_NONE;
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static enum error tell(struct export *export)
{
    const struct stream_manifest *manifest = &export->manifest;
    char data[TEXT_SIZE], zero[TEXT_SIZE];
    bool full = stream_is_full(manifest);
    if (!export->tool->json) {
        fprintf(export->file.descriptor > STDERR_FILENO ? export->tool->out : export->tool->err,
                "%s '%s@%s'%s%s: %s of data, %s zeroed.\n", export->complete ? "There was already" : "Exported",
                manifest->object_name, manifest->snapshot_name, full ? "" : " since ", full ? "" : manifest->base_name,
                text_size(export->data_bytes, data), text_size(export->zero_bytes, zero));
        return ERROR_NONE;
    }
    char identity[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE];
    uuid_format(manifest->snapshot, identity);
    uuid_format(manifest->base, base);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:I, s:I, s:I, s:b}", "object", manifest->object_name, "snapshot",
                             manifest->snapshot_name, "identity", identity, "base", full ? NULL : manifest->base_name,
                             "base_identity", full ? NULL : base, "size", (json_int_t)manifest->size, "data_bytes",
                             (json_int_t)export->data_bytes, "zero_bytes", (json_int_t)export->zero_bytes, "encrypted",
                             export->keys.secret.passphrase != NULL || export->keys.secret.key != NULL);
    enum error error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(export->tool, json);
    json_decref(json);
    return error;
}

static enum error export_run(struct export *export)
{
    bool again = argument_given(export->arguments, "resume");
    const char *output = argument_value(export->arguments, "output", "-");
    if (export->tool->json && strcmp(output, "-") == 0)
        return error_explain(ERROR_INVALID, "standard output is for the stream: say --output FILE with --json");
    TRY(snapshots_find(export, export->arguments->positional[0]));
    TRY(stream_keys_read(export->arguments, true, &export->keys));
    TRY(disk_begin(export));
    TRY(stream_file_create(output, again, &export->file));
    if (again)
        TRY(resume(export));
    if (export->complete)
        return stream_file_sync(&export->file);
    enum error error = stream_copy(export);
    bool nothing = export->writer == NULL && !again && export->file.descriptor > STDERR_FILENO;
    return error != ERROR_NONE && nothing ? file_take_back(output, error) : error;
}

static enum error explain_failure(const struct export *export, enum error error)
{
    bool can_resume = export->writer != NULL && argument_given(export->arguments, "output");
    char sentence[1024];
    if (!can_resume)
        return error;
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    return error_explain(error, "%s (what is in %s stays: --resume goes on there)", sentence, export->file.path);
}

static enum error run_export(struct tool *tool, const struct arguments *arguments)
{
    struct export export = {.tool = tool, .arguments = arguments, .file.descriptor = -1};
    signal(SIGPIPE, SIG_IGN);
    enum error error = export_run(&export);
    if (error == ERROR_NONE)
        error = tell(&export);
    else
        error = explain_failure(&export, error);
    stream_writer_destroy(export.writer);
    stream_keys_forget(&export.keys);
    stream_file_close(&export.file);
    disk_close(export.disk);
    return error;
}

static const struct option_row export_options[] = {
    {"since", "SNAPSHOT", "only what changed since this one, which the other side has", false},
    {"output", "FILE", "write to a new file instead of standard output", false},
    {"resume", NULL, "go on with the file of an export that was interrupted", false},
    {"encrypt", NULL, "encrypt under a passphrase, which is asked for", false},
    {"passphrase-file", "FILE", "encrypt under the passphrase in FILE (\"-\": standard input)", false},
    {"key-file", "FILE", "encrypt under the key in FILE: 32 bytes, or 64 hexadecimal digits", false},
    {"nbd", "ADDRESS", "another way to it than cofferd tells itself: unix:PATH or tcp:HOST:PORT", false},
    {NULL},
};

const struct command command_object_export = {
    .noun = "object",
    .verb = "export",
    .arguments = "NAME@SNAPSHOT",
    .summary = "write a snapshot, or what changed, as a stream",
    .text = "Writes a snapshot as a stream, which `object import` makes a disk of, in this pool or another: all of it, or\n"
            "with --since what changed since an older snapshot. Without encryption the stream can be read by everybody who\n"
            "has it, also where the pool is encrypted. An export to a file that was interrupted goes on with --resume.",
    .examples = "  coffer object export disk1@monday --output disk1-monday.coffer --encrypt\n"
                "  coffer object export disk1@tuesday --since monday | ssh backup coffer object import - disk1\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = export_options,
    .run = run_export,
};
