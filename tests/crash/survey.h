/* After damage that no crash makes: edited, exchanged, older or rotten devices. */
#ifndef COFFER_TESTS_CRASH_SURVEY_H
#define COFFER_TESTS_CRASH_SURVEY_H

#include "tests/crash/session.h"

/* A block that could be read: of which object it is and where, and what it held. */
struct survey_note {
    uint64_t place, hash;
};

struct survey {
    enum error refused;        /* why the pool was not opened, or not to its end; ERROR_NONE: it was */
    uint64_t read, unreadable; /* blocks */
    uint64_t older;            /* of those read: what a later promise had replaced */
    struct survey_note *notes; /* of those read, by place; free() */
    size_t notes_count, notes_capacity;
};

/*
 * Opens the pool, where it is not refused, reads every block of every object, closes it, and runs the checker. Any
 * error is an answer, but that of a bug. What is read must have been written to that very block once, at whatever
 * time; anything else fails the test.
 */
void child_survey(struct session *session, struct survey *survey);

/* Behind a repair: nothing that was read before it may be gone or another now. */
void survey_demand(const struct survey *before, const struct survey *after);

#endif
