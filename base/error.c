/*
 * The table of errors and the one sentence that each thread keeps.
 *
 * Invariant: a kept sentence belongs to one error value; asked for another, the table answers. Everything is formatted
 * aside first, because the arguments may be the kept sentence itself. Nothing here allocates: it must work when memory
 * is what ran out. No locks: all state belongs to the thread.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define SENTENCE_SIZE 1024

static const struct {
    const char *name;
    enum error_class class;
    const char *sentence;
} table[ERROR_COUNT] = {
#define X(name, class, sentence) {#name, ERROR_CLASS_##class, sentence},
    ERROR_TABLE(X)
#undef X
};

static _Thread_local enum error kept_error;
static _Thread_local char kept_text[SENTENCE_SIZE];

static enum error known(enum error error)
{
    return (unsigned)error < ERROR_COUNT ? error : ERROR_BUG;
}

const char *error_name(enum error error)
{
    return table[known(error)].name;
}

enum error_class error_class(enum error error)
{
    return table[known(error)].class;
}

/* Sentences quote names that came from outside, and go to terminals and into JSON: what is kept is printable UTF-8,
 * with '?' for every other byte (a character that the end of the buffer cut included). */
static void make_printable(char *text)
{
    while (*text != 0) {
        uint32_t code;
        size_t size = utf8_decode(text, &code);
        if (size == 0 || utf8_is_control(code)) {
            *text = '?';
            size = 1;
        }
        text += size;
    }
}

static void keep(enum error error, const char *text)
{
    kept_error = error;
    size_t length = strnlen(text, SENTENCE_SIZE - 1);
    memcpy(kept_text, text, length);
    kept_text[length] = 0;
    make_printable(kept_text);
}

/* Keeps "first: second". */
static void keep_joined(enum error error, const char *first, const char *second)
{
    char text[2 * SENTENCE_SIZE + 2];
    snprintf(text, sizeof text, "%s: %s", first, second);
    keep(error, text);
}

enum error error_explain(enum error error, const char *format, ...)
{
    char text[SENTENCE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    keep(error, text);
    return error;
}

enum error error_prefix(enum error error, const char *format, ...)
{
    char prefix[SENTENCE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    keep_joined(error, prefix, error_sentence(error));
    return error;
}

const char *error_sentence(enum error error)
{
    if (error != ERROR_NONE && error == kept_error)
        return kept_text;
    return table[known(error)].sentence;
}

void error_forget(void)
{
    kept_error = ERROR_NONE;
    kept_text[0] = 0;
}

/* A device that vanished (ENXIO, ENODEV) is a failed device, not a bad request; what is unknown is one as well. A file system that
 * takes no larger file (EFBIG) has no room. */
static enum error translate(int number)
{
    switch (number) {
    case ENOMEM:
        return ERROR_NO_MEMORY;
    case EINTR:
        return ERROR_INTERRUPTED;
    case ETIMEDOUT:
        return ERROR_TIMED_OUT;
    case EBUSY:
    case EAGAIN:
    case ETXTBSY:
    case EMFILE:
    case ENFILE:
    case EADDRINUSE:
        return ERROR_BUSY;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
        return ERROR_INVALID;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERROR_EXISTS;
    case ENOSYS:
    case EOPNOTSUPP:
        return ERROR_UNSUPPORTED;
    case E2BIG:
    case EOVERFLOW:
        return ERROR_TOO_LARGE;
    case EROFS:
        return ERROR_READ_ONLY;
    case EACCES:
    case EPERM:
        return ERROR_ACCESS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERROR_NO_SPACE;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
        return ERROR_CLOSED;
    default:
        return ERROR_IO;
    }
}

enum error error_from_errno(int number, const char *format, ...)
{
    char text[SENTENCE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    const char *description = strerrordesc_np(number);
    enum error error = translate(number);
    keep_joined(error, text, description != NULL ? description : "unknown error number");
    return error;
}

void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s: bug: %s:%d: %s does not hold\n", program_invocation_short_name, file, line, condition);
    abort();
}
