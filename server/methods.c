/*
 * The table of methods, and the way from a line to the line that answers it.
 *
 * A request is refused before anything runs where its method or one of its parameters is unknown, of another type,
 * missing, or beyond the peer's role; so methods read their parameters without looking twice. No locks of its own; a
 * crash loses the answer, and what the engine made durable stays.
 */
#include "server/methods.h"

#include <string.h>

#include "engine/pool/conf.h"
#include "server/rpc.h"

#define NAME                                                                                                           \
    {                                                                                                                  \
        "name", JSON_STRING, true                                                                                      \
    }

/* What an import is of: the same at its begin and at its end. */
#define IMPORT                                                                                                         \
    {"object", JSON_STRING, true}, {"stream", JSON_STRING, true}, {"base", JSON_STRING, false},                        \
        {"size", JSON_INTEGER, true}, {"snapshot", JSON_STRING, true}, {"identity", JSON_STRING, true},                \
    {                                                                                                                  \
        "created", JSON_INTEGER, true                                                                                  \
    }

static const struct method table[] = {
    {"pool.status", ROLE_OBSERVE, {{NULL}}, method_pool_status},
    {"pool.health", ROLE_OBSERVE, {{NULL}}, method_pool_health},
    {"pool.unlock",
     ROLE_KEYS,
     {{"passphrase_hex", JSON_STRING, false}, {"backup_hex", JSON_STRING, false}, {"recovery", JSON_TRUE, false}},
     method_pool_unlock},
    {"pool.lock", ROLE_KEYS, {{NULL}}, method_pool_lock},
    {"key.status", ROLE_OBSERVE, {{NULL}}, method_key_status},
    {"key.rekey",
     ROLE_KEYS,
     {{"new_root", JSON_TRUE, false},
      {"passphrase_hex", JSON_STRING, false},
      {"new_passphrase_hex", JSON_STRING, false},
      {"backup_hex", JSON_STRING, false},
      {"recovery", JSON_TRUE, false}},
     method_key_rekey},
    {"key.rekey_deep",
     ROLE_KEYS,
     {{"rate", JSON_INTEGER, false}, {"passphrase_hex", JSON_STRING, false}},
     method_key_rekey_deep},
    {"key.pause", ROLE_KEYS, {{NULL}}, method_key_pause},
    {"key.resume", ROLE_KEYS, {{NULL}}, method_key_resume},
    {"key.throttle", ROLE_KEYS, {{"rate", JSON_INTEGER, true}}, method_key_throttle},
    {"key.audit", ROLE_OBSERVE, {{"after", JSON_INTEGER, false}}, method_key_audit},
    {"key.report", ROLE_OBSERVE, {{NULL}}, method_key_report},
    {"key.use",
     ROLE_KEYS,
     {{"provider", JSON_STRING, true},
      {"dry_run", JSON_TRUE, false},
      {"accept_cycle", JSON_TRUE, false},
      {"passphrase_hex", JSON_STRING, false},
      {"new_passphrase_hex", JSON_STRING, false},
      {"backup_hex", JSON_STRING, false},
      {"recovery", JSON_TRUE, false}},
     method_key_use},
    {"key.retire",
     ROLE_KEYS,
     {{"provider", JSON_STRING, false}, {"number", JSON_INTEGER, false}, {"destroy", JSON_TRUE, false},
      {"key_file", JSON_STRING, false}},
     method_key_retire},
    {"object.create",
     ROLE_OPERATE,
     {NAME,
      {"size", JSON_INTEGER, true},
      {"reserve", JSON_INTEGER, false},
      {"full", JSON_TRUE, false},
      {"hosts", JSON_STRING, false}},
     method_object_create},
    {"object.set", ROLE_OPERATE, {NAME, {"hosts", JSON_STRING, true}}, method_object_set},
    {"object.reserve",
     ROLE_OPERATE,
     {NAME, {"reserve", JSON_INTEGER, false}, {"full", JSON_TRUE, false}},
     method_object_reserve},
    {"object.list", ROLE_OBSERVE, {{NULL}}, method_object_list},
    {"object.show", ROLE_OBSERVE, {NAME}, method_object_show},
    {"object.usage", ROLE_OBSERVE, {NAME}, method_object_usage},
    {"object.rename", ROLE_OPERATE, {NAME, {"new_name", JSON_STRING, true}}, method_object_rename},
    {"object.resize",
     ROLE_OPERATE,
     {NAME, {"size", JSON_INTEGER, true}, {"shrink", JSON_TRUE, false}},
     method_object_resize},
    {"object.delete", ROLE_OPERATE, {NAME, {"now", JSON_TRUE, false}}, method_object_delete},
    {"object.snapshot",
     ROLE_OPERATE,
     {{"names", JSON_ARRAY, true},
      {"snapshot", JSON_STRING, true},
      {"hold", JSON_TRUE, false},
      {"locked_until", JSON_INTEGER, false}},
     method_object_snapshot},
    {"object.rollback",
     ROLE_OPERATE,
     {NAME, {"keep", JSON_STRING, false}, {"discard", JSON_TRUE, false}},
     method_object_rollback},
    {"object.clone", ROLE_OPERATE, {NAME, {"new_name", JSON_STRING, true}}, method_object_clone},
    {"object.diff",
     ROLE_OBSERVE,
     {NAME, {"base", JSON_STRING, true}, {"offset", JSON_INTEGER, false}},
     method_object_diff},
    {"import.begin", ROLE_OPERATE, {IMPORT}, method_import_begin},
    {"import.mark",
     ROLE_OPERATE,
     {{"import", JSON_STRING, true}, {"position", JSON_INTEGER, true}},
     method_import_mark},
    {"import.finish", ROLE_OPERATE, {IMPORT, {"import", JSON_STRING, true}}, method_import_finish},
    {"snapshot.list",
     ROLE_OBSERVE,
     {{"object", JSON_STRING, false}, {"after", JSON_STRING, false}, {"count", JSON_INTEGER, false}},
     method_snapshot_list},
    {"snapshot.delete", ROLE_OPERATE, {NAME}, method_snapshot_delete},
    {"snapshot.protect",
     ROLE_OPERATE,
     {NAME, {"hold", JSON_TRUE, false}, {"locked_until", JSON_INTEGER, false}},
     method_snapshot_protect},
    {"trash.list", ROLE_OBSERVE, {{NULL}}, method_trash_list},
    {"trash.restore", ROLE_OPERATE, {NAME, {"new_name", JSON_STRING, false}}, method_trash_restore},
    {"trash.purge", ROLE_OPERATE, {NAME}, method_trash_purge},
    {"device.list", ROLE_OBSERVE, {{NULL}}, method_device_list},
    {"scrub.start", ROLE_OPERATE, {{"rate", JSON_INTEGER, false}}, method_scrub_start},
    {"scrub.status", ROLE_OBSERVE, {{NULL}}, method_scrub_status},
    {"scrub.pause", ROLE_OPERATE, {{NULL}}, method_scrub_pause},
    {"scrub.resume", ROLE_OPERATE, {{NULL}}, method_scrub_resume},
    {"scrub.cancel", ROLE_OPERATE, {{NULL}}, method_scrub_cancel},
    {"scrub.throttle", ROLE_OPERATE, {{"rate", JSON_INTEGER, true}}, method_scrub_throttle},
    {NULL},
};

