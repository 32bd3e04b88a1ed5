/*
 * Calls about a named object, and what may have been meant by a name that is not there.
 *
 * The daemon only says that there is none; which names are near is asked for afterwards, by its lists, so that it does
 * no more for a slip of the finger than for any other call. A name that is in the trash was no slip, and nothing in the
 * trash is suggested. Nothing is changed.
 */
#include "tools/object_call.h"

#include <string.h>

#include "base/memory.h"
#include "tools/answer.h"
#include "tools/client.h"
#include "tools/suggest.h"

#define SENTENCE_MAX 1024

static bool is_listed(const json_t *objects, const char *name)
{
    size_t i;
    json_t *object;
    json_array_foreach(objects, i, object)
    {
        if (strcmp(answer_word(object, "name"), name) == 0 || strcmp(answer_word(object, "uuid"), name) == 0)
            return true;
    }
    return false;
}

/* Borrowed from the list; NULL where nothing is near. */
static const char *nearest(const json_t *objects, const char *name)
{
    size_t i, count = json_array_size(objects);
    json_t *object;
    AUTO_FREE const char **names = memory_zeroed(count, sizeof(*names));
    if (names == NULL || is_listed(objects, name))
        return NULL;
    json_array_foreach(objects, i, object) names[i] = answer_word(object, "name");
    return suggest(name, names, count);
}

/* The error with what may have been meant, where that can be told. */
static enum error suggest_name(struct tool *tool, const char *name, enum error error)
{
    char sentence[SENTENCE_MAX];
    json_t *living = NULL, *trashed = NULL;
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    bool told = client_ask(tool, "object.list", NULL, &living) == ERROR_NONE &&
                client_ask(tool, "trash.list", NULL, &trashed) == ERROR_NONE;
    const char *near = told && !is_listed(trashed, name) ? nearest(living, name) : NULL;
    if (near != NULL)
        error = error_explain(error, "%s; did you mean '%s'?", sentence, near);
    else
        error = error_explain(error, "%s", sentence);
    json_decref(living);
    json_decref(trashed);
    return error;
}

enum error object_ask(struct tool *tool, const char *method, json_t *parameters, json_t **result)
{
    if (parameters == NULL)
        return error_explain(ERROR_INVALID, "a name must be UTF-8");
    json_incref(parameters);
    enum error error = client_ask(tool, method, parameters, result);
    if (error == ERROR_NOT_FOUND)
        error = suggest_name(tool, answer_word(parameters, "name"), error);
    json_decref(parameters);
    return error;
}
