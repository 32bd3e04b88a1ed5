/* What cofferd is told: its command line, and coffer.conf where that says nothing. */
#ifndef COFFER_SERVER_SETTINGS_H
#define COFFER_SERVER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SETTINGS_ADDRESSES_MAX 16

struct settings {
    const char *directory;
    char *addresses[SETTINGS_ADDRESSES_MAX]; /* of NBD: unix:PATH, tcp:HOST:PORT, stdio */
    size_t address_count;
    char *control; /* path */
    bool insecure;
    uint64_t memory; /* of the daemon, in bytes */
    const char *passphrase_file;
    bool accept_rollback;
};

enum settings_outcome {
    SETTINGS_RUN,
    SETTINGS_DONE /* help or version was printed */,
    SETTINGS_USAGE /* was complained about */
};

/* Reads the command line only. */
enum settings_outcome settings_parse(int count, char *const *arguments, struct settings *settings);
/* Adds what the conf of the pool directory says. `activated`: systemd handed sockets over, which stand for the conf's
 * addresses. ERROR_NOT_FOUND: no pool directory; ERROR_INVALID: a mistake in the conf. */
enum error settings_complete(struct settings *settings, bool activated) CHECKED;
void settings_deinit(struct settings *settings);

#endif
