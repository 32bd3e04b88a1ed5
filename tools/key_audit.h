/* The audit of a running daemon, as one answer. */
#ifndef COFFER_TOOLS_KEY_AUDIT_H
#define COFFER_TOOLS_KEY_AUDIT_H

#include <jansson.h>

#include "base/error.h"

struct client;

/* The result of an entry, and where it was made beside the daemon: that, when, and whether it is unproven. */
#define AUDIT_RESULT_SIZE 512
const char *key_audit_result(const json_t *entry, char text[AUDIT_RESULT_SIZE]);

/* All pages in one answer, which keeps the verdict of the last. */
enum error key_audit_ask(struct client *client, json_t **whole) CHECKED;

#endif
