/*
 * Messages: lines for people, on standard error (the *log* is what is on disk). Each is printed once, where the
 * fact is known. Under systemd each line begins with its syslog priority ("<4>").
 */
#ifndef COFFER_BASE_MESSAGE_H
#define COFFER_BASE_MESSAGE_H

#include "base/error.h"

enum message_level { MESSAGE_ERROR = 3, MESSAGE_WARNING = 4, MESSAGE_NOTICE = 5, MESSAGE_INFO = 6, MESSAGE_DEBUG = 7 };

void message(enum message_level level, const char *format, ...) PRINTF(2, 3);
/* Messages above `level` are dropped; the default is MESSAGE_INFO. */
void message_level_set(enum message_level level);

#endif
