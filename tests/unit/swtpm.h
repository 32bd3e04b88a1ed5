/* A TPM in software (swtpm) for a test: its own state, its own address below 127/8, so that nothing can be in its way. */
#ifndef COFFER_TESTS_UNIT_SWTPM_H
#define COFFER_TESTS_UNIT_SWTPM_H

#include <stdbool.h>
#include <sys/types.h>

struct swtpm {
    char state[96]; /* directory */
    char tcti[64];
    char address[24];
    int port;
    pid_t pid; /* 0: does not run */
};

/* `number` tells several of one process apart. */
void swtpm_make(struct swtpm *tpm, int number);
void swtpm_start(struct swtpm *tpm);
/* Ends it without a word, as a power loss does. */
void swtpm_kill(struct swtpm *tpm);
/* Objects and sessions that somebody left in it, which nobody frees without a resource manager; it must run. */
unsigned swtpm_slots_filled(const struct swtpm *tpm);
/* Ends it, and its state is gone. */
void swtpm_remove(struct swtpm *tpm);

#endif
