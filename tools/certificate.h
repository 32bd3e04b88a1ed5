/* The file that says what an erase did. */
#ifndef COFFER_TOOLS_CERTIFICATE_H
#define COFFER_TOOLS_CERTIFICATE_H

#include "tools/tool.h"

/* Before anything goes: there must be a place for it, in which nothing is. `path` NULL: it was not said. */
enum error certificate_place(const char *path) CHECKED;
/* Writes it; where that fails, or with --json, it is printed. `what` is gone: "the pool". */
enum error certificate_keep(struct tool *tool, const char *what, const char *path, const char *text) CHECKED;

#endif