const struct method *methods_table(void)
{
    return table;
}

static const struct method *method_find(const char *name)
{
    for (const struct method *method = table; method->name != NULL; method++) {
        if (strcmp(method->name, name) == 0)
            return method;
    }
    return NULL;
}

static const struct parameter *parameter_find(const struct method *method, const char *name)
{
    for (const struct parameter *parameter = method->parameters; parameter->name != NULL; parameter++) {
        if (strcmp(parameter->name, name) == 0)
            return parameter;
    }
    return NULL;
}

static bool type_fits(const struct parameter *parameter, const json_t *value)
{
    if (parameter->type == JSON_TRUE)
        return json_is_boolean(value);
    return json_typeof(value) == parameter->type;
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_TRUE:
        return "true or false";
    case JSON_INTEGER:
        return "an integer";
    case JSON_ARRAY:
        return "a list";
    default:
        return "a string";
    }
}

static enum error parameters_check(const struct method *method, const json_t *parameters)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)parameters, name, value)
    {
        const struct parameter *known = parameter_find(method, name);
        if (known == NULL)
            return error_explain(ERROR_INVALID, "%s has no parameter \"%.64s\"", method->name, name);
        if (!type_fits(known, value))
            return error_explain(ERROR_INVALID, "%s: %s must be %s", method->name, name, type_name(known->type));
    }
    for (const struct parameter *known = method->parameters; known->name != NULL; known++) {
        if (known->required && json_object_get(parameters, known->name) == NULL)
            return error_explain(ERROR_INVALID, "%s needs the parameter %s", method->name, known->name);
    }
    return ERROR_NONE;
}

static const char *role_name(enum role role)
{
    return pool_role_name((enum pool_role)__builtin_ctz(role));
}

/* Finds and runs; *code tells what a failure is called on the wire. */
static enum error dispatch(struct methods *methods, unsigned roles, const struct rpc_request *request,
                           enum rpc_code *code, json_t **result)
{
    const struct method *method = method_find(request->method);
    if (method == NULL) {
        *code = RPC_UNKNOWN_METHOD;
        return error_explain(ERROR_UNSUPPORTED, "there is no method \"%.64s\"", request->method);
    }
    *code = RPC_FAILED;
    const char *role = role_name(method->role);
    if ((roles & method->role) == 0)
        return error_explain(ERROR_ACCESS, "%s needs the role %s, which your user has not: a line `%s = user:NAME` in [control] "
                                           "of " POOL_CONF_NAME " gives it", method->name, role, role);
    *code = RPC_INVALID_PARAMETERS;
    TRY(parameters_check(method, request->parameters));
    *code = RPC_FAILED;
    return method->run(methods, request->parameters, result);
}

char *methods_answer(struct methods *methods, unsigned roles, const char *line, size_t size)
{
    struct rpc_request request;
    json_t *result = NULL;
    char *answer;
    error_forget();
    enum error error = rpc_request_decode(line, size, &request);
    enum rpc_code code = request.code;
    if (error == ERROR_NONE)
        error = dispatch(methods, roles, &request, &code, &result);
    if (error == ERROR_NONE)
        answer = rpc_encode_result(request.id, result);
    else
        answer = rpc_encode_error(request.id, code, error);
    json_decref(result);
    rpc_request_deinit(&request);
    return answer;
}
