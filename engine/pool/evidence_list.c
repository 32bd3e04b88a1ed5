/*
 * The evidence files of a directory, by their names: `evidence-`, 16 hexadecimal digits, and perhaps `-2` to `-9`. Links and what
 * else is no file are passed over. Only read; no locks. A crash is harmless.
 */
#include "engine/pool/evidence_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/coffer.h"

#define DIGITS 16u

static bool is_evidence(const char *name)
{
    const size_t prefix = strlen(EVIDENCE_PREFIX);
    if (strncmp(name, EVIDENCE_PREFIX, prefix) != 0 || strspn(name + prefix, "0123456789abcdef") != DIGITS)
        return false;
    const char *end = name + prefix + DIGITS;
    return end[0] == '\0' || (end[0] == '-' && end[1] >= '2' && end[1] <= '9' && end[2] == '\0');
}

static enum error each(DIR *listing, const char *directory, evidence_visit *visit, void *context)
{
    const struct dirent *entry;
    struct stat status;
    while (errno = 0, (entry = readdir(listing)) != NULL) {
        if (is_evidence(entry->d_name) && fstatat(dirfd(listing), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode))
            TRY(visit(dirfd(listing), entry->d_name, (uint64_t)status.st_blocks * 512, context));
    }
    return errno ? error_from_errno(errno, "read %s", directory) : ERROR_NONE;
}

enum error evidence_list(const char *directory, evidence_visit *visit, void *context)
{
    DIR *listing = opendir(directory);
    if (!listing)
        return error_from_errno(errno, "open %s", directory);
    enum error error = each(listing, directory, visit, context);
    closedir(listing);
    return error;
}
