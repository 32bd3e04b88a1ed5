/*
 * Looks at names and sizes only. No locks, nothing written; a directory that cannot be read has none.
 */
#include "server/evidence_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/shell.h"
#include "base/size.h"
#include "engine/pool/evidence_list.h"
#include "server/health_check.h"

struct looking {
    const char *directory;
    struct evidence_kept *kept;
};

static enum error take(int directory, const char *name, uint64_t bytes, void *context)
{
    struct looking *looking = context;
    struct evidence_kept *kept = looking->kept;
    (void)directory;
    AUTO_FREE char *path = file_join(looking->directory, name);
    AUTO_FREE char *word = path == NULL ? NULL : shell_quote(path);
    size_t length = strlen(kept->command);
    kept->count++;
    kept->bytes += bytes;
    if (word != NULL && length + strlen(word) + 4 < sizeof(kept->command))
        snprintf(kept->command + length, sizeof(kept->command) - length, "%s%s", length == 0 ? "rm " : " ", word);
    return ERROR_NONE;
}

void evidence_kept_look(const char *directory, struct evidence_kept *kept)
{
    AUTO_FREE char *absolute = realpath(directory, NULL);
    struct looking looking = {absolute == NULL ? directory : absolute, kept};
    *kept = (struct evidence_kept){0};
    if (evidence_list(looking.directory, take, &looking) != ERROR_NONE)
        error_forget();
}

void check_evidence(const struct health_facts *facts, struct finding *finding)
{
    const struct evidence_kept *kept = &facts->kept;
    char size[32];
    finding_good(finding, "no repair kept anything in the pool directory");
    if (kept->count == 0)
        return;
    finding->severity = "note";
    size_format(kept->bytes, size, sizeof(size));
    snprintf(finding->evidence, sizeof(finding->evidence),
             "%zu file%s of what repairs let go of, %s, in the pool directory: %s. To be removed when nobody wants to look at it any "
             "more, and before a change of keys that is to shut somebody out",
             kept->count, kept->count == 1 ? "" : "s", size,
             facts->status->encryption ? "they may hold wrapped keys of then" : "they hold data as it was, in the clear");
    snprintf(finding->command, sizeof(finding->command), "%s", kept->command);
}
