/* A key file that is there before its provider is added: exported from another pool directory, or of one that comes back. */
#ifndef COFFER_TOOLS_KEY_FILE_H
#define COFFER_TOOLS_KEY_FILE_H

#include "crypto/hierarchy.h"
#include "tools/key_provider.h"

struct key_file {
    bool found;
    uint8_t kcv[KCV_SIZE];
};

/* Looks whether `provider`, native and not in the conf yet, has a key file at its path already. Its id becomes the file's, where
 * none was typed (--id). ERROR_FOREIGN: the file is of another id; ERROR_WRONG_KEY: its check value is not the one typed
 * (--kcv); ERROR_EXISTS: a provider of the conf has that id or that key; ERROR_NOT_FOUND: --kcv, and no file; and those of a file
 * that is no key file, or not private. */
enum error key_file_take(const struct provider_task *task, struct provider_config *provider, struct key_file *file) CHECKED;

#endif
