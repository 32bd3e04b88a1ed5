/*
 * Requests and answers of the control socket.
 *
 * jansson copies what it parses to the ordinary heap, and a request of `pool.unlock` holds a passphrase. So the
 * functions by which jansson allocates are exchanged for ones that overwrite a block before it is freed: nothing of a
 * request outlives rpc_request_deinit(). This is done before main, when there is one thread and nobody parses; blocks
 * come from malloc as before, so it does not matter which side allocated them.
 *
 * Nesting is measured before jansson sees the line, because jansson's own limit would let a request use a good part
 * of a thread's stack. No locks. A crash here loses an answer, never data.
 */
#include "server/rpc.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/memory.h"

__attribute__((constructor)) static void wiping_start(void)
{
    json_set_alloc_funcs(malloc, memory_free_cleansed);
}

static const char *class_name(enum error_class class)
{
    static const char *const names[] = {
        [ERROR_CLASS_NONE] = "none",       [ERROR_CLASS_RETRY] = "retry", [ERROR_CLASS_BAD_REQUEST] = "bad-request",
        [ERROR_CLASS_CORRUPT] = "corrupt", [ERROR_CLASS_FENCE] = "fence", [ERROR_CLASS_NO_SPACE] = "no-space",
        [ERROR_CLASS_REFUSED] = "refused", [ERROR_CLASS_BUG] = "bug",
    };
    return names[class];
}

/* The deepest nesting of brackets outside strings. The text need not be JSON. */
static size_t nesting(const char *line, size_t size)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (in_string && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            in_string = !in_string;
        else if (!in_string && (line[i] == '{' || line[i] == '['))
            depth++;
        else if (!in_string && (line[i] == '}' || line[i] == ']') && depth > 0)
            depth--;
        deepest = MAX(deepest, depth);
    }
    return deepest;
}

static enum error parse(const char *line, size_t size, json_t **document)
{
    json_error_t failure;
    if (size > RPC_LINE_MAX)
        return error_explain(ERROR_TOO_LARGE, "a request may have at most %d bytes", RPC_LINE_MAX);
    if (nesting(line, size) > RPC_DEPTH_MAX)
        return error_explain(ERROR_PROTOCOL, "a request may be nested at most %d deep", RPC_DEPTH_MAX);
    json_t *parsed = json_loadb(line, size, JSON_REJECT_DUPLICATES, &failure);
    if (parsed == NULL && json_error_code(&failure) == json_error_out_of_memory)
        return ERROR_NO_MEMORY;
    if (parsed == NULL) /* jansson's text may quote the line, and the line may hold a passphrase */
        return error_explain(ERROR_PROTOCOL, "the request is not JSON: the fault is at byte %d", failure.position);
    *document = parsed;
    return ERROR_NONE;
}

static bool id_is_good(const json_t *id)
{
    return json_is_integer(id) || (json_is_string(id) && json_string_length(id) <= RPC_ID_MAX);
}

static enum error invalid(const char *sentence)
{
    return error_explain(ERROR_PROTOCOL, "%s", sentence);
}

static enum error check_members(const json_t *document)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)document, key, value)
    {
        if (strcmp(key, "jsonrpc") != 0 && strcmp(key, "id") != 0 && strcmp(key, "method") != 0 &&
            strcmp(key, "params") != 0)
            return invalid("a request has the members jsonrpc, id, method and params, and no others");
    }
    return ERROR_NONE;
}

static enum error check_request(struct rpc_request *request)
{
    if (!json_is_object(request->document))
        return invalid("a request is one JSON object; batches are not supported");
    json_t *id = json_object_get(request->document, "id");
    if (!id_is_good(id))
        return invalid("a request needs an id: an integer or a short string");
    request->id = id;
    const char *version = json_string_value(json_object_get(request->document, "jsonrpc"));
    if (version == NULL || strcmp(version, "2.0") != 0)
        return invalid("a request needs \"jsonrpc\": \"2.0\"");
    request->method = json_string_value(json_object_get(request->document, "method"));
    if (request->method == NULL)
        return invalid("a request needs a method: a string");
    request->parameters = json_object_get(request->document, "params");
    if (request->parameters != NULL && !json_is_object(request->parameters))
        return invalid("params are an object: parameters go by name");
    return check_members(request->document);
}

enum error rpc_request_decode(const char *line, size_t size, struct rpc_request *request)
{
    *request = (struct rpc_request){.code = RPC_PARSE_ERROR};
    TRY(parse(line, size, &request->document));
    request->code = RPC_INVALID_REQUEST;
    return check_request(request);
}

void rpc_request_deinit(struct rpc_request *request)
{
    json_decref(request->document);
    *request = (struct rpc_request){0};
}

/* Takes the reference of `answer`. */
static char *encode_line(json_t *answer)
{
    char *text = answer == NULL ? NULL : json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    if (text == NULL)
        return NULL;
    size_t length = strlen(text);
    char *line = realloc(text, length + 2);
    if (line == NULL) {
        free(text);
        return NULL;
    }
    memcpy(line + length, "\n", 2);
    return line;
}

char *rpc_encode_result(json_t *id, json_t *result)
{
    return encode_line(json_pack("{s:s, s:O?, s:O}", "jsonrpc", "2.0", "id", id, "result", result));
}

char *rpc_encode_error(json_t *id, enum rpc_code code, enum error error)
{
    json_t *sentence = json_string(error_sentence(error));
    if (sentence == NULL) /* a path that is not UTF-8 may stand in it */
        sentence = json_string("the sentence of this error is not UTF-8: see the messages of cofferd");
    return encode_line(json_pack("{s:s, s:o, s:{s:i, s:o, s:{s:s, s:s}}}", "jsonrpc", "2.0", "id",
                                 id == NULL ? json_null() : json_incref(id), "error", "code", (int)code, "message",
                                 sentence, "data", "name", error_name(error), "class", class_name(error_class(error))));
}

enum error rpc_decode_hexadecimal(const char *text, size_t length, char *out, size_t size_max, size_t *size)
{
    if (length % 2 != 0 || length / 2 > size_max)
        return error_explain(ERROR_INVALID, "needs an even number of hexadecimal digits, at most %zu", 2 * size_max);
    if (!hex_parse(text, length, out, length / 2))
        return error_explain(ERROR_INVALID, "needs hexadecimal digits 0-9 and a-f");
    *size = length / 2;
    return ERROR_NONE;
}
