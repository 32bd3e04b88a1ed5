/* What the published trees say, counted again from the maps: whether counts, places, live bytes and totals are true. */
#ifndef COFFER_TESTS_GROUP_TRUTH_H
#define COFFER_TESTS_GROUP_TRUTH_H

#include "tests/unit/group_fixture.h"

/* Fails the test where anything that is published is not true of `components` components from COMPONENT on and of what is
 * on the release list. */
void truth_expect(struct fixture *fixture, unsigned components);
/* The count of a chunk in a view that the caller holds. */
uint32_t truth_table_count(struct fixture *fixture, const struct view *view, uint64_t cid);
/* Entries of the published release list. */
uint64_t truth_releases(struct fixture *fixture);

#endif
