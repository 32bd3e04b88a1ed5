/* A word in the messages, for as long as the pool's key is not looked after (key_care.h, key_age.h). */
#ifndef COFFER_SERVER_KEY_REMINDER_H
#define COFFER_SERVER_KEY_REMINDER_H

struct pool;

/* Says what there is to say now, once. */
void key_remind(struct pool *pool);

#endif
