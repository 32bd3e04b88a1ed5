/*
 * `coffer object import` and `object verify`: a stream becomes a snapshot, or is only read and checked.
 *
 * Runs in the client, as the export does: a stream may come from anybody, and its bytes and its secret stay out of the
 * daemon. What a chunk brings is written over NBD, to an object of the import's own, only after the chunk was verified. At
 * its end the daemon adopts that in one commit, so the target is what it was or what it becomes.
 *
 * Now and then, and where it fails, what was written is flushed and marked in the pool: all before that byte of the disk is
 * there. The same command goes on behind it, reading and verifying what comes before without writing it again. A place on the
 * disk, not in the stream: an export that was interrupted too may come in other chunks the next time.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/disk.h"
#include "tools/object_call.h"
#include "tools/progress.h"
#include "tools/stream_file.h"
#include "tools/text.h"

#define MARK_EVERY  (10 * CLOCK_SECOND)
#define SHOWN_SIZE  (4 * STREAM_NAME_SIZE) /* of a name with what cannot be seen spelt out */
#define SENTENCE_SIZE 1024 /* error_sentence() has no longer ones */
#define BUSY_TRIES  50 /* for the server to let go of what was written to, a tenth of a second each */

struct import {
    struct tool *tool;
    const struct arguments *arguments;
    struct stream_file file;
    struct stream_keys keys;
    struct stream_reader *reader;
    const struct stream_manifest *manifest;
    const char *target;
    const char *snapshot;     /* its name there */
    char adopted[300];        /* the same, as the pool tells it */
    struct disk *disk;        /* NULL: nothing is written */
    char name[300];           /* of what is written to */
    char uuid[UUID_TEXT_SIZE];
    uint64_t position;        /* bytes of the disk: before it nothing is written again */
    uint64_t applied, mark;   /* likewise: all before it is written; and marked */
    uint64_t marked;          /* clock_monotonic */
    bool finishing;           /* the daemon was asked to adopt what was written */
};

/* ---- what both tell ---------------------------------------------------------------------------------------------------- */

static json_t *stream_json(const struct import *import)
{
    static const char *const protections[] = {"none", "passphrase", "key file"};
    const struct stream_manifest *manifest = import->manifest;
    char identity[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE], stream[UUID_TEXT_SIZE];
    bool full = stream_is_full(manifest);
    uuid_format(manifest->snapshot, identity);
    uuid_format(manifest->base, base);
    uuid_format(stream_reader_uuid(import->reader), stream);
    return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "stream", stream, "object",
                     manifest->object_name, "snapshot", manifest->snapshot_name, "identity", identity, "base",
                     full ? NULL : manifest->base_name, "base_identity", full ? NULL : base, "size",
                     (json_int_t)manifest->size, "created", (json_int_t)manifest->created, "chunks",
                     (json_int_t)stream_reader_chunks(import->reader), "bytes",
                     (json_int_t)stream_reader_bytes(import->reader), "data_bytes",
                     (json_int_t)stream_reader_data_bytes(import->reader), "zero_bytes",
                     (json_int_t)stream_reader_zero_bytes(import->reader), "encryption",
                     protections[stream_reader_protection(import->reader)]);
}

static const char *since_text(const struct stream_manifest *manifest, char text[SHOWN_SIZE + 16])
{
    char name[SHOWN_SIZE];
    snprintf(text, SHOWN_SIZE + 16, "%s%s", stream_is_full(manifest) ? "" : " since ",
             text_name(manifest->base_name, name, sizeof(name)));
    return text;
}

/* ---- records ----------------------------------------------------------------------------------------------------------- */

static enum error mark(struct import *import)
{
    json_t *result;
    import->marked = clock_monotonic();
    if (import->disk == NULL || import->applied <= import->mark)
        return ERROR_NONE;
    TRY(disk_flush(import->disk));
    TRY(client_ask(import->tool, "import.mark",
                   json_pack("{s:s, s:I}", "import", import->uuid, "position", (json_int_t)import->applied), &result));
    json_decref(result);
    import->mark = import->applied;
    return ERROR_NONE;
}

static enum error piece_applied(void *context, const struct disk_piece *piece)
{
    struct import *import = context;
    import->applied = piece->offset + piece->length;
    return ERROR_NONE;
}

static enum error record_apply(struct import *import, const struct stream_record *record)
{
    if (import->disk == NULL || record->kind == STREAM_END)
        return ERROR_NONE;
    if (record->offset + record->length <= import->position)
        return disk_note(import->disk, record->offset, record->length);
    return record->kind == STREAM_ZERO ? disk_zero(import->disk, record->offset, record->length)
                                       : disk_write(import->disk, record->offset, record->data, record->length);
}

