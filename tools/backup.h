/* What `coffer restore` needs of a backup of a pool directory. */
#ifndef COFFER_TOOLS_BACKUP_H
#define COFFER_TOOLS_BACKUP_H

#include "stream/bundle.h"
#include "tools/arguments.h"
#include "tools/tool.h"

/* Of a backup, for --json. */
json_t *backup_json(const struct bundle *bundle, const char *path);

/* Reads and opens FILE, with the passphrase of --passphrase-file or asked for. The sentence names FILE. */
enum error backup_read(const struct arguments *arguments, const char *path, struct bundle **bundle) CHECKED;

#endif
