/* Nothing is overwritten, and what was done is told in any case. Nothing is kept. */
#include "tools/certificate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum error certificate_place(const char *path)
{
    if (path == NULL)
        return error_explain(ERROR_INVALID, "say where the certificate goes: --certificate FILE");
    if (access(path, F_OK) == 0)
        return error_explain(ERROR_EXISTS, "%s exists: the certificate is to be a new file", path);
    AUTO_FREE char *directory = strdup(path);
    char *slash = directory == NULL ? NULL : strrchr(directory, '/');
    if (directory == NULL)
        return ERROR_NO_MEMORY;
    if (slash != NULL)
        slash[slash == directory ? 1 : 0] = '\0';
    const char *parent = slash == NULL ? "." : directory;
    return access(parent, W_OK | X_OK) == 0 ? ERROR_NONE : error_from_errno(errno, "make a file in %s", parent);
}

enum error certificate_keep(struct tool *tool, const char *what, const char *path, const char *text)
{
    enum error error = file_create_own(path, text, strlen(text));
    if (error != ERROR_NONE || tool->json)
        fprintf(tool->out, "%s\n", text);
    else
        fprintf(tool->out, "%s is erased; what was done, and what else could open an image of it, stands in %s.\n", what, path);
    return error == ERROR_NONE ? ERROR_NONE : error_prefix(error, "%s is erased; keep what is printed, since", what);
}
