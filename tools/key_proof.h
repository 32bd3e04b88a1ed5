/* The proof of the present key that a change of keys asks for: a passphrase, a PIN, or what was kept of the key. */
#ifndef COFFER_TOOLS_KEY_PROOF_H
#define COFFER_TOOLS_KEY_PROOF_H

#include "tools/client.h"
#include "tools/unlock_way.h"

struct key_proof {
    json_t *known; /* key.status of before */
    struct kept_key kept;
    char *present, *next; /* the passphrase or PIN, and beside `kept` that of the new root; in the arena; NULL: none */
    size_t present_size, next_size;
};

/* Looks how the key in force is sealed, and reads or asks for what that takes. Nothing is asked for where the pool has no key that
 * could be changed: the daemon says why. key_proof_end() whatever it returns. */
enum error key_proof_take(struct client *client, const struct arguments *arguments, struct key_proof *proof) CHECKED;
/* Whether a TPM wants a PIN shows when it is asked. `more` as client_call_with_secrets() has it, at most 200 bytes. */
enum error key_proof_call(struct client *client, struct key_proof *proof, const char *method, const char *more,
                          json_t **result) CHECKED;
/* The key in force is a new one now, which its provider gives. */
void key_proof_renew(struct key_proof *proof);
void key_proof_end(struct key_proof *proof);

#endif
