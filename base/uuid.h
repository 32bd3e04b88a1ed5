/* UUIDs (RFC 4122, version 4). */
#ifndef COFFER_BASE_UUID_H
#define COFFER_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define UUID_TEXT_SIZE 37 /* with the terminating zero */

struct uuid { uint8_t bytes[16]; };

struct uuid uuid_random(void);
bool uuid_equal(struct uuid a, struct uuid b);
bool uuid_is_zero(struct uuid uuid);
void uuid_format(struct uuid uuid, char text[UUID_TEXT_SIZE]);
enum error uuid_parse(const char *text, struct uuid *uuid) CHECKED;

#endif
