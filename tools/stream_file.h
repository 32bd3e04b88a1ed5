/* A stream's file or pipe, and the secret under which it is. */
#ifndef COFFER_TOOLS_STREAM_FILE_H
#define COFFER_TOOLS_STREAM_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "stream/reader.h"
#include "tools/arguments.h"
#include "tools/tool.h"

struct stream_file {
    const char *path; /* "-": standard input or output */
    int descriptor;
    uint64_t size;    /* of a regular file that is read; else 0 */
};

/* For reading. */
enum error stream_file_open(const char *path, struct stream_file *file) CHECKED;
/* For writing: a new file, or with `again` one that is there (then its descriptor can be read too). A terminal takes none. */
enum error stream_file_create(const char *path, bool again, struct stream_file *file) CHECKED;
/* What was written is durable, and the file in its directory, which an export that was interrupted may have left to this one. */
enum error stream_file_sync(struct stream_file *file) CHECKED;
void stream_file_close(struct stream_file *file);

/* stream_input and stream_output; `context` is the file. */
enum error stream_file_read(void *context, void *data, size_t size, size_t *got) CHECKED;
enum error stream_file_write(void *context, const void *data, size_t size) CHECKED;

struct stream_keys {
    struct stream_secret secret;
    char *passphrase; /* in the arena */
    uint8_t *key;     /* likewise */
};
/* What --passphrase-file, --key-file and (of an export) --encrypt say; with neither, nothing. stream_keys_forget() is due in
 * any case. */
enum error stream_keys_read(const struct arguments *arguments, bool export, struct stream_keys *keys) CHECKED;
void stream_keys_forget(struct stream_keys *keys);

/* Opens the stream in a file: header, secret (asked for where it is wanted and was not said), manifest. ERROR_CLOSED where it is
 * cut off before there is more; stream_file_failed() is for whoever wants it whole. */
enum error stream_file_begin(struct stream_file *file, struct stream_keys *keys, struct stream_reader **reader,
                             const struct stream_manifest **manifest) CHECKED;

/* A stream that is cut off is damage to whoever calls, not a closed connection. */
enum error stream_file_failed(const struct stream_file *file, enum error error);

#endif
