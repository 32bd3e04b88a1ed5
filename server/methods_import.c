/*
 * The methods for imports: what a client writes to, how far it came, and its adoption. The data goes over NBD.
 *
 * Each is one call of the engine, which finds and changes under one lock. No locks of its own; a crash leaves all of what a
 * method does or nothing.
 */
#include "server/methods.h"
#include "server/parameters.h"

/* Strings stay those of `parameters`. */
static enum error request_get(json_t *parameters, struct import_request *request)
{
    request->object = text_get(parameters, "object");
    request->snapshot = text_get(parameters, "snapshot");
    TRY(uuid_get(parameters, "stream", &request->stream));
    TRY(uuid_get(parameters, "base", &request->base));
    TRY(uuid_get(parameters, "identity", &request->identity));
    TRY(number_get(parameters, "size", &request->size));
    return number_get(parameters, "created", &request->created);
}

enum error method_import_begin(struct methods *methods, json_t *parameters, json_t **result)
{
    struct import_request request;
    struct import_info info;
    TRY(request_get(parameters, &request));
    TRY(import_begin(methods->pool, &request, &info));
    TRY(object_answer(methods, info.uuid, result));
    return json_object_set_new(*result, "found", json_boolean(info.found)) == 0 ? ERROR_NONE : ERROR_NO_MEMORY;
}

enum error method_import_mark(struct methods *methods, json_t *parameters, json_t **result)
{
    struct uuid import;
    uint64_t position;
    TRY(uuid_get(parameters, "import", &import));
    TRY(number_get(parameters, "position", &position));
    TRY(import_mark(methods->pool, import, position));
    *result = json_true();
    return ERROR_NONE;
}

enum error method_import_finish(struct methods *methods, json_t *parameters, json_t **result)
{
    struct import_request request;
    struct uuid import, object;
    TRY(request_get(parameters, &request));
    TRY(uuid_get(parameters, "import", &import));
    TRY(import_finish(methods->pool, &request, import, &object));
    return object_answer(methods, object, result);
}
