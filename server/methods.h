/*
 * What the control socket can do: a table of methods, each with the role that it needs and the parameters that it
 * takes. Every key of an answer is stable: scripts read them by `coffer --json`, which adds only what it derives.
 */
#ifndef COFFER_SERVER_METHODS_H
#define COFFER_SERVER_METHODS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/thread.h"
#include "engine/coffer.h"
#include "engine/pool/conf_grants.h"

/* Those of the conf, as bits of a set. */
enum role {
    ROLE_OBSERVE = 1 << POOL_ROLE_OBSERVE, /* looks */
    ROLE_OPERATE = 1 << POOL_ROLE_OPERATE, /* changes objects */
    ROLE_KEYS = 1 << POOL_ROLE_KEYS,       /* unlocks, locks, changes keys */
    ROLE_ALL = ROLE_OBSERVE | ROLE_OPERATE | ROLE_KEYS,
};

struct methods {
    struct pool *pool;
    struct mutex trash; /* RANK_CONTROL: what was found in or out of the trash stays there until it is acted upon */
};

#define PARAMETERS_MAX 8

struct parameter {
    const char *name;
    json_type type; /* JSON_TRUE stands for a boolean, JSON_ARRAY for a list, which the method looks through */
    bool required;
};

struct method {
    const char *name;
    enum role role;
    struct parameter parameters[PARAMETERS_MAX + 1]; /* ends with a name NULL */
    /* `parameters` were checked against the table; NULL where none were given. *result is the caller's, where it fails too. */
    enum error (*run)(struct methods *methods, json_t *parameters, json_t **result);
};

/* The line that answers the request in `line` (without newline); NULL when out of memory. Any thread. */
char *methods_answer(struct methods *methods, unsigned roles, const char *line, size_t size) CHECKED;

/* How an object is answered; NULL when out of memory. */
json_t *object_json(const struct object_info *info);
/* Answers with the object of that UUID as it is now. */
enum error object_answer(struct methods *methods, struct uuid uuid, json_t **result) CHECKED;

/* The table, for tests and documentation; ends with a name NULL. */
const struct method *methods_table(void);

enum error method_pool_status(struct methods *, json_t *, json_t **) CHECKED;
enum error method_pool_unlock(struct methods *, json_t *, json_t **) CHECKED;
enum error method_pool_lock(struct methods *, json_t *, json_t **) CHECKED;
enum error method_pool_health(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_status(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_rekey(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_rekey_deep(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_pause(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_resume(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_throttle(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_audit(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_report(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_use(struct methods *, json_t *, json_t **) CHECKED;
enum error method_key_retire(struct methods *, json_t *, json_t **) CHECKED;
enum error method_device_list(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_create(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_reserve(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_list(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_show(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_set(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_rename(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_resize(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_delete(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_usage(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_snapshot(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_rollback(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_clone(struct methods *, json_t *, json_t **) CHECKED;
enum error method_object_diff(struct methods *, json_t *, json_t **) CHECKED;
enum error method_import_begin(struct methods *, json_t *, json_t **) CHECKED;
enum error method_import_mark(struct methods *, json_t *, json_t **) CHECKED;
enum error method_import_finish(struct methods *, json_t *, json_t **) CHECKED;
enum error method_snapshot_list(struct methods *, json_t *, json_t **) CHECKED;
enum error method_snapshot_delete(struct methods *, json_t *, json_t **) CHECKED;
enum error method_snapshot_protect(struct methods *, json_t *, json_t **) CHECKED;
enum error method_trash_list(struct methods *, json_t *, json_t **) CHECKED;
enum error method_trash_restore(struct methods *, json_t *, json_t **) CHECKED;
enum error method_trash_purge(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_start(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_status(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_pause(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_resume(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_cancel(struct methods *, json_t *, json_t **) CHECKED;
enum error method_scrub_throttle(struct methods *, json_t *, json_t **) CHECKED;

#endif
