/* Where the pool is that a command is about: its directory, the control socket of its daemon, its NBD address. */
#ifndef COFFER_TOOLS_PLACE_H
#define COFFER_TOOLS_PLACE_H

#include "base/error.h"
#include "tools/tool.h"

struct pool_conf;

struct place {
    char *directory; /* the pool directory; NULL where only a socket is known */
    char *control;   /* path of the control socket */
};

/*
 * From -C, else $COFFER_POOL, else the one pool that runs. Relative paths stay relative; the conf's [server] control is
 * followed where it can be read. ERROR_NOT_FOUND where none, ERROR_INVALID where several run.
 */
enum error place_find(const struct tool *tool, struct place *place) CHECKED;
void place_deinit(struct place *place);

/* The conf of that pool, also where only its socket was named; for what reads the devices beside a daemon. */
enum error place_conf(const struct tool *tool, struct pool_conf **conf) CHECKED;

/* The confs of all pools that are known here: the one that -C or $COFFER_POOL names, which must be readable, and those that
 * run. ERROR_BUSY where one runs, or may, whose conf cannot be read. */
typedef void place_visit(void *context, const struct pool_conf *conf);
enum error place_each_conf(const struct tool *tool, place_visit *visit, void *context) CHECKED;

/* The pool directory for the offline commands: `given`, else -C, else $COFFER_POOL. */
enum error place_directory(const struct tool *tool, const char *given, const char **directory) CHECKED;

/* Where NBD is served of the pool that a command is about: what was told (--nbd; NULL: nothing), else what its daemon says,
 * else its conf, else the default: "unix:PATH" (absolute) or "tcp:HOST:PORT"; malloc'ed. */
enum error place_nbd_told(struct tool *tool, const char *told, char **address) CHECKED;

/* Explains why nobody answers at the control socket, with the command that helps. `number` is connect's errno. */
enum error place_explain(const struct place *place, int number) CHECKED;

#endif
