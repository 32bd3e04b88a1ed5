/* What the verbs of objects do with snapshots. */
#ifndef COFFER_TOOLS_OBJECT_VERSION_H
#define COFFER_TOOLS_OBJECT_VERSION_H

#include <jansson.h>

#include "tools/text.h"
#include "tools/tool.h"

/* "held, until 2030-12-31 00:00" of a snapshot; empty where nothing keeps it from being deleted. Returns `text`. */
const char *snapshot_protection(const json_t *snapshot, char text[2 * TEXT_SIZE]);

/* Lists the snapshots of one object, or of all (NULL). */
enum error snapshots_list(struct tool *tool, const char *object) CHECKED;
/* Deletes NAME@SNAPSHOT. */
enum error snapshot_drop(struct tool *tool, const char *name) CHECKED;

#endif
