/* Small files of the pool directory: read whole, replaced atomically, checked for their mode. */
#ifndef COFFER_BASE_FILE_H
#define COFFER_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"

/* The name of what a crash may leave of a new file, and 16 digits, where a file system has none without a name. */
#define FILE_UNFINISHED      ".coffer-unfinished-"
#define FILE_UNFINISHED_SIZE (sizeof FILE_UNFINISHED + 16)

/* Reads a regular file of at most `size_max` bytes. On success *data (malloc'ed, one zero byte behind) and *size are
 * the caller's. */
enum error file_read(const char *path, size_t size_max, void **data, size_t *size) CHECKED;

/* Writes path.new, syncs it, renames it over `path`, syncs the directory: after a crash `path` is the old or the new
 * file, whole. Owner and mode are those of the file that is replaced; where there is none, the mode is 0600 and what
 * root makes belongs to the owner of the directory (owner.h). */
enum error file_replace(const char *path, const void *data, size_t size) CHECKED;

/* A new file, whole or not at all; nothing else is touched. ERROR_EXISTS where `path` exists. Mode and owner as above. */
enum error file_create(const char *path, const void *data, size_t size) CHECKED;

/* The same of what `fill` writes into the open file: it need not be in memory. `own` as of file_create_own(). */
typedef enum error file_fill(int descriptor, const char *path, void *context);
enum error file_create_filled(const char *path, file_fill *fill, void *context, bool own) CHECKED;

/* file_create(), and it stays the caller's, whoever owns the directory: for secrets that a person puts somewhere. */
enum error file_create_own(const char *path, const void *data, size_t size) CHECKED;

/* The same, as `name`, one word, of the open directory. `path` is for sentences. */
enum error file_create_in(int directory, const char *name, const char *path, const void *data, size_t size) CHECKED;

/* Removes what was made, and is not as it should be; `error` with a sentence that says so, too. */
enum error file_take_back(const char *path, enum error error) CHECKED;

/* Makes the name of a file or directory that was just made durable: syncs the directory that it stands in. */
enum error file_name_sync(const char *path) CHECKED;

/* Whether a crash of these left it. */
bool file_is_unfinished(const char *name);

/*
 * Of `name`, words between slashes, none of them "..", the directory below the open one, by no link; *last is the last word.
 * *parent is the caller's. `path` is for sentences.
 */
enum error file_parent_open(int directory, const char *name, const char *path, int *parent, const char **last) CHECKED;

/* A regular file, by no link (else ERROR_INVALID), for reading. *descriptor is the caller's. */
enum error file_open_below(int directory, const char *name, const char *path, struct stat *status, int *descriptor) CHECKED;

/* file_read() of it, by no link (ERROR_INVALID). *status is of what was read. */
enum error file_read_below(int directory, const char *name, const char *path, size_t size_max, struct stat *status, void **data,
                           size_t *size) CHECKED;

/* Takes the name away, durably. ERROR_NONE where there is none. */
enum error file_remove(const char *path) CHECKED;

/* Gives a file another's place in the same directory, durably: after a crash it has the old name or the new one. */
enum error file_rename(const char *from, const char *to) CHECKED;

/* file_read() of a secret: ERROR_ACCESS where it belongs to somebody else than root or the effective user, or group or
 * others may do anything with it. What is checked is the file that is read, whatever takes its name meanwhile. */
enum error file_read_private(const char *path, size_t size_max, void **data, size_t *size) CHECKED;

/* Reads from an open file, pipe or terminal up to `size` bytes or its end; *got tells how many. `path` is for the
 * sentence. */
enum error file_read_up_to(int descriptor, const char *path, void *data, size_t size, size_t *got) CHECKED;

/* Formats "dir/name" into a malloc'ed string; NULL when out of memory. */
char *file_join(const char *directory, const char *name) CHECKED;

#endif
