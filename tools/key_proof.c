/*
 * How the present key is sealed says the daemon; which secret it takes follows from that. Secrets go from the arena to the
 * socket and nowhere else, a backup as the encrypted file that it is (unlock_way.c). Nothing is kept.
 */
#include "tools/key_proof.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "crypto/arena.h"
#include "crypto/provider.h"
#include "tools/answer.h"

static bool sealed_by(const struct key_proof *proof, const char *seal)
{
    return strcmp(answer_word(proof->known, "seal"), seal) == 0;
}

/* A key in a file is its own proof. */
static enum error present_take(const struct arguments *arguments, struct key_proof *proof)
{
    const char *file = argument_value(arguments, "passphrase-file", NULL);
    if (file != NULL && !sealed_by(proof, "passphrase") && !sealed_by(proof, "tpm"))
        return error_explain(ERROR_INVALID, "no passphrase seals the key of this pool: leave out --passphrase-file");
    if (file == NULL && !sealed_by(proof, "passphrase"))
        return ERROR_NONE;
    return passphrase_read(file, "Passphrase of the pool, as a proof: ", false, &proof->present, &proof->present_size);
}

static enum error next_take(const struct arguments *arguments, struct key_proof *proof)
{
    const char *file = argument_value(arguments, "new-passphrase-file", NULL);
    bool by_passphrase = argument_given(arguments, "new-root") && sealed_by(proof, "passphrase");
    bool by_tpm = argument_given(arguments, "new-root") && sealed_by(proof, "tpm");
    if (file != NULL && !by_passphrase && !by_tpm)
        return error_explain(ERROR_INVALID, "no passphrase will seal the new key: leave out --new-passphrase-file");
    if (file == NULL && !by_passphrase)
        return ERROR_NONE;
    return passphrase_read(file, "New passphrase: ", true, &proof->next, &proof->next_size);
}

enum error key_proof_take(struct client *client, const struct arguments *arguments, struct key_proof *proof)
{
    *proof = (struct key_proof){0};
    TRY(kept_key_check(arguments, 0));
    if (!kept_key_is_given(arguments) && argument_given(arguments, "new-passphrase-file"))
        return error_explain(ERROR_INVALID, "--new-passphrase-file is for --key and --recovery: to change the passphrase there is "
                                            "`coffer key provider reseal`");
    TRY(client_call(client, "key.status", NULL, NULL, &proof->known));
    if (!answer_flag(proof->known, "encryption") || answer_figure(proof->known, "kek_number") == 0)
        return ERROR_NONE;
    if (!kept_key_is_given(arguments))
        return present_take(arguments, proof);
    TRY(kept_key_read(arguments, 0, &proof->kept));
    return next_take(arguments, proof);
}

static enum error call(struct client *client, const struct key_proof *proof, const char *method, const char *more,
                       json_t **result)
{
    const struct kept_key *kept = &proof->kept;
    struct client_secret secrets[2];
    size_t count = 0;
    AUTO_FREE char *members = NULL;
    bool both = more != NULL && kept->member != NULL;
    if (asprintf(&members, "%s%s%s", more == NULL ? "" : more, both ? "," : "", kept->member == NULL ? "" : kept->member) < 0)
        return ERROR_NO_MEMORY;
    if (kept->member != NULL)
        secrets[count++] = (struct client_secret){"passphrase", kept->passphrase, kept->size};
    else if (proof->present != NULL)
        secrets[count++] = (struct client_secret){"passphrase", proof->present, proof->present_size};
    if (proof->next != NULL)
        secrets[count++] = (struct client_secret){"new_passphrase", proof->next, proof->next_size};
    return client_call_with_secrets(client, method, members[0] == '\0' ? NULL : members, secrets, count, "changing the key", result);
}

enum error key_proof_call(struct client *client, struct key_proof *proof, const char *method, const char *more, json_t **result)
{
    enum error error = call(client, proof, method, more, result);
    if (error != ERROR_LOCKED || proof->present != NULL || proof->kept.member != NULL || !sealed_by(proof, "tpm"))
        return error;
    TRY(passphrase_read(NULL, "PIN of the pool, as a proof: ", false, &proof->present, &proof->present_size));
    return call(client, proof, method, more, result);
}

void key_proof_renew(struct key_proof *proof)
{
    if (proof->kept.member == NULL)
        return;
    kept_key_forget(&proof->kept);
    proof->present = proof->next;
    proof->present_size = proof->next_size;
    proof->next = NULL;
}

void key_proof_end(struct key_proof *proof)
{
    kept_key_forget(&proof->kept);
    arena_free(proof->present);
    arena_free(proof->next);
    json_decref(proof->known);
}
