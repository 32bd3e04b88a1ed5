/* The anchor of the pool's audit (engine/pool/audit.h) on its way to the devices. */
#ifndef COFFER_ENGINE_GROUP_ANCHOR_H
#define COFFER_ENGINE_GROUP_ANCHOR_H

#include "engine/group/group.h"

/* The anchor for the next record; one that is behind what is known is passed over. Any thread. Under no lock. */
void group_anchor_set(struct group *group, const struct audit_anchor *anchor);

/* Has it written to every device now, and not with the next merge, by a record that is else as the last one; does nothing where the
 * last one has it. Waits for that, but no longer than `patience` nanoseconds, behind which it comes all the same: a merge may be
 * under way. Where the group is out of service it comes never. Any thread. Under no lock. */
void group_anchor_publish(struct group *group, uint64_t patience);

/* The merge thread's: whether such a record is wanted, and its writing. An error has fenced the group. */
bool anchor_is_due(struct group *group);
enum error anchor_write(struct group *group) CHECKED;

#endif
