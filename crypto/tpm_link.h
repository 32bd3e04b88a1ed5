/* A conversation with a TPM: connection, storage primary, salted session, errors. For crypto/tpm.c only. */
#ifndef COFFER_CRYPTO_TPM_LINK_H
#define COFFER_CRYPTO_TPM_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <tss2/tss2_esys.h>

#include "base/error.h"
#include "crypto/tpm.h"

struct tpm_link {
    const char *place; /* the TCTI's text, for sentences */
    uint64_t patience; /* clock_monotonic: until then others may fill its slots */
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR primary; /* these four ESYS_TR_NONE where there is none */
    ESYS_TR session;
    ESYS_TR policy;
    ESYS_TR object;
    TPML_HANDLE before[2]; /* objects and sessions that were there when it began, where that is known */
    bool before_known;
    bool doubted;          /* a command failed: its answer may have been another */
    bool primary_persists; /* lies in the TPM for good, and is not flushed */
    uint8_t primary_name[TPM_NAME_SIZE];
};

/* Connects. Behind it, also where it failed, tpm_link_close() is due. */
enum error tpm_link_open(const char *tcti, struct tpm_link *link) CHECKED;
/* Flushes every handle and session, and forgets what passed through. */
void tpm_link_close(struct tpm_link *link);

/* Overwrites the library's copies of what was given to it, which it keeps for the next command until it is closed, and then
 * leaves on the heap. */
void tpm_link_forget(struct tpm_link *link, const void *secret, size_t size);

/* Flushes one, where there is one. */
void tpm_link_flush(struct tpm_link *link, ESYS_TR *handle);
/* The storage primary: where `name` is NULL the one that this TPM has, else the one of this Name, or ERROR_NOT_FOUND. */
enum error tpm_link_primary(struct tpm_link *link, const uint8_t name[TPM_NAME_SIZE]) CHECKED;
/* An HMAC session salted to the primary, that encrypts the first parameter of commands and of answers. */
enum error tpm_link_session(struct tpm_link *link) CHECKED;
/* A session for the object's policy, salted and encrypting likewise; the one before stays. */
enum error tpm_link_policy_session(struct tpm_link *link) CHECKED;
/* The Name of the endorsement key; all zero where it cannot be had. */
void tpm_link_endorsement(struct tpm_link *link, uint8_t name[TPM_NAME_SIZE]);

/* ERROR_BUSY: it is locked out after wrong PINs. */
enum error tpm_link_takes_pins(struct tpm_link *link) CHECKED;

/* `action`: "seal a key". ERROR_NONE for TSS2_RC_SUCCESS. */
enum error tpm_link_error(struct tpm_link *link, TSS2_RC code, const char *action) CHECKED;
/* Whether the command that gave `code` is to be sent once more: others filled the TPM's slots, as they may where nothing shares it
 * among them, and a moment was waited for them to end. */
bool tpm_link_again(struct tpm_link *link, TSS2_RC code);
/* The TPM's code without layer, parameter and session numbers, to compare with TPM2_RC_... */
TSS2_RC tpm_code(TSS2_RC code);
/* Whether it finds fault with what a parameter holds. */
bool tpm_faults_parameter(TSS2_RC code);

#endif
