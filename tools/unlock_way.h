/* `coffer unlock --key` and `--recovery`: the ways in beside the provider. */
#ifndef COFFER_TOOLS_UNLOCK_WAY_H
#define COFFER_TOOLS_UNLOCK_WAY_H

#include "tools/client.h"

/* By the backup in `file`, whose password comes from `password_file` or is asked for. */
enum error unlock_with_backup(struct client *client, const char *file, const char *password_file, json_t **status) CHECKED;
/* By the recovery key in `file` ("-": standard input), or asked for where that is NULL. */
enum error unlock_with_recovery(struct client *client, const char *file, json_t **status) CHECKED;

#endif