static enum error record_take(struct import *import, struct stream_record *record)
{
    enum error error = stream_reader_next(import->reader, record);
    if (error != ERROR_NONE)
        return stream_file_failed(&import->file, error);
    TRY(record_apply(import, record));
    return clock_monotonic() - import->marked > MARK_EVERY ? mark(import) : ERROR_NONE;
}

static enum error records_take(struct import *import, const char *label)
{
    struct stream_record record = {0};
    struct progress progress;
    enum error error = ERROR_NONE;
    import->marked = clock_monotonic();
    progress_start(&progress, import->tool, label);
    while (error == ERROR_NONE && record.kind != STREAM_END) {
        error = record_take(import, &record);
        if (error == ERROR_NONE && import->file.size > 0)
            progress_update(&progress, stream_reader_bytes(import->reader), import->file.size);
        else if (error == ERROR_NONE)
            progress_update(&progress, record.offset + record.length, import->manifest->size);
    }
    progress_clear(&progress);
    return error;
}

static enum error stream_begin(struct import *import)
{
    if (strcmp(import->arguments->positional[0], "-") == 0 &&
        strcmp(argument_value(import->arguments, "passphrase-file", ""), "-") == 0)
        return error_explain(ERROR_INVALID, "standard input is the stream: the passphrase must come from a file");
    TRY(stream_keys_read(import->arguments, false, &import->keys));
    TRY(stream_file_open(import->arguments->positional[0], &import->file));
    enum error error = stream_file_begin(&import->file, &import->keys, &import->reader, &import->manifest);
    return error == ERROR_NONE ? ERROR_NONE : stream_file_failed(&import->file, error);
}

static void import_end(struct import *import)
{
    disk_close(import->disk);
    stream_reader_destroy(import->reader);
    stream_keys_forget(&import->keys);
    stream_file_close(&import->file);
}

/* ---- import ------------------------------------------------------------------------------------------------------------ */

static json_t *request_json(const struct import *import)
{
    const struct stream_manifest *manifest = import->manifest;
    char stream[UUID_TEXT_SIZE], base[UUID_TEXT_SIZE], identity[UUID_TEXT_SIZE];
    uuid_format(stream_reader_import(import->reader), stream);
    uuid_format(manifest->base, base);
    uuid_format(manifest->snapshot, identity);
    return json_pack("{s:s, s:s, s:s*, s:I, s:s, s:s, s:I, s:s*}", "object", import->target, "stream", stream, "base",
                     stream_is_full(manifest) ? NULL : base, "size", (json_int_t)manifest->size, "snapshot",
                     import->snapshot, "identity", identity, "created", (json_int_t)manifest->created, "import",
                     import->uuid[0] == '\0' ? NULL : import->uuid);
}

static enum error request_ask(struct import *import, const char *method, json_t **result)
{
    json_t *parameters = request_json(import);
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "a name must be UTF-8");
    return client_ask(import->tool, method, parameters, result);
}

/* Who has it open has it for himself as an import: only what is closed is adopted. Before that another client may have
 * finished this stream, and then it is a disk that is in use. */
static enum error check_importing(struct import *import)
{
    json_t *object;
    TRY(client_ask(import->tool, "object.show", json_pack("{s:s}", "name", import->uuid), &object));
    bool importing = answer_flag(object, "importing");
    json_decref(object);
    if (importing)
        return ERROR_NONE;
    import->name[0] = '\0'; /* there is nothing to go on with */
    return error_explain(ERROR_EXISTS, "somebody else has imported this stream meanwhile");
}

/* The names may be the stream's, which nobody typed. */
static enum error begin_ask(struct import *import, json_t **object)
{
    enum error error = request_ask(import, "import.begin", object);
    if (error == ERROR_EXISTS || error == ERROR_INVALID)
        return error_explain(error, "%s; NAME and --snapshot NAME give what is imported other names", error_sentence(error));
    return error;
}

static enum error target_begin(struct import *import)
{
    json_t *object;
    TRY(begin_ask(import, &object));
    import->position = import->mark = answer_figure(object, "import_position");
    snprintf(import->name, sizeof(import->name), "%s", answer_word(object, "name"));
    snprintf(import->uuid, sizeof(import->uuid), "%s", answer_word(object, "uuid"));
    if (answer_flag(object, "found") && !import->tool->json)
        fprintf(import->tool->err, "Going on with an import that was interrupted, at byte %" PRIu64 " of the disk.\n",
                import->position);
    json_decref(object);
    TRY(disk_open(import->tool, import->arguments, import->uuid, NULL, &import->disk));
    disk_tell(import->disk, piece_applied, import);
    return check_importing(import);
}

