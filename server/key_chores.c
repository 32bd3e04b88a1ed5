/*
 * The housekeeping of keys: the chores, and when each is done. What one does stands in the file that is named after it.
 *
 * Ages come before the change of a key, so that what it replaces was seen. Both may have to wait for a pool that is locked: they
 * do nothing then, and come again. A change may take as long as key servers do; ages and reminders can wait for that. What must
 * not is the look whether the pool could be opened again, so that has a thread of its own (key_watch.c).
 *
 * No locks but those of the chores. A crash is harmless: each goes by files that it replaces as a whole, and by pool_rekey().
 */
#include "server/key_chores.h"

#include "base/clock.h"
#include "base/memory.h"
#include "engine/coffer.h"
#include "server/chores.h"
#include "server/key_age.h"
#include "server/key_care.h"
#include "server/key_reminder.h"

#define MINUTE (60 * CLOCK_SECOND)
#define DAY    (1440 * MINUTE)

static struct chores chores;

/* The key in force may be one that was changed while no daemon ran. */
static uint64_t change_note(void *pool)
{
    key_care_note_change(pool_directory(pool));
    return CHORE_NEVER;
}

static uint64_t ages_note(void *pool)
{
    key_age_note(pool);
    return MINUTE;
}

static uint64_t key_change(void *pool)
{
    (void)pool;
    rekey_every_run();
    return MINUTE;
}

static uint64_t remind(void *pool)
{
    key_remind(pool);
    return DAY;
}

static uint64_t anchor(void *pool)
{
    pool_audit_publish(pool);
    return DAY;
}

/* The first change comes when clients of the start have been served; the first word when who started the daemon has read its
 * other messages. */
static const struct chore all[] = {{change_note, 0}, {ages_note, MINUTE}, {key_change, MINUTE}, {remind, MINUTE},
                                   {anchor, 60 * MINUTE}};

enum error key_chores_start(struct pool *pool, rekey_secret_find *find, void *context)
{
    rekey_every_init(pool, find, context);
    return chores_start(&chores, "key-chores", all, COUNT_OF(all), pool);
}

void key_chores_init(struct chores *made, struct pool *pool, uint64_t (*clock)(void))
{
    chores_init(made, all, COUNT_OF(all), pool, clock);
}

void key_chores_stop(void)
{
    chores_stop(&chores);
}
