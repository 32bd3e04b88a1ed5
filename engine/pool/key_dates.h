/*
 * The file `key-dates` of a pool directory: when the key in force came, and when and of which key the last backup was made
 * and the last one proved. It is there so that health can remind a person, and for nothing else: nothing that is opened,
 * refused or encrypted asks it. So it is plain: who can write it can silence or raise a reminder, and who can write the pool
 * directory can do more than that. Written by the daemon and by the admin command; whoever writes holds a lock on the
 * directory.
 */
#ifndef COFFER_ENGINE_POOL_KEY_DATES_H
#define COFFER_ENGINE_POOL_KEY_DATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"
#include "engine/pool/conf.h"

#define KEY_DATES_NAME "key-dates"

/* A key, as it may be named without having it. */
struct key_name {
    struct uuid provider;
    uint64_t number; /* of the KEK */
    uint8_t kcv[KCV_SIZE];
};

struct key_date {
    struct key_name key;
    uint64_t seconds; /* since 1970; 0: never */
};

struct key_dates {
    struct key_date change; /* the key in force, and when it was first seen so; its kcv is not used */
    struct key_date backup, drill, recovery;
};

/* All zero where there is no file. ERROR_CORRUPT, ERROR_NEWER_FORMAT. */
enum error key_dates_load(const char *directory, struct key_dates *dates) CHECKED;
enum error key_dates_encode(const struct key_dates *dates, char *text, size_t room, size_t *size) CHECKED;
enum error key_dates_decode(const char *text, size_t size, struct key_dates *dates) CHECKED;

enum key_event { KEY_BACKED_UP, KEY_DRILLED, KEY_RECOVERY_MADE };
/* Records that it happened to this key now. A file that is damaged is made anew. ERROR_BUSY: the lock of the directory stays
 * another's, as of key_dates_note_change(). */
enum error key_dates_record(const char *directory, enum key_event event, const struct key_name *key) CHECKED;

/* The key in force, as far as files tell: the witness names provider, number and KCV, or the native provider's key file the
 * KCV where the witness knows none. */
struct key_present {
    bool known; /* `key` is: the witness could be read */
    bool keeps_keks;
    bool kcv_known; /* of a native provider */
    struct key_name key;
};
void key_present_look(const struct pool_conf *conf, struct key_present *present);
/* Whether what was done to that key still says something of the one in force. Where nothing can be compared, it does. */
bool key_present_is(const struct key_present *present, const struct key_name *key);

/* Records the key in force as of now, where another one was known, or none. */
enum error key_dates_note_change(const char *directory, const struct pool_conf *conf) CHECKED;

#endif
