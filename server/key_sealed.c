/*
 * A key file that a TPM sealed says nothing of the TPM: that one may be gone, cleared, replaced or locked out, or its PCRs may
 * have changed, and a pool that is open would not notice before its next start. So the TPM is asked.
 *
 * A look goes as far as an unlock does, but for the key itself, and takes a TPM up to a second (a storage primary that does not
 * persist, a salted session, an approval to verify), so it is not done at each look of the watch but every LOOK; where the
 * last one failed at each, so that what was mended shows at once. The key itself is taken out once a day, at the first look, and
 * when somebody unlocks or another key comes into force; a key with a PIN never, since nobody is there who knows it.
 *
 * Only the watch's thread comes here, under no lock, and nobody waits for it: a TPM that takes its time delays the next look.
 * Nothing is stored: a crash forgets what the next start asks again.
 */
#include "server/key_sealed.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/provider_look.h"

#define LOOK (300 * CLOCK_SECOND)
#define TAKE (86400 * CLOCK_SECOND)

bool key_sealed_is(const struct kek_expected *expected)
{
    const struct provider_config *provider = expected->provider;
    return provider != NULL && provider->seal != NULL && strcmp(provider->seal, "tpm") == 0;
}

static void ask(struct key_sealed *sealed, const struct kek_expected *expected, bool take)
{
    enum error error = provider_root_tpm(expected->provider, expected->number, take, &sealed->pin);
    sealed->asked = true;
    sealed->asked_at = clock_monotonic();
    sealed->error = error;
    snprintf(sealed->sentence, sizeof sealed->sentence, "%s", error == ERROR_NONE ? "" : error_sentence(error));
    if (error != ERROR_NONE || !take || sealed->pin)
        return;
    sealed->taken = true;
    sealed->taken_at = sealed->asked_at;
    sealed->time_taken = clock_seconds();
}

enum error key_sealed_look(struct key_sealed *sealed, const struct kek_expected *expected, bool now)
{
    if (sealed->number != expected->number || !uuid_equal(sealed->provider, expected->provider->id))
        *sealed = (struct key_sealed){.provider = expected->provider->id, .number = expected->number};
    uint64_t clock = clock_monotonic();
    bool take = now || sealed->error != ERROR_NONE || !sealed->taken || clock - sealed->taken_at >= TAKE;
    bool due = now || !sealed->asked || sealed->error != ERROR_NONE || clock - sealed->asked_at >= LOOK ||
               (take && !sealed->pin);
    if (due)
        ask(sealed, expected, take);
    return sealed->error == ERROR_NONE ? ERROR_NONE : error_explain(sealed->error, "%s", sealed->sentence);
}
