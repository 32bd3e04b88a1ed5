/*
 * What methods read from their parameters, which methods.c checked against the table, and how they answer.
 */
#ifndef COFFER_SERVER_PARAMETERS_H
#define COFFER_SERVER_PARAMETERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

/* A string of `parameters`, NULL where it was not given. jansson refuses the escape of a zero byte, so what it accepted
 * is whole as a C string. */
static inline const char *text_get(const json_t *parameters, const char *key)
{
    return json_string_value(json_object_get(parameters, key));
}

static inline bool flag_get(const json_t *parameters, const char *key)
{
    return json_is_true(json_object_get(parameters, key));
}

/* 0 where it was not given. */
static inline enum error number_get(const json_t *parameters, const char *key, uint64_t *number)
{
    json_int_t value = json_integer_value(json_object_get(parameters, key));
    if (value < 0)
        return error_explain(ERROR_INVALID, "%s cannot be negative", key);
    *number = (uint64_t)value;
    return ERROR_NONE;
}

/* Zero where it was not given. */
static inline enum error uuid_get(const json_t *parameters, const char *key, struct uuid *uuid)
{
    const char *text = text_get(parameters, key);
    *uuid = (struct uuid){{0}};
    if (text != NULL && uuid_parse(text, uuid) != ERROR_NONE)
        return error_explain(ERROR_INVALID, "%s must be a UUID", key);
    return ERROR_NONE;
}

/* A text in which a path may stand that is not UTF-8: then `otherwise`. NULL is null. */
static inline json_t *text_json(const char *text, const char *otherwise)
{
    json_t *json = text == NULL ? json_null() : json_string(text);
    return json == NULL ? json_string(otherwise) : json;
}

/* Answers with what jansson made; NULL: there was no memory for it. */
static inline enum error answer(json_t *made, json_t **result)
{
    if (made == NULL)
        return ERROR_NO_MEMORY;
    *result = made;
    return ERROR_NONE;
}

#endif
