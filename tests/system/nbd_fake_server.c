/*
 * The NBD server on the engine in memory: for stock clients, and for measuring the server without an engine.
 *
 *   nbd_fake_server SOCKET|stdio [empty] [NAME=MEGABYTES]…      serves until SIGTERM, or until its only client leaves
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/nbd/nbd.h"
#include "tests/unit/nbd_engine.h"

static void must(enum error error)
{
    if (error != ERROR_NONE) {
        fprintf(stderr, "nbd_fake_server: %s\n", error_sentence(error));
        exit(1);
    }
}

static void wait_for_end(struct nbd_server *server, bool single, const sigset_t *signals)
{
    int signal_number;
    if (single)
        nbd_wait(server, -1);
    else
        sigwait(signals, &signal_number);
}

static void configure(struct pool *pool, int count, char **arguments)
{
    for (int i = 0; i < count; i++) {
        char *equals = strchr(arguments[i], '=');
        if (!equals) {
            nbd_engine_empty(pool, true);
            continue;
        }
        *equals = '\0';
        nbd_engine_add(pool, arguments[i], strtoull(equals + 1, NULL, 10) << 20, false);
    }
}

int main(int count, char **arguments)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (count < 3)
        return 2;
    struct pool *pool = nbd_engine_create();
    struct nbd_server *server;
    bool single = strcmp(arguments[1], "stdio") == 0;
    configure(pool, count - 2, arguments + 2);
    must(nbd_start(pool, &(struct nbd_options){0}, &server));
    must(single ? nbd_adopt(server, 0) : nbd_listen(server, arguments[1]));
    wait_for_end(server, single, &signals);
    nbd_stop(server);
    nbd_engine_destroy(pool);
    return 0;
}
