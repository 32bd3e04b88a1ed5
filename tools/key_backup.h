/* What other commands need of a backup of the pool's key. */
#ifndef COFFER_TOOLS_KEY_BACKUP_H
#define COFFER_TOOLS_KEY_BACKUP_H

#include "crypto/provider.h"
#include "engine/pool/key_backup.h"

/* Reads the backup in a file; its password from `password_file`, or where that is NULL as passphrase_read() does. */
enum error key_backup_file_read(const char *path, const char *password_file, struct key_backup **backup) CHECKED;

/* The passphrase or PIN that the provider needs to give its key, from `file` or asked for; nothing where it needs none. */
enum error pool_secret_read(const struct provider_config *provider, const char *file, struct provider_secret *secret) CHECKED;
void pool_secret_forget(struct provider_secret *secret);

#endif
