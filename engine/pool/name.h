/* Names of objects, as people give them and as the catalog holds them. */
#ifndef COFFER_ENGINE_POOL_NAME_H
#define COFFER_ENGINE_POOL_NAME_H

#include "base/error.h"

/* ERROR_INVALID where `name` is not 1 to OBJECT_NAME_MAX bytes of valid UTF-8 (RFC 3629) without control characters
 * (Unicode's category Cc), '@' and '/'. The sentence never repeats the name: it may be unfit to be shown. */
enum error object_name_check(const char *name) CHECKED;
/* Of a name that is being given: no characters either that cannot be seen, or write backwards. Older pools have such names. */
enum error object_name_check_new(const char *name) CHECKED;

#endif
