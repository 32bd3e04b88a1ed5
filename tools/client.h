/* The other end of the control socket: one call after the other. */
#ifndef COFFER_TOOLS_CLIENT_H
#define COFFER_TOOLS_CLIENT_H

#include <jansson.h>
#include <stddef.h>

#include "tools/tool.h"

#define CLIENT_ANSWER_MAX (64u << 20) /* a list of OBJECTS_MAX objects takes a sixth of it */

struct client;

/* Finds the daemon (place_find) and connects to it. */
enum error client_open(struct tool *tool, struct client **client) CHECKED;
void client_close(struct client *client); /* NULL is allowed */

/*
 * Calls a method. `parameters` (may be NULL) is taken over; *result is the caller's. A failure of the method comes back
 * as the daemon's error with the daemon's sentence. Where `waiting` is not NULL and a person watches, it is shown with
 * the seconds that passed.
 */
enum error client_call(struct client *client, const char *method, json_t *parameters, const char *waiting,
                       json_t **result) CHECKED;

/* Opens, calls, closes: for commands of one call. */
enum error client_ask(struct tool *tool, const char *method, json_t *parameters, json_t **result) CHECKED;

struct client_secret {
    const char *name, *text; /* of the parameter, without "_hex"; in the arena */
    size_t size;
};

/* Calls a method that takes secrets, at most two, which go from the arena to the socket and nowhere else. `more`: its other
 * parameters as text of JSON, like "\"new_root\":true", without anything secret; or NULL. */
enum error client_call_with_secrets(struct client *client, const char *method, const char *more,
                                    const struct client_secret *secrets, size_t count, const char *waiting,
                                    json_t **result) CHECKED;
/* Calls a method that takes a passphrase, which goes from the arena to the socket and nowhere else. `more`: its other
 * parameters as constant text of JSON, like "\"new_root\":true"; or NULL. */
enum error client_call_with_passphrase(struct client *client, const char *method, const char *more, const char *passphrase,
                                       size_t size, const char *waiting, json_t **result) CHECKED;

/* 0 where somebody accepts at `path`, else errno. */
int client_probe(const char *path) CHECKED;

/* The error in an answer, kept with its sentence; ERROR_PROTOCOL where the answer is none. *result is borrowed. */
enum error client_decode(const json_t *answer, json_t **result) CHECKED;

#endif
