/* The table of commands, and finding one in it. */
#ifndef COFFER_TOOLS_COMMAND_H
#define COFFER_TOOLS_COMMAND_H

#include <stddef.h>

#include "tools/arguments.h"
#include "tools/tool.h"

struct command {
    const char *noun;
    const char *verb;      /* NULL where the noun is a command by itself */
    const char *arguments; /* for the usage line: "NAME NEW_NAME", or "" */
    const char *summary;   /* half a line */
    const char *text;      /* what a person should know before using it */
    const char *examples;  /* lines, each ending in a newline */
    size_t positional_min, positional_max;
    const struct option_row *options; /* ends with a name NULL */
    enum error (*run)(struct tool *tool, const struct arguments *arguments);
};

/* Every command; ends with NULL. */
const struct command *const *command_table(void);

/* Whether the word is a noun whose commands have verbs. */
bool command_has_verbs(const char *noun);

/* The command of the words in argv; *used of them belong to its name. ERROR_INVALID suggests the nearest. */
enum error command_find(int argc, char **argv, const struct command **command, int *used) CHECKED;

extern const struct command command_create, command_check, command_erase, command_group_remove;
extern const struct command command_status, command_health, command_unlock, command_lock;
extern const struct command command_object_create, command_object_list, command_object_show, command_object_uri,
    command_object_rename, command_object_resize, command_object_reserve, command_object_set, command_object_delete,
    command_object_snapshot, command_object_protect, command_object_rollback, command_object_clone, command_object_diff,
    command_object_export, command_object_import, command_object_verify;
extern const struct command command_trash_list, command_trash_restore, command_trash_purge;
extern const struct command command_scrub_start, command_scrub_status, command_scrub_pause, command_scrub_resume,
    command_scrub_cancel, command_scrub_throttle;
extern const struct command command_key_status, command_key_audit, command_key_rekey, command_key_provider,
    command_key_retire;
extern const struct command command_key_report;
extern const struct command command_key_pause, command_key_resume, command_key_throttle;
extern const struct command command_device_list, command_device_erase;
extern const struct command command_key_tpm;
extern const struct command command_key_backup, command_key_drill, command_key_restore, command_key_recovery;
extern const struct command command_import, command_selftest, command_backup, command_restore;
extern const struct command command_completion_bash, command_version, command_help;

#endif
