/*
 * coffer.conf: any text is a conf or refused with a sentence. How far a wrong word is from each known one, which takes longer than
 * all else, is replaced (--wrap) by a smaller question.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pool/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t __wrap_suggest_distance(const char *a, const char *b);

size_t __wrap_suggest_distance(const char *a, const char *b)
{
    return (uint8_t)(*a ^ *b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pool_conf *conf;
    char *text = strndup((const char *)data, size);
    if (text == NULL)
        return 0;
    error_forget();
    enum error error = pool_conf_parse("/pool", text, &conf);
    if (error == ERROR_NONE) {
        ASSERT(conf->group_count >= 1 && conf->memory > 0);
        pool_conf_destroy(conf);
    } else {
        ASSERT(strlen(error_sentence(error)) > 0);
    }
    free(text);
    return 0;
}
