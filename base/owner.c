/*
 * Owners of new files.
 *
 * Files are given away by their descriptors, before they get their name, so a directory's owner who plays tricks with
 * names gains nothing. A socket's file has no descriptor: it is made under the owner's identity for files, which is a
 * matter of this thread alone (setfsuid(2)), and which may do no more in the directory than its owner. With each change
 * of it the kernel sets anew whether the process may be dumped (fs.suid_dumpable), so that is put back at once. No
 * locks; a crash in between leaves a file that has no name, or the name that its replacement takes over.
 */
#include "base/owner.h"

#include <errno.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* errno, or 0. */
static int directory_look(const char *path, struct stat *directory)
{
    AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return ENOMEM;
    return stat(dirname(copy), directory) == 0 ? 0 : errno;
}

static enum error give(int descriptor, const char *path, uid_t user, gid_t group)
{
    if (geteuid() != 0 || (user == 0 && group == 0))
        return ERROR_NONE;
    return fchown(descriptor, user, group) == 0 ? ERROR_NONE : error_from_errno(errno, "give %s to its owner", path);
}

enum error owner_give(int descriptor, const char *path)
{
    struct stat directory;
    int number = directory_look(path, &directory);
    if (number != 0)
        return error_from_errno(number, "look at the directory of %s", path);
    return give(descriptor, path, directory.st_uid, directory.st_gid);
}

enum error owner_give_below(int descriptor, int directory, const char *path)
{
    struct stat status;
    if (fstat(directory, &status) != 0)
        return error_from_errno(errno, "look at the directory of %s", path);
    return give(descriptor, path, status.st_uid, status.st_gid);
}

enum error owner_give_as(int descriptor, const char *path)
{
    struct stat old;
    if (lstat(path, &old) != 0 || !S_ISREG(old.st_mode))
        return owner_give(descriptor, path);
    TRY(give(descriptor, path, old.st_uid, old.st_gid));
    if (fchmod(descriptor, old.st_mode & 0777) != 0)
        return error_from_errno(errno, "set the mode of %s", path);
    return ERROR_NONE;
}

/* A process may set itself to 0 or 1 only; what else it was (root may dump it) becomes 0. */
static void identity_take(uid_t user, gid_t group)
{
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    setfsgid(group);
    setfsuid(user);
    prctl(PR_SET_DUMPABLE, dumpable == 1, 0, 0, 0);
}

/* The mode comes before the name, so that no moment is left in which others could connect. */
int owner_bind(int descriptor, const struct sockaddr *address, socklen_t size, const char *path)
{
    struct stat directory;
    if (fchmod(descriptor, 0600) != 0)
        return errno;
    bool give_away = geteuid() == 0 && directory_look(path, &directory) == 0 && directory.st_uid != 0;
    if (give_away)
        identity_take(directory.st_uid, directory.st_gid);
    int number = bind(descriptor, address, size) == 0 ? 0 : errno;
    if (give_away)
        identity_take(geteuid(), getegid());
    return number;
}
