/*
 * What goes wrong in a life besides its end. A seed has a rate for each fault; a life has all of these, or none.
 *
 * A life goes on: what was told an error is known by the model (tests/crash/model.h), and a group that went out of
 * service is opened again. While it is opened and compared, faults are rarer, and where that fails again and again they
 * cease until it works.
 */
#ifndef COFFER_TESTS_SIM_FAULTS_H
#define COFFER_TESTS_SIM_FAULTS_H

#include "engine/device/device.h"
#include "tests/sim/world.h"

extern const char *const fault_names[FAULTS];

/* The rates of a seed. */
void faults_draw(void);
/* A life has them, or not. */
void faults_begin(bool at_work);
/* The pool is about to be opened, in a life: a session_opens. */
void faults_forget(void);
/* Whether one may have led to this error: a session_excuses. */
bool faults_excuse(enum error error);
/* Faults so far: a session_moment. Whether one since then may have led to this error: a session_excuses_since. */
uint64_t faults_moment(void);
bool faults_excuse_since(enum error error, uint64_t moment);
/* Whether none came since then but such as last, and none of these ended: a session_lasts_since. */
bool faults_last_since(uint64_t moment);
/* One comes; one that lasts is written over. */
void fault_happens(enum fault fault);
void fault_cured(void);
/* What is read of that place is not as it was written. */
void fault_of_read(unsigned device, uint64_t offset);
/* Whether one of that kind happened: a session_met. */
bool faults_met(enum trouble trouble);

/* Whether this operation takes long, very long. */
bool fault_slow(void);
bool fault_stuck(void);

enum verdict {
    HAPPENS,
    FAILS,   /* with ERROR_IO; what it would have changed stays in flight */
    IGNORED, /* it is answered as if it had happened, and did not: a planted bug */
};

/* An operation is complete. A failed write or flush has taken its device out of service. `departures` is what
 * fault_departures() said when the device was opened. */
enum verdict fault_of(struct device_io *io, unsigned device, uint64_t departures);
/* A device that went away is the same no more for who had it open. */
uint64_t fault_departures(unsigned device);
/* It goes away now. */
void fault_depart(unsigned device);
/* Whether it is away when somebody wants to open it. */
bool fault_is_away(unsigned device);

/* The file system below has no space: now; for somebody who asks, which may be the first to hear of it. */
bool fault_host_is_full(void);
bool fault_refuses_space(void);

/* Rolls the dice for one of the faults of lies.c. */
bool fault_hits(enum fault fault);
/* The same place fails no more than twice before the pool is opened again: so nothing is lost for good. */
bool fault_may_repeat(unsigned device, uint64_t offset);

#endif