/* The server needs a moment to close what was written to. */
static enum error adopt(struct import *import, json_t **object)
{
    TRY(disk_settle(import->disk));
    enum error error = disk_flush(import->disk);
    disk_close(import->disk);
    import->disk = NULL;
    import->finishing = error == ERROR_NONE;
    if (error == ERROR_NONE)
        error = request_ask(import, "import.finish", object);
    for (unsigned i = 0; i < BUSY_TRIES && error == ERROR_BUSY; i++) {
        clock_sleep(CLOCK_SECOND / 10);
        error = request_ask(import, "import.finish", object);
    }
    return error;
}

/* The answer of the daemon's that it adopts what was written may be lost: only where that is not an import any more did it do
 * so, by this question or another client's. Else the target got nothing of it. */
static bool may_be_adopted(struct import *import)
{
    json_t *object;
    if (!import->finishing)
        return false;
    if (client_ask(import->tool, "object.show", json_pack("{s:s}", "name", import->uuid), &object) != ERROR_NONE)
        return true;
    bool importing = answer_flag(object, "importing");
    json_decref(object);
    return !importing;
}

static void snapshot_take_name(struct import *import, const json_t *snapshot)
{
    snprintf(import->adopted, sizeof(import->adopted), "%s", answer_word(snapshot, "snapshot"));
    import->snapshot = import->adopted;
}

/* The target has the snapshot that the stream brings; another client may have given it another name. *object: the target, as
 * import.finish tells it. */
static bool is_adopted(struct import *import, json_t **object)
{
    char identity[UUID_TEXT_SIZE];
    bool found = false;
    json_t *snapshots, *snapshot;
    size_t i;
    if (snapshots_ask(import->tool, import->target, &snapshots) != ERROR_NONE)
        return false;
    uuid_format(import->manifest->snapshot, identity);
    json_array_foreach(snapshots, i, snapshot)
    {
        if (answer_flag(snapshot, "deleting") || strcmp(answer_word(snapshot, "identity"), identity) != 0)
            continue;
        snapshot_take_name(import, snapshot);
        found = true;
    }
    json_decref(snapshots);
    return found && client_ask(import->tool, "object.show", json_pack("{s:s}", "name", import->target), object) == ERROR_NONE;
}

/* ERROR_NONE where the target became what the stream brings after all. Else it is as it was; what came so far stays, and where
 * it stopped is told. */
static enum error explain_failure(struct import *import, enum error error, json_t **object)
{
    char sentence[SENTENCE_SIZE];
    if (import->name[0] == '\0')
        return error; /* nothing was begun */
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error)); /* what is asked here has others */
    if (may_be_adopted(import))
        return is_adopted(import, object)
                   ? ERROR_NONE
                   : error_explain(error,
                                   "%s. Whether '%s' has what the stream brings is not known: `%s object list --snapshots` "
                                   "tells; where it has not, the same command goes on",
                                   sentence, import->target, tool_self(import->tool));
    (void)!mark(import);
    return error_explain(error,
                         "%s. '%s' is as it was; the import stopped at byte %" PRIu64 " of the disk, and the same command "
                         "goes on there; `%s object delete %s --now` gives it up",
                         sentence, import->target, import->mark, tool_self(import->tool), import->name);
}

static enum error tell_imported(struct import *import, const json_t *object)
{
    char data[TEXT_SIZE], zero[TEXT_SIZE], since[SHOWN_SIZE + 16];
    if (!import->tool->json) {
        fprintf(import->tool->out, "Imported '%s@%s'%s: %s of data, %s zeroed.\n", answer_word(object, "name"),
                import->snapshot, since_text(import->manifest, since),
                text_size(stream_reader_data_bytes(import->reader), data),
                text_size(stream_reader_zero_bytes(import->reader), zero));
        return ERROR_NONE;
    }
    json_t *json = stream_json(import);
    enum error error = json == NULL || json_object_set(json, "target", (json_t *)(uintptr_t)object) != 0 ||
                               json_object_set_new(json, "target_snapshot", json_string(import->snapshot)) != 0
                           ? ERROR_NO_MEMORY
                           : tool_print_json(import->tool, json);
    json_decref(json);
    return error;
}

/* Where a secret was given, such a stream is refused. */
static void tell_plain(const struct import *import)
{
    if (stream_reader_protection(import->reader) == STREAM_PLAIN && !import->tool->json)
        fputs("The stream is not encrypted: nothing tells who wrote it.\n", import->tool->err);
}

