/*
 * Calls about a named object, and what may have been meant by a name that is not there.
 *
 * The daemon only says that there is none; which names are near is asked for afterwards, by its lists, so that it does
 * no more for a slip of the finger than for any other call. A name that is in the trash was no slip, and nothing in the
 * trash is suggested. Of a snapshot's name either part may be mistyped: its object is found first, then the nearest of
 * what that has. Nothing is changed.
 */
#include "tools/object_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "tools/answer.h"
#include "tools/client.h"

#define SENTENCE_MAX 1024
#define SNAPSHOTS_PAGE 1000
#define LIST_TRIES 3 /* where what was told last is gone before the list goes on */

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

/* The name itself, or what is near, of what the elements have under `key`. Borrowed from the list; or NULL. */
static const char *nearest(const json_t *objects, const char *key, const char *name)
{
    size_t i, count = json_array_size(objects);
    json_t *object;
    AUTO_FREE const char **names = memory_zeroed(count, sizeof(*names));
    if (names == NULL)
        return NULL;
    json_array_foreach(objects, i, object)
    {
        names[i] = answer_word(object, key);
        if (strcmp(names[i], name) == 0)
            return names[i];
    }
    return suggest(name, names, count);
}

/* The object that was meant: the one of that name, or the nearest. malloc'ed; NULL where nothing is near. */
static char *object_meant(struct tool *tool, const char *name)
{
    json_t *living = NULL, *trashed = NULL;
    bool told = client_ask(tool, "object.list", NULL, &living) == ERROR_NONE &&
                client_ask(tool, "trash.list", NULL, &trashed) == ERROR_NONE;
    const char *near = !told ? NULL : is_listed(living, name) ? name : nearest(living, "name", name);
    char *meant = near == NULL || (near != name && is_listed(trashed, name)) ? NULL : strdup(near);
    json_decref(living);
    json_decref(trashed);
    return meant;
}

/* The snapshot that was meant by NAME@SNAPSHOT, of the object that was meant by NAME. */
static char *snapshot_meant(struct tool *tool, const char *name, size_t length)
{
    AUTO_FREE char *own = strndup(name, length);
    AUTO_FREE char *object = own == NULL ? NULL : object_meant(tool, own);
    json_t *snapshots;
    char *meant = NULL;
    if (object == NULL || snapshots_ask(tool, object, &snapshots) != ERROR_NONE)
        return NULL;
    const char *near = nearest(snapshots, "snapshot", name + length + 1);
    if (near == NULL || asprintf(&meant, "%s@%s", object, near) < 0)
        meant = NULL;
    json_decref(snapshots);
    return meant;
}

/* Of what was named, that which the sentence quotes; NULL where it quotes none. */
static const char *name_quoted(const json_t *parameters, const char *sentence)
{
    static const char *const keys[] = {"name", "base", "object", "names"};
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        const json_t *value = json_object_get(parameters, keys[k]);
        size_t count = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t i = 0; i < count; i++) {
            const char *name = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
            AUTO_FREE char *quoted = NULL;
            if (name != NULL && asprintf(&quoted, "'%s'", name) >= 0 && strstr(sentence, quoted) != NULL)
                return name;
        }
    }
    return NULL;
}

/* The error with what may have been meant, where that can be told. */
static enum error suggest_name(struct tool *tool, const json_t *parameters, enum error error)
{
    char sentence[SENTENCE_MAX];
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    const char *name = name_quoted(parameters, sentence);
    if (name == NULL)
        return error;
    size_t length = strcspn(name, "@");
    AUTO_FREE char *meant = name[length] == '@' ? snapshot_meant(tool, name, length) : object_meant(tool, name);
    if (meant == NULL || strcmp(meant, name) == 0)
        return error_explain(error, "%s", sentence);
    return error_explain(error, "%s; did you mean '%s'?", sentence, meant);
}

enum error object_suggest_trashed(struct tool *tool, const char *name, enum error error)
{
    char sentence[SENTENCE_MAX];
    json_t *trashed = NULL;
    if (error != ERROR_NOT_FOUND)
        return error;
    snprintf(sentence, sizeof(sentence), "%s", error_sentence(error));
    bool told = client_ask(tool, "trash.list", NULL, &trashed) == ERROR_NONE;
    const char *near = told && !is_listed(trashed, name) ? nearest(trashed, "name", name) : NULL;
    error = near == NULL ? error_explain(error, "%s", sentence)
                         : error_explain(error, "%s; did you mean '%s'?", sentence, near);
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
        error = suggest_name(tool, parameters, error);
    json_decref(parameters);
    return error;
}

/* ---- snapshots, which may be very many ------------------------------------------------------------------------------ */

/* Some behind the last of `rows`. */
static enum error page_ask(struct tool *tool, const char *object, json_t *rows, bool *more)
{
    size_t count = json_array_size(rows);
    const char *after = count > 0 ? answer_word(json_array_get(rows, count - 1), "uuid") : NULL;
    json_t *page, *parameters =
                      json_pack("{s:i, s:s*, s:s*}", "count", SNAPSHOTS_PAGE, "object", object, "after", after);
    TRY(object_ask(tool, "snapshot.list", parameters, &page));
    *more = json_array_size(page) > 0;
    int failed = json_array_extend(rows, page);
    json_decref(page);
    return failed ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error pages_ask(struct tool *tool, const char *object, json_t *rows)
{
    bool more = true;
    while (more)
        TRY(page_ask(tool, object, rows, &more));
    return ERROR_NONE;
}

enum error snapshots_ask(struct tool *tool, const char *object, json_t **rows)
{
    for (unsigned tries = 1;; tries++) {
        json_t *made = json_array();
        enum error error = made == NULL ? ERROR_NO_MEMORY : pages_ask(tool, object, made);
        if (error == ERROR_NONE) {
            *rows = made;
            return ERROR_NONE;
        }
        bool gone = error == ERROR_NOT_FOUND && json_array_size(made) > 0; /* the last one that was told */
        json_decref(made);
        if (!gone || tries == LIST_TRIES)
            return error;
    }
}
