/* The audit of a running daemon, as one answer. */
#ifndef COFFER_TOOLS_KEY_AUDIT_H
#define COFFER_TOOLS_KEY_AUDIT_H

#include <jansson.h>

#include "base/error.h"

struct client;

/* All pages in one answer, which keeps the verdict of the last. */
enum error key_audit_ask(struct client *client, json_t **whole) CHECKED;

#endif
