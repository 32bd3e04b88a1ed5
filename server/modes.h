/*
 * Who may open the files of a pool. Its directory, conf, witness, sockets, key files and files that are disks are for
 * their owner only, but for the control socket while [control] of the conf lets others in (server/control.c); wider ones are told with the command that closes them. (Reading a wide key file is refused where it
 * is read: crypto/provider_native.c.)
 */
#ifndef COFFER_SERVER_MODES_H
#define COFFER_SERVER_MODES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct pool_conf;

struct modes {
    size_t wide;                /* so many are open to others */
    bool key;                   /* a key file is among them: the next start will refuse it */
    char names[512];            /* the first of them, with their modes */
    char command[PATH_MAX + 64]; /* that closes them, as far as it fits */
};

void modes_look(const struct pool_conf *conf, struct modes *modes);

#endif
