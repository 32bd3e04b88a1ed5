/* The place where a lost pool directory is made again (`coffer import`, `coffer restore`). */
#ifndef COFFER_TOOLS_LOST_DIRECTORY_H
#define COFFER_TOOLS_LOST_DIRECTORY_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/error.h"

struct lost_directory {
    const char *path;
    /* Whether an entry may stay; lost+found may, and what is not told by this is refused. */
    bool (*may_lie_there)(const void *context, const struct stat *entry, const char *name);
    const void *context;
    const char *but; /* what may, for the sentence: "the disks" */
};

/* Whether it can be made: it is not there, or is a directory of the caller's, by no link, with nothing else in it.
 * ERROR_EXISTS, ERROR_ACCESS. */
enum error lost_directory_check(const struct lost_directory *lost) CHECKED;
/*
 * Makes it, or takes the one that is there after the same checks, closes it to others (0700), and removes what a crash left of
 * unfinished files. *directory is the caller's, also where its name could not be made durable: what goes into it goes there by
 * it, for its name may lead elsewhere by then.
 */
enum error lost_directory_make(const struct lost_directory *lost, bool *made, int *directory) CHECKED;

/* A path to it that no exchange of names leads elsewhere, while it is open. */
#define LOST_DIRECTORY_PATH_SIZE 32
void lost_directory_path(int directory, char path[LOST_DIRECTORY_PATH_SIZE]);

/* Whether its name leads to it still: ERROR_ACCESS. Where not, nobody got what was written, but it lies elsewhere. */
enum error lost_directory_name_check(const struct lost_directory *lost, int directory) CHECKED;

/* Removes the one that was made, where it is empty and its name leads to it. */
void lost_directory_remove(const struct lost_directory *lost, int directory);

/* What is there already, or is where a secret goes, must be so: ERROR_ACCESS where it is another's, or where group or others
 * may write to it. */
enum error lost_directory_owner_check(const struct stat *status, const char *path) CHECKED;

/* Whether that entry is the file at `path` (NULL: none). */
bool file_is_at(const struct stat *entry, const char *path);

#endif
