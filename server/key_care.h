/* How a pool's key is looked after: its age, backups, drills, recovery key. For health, `key status`, and a daily word. */
#ifndef COFFER_SERVER_KEY_CARE_H
#define COFFER_SERVER_KEY_CARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/pool/key_dates.h"

#define KEY_DRILL_PERIOD (UINT64_C(180) * 86400) /* seconds */

#define KEY_CLOCK_BELIEVED UINT64_C(3600) /* seconds: the clock may be set back by so much */

/* Then a clock was wrong, at that time or now, and how long ago it was nobody knows. */
static inline bool key_date_is_to_come(uint64_t seconds, uint64_t now)
{
    return seconds > now && seconds - now > KEY_CLOCK_BELIEVED;
}

struct key_care_facts {
    bool known;       /* the pool has a key, and what follows could be looked at */
    uint64_t now;     /* seconds since 1970, by base/clock.h */
    uint64_t period;  /* coffer.conf's key-period; 0: any age */
    struct key_present present;
    struct key_dates dates;
    bool recovery;      /* there is a recovery.json */
    bool recovery_fits; /* … of the key in force */
};

void key_care_look(const struct pool_conf *conf, struct key_care_facts *facts);

/* Adds dates to an answer: key_since, backup, drill, recovery; each null where there is none. */
void key_care_tell(const char *directory, json_t *json);

/* Records that another key is in force, where that is so. What fails is a message. */
void key_care_note_change(const char *directory);

#endif
