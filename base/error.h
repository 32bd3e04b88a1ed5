/*
 * The one table of errors.
 *
 * Every function that can fail returns an enum error: ERROR_NONE (0) or a row of this table. Results go out
 * through trailing pointers, which are written only on success. The class of an error says what a caller has to
 * do; its sentence is what a person reads when nobody could say more. Whoever detects an error and knows more
 * (which device, which object, what to type) says so with error_explain(), once; callers just pass the value on.
 */
#ifndef COFFER_BASE_ERROR_H
#define COFFER_BASE_ERROR_H

#define CHECKED __attribute__((warn_unused_result))
#define PRINTF(string, first) __attribute__((format(printf, string, first)))

enum error_class {
    ERROR_CLASS_NONE,
    ERROR_CLASS_RETRY,       /* try again later: nothing changed */
    ERROR_CLASS_BAD_REQUEST, /* the request is at fault: nothing changed */
    ERROR_CLASS_CORRUPT,     /* what is stored is damaged or forged: repair from a copy */
    ERROR_CLASS_FENCE,       /* the group must stop answering */
    ERROR_CLASS_NO_SPACE,    /* nothing changed */
    ERROR_CLASS_REFUSED,     /* not allowed as things are: the sentence says what would allow it */
    ERROR_CLASS_BUG,
};

/* name, class, sentence */
#define ERROR_TABLE(X)                                                                                              \
    X(NONE, NONE, "no error")                                                                                       \
    X(NO_MEMORY, RETRY, "out of memory")                                                                            \
    X(INTERRUPTED, RETRY, "interrupted")                                                                            \
    X(TIMED_OUT, RETRY, "timed out")                                                                                \
    X(BUSY, RETRY, "in use")                                                                                        \
    X(INVALID, BAD_REQUEST, "invalid argument")                                                                     \
    X(OUT_OF_RANGE, BAD_REQUEST, "beyond the end")                                                                  \
    X(NOT_FOUND, BAD_REQUEST, "no such thing")                                                                      \
    X(EXISTS, BAD_REQUEST, "exists already")                                                                        \
    X(UNSUPPORTED, BAD_REQUEST, "not supported")                                                                    \
    X(TOO_LARGE, BAD_REQUEST, "too large")                                                                          \
    X(PROTOCOL, BAD_REQUEST, "the peer broke the protocol")                                                         \
    X(READ_ONLY, REFUSED, "read-only")                                                                              \
    X(LOCKED, REFUSED, "the pool is locked")                                                                      \
    X(KEY_ABSENT, REFUSED, "the key is not there")                                                                  \
    X(ACCESS, REFUSED, "permission denied")                                                                         \
    X(IN_USE, REFUSED, "the device is in use")                                                                      \
    X(NOT_EMPTY, REFUSED, "the device carries something already")                                                   \
    X(UNCONFIRMED, REFUSED, "it has to be confirmed")                                                               \
    X(WRONG_KEY, REFUSED, "wrong key or passphrase")                                                                \
    X(FORGED, CORRUPT, "forged, or replaced by another")                                                            \
    X(FOREIGN, REFUSED, "belongs to another pool")                                                                  \
    X(ROLLED_BACK, REFUSED, "older than what this pool has seen: rolled back")                                      \
    X(NEWER_FORMAT, REFUSED, "written by a newer version of Coffer")                                                \
    X(CORRUPT, CORRUPT, "damaged")                                                                                  \
    X(IO, FENCE, "input/output error")                                                                              \
    X(FENCED, FENCE, "the disk group was taken out of service after a failed write")                                \
    X(CLOSED, REFUSED, "closed")                                                                                    \
    X(NO_SPACE, NO_SPACE, "no space left in the pool")                                                              \
    X(AGAIN, RETRY, "changed meanwhile: try again")                                                                 \
    X(BUG, BUG, "internal error: please report it")

enum error {
#define X(name, class, sentence) ERROR_##name,
    ERROR_TABLE(X)
#undef X
    ERROR_COUNT
};

/* The stable name ("NO_SPACE"), for JSON and tests. */
const char *error_name(enum error error);
enum error_class error_class(enum error error);

/*
 * Keeps a sentence for a person with this thread and returns `error`. The sentence says what happened, to which
 * object or device, and what to do; no trailing period or newline. At most 1023 bytes are kept.
 */
enum error error_explain(enum error error, const char *format, ...) PRINTF(2, 3);

/* Puts "prefix: " before the sentence kept (or, where none was kept for `error`, before the table's). */
enum error error_prefix(enum error error, const char *format, ...) PRINTF(2, 3);

/* The sentence kept by this thread for `error`, or the table's. Valid until the thread's next explain. */
const char *error_sentence(enum error error);

/* Forgets the sentence kept by this thread; called where a new request begins. */
void error_forget(void);

/* Translates an errno; `format` names what was being done ("open /dev/sdb"). Keeps the sentence. */
enum error error_from_errno(int number, const char *format, ...) PRINTF(2, 3);

/* Returns from the calling function with the error of `call`, if any. */
#define TRY(call)                                                                                                   \
    do {                                                                                                            \
        enum error try_error_ = (call);                                                                             \
        if (try_error_ != ERROR_NONE)                                                                               \
            return try_error_;                                                                                      \
    } while (0)

/* An assertion that stays on in release: for what only a bug can break, never for input of any kind. */
#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
_Noreturn void assert_failed(const char *condition, const char *file, int line);

#endif