static enum error import_run(struct import *import, json_t **object)
{
    TRY(stream_begin(import));
    tell_plain(import);
    import->target = import->arguments->positional_count > 1 ? import->arguments->positional[1] : import->manifest->object_name;
    import->snapshot = argument_value(import->arguments, "snapshot", import->manifest->snapshot_name);
    TRY(target_begin(import));
    TRY(records_take(import, "importing"));
    return adopt(import, object);
}

static enum error run_import(struct tool *tool, const struct arguments *arguments)
{
    struct import import = {.tool = tool, .arguments = arguments, .file.descriptor = -1};
    json_t *object = NULL;
    enum error error = import_run(&import, &object);
    if (error != ERROR_NONE)
        error = explain_failure(&import, error, &object);
    if (error == ERROR_NONE)
        error = tell_imported(&import, object);
    json_decref(object);
    import_end(&import);
    return error;
}

/* ---- verify ------------------------------------------------------------------------------------------------------------ */

static void tell_verified(struct import *import)
{
    const struct stream_manifest *manifest = import->manifest;
    char size[TEXT_SIZE], data[TEXT_SIZE], zero[TEXT_SIZE], when[TEXT_SIZE], since[SHOWN_SIZE + 16];
    char object[SHOWN_SIZE], snapshot[SHOWN_SIZE];
    fprintf(import->tool->out, "'%s@%s'%s, %s, made %s: %s of data, %s zeroed, in %" PRIu64 " chunks. The stream is whole%s.\n",
            text_name(manifest->object_name, object, sizeof(object)),
            text_name(manifest->snapshot_name, snapshot, sizeof(snapshot)), since_text(manifest, since),
            text_size(manifest->size, size),
            text_time(manifest->created, when), text_size(stream_reader_data_bytes(import->reader), data),
            text_size(stream_reader_zero_bytes(import->reader), zero), stream_reader_chunks(import->reader),
            stream_reader_protection(import->reader) == STREAM_PLAIN ? "; it is not encrypted, so nothing tells who wrote it"
                                                                     : "");
}

static enum error run_verify(struct tool *tool, const struct arguments *arguments)
{
    struct import import = {.tool = tool, .arguments = arguments, .file.descriptor = -1};
    enum error error = stream_begin(&import);
    if (error == ERROR_NONE)
        error = records_take(&import, "verifying");
    if (error == ERROR_NONE && tool->json) {
        json_t *json = stream_json(&import);
        error = json == NULL ? ERROR_NO_MEMORY : tool_print_json(tool, json);
        json_decref(json);
    } else if (error == ERROR_NONE) {
        tell_verified(&import);
    }
    import_end(&import);
    return error;
}

/* ---- the table --------------------------------------------------------------------------------------------------------- */

#define SECRET_OPTIONS                                                                                                 \
    {"passphrase-file", "FILE", "the stream's passphrase is in FILE; else it is asked for", false},                    \
    {                                                                                                                  \
        "key-file", "FILE", "the stream's key is in FILE", false                                                       \
    }

static const struct option_row import_options[] = {
    SECRET_OPTIONS,
    {"snapshot", "NAME", "what the snapshot is to be called; else as the stream says", false},
    {"nbd", "ADDRESS", "another way to it than cofferd tells itself: unix:PATH or tcp:HOST:PORT", false},
    {NULL},
};
static const struct option_row verify_options[] = {SECRET_OPTIONS, {NULL}};

const struct command command_object_import = {
    .noun = "object",
    .verb = "import",
    .arguments = "FILE [NAME]",
    .summary = "make a disk, or move one on, by a stream",
    .text = "Reads a stream from FILE (\"-\": standard input). One that is whole makes a new disk, NAME or as it was called,\n"
            "with the snapshot; one that was made --since a snapshot moves a disk on, whose newest snapshot that is and which\n"
            "was not written since. The disk is what it was until all is there, and then what the stream brings. An import\n"
            "that failed goes on with the same command, and says how to give it up.",
    .examples = "  coffer object import disk1-monday.coffer\n"
                "  ssh backup cat disk1-tuesday.coffer | coffer object import - disk1 --key-file key\n",
    .positional_min = 1,
    .positional_max = 2,
    .options = import_options,
    .run = run_import,
};

const struct command command_object_verify = {
    .noun = "object",
    .verb = "verify",
    .arguments = "FILE",
    .summary = "check an exported stream, without a pool",
    .text = "Reads a stream from FILE (\"-\": standard input) to its end, checks every byte of it and tells what it is of. Needs\n"
            "no pool.",
    .examples = "  coffer object verify disk1-monday.coffer --passphrase-file secret\n",
    .positional_min = 1,
    .positional_max = 1,
    .options = verify_options,
    .run = run_verify,
};
