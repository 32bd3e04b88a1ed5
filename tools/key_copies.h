/* What is said after a change of keys that leaves what was kept of the old one behind. */
#ifndef COFFER_TOOLS_KEY_COPIES_H
#define COFFER_TOOLS_KEY_COPIES_H

#define KEY_OUTDATED_LINE \
    "Backups and the recovery key are outdated: make new ones by `coffer key backup` and `coffer key recovery`.\n"
#define KEY_OUTDATED_BACKUP_LINE "Backups are outdated: make a new one by `coffer key backup`.\n"

#endif
