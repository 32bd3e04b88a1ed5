/*
 * Where NBD is served, for who asks on the control socket: the command line, coffer.conf and systemd may each say it, and only
 * this process knows which did.
 *
 * One list a process. It is written before the control socket is there, and only read from then on.
 */
#ifndef COFFER_SERVER_SERVED_H
#define COFFER_SERVER_SERVED_H

#include <jansson.h>

#include "base/error.h"

/* "unix:PATH" (a relative one counts from the current directory), "tcp:HOST:PORT"; anything else is no place to connect to. */
enum error served_note(const char *address) CHECKED;
/* The same of a socket that listens. */
enum error served_note_socket(int descriptor) CHECKED;
void served_forget(void);
/* An array of texts, with absolute paths; NULL when out of memory. */
json_t *served_json(void);

#endif
