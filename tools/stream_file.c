/*
 * Files and pipes of streams. What is written is a stream to its last whole chunk at any time, so a crash, or a full disk,
 * leaves what an export can go on with. Secrets are read into the arena. One thread.
 */
#include "tools/stream_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"

#define KEY_FILE_MAX 128

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

enum error stream_file_open(const char *path, struct stream_file *file)
{
    struct stat status;
    *file = (struct stream_file){.path = is_standard(path) ? "standard input" : path, .descriptor = STDIN_FILENO};
    if (!is_standard(path))
        file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file->descriptor < 0)
        return error_from_errno(errno, "open %s", path);
    if (isatty(file->descriptor))
        return error_explain(ERROR_INVALID, "a terminal is no stream: name a file, or pipe one into standard input");
    if (fstat(file->descriptor, &status) == 0 && S_ISREG(status.st_mode))
        file->size = (uint64_t)status.st_size;
    return ERROR_NONE;
}

static enum error file_create_new(const char *path, bool again, struct stream_file *file)
{
    int flags = again ? O_RDWR : O_WRONLY | O_CREAT | O_EXCL;
    file->descriptor = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    if (file->descriptor < 0 && errno == EEXIST)
        return error_explain(ERROR_EXISTS, "%s exists already: --resume goes on with an export that was interrupted", path);
    if (file->descriptor < 0)
        return error_from_errno(errno, "open %s", path);
    if (flock(file->descriptor, LOCK_EX | LOCK_NB) != 0)
        return error_explain(ERROR_BUSY, "%s is being written by somebody else", path);
    return ERROR_NONE;
}

enum error stream_file_create(const char *path, bool again, struct stream_file *file)
{
    *file = (struct stream_file){.path = is_standard(path) ? "standard output" : path, .descriptor = STDOUT_FILENO};
    if (!is_standard(path))
        return file_create_new(path, again, file);
    if (again)
        return error_explain(ERROR_INVALID, "only a file can be gone on with: say --output FILE");
    if (isatty(STDOUT_FILENO))
        return error_explain(ERROR_INVALID, "a stream is not for a terminal: say --output FILE, or pipe it");
    return ERROR_NONE;
}

/* A pipe cannot be synced, and need not. */
enum error stream_file_sync(struct stream_file *file)
{
    if (fsync(file->descriptor) != 0 && errno != EINVAL && errno != EROFS)
        return error_from_errno(errno, "write %s", file->path);
    return file->descriptor > STDERR_FILENO ? file_name_sync(file->path) : ERROR_NONE;
}

void stream_file_close(struct stream_file *file)
{
    if (file->descriptor > STDERR_FILENO)
        close(file->descriptor);
    file->descriptor = -1;
}

enum error stream_file_read(void *context, void *data, size_t size, size_t *got)
{
    struct stream_file *file = context;
    return file_read_up_to(file->descriptor, file->path, data, size, got);
}

enum error stream_file_write(void *context, const void *data, size_t size)
{
    struct stream_file *file = context;
    for (size_t done = 0; done < size;) {
        ssize_t count = write(file->descriptor, (const uint8_t *)data + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EPIPE)
            return error_explain(ERROR_IO, "who read the stream closed the pipe: what it has is cut off");
        if (count < 0)
            return error_from_errno(errno, "write %s", file->path);
        done += (size_t)count;
    }
    return ERROR_NONE;
}

/* ---- secrets --------------------------------------------------------------------------------------------------------- */

/* 32 bytes, or as many in hexadecimal digits; a newline may follow those. */
static bool key_decode(const char *data, size_t size, uint8_t key[KEY_SIZE])
{
    if (size == KEY_SIZE) {
        memcpy(key, data, KEY_SIZE);
        return true;
    }
    if (size == 2 * KEY_SIZE + 1 && data[size - 1] == '\n')
        size--;
    return hex_parse_typed(data, size, key, KEY_SIZE);
}

static enum error key_read(const char *path, struct stream_keys *keys)
{
    void *data;
    size_t size;
    TRY(file_read_private(path, KEY_FILE_MAX, &data, &size));
    keys->key = arena_allocate(KEY_SIZE);
    bool decoded = keys->key != NULL && key_decode(data, size, keys->key);
    memory_free_cleansed(data);
    if (keys->key == NULL)
        return ERROR_NO_MEMORY;
    keys->secret.key = keys->key;
    return decoded ? ERROR_NONE
                   : error_explain(ERROR_INVALID, "%s is no key: a key file has 32 bytes (`head -c 32 /dev/urandom`), or 64 "
                                                  "hexadecimal digits",
                                   path);
}

static enum error passphrase_take(const char *path, bool confirm, struct stream_keys *keys)
{
    TRY(passphrase_read(path, "Passphrase of the stream: ", confirm, &keys->passphrase, &keys->secret.passphrase_size));
    keys->secret.passphrase = keys->passphrase;
    return ERROR_NONE;
}

enum error stream_keys_read(const struct arguments *arguments, bool export, struct stream_keys *keys)
{
    const char *passphrase = argument_value(arguments, "passphrase-file", NULL);
    const char *key = argument_value(arguments, "key-file", NULL);
    *keys = (struct stream_keys){0};
    if (passphrase != NULL && key != NULL)
        return error_explain(ERROR_INVALID, "--passphrase-file or --key-file: a stream has one of them");
    if (key != NULL)
        return key_read(key, keys);
    bool asks = export && argument_given(arguments, "encrypt");
    return passphrase != NULL || asks ? passphrase_take(passphrase, asks && passphrase == NULL, keys) : ERROR_NONE;
}

void stream_keys_forget(struct stream_keys *keys)
{
    arena_free(keys->passphrase);
    arena_free(keys->key);
    *keys = (struct stream_keys){0};
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

enum error stream_file_failed(const struct stream_file *file, enum error error)
{
    char sentence[1024];
    if (error != ERROR_CLOSED)
        return error_prefix(error, "%s", file->path);
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    return error_explain(ERROR_CORRUPT, "%s: %s", file->path, sentence);
}

static enum error unlock(struct stream_keys *keys, struct stream_reader *reader, const struct stream_manifest **manifest)
{
    if (stream_reader_protection(reader) == STREAM_PASSPHRASE && keys->secret.passphrase == NULL)
        TRY(passphrase_take(NULL, false, keys));
    return stream_reader_unlock(reader, &keys->secret, manifest);
}

enum error stream_file_begin(struct stream_file *file, struct stream_keys *keys, struct stream_reader **reader,
                             const struct stream_manifest **manifest)
{
    struct stream_reader *made;
    TRY(stream_reader_create(stream_file_read, file, &made));
    enum error error = unlock(keys, made, manifest);
    if (error != ERROR_NONE) {
        stream_reader_destroy(made);
        return error;
    }
    *reader = made;
    return ERROR_NONE;
}
