/* Orders of numbers, for qsort. */
#ifndef COFFER_BASE_ORDER_H
#define COFFER_BASE_ORDER_H

#include <stdint.h>

/* Below, at or above zero, as `x` is below, at or above `y`. */
static inline int order_of(uint64_t x, uint64_t y)
{
    return (x > y) - (x < y);
}

/* Of two uint64_t. */
static inline int number_order(const void *a, const void *b)
{
    return order_of(*(const uint64_t *)a, *(const uint64_t *)b);
}

#endif
