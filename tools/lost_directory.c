/*
 * It gets the pool's keys and is closed to others, so it must be nobody else's, and no other one by a link. What is looked at
 * and what is changed is one open directory, whatever takes its name meanwhile. Nothing is overwritten, and nothing removed but
 * what a crash left of files that had no name yet.
 */
#include "tools/lost_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

bool file_is_at(const struct stat *entry, const char *path)
{
    struct stat found;
    return path != NULL && stat(path, &found) == 0 && found.st_dev == entry->st_dev && found.st_ino == entry->st_ino;
}

static bool may_stay(const struct lost_directory *lost, int directory, const char *name)
{
    struct stat entry;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0)
        return true;
    if (file_is_unfinished(name) && fstatat(directory, name, &entry, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(entry.st_mode))
        return true;
    return fstatat(directory, name, &entry, 0) == 0 && lost->may_lie_there(lost->context, &entry, name);
}

static DIR *list_open(int directory)
{
    int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = again < 0 ? NULL : fdopendir(again);
    if (list == NULL && again >= 0)
        close(again);
    return list;
}

static enum error entries_check(const struct lost_directory *lost, int directory)
{
    DIR *list = list_open(directory);
    struct dirent *entry;
    enum error error = ERROR_NONE;
    if (list == NULL)
        return error_from_errno(errno, "read the directory %s", lost->path);
    while (error == ERROR_NONE && (entry = readdir(list)) != NULL)
        if (!may_stay(lost, directory, entry->d_name))
            error = error_explain(ERROR_EXISTS, "%s is not empty (%s): name a new directory, or move away what is in it but %s",
                                  lost->path, entry->d_name, lost->but);
    closedir(list);
    return error;
}

static void unfinished_remove(int directory)
{
    DIR *list = list_open(directory);
    for (struct dirent *entry; list != NULL && (entry = readdir(list)) != NULL;)
        if (file_is_unfinished(entry->d_name))
            unlinkat(directory, entry->d_name, 0);
    if (list != NULL)
        closedir(list);
}

static enum error directory_open(const struct lost_directory *lost, int *directory)
{
    struct stat found;
    int opened = open(lost->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (opened < 0)
        return error_from_errno(errno, "open the directory %s (a symbolic link to one is refused)", lost->path);
    enum error error = ERROR_NONE;
    if (fstat(opened, &found) != 0)
        error = error_from_errno(errno, "look at %s", lost->path);
    else if (found.st_uid != geteuid() && found.st_uid != 0)
        error = error_explain(ERROR_ACCESS, "%s belongs to user %u: run this as that user, or name another directory",
                              lost->path, (unsigned)found.st_uid);
    else
        error = entries_check(lost, opened);
    if (error != ERROR_NONE)
        close(opened);
    else
        *directory = opened;
    return error;
}

enum error lost_directory_check(const struct lost_directory *lost)
{
    struct stat found;
    int directory;
    if (lstat(lost->path, &found) != 0 && errno == ENOENT)
        return ERROR_NONE;
    TRY(directory_open(lost, &directory));
    close(directory);
    return ERROR_NONE;
}

enum error lost_directory_make(const struct lost_directory *lost, bool *made, int *directory)
{
    int opened;
    if (mkdir(lost->path, 0700) == 0)
        *made = true;
    else if (errno != EEXIST)
        return error_from_errno(errno, "make the directory %s", lost->path);
    TRY(directory_open(lost, &opened));
    if (fchmod(opened, 0700) != 0) {
        enum error error = error_from_errno(errno, "close %s to others", lost->path);
        close(opened);
        return error;
    }
    unfinished_remove(opened);
    *directory = opened;
    return *made ? file_name_sync(lost->path) : ERROR_NONE;
}

void lost_directory_path(int directory, char path[LOST_DIRECTORY_PATH_SIZE])
{
    snprintf(path, LOST_DIRECTORY_PATH_SIZE, "/proc/self/fd/%d", directory);
}

enum error lost_directory_name_check(const struct lost_directory *lost, int directory)
{
    struct stat opened, named;
    if (fstat(directory, &opened) != 0 || lstat(lost->path, &named) != 0)
        return error_from_errno(errno, "look at %s", lost->path);
    return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
               ? ERROR_NONE
               : error_explain(ERROR_ACCESS, "another directory took the name %s meanwhile: name one that lies in a directory of "
                                             "your own", lost->path);
}

void lost_directory_remove(const struct lost_directory *lost, int directory)
{
    if (directory < 0)
        return;
    if (lost_directory_name_check(lost, directory) == ERROR_NONE)
        rmdir(lost->path);
    else
        error_forget();
}

enum error lost_directory_owner_check(const struct stat *status, const char *path)
{
    if (status->st_uid != geteuid())
        return error_explain(ERROR_ACCESS, "%s is there and belongs to user %u, who would get at the keys: move it away, or name "
                                           "another directory", path, (unsigned)status->st_uid);
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return error_explain(ERROR_ACCESS, "%s is there and others may write to it (mode %04o): move it away, or name another "
                                           "directory", path, (unsigned)(status->st_mode & 07777));
    return ERROR_NONE;
}
