/* What the verbs of objects do with snapshots. */
#ifndef COFFER_TOOLS_OBJECT_VERSION_H
#define COFFER_TOOLS_OBJECT_VERSION_H

#include "tools/tool.h"

/* Lists the snapshots of one object, or of all (NULL). */
enum error snapshots_list(struct tool *tool, const char *object) CHECKED;
/* Deletes NAME@SNAPSHOT. */
enum error snapshot_drop(struct tool *tool, const char *name) CHECKED;

#endif
