/* After damage that no crash makes: edited, exchanged, older or rotten devices. */
#ifndef COFFER_TESTS_CRASH_SURVEY_H
#define COFFER_TESTS_CRASH_SURVEY_H

#include "tests/crash/session.h"

struct survey {
    enum error refused;        /* why the pool was not opened, or not to its end; ERROR_NONE: it was */
    uint64_t read, unreadable; /* blocks */
    uint64_t older;            /* of those read: what a later promise had replaced */
};

/*
 * Opens the pool, where it is not refused, reads every block of every object, closes it, and runs the checker. Any
 * error is an answer, but that of a bug. What is read must have been written to that very block once, at whatever
 * time; anything else fails the test.
 */
void child_survey(struct session *session, struct survey *survey);

#endif
