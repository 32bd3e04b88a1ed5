/* How to reach an object over NBD: its URI, and what to type for the usual clients. */
#ifndef COFFER_TOOLS_URI_H
#define COFFER_TOOLS_URI_H

#include <stdint.h>

#include "base/error.h"

/* `address` is "unix:PATH" or "tcp:HOST:PORT" (HOST may be in brackets). The results are malloc'ed. */

/* The NBD URI: nbd+unix:///NAME?socket=PATH or nbd://HOST:PORT/NAME, percent-encoded. */
enum error uri_make(const char *address, const char *name, char **uri) CHECKED;

/* What to type for `client`: "qemu", "libvirt", "nbd-client" or "fio"; ERROR_INVALID lists them. */
enum error uri_for(const char *client, const char *address, const char *name, uint64_t size, char **text) CHECKED;

#endif
