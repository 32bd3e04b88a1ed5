/*
 * Changes of coffer.conf that a program makes: a provider more, one less, another one in force. Comments, order and all
 * other lines stay; what comes out is read as a conf before it takes the old one's place.
 */
#ifndef COFFER_ENGINE_POOL_CONF_EDIT_H
#define COFFER_ENGINE_POOL_CONF_EDIT_H

#include "base/error.h"
#include "engine/pool/conf.h"

/* For as long as it is held nobody else edits: daemon and command take it around reading and writing. ERROR_BUSY where another
 * process has it for seconds. Not around I/O to devices, key servers or TPMs. */
enum error conf_edit_begin(const char *directory, int *lock) CHECKED;
void conf_edit_end(int lock);

/* Whether its name, id and file are no other one's, as the conf is now: before its key file, servers or TPM are looked at. */
enum error conf_edit_add_check(const struct pool_conf *conf, const struct provider_config *provider) CHECKED;

/* Between the two above. Durable when they return. ERROR_NOT_FOUND: there is no such provider; ERROR_EXISTS: the name, id or
 * file is another one's; ERROR_INVALID: the conf is not as it must be, before or after the change. */
enum error conf_edit_add(const char *directory, const struct provider_config *provider) CHECKED; /* with paths to be opened */
enum error conf_edit_remove(const char *directory, const char *name) CHECKED;
enum error conf_edit_use(const char *directory, const char *name) CHECKED;

#endif
